//! Connections begin: SYN, the end of a handshake, TIME-WAIT reused, and active opens.

use std::net::SocketAddr;

use coney_base::Instant;

use super::TcpTransport;
use super::transmit::Answer;
use crate::port::Port;
use crate::tcp::flow::FlowKey;
use crate::tcp::isn::initial_sequence_number;
use crate::tcp::seq::Seq;
use crate::tcp::syn_cache::{HalfOpen, SYN_ACK_RETRANSMITS_MAX, Verdict};
use crate::tcp::syn_cookie;
use crate::tcp::tcb::{Agreed, Opened, Tcb};
use crate::tcp::time_wait;
use crate::transport::{App, ConnId};
use crate::wire::tcp::{Flags, Header};
use crate::wire::{Hop, Received};

/// How far a reused flow's sequence numbers stay away from its predecessor's.
const REOPEN_DISTANCE: u32 = 0x1_0000;

/// Why an active open did not begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// The flow exists, or it is in TIME-WAIT.
    #[error("the flow is in use")]
    InUse,
    /// There are [`crate::tcp::config::Config::conns_max`] connections.
    #[error("too many connections")]
    TooMany,
    /// The ends have addresses of two families.
    #[error("an IPv4 and an IPv6 address cannot talk")]
    MixedFamilies,
}

