//! Keys that come in by a box and go out by a descriptor or encrypted, on the vault's side.
//!
//! What goes out is written by this process into what its receiver opened, or encrypted here to a
//! public key of his. So a private key that may leave still passes nobody on its way.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use base64::Engine as _;
use zeroize::Zeroizing;

use super::age;
use super::age::Lock;
use super::age::Recipient;
use super::import_box;
use super::import_box::Label;
use super::keys::OpenKey;
use super::seal::Content;
use super::seal::Sealer;
use super::wire::Refusal;
use crate::cert::key::KeyAlgorithm;
use crate::cert::key::KeyUsage;

/// Why not.
type Refused = (Refusal, String);

/// A key that was taken in.
pub(super) struct Taken {
    pub(super) key: Arc<OpenKey>,
    pub(super) spki: Vec<u8>,
    pub(super) sealed: Vec<u8>,
}

/// The public key that boxes are to be sealed to.
pub(super) fn import_key(sealer: &Sealer) -> Result<[u8; import_box::KEY], Refused> {
    import_box::public_of(sealer).map_err(|error| (Refusal::Crypto, error.to_string()))
}

/// Takes a key out of its box: it must be the one that the box was said to hold.
pub(super) fn take_in(
    sealer: &Sealer,
    label: Label,
    encapsulated: &[u8],
    sealed: &[u8],
) -> Result<Taken, Refused> {
    // A key of an account that somebody else may have is not one of those that were made here.
    if !label.usage.is_tls() && label.usage != KeyUsage::BroughtAccount {
        let told = "only keys for handshakes and of accounts are taken in";
        return Err((Refusal::Purpose, told.to_owned()));
    }
    let opened = import_box::open(&*private(sealer)?, label, encapsulated, sealed);
    let pkcs8 = opened.map_err(|error| (Refusal::Seal, error.to_string()))?;
    let (key, spki) = OpenKey::from_pkcs8(label.algorithm, label.usage, &pkcs8)
        .map_err(|error| (Refusal::Crypto, format!("the key in the box is of no use: {error}")))?;
    if key.id != label.key {
        return Err((Refusal::Seal, "the box holds another key than it says".to_owned()));
    }
    let content = Content::Key { usage: label.usage, algorithm: label.algorithm, id: label.key };
    let sealed =
        sealer.seal(content, &pkcs8).map_err(|error| (Refusal::Seal, error.to_string()))?;
    Ok(Taken { key: Arc::new(key), spki, sealed })
}

/// Seals the key of the account `label` as one that stays; an earlier version sealed it as a secret.
pub(super) fn take_over(sealer: &Sealer, label: &[u8], sealed: &[u8]) -> Result<Taken, Refused> {
    let (content, pkcs8) =
        sealer.open(sealed).map_err(|error| (Refusal::Seal, error.to_string()))?;
    if content != Content::secret(label) {
        return Err((Refusal::Seal, "the record is not the key of this account".to_owned()));
    }
    let (algorithm, usage) = (KeyAlgorithm::P256, KeyUsage::Account);
    let (key, spki) = OpenKey::from_pkcs8(algorithm, usage, &pkcs8)
        .map_err(|error| (Refusal::Crypto, format!("the account's key is of no use: {error}")))?;
    let content = Content::Key { usage, algorithm, id: key.id };
    let sealed =
        sealer.seal(content, &pkcs8).map_err(|error| (Refusal::Seal, error.to_string()))?;
    Ok(Taken { key: Arc::new(key), spki, sealed })
}

/// Writes an exportable key as PEM into `target`, and closes it.
pub(super) fn hand_out(sealer: &Sealer, sealed: &[u8], target: OwnedFd) -> Result<(), Refused> {
    let written = File::from(target).write_all(&exportable(sealer, sealed)?);
    written.map_err(|error| (Refusal::Crypto, format!("the target takes no key: {error}")))
}

/// An exportable key as PEM, in a file of age that only `recipient` opens.
pub(super) fn deliver(
    sealer: &Sealer,
    sealed: &[u8],
    recipient: &[u8; 32],
) -> Result<Vec<u8>, Refused> {
    let key = exportable(sealer, sealed)?;
    let lock = Lock::Recipient(&Recipient(*recipient));
    age::encrypt(lock, &key).map_err(|error| (Refusal::Crypto, error.to_string()))
}

