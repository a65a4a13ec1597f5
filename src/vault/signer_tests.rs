//! How often the vault is asked for a signature.

use std::io;
use std::sync::Mutex;

use super::*;
use crate::base::Secret;
use crate::cert::key::KeyId;
use crate::cert::key::SealedKey;
use crate::os::descriptors;
use crate::vault::channel::Channel;
use crate::vault::channel::Transport;
use crate::vault::desk::Along;
use crate::vault::desk::Desk;
use crate::vault::desk::Role;
use crate::vault::desk::Room;
use crate::vault::greet::Greeting;
use crate::vault::keys;
use crate::vault::keys::OpenKey;
use crate::vault::seal::Content;
use crate::vault::seal::MASTER_KEY;
use crate::vault::seal::Sealer;

const MESSAGE: &[u8; 130] = &{
    let mut message = [b' '; 130];
    let context = b"TLS 1.3, server CertificateVerify\0";
    let mut at = 0;
    while at < context.len() {
        message[64 + at] = context[at];
        at += 1;
    }
    message
};

/// A desk on the other side of no socket.
struct Across {
    desk: Desk<'static>,
    asked: Arc<Mutex<usize>>,
}

impl std::fmt::Debug for Across {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Across(..)")
    }
}

impl Transport for Across {
    fn send(&mut self, frame: &[u8]) -> io::Result<()> {
        *self.asked.lock().unwrap() += 1;
        self.desk.answer(frame, Along::Nothing).map_err(io::Error::other)
    }

    fn receive(&mut self, frame: &mut [u8]) -> io::Result<usize> {
        let out = self.desk.out();
        frame[..out.len()].copy_from_slice(out);
        Ok(out.len())
    }
}

struct World {
    vault: Vault,
    room: &'static Room,
    asked: Arc<Mutex<usize>>,
    sealer: Sealer,
}

impl World {
    fn new() -> Self {
        let sealer = || Sealer::new(Secret::new([0x42; MASTER_KEY])).unwrap();
        let room = Room::new(sealer(), 1 << 20).counting(1);
        let room: &'static Room = Box::leak(Box::new(room));
        let asked = Arc::new(Mutex::new(0));
        let across = Across { desk: Desk::new(room, Role::Work, 0), asked: Arc::clone(&asked) };
        let vault = Vault::of_channels(Greeting {
            channels: vec![Channel::new(Box::new(across), 0)],
            control: descriptors::seqpacket_pair().unwrap().0,
            pid: 1,
            created: false,
            walls: Vec::new(),
            gates: false,
            masters: Vec::new(),
        });
        Self { vault, room, asked, sealer: sealer() }
    }

    fn key(&self) -> KeyHandle {
        let (algorithm, usage) = (KeyAlgorithm::P256, KeyUsage::Tls);
        let pkcs8 = keys::generate(algorithm).unwrap();
        let (open, spki) = OpenKey::from_pkcs8(algorithm, usage, &pkcs8).unwrap();
        let content = Content::Key { usage, algorithm, id: open.id };
        let sealed = SealedKey(self.sealer.seal(content, &pkcs8).unwrap().into());
        KeyHandle { id: open.id, algorithm, usage, spki: spki.into(), sealed }
    }

    /// `key` as a handshake has it; nothing of it is known yet.
    fn signer(&self, key: &KeyHandle) -> Box<dyn Signer> {
        let known = AtomicBool::new(false);
        let purposes = (Purpose::Tls13, Purpose::Tls12);
        let held = Held { vault: self.vault.clone(), key: key.clone(), purposes, known };
        VaultKey(Arc::new(held)).choose_scheme(&[SignatureScheme::ECDSA_NISTP256_SHA256]).unwrap()
    }

    /// How often the vault is asked while `work` is done.
    fn asked(&self, work: impl FnOnce()) -> usize {
        let before = *self.asked.lock().unwrap();
        work();
        *self.asked.lock().unwrap() - before
    }

    /// Keys that were at hand, and that were not, since the vault began.
    fn figures(&self) -> (u64, u64) {
        let figures = self.room.figures();
        (figures.hits, figures.misses)
    }
}

#[test]
fn a_key_that_nobody_asked_for_is_sent_along_and_one_that_was_pushed_out_after_one_question() {
    let world = World::new();
    let (one, other) = (world.key(), world.key());
    let signer = world.signer(&one);
    let sign = || drop(signer.sign(MESSAGE).unwrap());
    assert_eq!(world.asked(sign), 1, "the sealed key comes along");
    assert_eq!(world.figures(), (1, 1));
    assert_eq!(world.asked(sign), 1, "it is open");
    assert_eq!(world.figures(), (2, 1));
    // As if it had been pushed out.
    world.room.forget(&one.id);
    assert_eq!(world.asked(sign), 2, "once to hear that it is not open");
    assert_eq!(world.figures(), (3, 2), "counted once");
    // For the next certificate with the key, the key is not opened again.
    assert_eq!(world.asked(|| drop(world.signer(&one).sign(MESSAGE).unwrap())), 1);
    assert_eq!(world.figures(), (4, 2));

    // What comes along is opened under its own name, and signs for nobody else.
    let mixed = KeyHandle { id: KeyId([7; 32]), ..other.clone() };
    let refused = world.signer(&mixed).sign(MESSAGE).unwrap_err();
    assert!(refused.to_string().contains("another"), "{refused}");
    assert_eq!(world.asked(|| drop(world.signer(&other).sign(MESSAGE).unwrap())), 1);
    assert_eq!(world.figures(), (5, 3), "it had come along before");
    let damaged = KeyHandle { sealed: SealedKey(vec![1; 100].into()), ..world.key() };
    assert!(world.signer(&damaged).sign(MESSAGE).is_err());
}
