//! Tokens by which somebody is a client without being its user: their text, and what is kept of them.
//!
//! A token has 256 random bits. So the plain SHA-256 of it is kept: a hash that is made to be slow helps
//! what could be guessed, and here would help only who wants to keep the house busy.
//! Deliberately absent: where tokens are kept, and what a client may do.

use std::fmt;
use std::fmt::Write as _;

use ring::digest::SHA256;
use ring::digest::digest;
use serde::Deserialize;
use serde::Serialize;
use zeroize::Zeroize as _;
use zeroize::Zeroizing;

use super::client::ClientName;
use super::rights::Scopes;
use crate::base::Timestamp;

/// How each begins, so that people and programs that look for secrets know what it is.
pub const PREFIX: &str = "kw_";

/// Random octets of a token.
pub const OCTETS: usize = 32;

/// Octets that show a slip of the pen.
const CHECK: usize = 4;

/// What is kept of a token's text.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TokenHash(pub [u8; 32]);

/// What is no token.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NoToken {
    /// It looks like none.
    #[error("a token is \"kw_\" and 72 hexadecimal digits")]
    Form,
    /// It looks like one and is none that ever was: something was mistyped or left out.
    #[error("the token was mistyped or cut: its last eight digits do not fit the others")]
    Mistyped,
}

/// A token that was given out.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Token {
    /// What it is recognised by.
    pub hash: TokenHash,
    /// As whom its bearer acts.
    pub client: ClientName,
    /// What it is called among the client's.
    pub name: String,
    /// What may be asked for with it, as far as the client may.
    pub scopes: Scopes,
    /// When it was made.
    pub since: Timestamp,
    /// By whom.
    pub by: String,
    /// From when on it is none any more.
    pub expires: Option<Timestamp>,
    /// When it was used last, to the hour; written now and then.
    pub used: Option<Timestamp>,
}

impl Token {
    /// Whether it is good at `now`.
    pub fn is_good(&self, now: Timestamp) -> bool {
        self.expires.is_none_or(|expires| now < expires)
    }
}

impl TokenHash {
    /// By which people name it: the first twelve digits.
    pub fn short(&self) -> String {
        hex(self.0.iter().take(6)).to_string()
    }
}

impl fmt::Display for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.short())
    }
}

/// The text of a token of these octets.
pub fn write(random: &[u8; OCTETS]) -> Zeroizing<String> {
    let check = check(random);
    let mut digits = hex(random.iter().chain(&check));
    let text = Zeroizing::new(format!("{PREFIX}{digits}"));
    digits.zeroize();
    text
}

/// What the text of a token is recognised by.
///
/// # Errors
/// [`NoToken`]. It says nothing of whether a token was ever given out.
pub fn read(text: &str) -> Result<TokenHash, NoToken> {
    let digits = text.strip_prefix(PREFIX).ok_or(NoToken::Form)?.as_bytes();
    if digits.len() != 2 * (OCTETS + CHECK) {
        let cut = digits.iter().all(u8::is_ascii_hexdigit) && !digits.is_empty();
        return Err(if cut { NoToken::Mistyped } else { NoToken::Form });
    }
    let mut octets = Zeroizing::new([0_u8; OCTETS + CHECK]);
    for (to, pair) in octets.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |octet: u8| char::from(octet).to_digit(16).and_then(|d| u8::try_from(d).ok());
        let [high, low] = *pair else { return Err(NoToken::Form) };
        let (high, low) = digit(high).zip(digit(low)).ok_or(NoToken::Mistyped)?;
        *to = high << 4 | low;
    }
    let (random, said) = octets.split_first_chunk::<OCTETS>().ok_or(NoToken::Form)?;
    if check(random) != *said {
        return Err(NoToken::Mistyped);
    }
    let mut hash = [0; 32];
    for (to, from) in hash.iter_mut().zip(digest(&SHA256, random).as_ref()) {
        *to = *from;
    }
    Ok(TokenHash(hash))
}

fn check(random: &[u8; OCTETS]) -> [u8; CHECK] {
    let mut text = Zeroizing::new(b"keyward token\n".to_vec());
    text.extend_from_slice(random);
    let mut check = [0; CHECK];
    for (to, from) in check.iter_mut().zip(digest(&SHA256, &text).as_ref()) {
        *to = *from;
    }
    check
}

fn hex<'a>(octets: impl Iterator<Item = &'a u8>) -> String {
    // As long as it can get, so that no copy of it stays behind.
    let mut text = String::with_capacity(2 * (OCTETS + CHECK));
    for octet in octets {
        let _never_fails = write!(text, "{octet:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_as_it_was_written_and_slips_are_noticed() {
        let random: [u8; OCTETS] = std::array::from_fn(|n| u8::try_from(7 * n % 256).unwrap());
        let text = write(&random);
        assert!(text.starts_with("kw_00070e15") && text.len() == 75, "{}", text.len());
        let hash = read(&text).unwrap();
        assert_eq!(hash.0, digest(&SHA256, &random).as_ref());
        assert_eq!(read(&text.to_uppercase().replace("KW_", "kw_")), Ok(hash));
        for place in 3..text.len() {
            let other = if text.as_bytes()[place] == b'0' { "1" } else { "0" };
            let mut slip = text.to_string();
            slip.replace_range(place..=place, other);
            assert_eq!(read(&slip), Err(NoToken::Mistyped), "digit {place}");
        }
        assert_eq!(read(&text[..74]), Err(NoToken::Mistyped));
        assert_eq!(read(&format!("{}x", &text[..74])), Err(NoToken::Mistyped));
        for none in ["", "kw_", "kw", "Bearer", &text[3..], "kw_\u{e4}\u{e4}", " kw_00"] {
            assert_eq!(read(none), Err(NoToken::Form), "{none}");
        }
        assert_eq!(hash.to_string().len(), 12);
    }
}