impl<P: Port> TcpTransport<P> {
    /// Opens a connection from `local` to `remote`, whose next hop is `hop`: for tests and load
    /// generators. [`App::on_accept`] tells that it is established; if that never happens,
    /// [`App::on_close`] is called all the same.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub fn connect(
        &mut self,
        now: Instant,
        local: SocketAddr,
        remote: SocketAddr,
        hop: Hop,
    ) -> Result<ConnId, ConnectError> {
        if local.is_ipv4() != remote.is_ipv4() {
            return Err(ConnectError::MixedFamilies);
        }
        let key = FlowKey::new(local, remote);
        let hash = self.shared.hasher.table_hash(&key);
        let is_known = self.conns.find(hash, &key).is_some()
            || self.syn_cache.find(hash, &key).is_some()
            || self.time_wait.find(hash, &key).is_some();
        if is_known {
            return Err(ConnectError::InUse);
        }
        let iss = initial_sequence_number(now, &self.shared.hasher, &key);
        let ts_offset = self.shared.hasher.timestamps_offset(&key);
        let mss_max = self.mss_max(&key);
        let tcb = Tcb::active(now, key, hop, iss, ts_offset, mss_max, &self.shared.config);
        let conn = self.conns.insert(hash, Box::new(tcb)).map_err(|_tcb| ConnectError::TooMany)?;
        self.shared.counters.connects += 1;
        self.mark_dirty(conn);
        Ok(conn)
    }

    pub(super) fn mss_max(&self, key: &FlowKey) -> u16 {
        self.mss_max[usize::from(!key.is_ipv4())]
    }

    /// A SYN to a served endpoint. `after`: where a predecessor's sequence numbers ended.
    pub(super) fn on_syn(
        &mut self,
        now: Instant,
        hash: u32,
        key: &FlowKey,
        received: &Received,
        after: Option<Seq>,
    ) {
        self.shared.counters.rx_syns += 1;
        let header = &received.header;
        if header.flags.has(Flags::FIN) || key.local() == key.remote() {
            self.shared.counters.rx_bad_flags += 1;
            return;
        }
        if self.is_under_pressure(now) {
            self.shared.counters.syns_under_pressure += 1;
            return;
        }
        let isn = initial_sequence_number(now, &self.shared.hasher, key);
        let iss = after.map_or(isn, |end| isn.max(end.plus(REOPEN_DISTANCE)));
        let mss_max = self.mss_max(key);
        let half_open = HalfOpen {
            key: *key,
            hop: received.hop,
            iss,
            irs: header.seq,
            agreed: Agreed::from_syn(header, key.is_ipv4(), mss_max, &self.shared.config),
            ts_offset: self.shared.hasher.timestamps_offset(key),
            sent_at: now,
            retransmits: 0,
        };
        match self.syn_cache.insert(hash, half_open) {
            Ok(id) => {
                self.syn_cache.arm(id, half_open.deadline(now));
                self.send_syn_ack(now, &half_open);
            }
            Err(half_open) => {
                self.shared.counters.syn_cache_full += 1;
                // A cookie cannot keep away from a predecessor's sequence numbers.
                if self.shared.config.syn_cookies && after.is_none() {
                    self.send_cookie(now, half_open);
                }
            }
        }
    }

    /// Answers a SYN without keeping anything of it.
    fn send_cookie(&mut self, now: Instant, mut half_open: HalfOpen) {
        let HalfOpen { key, hop, irs, ts_offset, .. } = half_open;
        let (iss, agreed) =
            syn_cookie::make(now, &self.shared.hasher, &key, irs, &half_open.agreed);
        half_open.iss = iss;
        half_open.agreed = agreed;
        let mut header = half_open.syn_ack(now, self.mss_max(&key));
        if let Some(timestamps) = &mut header.options.timestamps {
            timestamps.value = syn_cookie::timestamp_with(now, ts_offset, &agreed);
        }
        self.cookie_sent_at = Some(now);
        self.shared.counters.syn_cookies_sent += 1;
        self.answer(Answer { hop, key, header });
    }

    /// An acknowledgement to a served endpoint of no known connection. Some if it brings back a
    /// cookie. Else it gets no answer: it may belong to a handshake whose last segment is late or
    /// lost, and a reset would end what the peer's next retransmission opens.
    pub(super) fn open_by_cookie(
        &mut self,
        now: Instant,
        hash: u32,
        key: &FlowKey,
        received: &Received,
        app: &mut dyn App,
    ) -> Option<ConnId> {
        let header = &received.header;
        let (irs, iss) = (header.seq.minus(1), header.ack.minus(1));
        let hasher = &self.shared.hasher;
        let timestamps = header.options.timestamps;
        let Some(mut agreed) = syn_cookie::check(now, hasher, key, irs, iss, timestamps) else {
            self.shared.counters.syn_cookies_failed += 1;
            return None;
        };
        agreed.mss = agreed.mss.min(self.mss_max(key));
        let ts_offset = hasher.timestamps_offset(key);
        let opened =
            Opened { key: *key, hop: received.hop, iss, irs, agreed, ts_offset, rtt: None };
        let tcb = Tcb::passive(now, &opened, &self.shared.config);
        let Ok(conn) = self.conns.insert(hash, Box::new(tcb)) else {
            self.shared.counters.conns_full += 1;
            return None;
        };
        self.shared.counters.syn_cookies_accepted += 1;
        self.on_established(conn, app).then_some(conn)
    }

    fn send_syn_ack(&mut self, now: Instant, half_open: &HalfOpen) {
        let header = half_open.syn_ack(now, self.mss_max(&half_open.key));
        self.answer(Answer { hop: half_open.hop, key: half_open.key, header });
    }

    /// Sends SYN-ACK again, or gives up.
    pub(super) fn on_syn_ack_timeout(&mut self, now: Instant, id: ConnId) {
        let Some(half_open) = self.syn_cache.get_mut(id) else { return };
        if half_open.retransmits >= SYN_ACK_RETRANSMITS_MAX {
            self.shared.counters.syn_timeouts += 1;
            self.syn_cache.remove(id);
            return;
        }
        half_open.retransmits += 1;
        let half_open = *half_open;
        self.syn_cache.arm(id, half_open.deadline(now));
        self.shared.counters.syn_ack_retransmits += 1;
        self.send_syn_ack(now, &half_open);
    }

    /// A segment to a half-open connection. Some if it is open now; the segment may carry data and
    /// is to be taken by it.
    pub(super) fn on_half_open_segment(
        &mut self,
        now: Instant,
        id: ConnId,
        hash: u32,
        received: &Received,
        app: &mut dyn App,
    ) -> Option<ConnId> {
        let half_open = *self.syn_cache.get(id)?;
        let payload_len = u32::try_from(received.payload.len()).unwrap_or(0);
        match half_open.on_segment(&received.header, payload_len) {
            Verdict::Open => self.open(now, id, hash, &half_open, app),
            Verdict::AnswerAgain => {
                self.shared.counters.syn_ack_retransmits += 1;
                // What was measured from the first SYN-ACK would be too long (Karn).
                if let Some(half_open) = self.syn_cache.get_mut(id) {
                    half_open.retransmits = half_open.retransmits.max(1);
                }
                self.send_syn_ack(now, &half_open);
                None
            }
            Verdict::Challenge => {
                let header = half_open.challenge(now);
                self.challenge(now, received.hop, half_open.key, header);
                None
            }
            Verdict::Reset => {
                self.shared.counters.rx_bad_ack += 1;
                self.reset_stray(now, &half_open.key, received);
                None
            }
            Verdict::Forget => {
                self.shared.counters.rx_resets += 1;
                self.syn_cache.remove(id);
                None
            }
            Verdict::Drop => {
                self.shared.counters.rx_bad_flags += 1;
                None
            }
        }
    }

    fn challenge(&mut self, now: Instant, hop: Hop, key: FlowKey, header: Header) {
        if self.shared.challenges.allow(now, &self.shared.hasher) {
            self.shared.counters.challenge_acks += 1;
            self.answer(Answer { hop, key, header });
        } else {
            self.shared.counters.challenge_acks_limited += 1;
        }
    }

    fn open(
        &mut self,
        now: Instant,
        id: ConnId,
        hash: u32,
        half_open: &HalfOpen,
        app: &mut dyn App,
    ) -> Option<ConnId> {
        let HalfOpen { key, hop, iss, irs, agreed, ts_offset, sent_at, retransmits } = *half_open;
        let rtt = (retransmits == 0).then(|| now.since(sent_at));
        let opened = Opened { key, hop, iss, irs, agreed, ts_offset, rtt };
        let tcb = Tcb::passive(now, &opened, &self.shared.config);
        let Ok(conn) = self.conns.insert(hash, Box::new(tcb)) else {
            // The entry stays: SYN-ACK is sent again, and the peer's answer tries again.
            self.shared.counters.conns_full += 1;
            return None;
        };
        self.syn_cache.remove(id);
        self.on_established(conn, app).then_some(conn)
    }

    /// `false`: the application refused the connection, and it is gone.
    pub(super) fn on_established(&mut self, conn: ConnId, app: &mut dyn App) -> bool {
        let Some(tcb) = self.conns.get(conn) else { return false };
        if app.on_accept(conn, tcb.key.remote(), tcb.key.local()) {
            self.shared.counters.accepted += 1;
            return true;
        }
        self.shared.counters.refused += 1;
        if let Some(tcb) = self.remove(conn) {
            self.reset(&tcb);
        }
        false
    }

    /// A segment to a connection in TIME-WAIT.
    pub(super) fn on_time_wait_segment(
        &mut self,
        now: Instant,
        id: ConnId,
        hash: u32,
        received: &Received,
    ) {
        let Some(remains) = self.time_wait.get(id).copied() else { return };
        let payload_len = u32::try_from(received.payload.len()).unwrap_or(0);
        match remains.on_segment(&received.header, payload_len) {
            time_wait::Verdict::Drop => {}
            time_wait::Verdict::AnswerAndRestart => {
                // Timers only ever fire early, so the entry is made anew.
                self.time_wait.remove(id);
                if let Ok(id) = self.time_wait.insert(hash, remains) {
                    self.time_wait.arm(id, now + self.shared.config.time_wait);
                }
                let header = remains.ack(now);
                self.answer(Answer { hop: received.hop, key: remains.key, header });
            }
            time_wait::Verdict::Answer => {
                self.challenge(now, received.hop, remains.key, remains.ack(now));
            }
            time_wait::Verdict::Reopen => {
                if self.listen.contains(&remains.key.local()) {
                    self.shared.counters.time_wait_reused += 1;
                    self.time_wait.remove(id);
                    self.on_syn(now, hash, &remains.key, received, Some(remains.snd_nxt));
                } else {
                    self.challenge(now, received.hop, remains.key, remains.ack(now));
                }
            }
        }
    }
}
