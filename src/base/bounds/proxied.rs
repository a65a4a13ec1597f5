//! Limits of the PROXY protocol.

/// Octets of a header of version 1: what its specification says is the longest, with its end.
pub const PROXY_V1: usize = 107;

/// Octets of a header of version 2 after the first sixteen: the longest addresses (Unix) are 216, the
/// rest is for what balancers add, which is skipped.
pub const PROXY_V2: usize = 1024;
