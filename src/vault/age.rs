//! A small secret encrypted to a recipient or with a passphrase, in the format of age
//! (age-encryption.org/v1), so that who has the program `age` can open it without this one.
//!
//! Written about the master key by whoever makes a backup, and read by whoever restores it, each in
//! a process of its own that may not leave a core file. Written here and not taken from a library
//! because one recipient and one short payload are all that is needed, of primitives that are here
//! already. Deliberately absent: several recipients, payloads of more than one chunk, armour, and
//! plug-ins.

mod bech32;
mod header;
mod names;
mod passphrase;

use aws_lc_rs::agreement;
use ring::aead;
use ring::hkdf;
use ring::hmac;
use ring::rand::SecureRandom;
use ring::rand::SystemRandom;
use zeroize::Zeroizing;

use self::header::Header;
use self::header::Stanza;
pub use self::names::Identity;
pub use self::names::NameError;
pub use self::names::Recipient;
use crate::base::bounds;
use crate::os::wiped::Wiped;
use crate::os::wiped::scrub_stack;

/// Octets of a file key, of the nonce before the payload, and of an X25519 key.
const FILE_KEY: usize = 16;
const NONCE: usize = 16;
const KEY: usize = 32;

/// The only chunk of a payload is the last one: a counter of zero, and the mark of the last.
const LAST_CHUNK: [u8; aead::NONCE_LEN] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];

const X25519: &str = "X25519";

/// Why something cannot be encrypted or decrypted.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum AgeError {
    /// Something else, or damaged before its payload.
    #[error("not a file that age wrote, or damaged: {0}")]
    Format(&'static str),
    /// For somebody else.
    #[error("none of the identities is one that it was encrypted to")]
    OtherRecipient,
    /// Another passphrase opens it.
    #[error("this is not the passphrase that it was encrypted with")]
    OtherPassphrase,
    /// An identity was given where a passphrase is wanted.
    #[error("it was encrypted with a passphrase, not to a recipient")]
    WantsPassphrase,
    /// The other way round.
    #[error("it was encrypted to a recipient, not with a passphrase")]
    WantsIdentity,
    /// Whoever wrote it wants to keep this machine busy.
    #[error(
        "trying a passphrase would take 2^{0} KiB of memory, and 2^{most} are the most that is \
         spent here (what age and keyward write takes 2^{ours})",
        most = bounds::backup::AGE_WORK_MOST,
        ours = bounds::backup::AGE_WORK
    )]
    Costly(u8),
    /// The right identity, and yet.
    #[error("it was changed since it was encrypted")]
    Damaged,
    /// Not something that was put in here.
    #[error("it holds more than {most} octets", most = bounds::backup::AGE_PAYLOAD)]
    Long,
    /// The library refused; above all a recipient that is no point of the curve.
    #[error("the cryptographic library refused")]
    Refused,
}

/// How something is encrypted.
#[derive(Clone, Copy, Debug)]
pub enum Lock<'k> {
    /// To whom.
    Recipient(&'k Recipient),
    /// So that this opens it.
    Passphrase(Passphrase<'k>),
}

/// What may open something.
#[derive(Clone, Copy, Debug)]
pub enum Opener<'k> {
    /// One of these.
    Identities(&'k [Identity]),
    /// This.
    Passphrase(Passphrase<'k>),
}

/// Octets that somebody remembers.
#[derive(Clone, Copy)]
pub struct Passphrase<'k>(pub &'k [u8]);

impl std::fmt::Debug for Passphrase<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Passphrase(..)")
    }
}

/// Encrypts `plain`.
///
/// # Errors
/// [`AgeError::Long`] for more than a payload holds, [`AgeError::Refused`].
pub fn encrypt(lock: Lock<'_>, plain: &[u8]) -> Result<Vec<u8>, AgeError> {
    let encrypted = encrypt_with(lock, plain, bounds::backup::AGE_WORK);
    scrub_stack();
    encrypted
}

#[inline(never)]
fn encrypt_with(lock: Lock<'_>, plain: &[u8], work: u8) -> Result<Vec<u8>, AgeError> {
    if plain.len() > bounds::backup::AGE_PAYLOAD {
        return Err(AgeError::Long);
    }
    let random = SystemRandom::new();
    let mut file_key = Zeroizing::new([0; FILE_KEY]);
    let mut nonce = [0; NONCE];
    random.fill(&mut *file_key).map_err(|_| AgeError::Refused)?;
    random.fill(&mut nonce).map_err(|_| AgeError::Refused)?;
    let stanza = match lock {
        Lock::Recipient(recipient) => wrapped(recipient, &file_key)?,
        Lock::Passphrase(passphrase) => passphrase::wrapped(passphrase, work, &file_key)?,
    };
    let mut file = header::write(&stanza);
    let key = mac_key(&file_key)?;
    let mac = hmac::sign(&key, &file);
    header::finish(&mut file, mac.as_ref());
    let key = payload_key(&file_key, &nonce)?;
    let payload = sealed(&key, LAST_CHUNK, plain)?;
    file.extend_from_slice(&nonce);
    file.extend_from_slice(&payload);
    Ok(file)
}

