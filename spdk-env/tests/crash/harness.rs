//! Random file operations on a simulated disk, compared with a model in memory at every point at
//! which the power may be cut.

use std::collections::BTreeMap;

use coney_spdk_env::device::sim::{CrashPoint, Faults, Image, SimDevice};
use coney_spdk_env::fs::{FileId, FileSystem, Finding, FormatOptions, FsError, check, format};
use coney_spdk_env::seed::Seeded;

/// One of so many crash points is looked at thoroughly.
const THOROUGH_EVERY: usize = 16;
/// There, units up to which every subset of the unflushed ones is tried.
const EXHAUSTIVE_UNITS_MAX: usize = 5;
/// Random subsets tried beyond that, besides none and all; and as many times all but one. At the other
/// points it is one of each.
const RANDOM_SUBSETS: u64 = 8;
const BLOCKS: u64 = 160;

/// Names with their content: what a mount shall find.
type Tree = BTreeMap<Vec<u8>, Vec<u8>>;

#[derive(Clone, Default)]
struct ModelFile {
    content: Vec<u8>,
    durable_len: usize,
    /// What is durable as long as the emptying of the file is not.
    writer: Option<FileId>,
}

/// The simple reference: names to numbers, numbers to files; a commit is a copy of it.
#[derive(Default)]
struct Model {
    names: BTreeMap<Vec<u8>, usize>,
    files: Vec<ModelFile>,
}

impl Model {
    /// What is found after a commit now.
    fn tree(&self) -> Tree {
        let found = self.names.iter().map(|(name, file)| {
            let file = &self.files[*file];
            (name.clone(), file.content[..file.durable_len].to_vec())
        });
        found.collect()
    }

    fn is_open(&self, name: &[u8]) -> bool {
        self.names.get(name).is_some_and(|file| self.files[*file].writer.is_some())
    }
}

/// What a run has done.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    /// Moments at which the power was cut.
    pub(crate) points: u64,
    /// Mounts after it, one for each subset of unflushed units.
    pub(crate) mounts: u64,
    /// Commits that the operations made.
    pub(crate) commits: u64,
    /// Snapshots among them.
    pub(crate) compactions: u64,
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.points += other.points;
        self.mounts += other.mounts;
        self.commits += other.commits;
        self.compactions += other.compactions;
    }
}

/// Runs `operations` random operations of `seed` and cuts the power everywhere.
///
/// # Panics
/// With the seed, if what a mount finds is not what was committed.
pub(crate) fn run(seed: u64, operations: usize, tally: &mut Tally) {
    let mut random = Seeded::new(seed);
    let uuid = u128::from(seed).to_le_bytes();
    let options = FormatOptions { uuid, journal_blocks: Some(16), force: false };
    let device = format(SimDevice::new(4096, BLOCKS, seed), &options).expect("formats");
    device.record();
    device.set_faults(Faults { delay_polls_max: 2, ..Faults::default() });
    let fs = FileSystem::mount(device).expect("mounts");
    let mut model = Model::default();
    // What is durable from which event on. Between two of them either may be found.
    let mut committed: Vec<(usize, Tree)> = vec![(0, Tree::new())];
    for step in 0..operations {
        let commits = fs.counters().commits;
        let description = operate(&fs, &mut model, &mut random);
        let space = fs.space();
        let sum = space.reserved + space.used + space.held + space.free;
        assert_eq!(sum, space.total, "seed {seed} step {step}: {description}");
        // With nothing pending a commit changes nothing, and needs no entry.
        if fs.counters().commits > commits {
            let events = fs.with_device(|device| device.recorded());
            committed.push((events, model.tree()));
        }
    }
    tally.commits += fs.counters().commits;
    tally.compactions += fs.counters().compactions;
    let device = fs.into_device();
    let history = device.take_history().expect("recorded since the format");
    for point in history.crash_points() {
        tally.points += 1;
        let last = committed.partition_point(|(events, _)| *events <= point.end) - 1;
        let next = committed.get(last + 1).map(|(_, tree)| tree);
        for_each_subset(&point, &mut random, |image| {
            tally.mounts += 1;
            let case = format!("seed {seed}, power cut after event {}", point.end);
            verify(image, &committed[last].1, next, seed, tally.mounts, &case);
        });
    }
}

