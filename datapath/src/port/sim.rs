//! In-memory port.
