//! Proportional rate reduction (RFC 6937): how fast a recovery sends.
//!
//! The window of a recovery does not drop to the slow start threshold at once, which would silence
//! the sender until that much was delivered; it goes there in proportion to what the peer reports.
//! Where losses are so many that less is in flight than the threshold allows, it grows back no
//! faster than in slow start (the bound PRR-SSRB) instead of in one burst.

/// The state of one recovery. All sizes are bytes, names are those of RFC 6937 §3.
#[derive(Clone, Copy, Debug, Default)]
pub struct Prr {
    /// `RecoverFS`: what was in flight when the recovery began; 0 until its first acknowledgement.
    recover_fs: u32,
    /// `prr_delivered`: what arrived since.
    delivered: u32,
    /// `prr_out`: what was sent since.
    out: u32,
    /// What may be in flight until the next acknowledgement.
    cwnd: u32,
}

impl Prr {
    /// What may be in flight.
    pub fn cwnd(&self) -> u32 {
        self.cwnd
    }

    /// An acknowledgement told that `delivered` of the `outstanding` bytes arrived, which left `pipe`
    /// in flight; the one that began the recovery is the first. One that tells nothing new allows
    /// nothing new.
    pub fn on_ack(&mut self, delivered: u32, outstanding: u32, pipe: u32, ssthresh: u32, mss: u32) {
        if self.recover_fs == 0 {
            self.recover_fs = outstanding.max(1);
        } else if delivered == 0 {
            return;
        }
        self.delivered = self.delivered.saturating_add(delivered);
        let allowed = if pipe > ssthresh {
            let share = (u64::from(self.delivered) * u64::from(ssthresh))
                .div_ceil(u64::from(self.recover_fs));
            u32::try_from(share).unwrap_or(u32::MAX).saturating_sub(self.out)
        } else {
            let limit = self.delivered.saturating_sub(self.out).max(delivered).saturating_add(mss);
            limit.min(ssthresh - pipe)
        };
        self.cwnd = pipe.saturating_add(allowed);
    }

    /// `len` positions were sent, for the first time or again.
    pub fn on_sent(&mut self, len: u32) {
        self.out = self.out.saturating_add(len);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MSS: u32 = 1000;

    /// What a sender with endless data does with one acknowledgement: returns how much it sends.
    fn ack(prr: &mut Prr, pipe: &mut u32, delivered: u32, ssthresh: u32) -> u32 {
        *pipe -= delivered;
        prr.on_ack(delivered, 20 * MSS, *pipe, ssthresh, MSS);
        let mut sent = 0;
        while *pipe + MSS <= prr.cwnd() {
            *pipe += MSS;
            prr.on_sent(MSS);
            sent += MSS;
        }
        sent
    }

    #[test]
    fn sending_is_spread_over_the_round_trip_and_ends_at_the_threshold() {
        // 20 segments, one lost; the threshold is half: one is sent for two that arrive.
        let mut prr = Prr::default();
        let mut pipe = 19 * MSS;
        let sent: Vec<u32> =
            (0..18).map(|_| ack(&mut prr, &mut pipe, MSS, 10 * MSS) / MSS).collect();
        assert_eq!(sent.iter().sum::<u32>(), 9);
        assert!(sent.iter().all(|sent| *sent <= 1), "no burst: {sent:?}");
        assert!(sent.windows(3).all(|sent| sent.contains(&1)), "no silence: {sent:?}");
        assert_eq!(pipe, 10 * MSS);
    }

    #[test]
    fn many_losses_are_repaired_as_in_slow_start() {
        // 20 segments, 16 of them lost: RFC 6675 would send 9 at once.
        let mut prr = Prr::default();
        let mut pipe = 4 * MSS;
        let sent: Vec<u32> =
            (0..6).map(|_| ack(&mut prr, &mut pipe, MSS, 10 * MSS) / MSS).collect();
        assert_eq!(sent, [2, 2, 2, 2, 2, 2]);
        assert_eq!(pipe, 10 * MSS);
    }

    #[test]
    fn an_acknowledgement_without_news_allows_nothing() {
        let mut prr = Prr::default();
        let mut pipe = 4 * MSS;
        ack(&mut prr, &mut pipe, MSS, 10 * MSS);
        assert_eq!(ack(&mut prr, &mut pipe, 0, 10 * MSS), 0);
    }
}
