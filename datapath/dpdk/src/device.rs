//! From a name to a running device, and its queues.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::eal::Eal;
use crate::error::Error;
use crate::ffi::{self, Device, Pool};
use crate::queue::{Queue, Shape};

/// Frames in one pool.
const FRAMES_MIN: u32 = 64;
const FRAMES_MAX: u32 = 1 << 20;
/// What DPDK's drivers keep in front of a received frame (RTE_PKTMBUF_HEADROOM).
const HEADROOM_BYTES: u32 = 128;
/// What the kernel keeps besides, under net_af_xdp (XDP_PACKET_HEADROOM).
const XDP_HEADROOM_BYTES: u32 = 256;
/// Ethernet header with one VLAN tag.
const LINK_HEADER_BYTES: u32 = 18;
/// The least buffer: drivers are tried with no smaller one.
const BUFFER_BYTES_MIN: u32 = 2048;
/// Buffers that a driver holds beyond its descriptors: net_af_xdp fills a ring of 2048 before the
/// first frame, and copies what it transmits into as many.
const DRIVER_FRAMES: u32 = 4096;
/// What rules can name (RTE_MAX_QUEUES_PER_PORT is larger).
const QUEUES_MAX: u16 = 128;

/// What is fixed when a device is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Queue pairs that are wanted; a device with fewer gives what it has.
    pub queues: u16,
    /// Frames that a caller may keep of each queue, 64 to 2^20.
    pub rx_frames: u32,
    /// Transmit frames of each queue, 64 to 2^20.
    pub tx_frames: u32,
    /// Descriptors of each ring, as far as the device has them, and what is queued for transmission
    /// between two flushes.
    pub descriptors: u16,
    /// For drivers that share the device with the kernel (mlx5): take only TCP to these endpoints.
    /// Empty: everything that the device receives.
    pub only: Vec<SocketAddr>,
}

impl Default for Options {
    fn default() -> Self {
        Self { queues: 1, rx_frames: 4096, tx_frames: 4096, descriptors: 1024, only: Vec::new() }
    }
}

/// Configures and starts a device, the only one if `name` is empty. The device is closed when all
/// its queues are dropped.
///
/// # Errors
/// See [`Error`].
pub fn open(_eal: Eal, name: &str, options: &Options) -> Result<Vec<Queue>, Error> {
    for (option, value) in [
        ("the number of receive frames", options.rx_frames),
        ("the number of transmit frames", options.tx_frames),
    ] {
        if !(FRAMES_MIN..=FRAMES_MAX).contains(&value) {
            let (min, max) = (FRAMES_MIN, FRAMES_MAX);
            return Err(Error::OptionOutOfRange { option, value, min, max });
        }
    }
    let (id, name) = choose(name)?;
    let properties = ffi::query(id, options.descriptors).map_err(|source| Error::Device {
        device: name.clone(),
        driver: String::new(),
        action: "ask what it can",
        source,
    })?;
    let refused = |action, source| Error::Device {
        device: name.clone(),
        driver: properties.driver.clone(),
        action,
        source,
    };
    let queues = options.queues.clamp(1, QUEUES_MAX);
    let queues = queues.min(properties.rx_queues_max).min(properties.tx_queues_max);
    // Before the device, so that they are dropped after it.
    let mut pools = Vec::new();
    let mut device = Device::new(id);
    let not_shareable = |reason: String| Error::NotShareable { device: name.clone(), reason };
    if !options.only.is_empty() {
        device.isolate().map_err(|source| not_shareable(source.to_string()))?;
    }
    device.configure(queues, properties.mtu).map_err(|source| refused("configure it", source))?;
    let frame_bytes = u32::from(properties.mtu) + LINK_HEADER_BYTES + XDP_HEADROOM_BYTES;
    let buffer_bytes = frame_bytes.max(BUFFER_BYTES_MIN);
    let room = u16::try_from(buffer_bytes + HEADROOM_BYTES)
        .map_err(|_too_big| refused("serve its MTU", std::io::ErrorKind::InvalidInput.into()))?;
    let descriptors = u32::from(properties.rx_descriptors) + u32::from(properties.tx_descriptors);
    for queue in 0..queues {
        let rx_frames = options.rx_frames + descriptors + DRIVER_FRAMES;
        let pool = |kind, frames| {
            Pool::new(&format!("coney-{id}-{queue}-{kind}"), frames, room, device.socket())
                .map_err(|source| refused("make a pool of buffers (more memory: -m)", source))
        };
        pools.push((pool("rx", rx_frames)?, pool("tx", options.tx_frames)?));
    }
    for (queue, (rx, _)) in (0..queues).zip(&pools) {
        let descriptors = (properties.rx_descriptors, properties.tx_descriptors);
        device
            .set_up_queue(queue, descriptors, rx)
            .map_err(|source| refused("set a queue up", source))?;
    }
    device.start().map_err(|source| refused("start it", source))?;
    for endpoint in &options.only {
        device.serve(queues, endpoint).map_err(not_shareable)?;
    }
    // Neighbour solicitations go to groups. Devices that cannot choose get them anyway.
    device.receive_multicast();
    let shape = Shape {
        name,
        properties,
        rx_frames: options.rx_frames,
        tx_frames: options.tx_frames,
        frame_bytes: usize::from(room),
    };
    let device = Arc::new(device.with_pools(pools));
    (0..queues).map(|queue| Queue::new(Arc::clone(&device), queue, &shape)).collect()
}

fn choose(name: &str) -> Result<(u16, String), Error> {
    let mut all = ffi::ports();
    let names = all.iter().map(|(_, name)| name.as_str()).collect::<Vec<_>>().join(", ");
    if !name.is_empty() {
        let found = all.into_iter().find(|(_, known)| known == name);
        return found.ok_or_else(|| Error::NoSuchDevice { name: name.to_owned(), names });
    }
    match all.len() {
        0 => Err(Error::NoDevice),
        1 => Ok(all.remove(0)),
        _ => Err(Error::SeveralDevices { names }),
    }
}

/// An endpoint as the shim takes it.
pub(crate) fn address_bytes(address: IpAddr) -> ([u8; 16], bool) {
    match address {
        IpAddr::V4(v4) => {
            let mut bytes = [0; 16];
            let [a, b, c, d] = v4.octets();
            bytes[..4].copy_from_slice(&[a, b, c, d]);
            (bytes, false)
        }
        IpAddr::V6(v6) => (v6.octets(), true),
    }
}
