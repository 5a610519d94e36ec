//! Benchmarks; see README.md. What several of them share is here.

pub mod driver;
