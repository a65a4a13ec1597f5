//! Whether the modulus of an RSA key that somebody else made is one that can be factored by anybody.
//!
//! Two families that CAs have to refuse (CA/Browser Forum, Baseline Requirements, 6.1.1.3 and 6.1.6):
//! moduli with a small factor, and those of the library that was broken as ROCA (CVE-2017-15361).
//! Deliberately absent: lists of keys that became known one by one, which only their CA keeps.

/// Below this, no prime may divide a modulus (Baseline Requirements, 6.1.6).
const SMALL: u32 = 752;

/// The primes by which ROCA is told: modulo each of them, such a modulus is a power of 65537.
const TELLING: [u32; 38] = [
    3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97,
    101, 103, 107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
];

/// What is wrong with a modulus, big-endian; `None` for nothing that is known here.
pub(super) fn weakness(modulus: &[u8]) -> Option<&'static str> {
    if (2..SMALL).any(|divisor| remainder(modulus, divisor) == 0) {
        return Some("its modulus has a small factor");
    }
    let told = |prime: &u32| is_power(remainder(modulus, *prime), *prime);
    TELLING.iter().all(told).then_some(
        "it comes from a device or library whose keys can be computed (ROCA, CVE-2017-15361)",
    )
}

fn remainder(number: &[u8], divisor: u32) -> u32 {
    // Below the divisor, so a step never overflows.
    number.iter().fold(0, |rest, octet| (rest * 256 + u32::from(*octet)) % divisor)
}

/// Whether some power of 65537 is `rest` modulo `prime`.
fn is_power(rest: u32, prime: u32) -> bool {
    let step = 65_537 % prime;
    let mut power = 1;
    for _ in 0..prime {
        if power == rest {
            return true;
        }
        power = power * step % prime;
    }
    false
}
