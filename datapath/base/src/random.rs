//! Random bytes of the operating system, for secrets and seeds.

use std::io::Read;

/// Random bytes.
///
/// # Errors
/// `/dev/urandom` cannot be read.
pub fn random<const LEN: usize>() -> Result<[u8; LEN], std::io::Error> {
    let mut bytes = [0; LEN];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}
