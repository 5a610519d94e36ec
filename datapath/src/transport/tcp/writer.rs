//! Bytes into a connection's transmit frames: by the transport, and by the application while it reads
//! what arrived.

use coney_base::Instant;

use super::HEADROOM_BYTES;
use super::transmit::offset;
use crate::port::TxFrames;
use crate::tcp::config::Config;
use crate::tcp::tcb::Tcb;
use crate::transport::ReplyFrames;

/// Why not all bytes were taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Short {
    /// The connection has [`Config::send_frames_max`] frames.
    QueueFull,
    /// No frame is free but those that are reserved.
    NoFrame,
}

/// Copies `parts`, one after the other, into frames of the connection, the last one first if it was
/// never sent and has room. Returns how many bytes that were, and why no more.
pub(super) fn queue_parts(
    tcb: &mut Tcb,
    frames: &mut impl TxFrames,
    config: &Config,
    parts: &[&[u8]],
) -> (usize, Option<Short>) {
    let mut parts = parts.iter().filter(|part| !part.is_empty());
    let Some(mut rest) = parts.next().copied() else { return (0, None) };
    let mss = tcb.mss();
    let mut taken = 0;
    loop {
        if let Some(tail) = tcb.queue.open_tail()
            && tail.len < mss
            && let Some(frame) = tail.frame.as_mut()
        {
            let begin = usize::from(tail.start) + usize::from(tail.len);
            let end = usize::from(tail.start) + usize::from(mss);
            let mut room = frames.bytes_mut(frame).get_mut(begin..end).expect("a frame has an MSS");
            while !room.is_empty() {
                let len = rest.len().min(room.len());
                let (now, later) = rest.split_at(len);
                let (here, behind) = room.split_at_mut(len);
                here.copy_from_slice(now);
                tail.len += offset(len);
                taken += len;
                room = behind;
                rest = later;
                if rest.is_empty() {
                    match parts.next() {
                        Some(next) => rest = next,
                        None => return (taken, None),
                    }
                }
            }
        }
        if tcb.queue.len() >= config.send_frames_max {
            return (taken, Some(Short::QueueFull));
        }
        let is_free = frames.available() > config.reserved_frames;
        let Some(frame) = is_free.then(|| frames.alloc()).flatten() else {
            return (taken, Some(Short::NoFrame));
        };
        tcb.push_frame(frame, offset(HEADROOM_BYTES), 0);
    }
}

/// The frames of the connection whose bytes the application reads. Nothing is transmitted while it
/// exists, so whatever was written through it can be taken back.
#[derive(Debug)]
pub(super) struct Writer<'a, T> {
    now: Instant,
    tcb: &'a mut Tcb,
    frames: T,
    config: &'a Config,
    /// Bytes that were written and not taken back.
    written: usize,
}

impl<'a, T: TxFrames> Writer<'a, T> {
    pub(super) fn new(now: Instant, tcb: &'a mut Tcb, frames: T, config: &'a Config) -> Self {
        Self { now, tcb, frames, config, written: 0 }
    }
}

