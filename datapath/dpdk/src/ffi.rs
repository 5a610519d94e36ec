//! All unsafe code: libdpdk and the C shim behind safe types.
//!
//! DPDK is trusted to keep to its interface. What these types guarantee is that *we* do: a buffer
//! has one owner, its bytes are reached only while no device has it, and pools outlive both.

#![allow(unsafe_code, reason = "a C library, and memory shared with devices")]

use std::ffi::{CStr, CString, c_char, c_int};
use std::io;
use std::net::SocketAddr;
use std::ptr::NonNull;

use crate::device::address_bytes;

// The module `bindings`, from the build script.
include!(concat!(env!("OUT_DIR"), "/bindings.rs"));

use bindings::{rte_mbuf, rte_mempool};

/// DPDK's longest device name (RTE_ETH_NAME_MAX_LEN), and more.
const NAME_BYTES_MAX: usize = 256;

/// 0, or a negative errno.
fn check(result: c_int) -> io::Result<()> {
    if result >= 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(-result)) }
}

fn errno() -> io::Error {
    // SAFETY: reads a variable of this thread.
    io::Error::from_raw_os_error(unsafe { bindings::coney_dpdk_errno() })
}

/// Starts DPDK; once in a process.
pub(crate) fn start(arguments: Vec<CString>) -> io::Result<()> {
    // DPDK keeps pointers to its arguments, and permutes the list.
    let mut list: Vec<*mut c_char> = arguments.into_iter().map(CString::into_raw).collect();
    let count = c_int::try_from(list.len()).map_err(|_many| io::ErrorKind::InvalidInput)?;
    list.push(std::ptr::null_mut());
    let list = list.leak();
    // SAFETY: `list` holds `count` zero-terminated strings and a null pointer, and is never freed;
    // the caller sees to it that this happens once.
    let result = unsafe { bindings::rte_eal_init(count, list.as_mut_ptr()) };
    if result < 0 { Err(errno()) } else { Ok(()) }
}

/// Numbers and names of all devices.
pub(crate) fn ports() -> Vec<(u16, String)> {
    let mut all = Vec::new();
    let mut at = 0_u16;
    loop {
        // SAFETY: takes any number.
        let found = unsafe { bindings::rte_eth_find_next(at) };
        if u32::from(found) >= bindings::RTE_MAX_ETHPORTS {
            return all;
        }
        let mut name = [0 as c_char; NAME_BYTES_MAX];
        // SAFETY: the buffer is larger than the longest name.
        let result = unsafe { bindings::rte_eth_dev_get_name_by_port(found, name.as_mut_ptr()) };
        if result != 0 {
            return all;
        }
        all.push((found, text(&name)));
        let Some(next) = found.checked_add(1) else { return all };
        at = next;
    }
}

