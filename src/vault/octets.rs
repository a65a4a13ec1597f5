//! The octets that stand for kinds and callings of keys, in frames and seals.

use crate::cert::key::KeyAlgorithm;
use crate::cert::key::KeyUsage;

const ALGORITHMS: [KeyAlgorithm; 3] =
    [KeyAlgorithm::P256, KeyAlgorithm::P384, KeyAlgorithm::Rsa2048];
const USAGES: [KeyUsage; 5] = [
    KeyUsage::Tls,
    KeyUsage::InternalCa,
    KeyUsage::ExportableTls,
    KeyUsage::Account,
    KeyUsage::BroughtAccount,
];

/// The octet that stands for `algorithm` in frames and seals.
pub(super) const fn algorithm_octet(algorithm: KeyAlgorithm) -> u8 {
    match algorithm {
        KeyAlgorithm::P256 => 0,
        KeyAlgorithm::P384 => 1,
        KeyAlgorithm::Rsa2048 => 2,
    }
}

/// The algorithm that `octet` stands for.
pub(super) fn algorithm_of(octet: u8) -> Option<KeyAlgorithm> {
    ALGORITHMS.get(usize::from(octet)).copied()
}

/// The octet that stands for `usage` in frames and seals.
pub(super) const fn usage_octet(usage: KeyUsage) -> u8 {
    match usage {
        KeyUsage::Tls => 0,
        KeyUsage::InternalCa => 1,
        KeyUsage::ExportableTls => 2,
        KeyUsage::Account => 3,
        KeyUsage::BroughtAccount => 4,
    }
}

/// The usage that `octet` stands for.
pub(super) fn usage_of(octet: u8) -> Option<KeyUsage> {
    USAGES.get(usize::from(octet)).copied()
}