/// The key as PEM, if it was sealed as one that may leave.
fn exportable(sealer: &Sealer, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Refused> {
    let (content, pkcs8) =
        sealer.open(sealed).map_err(|error| (Refusal::Seal, error.to_string()))?;
    let Content::Key { usage: KeyUsage::ExportableTls, .. } = content else {
        return Err((Refusal::Purpose, "the key was not sealed as exportable".to_owned()));
    };
    Ok(pem(&pkcs8))
}

fn private(sealer: &Sealer) -> Result<Zeroizing<[u8; import_box::KEY]>, Refused> {
    import_box::private_of(sealer).map_err(|error| (Refusal::Crypto, error.to_string()))
}

/// RFC 7468, section 10. Has its room from the start: one that grows would leave copies behind.
pub(super) fn pem(pkcs8: &[u8]) -> Zeroizing<Vec<u8>> {
    const LINE: usize = 48;
    let mut text = Zeroizing::new(Vec::with_capacity(pkcs8.len().saturating_mul(2) + 128));
    text.extend_from_slice(b"-----BEGIN PRIVATE KEY-----\n");
    for part in pkcs8.chunks(LINE) {
        let mut line = Zeroizing::new([0; LINE / 3 * 4]);
        let engine = base64::engine::general_purpose::STANDARD;
        // A line always has room for its part.
        let len = engine.encode_slice(part, &mut *line).unwrap_or(0);
        text.extend_from_slice(line.get(..len).unwrap_or_default());
        text.push(b'\n');
    }
    text.extend_from_slice(b"-----END PRIVATE KEY-----\n");
    text
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;
    use crate::base::Secret;
    use crate::vault::key_file::KeyFile;
    use crate::vault::key_file::KeyFileError;
    use crate::vault::keys;

    fn sealer(octet: u8) -> Sealer {
        Sealer::new(Secret::new([octet; 32])).unwrap()
    }

    fn boxed(sealer: &Sealer, usage: KeyUsage, file: &KeyFile) -> import_box::ImportBox {
        let label = Label { algorithm: file.algorithm, usage, key: file.id };
        import_box::seal(&import_key(sealer).unwrap(), label, &file.pkcs8).unwrap()
    }

    fn taken(sealer: &Sealer, made: &import_box::ImportBox) -> Result<Taken, Refused> {
        take_in(sealer, made.label, &made.encapsulated, &made.sealed)
    }

    fn exported(sealer: &Sealer, sealed: &[u8]) -> Result<Vec<u8>, Refused> {
        let (mut reader, writer) = std::io::pipe().unwrap();
        hand_out(sealer, sealed, writer.into())?;
        let mut text = Vec::new();
        reader.read_to_end(&mut text).unwrap();
        Ok(text)
    }

    #[test]
    fn a_key_of_every_kind_comes_in_and_goes_out_as_it_was() {
        let kinds = [KeyAlgorithm::P256, KeyAlgorithm::P384, KeyAlgorithm::Rsa2048];
        for algorithm in kinds {
            let pkcs8 = keys::generate(algorithm).unwrap();
            let file = KeyFile::from_pem(&pem(&pkcs8)).unwrap();
            assert_eq!(file.algorithm, algorithm);
            let vault = sealer(1);
            let came = taken(&vault, &boxed(&vault, KeyUsage::ExportableTls, &file)).unwrap();
            assert_eq!(came.key.id, file.id);
            let went = KeyFile::from_pem(&exported(&vault, &came.sealed).unwrap()).unwrap();
            assert_eq!((went.id, &went.pkcs8), (file.id, &file.pkcs8));
        }
    }

    #[test]
    fn a_key_is_delivered_to_its_recipient_alone_and_one_that_stays_is_not() {
        let vault = sealer(1);
        let identity = |octet| age::Identity::of([octet; 32]);
        let recipient = identity(3).recipient().unwrap().0;
        for algorithm in [KeyAlgorithm::P256, KeyAlgorithm::P384, KeyAlgorithm::Rsa2048] {
            let pkcs8 = keys::generate(algorithm).unwrap();
            let file = KeyFile::from_pem(&pem(&pkcs8)).unwrap();
            let came = taken(&vault, &boxed(&vault, KeyUsage::ExportableTls, &file)).unwrap();
            let sent = deliver(&vault, &came.sealed, &recipient).unwrap();
            let open = |octet| age::decrypt(age::Opener::Identities(&[identity(octet)]), &sent);
            let went = KeyFile::from_pem(&open(3).unwrap()).unwrap();
            assert_eq!((went.id, &went.pkcs8), (file.id, &file.pkcs8));
            assert_eq!(open(4).unwrap_err(), age::AgeError::OtherRecipient);
            let stays = taken(&vault, &boxed(&vault, KeyUsage::Tls, &file)).unwrap();
            let refused = deliver(&vault, &stays.sealed, &recipient).unwrap_err();
            assert_eq!(refused.0, Refusal::Purpose, "{}", refused.1);
            let nobody = deliver(&vault, &came.sealed, &[0; 32]).unwrap_err();
            assert_eq!(nobody.0, Refusal::Crypto, "{}", nobody.1);
        }
    }

    #[test]
    fn a_key_that_is_not_exportable_stays_and_its_target_stays_empty() {
        let pkcs8 = keys::generate(KeyAlgorithm::P256).unwrap();
        let file = KeyFile::from_pem(&pem(&pkcs8)).unwrap();
        let vault = sealer(1);
        let came = taken(&vault, &boxed(&vault, KeyUsage::Tls, &file)).unwrap();
        let (code, text) = exported(&vault, &came.sealed).unwrap_err();
        assert_eq!(code, Refusal::Purpose, "{text}");
        // A sealed secret that is no key at all, and one of another vault.
        let secret = vault.seal(Content::secret(b"account"), &pkcs8).unwrap();
        assert_eq!(exported(&vault, &secret).unwrap_err().0, Refusal::Purpose);
        assert_eq!(exported(&sealer(2), &came.sealed).unwrap_err().0, Refusal::Seal);
    }

    #[test]
    fn a_box_with_another_key_than_it_says_is_refused_and_so_is_one_for_the_internal_ca() {
        let vault = sealer(1);
        let pkcs8 = keys::generate(KeyAlgorithm::P256).unwrap();
        let other = keys::generate(KeyAlgorithm::P256).unwrap();
        let file = KeyFile::from_pem(&pem(&pkcs8)).unwrap();
        let lying = KeyFile { pkcs8: other, ..KeyFile::from_pem(&pem(&pkcs8)).unwrap() };
        let refused = taken(&vault, &boxed(&vault, KeyUsage::Tls, &lying));
        assert_eq!(refused.map(drop).unwrap_err().0, Refusal::Seal);
        // One of an account is taken in as one that was brought, and not as one that was made here.
        for usage in [KeyUsage::InternalCa, KeyUsage::Account] {
            let refused = taken(&vault, &boxed(&vault, usage, &file));
            assert_eq!(refused.map(drop).unwrap_err().0, Refusal::Purpose, "{usage:?}");
        }
        assert!(taken(&vault, &boxed(&vault, KeyUsage::BroughtAccount, &file)).is_ok());
        let junk = KeyFile { pkcs8: Zeroizing::new(vec![0x30; 60]), ..file };
        let refused = taken(&vault, &boxed(&vault, KeyUsage::Tls, &junk));
        assert_eq!(refused.map(drop).unwrap_err().0, Refusal::Crypto);
    }

    #[test]
    fn a_box_for_a_former_master_key_says_so() {
        let file = KeyFile::from_pem(&pem(&keys::generate(KeyAlgorithm::P256).unwrap())).unwrap();
        let (code, text) =
            taken(&sealer(2), &boxed(&sealer(1), KeyUsage::Tls, &file)).map(drop).unwrap_err();
        assert_eq!(code, Refusal::Seal);
        assert!(text.contains("former master key"), "{text}");
    }

    #[test]
    fn a_file_that_is_no_key_is_refused_by_what_it_is() {
        let key = pem(&keys::generate(KeyAlgorithm::P256).unwrap());
        let section = |kind: &str| {
            format!("-----BEGIN {kind}-----\nMAMCAQA=\n-----END {kind}-----\n").into_bytes()
        };
        let refused = |pem: &[u8]| KeyFile::from_pem(pem).unwrap_err();
        assert_eq!(refused(b""), KeyFileError::None);
        assert_eq!(refused(&section("CERTIFICATE")), KeyFileError::None);
        assert_eq!(refused(&[&key[..], &key[..]].concat()), KeyFileError::Several);
        assert_eq!(refused(&section("ENCRYPTED PRIVATE KEY")), KeyFileError::Encrypted);
        // All on one line, as a form leaves what is pasted into it: the line is not repeated.
        let joined = String::from_utf8_lossy(&key).replace('\n', "");
        let error = refused(joined.as_bytes());
        assert!(error.to_string().contains("one line"), "{error}");
        for kind in ["PRIVATE KEY", "EC PRIVATE KEY", "RSA PRIVATE KEY"] {
            assert!(matches!(refused(&section(kind)), KeyFileError::Unusable(_)), "{kind}");
        }
    }
}
