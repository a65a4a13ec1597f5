//! Signatures that are wanted at the same time are asked for together.
//!
//! To cross over to the vault costs as much as a good half of a P-256 signature (`gate`
//! says for what). rustls asks for a signature in the middle of a call and wants it
//! before it returns; so a handshake is polled on a stack of its own ([`fibre`]), stops there with
//! its question put down, and goes to the end of the queue of what its thread has to do. All other
//! handshakes that are ready put their questions beside it. The first one that is polled again
//! asks all of them at once, and the others find their answers; so does the one that puts down the
//! last question that a frame holds. Nobody waits for a clock: where one handshake alone is ready it
//! asks at once, alone.
//!
//! The thread stands still for [`bounds::gate::VAULT_TOGETHER`] signatures at most, which is what it
//! would do for the same handshakes one after the other. Only keys whose signatures are quick are
//! asked for like this: for RSA and P-384 the crossing is a small part.
//!
//! What it takes to ask for several is the time of all of them: who measures what each poll takes
//! learns from [`settled`] what of it to charge whom.
//!
//! What finds no signature, because its key is not open or the vault refuses, is asked again
//! alone. When the vault dies or is late, all of them fail as one would.

use std::cell::Cell;
use std::cell::RefCell;
use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;

use super::client::Vault;
use super::error::VaultError;
use super::purpose::Purpose;
use super::scheme::Scheme;
use super::wire::Reply;
use super::wire::Request;
use super::wire_several::Question;
use super::wire_several::Questions;
use crate::base::bounds;
use crate::cert::key::KeyHandle;
use crate::cert::key::KeyId;
use crate::os::fibre;
use crate::os::fibre::OnFibre;
use crate::os::fibre::Resumed;

/// A handshake that may stop for others to ask with it; see [`together`].
pub type Together<F> = OnFibre<F>;

/// Polls `handshake` so that the signature it needs is asked for together with those that other
/// handshakes of the same thread need at the same time.
pub const fn together<F>(handshake: F) -> Together<F>
where
    F: Future + 'static,
    F::Output: 'static,
{
    OnFibre::new(handshake)
}

/// How often this thread asked for several signatures at once, and for how many.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Asked {
    /// Frames.
    pub times: u64,
    /// Signatures that were asked for in them.
    pub signatures: u64,
}

/// What this thread asked together.
pub fn asked() -> Asked {
    QUEUE.with_borrow(|queue| queue.asked)
}

thread_local! {
    static QUEUE: RefCell<Queue> = RefCell::new(Queue::default());
    static ACCOUNT: Cell<Account> = const { Cell::new(Account::EVEN) };
}

/// What a poll did for others, and others for it.
#[derive(Clone, Copy, Debug)]
struct Account {
    /// Spent to ask for several, its own signature among them.
    lent: Duration,
    /// Its share of what was spent to ask for several, by whomever.
    owed: Duration,
}

impl Account {
    const EVEN: Self = Self { lent: Duration::ZERO, owed: Duration::ZERO };
}

/// What of `time`, which the last poll of a handshake on this thread took, was for that handshake:
/// without what it spent to ask for others, and with what others spent to ask for it. To be asked
/// after each poll.
pub fn settled(time: Duration) -> Duration {
    let Account { lent, owed } = ACCOUNT.replace(Account::EVEN);
    time.saturating_sub(lent).saturating_add(owed)
}

/// What was put down by the handshakes of a thread.
#[derive(Debug, Default)]
struct Queue {
    places: [Place; bounds::gate::VAULT_PLACES],
    /// The questions of one frame, while they are written.
    fields: Vec<u8>,
    asked: Asked,
}

#[derive(Debug)]
struct Place {
    state: State,
    /// Of which vault something is asked.
    instance: u64,
    key: KeyId,
    purpose: Purpose,
    scheme: Scheme,
    message: Octets<{ bounds::gate::VAULT_MESSAGE }>,
    signature: Octets<{ bounds::gate::VAULT_SIGNATURE }>,
    /// Of the time that it took to ask for this and others; `None` until that was spent.
    share: Option<Duration>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    Free,
    /// Nobody has asked yet.
    Waiting,
    Signed,
    /// To be asked again by itself.
    Alone,
    /// The vault was late.
    Late,
    /// There is no vault.
    Gone,
}

/// Some octets, up to a limit.
#[derive(Debug)]
struct Octets<const N: usize> {
    octets: [u8; N],
    len: usize,
}

impl<const N: usize> Octets<N> {
    fn get(&self) -> &[u8] {
        self.octets.get(..self.len).unwrap_or_default()
    }

    /// `false` when they are too many.
    fn set(&mut self, octets: &[u8]) -> bool {
        let Some(place) = self.octets.get_mut(..octets.len()) else { return false };
        place.copy_from_slice(octets);
        self.len = octets.len();
        true
    }
}

impl Default for Place {
    fn default() -> Self {
        Self {
            state: State::Free,
            instance: 0,
            key: KeyId([0; 32]),
            purpose: Purpose::Tls13,
            scheme: Scheme::EcdsaP256Sha256,
            message: Octets { octets: [0; bounds::gate::VAULT_MESSAGE], len: 0 },
            signature: Octets { octets: [0; bounds::gate::VAULT_SIGNATURE], len: 0 },
            share: None,
        }
    }
}

