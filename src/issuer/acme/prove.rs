//! The challenges of an order: which one is tried, and how it is put before the CA.
//!
//! Pure choices; the exchange with the CA is in `order`.

use crate::cert::challenge::Challenge;
use crate::cert::challenge::ChallengeType;
use crate::cert::challenge::PresentError;
use crate::cert::failure::Failure;
use crate::cert::failure::FailureKind;
use crate::cert::failure::Remedy;
use crate::cert::identifier::Identifier;

/// Shortest token with the 128 bits of RFC 8555, section 8.3, in base64url.
const SHORTEST_TOKEN: usize = 22;

/// Longest token that is put into a path.
const LONGEST_TOKEN: usize = 256;

/// Whether each name can be proven by one of `challenges`, before the CA hears of it.
pub(super) fn all_provable(
    names: &[Identifier],
    challenges: &[ChallengeType],
) -> Result<(), Failure> {
    match names.iter().find(|name| !challenges.iter().any(|c| c.can_prove(name))) {
        None => Ok(()),
        Some(name) => Err(no_challenge(name, challenges)),
    }
}

/// The failure of a name that no challenge can prove.
pub(super) fn no_challenge(name: &Identifier, challenges: &[ChallengeType]) -> Failure {
    let mut list: String =
        challenges.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if list.is_empty() {
        "none".clone_into(&mut list);
    }
    let detail = if name.is_wildcard() {
        format!("a wildcard needs dns-01, and so a [[dns]] account; there is: {list}")
    } else {
        format!("the CA offers none of the challenges that are configured and listening: {list}")
    };
    Failure::new(FailureKind::NoChallenge, detail).about(name.clone())
}

/// What the CA offers for one name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Offer {
    pub(super) challenge: ChallengeType,
    /// Whether the CA already checks it: an attempt before this one was interrupted.
    pub(super) begun: bool,
}

/// What one attempt has learnt about the challenges of its names.
#[derive(Debug, Default)]
pub(super) struct Tried {
    /// What could be tried for each name.
    offered: Vec<(Identifier, ChallengeType)>,
    /// What failed, each about a name and by a challenge as far as that is known.
    failures: Vec<Failure>,
}

impl Tried {
    /// The CA made these offers for `name`; only `preferred` ones can be answered.
    pub(super) fn offered(
        &mut self,
        name: &Identifier,
        preferred: &[ChallengeType],
        offers: &[Offer],
    ) {
        for offer in able(name, preferred, offers) {
            if !self.offered.iter().any(|(of, kind)| of == name && *kind == offer.challenge) {
                self.offered.push((name.clone(), offer.challenge));
            }
        }
    }

    /// A challenge failed.
    pub(super) fn failed(&mut self, failure: Failure) {
        self.failures.push(failure);
    }

    /// All failures so far.
    pub(super) fn failures(&self) -> &[Failure] {
        &self.failures
    }

    /// Whether an untried challenge is left for `name`.
    pub(super) fn has_another_for(&self, name: &Identifier) -> bool {
        self.offered.iter().any(|(of, kind)| of == name && !self.has_failed(name, *kind))
    }

    /// A failure of `name` that time may cure, if there is one: where one challenge may come right
    /// by itself, the other need not call for a person.
    pub(super) fn passing(&self, name: &Identifier) -> Option<Failure> {
        let mut of_name = self.failures.iter().filter(|f| f.subject.as_ref() == Some(name));
        of_name.find(|failure| failure.remedy != Remedy::Intervene).cloned()
    }

    /// Whether every name that failed may yet be proven by a challenge that was not tried for it.
    /// What failed in the DNS or for a CAA record will fail by any challenge.
    pub(super) fn has_another_way(&self) -> bool {
        !self.failures.is_empty()
            && self.failures.iter().all(|failure| {
                let is_of_the_challenge =
                    matches!(failure.kind, FailureKind::ChallengeFailed | FailureKind::Connection);
                let name = failure.subject.as_ref();
                is_of_the_challenge && name.is_some_and(|name| self.has_another_for(name))
            })
    }

    fn has_failed(&self, name: &Identifier, kind: ChallengeType) -> bool {
        self.failures.iter().any(|failure| {
            failure.subject.as_ref() == Some(name) && failure.challenge == Some(kind)
        })
    }

    fn has_failed_somewhere(&self, kind: ChallengeType) -> bool {
        self.failures.iter().any(|failure| failure.challenge == Some(kind))
    }
}

fn able(
    name: &Identifier,
    preferred: &[ChallengeType],
    offers: &[Offer],
) -> impl Iterator<Item = Offer> {
    preferred
        .iter()
        .filter(|challenge| challenge.can_prove(name))
        .filter_map(|challenge| offers.iter().find(|offer| offer.challenge == *challenge))
        .copied()
}

