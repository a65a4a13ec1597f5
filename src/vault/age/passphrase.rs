//! The file key for whoever remembers a passphrase: the recipient that age calls scrypt.
//!
//! The file says what one try costs, and is believed up to a bound, since whoever wrote it may want
//! to keep this machine busy. What scrypt fills goes back to the system unread when it is done;
//! deliberately absent is wiping it, which the library does not do, in a process that leaves no core
//! file and ends soon.

use ring::rand::SecureRandom as _;
use ring::rand::SystemRandom;
use zeroize::Zeroizing;

use super::AgeError;
use super::FILE_KEY;
use super::KEY;
use super::Passphrase;
use super::cipher;
use super::file_key;
use super::header;
use super::header::Header;
use super::header::Stanza;
use super::sealed;
use crate::base::bounds;

const SCRYPT: &str = "scrypt";

/// Octets of the salt, and what stands before it so that no other use of the passphrase comes to
/// the same key.
const SALT: usize = 16;
const LABEL: &[u8] = b"age-encryption.org/v1/scrypt";

/// Size of a block and number of lanes, which are the same for all files: a unit of work fills
/// 128 * 8 octets, that is, a KiB.
const BLOCK: u32 = 8;
const LANES: u32 = 1;

/// The file key for `passphrase`, where a try takes 2^`work` KiB.
pub(super) fn wrapped(
    passphrase: Passphrase<'_>,
    work: u8,
    key: &[u8; FILE_KEY],
) -> Result<Stanza, AgeError> {
    let mut salt = [0; SALT];
    SystemRandom::new().fill(&mut salt).map_err(|_| AgeError::Refused)?;
    let wrap = cipher(&*derived(passphrase, &salt, work)?)?;
    let body = sealed(&wrap, [0; ring::aead::NONCE_LEN], key)?;
    let arguments = vec![header::text(&salt), work.to_string()];
    Ok(Stanza { kind: SCRYPT.to_owned(), arguments, body })
}

/// The file key, if this is the passphrase.
///
/// # Errors
/// [`AgeError::WantsIdentity`], [`AgeError::OtherPassphrase`], [`AgeError::Costly`] before any work
/// is done, and [`AgeError::Format`].
pub(super) fn unwrapped(
    passphrase: Passphrase<'_>,
    header: &Header<'_>,
) -> Result<Zeroizing<[u8; FILE_KEY]>, AgeError> {
    let [stanza] = header.stanzas.as_slice() else {
        // A passphrase never stands beside others: they could have written the file.
        let among = header.stanzas.iter().any(is_ours);
        let mixed = AgeError::Format("a passphrase is not all that opens it");
        return Err(if among { mixed } else { AgeError::WantsIdentity });
    };
    if !is_ours(stanza) {
        return Err(AgeError::WantsIdentity);
    }
    let broken = AgeError::Format("the recipient in its header");
    let [salt, work] = stanza.arguments.as_slice() else { return Err(broken) };
    let salt = header::octets(salt).and_then(|salt| <[u8; SALT]>::try_from(salt).ok());
    let (Some(salt), Some(work)) = (salt, number(work)) else { return Err(broken) };
    if work > bounds::backup::AGE_WORK_MOST {
        return Err(AgeError::Costly(work));
    }
    let wrap = cipher(&*derived(passphrase, &salt, work)?)?;
    file_key(&wrap, &stanza.body).ok_or(AgeError::OtherPassphrase)
}

/// Why no identity opens it.
pub(super) fn instead_of_identity(header: &Header<'_>) -> AgeError {
    if header.stanzas.iter().any(is_ours) {
        AgeError::WantsPassphrase
    } else {
        AgeError::OtherRecipient
    }
}

fn is_ours(stanza: &Stanza) -> bool {
    stanza.kind == SCRYPT
}

/// A number as age writes it: one way only.
fn number(text: &str) -> Option<u8> {
    let number: u8 = text.parse().ok().filter(|number| *number > 0)?;
    (number.to_string() == text).then_some(number)
}

