//! A whole step of the vault's server: frames across its desk, and memory at its gates.

use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;

use super::super::channel::Transport as _;
use super::super::desk::Along;
use super::super::desk::Desk;
use super::super::desk::Role;
use super::super::desk::Room;
use super::super::gate;
use super::super::gate::Callee;
use super::super::gate::Caller;
use super::super::gate::GATE;
use super::super::gate::HEAD;
use super::super::gate::Mapped;
use super::super::import_box;
use super::super::import_box::Label;
use super::super::purpose::Purpose;
use super::super::scheme::Scheme;
use super::super::seal::Content;
use super::super::transfer;
use super::super::wire::Reply;
use super::super::wire::Request;
use super::super::wire_tickets::TicketRequest;
use super::samples;
use super::sealer;
use crate::base::bounds;
use crate::cert::key::KeyAlgorithm;
use crate::cert::key::KeyId;
use crate::cert::key::KeyUsage;
use crate::os::descriptors;
use crate::os::shared;
use crate::os::shared::Shared;

/// Frames of one input: what comes after them is not looked at.
const FRAMES: usize = 16;

/// Octets of a private key that no answer may hold in a row.
const TELLING: usize = 16;

/// The first octet is the role, then each frame has its length before it; the highest bit of that
/// says that a descriptor comes along.
pub(super) fn desk(bytes: &[u8]) {
    let Some((role, mut rest)) = bytes.split_first() else { return };
    let role = [Role::Control, Role::Worker, Role::Work][usize::from(role % 3)];
    let room = Room::new(sealer(), 0);
    let mut desk = Desk::new(&room, role, 0);
    let mut newest = 0;
    for _ in 0..FRAMES {
        let Some((length, after)) = rest.split_first_chunk() else { return };
        let length = u16::from_le_bytes(*length);
        let (frame, after) = after.split_at(usize::from(length & 0x7fff).min(after.len()));
        rest = after;
        if slow(frame) {
            continue;
        }
        let along = length & 0x8000 != 0 && role == Role::Control;
        match step(&mut desk, role, frame, along) {
            Some(id) => assert!(id > newest, "request {id} is answered after {newest}"),
            // The process would end.
            None => return,
        }
        newest = Request::decode(frame).expect("it was answered").0;
        let held = room.bytes_open();
        assert!(held <= bounds::VAULT_CACHE_LEAST, "{held} octets of keys");
    }
}

/// Making an RSA key takes most of a second, and shows nothing that another would not.
fn slow(frame: &[u8]) -> bool {
    let request = Request::decode(frame);
    matches!(request, Ok((_, Request::Generate { algorithm: KeyAlgorithm::Rsa2048, .. })))
}

/// One frame; the number of the answered request, `None` when the conversation is over.
fn step(desk: &mut Desk<'_>, role: Role, frame: &[u8], with_descriptor: bool) -> Option<u64> {
    let (mut reader, along) = if with_descriptor {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        (Some(reader), Along::One(OwnedFd::from(writer)))
    } else {
        (None, Along::Nothing)
    };
    let answered = desk.answer(frame, along);
    let mut given = Vec::new();
    if let Some(reader) = &mut reader {
        // The other end is closed by now, so this ends.
        reader.read_to_end(&mut given).expect("a pipe is read");
    }
    if answered.is_err() {
        assert!(given.is_empty(), "who breaks the protocol is given something");
        return None;
    }
    let (asked, request) = Request::decode(frame).expect("what is not read is not answered");
    let fits = match &request {
        Request::Sign {
            purpose: Purpose::Tls13 | Purpose::Tls12 | Purpose::ClientTls13, ..
        }
        | Request::Several(_)
        | Request::Tickets(TicketRequest::Seal { .. } | TicketRequest::Open { .. }) => {
            role != Role::Control
        }
        Request::Sign { .. } => role == Role::Work,
        _ => role == Role::Control,
    };
    assert!(fits, "a channel for {role:?} is answered {request:?}");
    let out = desk.out();
    assert!(out.len() <= bounds::VAULT_FRAME, "{} octets of answer", out.len());
    let (id, reply) = Reply::decode(out).expect("an answer is in the vocabulary");
    assert_eq!(id, asked, "the answer is to another request");
    let exported = matches!((&request, &reply), (Request::Export { .. }, Reply::Done));
    assert_eq!(exported, !given.is_empty(), "{request:?} gives {} octets", given.len());
    // What the request brought along, as only this vault can open it: seeds come from other
    // processes, whose keys are not known here.
    let brought = match &request {
        Request::Sign { sealed, .. }
        | Request::Export { sealed }
        | Request::Deliver { sealed, .. }
        | Request::TakeOver { sealed, .. } => sealer().open(sealed).ok(),
        _ => None,
    };
    if exported {
        let (content, pkcs8) = brought.as_ref().expect("what does not open is not exported");
        let free = matches!(content, Content::Key { usage: KeyUsage::ExportableTls, .. });
        assert!(free, "a key leaves that was sealed to stay");
        assert_eq!(*transfer::pem(pkcs8), given, "another key leaves");
    }
    if let (Request::Deliver { .. }, Reply::Bytes(_)) = (&request, &reply) {
        let (content, _) = brought.as_ref().expect("what does not open is not delivered");
        let free = matches!(content, Content::Key { usage: KeyUsage::ExportableTls, .. });
        assert!(free, "a key is delivered that was sealed to stay");
    }
    let secrets = samples().iter().map(|one| secret(one.algorithm, &one.pkcs8).to_vec());
    let secrets = secrets.chain(brought.iter().filter_map(|(content, sealed)| match content {
        Content::Key { algorithm, .. } => Some(secret(*algorithm, sealed).to_vec()),
        // Of any length: its beginning tells as much.
        Content::Secret { .. } => sealed.get(..TELLING).map(<[u8]>::to_vec),
    }));
    for secret in secrets {
        assert!(!out.windows(TELLING).any(|row| row == secret), "a secret is answered");
    }
    Some(id)
}

