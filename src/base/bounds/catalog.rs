//! Limits of the second copy while it is read.

/// Intermediates that stay in memory while the copy does not change. A CA has a handful of them,
/// some kilobytes each; what comes on top of these is read again for each certificate.
pub const ISSUERS_KNOWN: usize = 64;
