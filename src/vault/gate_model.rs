//! Every interleaving of the two sides of a call gate, as far as loom tells them apart.
//!
//! The code under test is that of `gate.rs`; only the memory is loom's. The kernel's futex is
//! modelled as what it guarantees: the comparison and the falling asleep are one step. Loom finds
//! a lost wake-up as a deadlock, because in the model nobody else wakes a sleeper.

use std::io;
use std::time::Duration;

use loom::sync::Arc;
use loom::sync::Condvar;
use loom::sync::Mutex;
use loom::sync::atomic::AtomicBool;
use loom::sync::atomic::AtomicU32;
use loom::sync::atomic::Ordering;
use loom::sync::atomic::fence;

use super::gate::Callee;
use super::gate::Caller;
use super::gate::Memory;
use super::gate::Slot;

/// One slot with its word. Its content is one number written twice, so that halves of two
/// contents are seen.
struct Half {
    word: AtomicU32,
    waiting: AtomicBool,
    content: [AtomicU32; 2],
    sleeping: Condvar,
}

impl Half {
    fn new() -> Self {
        let content = [AtomicU32::new(0), AtomicU32::new(0)];
        let (word, waiting) = (AtomicU32::new(0), AtomicBool::new(false));
        Self { word, waiting, content, sleeping: Condvar::new() }
    }
}

struct Model {
    request: Half,
    answer: Half,
    kernel: Mutex<()>,
    /// Waiting for an answer ends by its limit, at any moment, instead of going on for ever.
    limited: bool,
    dead: AtomicBool,
}

#[derive(Clone)]
struct Handle(Arc<Model>);

impl Handle {
    fn new(limited: bool) -> Self {
        let (request, answer) = (Half::new(), Half::new());
        let (kernel, dead) = (Mutex::new(()), AtomicBool::new(false));
        Self(Arc::new(Model { request, answer, kernel, limited, dead }))
    }

    fn half(&self, slot: Slot) -> &Half {
        match slot {
            Slot::Request => &self.0.request,
            Slot::Answer => &self.0.answer,
        }
    }
}

impl Memory for Handle {
    fn word(&self, slot: Slot) -> u32 {
        self.half(slot).word.load(Ordering::Acquire)
    }

    fn set_word(&self, slot: Slot, value: u32) {
        self.half(slot).word.store(value, Ordering::Release);
    }

    fn set_waiting(&self, slot: Slot, waiting: bool) {
        self.half(slot).waiting.store(waiting, Ordering::Relaxed);
        if waiting {
            fence(Ordering::SeqCst);
        }
    }

    fn is_waiting(&self, slot: Slot) -> bool {
        fence(Ordering::SeqCst);
        self.half(slot).waiting.load(Ordering::Relaxed)
    }

    fn wait(&self, slot: Slot, value: u32, _limit: Option<Duration>) -> bool {
        let kernel = self.0.kernel.lock().unwrap();
        if self.half(slot).word.load(Ordering::Acquire) != value {
            return true;
        }
        if self.0.limited && slot == Slot::Answer {
            drop(kernel);
            loom::thread::yield_now();
            return false;
        }
        drop(self.half(slot).sleeping.wait(kernel).unwrap());
        true
    }

    fn wake(&self, slot: Slot) {
        let _kernel = self.0.kernel.lock().unwrap();
        self.half(slot).sleeping.notify_one();
    }

    fn fill(&self, slot: Slot, bytes: &[u8]) -> bool {
        for cell in &self.half(slot).content {
            cell.store(u32::from(bytes[0]), Ordering::Relaxed);
        }
        true
    }

    fn copy(&self, slot: Slot, bytes: &mut [u8]) -> Option<usize> {
        let [one, other] = &self.half(slot).content;
        let (one, other) = (one.load(Ordering::Relaxed), other.load(Ordering::Relaxed));
        assert_eq!(one, other, "half of one content and half of another");
        bytes[0] = u8::try_from(one).unwrap();
        Some(1)
    }

    fn peer_gone(&self) -> bool {
        self.0.dead.load(Ordering::Acquire)
    }
}

/// The question that ends a vault's thread.
const END: u8 = 0;

