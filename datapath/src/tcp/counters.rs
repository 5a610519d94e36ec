//! Counters of everything that happens to segments and connections: each drop and each rare path
//! has one.

macro_rules! counters {
    ($($(#[doc = $doc:literal])* $field:ident => $name:literal,)*) => {
        /// Counters of one worker's TCP.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct Counters {
            $($(#[doc = $doc])* pub $field: u64,)*
        }

        impl Counters {
            /// Hands every counter to `visit` as a metric name and its value.
            pub fn visit(&self, visit: &mut dyn FnMut(&'static str, u64)) {
                $(visit($name, self.$field);)*
            }
        }
    };
}

counters! {
    /// Segments received, of any kind.
    rx_segments => "tcp_rx_segments",
    /// Payload bytes delivered in order.
    rx_bytes => "tcp_rx_bytes",
    /// Segments transmitted, of any kind.
    tx_segments => "tcp_tx_segments",
    /// Payload bytes transmitted for the first time.
    tx_bytes => "tcp_tx_bytes",
    /// Frames dropped: shorter than their lengths say, or no IP packet.
    rx_malformed => "tcp_rx_malformed",
    /// Frames dropped: not TCP.
    rx_not_tcp => "tcp_rx_not_tcp",
    /// Connections whose next hop was found at another hardware address.
    next_hops_changed => "tcp_next_hops_changed",
    /// Frames dropped: a fragment.
    rx_fragment => "tcp_rx_fragment",
    /// Frames dropped: an IPv4 header checksum is wrong.
    rx_bad_ip_checksum => "tcp_rx_bad_ip_checksum",
    /// Frames dropped: a TCP checksum is wrong.
    rx_bad_checksum => "tcp_rx_bad_checksum",
    /// Segments dropped: to an address that is not ours, or from one that nobody has.
    rx_not_ours => "tcp_rx_not_ours",
    /// Segments that belong to no connection.
    rx_no_connection => "tcp_rx_no_connection",
    /// Segments dropped: outside the receive window.
    rx_out_of_window => "tcp_rx_out_of_window",
    /// Segments dropped: their timestamp is older than the last (PAWS).
    rx_paws => "tcp_rx_paws",
    /// Segments dropped: acknowledge what was never sent, or nothing recent.
    rx_bad_ack => "tcp_rx_bad_ack",
    /// Segments dropped: no ACK bit, or flags that make no sense in the connection's state.
    rx_bad_flags => "tcp_rx_bad_flags",
    /// Segments that arrived ahead of a gap.
    rx_out_of_order => "tcp_rx_out_of_order",
    /// Segments dropped: their bytes are already held ahead of a gap.
    rx_duplicate => "tcp_rx_duplicate",
    /// Segments dropped: too many frames are held ahead of gaps.
    rx_reassembly_full => "tcp_rx_reassembly_full",
    /// Payload bytes dropped because we closed the connection.
    rx_after_close_bytes => "tcp_rx_after_close_bytes",
    /// Duplicate acknowledgements.
    rx_dup_acks => "tcp_rx_dup_acks",
    /// Resets that ended a connection.
    rx_resets => "tcp_rx_resets",
    /// Connections accepted.
    accepted => "tcp_accepted",
    /// Connections refused by the application.
    refused => "tcp_refused",
    /// Active opens.
    connects => "tcp_connects",
    /// SYNs received by a served endpoint.
    rx_syns => "tcp_rx_syns",
    /// SYNs that found the SYN cache full.
    syn_cache_full => "tcp_syn_cache_full",
    /// SYNs answered with a cookie.
    syn_cookies_sent => "tcp_syn_cookies_sent",
    /// Connections opened by a cookie.
    syn_cookies_accepted => "tcp_syn_cookies_accepted",
    /// Acknowledgements that could have been a cookie and were none.
    syn_cookies_failed => "tcp_syn_cookies_failed",
    /// SYNs dropped: no transmit frame was free for a while.
    syns_under_pressure => "tcp_syns_under_pressure",
    /// Connections reset because transmit frames ran out.
    shed => "tcp_shed",
    /// Closed connections reset because there were too many.
    orphans_reset => "tcp_orphans_reset",
    /// Half-open connections given up.
    syn_timeouts => "tcp_syn_timeouts",
    /// SYN-ACKs sent again.
    syn_ack_retransmits => "tcp_syn_ack_retransmits",
    /// Handshakes not finished: there are as many connections as there may be.
    conns_full => "tcp_conns_full",
    /// Connections that skipped TIME-WAIT: too many are in it.
    time_wait_full => "tcp_time_wait_full",
    /// Connections in TIME-WAIT replaced by a new one of the same peer.
    time_wait_reused => "tcp_time_wait_reused",
    /// Challenge acknowledgements sent.
    challenge_acks => "tcp_challenge_acks",
    /// Challenge acknowledgements and answers to stray segments suppressed by a limit.
    challenge_acks_limited => "tcp_challenge_acks_limited",
    /// Resets sent.
    tx_resets => "tcp_tx_resets",
    /// Resets for segments of no connection suppressed by the limit.
    resets_limited => "tcp_resets_limited",
    /// Segments sent again, for any reason.
    retransmits => "tcp_retransmits",
    /// Recoveries begun by duplicate acknowledgements.
    fast_retransmits => "tcp_fast_retransmits",
    /// Rounds of loss detection by time that found something lost.
    rack_losses => "tcp_rack_losses",
    /// Connections on which the network was seen to reorder.
    reorderings => "tcp_reorderings",
    /// Recoveries called off: timestamps showed that nothing was lost.
    spurious_retransmits => "tcp_spurious_retransmits",
    /// Probes for a lost tail.
    tail_probes => "tcp_tail_probes",
    /// Lost tails that a probe repaired.
    tail_losses => "tcp_tail_losses",
    /// Acknowledgements that reported a duplicate (DSACK).
    rx_dsacks => "tcp_rx_dsacks",
    /// Duplicates reported (DSACK).
    tx_dsacks => "tcp_tx_dsacks",
    /// Segments that arrived with a mark of congestion (ECN).
    rx_ce => "tcp_rx_ce",
    /// Windows reduced because of marks that the peer echoed (ECN).
    ecn_reductions => "tcp_ecn_reductions",
    /// Paths that turned out narrower: ICMP said so.
    path_mtu_lowered => "tcp_path_mtu_lowered",
    /// ICMP messages about the path that were not believed or brought nothing new.
    path_mtu_ignored => "tcp_path_mtu_ignored",
    /// Segments made smaller because full ones got no answer.
    black_holes => "tcp_black_holes",
    /// Expiries of a retransmission timer.
    rtos => "tcp_rtos",
    /// Probes of a closed window.
    zero_window_probes => "tcp_zero_window_probes",
    /// Keepalive probes.
    keepalive_probes => "tcp_keepalive_probes",
    /// Connections given up: no answer.
    timeouts => "tcp_timeouts",
    /// Acknowledgements sent by the delayed-ACK timer.
    delayed_acks => "tcp_delayed_acks",
    /// Sending pushed back: the connection holds all the frames it may.
    send_queue_full => "tcp_send_queue_full",
    /// Sending or transmitting pushed back: no transmit frame is free.
    no_tx_frame => "tcp_no_tx_frame",
    /// Transmitting pushed back: the transmit ring is full.
    tx_ring_full => "tcp_tx_ring_full",
    /// A retransmission pushed back: the device still has the frame.
    tx_in_flight => "tcp_tx_in_flight",
    /// Answers that belong to no connection dropped: no room to keep them for later.
    answers_dropped => "tcp_answers_dropped",
}
