//! The engine as the server uses it: through [`coney_engine::Executor`], with real RESP, a data
//! directory of its own, and a clock that the tests move.

mod argv;
mod cold;
mod conversations;
mod model;
mod peer;
mod slow;
mod workers;
