//! A device on an SPDK bdev: NVMe without the kernel, or whatever else SPDK's configuration makes.
//!
//! ```text
//! spdk     start SPDK, open bdevs; a queue of a device
//! poller   SPDK's thread: requests from all queues in, completions out
//! ffi      bindings to the C shim in c/, all unsafe code
//! ```
//!
//! SPDK runs on one thread of ours, which polls as long as anything is in flight and sleeps, after a
//! while, if nothing is. Requests reach it through a lock-free queue, and completions come back
//! through one for each device queue. Whoever waits spins before sleeping.
//!
//! What a flush is worth depends on the kind of bdev, and SPDK does not tell: see [`SpdkDevice::flush_problem`].

mod ffi;
mod poller;

use std::ffi::CString;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use crossbeam_queue::ArrayQueue;
use crossbeam_utils::sync::{Parker, Unparker};

use super::{
    BlockDevice, Completion, DeviceError, FlushGuarantee, Geometry, Operation, QueueFull, Request,
};
use ffi::{Flight, Flush, Shape, Start, Step};
use poller::{Inbox, Message};

/// What SPDK is started with.
#[derive(Clone, Debug, Default)]
pub struct SpdkOptions {
    /// SPDK's JSON configuration, which makes the bdevs; may be empty if `pci` names a device.
    pub config: Vec<u8>,
    /// PCI addresses of the devices that SPDK may take, such as `0000:01:00.0`. No others are
    /// touched; without any, PCI stays off. Each NVMe device here is attached, unless `config` is
    /// given and does so: the bdev of the first one's first namespace is [`FIRST_NVME`].
    pub pci: Vec<String>,
    /// Memory for SPDK in megabytes; 0 leaves it to SPDK, or without huge pages is
    /// [`NO_HUGE_MEMORY_MB`].
    pub memory_mb: u32,
    /// Ordinary memory in place of huge pages: needs no privileges, and no NVMe device works with it.
    pub no_huge: bool,
}

/// The bdev of the first namespace of the first NVMe device that was named by its PCI address.
pub const FIRST_NVME: &str = "coney0n1";

/// What SPDK is given without huge pages, where it does not choose: enough for its pools as they are by
/// default.
pub const NO_HUGE_MEMORY_MB: u32 = 1024;

/// Why SPDK, or a bdev, is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum SpdkError {
    /// SPDK did not start.
    #[error("SPDK does not start: {what}: {}{}{said}", std::io::Error::from_raw_os_error(*code), if said.is_empty() { "" } else { "; SPDK says: " })]
    Start {
        /// What it was about.
        what: &'static str,
        /// The operating system's error number.
        code: i32,
        /// The first error in SPDK's log.
        said: String,
    },
    /// SPDK was started in this process already, and that is possible once.
    #[error("SPDK was started in this process already")]
    Again,
    /// There is no thread for it, or the thread ended.
    #[error("no thread for SPDK: {0}")]
    Thread(std::io::Error),
    /// A name or an address that holds a zero byte.
    #[error("a name with a zero byte")]
    Name,
    /// There is no such bdev.
    #[error("SPDK has no bdev {name:?}; it has: {}", if others.is_empty() { "none".to_owned() } else { others.join(", ") })]
    Missing {
        /// The name that was asked for.
        name: String,
        /// Those that there are.
        others: Vec<String>,
    },
    /// The bdev cannot be opened.
    #[error("the bdev {name:?} cannot be opened: {}", std::io::Error::from_raw_os_error(*code))]
    Open {
        /// Its name.
        name: String,
        /// The operating system's error number.
        code: i32,
    },
    /// Blocks of a kind that is not served.
    #[error(
        "the bdev {name:?} has blocks of {block_len} bytes, {metadata_len} of them metadata: 512 to 4096 are served, without metadata"
    )]
    Blocks {
        /// Its name.
        name: String,
        /// Bytes in a block.
        block_len: u32,
        /// Those of them that are no data.
        metadata_len: u32,
    },
}

/// SPDK, running in this process until the last device of it is gone.
#[derive(Debug)]
pub struct Spdk {
    inbox: Arc<Inbox>,
    thread: Option<JoinHandle<()>>,
}

/// One queue of a bdev.
#[derive(Debug)]
pub struct SpdkDevice {
    bdev: Arc<OpenBdev>,
    mailbox: Arc<Mailbox>,
    parker: Parker,
    /// Requests that SPDK's thread has, or whose completions lie in the mailbox.
    in_flight: usize,
    /// Requests that never reach SPDK: wrong ones, and what the bdev does not do.
    ended: Vec<Completion>,
}

