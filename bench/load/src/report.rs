//! Results as a table for people and as JSON for programs.

use std::fmt::Write;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use crate::plan::Plan;
use crate::results::{Interval, Results};
use crate::wire::Transport;

/// What tables and JSON show of latencies.
pub(crate) const QUANTILES: [(&str, f64); 5] =
    [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)];

/// Nanoseconds as milliseconds.
pub(crate) fn millis(ns: u64) -> String {
    format!("{:.3} ms", as_millis(ns))
}

#[expect(clippy::cast_precision_loss, reason = "latencies are far below 2^53 ns")]
pub(crate) fn as_millis(ns: u64) -> f64 {
    ns as f64 / 1e6
}

#[expect(clippy::cast_precision_loss, reason = "nobody measures 2^53 operations")]
fn rate(count: u64, plan: &Plan) -> f64 {
    count as f64 / plan.measured.as_secs_f64()
}

/// The set-up, a line for each kind of operation, and what the reader should know of it.
pub(crate) fn table(plan: &Plan, server: &str, results: &Results) -> String {
    let mut out = String::new();
    let (args, mut line) = (&plan.args, |text: String| {
        out.push_str(&text);
        out.push('\n');
    });
    let (least, most) = plan.value_bytes;
    let values = if least == most { format!("{least} B") } else { format!("{least} to {most} B") };
    line(format!("workload   {}", plan.name));
    line(format!("server     {} {server}", args.server));
    line(match &args.interface {
        Some(interface) if args.transport == Transport::Xdp => {
            format!("transport  our own TCP over AF_XDP on {interface}")
        }
        _ => "transport  kernel sockets".to_owned(),
    });
    line(format!(
        "load       {} thread(s), {} connections, {} on their way for each, RESP{}",
        args.threads, args.connections, args.pipeline, args.resp
    ));
    line(match args.rate {
        None => "loop       closed: as many as the server answers".to_owned(),
        Some(rate) => {
            format!("loop       open: {rate} operations a second, whatever the server does")
        }
    });
    line(format!("keys       {}, {}, values of {values}", args.keys, distribution(plan)));
    line(format!(
        "measured   {} s after {} s of warm-up",
        plan.measured.as_secs_f64(),
        plan.warm_up.as_secs_f64()
    ));
    line(String::new());
    let mut head = format!("{:<18}{:>12}{:>10}{:>10}", "", "ops/s", "errors", "mean ms");
    for (name, _) in QUANTILES {
        write!(head, "{:>10}", format!("{name} ms")).expect("writing to memory");
    }
    line(head);
    let row = |name: &str, latency: &Histogram<u64>, errors: u64| {
        let mut row = format!("{name:<18}{:>12.0}{errors:>10}", rate(latency.len(), plan));
        write!(row, "{:>10.3}", latency.mean() / 1e6).expect("writing to memory");
        for (_, quantile) in QUANTILES {
            let ms = as_millis(latency.value_at_quantile(quantile));
            write!(row, "{ms:>10.3}").expect("writing to memory");
        }
        row
    };
    for (kind, count) in plan.mix.kinds().zip(&results.kinds) {
        line(row(&kind.name(), &count.latency, count.errors));
    }
    if results.kinds.len() > 1 {
        let errors = results.kinds.iter().map(|count| count.errors).sum();
        line(row("all", &results.total(), errors));
    }
    for warning in warnings(plan, results) {
        line(format!("\n{warning}"));
    }
    out
}

fn distribution(plan: &Plan) -> String {
    format!("{:?}", plan.distribution).to_lowercase()
}

/// What would mislead a reader who looks at the numbers alone.
fn warnings(plan: &Plan, results: &Results) -> Vec<String> {
    let mut warnings = Vec::new();
    if let Some(error) = &results.error {
        warnings.push(format!("The server replied with errors, such as: {error}"));
    }
    let reads = plan.mix.kinds().zip(&results.kinds).filter(|(kind, _)| kind.expects_something());
    let (found, asked) = reads.fold((0, 0), |(found, asked), (_, count)| {
        let operations = count.latency.len();
        (found + operations.saturating_sub(count.nothing), asked + operations)
    });
    if asked > 0 && found * 10 < asked * 9 {
        warnings.push(format!(
            "Only {found} of {asked} reads found their key: --load writes all keys first."
        ));
    }
    if results.not_started > 0 {
        warnings.push(format!(
            "The server did not keep up: {} operations were due and could not start before the end. \
             Their latency is in no figure above.",
            results.not_started
        ));
    }
    warnings
}

/// Everything that the table shows, and the course over time.
pub(crate) fn json(plan: &Plan, server: &str, results: &Results, intervals: &[Interval]) -> String {
    let args = &plan.args;
    let latency = |latency: &Histogram<u64>| {
        let mut ms = serde_json::Map::new();
        ms.insert("mean".to_owned(), json!(latency.mean() / 1e6));
        for (name, quantile) in QUANTILES {
            ms.insert(name.to_owned(), json!(as_millis(latency.value_at_quantile(quantile))));
        }
        Value::Object(ms)
    };
    let kinds: Vec<Value> = plan
        .mix
        .kinds()
        .zip(&results.kinds)
        .map(|(kind, count)| {
            json!({
                "name": kind.name(),
                "operations": count.latency.len(),
                "ops_per_sec": rate(count.latency.len(), plan),
                "errors": count.errors,
                "nothing": count.nothing,
                "latency_ms": latency(&count.latency),
            })
        })
        .collect();
    let total = results.total();
    let course: Vec<Value> = intervals
        .iter()
        .map(|it| {
            json!({
                "until_sec": it.until.as_secs_f64(),
                "operations": it.latency.len(),
                "p50_ms": as_millis(it.latency.value_at_quantile(0.5)),
                "p99_ms": as_millis(it.latency.value_at_quantile(0.99)),
            })
        })
        .collect();
    let all = json!({
        "workload": plan.name,
        "server": server,
        "address": args.server.to_string(),
        "threads": args.threads,
        "connections": args.connections,
        "pipeline": args.pipeline,
        "resp": args.resp,
        "rate": args.rate,
        "keys": args.keys,
        "distribution": distribution(plan),
        "value_bytes": [plan.value_bytes.0, plan.value_bytes.1],
        "seed": args.seed,
        "seconds": plan.measured.as_secs_f64(),
        "ops_per_sec": rate(total.len(), plan),
        "latency_ms": latency(&total),
        "not_started": results.not_started,
        "rx_bytes": results.rx_bytes,
        "tx_bytes": results.tx_bytes,
        "kinds": kinds,
        "course": course,
    });
    format!("{all:#}\n")
}
