//! Texts into values, by the rules of Redis's configuration.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use ipnet::IpNet;

use super::{Bind, OutputLimits, PinCores};

/// Why a text is no value of its key. Displayed as what follows "the value" or "argument".
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BadValue {
    /// Not a whole number.
    NotInteger,
    /// A number outside these bounds.
    OutOfRange(i64, i64),
    /// Neither yes nor no.
    NotBool,
    /// Not a number of bytes such as `64mb`.
    NotMemory,
    /// More than all.
    NotPercentage,
    /// None of these words.
    NotOneOf(Vec<&'static str>),
    /// Anything else; says what is expected.
    Expected(&'static str),
}

impl fmt::Display for BadValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotInteger => f.write_str("couldn't be parsed into an integer"),
            Self::OutOfRange(min, max) => write!(f, "must be between {min} and {max} inclusive"),
            Self::NotBool => f.write_str("must be 'yes' or 'no'"),
            Self::NotMemory => f.write_str("must be a memory value"),
            Self::NotPercentage => f.write_str("must be less or equal to 100"),
            Self::NotOneOf(words) => {
                write!(f, "must be one of the following: {}", words.join(", "))
            }
            Self::Expected(what) => write!(f, "must be {what}"),
        }
    }
}

/// A whole number within bounds.
pub(super) fn integer<T: TryFrom<i64>>(text: &str, min: i64, max: i64) -> Result<T, BadValue> {
    let number: i64 = text.parse().map_err(|_nan| BadValue::NotInteger)?;
    bounded(number, min, max)
}

/// A number of bytes within bounds: digits with an optional unit, `k`, `m`, `g` (powers of 1000)
/// or `kb`, `mb`, `gb` (powers of 1024), as in redis.conf.
pub(super) fn memory<T: TryFrom<i64>>(text: &str, min: i64, max: i64) -> Result<T, BadValue> {
    bounded(bytes(text).ok_or(BadValue::NotMemory)?, min, max)
}

/// `auto`, which is `None`, or a number of bytes within bounds.
pub(super) fn auto_memory<T: TryFrom<i64>>(
    text: &str,
    min: i64,
    max: i64,
) -> Result<Option<T>, BadValue> {
    if text.eq_ignore_ascii_case("auto") { Ok(None) } else { memory(text, min, max).map(Some) }
}

pub(super) fn show_auto_memory(bytes: Option<u64>) -> String {
    bytes.map_or_else(|| "auto".to_owned(), |bytes| bytes.to_string())
}

/// A number of bytes as [`memory`] reads it, for the command line.
///
/// # Errors
/// [`BadValue`].
pub fn size(text: &str) -> Result<u64, BadValue> {
    memory(text, 1, i64::MAX)
}

fn bounded<T: TryFrom<i64>>(number: i64, min: i64, max: i64) -> Result<T, BadValue> {
    let out_of_range = BadValue::OutOfRange(min, max);
    if !(min..=max).contains(&number) {
        return Err(out_of_range);
    }
    T::try_from(number).map_err(|_bounds_are_too_wide| out_of_range)
}

fn bytes(text: &str) -> Option<i64> {
    let text = text.trim().to_ascii_lowercase();
    let digits_len = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(digits_len);
    let scale: i64 = match unit.trim() {
        "" | "b" => 1,
        "k" => 1000,
        "kb" | "kib" => 1 << 10,
        "m" => 1_000_000,
        "mb" | "mib" => 1 << 20,
        "g" => 1_000_000_000,
        "gb" | "gib" => 1 << 30,
        _ => return None,
    };
    digits.parse::<i64>().ok()?.checked_mul(scale)
}

/// Classes of keyspace events in their usual order, once each. `A` stands for [`EVENTS_OF_A`].
pub(super) fn event_classes(text: &str) -> Result<String, BadValue> {
    const OTHERS: &str = "nKEm";
    let is_known = |c: char| c == 'A' || EVENTS_OF_A.contains(c) || OTHERS.contains(c);
    if !text.chars().all(is_known) {
        return Err(BadValue::Expected("letters of g$lshzxetdAnKEm"));
    }
    let is_all = text.contains('A') || EVENTS_OF_A.chars().all(|c| text.contains(c));
    let own = EVENTS_OF_A.chars().filter(|c| !is_all && text.contains(*c));
    let others = OTHERS.chars().filter(|c| text.contains(*c));
    Ok(is_all.then_some('A').into_iter().chain(own).chain(others).collect())
}

/// What `A` stands for in `notify-keyspace-events`.
const EVENTS_OF_A: &str = "g$lshzxetd";

/// An address with a port; an empty text is none.
pub(super) fn listen_address(text: &str) -> Result<Option<SocketAddr>, BadValue> {
    const EXPECTED: BadValue =
        BadValue::Expected("an IP address with a port such as 127.0.0.1:9121, or empty for none");
    if text.is_empty() { Ok(None) } else { text.parse().map(Some).map_err(|_unparsable| EXPECTED) }
}