/// Signs for a handshake together with others that stop meanwhile; `None` when it is to be asked
/// for alone.
pub(super) fn sign(
    vault: &Vault,
    key: &KeyHandle,
    purpose: Purpose,
    scheme: Scheme,
    message: &[u8],
) -> Option<Result<Vec<u8>, VaultError>> {
    if scheme != Scheme::EcdsaP256Sha256 || !purpose.is_for_workers() || !fibre::can_stop() {
        return None;
    }
    let question = Question { key: key.id, purpose, scheme, message };
    let (place, waiting) = put_down(vault, question)?;
    let full = waiting == bounds::gate::VAULT_TOGETHER;
    let given_up = !full && fibre::stop()? == Resumed::GivenUp;
    if !given_up && state(place) == State::Waiting {
        ask(vault);
    }
    QUEUE.with_borrow_mut(|queue| {
        let place = queue.places.get_mut(place)?;
        if let (Some(share), false) = (place.share, given_up) {
            let Account { lent, owed } = ACCOUNT.get();
            ACCOUNT.set(Account { lent, owed: owed.saturating_add(share) });
        }
        match std::mem::replace(&mut place.state, State::Free) {
            _ if given_up => Some(Err(VaultError::Gone)),
            State::Signed => Some(Ok(place.signature.get().to_vec())),
            State::Late => Some(Err(VaultError::Late)),
            State::Gone => Some(Err(VaultError::Gone)),
            State::Free | State::Waiting | State::Alone => None,
        }
    })
}

fn state(place: usize) -> State {
    QUEUE.with_borrow(|queue| queue.places.get(place).map_or(State::Free, |place| place.state))
}

/// Puts a question down; where, and how many questions to this vault wait now.
fn put_down(vault: &Vault, question: Question<'_>) -> Option<(usize, usize)> {
    QUEUE.with_borrow_mut(|queue| {
        let at = queue.places.iter().position(|place| place.state == State::Free)?;
        let place = queue.places.get_mut(at)?;
        if !place.message.set(question.message) {
            return None;
        }
        let instance = vault.link().instance;
        place.instance = instance;
        (place.key, place.purpose, place.scheme) =
            (question.key, question.purpose, question.scheme);
        (place.state, place.share) = (State::Waiting, None);
        Some((at, queue.waiting(instance)))
    })
}

/// Asks for all that waits for this vault.
fn ask(vault: &Vault) {
    QUEUE.with_borrow_mut(|queue| queue.ask(vault));
}

impl Place {
    fn waits_for(&self, instance: u64) -> bool {
        self.state == State::Waiting && self.instance == instance
    }
}

impl Queue {
    fn waiting(&self, instance: u64) -> usize {
        self.places.iter().filter(|place| place.waits_for(instance)).count()
    }

    fn ask(&mut self, vault: &Vault) {
        let instance = vault.link().instance;
        let wanted = |place: &Place| place.waits_for(instance);
        self.fields.clear();
        let mut count = 0;
        for place in self.places.iter().filter(|place| wanted(place)) {
            let Place { key, purpose, scheme, ref message, .. } = *place;
            Question { key, purpose, scheme, message: message.get() }.write(&mut self.fields);
            count += 1;
        }
        // One alone needs no other form.
        let failed = match count {
            0 | 1 => State::Alone,
            _ => {
                let begun = Instant::now();
                let failed = self.ask_for(count, vault);
                self.share(begun.elapsed(), count, instance);
                failed
            }
        };
        for place in self.places.iter_mut().filter(|place| wanted(place)) {
            place.state = failed;
        }
    }

    /// Asks for `count` signatures, whose questions are written; what becomes of those that were
    /// not made.
    fn ask_for(&mut self, count: usize, vault: &Vault) -> State {
        let instance = vault.link().instance;
        let Self { places, fields, asked } = self;
        asked.times = asked.times.saturating_add(1);
        asked.signatures =
            asked.signatures.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
        let questions = Questions::of(count, fields);
        let places = RefCell::new(places);
        let answered = vault.on_nearest(|line| {
            line.ask(&Request::Several(questions), |reply| {
                let Reply::Several(answers) = reply else {
                    return Err(VaultError::Unexpected);
                };
                let mut places = places.borrow_mut();
                let waiting = places.iter_mut().filter(|place| place.waits_for(instance));
                for (place, signature) in waiting.zip(answers.each()) {
                    let signed = !signature.is_empty() && place.signature.set(signature);
                    place.state = if signed { State::Signed } else { State::Alone };
                }
                Ok(())
            })
        });
        match answered {
            Ok(()) => State::Alone,
            Err(VaultError::Late) => State::Late,
            Err(_) => State::Gone,
        }
    }

    /// Notes that `time` was spent for `count` of this vault's questions alike.
    fn share(&mut self, time: Duration, count: usize, instance: u64) {
        let share = time / u32::try_from(count).unwrap_or(u32::MAX);
        let fresh = |place: &&mut Place| place.instance == instance && place.share.is_none();
        for place in self.places.iter_mut().filter(fresh) {
            place.share = Some(share);
        }
        let Account { lent, owed } = ACCOUNT.get();
        ACCOUNT.set(Account { lent: lent.saturating_add(time), owed });
    }
}
