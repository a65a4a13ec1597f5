//! Looks for secrets in the memory of another process, as root or as its tracer may.
#![allow(dead_code, unreachable_pub, reason = "each test target uses a part of the kit")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
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
