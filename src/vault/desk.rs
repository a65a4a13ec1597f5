//! One channel of the vault: takes a request, checks it, answers it.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use ring::rand::SystemRandom;
use zeroize::Zeroize;

use super::account_request::Half;
use super::channel::Transport;
use super::figures;
use super::import_box::Label;
use super::keyring::Found;
use super::keyring::Keyring;
use super::keyring::Last;
use super::keys;
use super::keys::OpenKey;
use super::opening;
use super::opening::Opening;
use super::purpose::NotThis;
use super::refused::Refused;
use super::scheme::Scheme;
use super::seal::Content;
use super::seal::Sealer;
use super::server::status;
use super::tally::Tally;
use super::ticketing::Ticketing;
use super::transfer;
use super::wire::Refusal;
use super::wire::Reply;
use super::wire::Request;
use super::wire::WireError;
use super::wire_several::Answers;
use super::wire_several::Question;
use super::wire_several::Questions;
use super::wire_several::write_answer;
use super::wire_tickets::TicketRequest;
use crate::base::bounds;
use crate::cert::key::KeyAlgorithm;
use crate::cert::key::KeyId;
use crate::cert::key::KeyUsage;
use crate::os::sandbox;

/// What all channels share.
#[derive(Debug)]
pub(super) struct Room {
    sealer: Sealer,
    keyring: Keyring,
    tickets: Ticketing,
    refused: Refused,
    refusals: AtomicU64,
    /// Signatures over handshakes, by the desk that made them.
    tallies: Vec<Tally>,
}

/// What a channel may be used for. A request outside its role is a breach of the protocol.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Role {
    /// Keys and secrets.
    Control,
    /// Handshakes only: the thread at the other end talks to strangers.
    Worker,
    /// Any signature, for whoever has no channel of his own.
    Work,
}

impl Role {
    const fn admits(self, request: &Request<'_>) -> bool {
        match request {
            // The one Hello was read before any desk was opened.
            Request::Hello { .. } => false,
            Request::Sign { purpose, .. } => match self {
                Self::Control => false,
                Self::Worker => purpose.is_for_workers(),
                Self::Work => true,
            },
            // Of handshakes, as it was read.
            Request::Several(_)
            | Request::Tickets(TicketRequest::Seal { .. } | TicketRequest::Open { .. }) => {
                !matches!(self, Self::Control)
            }
            Request::Generate { .. }
            | Request::Forget { .. }
            | Request::TakeOver { .. }
            | Request::ImportKey
            | Request::Reseal(_)
            | Request::ChangeMaster(_)
            | Request::Import { .. }
            | Request::Export { .. }
            | Request::Deliver { .. }
            | Request::Tickets(TicketRequest::Turn { .. } | TicketRequest::Adopt { .. })
            | Request::Signed { .. }
            | Request::Busiest { .. }
            | Request::Warm { .. }
            | Request::Ping => matches!(self, Self::Control),
        }
    }
}

impl Room {
    pub(super) fn new(sealer: Sealer, cache_bytes: u64) -> Self {
        Self {
            sealer,
            keyring: Keyring::new(cache_bytes),
            tickets: Ticketing::default(),
            refused: Refused::default(),
            refusals: AtomicU64::new(0),
            tallies: Vec::new(),
        }
    }

    /// Octets of opened keys that are kept.
    #[cfg(any(test, fuzzing))]
    pub(super) fn bytes_open(&self) -> u64 {
        self.keyring.figures().bytes
    }

    #[cfg(test)]
    pub(super) fn figures(&self) -> super::keyring::Figures {
        self.keyring.figures()
    }

    #[cfg(test)]
    pub(super) fn forget(&self, key: &KeyId) {
        self.keyring.forget(key);
    }

    /// With places to count for so many desks.
    pub(super) fn counting(mut self, desks: usize) -> Self {
        self.tallies = std::iter::repeat_with(Tally::default).take(desks).collect();
        self
    }

    /// Uses both cryptographic libraries once on the calling thread, with a key made for it.
    pub(super) fn rehearse(&self) -> Result<(), keys::CryptoRefused> {
        let pkcs8 = keys::generate(KeyAlgorithm::P384)?;
        let (key, _) = OpenKey::from_pkcs8(KeyAlgorithm::P384, KeyUsage::Tls, &pkcs8)?;
        let random = SystemRandom::new();
        key.sign(Scheme::EcdsaP384Sha384, &random, b"rehearsal", &mut Vec::new())?;
        self.sealer
            .seal(Content::secret(b"rehearsal"), b"rehearsal")
            .map_err(|_| keys::CryptoRefused)
            .map(drop)
    }
}

