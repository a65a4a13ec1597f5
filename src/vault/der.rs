//! The few forms of DER (X.690) that keys are put together of here.
//!
//! Written only: what is read is read by the libraries.

use zeroize::Zeroizing;

/// Tags.
pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const BIT_STRING: u8 = 0x03;
const INTEGER: u8 = 0x02;

/// Writes `tag`, the length of `content`, and `content`, of 64 KiB at most.
pub(super) fn wrap(tag: u8, content: &[u8], out: &mut Vec<u8>) {
    out.push(tag);
    let length = u16::try_from(content.len()).unwrap_or(u16::MAX).to_be_bytes();
    match length {
        [0, short] if short < 0x80 => out.push(short),
        [0, octet] => out.extend([0x81, octet]),
        [high, low] => out.extend([0x82, high, low]),
    }
    out.extend_from_slice(content);
}

/// Writes a number that is not negative, big-endian, in its shortest form.
pub(super) fn unsigned(number: &[u8], out: &mut Vec<u8>) {
    let zeros = number.iter().take_while(|octet| **octet == 0).count();
    let number = number.get(zeros..).unwrap_or_default();
    // One whose first bit is set would be negative, and zero has one octet.
    let positive = number.first().is_none_or(|first| *first >= 0x80);
    // It may be a part of a private key.
    let mut body = Zeroizing::new(Vec::with_capacity(number.len().saturating_add(1)));
    if positive {
        body.push(0);
    }
    body.extend_from_slice(number);
    wrap(INTEGER, &body, out);
}
