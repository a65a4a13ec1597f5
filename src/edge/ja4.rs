//! JA4: what a client's first message looks like, in 36 characters.
//!
//! As FoxIO published it ("JA4: TLS Client Fingerprinting", BSD 3-Clause); none of their other
//! fingerprints, which are under another licence.

use std::fmt::Write as _;

use ring::digest;

use super::hello::Octets;

/// Extensions that are counted and not hashed.
const SERVER_NAME: u16 = 0;
const ALPN: u16 = 16;
/// RFC 8446, sections 4.2.3 and 4.2.1.
const SIGNATURE_ALGORITHMS: u16 = 13;
const SUPPORTED_VERSIONS: u16 = 43;

/// What a ClientHello came over.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Carrier {
    Tcp,
    Quic,
}

/// The fingerprint of a ClientHello, `hello` being the message without its head. `None` for what cannot
/// be read.
pub(super) fn ja4(hello: &[u8], carrier: Carrier) -> Option<Box<str>> {
    let mut hello = Octets(hello);
    let legacy = number(&mut hello)?;
    // Random and session id.
    hello.take(32)?;
    hello.list(1)?;
    let mut suites = numbers(hello.list(2)?);
    hello.list(1)?;
    let mut left = Octets(hello.list(2).unwrap_or_default());
    let mut extensions = Vec::new();
    let (mut version, mut alpn, mut signatures) = (legacy, None, Vec::new());
    while !left.0.is_empty() {
        let (kind, body) = (number(&mut left)?, left.list(2)?);
        if is_grease(kind) {
            continue;
        }
        extensions.push(kind);
        match kind {
            ALPN => alpn = Octets(Octets(body).list(2)?).list(1),
            SIGNATURE_ALGORITHMS => signatures = numbers(Octets(body).list(2)?),
            SUPPORTED_VERSIONS => {
                version = numbers(Octets(body).list(1)?).into_iter().max().unwrap_or(legacy);
            }
            _ => {}
        }
    }
    let named = if extensions.contains(&SERVER_NAME) { 'd' } else { 'i' };
    let carrier = match carrier {
        Carrier::Tcp => 't',
        Carrier::Quic => 'q',
    };
    let mut text = format!("{carrier}{}{named}", spoken(version));
    // Writing into a text cannot fail.
    let _infallible = write!(text, "{:02}{:02}", suites.len().min(99), extensions.len().min(99));
    text.push_str(&ends(alpn.unwrap_or_default()));
    suites.sort_unstable();
    extensions.retain(|kind| !matches!(*kind, SERVER_NAME | ALPN));
    extensions.sort_unstable();
    let mut hashed = list(&extensions);
    if !signatures.is_empty() {
        hashed = format!("{hashed}_{}", list(&signatures));
    }
    let _infallible = write!(text, "_{}_{}", hash(&list(&suites)), hash(&hashed));
    Some(text.into_boxed_str())
}

fn number(octets: &mut Octets<'_>) -> Option<u16> {
    u16::try_from(octets.number(2)?).ok()
}

/// A list of numbers of two octets, without those that mean nothing.
fn numbers(octets: &[u8]) -> Vec<u16> {
    let mut left = Octets(octets);
    std::iter::from_fn(|| number(&mut left)).filter(|number| !is_grease(*number)).collect()
}

/// RFC 8701, section 2.
const fn is_grease(number: u16) -> bool {
    let [high, low] = number.to_be_bytes();
    high == low && low & 0x0f == 0x0a
}

const fn spoken(version: u16) -> &'static str {
    match version {
        0x0304 => "13",
        0x0303 => "12",
        0x0302 => "11",
        0x0301 => "10",
        0x0300 => "s3",
        0x0002 => "s2",
        _ => "00",
    }
}

/// The first and the last character of a protocol, of its hexadecimal form if they are none.
fn ends(protocol: &[u8]) -> String {
    let (Some(first), Some(last)) = (protocol.first(), protocol.last()) else {
        return "00".to_owned();
    };
    if first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric() {
        return [*first, *last].map(char::from).iter().collect();
    }
    let (first, last) = (format!("{first:02x}"), format!("{last:02x}"));
    first.chars().take(1).chain(last.chars().skip(1)).collect()
}

