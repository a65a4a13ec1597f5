//! Looks for secrets in the memory of another process, as root or as its tracer may.
#![allow(dead_code, unreachable_pub, reason = "each test target uses a part of the kit")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "in a test a panic is the report"
)]

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::io::Read;
use std::io::Seek;
use std::io::SeekFrom;
use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keyward::cert::key::KeyAlgorithm;

const PAGE: usize = 4096;

/// A page without anything in it, and the octets by which a start of a needle reaches beyond it.
static EMPTY: [u8; PAGE + 3] = [0; PAGE + 3];

/// What is looked for, all at once.
pub struct Needles {
    by_start: HashMap<[u8; 4], Vec<(usize, Vec<u8>)>>,
    /// Whether some needle begins with these two octets: asked at every place.
    starts: Vec<bool>,
    count: usize,
}

/// What was found.
#[derive(Debug)]
pub struct Found {
    /// How often each needle, in the order given.
    pub counts: Vec<usize>,
    /// Octets that were looked at.
    pub looked_at: u64,
    /// Mapped for writing, and not to be read even so.
    pub unreadable: u64,
}

impl Found {
    /// How often, over all needles.
    pub fn total(&self) -> usize {
        self.counts.iter().sum()
    }
}

impl Needles {
    /// Each at least four octets long.
    pub fn new(needles: impl IntoIterator<Item = Vec<u8>>) -> Self {
        let mut made = Self { by_start: HashMap::new(), starts: vec![false; 1 << 16], count: 0 };
        for needle in needles {
            let start: [u8; 4] = needle[..4].try_into().unwrap();
            made.starts[usize::from(u16::from_le_bytes([start[0], start[1]]))] = true;
            made.by_start.entry(start).or_default().push((made.count, needle));
            made.count += 1;
        }
        made
    }

    /// Looks at `bytes`.
    pub fn look(&self, bytes: &[u8], counts: &mut [usize]) {
        let empty_passes = !self.by_start.contains_key(&[0; 4]);
        let last = bytes.len().saturating_sub(3);
        for page in (0..last).step_by(PAGE) {
            // Most memory is empty; the comparison is many times as fast as the look.
            if empty_passes && bytes[page..].starts_with(&EMPTY) {
                continue;
            }
            self.look_at(bytes, page..last.min(page + PAGE), counts);
        }
    }

    fn look_at(&self, bytes: &[u8], places: Range<usize>, counts: &mut [usize]) {
        for at in places {
            let two = u16::from_le_bytes([bytes[at], bytes[at + 1]]);
            if !self.starts[usize::from(two)] {
                continue;
            }
            let four: [u8; 4] = bytes[at..at + 4].try_into().unwrap();
            for (index, needle) in self.by_start.get(&four).into_iter().flatten() {
                counts[*index] += usize::from(bytes[at..].starts_with(needle));
            }
        }
    }

    /// Looks at all memory of the process that can be written and read.
    ///
    /// # Errors
    /// When the kernel refuses to show its memory.
    pub fn look_in(&self, pid: u32) -> io::Result<Found> {
        let mut found = Found { counts: vec![0; self.count], looked_at: 0, unreadable: 0 };
        let maps = std::fs::read_to_string(format!("/proc/{pid}/maps"))?;
        let mut memory = File::open(format!("/proc/{pid}/mem"))?;
        for line in maps.lines() {
            let mut fields = line.split_whitespace();
            let (range, rights) = (fields.next().unwrap(), fields.next().unwrap());
            if !rights.starts_with("rw") {
                continue;
            }
            let (start, end) = range.split_once('-').unwrap();
            let start = u64::from_str_radix(start, 16).unwrap();
            let len = u64::from_str_radix(end, 16).unwrap() - start;
            memory.seek(SeekFrom::Start(start)).unwrap();
            let mut bytes = Vec::new();
            // Hidden pages end a read early, and so do some special regions.
            let _special = (&memory).take(len).read_to_end(&mut bytes);
            found.looked_at += bytes.len() as u64;
            found.unreadable += len - bytes.len() as u64;
            self.look(&bytes, &mut found.counts);
        }
        Ok(found)
    }
}

