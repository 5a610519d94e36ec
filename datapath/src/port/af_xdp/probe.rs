//! [`probe`]: what AF_XDP can do on an interface, and why not more.

use std::fmt;

use coney_xdp_prog::{Mode, Program};

use super::error::Error;
use super::interface::Interface;
use super::limits::{FRAMES_MIN, TX_RING_ENTRIES_MIN, chunk_bytes};
use super::netdev::{self, Features};
use super::options::{CopyMode, Options};
use super::port::AfXdpPort;

const HUGE_PAGES_FREE: &str = "/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages";

/// How far a probe may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Asks the kernel, loads the program without attaching it and, for a moment, binds a
    /// copy-mode socket to queue 0, which gets no frames: no traffic is disturbed.
    Passive,
    /// Also attaches the program (steering nothing) and binds in zero-copy mode to be sure. A real
    /// NIC's driver may rebuild its queues meanwhile and the link be down for a moment.
    Active,
}

/// Whether something is possible.
#[derive(Debug)]
pub enum Answer {
    /// It is.
    Yes,
    /// It is not.
    No(Reason),
    /// The kernel does not tell without trying ([`Depth::Active`]).
    Unknown,
}

/// Why something is not possible.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// Tried, and refused.
    #[error(transparent)]
    Refused(#[from] Error),
    /// The driver does not announce it.
    #[error("the driver does not support it")]
    DriverLacksIt,
    /// The driver does not link its queues to NAPI, so that sockets do not find what to poll.
    #[error("the driver does not link its queues to NAPI")]
    NoNapi,
    /// See [`Error::MtuTooBig`].
    #[error("the MTU is too big for a packet buffer")]
    MtuTooBig,
}

/// What a probe found out. `Display` gives lines of text.
#[derive(Debug)]
pub struct Report {
    /// The interface.
    pub interface: String,
    /// Its driver, if it tells.
    pub driver: Option<String>,
    /// Whether the interface is up.
    pub is_up: bool,
    /// Its MTU in bytes.
    pub mtu_bytes: u32,
    /// Receive queues, if the driver tells.
    pub rx_queues: Option<u32>,
    /// Transmit queues, if the driver tells.
    pub tx_queues: Option<u32>,
    /// Received frames may carry partial checksums ([`crate::port::PortCaps`]).
    pub rx_partial_checksum: bool,
    /// The XDP program can be loaded.
    pub program: Answer,
    /// The XDP program can run in the driver; otherwise skb mode remains.
    pub native: Answer,
    /// Zero-copy sockets.
    pub zero_copy: Answer,
    /// Copy-mode sockets: what every interface has, if the process may.
    pub copy: Answer,
    /// Checksums of what is sent, added up by the device from the port's own buffers. In copy mode
    /// the kernel does it or lets the device do it.
    pub tx_checksum: Answer,
    /// Busy polling of queue 0.
    pub busy_poll: Answer,
    /// Free huge pages of 2 MiB; `None`: the kernel has none.
    pub huge_pages_free: Option<u64>,
}

/// Finds out what is possible on an interface of the calling thread's network namespace.
///
/// # Errors
/// [`Error::NoSuchInterface`], [`Error::Other`]; all else is part of the report.
pub fn probe(interface: &str, depth: Depth) -> Result<Report, Error> {
    let interface = Interface::query(interface)?;
    let features = netdev::features(interface.index);
    let fits = chunk_bytes(interface.mtu_bytes).is_some();
    let announced = |feature: fn(&Features) -> bool| match features.as_ref().map(feature) {
        Some(true) if fits => Answer::Yes,
        Some(true) => Answer::No(Reason::MtuTooBig),
        Some(false) => Answer::No(Reason::DriverLacksIt),
        None => Answer::Unknown,
    };
    let mut program = Program::load(&coney_xdp_prog::Options::default());
    let mut native = announced(|features| features.native_redirect);
    let mut zero_copy = announced(|features| features.zero_copy);
    // The program stays attached while zero-copy is tried: some drivers need it for that.
    if depth == Depth::Active
        && fits
        && let Ok(program) = &mut program
    {
        native = answer(program.attach(&interface.name, Mode::Native).map_err(Error::from));
        zero_copy = try_to_bind(&interface.name, CopyMode::ZeroCopy);
    }
    Ok(Report {
        copy: try_to_bind(&interface.name, CopyMode::Copy),
        program: answer(program.map_err(Error::from)),
        native,
        zero_copy,
        tx_checksum: announced(|features| features.tx_checksum),
        busy_poll: match netdev::queue_has_napi(interface.index, 0) {
            Some(true) => Answer::Yes,
            Some(false) => Answer::No(Reason::NoNapi),
            None => Answer::Unknown,
        },
        huge_pages_free: huge_pages_free(),
        is_up: interface.is_up,
        mtu_bytes: interface.mtu_bytes,
        rx_queues: interface.queues.map(|queues| queues.rx),
        tx_queues: interface.queues.map(|queues| queues.tx),
        rx_partial_checksum: interface.is_virtual(),
        driver: interface.driver,
        interface: interface.name,
    })
}

fn try_to_bind(interface: &str, mode: CopyMode) -> Answer {
    let options = Options {
        mode,
        rx_frames: FRAMES_MIN,
        tx_frames: FRAMES_MIN,
        tx_ring_entries: TX_RING_ENTRIES_MIN,
        huge_pages: false,
        raise_tx_budget: false,
        tx_checksum: false,
        busy_poll: None,
    };
    answer(AfXdpPort::open(interface, 0, &options))
}

fn answer<T>(result: Result<T, Error>) -> Answer {
    match result {
        Ok(_) => Answer::Yes,
        Err(error) => Answer::No(error.into()),
    }
}

fn huge_pages_free() -> Option<u64> {
    std::fs::read_to_string(HUGE_PAGES_FREE).ok()?.trim().parse().ok()
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Yes => f.write_str("yes"),
            Self::No(reason) => write!(f, "no: {reason}"),
            Self::Unknown => f.write_str("unknown: this kernel tells only when it is tried"),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let queues = |count: Option<u32>| {
            count.map_or_else(|| "unknown".to_owned(), |count| count.to_string())
        };
        writeln!(
            f,
            "{}: driver {}, {}, mtu {}, receive queues {}, transmit queues {}",
            self.interface,
            self.driver.as_deref().unwrap_or("unknown"),
            if self.is_up { "up" } else { "down" },
            self.mtu_bytes,
            queues(self.rx_queues),
            queues(self.tx_queues),
        )?;
        writeln!(f, "  load the XDP program: {}", self.program)?;
        writeln!(f, "  native XDP:           {}", self.native)?;
        writeln!(f, "  zero-copy:            {}", self.zero_copy)?;
        writeln!(f, "  copy:                 {}", self.copy)?;
        writeln!(f, "  transmit checksums:   {}", self.tx_checksum)?;
        writeln!(f, "  busy polling:         {}", self.busy_poll)?;
        let partial = if self.rx_partial_checksum { "may come" } else { "do not come" };
        writeln!(f, "  partial checksums:    {partial}")?;
        match self.huge_pages_free {
            Some(free) => writeln!(f, "  free huge pages:      {free} of 2 MiB"),
            None => writeln!(f, "  free huge pages:      none: not in this kernel"),
        }
    }
}
