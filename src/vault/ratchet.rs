//! The forward ratchet behind session tickets: a root for each epoch, from which the epoch's ticket
//! key is derived, and the next root.
//!
//! A root is replaced by HKDF over itself and fresh randomness, then wiped: from a later root no
//! earlier key follows, and from an earlier root, as an old disk block may hold it, no later one.
//! Two keys are accepted, that of the epoch and that of the one before. The price of the
//! randomness is that no two machines get to the same keys, which nobody asks for here.
//!
//! A [`State`] is bytes that main keeps, sealed under the master key. It says whether its keys may
//! be revealed to main; one of the other kind is not continued but begun anew. When to step is
//! not decided here: the vault trusts no clock.

use ring::hkdf;
use ring::rand::SecureRandom;
use ring::rand::SystemRandom;
use zeroize::Zeroizing;

use super::ticket::KEY;
use super::ticket::NAME;
use super::ticket::RawTicketKey;
use super::wire_tickets::Step;

/// The format written; the only one read so far.
const FORMAT: u8 = 1;

/// Octets of a root.
const ROOT: usize = 32;

/// The cryptographic library, or the source of randomness, refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Refused;

type Bytes<const N: usize> = Zeroizing<[u8; N]>;

/// Where the ratchet stands. Lives for one request only.
pub(super) struct State {
    /// Whether its keys stay in the vault.
    strict: bool,
    /// Counts the roots; never goes back, save when the state is lost.
    pub(super) epoch: u64,
    /// When the epoch began, in seconds since 1970, as main had it.
    pub(super) since: u64,
    root: Bytes<ROOT>,
    previous: Option<([u8; NAME], Bytes<KEY>)>,
}

impl State {
    /// A state with no past.
    pub(super) fn begin(
        strict: bool,
        epoch: u64,
        now: u64,
        random: &SystemRandom,
    ) -> Result<Self, Refused> {
        let root = fresh(random)?;
        Ok(Self { strict, epoch, since: now, root, previous: None })
    }

    /// Whether it keeps its keys in the vault as `strict` says.
    pub(super) const fn is(&self, strict: bool) -> bool {
        self.strict == strict
    }

    /// What `step` makes of it.
    pub(super) fn step(self, step: Step, now: u64, random: &SystemRandom) -> Result<Self, Refused> {
        match step {
            Step::Look => Ok(self),
            Step::Restamp => Ok(Self { since: now, ..self }),
            Step::Next => {
                let previous = Some(self.derive()?);
                let root = self.next(random)?;
                Ok(Self { epoch: self.epoch.saturating_add(1), since: now, root, previous, ..self })
            }
            Step::Skip => {
                let root = self.next(random)?;
                let epoch = self.epoch.saturating_add(2);
                Ok(Self { epoch, since: now, root, previous: None, ..self })
            }
            Step::Anew => Self::begin(self.strict, self.epoch.saturating_add(1), now, random),
        }
    }

    /// The keys to accept, that of the epoch first. Its octets are there unless they stay here.
    pub(super) fn keys(&self) -> Result<Vec<RawTicketKey>, Refused> {
        let current = self.derive()?;
        let all = [Some(current), self.previous.clone()];
        let raw = |(name, key)| RawTicketKey { name, key: Some(key) };
        Ok(all.into_iter().flatten().map(raw).collect())
    }

    /// As bytes, to be sealed.
    pub(super) fn encode(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(2 + 16 + ROOT + 1 + NAME + KEY));
        bytes.extend([FORMAT, u8::from(self.strict)]);
        bytes.extend(self.epoch.to_le_bytes());
        bytes.extend(self.since.to_le_bytes());
        bytes.extend_from_slice(&*self.root);
        bytes.push(u8::from(self.previous.is_some()));
        if let Some((name, key)) = &self.previous {
            bytes.extend_from_slice(name);
            bytes.extend_from_slice(&**key);
        }
        bytes
    }

    /// From [`State::encode`]; `None` for anything else.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let ([FORMAT, strict], rest) = bytes.split_first_chunk()? else { return None };
        let (epoch, rest) = rest.split_first_chunk()?;
        let (since, rest) = rest.split_first_chunk()?;
        let (root, rest) = rest.split_first_chunk::<ROOT>()?;
        let previous = match rest.split_first()? {
            (0, []) => None,
            (1, rest) => {
                let (name, key) = rest.split_first_chunk::<NAME>()?;
                Some((*name, Zeroizing::new(<[u8; KEY]>::try_from(key).ok()?)))
            }
            _ => return None,
        };
        Some(Self {
            strict: match strict {
                0 => false,
                1 => true,
                _ => return None,
            },
            epoch: u64::from_le_bytes(*epoch),
            since: u64::from_le_bytes(*since),
            root: Zeroizing::new(*root),
            previous,
        })
    }

    /// Name and key of the epoch.
    fn derive(&self) -> Result<([u8; NAME], Bytes<KEY>), Refused> {
        let prk = hkdf::Prk::new_less_safe(hkdf::HKDF_SHA256, &*self.root);
        let epoch = self.epoch.to_le_bytes();
        let (mut name, mut key) = ([0; NAME], Zeroizing::new([0; KEY]));
        fill(&prk, &[b"keyward ticket name", &epoch], &mut name)?;
        fill(&prk, &[b"keyward ticket key", &epoch], &mut *key)?;
        Ok((name, key))
    }

    /// The next root.
    fn next(&self, random: &SystemRandom) -> Result<Bytes<ROOT>, Refused> {
        let salt = fresh::<32>(random)?;
        let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, &*salt).extract(&*self.root);
        let mut root = Zeroizing::new([0; ROOT]);
        fill(&prk, &[b"keyward ticket root"], &mut *root)?;
        Ok(root)
    }
}

