//! Our TCP: a state machine without I/O. Segments, timers and the time come in, decisions go out;
//! frames are tokens that it keeps but never looks into. `docs/tcp.md` says what of which RFC is
//! implemented and where we deviate.
//!
//! ```text
//! segment -> FlowMap (who is it?) -> SynCache   half-open, no allocation    (syn_cache)
//!                                 -> Tcb        open: input, timers, output (tcb, input, output)
//!                                 -> TimeWait   closed by us                (time_wait)
//! ```
//! Names are those of RFC 9293: `snd_una`, `rcv_nxt`, ... The transport over a port that drives all
//! this is `crate::transport::tcp`.

pub mod challenge;
pub mod config;
pub mod congestion;
pub mod counters;
pub mod flow;
pub mod flow_map;
pub mod front_deque;
pub mod input;
pub mod isn;
pub mod output;
pub mod prr;
pub mod rack;
pub mod reassembly;
pub mod rto;
pub mod send_queue;
pub mod seq;
pub mod state;
pub mod syn_cache;
pub mod syn_cookie;
pub mod table;
pub mod tcb;
pub mod time_wait;
pub mod timer_wheel;
pub mod timers;

use crate::port::TxFrame;
use challenge::RateLimit;
use config::Config;
use counters::Counters;
use flow::FlowHasher;
use reassembly::Quota;

/// What all connections of a worker share.
#[derive(Debug)]
pub struct Shared {
    /// Settings.
    pub config: Config,
    /// Keyed hashes.
    pub hasher: FlowHasher,
    /// Counters.
    pub counters: Counters,
    /// Limit on challenge acknowledgements.
    pub challenges: RateLimit,
    /// Limit on resets for segments of no connection.
    pub resets: RateLimit,
    /// Receive frames held for reassembly.
    pub quota: Quota,
    /// Transmit frames that a connection is done with; the transport gives them to the port.
    pub freed: Vec<TxFrame>,
}

impl Shared {
    /// The shared part for `config`.
    pub fn new(config: Config) -> Self {
        Self {
            hasher: FlowHasher::new(config.secret),
            counters: Counters::default(),
            challenges: RateLimit::new(config.challenges_per_second_max),
            resets: RateLimit::new(config.resets_per_second_max),
            quota: Quota::new(config.held_frames_max),
            freed: Vec::new(),
            config,
        }
    }
}
