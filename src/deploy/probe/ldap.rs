//! How TLS is asked for in LDAP: the extended operation StartTLS (RFC 4511, section 4.14).
//!
//! One request, written as it is on the wire, and one answer.

use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use x509_parser::asn1_rs::Any;
use x509_parser::asn1_rs::Class;
use x509_parser::asn1_rs::FromBer as _;
use x509_parser::asn1_rs::Tag;

use super::error::quoted;
use super::plain::Plain;
use super::plain::Trouble;

/// `LDAPMessage (SEQUENCE) { messageID 1, ExtendedRequest ([APPLICATION 23]) { requestName ([0]) } }`.
const REQUEST: &[u8] = b"\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037";

/// `ExtendedResponse` (section 4.12).
const EXTENDED_RESPONSE: Tag = Tag(24);

/// Asks for TLS.
pub(super) async fn ask<S>(plain: &mut Plain<S>) -> Result<(), Trouble>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    plain.say(REQUEST, "the answer to StartTLS").await?;
    let head = plain.exactly(2).await?;
    let (Some(0x30), Some(&length)) = (head.first(), head.get(1)) else {
        return Err(Trouble::Garbled(format!("an answer that begins with {head:?}")));
    };
    let length = if length < 0x80 {
        usize::from(length)
    } else {
        // An indefinite length is none of LDAP's (section 5.1), and four octets are more than enough.
        let count = usize::from(length & 0x7f);
        if !(1..=4).contains(&count) {
            return Err(Trouble::Garbled("an answer without a length".to_owned()));
        }
        let octets = plain.exactly(count).await?;
        octets.iter().fold(0, |length, octet| length << 8 | usize::from(*octet))
    };
    let message = plain.exactly(length).await?;
    let (code, said) = answer(&message)
        .ok_or_else(|| Trouble::Garbled("an answer that is none to StartTLS".to_owned()))?;
    match code {
        0 => Ok(()),
        code => Err(Trouble::Refused(format!("StartTLS has the result {code}, {}", quoted(&said)))),
    }
}

/// Result and message of the answer in what an `LDAPMessage` holds. One with the number 0 is a notice
/// that the server is going to hang up, whose result says why (section 4.4.1).
fn answer(message: &[u8]) -> Option<(u64, Vec<u8>)> {
    let (rest, number) = Any::from_ber(message).ok()?;
    if number.tag() != Tag::Integer {
        return None;
    }
    let number = number.data.iter().fold(0_u64, |all, octet| all << 8 | u64::from(*octet));
    let (_, response) = Any::from_ber(rest).ok()?;
    if response.class() != Class::Application || response.tag() != EXTENDED_RESPONSE {
        return None;
    }
    let (rest, code) = Any::from_ber(response.data).ok()?;
    let code = match (code.tag(), code.data) {
        (Tag::Enumerated, &[code]) => u64::from(code),
        _ => return None,
    };
    let (rest, _matched) = Any::from_ber(rest).ok()?;
    let (_, said) = Any::from_ber(rest).ok()?;
    // Success that answers nothing is none.
    (number == 1 || code != 0).then(|| (code, said.data.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_answer_to_the_request_counts() {
        // slapd's, and a notice of disconnection with the result 52 (RFC 4511, section 4.4.1).
        let good = b"\x02\x01\x01\x78\x07\x0a\x01\x00\x04\x00\x04\x00";
        assert_eq!(answer(good), Some((0, Vec::new())));
        let notice = b"\x02\x01\x00\x78\x0a\x0a\x01\x34\x04\x00\x04\x03bye";
        assert_eq!(answer(notice), Some((52, b"bye".to_vec())));
        let unasked = b"\x02\x01\x00\x78\x07\x0a\x01\x00\x04\x00\x04\x00";
        assert_eq!(answer(unasked), None);
        let of_bind = b"\x02\x01\x01\x61\x07\x0a\x01\x00\x04\x00\x04\x00";
        assert_eq!(answer(of_bind), None);
        for cut in 0..good.len() {
            assert_eq!(answer(&good[..cut]), None, "{cut}");
        }
    }
}