/// What came along with a frame.
pub(super) enum Along {
    Nothing,
    One(OwnedFd),
    TooMuch,
}

/// Serves one channel.
pub(super) struct Desk<'r> {
    /// Borrowed: a count of owners would be written to by every core at every request.
    room: &'r Room,
    role: Role,
    /// Where this desk counts; none for control.
    tally: Option<&'r Tally>,
    /// Number of the last request: numbers only grow.
    newest: u64,
    last: Last,
    random: SystemRandom,
    signature: Vec<u8>,
    several: Vec<u8>,
    out: Vec<u8>,
    /// With this status the vault ends as soon as it has answered.
    ending: Option<u8>,
}

impl<'r> Desk<'r> {
    pub(super) fn new(room: &'r Room, role: Role, newest: u64) -> Self {
        Self {
            room,
            role,
            tally: None,
            newest,
            last: Last::default(),
            random: SystemRandom::new(),
            signature: Vec::with_capacity(512),
            several: Vec::with_capacity(
                bounds::gate::VAULT_TOGETHER * (bounds::gate::VAULT_SIGNATURE + 2),
            ),
            out: Vec::with_capacity(bounds::VAULT_FRAME),
            ending: None,
        }
    }

    /// Counts as the desk of channel `index`.
    pub(super) fn counting(mut self, index: usize) -> Self {
        self.tally = self.room.tallies.get(index);
        self.last = Last::of_thread(index);
        self
    }

    /// Answers until the peer hangs up. Ends the process on the first frame that is not in the
    /// vocabulary.
    pub(super) fn serve(&mut self, channel: &mut dyn Transport) {
        let mut frame = vec![0; bounds::VAULT_FRAME + 1];
        loop {
            let (len, along) = match self.receive(channel, &mut frame) {
                Ok((0, _)) | Err(_) => return,
                Ok(received) => received,
            };
            let Some(bytes) = frame.get_mut(..len) else { sandbox::exit_now(status::PROTOCOL) };
            if self.answer(bytes, along).is_err() {
                sandbox::exit_now(status::PROTOCOL);
            }
            // Secrets pass through here. A worker's frames hold none, save a session whose ticket
            // is sealed or opened here; its other copy is with the worker.
            if self.role == Role::Control {
                bytes.zeroize();
            }
            if channel.send(&self.out).is_err() {
                return;
            }
            if let Some(status) = self.ending {
                sandbox::exit_now(status);
            }
            if self.role == Role::Control {
                self.out.zeroize();
            }
        }
    }

    /// The last answer.
    #[cfg(any(test, fuzzing))]
    pub(super) fn out(&self) -> &[u8] {
        &self.out
    }

    /// One frame; on the control channel with what came along.
    fn receive(&self, channel: &mut dyn Transport, frame: &mut [u8]) -> io::Result<(usize, Along)> {
        if self.role != Role::Control {
            return channel.receive(frame).map(|len| (len, Along::Nothing));
        }
        let received = channel.receive_with(frame)?;
        let mut along = received.descriptors.into_iter();
        let along = match (along.next(), along.next()) {
            (None, _) => Along::Nothing,
            (Some(one), None) => Along::One(one),
            (Some(_), Some(_)) => Along::TooMuch,
        };
        Ok((received.len, along))
    }

    /// Answers one frame into [`Self::out`]; an error ends the conversation.
    pub(super) fn answer(&mut self, frame: &[u8], along: Along) -> Result<(), WireError> {
        let (id, request) = Request::decode(frame)?;
        if id <= self.newest || !self.role.admits(&request) {
            return Err(WireError::BadField("request"));
        }
        self.newest = id;
        let decided = match (&request, along) {
            (Request::Export { sealed }, Along::One(target)) => {
                transfer::hand_out(&self.room.sealer, sealed, target)
                    .and_then(|()| self.reply(id, &Reply::Done))
            }
            (Request::Export { .. }, _) | (_, Along::One(_) | Along::TooMuch) => {
                return Err(WireError::BadField("descriptor"));
            }
            (request, Along::Nothing) => self.decide(id, request),
        };
        match decided {
            Ok(()) => Ok(()),
            Err((code, text)) => {
                self.room.refusals.fetch_add(1, Ordering::Relaxed);
                let text = text.as_bytes();
                let text = text.get(..bounds::VAULT_TEXT).unwrap_or(text);
                Reply::Refused { code, text }.encode(id, &mut self.out)
            }
        }
    }