/// The challenge to try for `name`: one that is being checked already, else the preferred ones in
/// turn, so that an attempt after a failure tries another. Those that failed in this attempt come
/// last, be it for another name: a closed port is closed for all.
pub(super) fn choose(
    name: &Identifier,
    preferred: &[ChallengeType],
    offers: &[Offer],
    attempt: u32,
    tried: &Tried,
) -> Result<Offer, Failure> {
    let mut able: Vec<Offer> = able(name, preferred, offers).collect();
    let turn = usize::try_from(attempt).unwrap_or(0).checked_rem(able.len()).unwrap_or(0);
    able.rotate_left(turn);
    // A stable sort: the turn decides among equals.
    able.sort_by_key(|offer| {
        let kind = offer.challenge;
        (tried.has_failed(name, kind), !offer.begun, tried.has_failed_somewhere(kind))
    });
    able.first().copied().ok_or_else(|| no_challenge(name, preferred))
}

/// The failure of a challenge that cannot be answered.
pub(super) fn not_presented(error: &PresentError) -> Failure {
    let kind = match error {
        PresentError::NoListener(_) => FailureKind::NoChallenge,
        // A fault of our own and no matter of settings: the order stays for the next attempt.
        PresentError::Certificate { .. } => FailureKind::Lapsed,
        PresentError::NoZone { .. } => FailureKind::NoChallenge,
        PresentError::Zone { .. } => FailureKind::Zone,
    };
    Failure::new(kind, error.to_string())
}

/// The challenge as the solver wants it; `thumbprint` is the account key's (RFC 8555, section
/// 8.1).
///
/// # Errors
/// When the token is not what RFC 8555, section 8.3, allows: it would become part of a path.
pub(super) fn task(
    kind: ChallengeType,
    name: &Identifier,
    token: &str,
    thumbprint: &str,
) -> Result<Challenge, Failure> {
    check_token(token).map_err(|failure| failure.about(name.clone()).while_trying(kind))?;
    let (name, key_authorization) = (name.clone(), format!("{token}.{thumbprint}"));
    Ok(match kind {
        ChallengeType::Http01 => {
            Challenge::Http01 { name, token: token.to_owned(), key_authorization }
        }
        ChallengeType::TlsAlpn01 => {
            let sha256 = ring::digest::digest(&ring::digest::SHA256, key_authorization.as_bytes());
            let mut digest = [0; 32];
            digest.iter_mut().zip(sha256.as_ref()).for_each(|(to, from)| *to = *from);
            Challenge::TlsAlpn01 { name, digest }
        }
        ChallengeType::Dns01 | ChallengeType::DnsPersist01 => {
            let failure = not_presented(&PresentError::NoListener(kind));
            return Err(failure.about(name).while_trying(kind));
        }
    })
}

