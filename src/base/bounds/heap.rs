//! What is mapped ahead, and takes no memory until it is used.

/// Octets of the heap of a worker: what the certificates that it keeps ready come to, and some.
pub const WORKER_HEAP_AHEAD: usize = 48 * 1024 * 1024;
