//! What other code reads by name.

#![allow(unsafe_code, reason = "a symbol that jemalloc looks for")]

/// Settings of jemalloc, which holds nearly all memory: the hot-key cache, memtables, blocks. Their
/// pages are visited at random, and huge ones cost fewer misses of the TLB (measured: 12 % of a
/// worker's time a request with one million keys).
// SAFETY: jemalloc expects a pointer to a zero-terminated string under this name, which a reference
// to a byte array that ends in zero is; nothing else defines the symbol, or linking would fail.
#[unsafe(export_name = "malloc_conf")]
static MALLOC_CONF: &[u8; 11] = b"thp:always\0";