/// One random operation, done to both. Returns its name.
fn operate(fs: &FileSystem<SimDevice>, model: &mut Model, random: &mut Seeded) -> &'static str {
    let name = [b'a' + u8::try_from(random.below(4)).expect("small")];
    let other = [b'a' + u8::try_from(random.below(4)).expect("small")];
    let file = model.names.get(name.as_slice()).copied();
    let writer = file.and_then(|file| model.files[file].writer);
    match (random.below(14), file, writer) {
        (0..=1, _, None) => create(fs, model, &name),
        (2..=5, Some(file), Some(id)) => append(fs, model, random, file, id),
        (6..=7, Some(file), Some(id)) => {
            // Together with another open file, if there is one.
            let mut group = vec![(file, id)];
            if let Some(&second) = model.names.get(other.as_slice())
                && second != file
                && let Some(id) = model.files[second].writer
            {
                group.push((second, id));
            }
            let ids: Vec<FileId> = group.iter().map(|(_, id)| *id).collect();
            fs.sync(&ids, 1).expect("syncs");
            for (file, _) in group {
                model.files[file].durable_len = model.files[file].content.len();
            }
            "sync"
        }
        (8, Some(file), Some(id)) => {
            let len = model.files[file].content.len();
            let len =
                usize::try_from(random.below(u64::try_from(len).expect("fits") + 1)).expect("fits");
            fs.truncate(id, u64::try_from(len).expect("fits"), 1).expect("truncates");
            model.files[file].content.truncate(len);
            model.files[file].durable_len = len;
            "truncate"
        }
        (9, Some(file), Some(id)) => {
            fs.close(id, true, 1).expect("closes");
            model.files[file].writer = None;
            model.files[file].durable_len = model.files[file].content.len();
            "close"
        }
        (9, Some(file), None) => {
            model.files[file].writer = Some(fs.open_append(&name).expect("opens"));
            "open_append"
        }
        (10, Some(_), None) => {
            fs.unlink(&name).expect("unlinks");
            model.names.remove(name.as_slice());
            "unlink"
        }
        (11, Some(file), _)
            if !model.is_open(&other) || model.names.get(other.as_slice()) == Some(&file) =>
        {
            fs.rename(&name, &other).expect("renames");
            // Two names of one file both stay.
            if model.names.get(other.as_slice()) != Some(&file) {
                model.names.remove(name.as_slice());
                model.names.insert(other.to_vec(), file);
            }
            "rename"
        }
        (12, Some(file), None) if !model.names.contains_key(other.as_slice()) => {
            fs.link(&name, &other).expect("links");
            model.names.insert(other.to_vec(), file);
            "link"
        }
        (13, ..) => {
            fs.commit().expect("commits");
            "commit"
        }
        (_, None, _) => create(fs, model, &name),
        (_, Some(file), Some(id)) => append(fs, model, random, file, id),
        (_, Some(_), None) => "nothing",
    }
}

fn create(fs: &FileSystem<SimDevice>, model: &mut Model, name: &[u8]) -> &'static str {
    let id = fs.create(name).expect("creates");
    match model.names.get(name) {
        Some(file) => model.files[*file] = ModelFile { writer: Some(id), ..ModelFile::default() },
        None => {
            model.names.insert(name.to_vec(), model.files.len());
            model.files.push(ModelFile { writer: Some(id), ..ModelFile::default() });
        }
    }
    "create"
}

