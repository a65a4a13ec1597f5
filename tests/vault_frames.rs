//! Frames that are not in the vault's vocabulary: each ends the vault, and costs one restart.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends at its first surprise")]

mod vault_common;

use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;
use std::time::Duration;

use keyward::base::bounds;
use keyward::cert::key::KeyAlgorithm;
use keyward::cert::key::KeyId;
use keyward::cert::key::KeyUsage;
use keyward::os::descriptors;
use keyward::os::shared;
use keyward::os::shared::Shared;
use keyward::vault::purpose::Purpose;
use keyward::vault::scheme::Scheme;
use keyward::vault::status;
use keyward::vault::wire::Reply;
use keyward::vault::wire::Request;
use keyward::vault::wire::VERSION;
use keyward::vault::wire_tickets::Step;
use keyward::vault::wire_tickets::TicketRequest;
use vault_common::House;

fn frame(id: u64, request: &Request<'_>) -> Vec<u8> {
    let mut frame = Vec::new();
    request.encode(id, &mut frame).unwrap();
    frame
}

fn hello(version: u32, channels: usize) -> Request<'static> {
    Request::Hello { version, cache_bytes: 1 << 20, cores: vec![u16::MAX; channels], gates: false }
}

/// The same with gates.
fn hello_with_gates(channels: usize) -> Request<'static> {
    let cores = vec![u16::MAX; channels];
    Request::Hello { version: VERSION, cache_bytes: 1 << 20, cores, gates: true }
}

const GATE: usize = bounds::gate::VAULT_GATE_REQUEST + bounds::gate::VAULT_GATE_ANSWER;

/// The channels of a vault that was greeted: control, worker, work.
struct Greeted {
    control: OwnedFd,
    worker: OwnedFd,
    work: OwnedFd,
}

fn send_hello(control: &OwnedFd, request: &Request<'_>, descriptors: usize) -> Vec<OwnedFd> {
    send_hello_and(control, request, descriptors, None)
}

/// With something more at the end.
fn send_hello_and(
    control: &OwnedFd,
    request: &Request<'_>,
    descriptors: usize,
    more: Option<&OwnedFd>,
) -> Vec<OwnedFd> {
    let pairs: Vec<_> = (0..descriptors).map(|_| descriptors::seqpacket_pair().unwrap()).collect();
    let theirs = pairs.iter().map(|(_, theirs)| theirs);
    let theirs: Vec<_> = theirs.chain(more).map(AsFd::as_fd).collect();
    descriptors::send_with(control.as_fd(), &frame(1, request), &theirs).unwrap();
    pairs.into_iter().map(|(ours, _)| ours).collect()
}

fn greet(control: OwnedFd) -> Greeted {
    let mut channels = send_hello(&control, &hello(VERSION, 2), 2);
    assert!(!welcomed(&control));
    let (work, worker) = (channels.pop().unwrap(), channels.pop().unwrap());
    Greeted { control, worker, work }
}

/// Takes the welcome; whether gates are used.
fn welcomed(control: &OwnedFd) -> bool {
    let mut buffer = vec![0; bounds::VAULT_FRAME];
    let len = descriptors::receive(control.as_fd(), &mut buffer).unwrap();
    match Reply::decode(buffer.get(..len).unwrap()).unwrap() {
        (1, Reply::Welcome { gates, .. }) => gates,
        (_, other) => panic!("no welcome: {other:?}"),
    }
}

/// A worker that owns its gate, as a thief of main would.
struct Gate {
    memory: Shared,
    asked: u32,
}

impl Gate {
    /// Greets the vault; the gate, and what must be held so that the vault is not hung up on.
    fn greet(control: OwnedFd) -> (Self, Vec<OwnedFd>) {
        let memory = shared::sealed(GATE).unwrap();
        let mut held = send_hello_and(&control, &hello_with_gates(2), 2, Some(&memory));
        assert!(welcomed(&control));
        held.push(control);
        (Self { memory: Shared::map(&memory, 0, GATE).unwrap(), asked: 0 }, held)
    }