/// A private key in the forms in which it is likely to lie in memory: its numbers either way round
/// and as ring prepares them, and the line of a PEM file that holds most of them.
pub fn forms(kind: KeyAlgorithm, pkcs8: &[u8]) -> Vec<Vec<u8>> {
    let either = |number: &[u8]| {
        let back: Vec<u8> = number.iter().rev().copied().collect();
        [number.to_vec(), back]
    };
    let mut forms = match kind {
        KeyAlgorithm::P256 => p256_forms(&p256_scalar(pkcs8)).into(),
        KeyAlgorithm::P384 => {
            let start = pkcs8.windows(5).position(|window| window == [2, 1, 1, 4, 48]).unwrap() + 5;
            ec_forms(&pkcs8[start..start + 48], &P384_ORDER).into()
        }
        // Exponents and primes (RFC 8017, appendix A.1.2), of each as much as says which it is.
        KeyAlgorithm::Rsa2048 => {
            let numbers = rsa_numbers(pkcs8);
            numbers[3..].iter().flat_map(|number| either(&number[64..96])).collect::<Vec<_>>()
        }
    };
    // RFC 7468, section 2: 64 characters a line, which are 48 octets.
    forms.push(STANDARD.encode(&pkcs8[48..96]).into_bytes());
    forms
}

/// The numbers of an RSA private key: version, modulus, the exponents, the primes, and the rest.
fn rsa_numbers(pkcs8: &[u8]) -> Vec<&[u8]> {
    // Version, algorithm, and the key as a sequence in an octet string (RFC 5958, section 2).
    let (document, _) = element(pkcs8);
    let (_, rest) = element(document);
    let (_, rest) = element(rest);
    let (octets, _) = element(rest);
    let (mut rest, _) = element(octets);
    let mut numbers = Vec::new();
    while !rest.is_empty() {
        let (number, after) = element(rest);
        numbers.push(number);
        rest = after;
    }
    assert_eq!(numbers.len(), 9);
    numbers
}

/// What is in the first element of `der`, and what follows it (X.690, section 8.1).
fn element(der: &[u8]) -> (&[u8], &[u8]) {
    let (head, len) = match der[1] {
        short @ ..=0x7f => (2, usize::from(short)),
        0x81 => (3, usize::from(der[2])),
        _ => (4, usize::from(der[2]) << 8 | usize::from(der[3])),
    };
    der[head..].split_at(len)
}

/// The private number of a P-256 key: the first octet string of 32 in RFC 5915's structure,
/// which follows version 1.
pub fn p256_scalar(pkcs8: &[u8]) -> Vec<u8> {
    let start = pkcs8.windows(5).position(|window| window == [2, 1, 1, 4, 32]).unwrap() + 5;
    pkcs8[start..start + 32].to_vec()
}

/// A private number of P-256 in the forms in which libraries keep it; see [`ec_forms`].
pub fn p256_forms(scalar: &[u8]) -> [Vec<u8>; 3] {
    ec_forms(scalar, &P256_ORDER)
}

/// A private number in the forms in which libraries keep it: most significant octet first, the
/// other way round, and ready to multiply (times a power of two as long as the number, modulo the
/// group's order, least significant octet first), which is all that ring keeps of an opened key.
fn ec_forms<const N: usize>(scalar: &[u8], order: &[u8; N]) -> [Vec<u8>; 3] {
    let back = scalar.iter().rev().copied().collect();
    [scalar.to_vec(), back, montgomery(scalar.try_into().unwrap(), order)]
}

/// The order of P-256's group, most significant octet first (FIPS 186-4, D.1.2.3).
const P256_ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6,
    0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];

