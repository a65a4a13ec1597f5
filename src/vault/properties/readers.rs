//! Bytes that are read by one function: frames, records, boxes, and files with keys.

use super::super::import_box;
use super::super::import_box::ImportBox;
use super::super::import_box::Label;
use super::super::keeper::KeeperReport;
use super::super::key_file::KeyFile;
use super::super::keys::OpenKey;
use super::super::seal::Content;
use super::super::seal::SealError;
use super::super::seal::Sealer;
use super::super::transfer;
use super::super::wire::Reply;
use super::super::wire::Request;
use super::super::wire::WireError;
use super::super::wire::tests::replies;
use super::super::wire::tests::requests;
use super::samples;
use super::sealer;
use crate::base::Secret;
use crate::base::bounds;
use crate::cert::key::KeyAlgorithm;
use crate::cert::key::KeyId;
use crate::cert::key::KeyUsage;

pub(super) fn request(bytes: &[u8]) {
    let read = Request::decode(bytes);
    frame(bytes, read.as_ref().err().copied());
    let Ok((id, request)) = read else { return };
    if let Request::Hello { cores, .. } = &request {
        assert!(cores.capacity() <= bytes.len(), "a peer's word alone makes room for cores");
    }
    let mut again = Vec::new();
    request.encode(id, &mut again).expect("what was read can be written");
    assert_eq!(again, bytes, "read otherwise than written: {request:?}");
    assert!(Reply::decode(bytes).is_err(), "a request is no reply");
    other_lengths(&mut again, |bytes| Request::decode(bytes).is_ok());
}

pub(super) fn reply(bytes: &[u8]) {
    if let Ok(report) = KeeperReport::decode(bytes) {
        assert_eq!(report.encode(), bytes, "read otherwise than written: {report:?}");
    }
    let read = Reply::decode(bytes);
    frame(bytes, read.as_ref().err().copied());
    let Ok((id, reply)) = read else { return };
    if let Reply::Welcome { walls, .. } = &reply {
        assert!(walls.capacity() <= bytes.len(), "a peer's word alone makes room for walls");
    }
    let mut again = Vec::new();
    reply.encode(id, &mut again).expect("what was read can be written");
    assert_eq!(again, bytes, "read otherwise than written: {reply:?}");
    assert!(Request::decode(bytes).is_err(), "a reply is no request");
    other_lengths(&mut again, |bytes| Reply::decode(bytes).is_ok());
}

/// What is larger than a frame may be is refused for that, before anything of it is believed.
fn frame(bytes: &[u8], refused: Option<WireError>) {
    assert!(bytes.len() <= bounds::VAULT_FRAME || refused == Some(WireError::Long), "{refused:?}");
}

fn other_lengths(frame: &mut Vec<u8>, reads: impl Fn(&[u8]) -> bool) {
    frame.push(0);
    assert!(!reads(frame), "one octet more is read as well");
    frame.truncate(frame.len().saturating_sub(2));
    assert!(!reads(frame), "one octet less is read as well");
}

pub(super) fn request_seeds() -> Vec<Vec<u8>> {
    let mut seeds = vec![vec![8; bounds::VAULT_FRAME + 1]];
    for request in requests(b"some octets", [7; 32]) {
        seeds.push(Vec::new());
        request.encode(9, seeds.last_mut().expect("it was just put there")).expect("it fits");
    }
    seeds
}

pub(super) fn reply_seeds() -> Vec<Vec<u8>> {
    let mut seeds = vec![vec![1, 7, 0, 0, 0], vec![2, 65, 0, 0, 0], vec![4, 0, 0, 0, 0]];
    for reply in replies(b"some octets") {
        seeds.push(Vec::new());
        reply.encode(9, seeds.last_mut().expect("it was just put there")).expect("it fits");
    }
    seeds
}

/// The first octets say what is sealed and what is done to it, the others are sealed, and all of
/// them are a record of somebody else.
pub(super) fn sealed(bytes: &[u8]) {
    let vault = sealer();
    assert!(vault.open(bytes).is_err(), "a record that was not sealed here opens");
    let Some((choice, plain)) = bytes.split_first_chunk::<4>() else { return };
    let content = match choice[0] % 4 {
        0 => Content::secret(plain),
        _ => Content::Key {
            usage: usage(choice[0]),
            algorithm: algorithm(choice[1]),
            id: KeyId::of_spki(plain),
        },
    };
    let record = vault.seal(content, plain).expect("it is sealed");
    let empty = vault.seal(content, &[]).expect("it is sealed");
    assert_eq!(record.len(), plain.len() + empty.len(), "a record grows with its content alone");
    let (opened, body) = vault.open(&record).expect("what was sealed opens");
    assert_eq!((opened, body.as_slice()), (content, plain));
    let at = usize::from(u16::from_le_bytes([choice[2], choice[3]])) % record.len();
    let mut changed = record.clone();
    changed[at] ^= 1 << (choice[1] % 8);
    assert!(vault.open(&changed).is_err(), "a changed record opens");
    assert!(vault.open(&record[..at]).is_err(), "a cut record opens");
    let other = Sealer::new(Secret::new([0x43; 32])).expect("a master key is good");
    let refused = other.open(&record).map(drop);
    assert!(matches!(refused, Err(SealError::OtherMaster { .. })), "{refused:?}");
}