/// Hexadecimal numbers with commas between them.
fn list(numbers: &[u16]) -> String {
    numbers.iter().map(|number| format!("{number:04x}")).collect::<Vec<_>>().join(",")
}

/// Twelve digits of SHA-256; of nothing, zeros.
fn hash(text: &str) -> String {
    if text.is_empty() {
        return "0".repeat(12);
    }
    let digest = digest::digest(&digest::SHA256, text.as_bytes());
    digest.as_ref().iter().take(6).map(|octet| format!("{octet:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sized(width: usize, body: &[u8]) -> Vec<u8> {
        let length = body.len().to_be_bytes();
        [&length[length.len() - width..], body].concat()
    }

    fn words(text: &str) -> Vec<u8> {
        let word = |word: &str| u16::from_str_radix(word, 16).unwrap().to_be_bytes();
        text.split(',').flat_map(word).collect()
    }

    fn hello(suites: &str, extensions: &[(&str, Vec<u8>)]) -> Vec<u8> {
        let extensions = extensions.iter();
        let all: Vec<u8> =
            extensions.flat_map(|(kind, body)| [words(kind), sized(2, body)].concat()).collect();
        let suites = sized(2, &words(suites));
        [&[3, 3][..], &[7; 32], &sized(1, &[9; 32]), &suites, &[1, 0], &sized(2, &all)].concat()
    }

    /// The example of the publication: Chrome, with meaningless numbers in each list and in no
    /// order.
    #[test]
    fn the_published_example_comes_out() {
        let suites =
            "8a8a,1301,1302,1303,c02b,c02f,c02c,c030,cca9,cca8,c013,c014,009c,009d,002f,0035";
        let signatures = words("0403,0804,0401,0503,0805,0501,0806,0601");
        let alpn: Vec<u8> = [sized(1, b"h2"), sized(1, b"http/1.1")].concat();
        let empty = Vec::new;
        let extensions = [
            ("1a1a", empty()),
            ("001b", empty()),
            ("0000", sized(2, &[&[0][..], &sized(2, b"a.example")].concat())),
            ("0033", empty()),
            ("0010", sized(2, &alpn)),
            ("4469", empty()),
            ("0017", empty()),
            ("002d", empty()),
            ("000d", sized(2, &signatures)),
            ("0005", empty()),
            ("0023", empty()),
            ("0012", empty()),
            ("002b", sized(1, &words("4a4a,0304,0303"))),
            ("ff01", empty()),
            ("000b", empty()),
            ("000a", empty()),
            ("0015", empty()),
            ("fafa", empty()),
        ];
        for (carrier, first) in [(Carrier::Tcp, "t"), (Carrier::Quic, "q")] {
            let all = ja4(&hello(suites, &extensions), carrier);
            let expected = format!("{first}13d1516h2_8daaf6152771_e5627efa2ab1");
            assert_eq!(all.as_deref(), Some(expected.as_str()));
        }
    }

    #[test]
    fn what_is_lacking_has_its_own_signs() {
        let bare = [&[3, 1][..], &[7; 32], &[0], &sized(2, &words("0a0a")), &[1, 0]].concat();
        assert_eq!(
            ja4(&bare, Carrier::Tcp).as_deref(),
            Some("t10i000000_000000000000_000000000000")
        );
        assert_eq!(ends(b"http/1.1"), "h1");
        assert_eq!(ends(&[0xab]), "ab");
        assert_eq!(ends(&[0xab, 0xcd]), "ad");
        assert_eq!(ends(b"x"), "xx");
        assert_eq!(ja4(&bare[..20], Carrier::Tcp), None);
    }

    proptest! {
        /// Whatever is in there: no panic, and never anything but letters, digits and lines.
        #[test]
        fn anything_may_stand_in_a_hello(bytes in prop::collection::vec(any::<u8>(), 0..300), alpn in prop::collection::vec(any::<u8>(), 1..9)) {
            let framed = hello("1301", &[("0010", sized(2, &sized(1, &alpn))), ("002b", bytes.clone())]);
            for hello in [&bytes, &framed] {
                if let Some(text) = ja4(hello, Carrier::Quic) {
                    prop_assert_eq!(text.len(), 36);
                    prop_assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'));
                }
            }
        }
    }
}
