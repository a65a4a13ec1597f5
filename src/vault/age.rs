//! A small secret encrypted to a recipient, in the format of age (age-encryption.org/v1), so that
//! who has the program `age` can open it without this one.
//!
//! Written by the vault, about its master key, and read by whoever restores a backup, in a process
//! of its own. Written here and not taken from a library because one recipient and one short
//! payload are all that is needed, of primitives that are here already, in a process that has to
//! stay small. Deliberately absent: several recipients, payloads of more than one chunk, armour,
//! and plug-ins.

mod bech32;
mod header;
mod names;

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
    /// The right identity, and yet.
    #[error("it was changed since it was encrypted")]
    Damaged,
    /// Not something that was put in here.
    #[error("it holds more than {most} octets", most = bounds::AGE_PAYLOAD)]
    Long,
    /// The library refused; above all a recipient that is no point of the curve.
    #[error("the cryptographic library refused")]
    Refused,
}

/// Encrypts `plain` to `recipient`.
///
/// # Errors
/// [`AgeError::Long`] for more than a payload holds, [`AgeError::Refused`].
pub fn encrypt(recipient: &Recipient, plain: &[u8]) -> Result<Vec<u8>, AgeError> {
    let encrypted = encrypt_to(recipient, plain);
    scrub_stack();
    encrypted
}

#[inline(never)]
fn encrypt_to(recipient: &Recipient, plain: &[u8]) -> Result<Vec<u8>, AgeError> {
    if plain.len() > bounds::AGE_PAYLOAD {
        return Err(AgeError::Long);
    }
    let random = SystemRandom::new();
    let mut file_key = Zeroizing::new([0; FILE_KEY]);
    let mut nonce = [0; NONCE];
    random.fill(&mut *file_key).map_err(|_| AgeError::Refused)?;
    random.fill(&mut nonce).map_err(|_| AgeError::Refused)?;
    let ours = agreement::PrivateKey::generate(&agreement::X25519);
    let ours = ours.map_err(|_| AgeError::Refused)?;
    let share = public(&ours)?;
    let wrap = wrap_key(&ours, &recipient.0, &share, &recipient.0)?;
    let body = sealed(&wrap, [0; aead::NONCE_LEN], &*file_key)?;
    let stanza = Stanza { kind: X25519.to_owned(), argument: header::text(&share), body };
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

/// Decrypts what one of the `identities` was the recipient of.
///
/// # Errors
/// [`AgeError`] says why not.
pub fn decrypt(identities: &[Identity], file: &[u8]) -> Result<Zeroizing<Vec<u8>>, AgeError> {
    let decrypted = decrypt_by(identities, file);
    scrub_stack();
    decrypted
}

#[inline(never)]
fn decrypt_by(identities: &[Identity], file: &[u8]) -> Result<Zeroizing<Vec<u8>>, AgeError> {
    let header = Header::read(file)?;
    let opened = header
        .stanzas
        .iter()
        .flat_map(|stanza| identities.iter().map(move |identity| (stanza, identity)))
        .find_map(|(stanza, identity)| unwrapped(identity, stanza));
    let file_key = opened.ok_or(AgeError::OtherRecipient)?;
    let key = mac_key(&file_key)?;
    hmac::verify(&key, header.signed, &header.mac).map_err(|_| AgeError::Damaged)?;
    let (nonce, chunk) =
        header.payload.split_first_chunk().ok_or(AgeError::Format("it has no payload"))?;
    if chunk.len() > bounds::AGE_PAYLOAD + aead::CHACHA20_POLY1305.tag_len() {
        return Err(AgeError::Long);
    }
    let key = payload_key(&file_key, nonce)?;
    opened_with(&key, LAST_CHUNK, chunk).ok_or(AgeError::Damaged)
}

/// The file key, if the stanza is for this identity.
fn unwrapped(identity: &Identity, stanza: &Stanza) -> Option<Zeroizing<[u8; FILE_KEY]>> {
    if stanza.kind != X25519 {
        return None;
    }
    let share: [u8; KEY] = header::octets(&stanza.argument)?.try_into().ok()?;
    let ours = identity.private_key()?;
    let recipient = public(&ours).ok()?;
    let wrap = wrap_key(&ours, &share, &share, &recipient).ok()?;
    let opened = opened_with(&wrap, [0; aead::NONCE_LEN], &stanza.body)?;
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

    #[test]
    fn what_is_encrypted_opens_for_its_recipient_and_nobody_else() {
        let file = encrypt(&identity(1).recipient().unwrap(), b"a master key").unwrap();
        let opened = decrypt(&[identity(2), identity(1)], &file).unwrap();
        assert_eq!(opened.as_slice(), b"a master key");
        let refused = |identities: &[Identity]| decrypt(identities, &file).unwrap_err();
        assert_eq!(refused(&[identity(2)]), AgeError::OtherRecipient);
        assert_eq!(refused(&[]), AgeError::OtherRecipient);
        let again = encrypt(&identity(1).recipient().unwrap(), b"a master key").unwrap();
        assert_ne!(again, file);
        let long = vec![0; bounds::AGE_PAYLOAD + 1];
        let refused = encrypt(&identity(1).recipient().unwrap(), &long);
        assert_eq!(refused.unwrap_err(), AgeError::Long);
    }

    #[test]
    fn a_recipient_that_is_no_point_of_its_own_is_refused() {
        let zero = Recipient([0; KEY]);
        assert_eq!(encrypt(&zero, b"a master key").unwrap_err(), AgeError::Refused);
    }

    proptest! {
        #[test]
        fn any_flipped_bit_is_noticed_and_no_bytes_make_it_panic(
            at in any::<proptest::sample::Index>(),
            bit in 0..8_u32,
            junk in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            let identity = identity(1);
            let mut file = encrypt(&identity.recipient().unwrap(), &[3; 40]).unwrap();
            prop_assert!(decrypt(std::slice::from_ref(&identity), &file[..at.index(file.len())]).is_err());
            let at = at.index(file.len());
            file[at] ^= 1 << bit;
            prop_assert!(decrypt(std::slice::from_ref(&identity), &file).is_err());
            let junk = [&b"age-encryption.org/v1\n-> X25519 "[..], &junk].concat();
            prop_assert!(decrypt(&[identity], &junk).is_err());
        }
    }
}