fn fresh<const N: usize>(random: &SystemRandom) -> Result<Bytes<N>, Refused> {
    let mut octets = Zeroizing::new([0; N]);
    random.fill(&mut *octets).map_err(|_| Refused)?;
    Ok(octets)
}

struct Length(usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

fn fill(prk: &hkdf::Prk, info: &[&[u8]], out: &mut [u8]) -> Result<(), Refused> {
    let length = Length(out.len());
    prk.expand(info, length).and_then(|okm| okm.fill(out)).map_err(|_| Refused)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn begin() -> State {
        State::begin(false, 7, 1000, &SystemRandom::new()).unwrap()
    }

    fn step(state: &State, step: Step, now: u64) -> State {
        copy(state).step(step, now, &SystemRandom::new()).unwrap()
    }

    fn copy(state: &State) -> State {
        State::decode(&state.encode()).unwrap()
    }

    /// Names and octets of the keys.
    fn keys(state: &State) -> Vec<([u8; NAME], Vec<u8>)> {
        let raw = state.keys().unwrap();
        raw.into_iter().map(|raw| (raw.name, raw.key.unwrap().to_vec())).collect()
    }

    #[test]
    fn the_key_of_an_epoch_is_accepted_in_the_next_one_and_not_later() {
        let first = begin();
        let second = step(&first, Step::Next, 2000);
        let third = step(&second, Step::Next, 3000);
        assert_eq!((second.epoch, second.since, third.epoch), (8, 2000, 9));
        let (one, two, three) = (keys(&first), keys(&second), keys(&third));
        assert_eq!((one.len(), two.len(), three.len()), (1, 2, 2));
        assert_eq!(two[1], one[0]);
        assert_eq!(three[1], two[0]);
        assert!(!three.contains(&one[0]));
        // Nothing of what came before lies in what is kept.
        let kept = third.encode();
        for gone in [&first.root[..], &second.root[..], &one[0].1] {
            assert!(!kept.windows(gone.len()).any(|window| window == gone));
        }
    }

    #[test]
    fn who_has_an_old_state_does_not_get_to_the_keys_that_followed() {
        let first = begin();
        let [one, two] = [(); 2].map(|()| step(&first, Step::Next, 2000));
        assert_ne!(keys(&one)[0], keys(&two)[0]);
    }

    #[test]
    fn a_skipped_epoch_and_a_new_beginning_leave_no_old_key() {
        let second = step(&begin(), Step::Next, 2000);
        for (how, epoch) in [(Step::Skip, 10), (Step::Anew, 9)] {
            let later = step(&second, how, 9000);
            assert_eq!((later.epoch, later.since), (epoch, 9000));
            let (old, new) = (keys(&second), keys(&later));
            assert_eq!(new.len(), 1);
            assert!(!old.contains(&new[0]));
        }
    }

    #[test]
    fn looking_and_stamping_change_no_key() {
        let second = step(&begin(), Step::Next, 2000);
        assert_eq!(*step(&second, Step::Look, 5).encode(), *second.encode());
        let stamped = step(&second, Step::Restamp, 5);
        assert_eq!((stamped.since, stamped.epoch), (5, 8));
        assert_eq!(keys(&stamped), keys(&second));
    }

    proptest! {
        #[test]
        fn no_other_bytes_are_a_state(
            cut in any::<proptest::sample::Index>(),
            noise in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            for state in [begin(), step(&begin(), Step::Next, 1)] {
                let mut bytes = state.encode().to_vec();
                prop_assert!(State::decode(&bytes[..cut.index(bytes.len())]).is_none());
                bytes.push(0);
                prop_assert!(State::decode(&bytes).is_none());
            }
            if let Some(state) = State::decode(&noise) {
                prop_assert_eq!(&*state.encode(), &noise);
            }
        }
    }
}