    fn decide(&mut self, id: u64, request: &Request<'_>) -> Result<(), (Refusal, String)> {
        let room = self.room;
        match request {
            // Not admitted by any role.
            Request::Hello { .. } => Err((Refusal::Purpose, "a second hello".to_owned())),
            // Answered where its descriptor is.
            Request::Export { .. } => Err((Refusal::Purpose, "nothing to write to".to_owned())),
            Request::Deliver { recipient, sealed } => {
                let delivered = transfer::deliver(&room.sealer, sealed, recipient)?;
                self.reply(id, &Reply::Bytes(&delivered))
            }
            Request::ImportKey => {
                let public = transfer::import_key(&room.sealer)?;
                self.reply(id, &Reply::Bytes(&public))
            }
            Request::Import { algorithm, usage, key, encapsulated, sealed } => {
                let label = Label { algorithm: *algorithm, usage: *usage, key: *key };
                let taken = transfer::take_in(&room.sealer, label, encapsulated, sealed)?;
                room.keyring.insert(taken.key, &mut self.last);
                self.reply(id, &Reply::Generated { spki: &taken.spki, sealed: &taken.sealed })
            }
            Request::Reseal(sealed) => match room.sealer.reseal(sealed).map_err(seal)? {
                Some(anew) => self.reply(id, &Reply::Bytes(&anew)),
                None => self.reply(id, &Reply::Done),
            },
            Request::ChangeMaster(step) => {
                self.ending = Some(step.status());
                self.reply(id, &Reply::Done)
            }
            Request::Generate { algorithm, usage } => self.generate(id, *algorithm, *usage),
            Request::Warm { heat, sealed } => {
                let warmed = self.warm(*heat, sealed)?;
                self.reply(id, &Reply::Warmed(warmed))
            }
            Request::Busiest { skip } => {
                if *skip == 0 {
                    room.keyring.rank();
                }
                let skip = usize::try_from(*skip).unwrap_or(usize::MAX);
                let busiest = room.keyring.busiest(skip, bounds::VAULT_BUSIEST_PAGE);
                self.reply(id, &Reply::Busiest(busiest))
            }
            Request::Sign { key, purpose, scheme, message, sealed } => {
                let Some(found) = self.find(key, sealed)? else {
                    return self.reply(id, &Reply::NeedBlob);
                };
                let question = Question { key: *key, purpose: *purpose, scheme: *scheme, message };
                self.sign(&found, &question)?;
                Reply::Signature(&self.signature).encode(id, &mut self.out).map_err(too_long)
            }
            Request::Several(questions) => self.sign_several(id, *questions),
            Request::Forget { key } => {
                room.keyring.forget(key);
                self.reply(id, &Reply::Done)
            }
            Request::Tickets(request) => {
                let (sealer, random) = (&room.sealer, &self.random);
                room.tickets.answer(sealer, random, id, request, &mut self.out)
            }
            Request::TakeOver { label, sealed } => {
                let taken = transfer::take_over(&room.sealer, label, sealed)?;
                room.keyring.insert(taken.key, &mut self.last);
                self.reply(id, &Reply::Generated { spki: &taken.spki, sealed: &taken.sealed })
            }
            Request::Signed { desk, from } => {
                let tally = room.tallies.get(usize::from(*desk));
                let page = tally.map(|tally| tally.page(usize::from(*from), bounds::TALLY_PAGE));
                let (counts, next) = page.unwrap_or_default();
                let next = next.and_then(|next| u16::try_from(next).ok()).unwrap_or(0);
                self.reply(id, &Reply::Counts { next, counts })
            }
            Request::Ping => {
                let refusals = room.refusals.load(Ordering::Relaxed);
                self.reply(id, &Reply::Figures(figures::numbers(&room.keyring.figures(), refusals)))
            }
        }
    }

    /// The key, opened from what came along if it has to be; `None` when nothing did.
    fn find(&mut self, key: &KeyId, sealed: &[u8]) -> Result<Option<Found>, (Refusal, String)> {
        let keyring = &self.room.keyring;
        if sealed.is_empty() {
            return Ok(keyring.find_open(key, &mut self.last));
        }
        if let Some(found) = keyring.find(key, &mut self.last) {
            return Ok(Some(found));
        }
        self.open(sealed)?;
        let another = || (Refusal::Seal, "the sealed key is another one".to_owned());
        keyring.find_open(key, &mut self.last).map(Some).ok_or_else(another)
    }

