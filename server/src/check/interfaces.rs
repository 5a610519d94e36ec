//! Network interfaces as AF_XDP would use them.

use std::path::Path;

use coney_datapath::port::af_xdp::{Answer, Depth, Error, Report, probe};

use super::{Finding, Status, read};

const NET: &str = "/sys/class/net";

pub(super) fn findings() -> Vec<Finding> {
    let mut names: Vec<String> = std::fs::read_dir(NET)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()))
        .collect();
    names.sort();
    names.iter().map(|name| interface(name)).collect()
}

fn interface(name: &str) -> Finding {
    let dir = Path::new(NET).join(name);
    let driver = std::fs::read_link(dir.join("device/driver")).ok();
    let driver =
        driver.as_deref().and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
    let (rx, tx) = queues(&dir);
    let mtu = read(dir.join("mtu")).unwrap_or_default();
    let state = read(dir.join("operstate")).unwrap_or_default();
    let report = probe(name, Depth::Passive);
    let driver = driver.or_else(|| report.as_ref().ok()?.driver.clone());
    let driver = driver.map_or_else(|| "no driver".to_owned(), |driver| format!("driver {driver}"));
    let facts = format!("{driver}, {rx} rx and {tx} tx queues, MTU {mtu}, {state}");
    let topic = format!("interface {name}");
    // Loopback has no wire: nobody comes to it over AF_XDP.
    if name == "lo" {
        return Finding::new(&topic, Status::Fact, facts);
    }
    let (xdp, cure) = xdp(report);
    let status = if cure.is_empty() { Status::Good } else { Status::Missing };
    Finding::new(&topic, status, format!("{facts}; AF_XDP {xdp}")).cure(cure)
}

fn queues(dir: &Path) -> (usize, usize) {
    let names: Vec<String> = std::fs::read_dir(dir.join("queues"))
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()))
        .collect();
    let count = |prefix: &str| names.iter().filter(|name| name.starts_with(prefix)).count();
    (count("rx-"), count("tx-"))
}

/// How AF_XDP works on an interface, and what hinders it.
fn xdp(report: Result<Report, Error>) -> (String, String) {
    let report = match report {
        Ok(report) => report,
        Err(problem) => return ("unknown".to_owned(), problem.to_string()),
    };
    for (what, answer) in [("program", &report.program), ("sockets", &report.copy)] {
        if let Answer::No(reason) = answer {
            return (format!("not possible ({what})"), reason.to_string());
        }
    }
    let found = format!(
        "{}, {}",
        match report.native {
            Answer::Yes => "in the driver",
            Answer::No(_) => "in the kernel's path (the driver lacks it)",
            Answer::Unknown => "in the driver or in the kernel's path",
        },
        match report.zero_copy {
            Answer::Yes => "zero-copy",
            Answer::No(_) => "copy",
            Answer::Unknown => "zero-copy unknown until tried",
        },
    );
    (found, String::new())
}
