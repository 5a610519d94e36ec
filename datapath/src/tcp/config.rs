//! What an operator or a test sets, with its defaults.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::congestion::Algorithm;

/// Settings of one worker's TCP.
#[derive(Clone, Debug)]
pub struct Config {
    /// Served endpoints: connections to them are accepted.
    pub listen: Vec<SocketAddr>,
    /// Addresses that are ours beyond those of `listen` (for active opens): a segment to one of
    /// them that belongs to no connection is answered with RST.
    pub addresses: Vec<IpAddr>,
    /// Secret for hashes and sequence numbers, drawn at random when the process starts.
    pub secret: [u8; 16],
    /// Connections; beyond it a finished handshake is ignored until the peer tries again.
    pub conns_max: usize,
    /// Half-open connections; beyond it a SYN is answered with a cookie, or dropped without
    /// [`Self::syn_cookies`].
    pub syn_cache_max: usize,
    /// Answer SYNs that find no room with a cookie (RFC 4987 §3.6).
    pub syn_cookies: bool,
    /// Connections in TIME-WAIT; beyond it they are forgotten at once.
    pub time_wait_max: usize,
    /// Transmit frames that one connection may hold, unsent and unacknowledged ones together;
    /// beyond it sending pushes back.
    pub send_frames_max: usize,
    /// Receive frames that all connections may hold for reassembly; beyond it segments that arrive
    /// ahead of a gap are dropped. Never more than a quarter of the port's.
    pub held_frames_max: usize,
    /// Transmit frames that are never used for queued data, so that acknowledgements, resets and
    /// handshakes go on when data has taken all others. Half of them may be taken to split segments.
    pub reserved_frames: usize,
    /// How long no transmit frame may be free before connections that make no progress are reset
    /// and new ones are not accepted (`transport/tcp/pressure.rs`).
    pub pressure_after: Duration,
    /// An idle connection's peer is probed after this time; `None`: never. Then three probes, a
    /// third of it apart, as Redis sets it up for kernel sockets.
    pub keepalive_idle: Option<Duration>,
    /// How long the peer may take to close its side after we closed ours and it acknowledged.
    pub fin_wait_2_timeout: Duration,
    /// How long a connection that the application closed may go without progress before our FIN is
    /// acknowledged; however often the peer answers probes of its closed window.
    pub orphan_timeout: Duration,
    /// Connections that the application closed and the peer has not; beyond it the next is reset.
    pub orphans_max: usize,
    /// How long a connection that we closed first stays known (twice the maximum segment
    /// lifetime).
    pub time_wait: Duration,
    /// Longest wait before received data is acknowledged.
    pub delayed_ack: Duration,
    /// Full segments at the beginning of a connection that are acknowledged without delay: a peer
    /// in slow start waits for it.
    pub quick_acks: u8,
    /// How long a peer may delay the acknowledgement of a single segment: so much longer a probe
    /// for a lost tail waits (RFC 8985 §7.2).
    pub peer_ack_delay: Duration,
    /// Congestion control of new connections.
    pub congestion: Algorithm,
    /// Offer and agree to SACK (RFC 2018).
    pub sack: bool,
    /// Offer and agree to timestamps (RFC 7323).
    pub timestamps: bool,
    /// Offer and agree to ECN (RFC 3168).
    pub ecn: bool,
    /// How long sent data may stay unacknowledged, or queued data unsent because the peer's window
    /// is closed, without any progress, before the connection is given up (RFC 9293 §3.8.3, §3.9.1.1;
    /// Linux's `TCP_USER_TIMEOUT`). After a close [`Self::orphan_timeout`] counts. `None`: only [`Self::retransmits_max`] counts, and a peer may
    /// keep its window closed for ever.
    pub user_timeout: Option<Duration>,
    /// Retransmissions of the same data, or probes without any answer, before the connection is
    /// given up: with the RTO floor the 10 take 200 s, above the 100 s of RFC 9293 §3.8.3.
    pub retransmits_max: u8,
    /// Resets for segments of no connection, per second.
    pub resets_per_second_max: u32,
    /// Challenge acknowledgements (RFC 5961 §7) of all connections, per second. One connection
    /// gets at most one in [`super::challenge::PER_CONNECTION_INTERVAL`].
    pub challenges_per_second_max: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: Vec::new(),
            addresses: Vec::new(),
            secret: [0; 16],
            conns_max: 65_536,
            syn_cache_max: 4096,
            syn_cookies: true,
            time_wait_max: 16_384,
            send_frames_max: 256,
            held_frames_max: 512,
            reserved_frames: 32,
            pressure_after: Duration::from_secs(5),
            keepalive_idle: Some(Duration::from_secs(300)),
            fin_wait_2_timeout: Duration::from_secs(60),
            orphan_timeout: Duration::from_secs(120),
            orphans_max: 16_384,
            time_wait: Duration::from_secs(60),
            delayed_ack: Duration::from_millis(40),
            quick_acks: 16,
            peer_ack_delay: Duration::from_millis(50),
            congestion: Algorithm::Cubic,
            sack: true,
            timestamps: true,
            ecn: true,
            user_timeout: None,
            retransmits_max: 10,
            resets_per_second_max: 1000,
            challenges_per_second_max: 1000,
        }
    }
}
