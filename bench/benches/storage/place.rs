//! Where a database can be.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use coney_spdk_env::device::uring::UringDevice;
use coney_spdk_env::fs::{FileSystem, FormatOptions, format};
use coney_spdk_env_shim::{Mounted, env};
use rocksdb::{BlockBasedOptions, Cache, DB, DBCompressionType, Env, Options};
use rustix::fs::{Advice, fadvise};

use super::Error;

/// What is compared.
pub(super) const PLACES: &[&str] = if cfg!(feature = "spdk") {
    &["ext4", "direct", "uring", "spdk aio"]
} else {
    &["ext4", "direct", "uring"]
};

/// Of the device's file, for each entry: two databases, and room for compactions.
const DEVICE_LEN_PER_ENTRY: u64 = 2048;
/// RocksDB reserves whole tables and logs.
const DEVICE_LEN_MIN: u64 = 512 << 20;
/// Of each of the two memtables that a database has at most.
const MEMTABLE_LEN: usize = 4 << 20;
/// Of each table that a compaction reads. RocksDB's default of 2 MiB would be half of the memory here, where
/// the file system reads nothing ahead.
const COMPACTION_READ_AHEAD_LEN: usize = 256 << 10;

/// Where databases are, and what has to live as long.
pub(super) struct Place {
    directory: PathBuf,
    env: Env,
    /// The files are those of an ordinary file system.
    is_posix: bool,
    direct: bool,
    block_cache_len: usize,
    /// Blocks of new tables go into the block cache.
    prepopulates: bool,
}

impl Place {
    /// The place called `name`, in a new directory `scratch`, or on a new file system in the file `device`.
    pub(super) fn new(
        name: &str,
        scratch: &Path,
        device: &Path,
        block_cache_len: usize,
        prepopulates: bool,
    ) -> Result<Self, Error> {
        let (env, is_posix) = match name {
            "ext4" | "direct" => (Env::new()?, true),
            "uring" => (on(UringDevice::open(device)?)?, false),
            #[cfg(feature = "spdk")]
            "spdk aio" => (on(aio(device)?)?, false),
            _ => return Err("no such place".into()),
        };
        let directory = if is_posix { scratch.to_owned() } else { PathBuf::from("/") };
        Ok(Self {
            directory,
            env,
            is_posix,
            direct: name == "direct",
            block_cache_len,
            prepopulates,
        })
    }

    pub(super) fn open(&self, name: &str) -> Result<DB, Error> {
        let mut options = Options::default();
        options.create_if_missing(true);
        options.set_env(&self.env);
        options.increase_parallelism(2);
        options.set_write_buffer_size(MEMTABLE_LEN);
        options.set_compression_type(DBCompressionType::None);
        options.set_bytes_per_sync(1 << 20);
        options.set_wal_bytes_per_sync(1 << 20);
        options.set_use_direct_reads(self.direct);
        options.set_use_direct_io_for_flush_and_compaction(self.direct);
        options.set_compaction_readahead_size(COMPACTION_READ_AHEAD_LEN);
        let mut table = BlockBasedOptions::default();
        table.set_block_cache(&Cache::new_lru_cache(self.block_cache_len));
        table.set_bloom_filter(10.0, false);
        options.set_block_based_table_factory(&table);
        let db = DB::open(&options, self.directory.join(name))?;
        if self.prepopulates {
            let table = "{prepopulate_block_cache=kFlushOnly;}";
            db.set_options(&[("block_based_table_factory", table)])?;
        }
        Ok(db)
    }

    /// Takes the files of a database that is closed out of the page cache, if they are in it.
    pub(super) fn forget_pages(&self, name: &str) -> Result<(), Error> {
        if !self.is_posix {
            return Ok(());
        }
        for entry in std::fs::read_dir(self.directory.join(name))? {
            let file = std::fs::File::open(entry?.path())?;
            // Pages that are not written yet would stay.
            file.sync_all()?;
            fadvise(&file, 0, None, Advice::DontNeed)?;
        }
        Ok(())
    }
}

/// A file for [`Place::new`] to make file systems in.
pub(super) fn make_device(path: &Path, entries: u64) -> Result<(), Error> {
    let file = std::fs::File::create_new(path)?;
    // Written, not only reserved: ext4 has to note the first write to each reserved block.
    let chunk = vec![0; 1 << 20];
    for _ in 0..(entries * DEVICE_LEN_PER_ENTRY).max(DEVICE_LEN_MIN).div_ceil(1 << 20) {
        std::io::Write::write_all(&mut &file, &chunk)?;
    }
    file.sync_all()?;
    Ok(fadvise(&file, 0, None, Advice::DontNeed)?)
}

/// A new file system on a device.
fn on<D>(device: D) -> Result<Env, Error>
where
    D: coney_spdk_env::BlockDevice + Send + std::fmt::Debug + 'static,
{
    // What is left of an older one in the same file is told from the new one by this.
    let uuid = u128::from(std::process::id()).to_be_bytes();
    let options = FormatOptions { uuid, journal_blocks: None, force: true };
    let mounted = Arc::new(Mounted::new(FileSystem::mount(format(device, &options)?)?));
    Ok(env(&mounted)?)
}

/// SPDK's aio bdev on a file.
#[cfg(feature = "spdk")]
fn aio(file: &Path) -> Result<impl coney_spdk_env::BlockDevice + Send + std::fmt::Debug, Error> {
    use coney_spdk_env::device::spdk::{Spdk, SpdkOptions};
    let config = format!(
        r#"{{"subsystems":[{{"subsystem":"bdev","config":[
            {{"method":"bdev_aio_create","params":{{"name":"A","filename":"{}","block_size":4096}}}}]}}]}}"#,
        file.display()
    );
    let options =
        SpdkOptions { config: config.into_bytes(), no_huge: true, ..SpdkOptions::default() };
    Ok(Spdk::start(&options)?.open("A")?)
}
