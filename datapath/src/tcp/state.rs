//! States of an open connection (RFC 9293 §3.3.2).

/// The states that have a [`super::tcb::Tcb`]. LISTEN is a list of endpoints, SYN-RECEIVED an entry
/// of the SYN cache, TIME-WAIT an entry of its own kind, CLOSED is nothing.
///
/// ```text
///   SynSent --SYN-ACK--> Established <--ACK-- (SYN cache)
///                         |        |
///                     close        FIN
///                         v        v
///     FinWait1 --FIN--> Closing   CloseWait
///       |  |  \            |          | close
///       |  |   FIN+ACK     | ACK      v
///   ACK |  |      \        |       LastAck --ACK--> closed
///       v  |       v       v
///  FinWait2 --FIN--> (TIME-WAIT)
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// We sent SYN.
    SynSent,
    /// Data may travel both ways.
    Established,
    /// We closed; our FIN is not acknowledged.
    FinWait1,
    /// We closed and the peer knows; it may still send.
    FinWait2,
    /// Both closed at the same time; our FIN is not acknowledged.
    Closing,
    /// The peer closed; we may still send.
    CloseWait,
    /// The peer closed, then we; our FIN is not acknowledged.
    LastAck,
}

impl State {
    /// Whether a connection may go from this state to `next`.
    pub fn may_become(self, next: Self) -> bool {
        match self {
            Self::SynSent => next == Self::Established,
            Self::Established => matches!(next, Self::FinWait1 | Self::CloseWait),
            Self::FinWait1 => matches!(next, Self::FinWait2 | Self::Closing),
            Self::CloseWait => next == Self::LastAck,
            Self::FinWait2 | Self::Closing | Self::LastAck => false,
        }
    }

    /// Whether the peer may still send data: it has not sent FIN.
    pub fn may_receive(self) -> bool {
        match self {
            Self::Established | Self::FinWait1 | Self::FinWait2 => true,
            Self::SynSent | Self::Closing | Self::CloseWait | Self::LastAck => false,
        }
    }

    /// Whether the application may send: it has not closed.
    pub fn may_send(self) -> bool {
        match self {
            Self::Established | Self::CloseWait => true,
            Self::SynSent | Self::FinWait1 | Self::FinWait2 | Self::Closing | Self::LastAck => {
                false
            }
        }
    }
}