/// Decrypts what one of the identities was the recipient of, or what the passphrase opens.
///
/// # Errors
/// [`AgeError`] says why not.
pub fn decrypt(opener: Opener<'_>, file: &[u8]) -> Result<Zeroizing<Vec<u8>>, AgeError> {
    let decrypted = decrypt_by(opener, file);
    scrub_stack();
    decrypted
}

#[inline(never)]
fn decrypt_by(opener: Opener<'_>, file: &[u8]) -> Result<Zeroizing<Vec<u8>>, AgeError> {
    let header = Header::read(file)?;
    let file_key = match opener {
        Opener::Passphrase(passphrase) => passphrase::unwrapped(passphrase, &header)?,
        Opener::Identities(identities) => {
            let opened = header
                .stanzas
                .iter()
                .flat_map(|stanza| identities.iter().map(move |identity| (stanza, identity)))
                .find_map(|(stanza, identity)| unwrapped(identity, stanza));
            opened.ok_or_else(|| passphrase::instead_of_identity(&header))?
        }
    };
    let key = mac_key(&file_key)?;
    hmac::verify(&key, header.signed, &header.mac).map_err(|_| AgeError::Damaged)?;
    let (nonce, chunk) =
        header.payload.split_first_chunk().ok_or(AgeError::Format("it has no payload"))?;
    if chunk.len() > bounds::backup::AGE_PAYLOAD + aead::CHACHA20_POLY1305.tag_len() {
        return Err(AgeError::Long);
    }
    let key = payload_key(&file_key, nonce)?;
    opened_with(&key, LAST_CHUNK, chunk).ok_or(AgeError::Damaged)
}

/// The file key for a recipient.
fn wrapped(recipient: &Recipient, file_key: &[u8; FILE_KEY]) -> Result<Stanza, AgeError> {
    let ours = agreement::PrivateKey::generate(&agreement::X25519);
    let ours = ours.map_err(|_| AgeError::Refused)?;
    let share = public(&ours)?;
    let wrap = wrap_key(&ours, &recipient.0, &share, &recipient.0)?;
    let body = sealed(&wrap, [0; aead::NONCE_LEN], file_key)?;
    Ok(Stanza { kind: X25519.to_owned(), arguments: vec![header::text(&share)], body })
}

/// The file key, if the stanza is for this identity.
fn unwrapped(identity: &Identity, stanza: &Stanza) -> Option<Zeroizing<[u8; FILE_KEY]>> {
    if stanza.kind != X25519 {
        return None;
    }
    let [share] = stanza.arguments.as_slice() else { return None };
    let share: [u8; KEY] = header::octets(share)?.try_into().ok()?;
    let ours = identity.private_key()?;
    let recipient = public(&ours).ok()?;
    let wrap = wrap_key(&ours, &share, &share, &recipient).ok()?;
    file_key(&wrap, &stanza.body)
}

/// The file key in the body of a stanza.
fn file_key(wrap: &aead::LessSafeKey, body: &[u8]) -> Option<Zeroizing<[u8; FILE_KEY]>> {
    let opened = opened_with(wrap, [0; aead::NONCE_LEN], body)?;
    let mut key = Zeroizing::new([0; FILE_KEY]);
    key.copy_from_slice(opened.get(..).filter(|octets| octets.len() == FILE_KEY)?);
    Some(key)
}

/// The public half of `private`.
fn public(private: &agreement::PrivateKey) -> Result<[u8; KEY], AgeError> {
    let public = private.compute_public_key().map_err(|_| AgeError::Refused)?;
    public.as_ref().try_into().map_err(|_| AgeError::Refused)
}

/// What both sides agree on: bound to the sender's share and to the recipient.
fn wrap_key(
    ours: &agreement::PrivateKey,
    theirs: &[u8; KEY],
    share: &[u8; KEY],
    recipient: &[u8; KEY],
) -> Result<Wiped<aead::LessSafeKey>, AgeError> {
    let theirs = agreement::UnparsedPublicKey::new(&agreement::X25519, theirs);
    let salt = [&share[..], recipient].concat();
    agreement::agree(ours, theirs, AgeError::Refused, |shared| {
        cipher(&*derived(&salt, shared, b"age-encryption.org/v1/X25519")?)
    })
}

