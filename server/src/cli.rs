//! The command line.

use std::net::IpAddr;
#[cfg(feature = "spdk")]
use std::path::Path;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::settings::{Flag, SettingsError};

/// Coney: a Redis-compatible key-value server whose data lives on disk.
#[derive(Debug, Parser)]
#[command(
    name = "coney",
    version,
    arg_required_else_help = true,
    after_help = "Start here:\n  coney serve                     serve on 127.0.0.1:6379, data in ./data\n  \
                  coney check                     what this host can do, and what is missing\n  \
                  coney bench                     how fast is the server that runs here\n  \
                  coney config > coney.toml       every setting with its default and its meaning"
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve clients
    Serve(Box<ServeArgs>),
    /// Tell what works on this host: kernel, privileges, interfaces, limits, data directory
    Check(CheckArgs),
    /// Measure a server, this one or any that speaks Redis's protocol
    Bench(Box<coney_load::BenchArgs>),
    /// Print the commented configuration file with every setting's default
    Config,
    /// Make a file system for --storage uring on a block device or in a file
    Mkfs(MkfsArgs),
    /// Check such a file system; writes nothing unless told to
    Fsck(FsckArgs),
    /// Look into such a file system, or copy a database out of or into it
    Fs(FsArgs),
}

#[derive(Debug, Args)]
#[command(
    after_help = "Any key of the configuration file can be set with --set, such as --set hot-cache=1gb.\n\
                        `coney config` prints all keys. Flags go before the file, the file before defaults."
)]
pub(crate) struct ServeArgs {
    /// TCP port; 0 chooses a free one [default: 6379]
    #[arg(long, value_name = "PORT")]
    port: Option<String>,
    /// Address to listen on; may be repeated [default: 127.0.0.1 and ::1]
    #[arg(long, value_name = "ADDRESS")]
    bind: Vec<IpAddr>,
    /// Data directory [default: ./data]
    #[arg(long, value_name = "DIR")]
    dir: Option<String>,
    /// What the data lives on: posix (a directory), uring, pread or spdk (a device) [default: posix]
    #[arg(long, value_name = "KIND")]
    storage: Option<String>,
    /// Block device or file for the storages uring and pread, bdev for spdk; see `coney mkfs`
    #[arg(long, value_name = "PATH")]
    device: Option<String>,
    /// Threads that serve clients; 0: half of the cores
    #[arg(long, value_name = "N")]
    workers: Option<String>,
    /// Network path: auto, kernel, xdp or dpdk [default: auto]
    #[arg(long, value_name = "PATH")]
    datapath: Option<String>,
    /// Network interface for the xdp path, or device for the dpdk path
    #[arg(long, value_name = "NAME")]
    interface: Option<String>,
    /// Arguments for DPDK's environment, such as "-a 0000:01:00.0"
    #[arg(long, value_name = "ARGUMENTS", allow_hyphen_values = true)]
    eal: Option<String>,
    /// Configuration file (TOML)
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// When writes are on the disk: off, everysec or always [default: everysec]
    #[arg(long, value_name = "WHEN")]
    sync: Option<String>,
    /// Password that clients must give
    #[arg(long, value_name = "PASSWORD")]
    requirepass: Option<String>,
    /// Clients that may be connected at one time [default: 10000]
    #[arg(long, value_name = "N")]
    maxclients: Option<String>,
    /// error, warn, info, debug, trace, or a filter [default: info]
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
    /// text or json [default: text]
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
    /// Set any key of the configuration file; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Write the addresses that are served to this file, one a line, once clients are welcome
    #[arg(long, value_name = "FILE")]
    pub(crate) ready_file: Option<PathBuf>,
}

