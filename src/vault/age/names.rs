//! Recipients and identities as age writes them: `age1...` may be known to all, and
//! `AGE-SECRET-KEY-1...` is for its owner.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::agreement;
use zeroize::Zeroizing;

use super::AgeError;
use super::KEY;
use super::bech32;
use crate::base::Secret;

/// To whom something is encrypted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Recipient(pub [u8; KEY]);

/// Who may open it.
pub struct Identity(Secret<[u8; KEY]>);

/// Why a text is no recipient or holds no identity. None of these quotes the text.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NameError {
    /// It is the secret half.
    #[error(
        "this is an identity, which is secret: expected the recipient that belongs to it, \
         age1..., as age-keygen -y prints it"
    )]
    Secret,
    /// Something else, or a letter is wrong.
    #[error(
        "not a recipient of age: expected age1 and 58 letters and digits, as age-keygen prints"
    )]
    Recipient,
    /// A file without an identity.
    #[error("no identity found: expected a line AGE-SECRET-KEY-1..., as age-keygen writes it")]
    Identity,
    /// An identity that is damaged.
    #[error("line {0} is no identity of age: expected AGE-SECRET-KEY-1 and 58 letters and digits")]
    Line(usize),
}

const RECIPIENT: &str = "age";
const IDENTITY: &str = "age-secret-key-";

impl FromStr for Recipient {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let text = text.trim();
        if text.get(..IDENTITY.len()).is_some_and(|head| head.eq_ignore_ascii_case(IDENTITY)) {
            return Err(NameError::Secret);
        }
        bech32::decode(RECIPIENT, text).map(|key| Self(*key)).ok_or(NameError::Recipient)
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&bech32::encode(RECIPIENT, &self.0))
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity(..)")
    }
}

impl Identity {
    /// Takes the secret half.
    pub(in crate::vault) fn of(key: [u8; KEY]) -> Self {
        Self(Secret::new(key))
    }

    /// The identities in a file as `age-keygen` writes it: one a line, beside comments.
    ///
    /// # Errors
    /// [`NameError`] when there is none, or with the line that is none.
    pub fn read_all(file: &str) -> Result<Vec<Self>, NameError> {
        let mut found = Vec::new();
        for (number, line) in (1..).zip(file.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let key = bech32::decode(IDENTITY, line).ok_or(NameError::Line(number))?;
            found.push(Self::of(*key));
        }
        if found.is_empty() { Err(NameError::Identity) } else { Ok(found) }
    }

    /// As [`Self::read_all`] reads it.
    pub fn to_text(&self) -> Zeroizing<String> {
        Zeroizing::new(bech32::encode(IDENTITY, self.0.expose()).to_ascii_uppercase())
    }

    /// To whom to encrypt for this identity.
    ///
    /// # Errors
    /// [`AgeError::Refused`] when the library does.
    pub fn recipient(&self) -> Result<Recipient, AgeError> {
        let private = self.private_key().ok_or(AgeError::Refused)?;
        super::public(&private).map(Recipient)
    }

    pub(super) fn private_key(&self) -> Option<agreement::PrivateKey> {
        agreement::PrivateKey::from_private_key(&agreement::X25519, self.0.expose()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // What age-keygen printed.
    const PUBLIC: &str = "age1kf4mdwkvk7na2hjkzx3p6zkym7wu6sgz9u5k6fnh7zeudlqjxu5sm7j6y7";
    const SECRET: &str =
        "AGE-SECRET-KEY-1FC6N26NV88J83XLWYJGC5QMCNL04XRQRSP5SC9PXELDNDXT06N8QMGEW8W";

    #[test]
    fn names_are_read_and_written_as_age_does() {
        let file = format!("# created: today\n# public key: {PUBLIC}\n{SECRET}\n");
        let [identity] = Identity::read_all(&file).unwrap().try_into().unwrap();
        assert_eq!(identity.recipient().unwrap().to_string(), PUBLIC);
        assert_eq!(*identity.to_text(), SECRET);
        assert_eq!(PUBLIC.parse::<Recipient>().unwrap(), identity.recipient().unwrap());
    }

    #[test]
    fn what_is_no_name_is_refused_by_what_it_is_without_being_repeated() {
        assert_eq!(SECRET.parse::<Recipient>(), Err(NameError::Secret));
        assert_eq!(PUBLIC.replace('q', "p").parse::<Recipient>(), Err(NameError::Recipient));
        assert_eq!("".parse::<Recipient>(), Err(NameError::Recipient));
        assert_eq!(Identity::read_all("# nothing\n\n").unwrap_err(), NameError::Identity);
        let damaged = format!("# a comment\n{}\n", SECRET.replace('Q', "P"));
        assert_eq!(Identity::read_all(&damaged).unwrap_err(), NameError::Line(2));
        let error = Identity::read_all(&damaged).unwrap_err().to_string();
        assert!(!error.contains(&SECRET[20..30]), "{error}");
    }
}
