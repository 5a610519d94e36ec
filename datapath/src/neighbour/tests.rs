//! The resolver over tables that the test fills; the kernel's own are tried over AF_XDP in
//! `port::af_xdp::tests`.

use super::*;

const INTERFACE: u32 = 3;
const OLD: Mac = [2, 0, 0, 0, 0, 1];
const NEW: Mac = [2, 0, 0, 0, 0, 2];
const CONN: ConnId = ConnId { index: 7, generation: 1 };
const PATH: Path = Path {
    local: IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)),
    remote: IpAddr::V4(std::net::Ipv4Addr::new(198, 51, 100, 1)),
    is_tagged: false,
};

/// Everything is behind one router.
#[derive(Debug, Default)]
struct Fake {
    known: Option<Neighbour>,
    /// What asking the network brings.
    resolves_to: Option<Mac>,
    used: usize,
    forgotten: usize,
    refuses: bool,
}

fn router() -> NextHop {
    NextHop { interface: INTERFACE, address: IpAddr::from([192, 0, 2, 254]) }
}

impl Tables for Fake {
    fn next_hop(
        &mut self,
        _local: IpAddr,
        _remote: IpAddr,
        interface: Option<u32>,
    ) -> Result<Option<NextHop>, Errno> {
        assert_eq!(interface, Some(INTERFACE));
        if self.refuses { Err(Errno::PERM) } else { Ok(Some(router())) }
    }

    fn neighbour(&mut self, hop: &NextHop) -> Result<Option<Neighbour>, Errno> {
        assert_eq!(*hop, router());
        Ok(self.known)
    }

    fn use_neighbour(&mut self, _hop: &NextHop) -> Result<(), Errno> {
        self.used += 1;
        if let Some(mac) = self.resolves_to {
            self.known = Some(Neighbour { mac, quality: Quality::Confirmed });
        }
        Ok(())
    }

    fn forget(&mut self, _hop: &NextHop) -> Result<(), Errno> {
        self.forgotten += 1;
        self.known = None;
        Ok(())
    }
}

fn bench(known: Option<(Mac, Quality)>) -> (Resolver<Fake>, Client) {
    let known = known.map(|(mac, quality)| Neighbour { mac, quality });
    let (resolver, mut clients) = Resolver::new(Fake { known, ..Fake::default() }, INTERFACE, 1);
    (resolver, clients.pop().unwrap())
}

/// Handles all notices, then what is due.
fn step(resolver: &mut Resolver<Fake>, now: Instant) -> Instant {
    while let Ok(notice) = resolver.notices.try_recv() {
        resolver.on_notice(now, notice);
    }
    resolver.on_time(now)
}