pub(super) fn sealed_seeds() -> Vec<Vec<u8>> {
    let mut records: Vec<Vec<u8>> = samples().iter().map(|sample| sample.sealed.clone()).collect();
    // One that would open is no record of somebody else.
    records.iter_mut().for_each(|record| record[100] ^= 1);
    records.extend([vec![0; 4], vec![1, 2, 3, 4], vec![2; 600]]);
    records
}

/// As [`sealed`]: the first octets choose, the others are in the box, and are a box.
pub(super) fn import_box(bytes: &[u8]) {
    let Some((choice, rest)) = bytes.split_first_chunk::<4>() else { return };
    let private = [7; import_box::KEY];
    let label = Label {
        algorithm: algorithm(choice[0]),
        usage: usage(choice[1]),
        key: KeyId::of_spki(rest),
    };
    let half = import_box::KEY.min(rest.len());
    let (encapsulated, sealed) = rest.split_at(half);
    let open =
        |made: &ImportBox| import_box::open(&private, made.label, &made.encapsulated, &made.sealed);
    let foreign = ImportBox { label, encapsulated: encapsulated.into(), sealed: sealed.into() };
    assert!(open(&foreign).is_err(), "a box that was not sealed to this key opens");
    // Whether or not the octets are a point of the curve.
    if let Ok(public) = <[u8; import_box::KEY]>::try_from(encapsulated) {
        drop(import_box::seal(&public, label, sealed));
    }
    let public = import_box::public(&private).expect("a public half");
    let made = import_box::seal(&public, label, rest).expect("it is sealed");
    assert_eq!(made.sealed.len(), rest.len() + 16, "a box grows with its content alone");
    assert_eq!(open(&made).expect("what was sealed opens").as_slice(), rest);
    let at = usize::from(u16::from_le_bytes([choice[2], choice[3]])) % made.sealed.len();
    let mut changed = made.clone();
    changed.sealed[at] ^= 1 << (choice[1] % 8);
    assert!(open(&changed).is_err(), "a changed box opens");
    let cut = ImportBox { sealed: made.sealed[..at].to_vec(), ..made.clone() };
    assert!(open(&cut).is_err(), "a cut box opens");
    let key = KeyId::of_spki(b"another");
    let renamed = ImportBox { label: Label { key, ..label }, ..made };
    assert!(open(&renamed).is_err(), "a box takes another name");
}

pub(super) fn import_box_seeds() -> Vec<Vec<u8>> {
    let public = import_box::public(&[8; import_box::KEY]).expect("a public half");
    let one = |sample: &super::Sample| {
        let label = Label { algorithm: sample.algorithm, usage: sample.usage, key: sample.id };
        let made = import_box::seal(&public, label, &sample.pkcs8).expect("it is sealed");
        [&[1, 2, 3, 0][..], &made.encapsulated, &made.sealed].concat()
    };
    let mut seeds: Vec<Vec<u8>> = samples().iter().map(one).collect();
    seeds.push(vec![0; 4]);
    seeds
}

pub(super) fn key_file(bytes: &[u8]) {
    let file = match KeyFile::from_pem(bytes) {
        Ok(file) => file,
        Err(error) => {
            assert!(error.to_string().len() <= 300, "{error}");
            return;
        }
    };
    let (key, _) = OpenKey::from_pkcs8(file.algorithm, KeyUsage::Tls, &file.pkcs8)
        .expect("the vault takes what the file is read as");
    assert_eq!(key.id, file.id);
    let again = KeyFile::from_pem(&transfer::pem(&file.pkcs8)).expect("it is read again");
    assert_eq!((again.id, &again.pkcs8), (file.id, &file.pkcs8));
}

pub(super) fn key_file_seeds() -> Vec<Vec<u8>> {
    let files = samples().iter().map(|sample| transfer::pem(&sample.pkcs8).to_vec());
    let mut seeds: Vec<Vec<u8>> = files.collect();
    // A private key as openssl used to write it (RFC 5915), without its public half.
    let sec1 = "-----BEGIN EC PRIVATE KEY-----\n\
        MDECAQEEIAEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBoAoGCCqGSM49\n\
        AwEH\n-----END EC PRIVATE KEY-----\n";
    seeds.push(sec1.into());
    // All on one line, as a form that was pasted from leaves it.
    let joined = String::from_utf8_lossy(&seeds[0]).replace('\n', "");
    seeds.push(joined.into());
    seeds
        .push(b"-----BEGIN RSA PRIVATE KEY-----\nMAMCAQA=\n-----END RSA PRIVATE KEY-----\n".into());
    seeds.push(b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAMCAQA=\n".into());
    seeds
}

fn usage(octet: u8) -> KeyUsage {
    const USAGES: [KeyUsage; 5] = [
        KeyUsage::Tls,
        KeyUsage::InternalCa,
        KeyUsage::ExportableTls,
        KeyUsage::Account,
        KeyUsage::BroughtAccount,
    ];
    USAGES[usize::from(octet % 5)]
}

fn algorithm(octet: u8) -> KeyAlgorithm {
    [KeyAlgorithm::P256, KeyAlgorithm::P384, KeyAlgorithm::Rsa2048][usize::from(octet % 3)]
}