/// A bdev that is open until its last queue is gone.
#[derive(Debug)]
struct OpenBdev {
    spdk: Arc<Spdk>,
    number: usize,
    shape: Shape,
    geometry: Geometry,
}

/// Where completions of one queue arrive.
#[derive(Debug)]
struct Mailbox {
    ended: ArrayQueue<Completion>,
    unparker: Unparker,
}

/// Whoever waits for a request.
#[derive(Debug)]
struct Waiter {
    mailbox: Arc<Mailbox>,
    tag: u64,
}

impl Waiter {
    fn complete(self, operation: Operation, result: Result<(), DeviceError>) {
        let completion = Completion { tag: self.tag, operation, result };
        let pushed = self.mailbox.ended.push(completion);
        assert!(pushed.is_ok(), "a mailbox has room for all that its queue has in flight");
        self.mailbox.unparker.unpark();
    }
}

/// Requests of one queue in flight at once.
const QUEUE_DEPTH: usize = 32;
/// Only a sector is promised to be atomic by the disks below.
const ATOMIC_WRITE_LEN: u32 = 512;
/// How often a waiting thread looks before it sleeps: some ten microseconds, in which an NVMe device
/// answers. Being woken takes longer than that.
const SPINS: usize = 1000;

static STARTED: AtomicBool = AtomicBool::new(false);

impl Spdk {
    /// Starts SPDK on a thread of its own; possible once in a process.
    ///
    /// # Errors
    /// [`SpdkError`].
    pub fn start(options: &SpdkOptions) -> Result<Arc<Self>, SpdkError> {
        let pci = options.pci.iter().map(|address| name_of(address)).collect::<Result<_, _>>()?;
        let config = if options.config.is_empty() {
            attach_config(&options.pci)
        } else {
            options.config.clone()
        };
        let memory_mb = match options.memory_mb {
            0 if options.no_huge => NO_HUGE_MEMORY_MB,
            megabytes => megabytes,
        };
        let start = Start { config, pci, memory_mb, no_huge: options.no_huge };
        if STARTED.swap(true, Ordering::Relaxed) {
            return Err(SpdkError::Again);
        }
        let inbox = Arc::new(Inbox::default());
        let thread = poller::spawn(start, Arc::clone(&inbox))?;
        Ok(Arc::new(Self { inbox, thread: Some(thread) }))
    }

    /// SPDK's version.
    pub fn version() -> String {
        ffi::version()
    }

    /// Opens a bdev, for this process alone.
    ///
    /// # Errors
    /// [`SpdkError`].
    pub fn open(self: &Arc<Self>, name: &str) -> Result<SpdkDevice, SpdkError> {
        let (answer, answered) = std::sync::mpsc::channel();
        self.inbox.send(Message::Open { name: name_of(name)?, answer });
        let ended = |_gone| SpdkError::Thread(std::io::ErrorKind::BrokenPipe.into());
        let opened = answered.recv().map_err(ended)?;
        let (number, shape) = opened.map_err(|error| match error {
            poller::OpenError::Missing(others) => {
                SpdkError::Missing { name: name.to_owned(), others }
            }
            poller::OpenError::Failed(code) => SpdkError::Open { name: name.to_owned(), code },
        })?;
        let geometry = Geometry {
            block_len: shape.block_len,
            block_count: shape.block_count,
            atomic_write_len: ATOMIC_WRITE_LEN,
            flush: match shape.flush {
                Flush::Real => FlushGuarantee::Durable,
                Flush::Missing | Flush::Ignored | Flush::Disabled | Flush::Unknown => {
                    FlushGuarantee::None
                }
            },
            queue_depth: QUEUE_DEPTH,
        };
        let bdev = Arc::new(OpenBdev { spdk: Arc::clone(self), number, shape, geometry });
        let shape = &bdev.shape;
        let served = shape.block_len.is_power_of_two() && (512..=4096).contains(&shape.block_len);
        if !served || shape.metadata_len != 0 {
            return Err(SpdkError::Blocks {
                name: name.to_owned(),
                block_len: shape.block_len,
                metadata_len: shape.metadata_len,
            });
        }
        Ok(SpdkDevice::on(bdev))
    }
}

impl Drop for Spdk {
    /// Ends SPDK, which lets go of its devices.
    fn drop(&mut self) {
        self.inbox.send(Message::Stop);
        if let Some(thread) = self.thread.take() {
            // If it panicked, that was said.
            thread.join().ok();
        }
    }
}

impl Drop for OpenBdev {
    fn drop(&mut self) {
        self.spdk.inbox.send(Message::Close(self.number));
    }
}