/// Whether a token is what RFC 8555, section 8.3, allows.
pub(super) fn check_token(token: &str) -> Result<(), Failure> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if (SHORTEST_TOKEN..=LONGEST_TOKEN).contains(&token.len()) && token.bytes().all(plain) {
        return Ok(());
    }
    Err(Failure::new(FailureKind::CaFault, "the CA sent a challenge whose token is not base64url"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ChallengeType::Http01;
    use ChallengeType::TlsAlpn01;

    fn name(text: &str) -> Identifier {
        Identifier::parse(text).unwrap()
    }

    const BOTH: [Offer; 2] =
        [Offer { challenge: Http01, begun: false }, Offer { challenge: TlsAlpn01, begun: false }];

    #[test]
    fn the_preferred_challenge_comes_first_and_the_attempt_rotates() {
        let name = name("a.example");
        let choice = |preferred: &[ChallengeType], offers: &[Offer], attempt| {
            choose(&name, preferred, offers, attempt, &Tried::default())
                .map(|offer| offer.challenge)
        };
        assert_eq!(choice(&[TlsAlpn01, Http01], &BOTH, 0), Ok(TlsAlpn01));
        assert_eq!(choice(&[TlsAlpn01, Http01], &BOTH, 1), Ok(Http01));
        assert_eq!(choice(&[TlsAlpn01, Http01], &BOTH, 2), Ok(TlsAlpn01));
        assert_eq!(choice(&[TlsAlpn01, Http01], &BOTH[..1], 0), Ok(Http01));
        assert_eq!(choice(&[Http01], &BOTH, u32::MAX), Ok(Http01));
        let none = choice(&[TlsAlpn01], &BOTH[..1], 0).unwrap_err();
        assert_eq!(none.kind, FailureKind::NoChallenge);
    }

    #[test]
    fn a_check_that_has_begun_is_not_given_up() {
        let begun = [BOTH[0], Offer { begun: true, ..BOTH[1] }];
        for attempt in 0..3 {
            let none = Tried::default();
            let choice = choose(&name("a.example"), &[Http01, TlsAlpn01], &begun, attempt, &none);
            assert_eq!(choice.unwrap().challenge, TlsAlpn01);
        }
    }

    fn failed(text: &str, kind: FailureKind, challenge: ChallengeType) -> Failure {
        Failure::new(kind, "so it is").about(name(text)).while_trying(challenge)
    }

    #[test]
    fn what_failed_in_this_attempt_comes_last_for_every_name() {
        let mut tried = Tried::default();
        tried.failed(failed("a.example", FailureKind::Connection, TlsAlpn01));
        let choice = |of: &str, attempt, offers: &[Offer], tried: &Tried| {
            choose(&name(of), &[TlsAlpn01, Http01], offers, attempt, tried).unwrap().challenge
        };
        for attempt in 0..3 {
            assert_eq!(choice("a.example", attempt, &BOTH, &tried), Http01);
            assert_eq!(choice("b.example", attempt, &BOTH, &tried), Http01);
        }
        // If nothing else is offered it is tried again.
        assert_eq!(choice("a.example", 0, &BOTH[1..], &tried), TlsAlpn01);
        // A name's own failure counts for more than that of another.
        tried.failed(failed("b.example", FailureKind::Connection, Http01));
        assert_eq!(choice("a.example", 0, &BOTH, &tried), Http01);
        assert_eq!(choice("b.example", 0, &BOTH, &tried), TlsAlpn01);
    }

    #[test]
    fn another_way_is_one_that_was_not_tried_and_may_help_every_name_that_failed() {
        let both = [TlsAlpn01, Http01];
        let mut tried = Tried::default();
        assert!(!tried.has_another_way());
        tried.offered(&name("a.example"), &both, &BOTH);
        tried.offered(&name("b.example"), &both, &BOTH[1..]);
        tried.failed(failed("a.example", FailureKind::ChallengeFailed, TlsAlpn01));
        assert!(tried.has_another_way());
        for more in [
            failed("a.example", FailureKind::Connection, Http01),
            failed("b.example", FailureKind::Connection, TlsAlpn01),
            failed("a.example", FailureKind::Dns, TlsAlpn01),
            failed("a.example", FailureKind::RateLimited, TlsAlpn01),
            Failure::new(FailureKind::Connection, "nobody knows where"),
        ] {
            let mut tried = Tried { offered: tried.offered.clone(), failures: vec![] };
            tried.failed(failed("a.example", FailureKind::ChallengeFailed, TlsAlpn01));
            tried.failed(more.clone());
            assert!(!tried.has_another_way(), "{more}");
        }
    }

    #[test]
    fn a_missing_listener_halts_nothing_that_another_challenge_may_cure() {
        let mut tried = Tried::default();
        let missing = not_presented(&PresentError::NoListener(Http01));
        assert_eq!(missing.remedy, Remedy::Intervene);
        tried.failed(missing.about(name("a.example")).while_trying(Http01));
        assert_eq!(tried.passing(&name("a.example")), None);
        let refused = failed("a.example", FailureKind::Connection, TlsAlpn01);
        tried.failed(refused.clone());
        assert_eq!(tried.passing(&name("a.example")), Some(refused));
        assert_eq!(tried.passing(&name("b.example")), None);
    }

    #[test]
    fn a_wildcard_is_refused_before_the_ca_hears_of_it() {
        let names = [name("a.example"), name("*.a.example")];
        let refused = all_provable(&names, &[Http01, TlsAlpn01]).unwrap_err();
        assert_eq!(refused.kind, FailureKind::NoChallenge);
        assert_eq!(refused.subject, Some(names[1].clone()));
        assert!(all_provable(&names[..1], &[Http01]).is_ok());
        assert!(all_provable(&names[..1], &[]).is_err());
    }

    #[test]
    fn a_token_that_is_no_token_never_reaches_the_solver() {
        assert!(check_token("evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA").is_ok());
        for bad in ["", "short", "../../../../../../etc/passwd", "a b c d e f g h i j k l m"] {
            assert!(check_token(bad).is_err(), "{bad}");
        }
        assert!(check_token(&"a".repeat(LONGEST_TOKEN + 1)).is_err());
        assert!(check_token(&"a".repeat(SHORTEST_TOKEN - 1)).is_err());
        assert!(check_token(&"\u{e9}".repeat(SHORTEST_TOKEN)).is_err());
    }
}