fn derived(
    passphrase: Passphrase<'_>,
    salt: &[u8; SALT],
    work: u8,
) -> Result<Zeroizing<[u8; KEY]>, AgeError> {
    let params = scrypt::Params::new(work, BLOCK, LANES).map_err(|_| AgeError::Refused)?;
    let mut key = Zeroizing::new([0; KEY]);
    let salt = [LABEL, salt].concat();
    scrypt::scrypt(passphrase.0, &salt, &params, &mut *key).map_err(|_| AgeError::Refused)?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Identity;
    use super::super::Lock;
    use super::super::Opener;
    use super::super::decrypt;
    use super::super::encrypt;
    use super::super::encrypt_with;
    use super::*;

    const WORDS: Passphrase<'_> = Passphrase(b"correct horse battery");

    /// Cheap: a KiB or two.
    fn cheap() -> Vec<u8> {
        encrypt_with(Lock::Passphrase(WORDS), b"a master key", 1).unwrap()
    }

    fn opened(file: &[u8]) -> Result<Zeroizing<Vec<u8>>, AgeError> {
        decrypt(Opener::Passphrase(WORDS), file)
    }

    fn edited(from: &str, to: &str) -> Vec<u8> {
        let file = cheap();
        let at = memchr::memmem::find(&file, from.as_bytes()).unwrap();
        [&file[..at], to.as_bytes(), &file[at + from.len()..]].concat()
    }

    #[test]
    fn what_is_encrypted_opens_with_its_passphrase_and_nothing_else() {
        let file = cheap();
        assert_eq!(opened(&file).unwrap().as_slice(), b"a master key");
        let refused = |opener| decrypt(opener, &file).unwrap_err();
        for other in [&b"correct horse batterz"[..], b""] {
            assert_eq!(refused(Opener::Passphrase(Passphrase(other))), AgeError::OtherPassphrase);
        }
        let identity = Identity::of([1; KEY]);
        let identities = std::slice::from_ref(&identity);
        assert_eq!(refused(Opener::Identities(identities)), AgeError::WantsPassphrase);
        let to = encrypt(Lock::Recipient(&identity.recipient().unwrap()), b"x").unwrap();
        assert_eq!(opened(&to).unwrap_err(), AgeError::WantsIdentity);
        assert_ne!(cheap(), file);
    }

    #[test]
    fn what_is_written_costs_as_much_as_what_age_writes() {
        let file = encrypt(Lock::Passphrase(WORDS), b"a master key").unwrap();
        let line = file.split(|octet| *octet == b'\n').nth(1).unwrap();
        assert!(line.starts_with(b"-> scrypt ") && line.ends_with(b" 18"), "{line:?}");
        assert_eq!(opened(&file).unwrap().as_slice(), b"a master key");
    }

    #[test]
    fn a_file_that_would_keep_the_machine_busy_is_refused_before_any_work() {
        for work in [bounds::backup::AGE_WORK_MOST + 1, 30, 63, 64, 255] {
            let error = opened(&edited(" 1\n", &format!(" {work}\n"))).unwrap_err();
            assert_eq!(error, AgeError::Costly(work));
        }
        for work in ["0", "01", "+1", "-1", "256", "1 1", "", "99999999999999999999"] {
            let error = opened(&edited(" 1\n", &format!(" {work}\n"))).unwrap_err();
            assert!(matches!(error, AgeError::Format(_)), "{work:?}: {error}");
        }
        // The most that is done; with another cost, the right passphrase opens nothing.
        let error = opened(&edited(" 1\n", " 2\n")).unwrap_err();
        assert_eq!(error, AgeError::OtherPassphrase);
    }

    #[test]
    fn a_passphrase_beside_another_recipient_is_refused() {
        let file = cheap();
        let at = memchr::memmem::find(&file, b"-> ").unwrap();
        let end = memchr::memmem::find(&file, b"\n---").unwrap();
        let stanza = &file[at..=end];
        let twice = [&file[..at], stanza, &file[at..]].concat();
        assert!(matches!(opened(&twice).unwrap_err(), AgeError::Format(_)));
    }

    proptest! {
        #[test]
        fn any_flipped_bit_is_noticed(at in any::<proptest::sample::Index>(), bit in 0..8_u32) {
            let mut file = cheap();
            // The cost is one digit: some flips of it are costs as well, which is tried above.
            let cost = memchr::memmem::find(&file, b" 1\n").unwrap() + 1;
            prop_assert!(opened(&file[..at.index(file.len())]).is_err());
            let at = at.index(file.len());
            prop_assume!(at != cost);
            file[at] ^= 1 << bit;
            prop_assert!(opened(&file).is_err());
        }
    }
}