    /// Asks, with whatever length.
    fn ask(&mut self, frame: &[u8], len: u32) {
        let [word, told, _waiting, slot @ ..] = self.memory.cells() else { panic!("no gate") };
        shared::copy_in(slot, frame);
        told.store(len, Ordering::Relaxed);
        self.asked += 1;
        word.store(self.asked, Ordering::Release);
        shared::wake(word);
    }

    /// Waits for the answer.
    fn answer(&self) -> Vec<u8> {
        let (_, answer) = self.memory.cells().split_at(bounds::gate::VAULT_GATE_REQUEST / 4);
        let [word, told, _waiting, slot @ ..] = answer else { panic!("no gate") };
        vault_common::wait_until(Duration::from_secs(5), || {
            word.load(Ordering::Acquire) == self.asked
        });
        let mut frame = vec![0; usize::try_from(told.load(Ordering::Relaxed)).unwrap()];
        shared::copy_out(slot, &mut frame);
        frame
    }
}

/// Takes what the keeper tells: tag, value, and the descriptor that came along.
fn report(keeper: &OwnedFd) -> (u8, u32, Option<OwnedFd>) {
    let mut buffer = [0; 16];
    let received = descriptors::receive_with(keeper.as_fd(), &mut buffer).unwrap();
    assert_eq!(received.len, 5);
    let value = u32::from_le_bytes(buffer[1..5].try_into().unwrap());
    (buffer[0], value, received.descriptors.into_iter().next())
}

/// Starts a keeper, lets `breach` happen to its vault, and returns the status with which that
/// vault ended after the next one stood.
fn status_after(name: &str, breach: impl FnOnce(OwnedFd) -> Vec<OwnedFd>) -> u32 {
    let house = House::new();
    let (socket, mut child) = vault_common::raw(&house, "vault-keeper");
    descriptors::set_deadline(socket.as_fd(), Duration::from_secs(10)).unwrap();
    let (1, first, Some(control)) = report(&socket) else { panic!("{name}: no vault") };
    // Held until the vault has ended: hanging up would end it as well.
    let held = breach(control);
    let (tag, ended, _) = report(&socket);
    assert_eq!(tag, 2, "{name}: the vault ended by signal {ended}");
    drop(held);
    let (1, second, Some(control)) = report(&socket) else { panic!("{name}: no other vault") };
    assert_ne!(first, second);
    // The next one works.
    drop(greet(control));
    drop(socket);
    assert!(child.wait().unwrap().success(), "{name}");
    ended
}

#[test]
fn a_control_frame_outside_the_vocabulary_ends_the_vault() {
    let ping = || frame(2, &Request::Ping);
    let generate =
        || frame(2, &Request::Generate { algorithm: KeyAlgorithm::P256, usage: KeyUsage::Tls });
    let mut unknown = ping();
    unknown[0] = 99;
    let mut reply = ping();
    reply[0] = 131;
    let mut truncated = generate();
    truncated.pop();
    let mut longer = generate();
    longer.push(0);
    let mut bad_value = generate();
    *bad_value.last_mut().unwrap() = 7;
    let mut lying_length = frame(2, &Request::TakeOver { label: b"label", sealed: b"secret" });
    lying_length[9] = 0xff;
    let sign = frame(
        2,
        &Request::Sign {
            key: KeyId([0; 32]),
            purpose: Purpose::Csr,
            scheme: Scheme::EcdsaP256Sha256,
            message: b"",
            sealed: b"",
        },
    );
    let ticket = TicketRequest::Open { context: [0; 32], ticket: b"" };
    let breaches = [
        ("unknown tag", unknown),
        ("a reply as request", reply),
        ("truncated", truncated),
        ("longer", longer),
        ("bad value", bad_value),
        ("a length beyond the frame", lying_length),
        ("one octet", vec![8]),
        ("oversized", vec![8; bounds::VAULT_FRAME + 1]),
        ("far oversized", vec![8; 2 * bounds::VAULT_FRAME]),
        ("second hello", frame(2, &hello(VERSION, 2))),
        ("the number of an earlier request", frame(1, &Request::Ping)),
        ("a signature on the control channel", sign),
        ("a ticket on the control channel", frame(2, &Request::Tickets(ticket))),
    ];
    for (name, bytes) in breaches {
        let ended = status_after(name, |control| {
            let greeted = greet(control);
            descriptors::send(greeted.control.as_fd(), &bytes).unwrap();
            vec![greeted.control, greeted.worker, greeted.work]
        });
        assert_eq!(ended, u32::from(status::PROTOCOL), "{name}");
    }
}

