//! The loop over transports that say how much they had to do.

use std::cell::Cell;
use std::os::fd::BorrowedFd;
use std::rc::Rc;

use super::*;
use crate::stepped::SteppedWorker;

/// How often a transport was asked for news, and how much it has each time.
#[derive(Clone, Default)]
struct Polled {
    polls: Rc<Cell<usize>>,
    news: Rc<Cell<usize>>,
}

impl Polled {
    fn with_news(news: usize) -> Self {
        let polled = Self::default();
        polled.news.set(news);
        polled
    }
}

impl Transport for Polled {
    fn poll(&mut self, _now: Instant, _app: &mut dyn App) -> usize {
        self.polls.set(self.polls.get() + 1);
        self.news.get()
    }

    fn send(&mut self, _now: Instant, _conn: ConnId, bytes: &[u8]) -> usize {
        bytes.len()
    }

    fn flush(&mut self, _now: Instant) {}

    fn set_held(&mut self, _now: Instant, _conn: ConnId, _held_bytes: usize) {}

    fn close(&mut self, _now: Instant, _conn: ConnId) {}

    fn abort(&mut self, _now: Instant, _conn: ConnId) {}

    fn stop_accepting(&mut self) {}

    fn next_deadline(&self) -> Option<Instant> {
        None
    }

    fn wait_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn conn_count(&self) -> usize {
        0
    }

    fn counters(&self, _visit: &mut dyn FnMut(&'static str, u64)) {}
}

/// How often each of these is asked in 200 iterations, a microsecond apart.
fn polls(transports: &[Polled]) -> Vec<usize> {
    let dir = tempfile::tempdir().unwrap();
    let boxed = transports.iter().map(|it| Box::new(it.clone()) as Box<dyn Transport>).collect();
    let mut worker = SteppedWorker::new(dir.path(), &[], boxed);
    for us in 0..200 {
        worker.step(Instant::from_millis(1000) + Duration::from_micros(us));
    }
    transports.iter().map(|it| it.polls.get()).collect()
}

#[test]
fn kernel_sockets_without_news_cost_a_busy_bypass_no_call_each_iteration() {
    assert_eq!(polls(&[Polled::with_news(1), Polled::default()]), [200, 4]);
}

#[test]
fn kernel_sockets_are_asked_each_time_if_they_have_news_or_nobody_else_has() {
    assert_eq!(polls(&[Polled::with_news(1), Polled::with_news(1)]), [200, 200]);
    assert_eq!(polls(&[Polled::default(), Polled::default()]), [200, 200]);
    assert_eq!(polls(&[Polled::default()]), [200]);
}
