//! Network interfaces as AF_XDP would use them.

use coney_datapath::port::af_xdp::{Answer, Depth, Report, probe};

use super::{Finding, Status};

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
    let topic = format!("interface {name}");
    match probe(name, Depth::Passive) {
        Ok(report) => finding(&topic, &report),
        Err(error) => Finding::new(&topic, Status::Missing, error.to_string()),
    }
}

fn finding(topic: &str, report: &Report) -> Finding {
    let count = |queues: Option<u32>| queues.map_or("?".to_owned(), |count| count.to_string());
    let facts = format!(
        "driver {}, {} rx and {} tx queues, MTU {}, {}",
        report.driver.as_deref().unwrap_or("unknown"),
        count(report.rx_queues),
        count(report.tx_queues),
        report.mtu_bytes,
        if report.is_up { "up" } else { "down" },
    );
    let why_not = |answer: &Answer| match answer {
        Answer::No(reason) => Some(reason.to_string()),
        Answer::Yes | Answer::Unknown => None,
    };
    if let Some(reason) = why_not(&report.program).or_else(|| why_not(&report.copy)) {
        return Finding::new(topic, Status::Missing, format!("{facts}: no AF_XDP")).cure(reason);
    }
    let program = match &report.native {
        Answer::Yes => "native",
        Answer::No(_) => "skb (the driver has no native XDP)",
        Answer::Unknown => "native if the driver can, else skb",
    };
    let buffers = match &report.zero_copy {
        Answer::Yes => "zero-copy",
        Answer::No(_) => "copy",
        Answer::Unknown => "zero-copy if the driver can, else copy",
    };
    Finding::new(topic, Status::Good, format!("{facts}: AF_XDP {buffers}, XDP {program}"))
}
