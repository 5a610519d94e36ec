//! The loop over transports that say how much they had to do.

use super::fake::FakeTransport;
use super::*;
use crate::stepped::SteppedWorker;

fn with_news(news: usize) -> FakeTransport {
    let transport = FakeTransport::default();
    transport.0.borrow_mut().news = news;
    transport
}

/// How often each of these is asked in 200 iterations, a microsecond apart.
fn polls(transports: &[FakeTransport]) -> Vec<usize> {
    let dir = tempfile::tempdir().unwrap();
    let boxed = transports.iter().map(|it| Box::new(it.clone()) as Box<dyn Transport>).collect();
    let mut worker = SteppedWorker::new(dir.path(), &[], boxed);
    for us in 0..200 {
        worker.step(Instant::from_millis(1000) + Duration::from_micros(us));
    }
    transports.iter().map(|it| it.0.borrow().polls).collect()
}

#[test]
fn kernel_sockets_without_news_cost_a_busy_bypass_no_call_each_iteration() {
    assert_eq!(polls(&[with_news(1), with_news(0)]), [200, 4]);
}

#[test]
fn kernel_sockets_are_asked_each_time_if_they_have_news_or_nobody_else_has() {
    assert_eq!(polls(&[with_news(1), with_news(1)]), [200, 200]);
    assert_eq!(polls(&[with_news(0), with_news(0)]), [200, 200]);
    assert_eq!(polls(&[with_news(0)]), [200]);
}