impl SpdkDevice {
    fn on(bdev: Arc<OpenBdev>) -> Self {
        let parker = Parker::new();
        let unparker = parker.unparker().clone();
        let mailbox = Arc::new(Mailbox { ended: ArrayQueue::new(QUEUE_DEPTH), unparker });
        Self { bdev, mailbox, parker, in_flight: 0, ended: Vec::new() }
    }

    /// SPDK's name for the kind of bdev, such as "nvme".
    pub fn module(&self) -> &str {
        &self.bdev.shape.module
    }

    /// Whether it is memory, which holds nothing at the start.
    pub fn is_memory(&self) -> bool {
        self.bdev.shape.is_memory
    }

    /// Why a flush makes nothing durable; `None` if it does.
    pub fn flush_problem(&self) -> Option<&'static str> {
        match self.bdev.shape.flush {
            Flush::Real => None,
            Flush::Missing => Some("this kind of bdev has no flush"),
            Flush::Ignored => Some("this kind of bdev takes a flush and does nothing"),
            Flush::Disabled => Some(
                "SPDK passes no flush to an NVMe device unless bdev_nvme_set_options has set enable_flush",
            ),
            Flush::Unknown => Some("what this kind of bdev does at a flush is not known"),
        }
    }

    /// Whether the bdev does not do this, so that nothing is to be done.
    fn is_void(&self, operation: &Operation) -> bool {
        match operation {
            Operation::Flush => self.bdev.shape.flush == Flush::Missing,
            Operation::Unmap { count, .. } => !self.bdev.shape.can_unmap || *count == 0,
            Operation::Read { .. } | Operation::Write { .. } => false,
        }
    }
}

impl BlockDevice for SpdkDevice {
    fn geometry(&self) -> Geometry {
        self.bdev.geometry
    }

    fn queue(&self) -> Result<Self, DeviceError> {
        Ok(Self::on(Arc::clone(&self.bdev)))
    }

    fn submit(&mut self, request: Request) -> Result<(), QueueFull> {
        if self.in_flight + self.ended.len() >= QUEUE_DEPTH {
            return Err(QueueFull(request));
        }
        let checked = self.bdev.geometry.check(&request.operation);
        let Request { tag, operation } = request;
        if checked.is_err() || self.is_void(&operation) {
            self.ended.push(Completion { tag, operation, result: checked });
            return Ok(());
        }
        let waiter = Waiter { mailbox: Arc::clone(&self.mailbox), tag };
        self.in_flight += 1;
        let flight = Flight::new(operation, waiter);
        self.bdev.spdk.inbox.send(Message::Start { bdev: self.bdev.number, flight });
        Ok(())
    }

    fn poll(&mut self, completions: &mut Vec<Completion>) -> usize {
        let before = completions.len();
        completions.append(&mut self.ended);
        while let Some(completion) = self.mailbox.ended.pop() {
            self.in_flight -= 1;
            completions.push(completion);
        }
        completions.len() - before
    }

    fn wait(&mut self, completions: &mut Vec<Completion>) -> usize {
        for _ in 0..SPINS {
            let ended = self.poll(completions);
            if ended > 0 || self.in_flight == 0 {
                return ended;
            }
            std::hint::spin_loop();
        }
        // A token that is left from before lets it return at once, and the caller waits again.
        self.parker.park();
        self.poll(completions)
    }
}

fn name_of(name: &str) -> Result<CString, SpdkError> {
    CString::new(name).map_err(|_zero| SpdkError::Name)
}

/// A configuration that attaches the NVMe devices at these addresses, with flushes that reach them.
fn attach_config(pci: &[String]) -> Vec<u8> {
    let mut methods =
        vec![r#"{"method":"bdev_nvme_set_options","params":{"enable_flush":true}}"#.to_owned()];
    methods.extend(pci.iter().enumerate().map(|(number, address)| {
        // An address that is no address was refused before; quotes would end the string.
        let address = address.replace(['"', '\\'], "");
        format!(
            r#"{{"method":"bdev_nvme_attach_controller","params":{{"name":"coney{number}","trtype":"PCIe","traddr":"{address}"}}}}"#
        )
    }));
    format!(r#"{{"subsystems":[{{"subsystem":"bdev","config":[{}]}}]}}"#, methods.join(","))
        .into_bytes()
}

impl Step {
    /// What the step is about.
    const fn what(self) -> &'static str {
        match self {
            Self::PciAddress => "a PCI address",
            Self::Environment => "its environment (memory, PCI)",
            Self::Thread => "its thread",
            Self::Config => "its configuration",
            Self::Subsystems => "its subsystems",
        }
    }
}
