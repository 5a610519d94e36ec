//! Network interfaces as AF_XDP would use them.

use std::path::Path;

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
    let driver = driver.as_deref().and_then(Path::file_name).map_or_else(
        || "no driver of its own".to_owned(),
        |driver| format!("driver {}", driver.to_string_lossy()),
    );
    let (rx, tx) = queues(&dir);
    let mtu = read(dir.join("mtu")).unwrap_or_default();
    let state = read(dir.join("operstate")).unwrap_or_default();
    let facts = format!("{driver}, {rx} rx and {tx} tx queues, MTU {mtu}, {state}");
    let topic = format!("interface {name}");
    match xdp_mode(name) {
        Some(mode) => Finding::new(&topic, Status::Good, format!("{facts}, AF_XDP {mode}")),
        None => Finding::new(&topic, Status::Fact, facts),
    }
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

/// How AF_XDP works on an interface (zero-copy, copy, generic), where that is known. This is where
/// the datapath's probe plugs in.
fn xdp_mode(_interface: &str) -> Option<&'static str> {
    None
}