/// A zero-terminated string in an array of C's.
fn text(array: &[c_char]) -> String {
    let bytes: Vec<u8> =
        array.iter().take_while(|byte| **byte != 0).map(|byte| byte.cast_unsigned()).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What a device has and can.
#[derive(Clone, Debug)]
pub(crate) struct Properties {
    pub(crate) driver: String,
    pub(crate) mac: [u8; 6],
    pub(crate) mtu: u16,
    pub(crate) rx_queues_max: u16,
    pub(crate) tx_queues_max: u16,
    pub(crate) rx_descriptors: u16,
    pub(crate) tx_descriptors: u16,
}

/// Asks a device; its descriptors are as many of those wanted as it takes.
pub(crate) fn query(id: u16, descriptors: u16) -> io::Result<Properties> {
    let mut out = std::mem::MaybeUninit::<bindings::coney_dpdk_device>::zeroed();
    // SAFETY: `out` is writable and of the right type; DPDK checks the number.
    check(unsafe { bindings::coney_dpdk_query(id, descriptors, out.as_mut_ptr()) })?;
    // SAFETY: a structure of integers, zeroed and then filled.
    let out = unsafe { out.assume_init() };
    Ok(Properties {
        driver: text(&out.driver),
        mac: out.mac,
        mtu: out.mtu,
        rx_queues_max: out.rx_queues_max,
        tx_queues_max: out.tx_queues_max,
        rx_descriptors: out.rx_descriptors,
        tx_descriptors: out.tx_descriptors,
    })
}

/// A pool of buffers. It must outlive the device that uses it, and its buffers.
#[derive(Debug)]
pub(crate) struct Pool(NonNull<rte_mempool>);

impl Pool {
    pub(crate) fn new(name: &str, frames: u32, room: u16, socket: c_int) -> io::Result<Self> {
        let name = CString::new(name).map_err(|_zero| io::ErrorKind::InvalidInput)?;
        // SAFETY: the name lives during the call and is copied.
        let pool = unsafe { bindings::coney_dpdk_pool_create(name.as_ptr(), frames, room, socket) };
        NonNull::new(pool).map(Self).ok_or_else(errno)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // SAFETY: made by `new`, freed once; `Running` drops pools after its device, and queues
        // drop their buffers before their `Running`.
        unsafe { bindings::rte_mempool_free(self.0.as_ptr()) };
    }
}

/// A device that is ours to set up; closed when dropped.
#[derive(Debug)]
pub(crate) struct Device(u16);

impl Device {
    pub(crate) fn new(id: u16) -> Self {
        Self(id)
    }

    pub(crate) fn socket(&self) -> c_int {
        // SAFETY: takes any number.
        unsafe { bindings::rte_eth_dev_socket_id(self.0) }
    }

    pub(crate) fn isolate(&mut self) -> io::Result<()> {
        // SAFETY: DPDK checks the number.
        check(unsafe { bindings::coney_dpdk_isolate(self.0) })
    }

    pub(crate) fn configure(&mut self, queues: u16, mtu: u16) -> io::Result<()> {
        // SAFETY: DPDK checks number and values.
        check(unsafe { bindings::coney_dpdk_configure(self.0, queues, mtu) })
    }

    pub(crate) fn set_up_queue(
        &mut self,
        queue: u16,
        (rx, tx): (u16, u16),
        pool: &Pool,
    ) -> io::Result<()> {
        // SAFETY: the pool outlives the device, see `with_pools`; on an early return the pools are
        // dropped after the device never started.
        check(unsafe { bindings::coney_dpdk_setup_queue(self.0, queue, rx, tx, pool.0.as_ptr()) })
    }

    pub(crate) fn start(&mut self) -> io::Result<()> {
        // SAFETY: DPDK checks number and state.
        check(unsafe { bindings::rte_eth_dev_start(self.0) })
    }

    /// A rule for one endpoint; the error is the driver's explanation.
    pub(crate) fn serve(&mut self, queues: u16, endpoint: &SocketAddr) -> Result<(), String> {
        let (address, is_v6) = address_bytes(endpoint.ip());
        let endpoint = bindings::coney_dpdk_endpoint {
            is_v6: u8::from(is_v6),
            address,
            port: endpoint.port(),
        };
        let mut why: *const c_char = std::ptr::null();
        // SAFETY: both pointers lead to values that live during the call.
        let result = unsafe {
            bindings::coney_dpdk_serve(self.0, queues, &raw const endpoint, &raw mut why)
        };
        check(result).map_err(|problem| {
            if why.is_null() {
                return problem.to_string();
            }
            // SAFETY: a driver's message is a zero-terminated constant.
            unsafe { CStr::from_ptr(why) }.to_string_lossy().into_owned()
        })
    }

    pub(crate) fn receive_multicast(&mut self) {
        // SAFETY: DPDK checks the number. Without support nothing happens.
        unsafe { bindings::rte_eth_allmulticast_enable(self.0) };
    }

    /// From now on the device runs on these pools, one pair for each queue.
    pub(crate) fn with_pools(self, pools: Vec<(Pool, Pool)>) -> Running {
        Running { device: self, pools }
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        // SAFETY: DPDK checks the number. A device that did not start is not stopped.
        unsafe { bindings::rte_eth_dev_stop(self.0) };
        // SAFETY: as above; nobody uses the number after us.
        unsafe { bindings::rte_eth_dev_close(self.0) };
    }
}

/// A running device and the pools that it uses, in the order in which they end.
#[derive(Debug)]
pub(crate) struct Running {
    device: Device,
    pools: Vec<(Pool, Pool)>,
}

// SAFETY: pointers to DPDK's objects belong to no thread. Pools have one user at a time: queue `n`,
// which is not `Sync`, uses pair `n` alone, and the last queue to go ends the device.
unsafe impl Send for Running {}
// SAFETY: as above; DPDK allows bursts on different queues from different threads.
unsafe impl Sync for Running {}

impl Running {
    /// A transmit buffer of a queue's pool.
    pub(crate) fn tx_buffer(&self, queue: u16) -> Option<TxBuffer> {
        let (_, pool) = self.pools.get(usize::from(queue))?;
        // SAFETY: the pool lives.
        NonNull::new(unsafe { bindings::coney_dpdk_mbuf_alloc(pool.0.as_ptr()) }).map(TxBuffer)
    }

    /// Receives at most `max` frames into `out`, which is empty; returns how many were dropped.
    pub(crate) fn receive(&self, queue: u16, out: &mut Vec<Received>, max: usize) -> u16 {
        let max = u16::try_from(max.min(out.capacity())).unwrap_or(u16::MAX);
        let mut dropped = 0;
        out.clear();
        // SAFETY: `out` has room for `max` elements, and `Received` is the C structure; the queue
        // exists, and its only user calls.
        let count = unsafe {
            bindings::coney_dpdk_rx_burst(
                self.device.0,
                queue,
                out.as_mut_ptr().cast(),
                max,
                &raw mut dropped,
            )
        };
        // SAFETY: the call filled the first `count` elements, which are ours now.
        unsafe { out.set_len(usize::from(count)) };
        dropped
    }

    /// Hands the first buffers of the burst to the device, empties it, and returns how many.
    pub(crate) fn transmit(&self, queue: u16, burst: &mut TxBurst) -> usize {
        let count = u16::try_from(burst.0.len()).unwrap_or(u16::MAX);
        // SAFETY: each buffer was lent, so that the device has a reference of its own; the queue
        // exists, and its only user calls.
        let sent = unsafe {
            bindings::coney_dpdk_tx_burst(self.device.0, queue, burst.0.as_mut_ptr(), count)
        };
        burst.0.clear();
        usize::from(sent)
    }

    /// Lets the driver look for completions; `false`: it cannot.
    pub(crate) fn clean_up(&self, queue: u16) -> bool {
        // SAFETY: the queue exists, and its only user calls.
        unsafe { bindings::rte_eth_tx_done_cleanup(self.device.0, queue, 0) >= 0 }
    }

    pub(crate) fn stats(&self) -> Option<bindings::coney_dpdk_stats> {
        let mut out = std::mem::MaybeUninit::<bindings::coney_dpdk_stats>::zeroed();
        // SAFETY: `out` is writable and of the right type.
        check(unsafe { bindings::coney_dpdk_stats(self.device.0, out.as_mut_ptr()) }).ok()?;
        // SAFETY: a structure of integers, zeroed and then filled.
        Some(unsafe { out.assume_init() })
    }
}

/// A received frame; goes back to its pool when dropped.
#[derive(Debug)]
#[repr(transparent)]
pub(crate) struct Received(bindings::coney_dpdk_rx);

// SAFETY: a buffer belongs to no thread; the queue that keeps it moves as a whole.
unsafe impl Send for Received {}

impl Received {
    pub(crate) fn len(&self) -> u32 {
        self.0.len
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: the shim told where the frame lies in the buffer, which is ours until dropped;
        // `u32` fits `usize`.
        unsafe { std::slice::from_raw_parts(self.0.bytes, self.0.len as usize) }
    }
}

impl Drop for Received {
    fn drop(&mut self) {
        // SAFETY: ours, and given back once; the pool outlives it.
        unsafe { bindings::coney_dpdk_mbuf_free(self.0.mbuf) };
    }
}

/// A transmit buffer; our reference ends when it is dropped.
#[derive(Debug)]
pub(crate) struct TxBuffer(NonNull<rte_mbuf>);

// SAFETY: as for `Received`.
unsafe impl Send for TxBuffer {}

impl TxBuffer {
    /// The whole buffer.
    ///
    /// # Panics
    /// If a device has a reference.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        assert!(self.is_back(), "the device has this buffer");
        // SAFETY: the mbuf is ours.
        let len = unsafe { bindings::coney_dpdk_mbuf_buffer_len(self.0.as_ptr()) };
        // SAFETY: the mbuf is ours.
        let bytes = unsafe { bindings::coney_dpdk_mbuf_buffer(self.0.as_ptr()) };
        // SAFETY: the buffer has that many bytes, initialised by the pool's memory being mapped
        // zeroed, and nobody else has it.
        unsafe { std::slice::from_raw_parts_mut(bytes, len.into()) }
    }

    /// Makes a part of the buffer a frame, with a reference for the device.
    ///
    /// # Panics
    /// If the part is longer than 64 KiB, which no buffer is.
    pub(crate) fn lend(&mut self, start: usize, len: usize) {
        let short = |bytes| u16::try_from(bytes).expect("buffers are smaller than 64 KiB");
        // SAFETY: the mbuf is ours alone, and the queue checked the range.
        unsafe { bindings::coney_dpdk_mbuf_lend(self.0.as_ptr(), short(start), short(len)) };
    }

    /// Whether no device has a reference.
    pub(crate) fn is_back(&self) -> bool {
        // SAFETY: we have a reference, so the mbuf is there.
        unsafe { bindings::coney_dpdk_mbuf_is_back(self.0.as_ptr()) != 0 }
    }
}

impl Drop for TxBuffer {
    fn drop(&mut self) {
        // SAFETY: our reference ends, once; the pool outlives it.
        unsafe { bindings::coney_dpdk_mbuf_free(self.0.as_ptr()) };
    }
}

/// Buffers on their way to the device; empty between two calls.
#[derive(Debug, Default)]
pub(crate) struct TxBurst(Vec<*mut rte_mbuf>);

// SAFETY: only addresses; see `TxBuffer`.
unsafe impl Send for TxBurst {}

impl TxBurst {
    pub(crate) fn push(&mut self, buffer: &TxBuffer) {
        self.0.push(buffer.0.as_ptr());
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}