impl ServeArgs {
    /// The settings given on the command line; `--set` comes last.
    pub(crate) fn flags(&self) -> Result<Vec<Flag>, SettingsError> {
        let bind = (!self.bind.is_empty())
            .then(|| self.bind.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "));
        let named = [
            ("port", &self.port),
            ("bind", &bind),
            ("dir", &self.dir),
            ("storage", &self.storage),
            ("device", &self.device),
            ("workers", &self.workers),
            ("datapath", &self.datapath),
            ("interface", &self.interface),
            ("eal", &self.eal),
            ("sync", &self.sync),
            ("requirepass", &self.requirepass),
            ("maxclients", &self.maxclients),
            ("log-level", &self.log_level),
            ("log-format", &self.log_format),
        ];
        let named = named.into_iter().filter_map(|(key, value)| {
            let value = value.clone()?;
            Some(Ok(Flag { flag: format!("--{key}"), key: key.to_owned(), value }))
        });
        let set = self.set.iter().map(|pair| {
            let (key, value) =
                pair.split_once('=').ok_or_else(|| SettingsError::NoEquals(pair.clone()))?;
            let (key, value) = (key.trim().to_owned(), value.trim().to_owned());
            Ok(Flag { flag: "--set".to_owned(), key, value })
        });
        named.chain(set).collect()
    }
}

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// Print JSON instead of a table
    #[arg(long)]
    pub(crate) json: bool,
    /// Data directory to look at
    #[arg(long, value_name = "DIR", default_value = "./data")]
    pub(crate) dir: PathBuf,
}

#[derive(Debug, Args)]
#[command(
    after_help = "What holds anything already is refused, and what is mounted too, even with --force."
)]
pub(crate) struct MkfsArgs {
    /// Block device or file, or bdev
    pub(crate) device: PathBuf,
    /// Size of the file, if it does not exist, such as 10gb
    #[arg(long, value_name = "BYTES")]
    pub(crate) size: Option<String>,
    /// Overwrite whatever is there
    #[arg(long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) spdk: SpdkArgs,
}

/// What makes a device a bdev of SPDK's.
#[derive(Debug, Args)]
pub(crate) struct SpdkArgs {
    /// SPDK's configuration, as in the setting of that name; the device is then the name of a bdev
    #[arg(long, value_name = "FILE", global = true)]
    spdk_config: Option<PathBuf>,
    /// PCI address of a device for SPDK; may be repeated
    #[arg(long, value_name = "ADDRESS", global = true)]
    spdk_pci: Vec<String>,
    /// SPDK uses ordinary memory in place of huge pages
    #[arg(long, global = true)]
    spdk_no_huge: bool,
}

impl SpdkArgs {
    /// Whether the device is a bdev.
    pub(crate) fn is_given(&self) -> bool {
        self.spdk_config.is_some() || !self.spdk_pci.is_empty() || self.spdk_no_huge
    }

    #[cfg(feature = "spdk")]
    pub(crate) fn config(&self) -> &Path {
        self.spdk_config.as_deref().unwrap_or_else(|| Path::new(""))
    }

    #[cfg(feature = "spdk")]
    pub(crate) fn pci(&self) -> String {
        self.spdk_pci.join(" ")
    }

    #[cfg(feature = "spdk")]
    pub(crate) const fn no_huge(&self) -> bool {
        self.spdk_no_huge
    }
}

#[derive(Debug, Args)]
#[command(after_help = "Ends with 0 if the file system is clean, with 1 if not.")]
pub(crate) struct FsckArgs {
    /// Block device or file, or bdev
    pub(crate) device: PathBuf,
    /// Repair what needs no guess: an old or damaged copy of the superblock, files without a name
    #[arg(long)]
    pub(crate) repair: bool,
    #[command(flatten)]
    pub(crate) spdk: SpdkArgs,
}

#[derive(Debug, Args)]
pub(crate) struct FsArgs {
    #[command(subcommand)]
    pub(crate) command: FsCommand,
    #[command(flatten)]
    pub(crate) spdk: SpdkArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum FsCommand {
    /// List a directory: kind, names of the file, bytes, name
    Ls {
        /// Block device or file, or bdev
        device: PathBuf,
        /// Directory in it
        #[arg(default_value = "/")]
        path: String,
    },
    /// Write a file to standard output
    Cat {
        /// Block device or file, or bdev
        device: PathBuf,
        /// File in it
        path: String,
    },
    /// Tell how much is used and free
    Df {
        /// Block device or file, or bdev
        device: PathBuf,
    },
    /// Copy the database to an empty directory, for --storage posix --dir DIR
    Export {
        /// Block device or file, or bdev
        device: PathBuf,
        /// Where to; made if it does not exist
        dir: PathBuf,
    },
    /// Copy the database of a directory, whose server is stopped, to a device without one
    Import {
        /// Block device or file, or bdev
        device: PathBuf,
        /// Where from
        dir: PathBuf,
    },
}