/// The same of P-384 (FIPS 186-4, D.1.2.4).
const P384_ORDER: [u8; 48] = [
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xc7, 0x63, 0x4d, 0x81, 0xf4, 0x37, 0x2d, 0xdf,
    0x58, 0x1a, 0x0d, 0xb2, 0x48, 0xb0, 0xa7, 0x7a, 0xec, 0xec, 0x19, 0x6a, 0xcc, 0xc5, 0x29, 0x73,
];

fn montgomery<const N: usize>(mut number: [u8; N], order: &[u8; N]) -> Vec<u8> {
    for _ in 0..N * 8 {
        // Doubled, and the order taken away once if it fits: first the low octets.
        let mut doubled = [0; N];
        let mut carry = 0;
        for at in (0..N).rev() {
            let sum = u16::from(number[at]) * 2 + carry;
            (doubled[at], carry) = ((sum & 0xff) as u8, sum >> 8);
        }
        let over = carry == 1 || doubled >= *order;
        number = if over { minus(doubled, order) } else { doubled };
    }
    number.iter().rev().copied().collect()
}

fn minus<const N: usize>(number: [u8; N], order: &[u8; N]) -> [u8; N] {
    let mut less = [0; N];
    let mut borrow = false;
    for at in (0..N).rev() {
        let (once, under) = number[at].overflowing_sub(order[at]);
        let (twice, below) = once.overflowing_sub(u8::from(borrow));
        (less[at], borrow) = (twice, under || below);
    }
    less
}

/// What an HMAC with SHA-256 keeps of a key of 32 octets: the states of its two digests after one
/// block, in the words of this machine.
pub fn hmac_states(key: &[u8; 32]) -> [Vec<u8>; 2] {
    [0x36, 0x5c].map(|pad| {
        let mut block = [pad; 64];
        block.iter_mut().zip(key).for_each(|(octet, of_key)| *octet ^= of_key);
        sha256_block(&block).iter().flat_map(|word| word.to_ne_bytes()).collect()
    })
}

/// SHA-256 after its first block (FIPS 180-4, section 6.2.2).
fn sha256_block(block: &[u8; 64]) -> [u32; 8] {
    // The first octets of the fractions of roots of the first primes.
    let primes: Vec<u32> = (2..).filter(|n| (2..*n).all(|d| n % d != 0)).take(64).collect();
    let fraction = |root: f64| ((root - root.floor()) * 4_294_967_296.0) as u32;
    let constants: Vec<u32> = primes.iter().map(|p| fraction(f64::from(*p).cbrt())).collect();
    let start: Vec<u32> = primes.iter().take(8).map(|p| fraction(f64::from(*p).sqrt())).collect();
    let mut words: Vec<u32> =
        block.chunks(4).map(|c| u32::from_be_bytes(c.try_into().unwrap())).collect();
    for at in 16..64 {
        let (early, late) = (words[at - 15], words[at - 2]);
        let small = early.rotate_right(7) ^ early.rotate_right(18) ^ (early >> 3);
        let large = late.rotate_right(17) ^ late.rotate_right(19) ^ (late >> 10);
        let sum = words[at - 16].wrapping_add(small).wrapping_add(words[at - 7]);
        words.push(sum.wrapping_add(large));
    }
    let mut s: [u32; 8] = start.clone().try_into().unwrap();
    for (word, constant) in words.iter().zip(&constants) {
        let large = s[4].rotate_right(6) ^ s[4].rotate_right(11) ^ s[4].rotate_right(25);
        let choice = (s[4] & s[5]) ^ (!s[4] & s[6]);
        let one = s[7].wrapping_add(large).wrapping_add(choice);
        let one = one.wrapping_add(*constant).wrapping_add(*word);
        let small = s[0].rotate_right(2) ^ s[0].rotate_right(13) ^ s[0].rotate_right(22);
        let majority = (s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]);
        let two = small.wrapping_add(majority);
        s.rotate_right(1);
        s[4] = s[4].wrapping_add(one);
        s[0] = one.wrapping_add(two);
    }
    for (word, first) in s.iter_mut().zip(&start) {
        *word = word.wrapping_add(*first);
    }
    s
}