pub(super) fn show_listen_address(address: &Option<SocketAddr>) -> String {
    address.map(|address| address.to_string()).unwrap_or_default()
}

/// yes or no; TOML's true and false mean the same.
pub(super) fn yes_no(text: &str) -> Result<bool, BadValue> {
    match text.to_ascii_lowercase().as_str() {
        "yes" | "true" => Ok(true),
        "no" | "false" => Ok(false),
        _ => Err(BadValue::NotBool),
    }
}

pub(super) fn show_bool(value: bool) -> String {
    if value { "yes" } else { "no" }.to_owned()
}

/// The words of a setting with their values.
pub(super) type Words<T> = &'static [(&'static str, T)];

/// The value that belongs to a word.
pub(super) fn choice<T: Copy>(text: &str, words: Words<T>) -> Result<T, BadValue> {
    let found = words.iter().find(|(word, _)| word.eq_ignore_ascii_case(text));
    let others = || BadValue::NotOneOf(words.iter().map(|(word, _)| *word).collect());
    found.map(|(_, value)| *value).ok_or_else(others)
}

/// The word that belongs to a value.
pub(super) fn word<T: PartialEq>(value: T, words: Words<T>) -> &'static str {
    words.iter().find(|(_, known)| *known == value).map_or("", |(word, _)| *word)
}

/// A directory; there is no default to fall back to.
pub(super) fn directory(text: &str) -> Result<PathBuf, BadValue> {
    if text.is_empty() { Err(BadValue::Expected("a directory")) } else { Ok(text.into()) }
}

pub(super) fn show_path(path: &Path) -> String {
    path.display().to_string()
}

/// The name of a network interface, or nothing.
pub(super) fn interface_name(text: &str) -> Result<String, BadValue> {
    // IFNAMSIZ, from linux/if.h, counts the terminating zero.
    if text.len() > 15 || text.contains(['/', ' ']) {
        return Err(BadValue::Expected("the name of a network interface, such as eth0"));
    }
    Ok(text.to_owned())
}

/// What is logged.
pub(super) fn log_filter(text: &str) -> Result<String, BadValue> {
    if text.is_empty() {
        return Err(BadValue::Expected(
            "error, warn, info, debug, trace, or a filter such as info,coney_datapath=debug",
        ));
    }
    Ok(text.to_owned())
}

/// Addresses separated by spaces; `*` is every IPv4 address, `::*` every IPv6 one.
pub(super) fn binds(text: &str) -> Result<Vec<Bind>, BadValue> {
    let bad = BadValue::Expected(
        "one or more IP addresses, each with a minus before it if it may be missing, such as \
         127.0.0.1 -::1",
    );
    let binds: Vec<Bind> = text
        .split_ascii_whitespace()
        .map(|word| {
            let (is_optional, word) = match word.strip_prefix('-') {
                Some(rest) => (true, rest),
                None => (false, word),
            };
            let addr: IpAddr = match word {
                "*" => "0.0.0.0".parse().ok()?,
                "::*" => "::".parse().ok()?,
                _ => word.parse().ok()?,
            };
            Some(Bind { addr, is_optional })
        })
        .collect::<Option<_>>()
        .ok_or_else(|| bad.clone())?;
    if binds.is_empty() { Err(bad) } else { Ok(binds) }
}

pub(super) fn show_binds(binds: &[Bind]) -> String {
    let word = |bind: &Bind| format!("{}{}", if bind.is_optional { "-" } else { "" }, bind.addr);
    binds.iter().map(word).collect::<Vec<_>>().join(" ")
}

/// Addresses and networks separated by spaces, such as `10.0.0.0/8`; none is possible.
pub(super) fn networks(text: &str) -> Result<Vec<IpNet>, BadValue> {
    text.split_ascii_whitespace()
        .map(|word| {
            let network: IpNet = match word.parse() {
                Ok(network) => network,
                Err(_not_a_network) => IpNet::from(word.parse::<IpAddr>().ok()?),
            };
            // 10.1.2.3/8 may mean one host or 16 million: whoever wrote it shall say.
            (network == network.trunc()).then_some(network)
        })
        .collect::<Option<_>>()
        .ok_or(BadValue::Expected(
            "IP addresses or networks without bits beyond their prefix, such as 192.0.2.7 \
             10.0.0.0/8 2001:db8::/32",
        ))
}