#[test]
fn a_worker_channel_is_for_handshakes_only() {
    let csr = Request::Sign {
        key: KeyId([0; 32]),
        purpose: Purpose::Csr,
        scheme: Scheme::EcdsaP256Sha256,
        message: b"",
        sealed: b"",
    };
    let generate = Request::Generate { algorithm: KeyAlgorithm::P256, usage: KeyUsage::Tls };
    let take_over = Request::TakeOver { label: b"account", sealed: b"" };
    let account = Request::Sign {
        key: KeyId([0; 32]),
        purpose: Purpose::Account,
        scheme: Scheme::EcdsaP256Sha256,
        message: b"",
        sealed: b"",
    };
    let turn = TicketRequest::Turn { strict: false, step: Step::Look, now: 1, state: b"" };
    let turn = Request::Tickets(turn);
    let adopt = Request::Tickets(TicketRequest::Adopt { state: b"" });
    let busiest = Request::Busiest { skip: 0 };
    let warm = Request::Warm { heat: 1, sealed: b"sealed" };
    for (name, request) in [
        ("csr", csr),
        ("generate", generate),
        ("take over a key", take_over),
        ("a request of an account", account),
        ("turn ticket keys", turn),
        ("adopt ticket keys", adopt),
        ("counts", Request::Signed { desk: 0, from: 0 }),
        ("busiest", busiest),
        ("warm", warm),
    ] {
        let ended = status_after(name, |control| {
            let greeted = greet(control);
            descriptors::send(greeted.worker.as_fd(), &frame(1, &request)).unwrap();
            vec![greeted.control, greeted.worker, greeted.work]
        });
        assert_eq!(ended, u32::from(status::PROTOCOL), "{name}");
        assert_eq!(
            status_after_asking(name, &frame(1, &request), None),
            status::PROTOCOL,
            "{name}"
        );
    }
}

/// As [`status_after`], for a frame that is asked at a gate with its own length or with another.
fn status_after_asking(name: &str, frame: &[u8], len: Option<u32>) -> u8 {
    let ended = status_after(name, |control| {
        let (mut gate, held) = Gate::greet(control);
        gate.ask(frame, len.unwrap_or_else(|| u32::try_from(frame.len()).unwrap()));
        held
    });
    u8::try_from(ended).unwrap()
}

#[test]
fn a_frame_outside_the_vocabulary_ends_the_vault_at_a_gate_as_well() {
    let sign = |id| {
        let (purpose, scheme) = (Purpose::Tls13, Scheme::EcdsaP256Sha256);
        let (key, message) = (KeyId([0; 32]), b"message");
        frame(id, &Request::Sign { key, purpose, scheme, message, sealed: b"" })
    };
    let sign_len = u32::try_from(sign(1).len()).unwrap();
    let mut unknown = sign(1);
    unknown[0] = 99;
    let mut lying_length = sign(1);
    lying_length[44] = 0xff;
    let slot = u32::try_from(bounds::gate::VAULT_GATE_REQUEST - 12).unwrap();
    for (name, bytes, len) in [
        ("unknown tag", unknown, None),
        ("a length beyond the frame", lying_length, None),
        ("truncated", sign(1), Some(sign_len - 1)),
        ("longer", sign(1), Some(sign_len + 1)),
        ("nothing", sign(1), Some(0)),
        ("all of the slot", sign(1), Some(slot)),
        ("more than the slot", sign(1), Some(slot + 1)),
        ("more than a frame", sign(1), Some(u32::try_from(bounds::VAULT_FRAME).unwrap() + 1)),
        ("more than there is", sign(1), Some(u32::MAX)),
        ("number nought", sign(0), None),
        ("hello", frame(1, &hello(VERSION, 2)), None),
    ] {
        assert_eq!(status_after_asking(name, &bytes, len), status::PROTOCOL, "{name}");
    }
}

