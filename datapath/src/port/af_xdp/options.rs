//! [`Options`] of a port.

use super::error::Error;
use super::limits::{FRAMES_MAX, FRAMES_MIN, TX_RING_ENTRIES_MAX, TX_RING_ENTRIES_MIN};

/// How frames get between device and buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyMode {
    /// Zero-copy, else copy (told in the log and by [`crate::port::PortCaps::zero_copy`]).
    Auto,
    /// The device reads and writes the buffers itself; an error if the driver cannot.
    ZeroCopy,
    /// The kernel copies: works with every driver, and each transmit burst needs a system call.
    Copy,
}

/// Receive and transmit calls poll the device themselves instead of waiting for its interrupt.
/// Works only with drivers that link their queues to NAPI (not veth), and best with
/// `napi_defer_hard_irqs` and `gro_flush_timeout` set for the interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BusyPoll {
    /// How long a call may poll, in microseconds.
    pub usecs: u32,
    /// How many frames one call may process, at most 65535; above 64 needs CAP_NET_ADMIN.
    pub budget: u32,
}

/// What is fixed when a port is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Zero-copy or copy.
    pub mode: CopyMode,
    /// Receive buffers, 64 to 2^20. Those that the caller keeps are missing to the device; when
    /// it has none left, frames are lost (counter `af_xdp_rx_fill_ring_empty`).
    pub rx_frames: u32,
    /// Transmit buffers, 64 to 2^20; when all are taken, `tx_alloc` says so.
    pub tx_frames: u32,
    /// Slots of the transmit ring, 64 to 65536, rounded up to a power of two; when all are taken,
    /// `tx_submit` says so.
    pub tx_ring_entries: u32,
    /// Try reserved huge pages first.
    pub huge_pages: bool,
    /// Let one system call send a whole transmit ring in copy mode (Linux 6.17 and later).
    /// Otherwise the kernel stops after 32 frames and is called again.
    pub raise_tx_budget: bool,
    /// Let the device add up the TCP checksums of what is sent, where kernel (Linux 6.11) and, with
    /// zero-copy, driver can ([`crate::port::PortCaps::tx_checksum`] tells). In copy mode the kernel
    /// takes over what the device cannot.
    pub tx_checksum: bool,
    /// Busy polling, if wanted.
    pub busy_poll: Option<BusyPoll>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            mode: CopyMode::Auto,
            rx_frames: 4096,
            tx_frames: 4096,
            tx_ring_entries: 2048,
            huge_pages: true,
            raise_tx_budget: true,
            tx_checksum: true,
            busy_poll: None,
        }
    }
}

impl Options {
    /// Refuses what is outside the limits.
    pub(super) fn check(&self) -> Result<(), Error> {
        let checks = [
            ("the number of receive frames", self.rx_frames, FRAMES_MIN, FRAMES_MAX),
            ("the number of transmit frames", self.tx_frames, FRAMES_MIN, FRAMES_MAX),
            (
                "the number of transmit ring entries",
                self.tx_ring_entries,
                TX_RING_ENTRIES_MIN,
                TX_RING_ENTRIES_MAX,
            ),
        ];
        for (option, value, min, max) in checks {
            if !(min..=max).contains(&value) {
                return Err(Error::OptionOutOfRange { option, value, min, max });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn option_outside_its_limits_is_named() {
        assert!(Options::default().check().is_ok());
        let error = Options { rx_frames: 63, ..Options::default() }.check().unwrap_err();
        assert!(error.to_string().contains("receive frames is 63, but must be 64 to 1048576"));
        assert!(Options { tx_frames: u32::MAX, ..Options::default() }.check().is_err());
        assert!(Options { tx_ring_entries: 0, ..Options::default() }.check().is_err());
    }
}
