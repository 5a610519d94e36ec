//! The compiled program, embedded.

/// The ELF object of `bpf/steer.bpf.c`, aligned as ELF readers want it. It is public so that other
/// loaders (bpftool, libbpf) can be given the same bytes.
pub static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/steer.bpf.o"));
