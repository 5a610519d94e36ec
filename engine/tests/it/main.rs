//! The engine as the server uses it: through [`coney_engine::Executor`], with real RESP, a data
//! directory of its own, and a clock that the tests move.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::or_fun_call,
    reason = "helpers of tests, which clippy takes for production code outside of test functions"
)]

mod ahead;
mod argv;
mod auth;
mod blobs;
mod check;
mod cold;
mod conversations;
mod databases;
mod differential;
mod dump;
mod fields;
mod introspection;
mod large;
mod lists;
mod model;
mod peer;
mod places;
mod queues;
mod ranks;
mod renew;
mod slow;
mod sorted;
mod stale;
mod streams;
mod texts;
mod transactions;
mod usage;
mod workers;