    /// Makes one signature, into [`Self::signature`].
    fn sign(&mut self, found: &Found, question: &Question<'_>) -> Result<(), (Refusal, String)> {
        let Question { key, purpose, scheme, message } = question;
        let Some(open) = found.key() else { return Err(crypto(keys::CryptoRefused)) };
        purpose
            .check(key, open.usage, *scheme, message)
            .map_err(|error| (Refusal::Purpose, error.to_string()))?;
        if let Some(half) = purpose.half(key, *scheme, message) {
            // Both are of this vault, and the one that is to follow was made here, so that nobody takes
            // the account away with a key of his own.
            let (Half::OfFormer { next: other } | Half::OfNext { former: other }) = half;
            let found = self.room.keyring.find_open(&other, &mut self.last);
            let usage = found.as_ref().and_then(Found::key).map(|other| other.usage);
            let (former, next) = match half {
                Half::OfFormer { .. } => (Some(open.usage), usage),
                Half::OfNext { .. } => (usage, Some(open.usage)),
            };
            if !former.is_some_and(KeyUsage::is_account) || next != Some(KeyUsage::Account) {
                let told = NotThis::Absent(other).to_string();
                return Err((Refusal::Purpose, told));
            }
        }
        open.sign(*scheme, &self.random, message, &mut self.signature).map_err(crypto)?;
        self.room.keyring.count(open, &self.last);
        if let (Some(tally), true) = (self.tally, purpose.is_handshake()) {
            tally.count(key, 0);
        }
        Ok(())
    }

    /// Makes those of several signatures that can be made; the others are asked for again.
    fn sign_several(&mut self, id: u64, questions: Questions<'_>) -> Result<(), (Refusal, String)> {
        self.several.clear();
        let (mut count, mut made) = (0, 0);
        for question in questions.each() {
            let found = self.room.keyring.find_open(&question.key, &mut self.last);
            let signed = found.is_some_and(|found| self.sign(&found, &question).is_ok());
            let signature = if signed { self.signature.as_slice() } else { &[] };
            write_answer(signature, &mut self.several);
            (count, made) = (count + 1, made + u64::from(signed));
        }
        self.room.keyring.count_together(made, &self.last);
        let answers = Answers::of(count, &self.several);
        Reply::Several(answers).encode(id, &mut self.out).map_err(too_long)
    }

    /// Opens a key ahead of time; `false` when there is no room.
    fn warm(&mut self, heat: u64, sealed: &[u8]) -> Result<bool, (Refusal, String)> {
        let keyring = &self.room.keyring;
        if !keyring.has_room() {
            return Ok(false);
        }
        let opened = self.open(sealed)? == Opening::Done;
        keyring.warm(heat, opened, &self.last);
        Ok(true)
    }

    fn open(&mut self, sealed: &[u8]) -> Result<Opening, (Refusal, String)> {
        let room = self.room;
        opening::open(&room.sealer, &room.keyring, &room.refused, sealed, &mut self.last)
    }

    fn generate(
        &mut self,
        id: u64,
        algorithm: KeyAlgorithm,
        usage: KeyUsage,
    ) -> Result<(), (Refusal, String)> {
        let room = self.room;
        let pkcs8 = keys::generate(algorithm).map_err(crypto)?;
        let (key, spki) = OpenKey::from_pkcs8(algorithm, usage, &pkcs8).map_err(crypto)?;
        let content = Content::Key { usage, algorithm, id: key.id };
        let sealed = room.sealer.seal(content, &pkcs8).map_err(seal)?;
        room.keyring.insert(Arc::new(key), &mut self.last);
        self.reply(id, &Reply::Generated { spki: &spki, sealed: &sealed })
    }

    fn reply(&mut self, id: u64, reply: &Reply<'_>) -> Result<(), (Refusal, String)> {
        reply.encode(id, &mut self.out).map_err(too_long)
    }
}

fn crypto(error: keys::CryptoRefused) -> (Refusal, String) {
    (Refusal::Crypto, error.to_string())
}

fn seal(error: super::seal::SealError) -> (Refusal, String) {
    (Refusal::Seal, error.to_string())
}

fn too_long(error: WireError) -> (Refusal, String) {
    (Refusal::Crypto, error.to_string())
}
