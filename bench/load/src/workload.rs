//! Which operations there are, how often each comes, and what each sends.

use rand::{Rng, RngExt};

use crate::keys::{Chooser, KeySpace};
use crate::request;

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Workload {
    /// PING.
    Ping,
    /// GET.
    Get,
    /// SET.
    Set,
    /// GET and SET, see --read-share.
    Mixed,
    /// INCR.
    Incr,
    /// YCSB: half reads, half updates, zipfian.
    YcsbA,
    /// YCSB: 95 % reads, 5 % updates, zipfian.
    YcsbB,
    /// YCSB: reads only, zipfian.
    YcsbC,
    /// YCSB: 95 % reads of the latest records, 5 % inserts.
    YcsbD,
    /// YCSB: 95 % scans of up to 100 records, 5 % inserts, zipfian.
    YcsbE,
    /// YCSB: half reads, half read-modify-writes, zipfian.
    YcsbF,
}

/// Fields of a YCSB record.
const FIELDS: usize = 10;
/// Records of the longest YCSB scan.
const SCAN_RECORDS_MAX: u64 = 100;
/// The sorted set that scans look records up in.
const INDEX: &[u8] = b"_indices";
/// Values are pieces of so many random letters.
const LETTERS_LEN: usize = 1 << 20;

/// One kind of operation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Ping,
    Get,
    Set,
    Incr,
    /// The user's own command, in parts: see [`template`].
    Own(Vec<String>),
    /// All fields of a record.
    Read,
    /// One field of a record.
    Update,
    /// A record that is not there yet, and its entry in the index.
    Insert,
    /// Some records in the order of the index: first their names, then all of them.
    Scan,
    /// A record is read, then one of its fields written.
    ReadModifyWrite,
}

impl Kind {
    /// As the tables call it.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Ping => "PING".to_owned(),
            Self::Get => "GET".to_owned(),
            Self::Set => "SET".to_owned(),
            Self::Incr => "INCR".to_owned(),
            Self::Own(parts) => parts.first().map_or_else(String::new, |it| it.to_uppercase()),
            Self::Read => "read".to_owned(),
            Self::Update => "update".to_owned(),
            Self::Insert => "insert".to_owned(),
            Self::Scan => "scan".to_owned(),
            Self::ReadModifyWrite => "read-modify-write".to_owned(),
        }
    }

    /// Whether more requests follow once the first were answered.
    pub(crate) fn has_second_stage(&self) -> bool {
        matches!(self, Self::Scan | Self::ReadModifyWrite)
    }

    /// Whether a reply of nothing means that a key is missing.
    pub(crate) fn expects_something(&self) -> bool {
        matches!(self, Self::Get | Self::Read | Self::Scan | Self::ReadModifyWrite)
    }
}

/// The command line's command: words, in which `__key__` and `__value__` are replaced.
pub(crate) fn template(text: &str) -> Option<Kind> {
    let parts: Vec<String> = text.split_whitespace().map(ToOwned::to_owned).collect();
    (!parts.is_empty()).then_some(Kind::Own(parts))
}

/// Kinds with their shares of all operations.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Mix {
    /// Each with the sum of the shares up to it; the last is 1.
    kinds: Vec<(Kind, f64)>,
}

impl Mix {
    pub(crate) fn of(workload: Workload, read_share: f64) -> Self {
        let share = |first, share, second| Self { kinds: vec![(first, share), (second, 1.0)] };
        match workload {
            Workload::Ping => Self::only(Kind::Ping),
            Workload::Get => Self::only(Kind::Get),
            Workload::Set => Self::only(Kind::Set),
            Workload::Incr => Self::only(Kind::Incr),
            Workload::Mixed => share(Kind::Get, read_share, Kind::Set),
            Workload::YcsbA => share(Kind::Read, 0.5, Kind::Update),
            Workload::YcsbB => share(Kind::Read, 0.95, Kind::Update),
            Workload::YcsbC => Self::only(Kind::Read),
            Workload::YcsbD => share(Kind::Read, 0.95, Kind::Insert),
            Workload::YcsbE => share(Kind::Scan, 0.95, Kind::Insert),
            Workload::YcsbF => share(Kind::Read, 0.5, Kind::ReadModifyWrite),
        }
    }

    pub(crate) fn only(kind: Kind) -> Self {
        Self { kinds: vec![(kind, 1.0)] }
    }

    pub(crate) fn kinds(&self) -> impl ExactSizeIterator<Item = &Kind> {
        self.kinds.iter().map(|(kind, _)| kind)
    }