impl<T: TxFrames> ReplyFrames for Writer<'_, T> {
    fn write(&mut self, parts: &[&[u8]]) -> usize {
        if !self.tcb.state().may_send() {
            return 0;
        }
        if self.written == 0 {
            self.tcb.before_send(self.now);
        }
        let (taken, _) = queue_parts(self.tcb, &mut self.frames, self.config, parts);
        self.written += taken;
        taken
    }

    fn take_back(&mut self, len: usize) {
        assert!(len <= self.written, "{len} bytes are taken back of {}", self.written);
        self.written -= len;
        let mut rest = len;
        while rest > 0 {
            let (cut, emptied) = self.tcb.queue.cut_tail(rest);
            rest -= cut;
            emptied.into_iter().for_each(|frame| self.frames.free(frame));
        }
    }

    fn read_back(&mut self, len: usize, out: &mut Vec<u8>) {
        assert!(len <= self.written, "{len} bytes are read back of {}", self.written);
        let queue = &mut self.tcb.queue;
        let (mut at, mut have) = (queue.len(), 0);
        while have < len
            && let Some(segment) = at.checked_sub(1).and_then(|before| queue.get(before))
        {
            at -= 1;
            have += usize::from(segment.len);
        }
        let mut skipped = have - len;
        for index in at..queue.len() {
            if let Some(segment) = queue.get_mut(index)
                && let Some(frame) = segment.frame.as_mut()
            {
                let begin = usize::from(segment.start) + std::mem::take(&mut skipped);
                let end = usize::from(segment.start) + usize::from(segment.len);
                let bytes = self.frames.bytes_mut(frame).get(begin..end);
                out.extend_from_slice(bytes.expect("payload lies in its frame"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::port::Port;
    use crate::port::sim::{SimPort, SimPortConfig};
    use crate::tcp::flow::FlowKey;
    use crate::tcp::seq::Seq;
    use crate::tcp::tcb::{Agreed, Opened};
    use crate::wire::Hop;

    const NOW: Instant = Instant::ZERO;
    const MSS: u16 = 100;

    fn tcb(config: &Config) -> Tcb {
        let agreed = Agreed {
            mss: MSS,
            snd_wscale: 0,
            rcv_wscale: 0,
            timestamps: None,
            sack: false,
            ecn: false,
        };
        let opened = Opened {
            key: FlowKey::new("10.0.0.1:6379".parse().unwrap(), "10.0.0.2:1".parse().unwrap()),
            hop: Hop { local: [2; 6], remote: [4; 6], vlan: None },
            iss: Seq(u32::MAX - 150),
            irs: Seq(7),
            agreed,
            ts_offset: 0,
            rtt: None,
        };
        Tcb::passive(NOW, &opened, config)
    }

    #[derive(Clone, Debug)]
    enum Op {
        Write(Vec<usize>),
        /// Of a hundred parts of what was written.
        TakeBack(usize),
        ReadBack(usize),
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            3 => proptest::collection::vec(0..250_usize, 0..4).prop_map(Op::Write),
            1 => (0..=100_usize).prop_map(Op::TakeBack),
            1 => (0..=100_usize).prop_map(Op::ReadBack),
        ]
    }

    proptest! {
        #[test]
        fn it_is_a_bounded_vector(
            before in 0..250_usize,
            ops in proptest::collection::vec(op(), 0..30),
            send_frames_max in 3..12_usize,
            tx_frames in 6..14_usize,
        ) {
            let config = Config { send_frames_max, reserved_frames: 3, ..Config::default() };
            let mut port = SimPort::new(&SimPortConfig { tx_frames, ..SimPortConfig::default() });
            let mut tcb = tcb(&config);
            let queued = queue_parts(&mut tcb, &mut port.tx(), &config, &[&vec![b'!'; before]]);
            prop_assert_eq!(queued, (before, None));
            let mut writer = Writer::new(NOW, &mut tcb, port.tx(), &config);
            let mut model: Vec<u8> = Vec::new();
            let mut next = 0_u8;
            for op in ops {
                match op {
                    Op::Write(lens) => {
                        let mut part = |len: usize| {
                            next = next.wrapping_add(1);
                            vec![next; len]
                        };
                        let parts: Vec<Vec<u8>> = lens.into_iter().map(&mut part).collect();
                        let slices: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
                        let taken = writer.write(&slices);
                        let bytes = parts.concat();
                        model.extend_from_slice(&bytes[..taken]);
                        let frames = (before + model.len()).div_ceil(MSS.into());
                        let room = send_frames_max.min(tx_frames - 3);
                        if taken < bytes.len() {
                            prop_assert_eq!(before + model.len(), room * usize::from(MSS));
                        }
                        prop_assert_eq!(writer.tcb.queue.len(), frames);
                    }
                    Op::TakeBack(part) => {
                        let len = model.len() * part / 100;
                        writer.take_back(len);
                        model.truncate(model.len() - len);
                    }
                    Op::ReadBack(part) => {
                        let len = model.len() * part / 100;
                        let mut out = vec![b'?'];
                        writer.read_back(len, &mut out);
                        prop_assert_eq!(&out[1..], &model[model.len() - len..]);
                    }
                }
                writer.tcb.check();
            }
            let len = model.len();
            let mut out = Vec::new();
            writer.read_back(len, &mut out);
            prop_assert_eq!(&out, &model);
            writer.take_back(len);
            prop_assert_eq!(tcb.queue.len(), before.div_ceil(MSS.into()));
            prop_assert_eq!(port.tx_available(), tx_frames - tcb.queue.len());
        }
    }
}