fn at(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

#[test]
fn another_address_that_the_kernel_knows_is_answered_at_once() {
    let (mut resolver, mut client) = bench(Some((NEW, Quality::Stale)));
    client.ask(CONN, PATH, OLD);
    step(&mut resolver, at(1000));
    assert_eq!(client.answer(), Some(Answer { conn: CONN, mac: NEW }));
    assert_eq!((resolver.tables.used, resolver.tables.forgotten), (0, 0));
}

#[test]
fn an_address_that_failed_is_forgotten_and_resolved_anew() {
    let (mut resolver, mut client) = bench(Some((OLD, Quality::Confirmed)));
    client.ask(CONN, PATH, OLD);
    client.ask(ConnId { index: 8, ..CONN }, PATH, OLD);
    let next = step(&mut resolver, at(1000));
    assert_eq!((resolver.tables.used, resolver.tables.forgotten), (1, 1), "once for both");
    assert_eq!(client.answer(), None);
    assert_eq!(next, at(1000) + RESOLVE_INTERVAL);
    resolver.tables.known = Some(Neighbour { mac: NEW, quality: Quality::Confirmed });
    step(&mut resolver, next);
    assert_eq!(client.answer(), Some(Answer { conn: CONN, mac: NEW }));
    assert_eq!(client.answer().map(|answer| answer.conn.index), Some(8));
    assert!(resolver.pending.is_empty());
}

/// A peer that was switched off must not make us flood the network with questions.
#[test]
fn a_dead_peer_is_looked_for_once_a_second_and_given_up() {
    let (mut resolver, mut client) = bench(None);
    for millis in (1000..3000).step_by(10) {
        client.ask(CONN, PATH, OLD);
        step(&mut resolver, at(millis));
    }
    assert_eq!(resolver.tables.used, 2);
    assert!(resolver.pending.len() <= PENDING_MAX);
    step(&mut resolver, at(3000) + RESOLVE_TIMEOUT);
    assert!(resolver.pending.is_empty());
    assert_eq!(client.answer(), None);
}

#[test]
fn an_address_that_proves_right_or_is_fixed_is_no_answer() {
    let (mut resolver, mut client) = bench(Some((OLD, Quality::Stale)));
    resolver.tables.resolves_to = Some(OLD);
    client.ask(CONN, PATH, OLD);
    step(&mut resolver, at(1000));
    assert!(resolver.pending.is_empty());
    resolver.tables.known = Some(Neighbour { mac: OLD, quality: Quality::Fixed });
    client.ask(CONN, PATH, OLD);
    step(&mut resolver, at(5000));
    assert_eq!(resolver.tables.forgotten, 1, "what an administrator set stays");
    assert_eq!(client.answer(), None);
}

#[test]
fn active_next_hops_are_kept_alive_and_idle_ones_are_not() {
    let (mut resolver, mut client) = bench(Some((OLD, Quality::Stale)));
    client.note_active(at(1000), PATH);
    client.note_active(at(1001), PATH);
    assert_eq!(client.notices.len(), 1, "once an interval");
    step(&mut resolver, at(1001));
    assert_eq!(resolver.tables.used, 1);
    let mut now = at(1001);
    let mut refreshes = 1;
    while now.since(at(1001)) < ACTIVE_TIMEOUT {
        now = now + REFRESH_INTERVAL;
        step(&mut resolver, now);
        refreshes += 1;
    }
    assert_eq!(resolver.tables.used, refreshes - 1, "until it was idle for too long");
    assert!(resolver.active.is_empty());
    // A confirmed one needs no question.
    client.note_active(now, PATH);
    resolver.tables.known = Some(Neighbour { mac: OLD, quality: Quality::Confirmed });
    step(&mut resolver, now + REFRESH_INTERVAL);
    assert_eq!(resolver.tables.used, refreshes - 1);
}

#[test]
fn what_finds_no_room_is_dropped_and_counted() {
    let (resolver, mut client) = bench(None);
    for _ in 0..=NOTICES_MAX {
        client.ask(CONN, PATH, OLD);
    }
    let mut counters = BTreeMap::new();
    client.counters(&mut |name, count| {
        counters.insert(name, count);
    });
    assert_eq!(counters["neighbour_dropped_notices"], 1);
    drop(resolver);
    client.ask(CONN, PATH, OLD);
    assert_eq!(client.dropped, 2, "a resolver that is gone is no harm");
}

#[test]
fn a_refusal_of_the_kernel_changes_nothing() {
    let (mut resolver, mut client) = bench(Some((NEW, Quality::Stale)));
    resolver.tables.refuses = true;
    client.ask(CONN, PATH, OLD);
    client.note_active(at(1000), PATH);
    step(&mut resolver, at(1000));
    assert_eq!(client.answer(), None);
    assert!(resolver.active.is_empty() && resolver.has_failed);
}

#[test]
fn resolver_ends_with_its_last_client() {
    let (resolver, client) = bench(None);
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| resolver.run(Clock::new()));
        drop(client);
        thread.join().unwrap();
    });
}

#[test]
fn an_active_open_gets_what_is_known_and_has_the_rest_resolved() {
    let mut fake = Fake { resolves_to: Some(NEW), ..Fake::default() };
    let mac = |fake: &mut Fake| next_hop_mac(fake, PATH.local, PATH.remote, INTERFACE).unwrap();
    assert_eq!(mac(&mut fake), None);
    assert_eq!(mac(&mut fake), Some(NEW));
    assert_eq!(fake.used, 1);
}