    /// What writes the records that this mix works on.
    pub(crate) fn loader(&self) -> Kind {
        let is_record = |kind: &Kind| {
            matches!(
                kind,
                Kind::Read | Kind::Update | Kind::Insert | Kind::Scan | Kind::ReadModifyWrite
            )
        };
        if self.kinds().any(is_record) { Kind::Insert } else { Kind::Set }
    }

    /// The index of a kind, by its share.
    pub(crate) fn choose(&self, rng: &mut impl Rng) -> usize {
        let at: f64 = rng.random();
        self.kinds.iter().position(|(_, until)| at < *until).unwrap_or(self.kinds.len() - 1)
    }

    /// The kind with this index.
    ///
    /// # Panics
    /// If there is none: indexes come from [`Mix::choose`].
    pub(crate) fn kind(&self, index: usize) -> &Kind {
        self.kinds.get(index).map(|(kind, _)| kind).expect("an index of this mix")
    }
}

/// Writes requests.
#[derive(Debug)]
pub(crate) struct Writer {
    letters: Vec<u8>,
    /// Shortest and longest value, in bytes.
    value_bytes: (usize, usize),
    chooser: Chooser,
    key: Vec<u8>,
}

impl Writer {
    pub(crate) fn new(chooser: Chooser, value_bytes: (usize, usize), rng: &mut impl Rng) -> Self {
        let mut letters = vec![0; LETTERS_LEN + value_bytes.1];
        for letter in &mut letters {
            *letter = rng.random_range(b'0'..=b'z');
        }
        Self { letters, value_bytes, chooser, key: Vec::new() }
    }

    /// Appends the first requests of an operation; how many there are, and the number of its key.
    pub(crate) fn start(
        &mut self,
        kind: &Kind,
        space: &KeySpace,
        rng: &mut impl Rng,
        out: &mut Vec<u8>,
    ) -> (usize, u64) {
        let id = match kind {
            Kind::Ping => 0,
            Kind::Insert => space.insert(),
            _ => self.chooser.choose(space, rng),
        };
        match kind {
            Kind::Ping => request::write(out, &[b"PING"]),
            Kind::Get => {
                self.name("key:", id);
                request::write(out, &[b"GET", &self.key]);
            }
            Kind::Set | Kind::Insert => return (self.load(kind, id, rng, out), id),
            Kind::Incr => {
                self.name("counter:", id);
                request::write(out, &[b"INCR", &self.key]);
            }
            Kind::Own(parts) => {
                self.name("key:", id);
                let value = self.value(rng);
                let filled: Vec<&[u8]> = parts
                    .iter()
                    .map(|part| match part.as_str() {
                        "__key__" => self.key.as_slice(),
                        "__value__" => value,
                        other => other.as_bytes(),
                    })
                    .collect();
                request::write(out, &filled);
            }
            Kind::Read | Kind::ReadModifyWrite => {
                self.name("user", id);
                request::write(out, &[b"HGETALL", &self.key]);
            }
            Kind::Update => self.update(id, rng, out),
            Kind::Scan => {
                let count = rng.random_range(1..=SCAN_RECORDS_MAX).to_string();
                let score = score(id).to_string();
                let limit: [&[u8]; 4] = [b"BYSCORE", b"LIMIT", b"0", count.as_bytes()];
                let mut parts: Vec<&[u8]> = vec![b"ZRANGE", INDEX, score.as_bytes(), b"+inf"];
                parts.extend(limit);
                request::write(out, &parts);
            }
        }
        (1, id)
    }

    /// Appends the requests of an operation on key `id` that follow once the first were answered with
    /// `elements`; how many there are.
    pub(crate) fn follow(
        &mut self,
        kind: &Kind,
        id: u64,
        elements: &[Vec<u8>],
        rng: &mut impl Rng,
        out: &mut Vec<u8>,
    ) -> usize {
        match kind {
            Kind::Scan => {
                for name in elements {
                    request::write(out, &[b"HGETALL", name]);
                }
                elements.len()
            }
            Kind::ReadModifyWrite => {
                self.update(id, rng, out);
                1
            }
            _ => 0,
        }
    }

    /// Appends what writes the key or record `id`; how many requests it is.
    pub(crate) fn load(
        &mut self,
        kind: &Kind,
        id: u64,
        rng: &mut impl Rng,
        out: &mut Vec<u8>,
    ) -> usize {
        if *kind == Kind::Insert {
            return self.insert(id, rng, out);
        }
        self.name("key:", id);
        request::write(out, &[b"SET", &self.key, self.value(rng)]);
        1
    }

