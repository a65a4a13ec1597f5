//! Thirty-two octets as people copy them: a prefix, letters and digits, and a checksum (BIP 173).
//!
//! Not here: the limit of ninety characters, which age does not keep to.

use zeroize::Zeroizing;

const ALPHABET: &[u8; 32] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";

/// Characters of the checksum.
const CHECK: usize = 6;

/// Octets written and read.
const OCTETS: usize = 32;

/// Characters for those octets.
const DATA: usize = (OCTETS * 8).div_ceil(5);

/// Writes `octets` behind `prefix`, in lower case.
pub(super) fn encode(prefix: &str, octets: &[u8; OCTETS]) -> Zeroizing<String> {
    let mut values = Zeroizing::new(Vec::with_capacity(DATA + CHECK));
    let (mut held, mut bits) = (0_u32, 0);
    for octet in octets {
        held = held << 8 | u32::from(*octet);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            values.push(low(held >> bits));
        }
    }
    values.push(low(held << (5 - bits)));
    let check = polymod(prefix, values.iter().copied().chain([0; CHECK])) ^ 1;
    values.extend((0..CHECK).map(|at| low(check >> (5 * (CHECK - 1 - at)))));
    let mut text = Zeroizing::new(String::with_capacity(prefix.len() + 1 + DATA + CHECK));
    text.push_str(prefix);
    text.push('1');
    text.extend(
        values
            .iter()
            .filter_map(|value| ALPHABET.get(usize::from(*value)).copied())
            .map(char::from),
    );
    text
}

/// Reads what stands behind `prefix`; all in lower or all in upper case. `None` when it does not.
pub(super) fn decode(prefix: &str, text: &str) -> Option<Zeroizing<[u8; OCTETS]>> {
    if text.len() != prefix.len() + 1 + DATA + CHECK || !text.is_ascii() {
        return None;
    }
    let lower = Zeroizing::new(text.to_ascii_lowercase());
    if *lower != text && text.to_ascii_uppercase() != text {
        return None;
    }
    let data = lower.strip_prefix(prefix)?.strip_prefix('1')?;
    let mut values = Zeroizing::new(Vec::with_capacity(DATA + CHECK));
    for letter in data.bytes() {
        let value = ALPHABET.iter().position(|known| *known == letter)?;
        values.push(u8::try_from(value).ok()?);
    }
    if polymod(prefix, values.iter().copied()) != 1 {
        return None;
    }
    let mut octets = Zeroizing::new([0; OCTETS]);
    let mut places = octets.iter_mut();
    let (mut held, mut bits) = (0_u32, 0);
    for value in values.iter().take(DATA) {
        held = held << 5 | u32::from(*value);
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            *places.next()? = u8::try_from(held >> bits & 0xff).ok()?;
        }
    }
    // What is left over is nought.
    (held & ((1 << bits) - 1) == 0).then_some(octets)
}

/// The five lowest bits.
fn low(value: u32) -> u8 {
    value.to_le_bytes()[0] & 31
}

fn polymod(prefix: &str, values: impl Iterator<Item = u8>) -> u32 {
    const GENERATOR: [u32; 5] = [0x3b6a_57b2, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3];
    let high = prefix.bytes().map(|octet| octet >> 5);
    let prefix = high.chain([0]).chain(prefix.bytes().map(|octet| octet & 31));
    prefix.chain(values).fold(1, |check: u32, value| {
        let top = check >> 25;
        let mut next = (check & 0x01ff_ffff) << 5 ^ u32::from(value);
        for (at, generator) in GENERATOR.iter().enumerate() {
            if top >> at & 1 == 1 {
                next ^= generator;
            }
        }
        next
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read_and_one_wrong_letter_is_noticed(
            octets in any::<[u8; 32]>(),
            at in 4..DATA + CHECK + 4,
            other in 0..31_usize,
        ) {
            let text = encode("age", &octets);
            prop_assert_eq!(text.len(), 62);
            for text in [text.to_string(), text.to_uppercase()] {
                let read = decode("age", &text);
                prop_assert_eq!(read.as_deref(), Some(&octets));
            }
            prop_assert!(decode("ago", &text).is_none());
            let mut letters = text.as_bytes().to_vec();
            let known = ALPHABET.iter().position(|letter| *letter == letters[at]).unwrap();
            letters[at] = ALPHABET[(known + 1 + other) % 32];
            prop_assert!(decode("age", str::from_utf8(&letters).unwrap()).is_none());
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,80}") {
            prop_assert!(decode("age", &text).is_none());
        }
    }
}