#[test]
fn a_gate_answers_what_is_asked_and_numbers_must_grow() {
    let (purpose, scheme) = (Purpose::Tls13, Scheme::EcdsaP256Sha256);
    let sign = |id, sealed: &[u8]| {
        let (key, message) = (KeyId([0; 32]), &[]);
        frame(id, &Request::Sign { key, purpose, scheme, message, sealed })
    };
    let ended = status_after("reordered at a gate", |control| {
        let (mut gate, held) = Gate::greet(control);
        for id in [5, 6] {
            // The longest request that fits: refused, but heard.
            let longest = sign(id, &vec![1; bounds::gate::VAULT_GATE_REQUEST - 12 - 48]);
            gate.ask(&longest, u32::try_from(longest.len()).unwrap());
            let answer = gate.answer();
            let (answered, reply) = Reply::decode(&answer).unwrap();
            assert_eq!(answered, id);
            assert!(matches!(reply, Reply::Refused { .. }), "{reply:?}");
        }
        let again = sign(6, b"sealed");
        gate.ask(&again, u32::try_from(again.len()).unwrap());
        held
    });
    assert_eq!(ended, u32::from(status::PROTOCOL));
}

#[test]
fn memory_for_gates_is_sealed_and_of_the_right_size_or_the_vault_ends() {
    let open = || {
        let memory = nix::sys::memfd::memfd_create(c"open", nix::sys::memfd::MFdFlags::empty());
        let memory = memory.unwrap();
        nix::unistd::ftruncate(&memory, i64::try_from(GATE).unwrap()).unwrap();
        memory
    };
    for (name, memory) in [
        ("unsealed", Some(open())),
        ("too small", Some(shared::sealed(GATE - 4096).unwrap())),
        ("too large", Some(shared::sealed(2 * GATE).unwrap())),
        ("a socket", Some(descriptors::seqpacket_pair().unwrap().0)),
        ("none", None),
    ] {
        let ended = status_after(name, |control| {
            let request = hello_with_gates(2);
            let mut held = send_hello_and(&control, &request, 2, memory.as_ref());
            held.push(control);
            held
        });
        assert_eq!(ended, u32::from(status::PROTOCOL), "{name}");
    }
}

#[test]
fn numbers_that_do_not_grow_end_the_vault() {
    let ended = status_after("reordered", |control| {
        let greeted = greet(control);
        for id in [5, 4] {
            descriptors::send(greeted.control.as_fd(), &frame(id, &Request::Ping)).unwrap();
        }
        vec![greeted.control, greeted.worker, greeted.work]
    });
    assert_eq!(ended, u32::from(status::PROTOCOL));
}

#[test]
fn the_first_frame_is_a_hello_of_this_version_with_its_channels() {
    let first = |control: OwnedFd, bytes: &[u8]| {
        descriptors::send(control.as_fd(), bytes).unwrap();
        vec![control]
    };
    let greeted = |control: OwnedFd, request: Request<'_>, channels: usize| {
        let mut held = send_hello(&control, &request, channels);
        held.push(control);
        held
    };
    for (name, ended) in [
        ("ping", status_after("ping", |control| first(control, &frame(1, &Request::Ping)))),
        ("nonsense", status_after("nonsense", |control| first(control, b"nonsense"))),
        ("version", status_after("version", |control| greeted(control, hello(2, 1), 1))),
        ("no channel", status_after("none", |control| greeted(control, hello(VERSION, 0), 0))),
        ("too few", status_after("few", |control| greeted(control, hello(VERSION, 3), 2))),
        ("too many", status_after("many", |control| greeted(control, hello(VERSION, 2), 3))),
        (
            "more than there may be",
            status_after("most", |control| greeted(control, hello(VERSION, 200), 200)),
        ),
    ] {
        assert_eq!(ended, u32::from(status::PROTOCOL), "{name}");
    }
}

#[test]
fn hanging_up_ends_the_vault_in_order() {
    let ended = status_after("hung up", |control| {
        drop(greet(control));
        Vec::new()
    });
    assert_eq!(ended, u32::from(status::DONE));
}
