//! `coney mkfs`, `coney fsck` and `coney fs`: a device without a server.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use coney_base::Clock;
use coney_spdk_env::fs::limits::BLOCK_LEN;
use coney_spdk_env::fs::{FileId, FileSystem, Finding, FsError, Kind, MountError, check};

use crate::cli::{FsArgs, FsCommand, FsckArgs, MkfsArgs};
use crate::storage::{self, StorageError, ToolDevice, open_for_tool};

/// Where the server has its database.
const DATABASE: &str = coney_engine::Device::DATABASE;
/// Bytes that are copied at once.
const COPY_LEN: usize = 1 << 20;

/// Why a command about a device failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FsToolError {
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error("{0}: {1}")]
    Size(String, &'static str),
    #[error("{}: cannot be mounted: {source}", path.display())]
    Damaged { path: PathBuf, source: MountError },
    #[error("{path}: {source}")]
    Fs { path: String, source: FsError },
    #[error("{}: {source}", path.display())]
    Host { path: PathBuf, source: io::Error },
    #[error("{}: is not empty", .0.display())]
    NotEmpty(PathBuf),
    #[error("{}: neither a file nor a directory", .0.display())]
    OtherKind(PathBuf),
}

/// Makes a file system.
pub(crate) fn mkfs(args: &MkfsArgs) -> Result<String, FsToolError> {
    let path = &args.device;
    if let Some(size) = &args.size {
        let size = coney_control::config::value::size(size)
            .map_err(|_bad| FsToolError::Size(size.clone(), "not a size such as 64mb or 10gb"))?;
        if !args.spdk.is_given() && !path.exists() {
            storage::make(path, size)?;
        }
    }
    let device = open_for_tool(path, &args.spdk)?;
    let device = storage::make_file_system(device, path, args.force).map_err(explain)?;
    let fs = mount_device(device, path)?;
    Ok(format!("{}: {}\n", path.display(), space(&fs)))
}

/// Says how to insist.
fn explain(error: StorageError) -> FsToolError {
    match error {
        StorageError::Format { path, source } => FsToolError::Host {
            path,
            source: io::Error::other(format!("{source}; --force overwrites it")),
        },
        other => other.into(),
    }
}

/// What a check found, and whether that is nothing.
pub(crate) fn fsck(args: &FsckArgs) -> Result<(String, bool), FsToolError> {
    let path = &args.device;
    let damaged = |source| FsToolError::Damaged { path: path.clone(), source };
    let device = open_for_tool(path, &args.spdk)?;
    let (device, mut report) = check(device).map_err(damaged)?;
    let mut text = String::new();
    for finding in &report.findings {
        text += &format!("{}: {finding}\n", path.display());
    }
    if args.repair && !report.findings.is_empty() {
        let fs = FileSystem::mount(device).map_err(damaged)?;
        fs.repair().map_err(|source| fs_error(DATABASE, source))?;
        (_, report) = check(fs.into_device()).map_err(damaged)?;
        text += &format!("{}: repaired, {} findings left\n", path.display(), report.findings.len());
    }
    text += &format!(
        "{}: {} files, {} directories, {} bytes used, {} bytes free, {}\n",
        path.display(),
        report.files,
        report.directories,
        bytes(report.used_blocks),
        bytes(report.free_blocks),
        if report.findings.is_empty() { "clean" } else { "not clean" },
    );
    let repairable = |finding: &Finding| !matches!(finding, Finding::SpaceDoesNotAddUp { .. });
    if !args.repair && !report.findings.is_empty() && report.findings.iter().all(repairable) {
        text += "The next start of the server repairs this, or --repair now.\n";
    }
    Ok((text, report.findings.is_empty()))
}

/// Looks into a file system, or copies a database out of or into it.
pub(crate) fn fs(args: &FsArgs) -> Result<(), FsToolError> {
    let mount = |path: &Path| mount_device(open_for_tool(path, &args.spdk)?, path);
    match &args.command {
        FsCommand::Ls { device, path } => ls(&mount(device)?, path),
        FsCommand::Cat { device, path } => {
            let stdout = Path::new("standard output");
            copy_out(&mount(device)?, path.as_bytes(), stdout, &mut io::stdout().lock())
        }
        FsCommand::Df { device } => {
            let text = format!("{}\n", space(&mount(device)?));
            write_all(Path::new("standard output"), &mut io::stdout().lock(), text.as_bytes())
        }
        FsCommand::Export { device, dir } => {
            let fs = mount(device)?;
            must_be_empty(dir)?;
            export(&fs, DATABASE.as_bytes(), dir)
        }
        FsCommand::Import { device, dir } => {
            let fs = mount(device)?;
            import(&fs, dir, DATABASE.as_bytes())?;
            fs.commit().map_err(|source| fs_error(DATABASE, source))
        }
    }
}

type Mounted = FileSystem<ToolDevice>;

fn mount_device(device: ToolDevice, path: &Path) -> Result<Mounted, FsToolError> {
    FileSystem::mount(device)
        .map_err(|source| FsToolError::Damaged { path: path.to_owned(), source })
}

