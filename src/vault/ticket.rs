//! A session ticket: how one is sealed and opened, whoever holds the key.
//!
//! `name[16] salt[16] ciphertext tag[16]`: the name says which key, and is compared before anything
//! is decrypted. AES-256-GCM runs under a key of its own for every ticket, derived from the salt,
//! so that no number of tickets wears a key out. Name, salt and the [`Context`] are authenticated:
//! a ticket opens only where it was made for. Which keys live, and how long, is the ratchet's
//! affair.

use ring::aead;
use ring::hmac;
use zeroize::Zeroize;
use zeroize::Zeroizing;

use crate::base::bounds::TICKET_BYTES;
use crate::base::tls;
use crate::os::wiped::Wiped;

/// Octets of a key's name.
pub const NAME: usize = 16;
/// Octets of a key.
pub const KEY: usize = 32;

const SALT: usize = 16;
const TAG: usize = 16;
/// What a ticket has beside the session.
const OVERHEAD: usize = NAME + SALT + TAG;

/// What a ticket is bound to, as a digest: the certificate that vouched for the session, and what
/// the client had to prove.
pub type Context = [u8; 32];

/// A key as it travels once, from the vault to main; never written anywhere.
pub struct RawTicketKey {
    /// Says which key a ticket was sealed with. No secret: it stands at the head of every ticket.
    pub name: [u8; NAME],
    /// `None` where only the vault has it.
    pub key: Option<Zeroizing<[u8; KEY]>>,
}

impl std::fmt::Debug for RawTicketKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RawTicketKey")
            .field("revealed", &self.key.is_some())
            .finish_non_exhaustive()
    }
}

/// A key that seals and opens tickets.
pub struct TicketKey {
    name: [u8; NAME],
    key: Wiped<hmac::Key>,
}

const _: () = assert!(Wiped::<hmac::Key>::FITS_A_SLOT, "a ticket key lies in secret memory");

impl std::fmt::Debug for TicketKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TicketKey(..)")
    }
}

impl TicketKey {
    /// A key by its name and octets.
    pub fn new(name: [u8; NAME], octets: &[u8; KEY]) -> Self {
        Self { name, key: Wiped::new(hmac::Key::new(hmac::HMAC_SHA256, octets)) }
    }

    /// Its name.
    pub const fn name(&self) -> &[u8; NAME] {
        &self.name
    }

    /// A ticket for `session`; `None` when it would be too long, or there is no randomness.
    pub fn seal(&self, context: &Context, session: &[u8]) -> Option<Vec<u8>> {
        let len = session.len().checked_add(OVERHEAD).filter(|len| *len <= TICKET_BYTES)?;
        let mut salt = [0; SALT];
        tls::fill(&mut salt)?;
        let mut ticket = Vec::with_capacity(len);
        ticket.extend_from_slice(&self.name);
        ticket.extend_from_slice(&salt);
        ticket.extend_from_slice(session);
        let key = self.key_of(&salt)?;
        let (head, body) = ticket.split_at_mut(NAME + SALT);
        let aad = aad(head, context);
        let tag = key.seal_in_place_separate_tag(nonce(), aad, body).ok();
        let Some(tag) = tag else {
            ticket.zeroize();
            return None;
        };
        ticket.extend_from_slice(tag.as_ref());
        Some(ticket)
    }

    /// The session in `ticket`; `None` when it was sealed with another key, for another context,
    /// or not by us.
    pub fn open(&self, context: &Context, ticket: &[u8]) -> Option<Vec<u8>> {
        if ticket.len() > TICKET_BYTES || name_of(ticket)? != self.name {
            return None;
        }
        let (head, sealed) = ticket.split_at_checked(NAME + SALT)?;
        let salt = head.last_chunk::<SALT>()?;
        let key = self.key_of(salt)?;
        let mut body = sealed.to_vec();
        let len = key.open_in_place(nonce(), aad(head, context), &mut body).ok()?.len();
        body.truncate(len);
        Some(body)
    }

    fn key_of(&self, salt: &[u8; SALT]) -> Option<Wiped<aead::LessSafeKey>> {
        let mut octets = Zeroizing::new([0; KEY]);
        // What is left of it on the stack opens one ticket only.
        octets.copy_from_slice(hmac::sign(&self.key, salt).as_ref());
        let key = aead::UnboundKey::new(&aead::AES_256_GCM, &*octets).ok()?;
        Some(Wiped::new(aead::LessSafeKey::new(key)))
    }
}

/// The name of the key that `ticket` says it was sealed with.
pub fn name_of(ticket: &[u8]) -> Option<[u8; NAME]> {
    ticket.first_chunk::<NAME>().copied()
}

/// Always the same: no key encrypts twice.
fn nonce() -> aead::Nonce {
    aead::Nonce::assume_unique_for_key([0; aead::NONCE_LEN])
}

/// The first octet is the format's version.
fn aad(head: &[u8], context: &Context) -> aead::Aad<Vec<u8>> {
    aead::Aad::from([&[1], head, context].concat())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(octet: u8) -> TicketKey {
        TicketKey::new([octet; NAME], &[octet; KEY])
    }

    proptest! {
        #[test]
        fn a_ticket_opens_as_it_was_sealed_and_no_changed_bit_does(
            session in proptest::collection::vec(any::<u8>(), 0..300),
            context in any::<Context>(),
            at in any::<proptest::sample::Index>(),
            bit in 0..8_u32,
        ) {
            let mut ticket = key(1).seal(&context, &session).unwrap();
            prop_assert_eq!(ticket.len(), session.len() + OVERHEAD);
            prop_assert_eq!(key(1).open(&context, &ticket), Some(session));
            let at = at.index(ticket.len());
            ticket[at] ^= 1 << bit;
            prop_assert_eq!(key(1).open(&context, &ticket), None);
        }

        #[test]
        fn no_bytes_open_or_make_it_panic(
            tail in proptest::collection::vec(any::<u8>(), 0..1200),
            cut in 0..NAME,
        ) {
            let named = [&[1; NAME][..], &tail].concat();
            prop_assert_eq!(key(1).open(&[0; 32], &named), None);
            prop_assert_eq!(key(1).open(&[0; 32], &named[..cut]), None);
        }
    }

    #[test]
    fn a_ticket_opens_with_its_key_and_in_its_context_only() {
        let ticket = key(1).seal(&[5; 32], b"session").unwrap();
        assert_eq!(name_of(&ticket), Some([1; NAME]));
        assert_eq!(key(1).open(&[6; 32], &ticket), None);
        assert_eq!(key(2).open(&[5; 32], &ticket), None);
        // The same name with other octets, as nobody but an attacker makes it.
        assert_eq!(TicketKey::new([1; NAME], &[2; KEY]).open(&[5; 32], &ticket), None);
        assert_eq!(key(1).open(&[5; 32], &ticket).unwrap(), b"session");
    }

    #[test]
    fn two_tickets_for_one_session_have_nothing_but_the_name_in_common() {
        let [one, two] = [(); 2].map(|()| key(1).seal(&[0; 32], &[7; 64]).unwrap());
        assert_eq!(one[..NAME], two[..NAME]);
        assert!(one[NAME..].iter().zip(&two[NAME..]).filter(|(a, b)| a == b).count() < 20);
    }

    #[test]
    fn a_session_that_is_too_long_gets_no_ticket() {
        let most = vec![0; TICKET_BYTES - OVERHEAD];
        assert!(key(1).seal(&[0; 32], &most).is_some());
        assert_eq!(key(1).seal(&[0; 32], &[most, vec![0]].concat()), None);
    }
}
