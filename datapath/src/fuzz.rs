//! Bodies of the fuzz targets for this crate (`datapath/fuzz`); `cargo test` runs them too, with
//! random bytes and with the seeds.

mod frames;
mod replies;
mod segments;
#[cfg(test)]
mod tests;

pub use frames::frames;
pub use segments::segments;