pub(super) fn show_networks(networks: &[IpNet]) -> String {
    networks.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

/// `auto`, `off`, or core numbers separated by spaces or commas.
pub(super) fn pin_cores(text: &str) -> Result<PinCores, BadValue> {
    match text {
        "auto" => Ok(PinCores::Auto),
        "off" => Ok(PinCores::Off),
        list => list
            .split([' ', ','])
            .filter(|word| !word.is_empty())
            .map(|word| word.parse().ok())
            .collect::<Option<Vec<usize>>>()
            .filter(|cores| !cores.is_empty())
            .map(PinCores::List)
            .ok_or(BadValue::Expected("auto, off, or core numbers such as 2 3")),
    }
}

pub(super) fn show_pin_cores(pin_cores: &PinCores) -> String {
    match pin_cores {
        PinCores::Auto => "auto".to_owned(),
        PinCores::Off => "off".to_owned(),
        PinCores::List(cores) => {
            cores.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        }
    }
}

/// Groups of class, hard limit, soft limit and seconds; classes that are not named keep theirs.
pub(super) fn output_limits(limits: &mut OutputLimits, text: &str) -> Result<(), BadValue> {
    let bad = BadValue::Expected(
        "groups of a class (normal, replica, pubsub), hard limit, soft limit and seconds, such as \
         normal 0 0 0",
    );
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let mut new = *limits;
    let (groups, rest) = words.as_chunks::<4>();
    if !rest.is_empty() || groups.is_empty() {
        return Err(bad);
    }
    for [class, hard, soft, secs] in groups {
        let limit = match class.to_ascii_lowercase().as_str() {
            "normal" => &mut new.normal,
            "replica" | "slave" => &mut new.replica,
            "pubsub" => &mut new.pubsub,
            _ => return Err(bad),
        };
        *limit = [
            memory(hard, 0, i64::MAX)?,
            memory(soft, 0, i64::MAX)?,
            integer(secs, 0, i64::from(i32::MAX))?,
        ];
    }
    *limits = new;
    Ok(())
}

pub(super) fn show_output_limits(limits: &OutputLimits) -> String {
    let group = |name: &str, [hard, soft, secs]: [u64; 3]| format!("{name} {hard} {soft} {secs}");
    [group("normal", limits.normal), group("slave", limits.replica), group("pubsub", limits.pubsub)]
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_values_have_redis_units() {
        for (text, expected) in [
            ("0", Ok(0)),
            ("1k", Ok(1000)),
            ("1kb", Ok(1024)),
            ("2Mb", Ok(2 << 20)),
            ("3 gb", Ok(3 << 30)),
            ("", Err(BadValue::NotMemory)),
            ("-1", Err(BadValue::NotMemory)),
            ("1tb", Err(BadValue::NotMemory)),
            ("99999999999999999999", Err(BadValue::NotMemory)),
            ("9999999999gb", Err(BadValue::NotMemory)),
            ("4gb", Err(BadValue::OutOfRange(0, 3 << 30))),
        ] {
            assert_eq!(memory::<i64>(text, 0, 3 << 30), expected, "{text}");
        }
    }

    #[test]
    fn integers_say_whether_they_are_none_or_out_of_range() {
        assert_eq!(integer::<u16>("80", 0, 65_535), Ok(80));
        assert_eq!(integer::<u16>("65536", 0, 65_535), Err(BadValue::OutOfRange(0, 65_535)));
        assert_eq!(integer::<u16>("x", 0, 65_535), Err(BadValue::NotInteger));
    }

    #[test]
    fn lists_read_back() {
        for text in ["127.0.0.1 -::1", "0.0.0.0", "-10.0.0.1 ::"] {
            assert_eq!(show_binds(&binds(text).unwrap()), text);
        }
        assert!(binds("localhost").is_err());
        assert!(binds("").is_err());
        for text in ["", "10.0.0.0/8 2001:db8::/32 192.0.2.7/32 0.0.0.0/0"] {
            assert_eq!(show_networks(&networks(text).unwrap()), text);
        }
        assert_eq!(show_networks(&networks("192.0.2.7 ::1").unwrap()), "192.0.2.7/32 ::1/128");
        for text in ["10.0.0.1/8", "10.0.0.0/33", "localhost", "10.0.0.0/", "10.0.0.0/8,::1"] {
            assert!(networks(text).is_err(), "{text}");
        }
        for (text, bytes) in [("auto", None), ("0", Some(0)), ("4096", Some(4096))] {
            assert_eq!(auto_memory(text, 0, 5000), Ok(bytes));
            assert_eq!(show_auto_memory(bytes), text);
        }
        assert_eq!(auto_memory::<u64>("6kb", 0, 5000), Err(BadValue::OutOfRange(0, 5000)));
        for text in ["auto", "off", "0 3"] {
            assert_eq!(show_pin_cores(&pin_cores(text).unwrap()), text);
        }
        assert!(pin_cores("0-3").is_err());
        let mut limits = OutputLimits::default();
        output_limits(&mut limits, "normal 1mb 2 3").unwrap();
        assert_eq!(limits.normal, [1 << 20, 2, 3]);
        assert!(output_limits(&mut limits, "normal 0 0").is_err());
        assert!(output_limits(&mut limits, "other 0 0 0").is_err());
        assert_eq!(
            show_output_limits(&OutputLimits::default()),
            "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60"
        );
    }
}