    fn insert(&mut self, id: u64, rng: &mut impl Rng, out: &mut Vec<u8>) -> usize {
        self.name("user", id);
        let names: Vec<String> = (0..FIELDS).map(|field| format!("field{field}")).collect();
        let mut parts: Vec<&[u8]> = vec![b"HSET", &self.key];
        for name in &names {
            parts.extend([name.as_bytes(), self.value(rng)]);
        }
        request::write(out, &parts);
        request::write(out, &[b"ZADD", INDEX, score(id).to_string().as_bytes(), &self.key]);
        2
    }

    fn update(&mut self, id: u64, rng: &mut impl Rng, out: &mut Vec<u8>) {
        self.name("user", id);
        let field = format!("field{}", rng.random_range(0..FIELDS));
        request::write(out, &[b"HSET", &self.key, field.as_bytes(), self.value(rng)]);
    }

    /// redis-benchmark's names: a prefix and twelve digits.
    fn name(&mut self, prefix: &str, id: u64) {
        self.key.clear();
        self.key.extend_from_slice(prefix.as_bytes());
        let mut digits = [b'0'; 12];
        let mut rest = id;
        for digit in digits.iter_mut().rev() {
            *digit = b'0' + u8::try_from(rest % 10).unwrap_or_default();
            rest /= 10;
        }
        self.key.extend_from_slice(&digits);
    }

    fn value(&self, rng: &mut impl Rng) -> &[u8] {
        let (shortest, longest) = self.value_bytes;
        let len = if shortest == longest { shortest } else { rng.random_range(shortest..=longest) };
        let at = rng.random_range(0..LETTERS_LEN);
        self.letters.get(at..at + len).unwrap_or_default()
    }
}

/// Where a record stands in the index: any place, and exact as a double.
fn score(id: u64) -> u64 {
    id.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 12
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    use super::*;
    use crate::keys::Distribution;

    fn writer(value_bytes: (usize, usize)) -> (Writer, KeySpace, SmallRng) {
        let mut rng = SmallRng::seed_from_u64(3);
        let chooser = Chooser::new(Distribution::Sequential, 10, 0.99).unwrap();
        (Writer::new(chooser, value_bytes, &mut rng), KeySpace::new(10), rng)
    }

    fn sent(kind: &Kind, value_bytes: (usize, usize)) -> (String, usize) {
        let (mut writer, space, mut rng) = writer(value_bytes);
        let mut out = Vec::new();
        let (count, _) = writer.start(kind, &space, &mut rng, &mut out);
        (String::from_utf8(out).unwrap(), count)
    }

    #[test]
    fn operations_are_the_requests_that_they_should_be() {
        assert_eq!(sent(&Kind::Get, (1, 1)).0, "*2\r\n$3\r\nGET\r\n$16\r\nkey:000000000000\r\n");
        let (own, _) = sent(&template("lpush l:__key__ __key__ __value__").unwrap(), (0, 0));
        let expected =
            "*4\r\n$5\r\nlpush\r\n$9\r\nl:__key__\r\n$16\r\nkey:000000000000\r\n$0\r\n\r\n";
        assert_eq!(own, expected, "only whole words are replaced");
        let (insert, count) = sent(&Kind::Insert, (100, 100));
        assert_eq!(count, 2);
        assert!(insert.starts_with("*22\r\n$4\r\nHSET\r\n$16\r\nuser000000000010\r\n"), "{insert}");
        assert!(insert.contains("*4\r\n$4\r\nZADD\r\n"), "{insert}");
    }

    #[test]
    fn shares_are_kept() {
        let mix = Mix::of(Workload::YcsbB, 0.0);
        let mut rng = SmallRng::seed_from_u64(5);
        let reads = (0..10_000).filter(|_| *mix.kind(mix.choose(&mut rng)) == Kind::Read).count();
        assert!((9_400..9_600).contains(&reads), "{reads}");
    }

    #[test]
    fn values_have_every_length_of_their_range() {
        let (writer, _, mut rng) = writer((2, 4));
        let mut seen = [0; 5];
        for _ in 0..300 {
            seen[writer.value(&mut rng).len()] += 1;
        }
        assert!(seen[2] > 50 && seen[3] > 50 && seen[4] > 50 && seen[0] + seen[1] == 0, "{seen:?}");
    }
}
