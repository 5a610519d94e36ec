//! What the user asked for, checked and complete.

use std::time::Duration;

use crate::cli::BenchArgs;
use crate::keys::Distribution;
use crate::wire::Transport;
use crate::workload::{Mix, Workload, template};

/// Connections that one run may have.
const CONNECTIONS_MAX: usize = 60_000;
/// Operations on their way for one connection.
const PIPELINE_MAX: usize = 10_000;
/// Longest value.
const VALUE_BYTES_MAX: usize = 512 << 20;
/// Operations on their way while keys are written before the measurement.
pub(crate) const LOAD_PIPELINE: usize = 32;

/// An option that makes no sense.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("--{option}: {problem}")]
pub struct BadOption {
    option: &'static str,
    problem: String,
}

/// See the module page.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) args: BenchArgs,
    pub(crate) name: String,
    pub(crate) mix: Mix,
    pub(crate) distribution: Distribution,
    pub(crate) value_bytes: (usize, usize),
    pub(crate) warm_up: Duration,
    pub(crate) measured: Duration,
}

impl Plan {
    /// # Errors
    /// [`BadOption`].
    pub(crate) fn new(args: &BenchArgs) -> Result<Self, BadOption> {
        let in_range = |option, value: usize, most: usize| {
            let problem = format!("a number from 1 to {most} is needed, not {value}");
            (1..=most).contains(&value).then_some(()).ok_or(BadOption { option, problem })
        };
        in_range("connections", args.connections, CONNECTIONS_MAX)?;
        in_range("pipeline", args.pipeline, PIPELINE_MAX)?;
        in_range("threads", args.threads, args.connections)?;
        if args.transport == Transport::Xdp && args.threads > 1 {
            let problem = "over AF_XDP there is one, which has the interface's queue".to_owned();
            return Err(BadOption { option: "threads", problem });
        }
        let positive = |option, value: f64| {
            let problem = format!("a number greater than 0 is needed, not {value}");
            (value.is_finite() && value > 0.0).then_some(()).ok_or(BadOption { option, problem })
        };
        positive("seconds", args.seconds)?;
        positive("theta", args.theta)?;
        if let Some(rate) = args.rate {
            positive("rate", rate)?;
        }
        if !(0.0..=1.0).contains(&args.read_share) {
            let problem = "a share is a number from 0 to 1".to_owned();
            return Err(BadOption { option: "read-share", problem });
        }
        let duration = |option, seconds: f64| {
            Duration::try_from_secs_f64(seconds)
                .map_err(|error| BadOption { option, problem: error.to_string() })
        };
        let (name, mix) = match &args.command {
            Some(command) => {
                let problem = "the command is empty".to_owned();
                let kind = template(command).ok_or(BadOption { option: "command", problem })?;
                (command.clone(), Mix::only(kind))
            }
            None => {
                let name = clap::ValueEnum::to_possible_value(&args.workload)
                    .map_or_else(String::new, |value| value.get_name().to_owned());
                (name, Mix::of(args.workload, args.read_share))
            }
        };
        let (distribution, value_bytes) = defaults(args);
        Ok(Self {
            name,
            mix,
            distribution: args.distribution.unwrap_or(distribution),
            value_bytes: match &args.value_bytes {
                None => (value_bytes, value_bytes),
                Some(text) => range(text)?,
            },
            warm_up: duration("warm-up", args.warm_up)?,
            measured: duration("seconds", args.seconds)?,
            args: args.clone(),
        })
    }
}

/// The workload's own distribution and its bytes of a value.
fn defaults(args: &BenchArgs) -> (Distribution, usize) {
    match args.workload {
        _ if args.command.is_some() => (Distribution::Uniform, 64),
        Workload::Ping | Workload::Get | Workload::Set | Workload::Mixed | Workload::Incr => {
            (Distribution::Uniform, 64)
        }
        Workload::YcsbD => (Distribution::Latest, 100),
        Workload::YcsbA | Workload::YcsbB | Workload::YcsbC | Workload::YcsbE | Workload::YcsbF => {
            (Distribution::Zipfian, 100)
        }
    }
}

fn range(text: &str) -> Result<(usize, usize), BadOption> {
    let problem = format!(
        "{text} is no number of bytes up to {VALUE_BYTES_MAX}, and no range such as 16-1024"
    );
    let bad = BadOption { option: "value-bytes", problem };
    let number = |text: &str| text.parse().ok().filter(|bytes| *bytes <= VALUE_BYTES_MAX);
    let (least, most) = text.split_once('-').unwrap_or((text, text));
    match (number(least), number(most)) {
        (Some(least), Some(most)) if least <= most => Ok((least, most)),
        _ => Err(bad),
    }
}

#[cfg(test)]
mod tests {
    use clap::{Args as _, FromArgMatches as _};

    use super::*;

    fn plan(line: &str) -> Result<Plan, BadOption> {
        let command = BenchArgs::augment_args(clap::Command::new("bench").no_binary_name(true));
        let matches = command.try_get_matches_from(line.split_whitespace()).unwrap();
        Plan::new(&BenchArgs::from_arg_matches(&matches).unwrap())
    }

    #[test]
    fn a_workload_brings_its_distribution_and_its_sizes() {
        let latest = plan("--workload ycsb-d").unwrap();
        assert_eq!((latest.distribution, latest.value_bytes), (Distribution::Latest, (100, 100)));
        let mine = plan("--workload ycsb-d --distribution uniform --value-bytes 1-9").unwrap();
        assert_eq!((mine.distribution, mine.value_bytes), (Distribution::Uniform, (1, 9)));
        assert_eq!(plan("").unwrap().name, "get");
    }

    #[test]
    fn nonsense_is_refused_with_the_option_s_name() {
        for (line, option) in [
            ("--connections 0", "connections"),
            ("--threads 51", "threads"),
            ("--rate 0", "rate"),
            ("--rate -5", "rate"),
            ("--seconds NaN", "seconds"),
            ("--value-bytes 9-1", "value-bytes"),
            ("--value-bytes x", "value-bytes"),
            ("--read-share 2", "read-share"),
            ("--transport xdp --interface veth0 --threads 2", "threads"),
        ] {
            let line = line.replace(" -5", "=-5");
            assert_eq!(plan(&line).unwrap_err().option, option, "{line}");
        }
    }
}
