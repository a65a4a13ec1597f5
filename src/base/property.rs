//! Something that holds for all bytes, as a function that panics where it does not: run by the fuzz
//! targets in `fuzz/` on what they find, and by the tests on what grows from seeds.
//!
//! Nothing of this is in a program that is shipped.

/// Something that holds for all bytes.
#[derive(Clone, Copy, Debug)]
pub struct Property {
    /// The name of its fuzz target.
    pub name: &'static str,
    /// Panics for bytes for which it does not hold.
    pub check: fn(&[u8]),
    /// Bytes that come far.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// How many grown inputs a test tries: fewer where each makes keys or signatures.
    pub tries: u32,
}

#[cfg(test)]
impl Property {
    /// Checks the seeds, and what grows from them by a chance that is the same every time.
    pub(crate) fn hold(&self) {
        let seeds = (self.seeds)();
        assert!(!seeds.is_empty(), "{} has no seeds", self.name);
        for seed in &seeds {
            (self.check)(seed);
        }
        (self.check)(&[]);
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..self.tries {
            (self.check)(&grown(&seeds, &mut random));
        }
        let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/Cargo.toml");
        let targets = std::fs::read_to_string(manifest).unwrap();
        let target = format!("name = \"{}\"\n", self.name);
        assert!(targets.contains(&target), "{} is no fuzz target", self.name);
    }
}

/// One of the seeds, cut, spliced with another, and changed in some places.
#[cfg(test)]
fn grown(seeds: &[Vec<u8>], random: &mut fastrand::Rng) -> Vec<u8> {
    let mut bytes = random.choice(seeds).cloned().unwrap_or_default();
    for _ in 0..random.usize(1..5) {
        let at = random.usize(0..=bytes.len());
        match random.u8(0..7) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, random.u8(..)),
            2 => {
                let other = random.choice(seeds).cloned().unwrap_or_default();
                let from = random.usize(0..=other.len());
                bytes.truncate(at);
                bytes.extend_from_slice(other.get(from..).unwrap_or_default());
            }
            _ => {
                if let Some(octet) = bytes.get_mut(at) {
                    *octet = match random.u8(0..4) {
                        0 => 0,
                        1 => 0xff,
                        2 => *octet ^ (1 << random.u8(0..8)),
                        _ => random.u8(..),
                    };
                }
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "three octets in a row")]
    fn what_does_not_hold_is_found_from_seeds_that_do() {
        let check = |bytes: &[u8]| {
            let row = bytes.windows(3).any(|row| row == [0xff; 3]);
            assert!(!row, "three octets in a row");
        };
        let seeds = || vec![vec![0xff, 0, 0xff, 0], vec![0xff, 0xff, 0]];
        Property { name: "request", check, seeds, tries: 10_000 }.hold();
    }
}
