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
        for at in 0..bytes.len().saturating_sub(3) {
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

/// The private number of a P-256 key: the first octet string of 32 in RFC 5915's structure,
/// which follows version 1.
pub fn p256_scalar(pkcs8: &[u8]) -> Vec<u8> {
    let start = pkcs8.windows(5).position(|window| window == [2, 1, 1, 4, 32]).unwrap() + 5;
    pkcs8[start..start + 32].to_vec()
}

/// A private number of P-256 in the forms in which libraries keep it: most significant octet first,
/// the other way round, and ready to multiply (times 2^256 modulo the group's order, least
/// significant octet first), which is all that ring keeps of an opened key.
pub fn p256_forms(scalar: &[u8]) -> [Vec<u8>; 3] {
    let back = scalar.iter().rev().copied().collect();
    [scalar.to_vec(), back, p256_montgomery(scalar)]
}

/// The order of P-256's group, most significant octet first (FIPS 186-4, D.1.2.3).
const ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6,
    0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];

fn p256_montgomery(scalar: &[u8]) -> Vec<u8> {
    let mut number: [u8; 32] = scalar.try_into().unwrap();
    for _ in 0..256 {
        // Doubled, and the order taken away once if it fits: first the low octets.
        let mut doubled = [0; 32];
        let mut carry = 0;
        for at in (0..32).rev() {
            let sum = u16::from(number[at]) * 2 + carry;
            (doubled[at], carry) = ((sum & 0xff) as u8, sum >> 8);
        }
        number = if carry == 1 || doubled >= ORDER { minus_order(doubled) } else { doubled };
    }
    number.iter().rev().copied().collect()
}

fn minus_order(number: [u8; 32]) -> [u8; 32] {
    let mut less = [0; 32];
    let mut borrow = false;
    for at in (0..32).rev() {
        let (once, under) = number[at].overflowing_sub(ORDER[at]);
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
