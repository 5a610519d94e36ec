//! `coney check`: what works on this host, and what to do about what does not. It changes nothing.

use std::path::Path;

mod data_dir;
mod interfaces;
mod kernel;
mod limits;

/// How a finding bears on the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    /// Works.
    Good,
    /// Works, but something could be better.
    Fair,
    /// Does not work here; the server runs without it.
    Missing,
    /// A fact.
    Fact,
}

impl Status {
    fn word(self) -> &'static str {
        match self {
            Self::Good => "ok",
            Self::Fair => "fair",
            Self::Missing => "missing",
            Self::Fact => "-",
        }
    }
}

/// One row of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Finding {
    topic: String,
    status: Status,
    found: String,
    /// What to do about it; empty if there is nothing to do.
    cure: String,
}

impl Finding {
    fn new(topic: &str, status: Status, found: impl Into<String>) -> Self {
        Self { topic: topic.to_owned(), status, found: found.into(), cure: String::new() }
    }

    fn cure(self, cure: impl Into<String>) -> Self {
        Self { cure: cure.into(), ..self }
    }
}

/// Looks at the host and tells what was found, as a table or as JSON.
pub(crate) fn report(data_dir: &Path, json: bool) -> String {
    let mut findings = kernel::findings();
    findings.extend(limits::findings());
    findings.extend(data_dir::findings(data_dir));
    findings.extend(interfaces::findings());
    if json { as_json(&findings) } else { as_table(&findings) }
}

fn as_json(findings: &[Finding]) -> String {
    let rows: Vec<serde_json::Value> = findings
        .iter()
        .map(|finding| {
            serde_json::json!({
                "topic": finding.topic,
                "status": finding.status.word(),
                "found": finding.found,
                "cure": finding.cure,
            })
        })
        .collect();
    format!("{:#}\n", serde_json::Value::from(rows))
}

fn as_table(findings: &[Finding]) -> String {
    let width = |column: fn(&Finding) -> &str| {
        findings.iter().map(|finding| column(finding).chars().count()).max().unwrap_or(0)
    };
    let topic_width = width(|finding| &finding.topic);
    let status_width = width(|finding| finding.status.word());
    let mut table = String::new();
    for finding in findings {
        table.push_str(&format!(
            "{:topic_width$}  {:status_width$}  {}\n",
            finding.topic,
            finding.status.word(),
            finding.found
        ));
        if !finding.cure.is_empty() {
            let indent = topic_width + status_width + 4;
            table.push_str(&format!("{:indent$}-> {}\n", "", finding.cure));
        }
    }
    table
}

/// The trimmed text of a small file of /proc or /sys.
fn read(path: impl AsRef<Path>) -> Option<String> {
    std::fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings() -> Vec<Finding> {
        vec![
            Finding::new("kernel", Status::Good, "6.1"),
            Finding::new("AF_XDP", Status::Missing, "not \"permitted\"").cure("run as root"),
        ]
    }

    #[test]
    fn a_cure_stands_below_what_it_cures() {
        assert_eq!(
            as_table(&findings()),
            "kernel  ok       6.1\n\
             AF_XDP  missing  not \"permitted\"\n                 \
             -> run as root\n"
        );
    }

    #[test]
    fn json_has_the_same_rows() {
        let parsed: serde_json::Value = serde_json::from_str(&as_json(&findings())).unwrap();
        assert_eq!(parsed[1]["found"], "not \"permitted\"");
        assert_eq!(parsed[1]["cure"], "run as root");
        assert_eq!(parsed[0]["status"], "ok");
    }

    #[test]
    fn this_host_can_be_looked_at() {
        let text = report(Path::new("./there-is-no-such-directory/data"), false);
        for topic in ["kernel", "io_uring", "open files", "data directory", "AF_XDP"] {
            assert!(text.contains(topic), "{topic} is missing in {text}");
        }
    }
}
