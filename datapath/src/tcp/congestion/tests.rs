use proptest::prelude::*;

use super::*;

const MSS: u32 = 1000;

fn ack(acked: u32, mss: u32) -> Ack {
    let srtt = Duration::from_millis(1);
    let now = Instant::from_millis(7);
    Ack { now, acked, mss, srtt, rtt: Some(srtt), una: Seq(0), nxt: Seq(acked) }
}

#[test]
fn the_initial_window_is_ten_segments_or_what_rfc_6928_says_for_large_ones() {
    assert_eq!(initial_window(1000), 10_000);
    assert_eq!(initial_window(1460), 14_600);
    assert_eq!(initial_window(3000), 14_600);
    assert_eq!(initial_window(9000), 18_000);
}

#[test]
fn slow_start_doubles_per_round_trip_and_avoidance_adds_one_segment() {
    let mut reno = NewReno::new(MSS);
    (0..10).for_each(|_| reno.on_ack(&ack(MSS, MSS)));
    assert_eq!(reno.cwnd(), 20_000);
    reno.on_rto(20_000, MSS, true);
    assert_eq!((reno.cwnd(), reno.ssthresh()), (MSS, 10_000));
    reno.on_rto(MSS, MSS, false);
    assert_eq!(reno.ssthresh(), 10_000, "the same loss halves once");
    (0..9).for_each(|_| reno.on_ack(&ack(MSS, MSS)));
    assert_eq!(reno.cwnd(), 10_000);
    (0..10).for_each(|_| reno.on_ack(&ack(MSS, MSS)));
    assert_eq!(reno.cwnd(), 11_000);
}

#[test]
fn a_recovery_leaves_half_and_no_burst() {
    let mut reno = NewReno::new(MSS);
    reno.on_congestion(10_000, MSS);
    assert_eq!((reno.cwnd(), reno.ssthresh()), (5000, 5000));
    reno.on_recovery_end(1000, MSS);
    assert_eq!(reno.cwnd(), 2000);
    reno.on_recovery_end(9000, MSS);
    assert_eq!(reno.cwnd(), 5000);
}

proptest! {
    #[test]
    fn the_window_is_at_least_one_segment_and_at_most_the_limit(
        is_cubic: bool,
        mss in 36_u32..65_536,
        events in proptest::collection::vec((0_u8..6, any::<u32>(), 0_u64..1_000_000), 0..200),
    ) {
        let algorithm = if is_cubic { Algorithm::Cubic } else { Algorithm::NewReno };
        let mut congestion = Congestion::new(algorithm, mss);
        let mut now = Instant::from_millis(5);
        for (event, bytes, pause) in events {
            now = now + Duration::from_micros(pause);
            let before = congestion.cwnd();
            let srtt = Duration::from_micros(pause / 3);
            match event {
                0 => congestion.on_ack(&Ack { now, srtt, ..ack(bytes, mss) }),
                1 => congestion.on_congestion(bytes.min(before), mss),
                2 => congestion.on_recovery_end(bytes, mss),
                3 => congestion.on_rto(bytes, mss, bytes % 2 == 0),
                _ => congestion.on_idle(mss),
            }
            let after = congestion.cwnd();
            prop_assert!((mss..=CWND_MAX).contains(&after));
            prop_assert!(congestion.ssthresh() <= CWND_MAX);
            match event {
                0 => prop_assert!(after >= before && after - before <= (before / 2).max(8 * mss)),
                1 => prop_assert!(after <= (before / 10 * 7 + 7).max(2 * mss)),
                3 => prop_assert_eq!(after, mss),
                _ => {}
            }
        }
    }

    #[test]
    fn cubic_is_never_slower_than_the_friendly_estimate(
        window in 10_u32..200,
        rtt_us in 50_u64..300_000,
        rounds in 1_usize..60,
    ) {
        let rtt = Duration::from_micros(rtt_us);
        let mut congestion = Congestion::new(Algorithm::Cubic, MSS);
        while congestion.cwnd() < window * MSS {
            congestion.on_ack(&ack(MSS, MSS));
        }
        let full = congestion.cwnd();
        congestion.on_congestion(full, MSS);
        let mut now = Instant::from_millis(1000);
        let mut friendly = f64::from(congestion.cwnd());
        for _ in 0..rounds {
            now = now + rtt;
            for _ in 0..congestion.cwnd() / MSS {
                let share = f64::from(MSS) / f64::from(congestion.cwnd());
                let alpha = if friendly < f64::from(full) { 9.0 / 17.0 } else { 1.0 };
                friendly += alpha * share * f64::from(MSS);
                congestion.on_ack(&Ack { now, srtt: rtt, ..ack(MSS, MSS) });
            }
            prop_assert!(f64::from(congestion.cwnd()) >= friendly * 0.98 - f64::from(MSS));
        }
    }
}