fn mac_key(file_key: &[u8; FILE_KEY]) -> Result<Wiped<hmac::Key>, AgeError> {
    let key = derived(&[], file_key, b"header")?;
    Ok(Wiped::new(hmac::Key::new(hmac::HMAC_SHA256, &*key)))
}

fn payload_key(
    file_key: &[u8; FILE_KEY],
    nonce: &[u8; NONCE],
) -> Result<Wiped<aead::LessSafeKey>, AgeError> {
    cipher(&*derived(nonce, file_key, b"payload")?)
}

fn derived(salt: &[u8], secret: &[u8], info: &[u8]) -> Result<Zeroizing<[u8; KEY]>, AgeError> {
    let prk = Wiped::new(hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(secret));
    let mut key = Zeroizing::new([0; KEY]);
    let filled = prk.expand(&[info], hkdf::HKDF_SHA256).and_then(|okm| okm.fill(&mut *key));
    filled.map_err(|_| AgeError::Refused)?;
    Ok(key)
}

fn cipher(key: &[u8; KEY]) -> Result<Wiped<aead::LessSafeKey>, AgeError> {
    let key = aead::UnboundKey::new(&aead::CHACHA20_POLY1305, key);
    key.map(|key| Wiped::new(aead::LessSafeKey::new(key))).map_err(|_| AgeError::Refused)
}

/// Encrypts; every key here is used for one message, with one nonce.
fn sealed(
    key: &aead::LessSafeKey,
    nonce: [u8; aead::NONCE_LEN],
    plain: &[u8],
) -> Result<Vec<u8>, AgeError> {
    let mut body = Zeroizing::new(plain.to_vec());
    let nonce = aead::Nonce::assume_unique_for_key(nonce);
    let tag = key.seal_in_place_separate_tag(nonce, aead::Aad::empty(), &mut body);
    let tag = tag.map_err(|_| AgeError::Refused)?;
    Ok([&body[..], tag.as_ref()].concat())
}

fn opened_with(
    key: &aead::LessSafeKey,
    nonce: [u8; aead::NONCE_LEN],
    body: &[u8],
) -> Option<Zeroizing<Vec<u8>>> {
    let mut body = Zeroizing::new(body.to_vec());
    let nonce = aead::Nonce::assume_unique_for_key(nonce);
    let len = key.open_in_place(nonce, aead::Aad::empty(), &mut body).ok()?.len();
    body.truncate(len);
    Some(body)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn identity(octet: u8) -> Identity {
        Identity::of([octet; KEY])
    }

    fn to(identity: &Identity, plain: &[u8]) -> Result<Vec<u8>, AgeError> {
        encrypt(Lock::Recipient(&identity.recipient().unwrap()), plain)
    }

    fn by(identities: &[Identity], file: &[u8]) -> Result<Zeroizing<Vec<u8>>, AgeError> {
        decrypt(Opener::Identities(identities), file)
    }

    #[test]
    fn what_is_encrypted_opens_for_its_recipient_and_nobody_else() {
        let file = to(&identity(1), b"a master key").unwrap();
        let opened = by(&[identity(2), identity(1)], &file).unwrap();
        assert_eq!(opened.as_slice(), b"a master key");
        let refused = |identities: &[Identity]| by(identities, &file).unwrap_err();
        assert_eq!(refused(&[identity(2)]), AgeError::OtherRecipient);
        assert_eq!(refused(&[]), AgeError::OtherRecipient);
        let again = to(&identity(1), b"a master key").unwrap();
        assert_ne!(again, file);
        let long = vec![0; bounds::backup::AGE_PAYLOAD + 1];
        let refused = to(&identity(1), &long);
        assert_eq!(refused.unwrap_err(), AgeError::Long);
    }

    #[test]
    fn a_recipient_that_is_no_point_of_its_own_is_refused() {
        let zero = Recipient([0; KEY]);
        assert_eq!(
            encrypt(Lock::Recipient(&zero), b"a master key").unwrap_err(),
            AgeError::Refused
        );
    }

    proptest! {
        #[test]
        fn any_flipped_bit_is_noticed_and_no_bytes_make_it_panic(
            at in any::<proptest::sample::Index>(),
            bit in 0..8_u32,
            junk in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            let identity = identity(1);
            let mut file = to(&identity, &[3; 40]).unwrap();
            prop_assert!(by(std::slice::from_ref(&identity), &file[..at.index(file.len())]).is_err());
            let at = at.index(file.len());
            file[at] ^= 1 << bit;
            prop_assert!(by(std::slice::from_ref(&identity), &file).is_err());
            let junk = [&b"age-encryption.org/v1\n-> X25519 "[..], &junk].concat();
            prop_assert!(by(&[identity], &junk).is_err());
        }
    }
}