/// Some octets of the private number itself.
fn secret(algorithm: KeyAlgorithm, pkcs8: &[u8]) -> &[u8] {
    let at = match algorithm {
        // Behind the head of a PKCS#8 document with an elliptic-curve key in it (RFC 5915).
        KeyAlgorithm::P256 | KeyAlgorithm::P384 => 36,
        // Its last third is private exponents and primes (RFC 8017, appendix A.1.2).
        KeyAlgorithm::Rsa2048 => pkcs8.len() - 300,
    };
    &pkcs8[at..at + TELLING]
}

fn conversation(role: u8, requests: &[(Request<'_>, bool)]) -> Vec<u8> {
    let mut bytes = vec![role];
    for (number, (request, along)) in (1..).zip(requests) {
        let mut frame = Vec::new();
        request.encode(number, &mut frame).expect("it fits");
        let length = u16::try_from(frame.len()).expect("a frame is short");
        bytes.extend((length | if *along { 0x8000 } else { 0 }).to_le_bytes());
        bytes.extend(frame);
    }
    bytes
}

/// The public half of nobody's key: the base point of X25519 (RFC 7748, section 4.1).
const BASE_POINT: [u8; 32] = {
    let mut point = [0; 32];
    point[0] = 9;
    point
};

fn certificate_verify() -> Vec<u8> {
    [&[b' '; 64][..], b"TLS 1.3, server CertificateVerify\0", &[0x5a; 32]].concat()
}

fn scheme(algorithm: KeyAlgorithm) -> Scheme {
    match algorithm {
        KeyAlgorithm::P256 => Scheme::EcdsaP256Sha256,
        KeyAlgorithm::P384 => Scheme::EcdsaP384Sha384,
        KeyAlgorithm::Rsa2048 => Scheme::RsaPssSha256,
    }
}

pub(super) fn desk_seeds() -> Vec<Vec<u8>> {
    let vault = sealer();
    let public = transfer::import_key(&vault).expect("an import key");
    let message = certificate_verify();
    let [one, ..] = samples() else { unreachable!("there are samples") };
    let account = vault.seal(Content::secret(b"label"), &one.pkcs8).expect("it is sealed");
    let secret = vault.seal(Content::secret(b"label"), &[9; 80]).expect("it is sealed");
    let mut seeds = Vec::new();
    for one in samples() {
        let (algorithm, usage, key) = (one.algorithm, one.usage, one.id);
        let scheme = scheme(algorithm);
        let sign = |purpose, sealed| {
            (Request::Sign { key, purpose, scheme, message: &message, sealed }, false)
        };
        for role in [1, 2] {
            let (tls, along) = (sign(Purpose::Tls13, b""), sign(Purpose::Tls13, &one.sealed));
            let talk = [tls.clone(), along, tls, sign(Purpose::Csr, b"")];
            seeds.push(conversation(role, &talk));
        }
        let label = Label { algorithm, usage, key };
        let made = import_box::seal(&public, label, &one.pkcs8).expect("it is sealed");
        let import = Request::Import {
            algorithm,
            usage,
            key,
            encapsulated: &made.encapsulated,
            sealed: &made.sealed,
        };
        let export = Request::Export { sealed: &one.sealed };
        seeds.push(conversation(
            0,
            &[
                (import, false),
                (export.clone(), true),
                (Request::Deliver { recipient: BASE_POINT, sealed: &one.sealed }, false),
                (Request::Forget { key }, false),
                (Request::Ping, false),
                (export, false),
            ],
        ));
    }
    let [algorithm, usage] = [KeyAlgorithm::P256, KeyAlgorithm::P384].map(|a| (a, KeyUsage::Tls));
    for (algorithm, usage) in [algorithm, usage] {
        seeds.push(conversation(0, &[(Request::Generate { algorithm, usage }, false)]));
    }
    let talk = [
        Request::ImportKey,
        Request::TakeOver { label: b"label", sealed: &account },
        Request::TakeOver { label: b"other", sealed: &account },
        Request::TakeOver { label: b"label", sealed: &secret },
        Request::Export { sealed: &secret },
        Request::Deliver { recipient: BASE_POINT, sealed: &secret },
    ];
    seeds.push(conversation(0, &talk.map(|request| (request, false))));
    // One of everything, and what of it is no request of the role.
    let all = super::super::wire::tests::requests(b"octets", [7; 32]);
    let all: Vec<_> = all.into_iter().map(|request| (request, false)).collect();
    for request in all {
        seeds.extend([0, 1, 2].map(|role| conversation(role, std::slice::from_ref(&request))));
    }
    seeds
}

/// A gate of one process: the vault's side and the worker's.
fn gates() -> (Callee<Mapped>, Caller<Mapped>, Shared) {
    let memory = shared::sealed(GATE).expect("memory to share");
    let (one, other) = descriptors::seqpacket_pair().expect("a pair of sockets");
    let map = || gate::map(&memory, 0).expect("it is mapped");
    (Callee::new(Mapped::new(map(), one)), Caller::new(Mapped::new(map(), other), 2), map())
}

/// First the request half is taken for what a worker has written, whole, then the answer half for
/// what a vault has.
pub(super) fn gate(bytes: &[u8]) {
    let (mut callee, mut caller, memory) = gates();
    let (request, answer) = memory.cells().split_at(bounds::gate::VAULT_GATE_REQUEST / 4);
    shared::copy_in(request, bytes);
    // A word that says that nothing was asked is waited at.
    let asked = request[0].load(Ordering::Relaxed).max(1);
    request[0].store(asked, Ordering::Release);
    let mut frame = vec![0; bounds::VAULT_FRAME + 1];
    let heard = callee.receive(&mut frame).expect("a gate does not hang up");
    if let Some(heard) = frame.get(..heard) {
        assert!(!heard.is_empty() && heard.len() <= bounds::gate::VAULT_GATE_REQUEST - 4 * HEAD);
        let room = Room::new(sealer(), 0);
        let mut desk = Desk::new(&room, Role::Worker, 0);
        if step(&mut desk, Role::Worker, heard, false).is_some() {
            callee.send(desk.out()).expect("an answer to a worker fits its slot");
            assert_eq!(answer[0].load(Ordering::Acquire), asked);
            let told = usize::try_from(answer[1].load(Ordering::Relaxed)).expect("a length");
            assert_eq!(told, desk.out().len());
        }
    }
    // The first question of this caller has the number 1.
    shared::copy_in(answer, &[&[0; 4][..], bytes.get(4..).unwrap_or_default()].concat());
    caller.send(b"a question").expect("nothing is under way");
    answer[0].store(1, Ordering::Release);
    match caller.receive(&mut frame) {
        Ok(len) => {
            assert!(len > 0 && len <= bounds::gate::VAULT_GATE_ANSWER - 4 * HEAD, "{len}");
            drop(Reply::decode(&frame[..len]));
        }
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::InvalidData),
    }
}

pub(super) fn gate_seeds() -> Vec<Vec<u8>> {
    let message = certificate_verify();
    let key = KeyId([7; 32]);
    let (purpose, scheme) = (Purpose::Tls13, Scheme::EcdsaP256Sha256);
    let (none, message) = (&[][..], &message);
    let mut requests = vec![Request::Sign { key, purpose, scheme, message, sealed: none }];
    requests.extend(samples().iter().map(|one| {
        let (key, scheme) = (one.id, self::scheme(one.algorithm));
        Request::Sign { key, purpose, scheme, message, sealed: &one.sealed }
    }));
    let mut seeds = Vec::new();
    for request in requests {
        let mut frame = Vec::new();
        request.encode(1, &mut frame).expect("it fits");
        let len = u32::try_from(frame.len()).expect("a frame is short");
        seeds.push([&1_u32.to_le_bytes()[..], &len.to_le_bytes(), &[0; 4], &frame].concat());
    }
    for len in
        [0, bounds::gate::VAULT_GATE_REQUEST - 4 * HEAD, bounds::gate::VAULT_GATE_REQUEST, 1 << 31]
    {
        let len = u32::try_from(len).expect("a length");
        seeds.push([&u32::MAX.to_le_bytes()[..], &len.to_le_bytes(), &[0; 4], &[3; 40]].concat());
    }
    seeds
}