fn append(
    fs: &FileSystem<SimDevice>,
    model: &mut Model,
    random: &mut Seeded,
    file: usize,
    id: FileId,
) -> &'static str {
    let len = if random.below(5) == 0 { random.below(20_000) } else { random.below(300) };
    let seed = random.next_u64();
    let bytes: Vec<u8> =
        (0..len).map(|at| (seed.wrapping_mul(at | 1) >> 40).to_le_bytes()[0]).collect();
    match fs.append(id, &bytes) {
        Ok(()) => model.files[file].content.extend_from_slice(&bytes),
        Err(error) => assert_eq!(error, FsError::NoSpace),
    }
    "append"
}

fn for_each_subset(point: &CrashPoint, random: &mut Seeded, mut each: impl FnMut(Image)) {
    let units = point.unflushed_len();
    let is_thorough = point.end.is_multiple_of(THOROUGH_EVERY);
    if units <= 1 || (is_thorough && units <= EXHAUSTIVE_UNITS_MAX) {
        for mask in 0..1u32 << units {
            each(point.image(|unit| mask & (1 << unit) != 0));
        }
        return;
    }
    each(point.image(|_| false));
    each(point.image(|_| true));
    for _ in 0..if is_thorough { RANDOM_SUBSETS } else { 1 } {
        let missing = random.below(u64::try_from(units).expect("fits"));
        each(point.image(|unit| u64::try_from(unit) != Ok(missing)));
        each(point.image(|_| random.below(2) == 0));
    }
}

/// Mounts what is left and compares; now and then works on and cuts the power once more.
fn verify(image: Image, last: &Tree, next: Option<&Tree>, seed: u64, round: u64, case: &str) {
    let mut device = SimDevice::from_image(4096, image, seed);
    if round.is_multiple_of(4) {
        let report;
        (device, report) = check(device).unwrap_or_else(|error| panic!("{case}: {error}"));
        let sums = |found: &Finding| matches!(found, Finding::SpaceDoesNotAddUp { .. });
        assert!(!report.findings.iter().any(sums), "{case}: {report:?}");
    }
    let fs = FileSystem::mount(device).unwrap_or_else(|error| panic!("{case}: {error}"));
    assert!(fs.with_device(|device| device.unflushed_len()) == 0, "{case}: mounting wrote");
    let mut found = tree(&fs);
    assert!(
        found == *last || next == Some(&found),
        "{case}: found {:?}, committed {:?}, committing {:?}",
        lengths(&found),
        lengths(last),
        next.map(lengths)
    );
    if round.is_multiple_of(16) {
        let file = fs.create(b"after").unwrap_or_else(|error| panic!("{case}: {error}"));
        let wrote = fs.append(file, &[0x5a; 5000]);
        if wrote == Err(FsError::NoSpace) {
            return;
        }
        fs.sync(&[file], 2).unwrap_or_else(|error| panic!("{case}: {error}"));
        let mut device = fs.into_device();
        device.power_cut(|_| false);
        let (device, report) = check(device).unwrap_or_else(|error| panic!("{case}: {error}"));
        assert_eq!(report.findings, [], "{case}");
        let fs = FileSystem::mount(device).unwrap_or_else(|error| panic!("{case}: {error}"));
        found.insert(b"after".to_vec(), vec![0x5a; 5000]);
        assert!(tree(&fs) == found, "{case}: worked on and lost something");
    }
}

fn tree(fs: &FileSystem<SimDevice>) -> Tree {
    let names = fs.list(b"/").expect("lists");
    let found = names.into_iter().map(|name| {
        let size = fs.metadata(&name).expect("exists").size;
        let mut content = vec![0; usize::try_from(size).expect("fits")];
        let file = fs.open_read(&name).expect("opens");
        assert_eq!(fs.read(file, 0, &mut content), Ok(content.len()));
        fs.close(file, false, 0).expect("closes");
        (name, content)
    });
    found.collect()
}

fn lengths(tree: &Tree) -> Vec<(String, usize)> {
    let each = |(name, content): (&Vec<u8>, &Vec<u8>)| {
        (String::from_utf8_lossy(name).into_owned(), content.len())
    };
    tree.iter().map(each).collect()
}