/// What the vault answers.
const fn answer_to(question: u8) -> u8 {
    question | 0x80
}

fn vault(handle: Handle) {
    let mut callee = Callee::new(handle);
    let mut newest = END;
    loop {
        let mut frame = [0];
        assert_eq!(callee.next(&mut frame), Some(1));
        let [question] = frame;
        assert!(question == END || question > newest, "{question} after {newest}");
        newest = question;
        callee.answer(&[answer_to(question)]);
        if question == END {
            return;
        }
    }
}

fn asked(caller: &mut Caller<Handle>, question: u8) -> io::Result<u8> {
    caller.ask(&[question])?;
    let mut frame = [0];
    caller.take(&mut frame).map(|_| frame[0])
}

fn explore(scene: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    // The scenes are small; more than three preemptions show nothing new and take minutes.
    builder.preemption_bound = Some(3);
    builder.check(scene);
}

#[test]
fn no_wake_up_is_lost_and_every_answer_is_to_its_question() {
    explore(|| {
        let handle = Handle::new(false);
        let thread = loom::thread::spawn({
            let handle = handle.clone();
            move || vault(handle)
        });
        let mut caller = Caller::new(handle, 100);
        for question in [1, 2, END] {
            assert_eq!(asked(&mut caller, question).unwrap(), answer_to(question));
        }
        thread.join().unwrap();
    });
}

#[test]
fn a_question_that_was_given_up_is_neither_torn_nor_answered_to_the_next() {
    explore(|| {
        let handle = Handle::new(true);
        let thread = loom::thread::spawn({
            let handle = handle.clone();
            move || vault(handle)
        });
        let mut caller = Caller::new(handle, 1);
        for question in [1, 2, END] {
            // What could not be asked yet is asked again; what was asked may be given up.
            loop {
                match caller.ask(&[question]) {
                    Ok(()) => break,
                    Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
                }
            }
            let mut frame = [0];
            match caller.take(&mut frame) {
                Ok(_) => assert_eq!(frame[0], answer_to(question)),
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            }
        }
        thread.join().unwrap();
    });
}

#[test]
fn a_vault_that_dies_at_any_step_is_noticed_and_the_next_one_asked() {
    for step in 0..4 {
        explore(move || {
            let handle = Handle::new(true);
            let first = loom::thread::spawn({
                let handle = handle.clone();
                move || {
                    dies_at(step, &handle);
                    handle.0.dead.store(true, Ordering::Release);
                }
            });
            let mut caller = Caller::new(handle, 5);
            match asked(&mut caller, 1) {
                Ok(answer) => assert!(answer == answer_to(1) && step == 3, "{answer} at {step}"),
                Err(error) => {
                    let kinds = [io::ErrorKind::BrokenPipe, io::ErrorKind::WouldBlock];
                    assert!(kinds.contains(&error.kind()), "{error}");
                    // Given up in time is right while it lives; once it is dead, it is noticed.
                    first.join().unwrap();
                    let again = caller.ask(&[2]).map_err(|error| error.kind());
                    let expected = if step == 3 { Ok(()) } else { Err(io::ErrorKind::BrokenPipe) };
                    assert_eq!(again, expected);
                }
            }
            let handle = Handle::new(false);
            let next = loom::thread::spawn({
                let handle = handle.clone();
                move || vault(handle)
            });
            let mut caller = Caller::new(handle, 100);
            assert_eq!(asked(&mut caller, 3).unwrap(), answer_to(3));
            assert_eq!(asked(&mut caller, END).unwrap(), answer_to(END));
            next.join().unwrap();
        });
    }
}

/// The vault's side up to a step: nothing, the question read, the answer written, the word set.
/// It never comes to the wake-up.
fn dies_at(step: usize, handle: &Handle) {
    if step == 0 {
        return;
    }
    let mut callee = Callee::new(handle.clone());
    let mut frame = [0];
    callee.next(&mut frame);
    if step == 1 {
        return;
    }
    handle.fill(Slot::Answer, &[answer_to(frame[0])]);
    if step == 2 {
        return;
    }
    handle.set_word(Slot::Answer, handle.word(Slot::Request));
}
