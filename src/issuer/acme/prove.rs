//! The challenges of an order: which one is tried, and how it is put before the CA.
//!
//! Pure choices; the exchange with the CA is in `order`.

use instant_acme::KeyAuthorization;

use crate::cert::challenge::Challenge;
use crate::cert::challenge::ChallengeType;
use crate::cert::failure::Failure;
use crate::cert::failure::FailureKind;
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
        format!("a wildcard needs a DNS challenge; configured and listening: {list}")
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

/// The challenge to try for `name`: one that is being checked already, else the preferred ones in
/// turn, so that an attempt after a failure tries another.
pub(super) fn choose(
    name: &Identifier,
    preferred: &[ChallengeType],
    offers: &[Offer],
    attempt: u32,
) -> Result<Offer, Failure> {
    let able: Vec<Offer> = preferred
        .iter()
        .filter(|challenge| challenge.can_prove(name))
        .filter_map(|challenge| offers.iter().find(|offer| offer.challenge == *challenge))
        .copied()
        .collect();
    if let Some(begun) = able.iter().find(|offer| offer.begun) {
        return Ok(*begun);
    }
    let turn = usize::try_from(attempt).unwrap_or(0).checked_rem(able.len()).unwrap_or(0);
    able.get(turn).copied().ok_or_else(|| no_challenge(name, preferred))
}

/// The challenge as the solver wants it.
///
/// # Errors
/// When the token is not what RFC 8555, section 8.3, allows: it would become part of a path.
pub(super) fn task(
    kind: ChallengeType,
    name: &Identifier,
    token: &str,
    key_authorization: &KeyAuthorization,
) -> Result<Challenge, Failure> {
    check_token(token).map_err(|failure| failure.about(name.clone()).while_trying(kind))?;
    Ok(match kind {
        ChallengeType::Http01 => Challenge::Http01 {
            name: name.clone(),
            token: token.to_owned(),
            key_authorization: key_authorization.as_str().to_owned(),
        },
        ChallengeType::TlsAlpn01 => {
            let mut digest = [0; 32];
            for (to, from) in digest.iter_mut().zip(key_authorization.digest().as_ref()) {
                *to = *from;
            }
            Challenge::TlsAlpn01 { name: name.clone(), digest }
        }
    })
}

fn check_token(token: &str) -> Result<(), Failure> {
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
            choose(&name, preferred, offers, attempt).map(|offer| offer.challenge)
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
            let choice = choose(&name("a.example"), &[Http01, TlsAlpn01], &begun, attempt);
            assert_eq!(choice.unwrap().challenge, TlsAlpn01);
        }
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
