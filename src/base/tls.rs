//! The one place where the house's cryptography for TLS is put together.
//!
//! ring for suites, hashes and verification; aws-lc-rs for key exchange, because it has the
//! post-quantum group and is faster at X25519. Measured server CPU for a full TLS 1.3 handshake
//! with a P-256 certificate: all ring 128 us, all aws-lc-rs 109 us, this mixture 98 us (and ring
//! needs less than half the memory for each key). Measure again before changing it.
//!
//! Random octets for handshakes and tickets are aws-lc-rs's too. ring asks the kernel each time, a
//! call of its own for each of four draws in a handshake; aws-lc-rs keeps a generator for each thread
//! (AES-256 in counter mode, NIST SP 800-90A), which the kernel seeds at first and again after 4096
//! draws. Nobody is trusted with more than before: the ephemeral keys of every handshake come from
//! that generator already, and they are what its secrecy rests on. It notices a fork by a page that
//! the kernel wipes in the child (`MADV_WIPEONFORK`), and a machine that was set back where the kernel
//! tells (`/dev/sysgenid`); then it is seeded anew, and where it could not notice a fork it asks the
//! kernel for each draw. Keys that last, their nonces and their signatures stay with ring and the kernel.

use std::sync::{Arc, LazyLock};

use rustls::crypto::{CryptoProvider, aws_lc_rs, ring};

static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| {
    Arc::new(CryptoProvider {
        kx_groups: vec![
            aws_lc_rs::kx_group::X25519MLKEM768,
            aws_lc_rs::kx_group::X25519,
            aws_lc_rs::kx_group::SECP256R1,
            aws_lc_rs::kx_group::SECP384R1,
        ],
        secure_random: aws_lc_rs::default_provider().secure_random,
        ..ring::default_provider()
    })
});

/// The provider of every TLS configuration in the house.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::clone(&PROVIDER)
}

/// Fills `octets` at random, as handshakes do. `None` when there is no randomness.
pub fn fill(octets: &mut [u8]) -> Option<()> {
    PROVIDER.secure_random.fill(octets).ok()
}