fn fs_error(path: impl AsRef<[u8]>, source: FsError) -> FsToolError {
    FsToolError::Fs { path: String::from_utf8_lossy(path.as_ref()).into_owned(), source }
}

fn host_error(path: &Path) -> impl Fn(io::Error) -> FsToolError {
    move |source| FsToolError::Host { path: path.to_owned(), source }
}

fn bytes(blocks: u64) -> u64 {
    blocks * u64::try_from(BLOCK_LEN).unwrap_or(0)
}

fn space(fs: &Mounted) -> String {
    let space = fs.space();
    format!(
        "{} bytes, {} of them for metadata, {} used, {} free",
        bytes(space.total),
        bytes(space.reserved),
        bytes(space.used),
        bytes(space.free + space.held)
    )
}

fn ls(fs: &Mounted, path: &str) -> Result<(), FsToolError> {
    let error = |source| fs_error(path, source);
    let mut text = Vec::new();
    for name in fs.list(path.as_bytes()).map_err(error)? {
        let found = fs.metadata(&join(path.as_bytes(), &name)).map_err(error)?;
        let kind = if found.kind == Kind::Directory { 'd' } else { '-' };
        text.extend(format!("{kind} {:3} {:14} ", found.links, found.size).into_bytes());
        text.extend(name);
        text.push(b'\n');
    }
    write_all(Path::new("standard output"), &mut io::stdout().lock(), &text)
}

fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    [directory, name].join(b"/".as_slice())
}

fn write_all(path: &Path, to: &mut impl Write, text: &[u8]) -> Result<(), FsToolError> {
    to.write_all(text).map_err(host_error(path))
}

fn copy_out(
    fs: &Mounted,
    from: &[u8],
    path: &Path,
    to: &mut impl Write,
) -> Result<(), FsToolError> {
    let error = |source| fs_error(from, source);
    let file = fs.open_read(from).map_err(error)?;
    let mut buffer = vec![0; COPY_LEN];
    let mut offset = 0;
    loop {
        let len = fs.read(file, offset, &mut buffer).map_err(error)?;
        if len == 0 {
            break;
        }
        write_all(path, to, buffer.get(..len).unwrap_or_default())?;
        offset += u64::try_from(len).unwrap_or(0);
    }
    fs.close(file, false, 0).map_err(error)
}

/// A directory that is there already must have nothing in it.
fn must_be_empty(dir: &Path) -> Result<(), FsToolError> {
    match std::fs::read_dir(dir) {
        Ok(mut entries) => match entries.next() {
            Some(_) => Err(FsToolError::NotEmpty(dir.to_owned())),
            None => Ok(()),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(host_error(dir)(error)),
    }
}

fn export(fs: &Mounted, from: &[u8], dir: &Path) -> Result<(), FsToolError> {
    std::fs::create_dir_all(dir).map_err(host_error(dir))?;
    for name in fs.list(from).map_err(|source| fs_error(from, source))? {
        let source = join(from, &name);
        let target = dir.join(std::ffi::OsString::from_vec(name));
        let found = fs.metadata(&source).map_err(|error| fs_error(&source, error))?;
        if found.kind == Kind::Directory {
            export(fs, &source, &target)?;
        } else {
            let mut file = File::create_new(&target).map_err(host_error(&target))?;
            copy_out(fs, &source, &target, &mut file)?;
            file.sync_all().map_err(host_error(&target))?;
        }
    }
    let directory = File::open(dir).map_err(host_error(dir))?;
    directory.sync_all().map_err(host_error(dir))
}

fn import(fs: &Mounted, dir: &Path, to: &[u8]) -> Result<(), FsToolError> {
    fs.create_directory(to).map_err(|source| fs_error(to, source))?;
    let mut entries = std::fs::read_dir(dir).map_err(host_error(dir))?;
    entries.try_for_each(|entry| {
        let entry = entry.map_err(host_error(dir))?;
        let (source, kind) = (entry.path(), entry.file_type().map_err(host_error(dir))?);
        let target = join(to, entry.file_name().as_bytes());
        if kind.is_dir() {
            import(fs, &source, &target)
        } else if kind.is_file() {
            copy_in(fs, &source, &target)
        } else {
            Err(FsToolError::OtherKind(source))
        }
    })
}

fn copy_in(fs: &Mounted, source: &Path, target: &[u8]) -> Result<(), FsToolError> {
    let now_ms = Clock::new().unix_now().0;
    let error = |problem| fs_error(target, problem);
    let mut from = File::open(source).map_err(host_error(source))?;
    let file: FileId = fs.create(target).map_err(error)?;
    let mut buffer = vec![0; COPY_LEN];
    loop {
        let len = from.read(&mut buffer).map_err(host_error(source))?;
        if len == 0 {
            break;
        }
        fs.append(file, buffer.get(..len).unwrap_or_default()).map_err(error)?;
    }
    fs.close(file, true, now_ms).map_err(error)
}
