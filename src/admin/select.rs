//! How a person names one certificate: by its id, by the beginning of the id, or by a name it is
//! for.

use super::house::HouseError;
use crate::cert::identifier::Identifier;
use crate::cert::key::KeyAlgorithm;
use crate::cert::key::KeyKind;
use crate::cert::lifecycle::Phase;
use crate::cert::record::Certificate;
use crate::cert::spec::CertificateId;
use crate::cert::spec::Role;

/// The longest selector: the longest name with room for a wildcard and a dot.
const LONGEST: usize = 256;

/// The shortest beginning of an id that is taken for one.
const SHORTEST_PREFIX: usize = 4;

/// What a person wrote to name a certificate.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Selector {
    /// The beginning of an id, or all of it: lower-case hexadecimal.
    Id(String),
    /// A name, and the kind or algorithm of the key where there is more than one certificate for it.
    Name(Identifier, Option<OfKey>),
}

/// Which of several certificates for a name, by their keys.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OfKey {
    /// `ecdsa` or `rsa`.
    Kind(KeyKind),
    /// `p256`, `p384` or `rsa2048`.
    Algorithm(KeyAlgorithm),
}

impl Selector {
    /// Reads four to sixteen hexadecimal digits as the beginning of an id, all else as a name, which
    /// may be followed by a slash and the kind of key: `shop.example/rsa`.
    ///
    /// # Errors
    /// [`HouseError::Refused`] when it can be neither.
    pub fn parse(text: &str) -> Result<Self, HouseError> {
        let text = text.trim();
        let refused = |why: &str| {
            let shown: String = text.chars().take(64).collect();
            Err(HouseError::Refused {
                reason: format!("{shown:?} is neither a name nor the id of a certificate: {why}"),
            })
        };
        if text.len() > LONGEST {
            return refused("it is too long");
        }
        let hex = text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if hex && (SHORTEST_PREFIX..=16).contains(&text.len()) {
            return Ok(Self::Id(text.to_ascii_lowercase()));
        }
        let (name, key) = match text.split_once('/') {
            None => (text, None),
            Some((name, word)) => match OfKey::parse(word) {
                Some(key) => (name, Some(key)),
                None => {
                    return refused(
                        "behind the slash stands none of ecdsa, rsa, p256, p384, rsa2048",
                    );
                }
            },
        };
        match Identifier::parse(name) {
            Ok(name) => Ok(Self::Name(name, key)),
            Err(error) => refused(&error.to_string()),
        }
    }
}

impl Selector {
    /// The first and the last id that begin as this one does; `None` for a name.
    pub fn ids(&self) -> Option<(CertificateId, CertificateId)> {
        let Self::Id(beginning) = self else { return None };
        let first = CertificateId::from_hex(&format!("{beginning:0<16}"))?;
        let last = CertificateId::from_hex(&format!("{beginning:f<16}"))?;
        Some((first, last))
    }
}

impl std::fmt::Display for Selector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Id(id) => f.write_str(id),
            Self::Name(name, None) => name.fmt(f),
            Self::Name(name, Some(key)) => write!(f, "{name}/{key}"),
        }
    }
}

impl OfKey {
    fn parse(word: &str) -> Option<Self> {
        let kinds = [KeyKind::Ecdsa, KeyKind::Rsa].map(Self::Kind);
        let algorithms = [KeyAlgorithm::P256, KeyAlgorithm::P384, KeyAlgorithm::Rsa2048];
        let all = kinds.into_iter().chain(algorithms.map(Self::Algorithm));
        all.into_iter().find(|key| key.to_string().eq_ignore_ascii_case(word))
    }

    fn fits(self, algorithm: KeyAlgorithm) -> bool {
        match self {
            Self::Kind(kind) => algorithm.kind() == kind,
            Self::Algorithm(wanted) => algorithm == wanted,
        }
    }
}

impl std::fmt::Display for OfKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Kind(kind) => kind.fmt(f),
            Self::Algorithm(algorithm) => algorithm.fmt(f),
        }
    }
}

/// The one certificate that `selector` means.
///
/// A name means the certificate that lists it before one that only covers it by a wildcard, a
/// wanted one before a retiring one, a primary one before a bridge, and one that is served before the one
/// that stands by.
///
/// # Errors
/// [`HouseError::NotFound`] or [`HouseError::Ambiguous`].
pub fn find<'a, I>(certificates: I, selector: &Selector) -> Result<&'a Certificate, HouseError>
where
    I: IntoIterator<Item = &'a Certificate>,
{
    let mut best: Vec<&Certificate> = Vec::new();
    let mut best_rank = None;
    for certificate in certificates {
        let Some(rank) = rank(certificate, selector) else { continue };
        if best_rank.is_none_or(|known| rank > known) {
            best.clear();
            best_rank = Some(rank);
        }
        if best_rank == Some(rank) {
            best.push(certificate);
        }
    }
    match best.as_slice() {
        [] => Err(HouseError::NotFound { selector: selector.to_string() }),
        [one] => Ok(one),
        several => {
            let told = |one: &&Certificate| match one.spec.names().first() {
                Some(name) => format!("{} ({name}/{})", one.id(), one.spec.key),
                None => one.id().to_string(),
            };
            let mut ids: Vec<_> = several.iter().map(told).collect();
            ids.sort();
            ids.truncate(8);
            Err(HouseError::Ambiguous { selector: selector.to_string(), ids })
        }
    }
}

/// How well `certificate` fits; `None` when it does not.
fn rank(certificate: &Certificate, selector: &Selector) -> Option<[bool; 4]> {
    match selector {
        Selector::Id(prefix) => {
            certificate.id().to_string().starts_with(prefix).then_some([true; 4])
        }
        Selector::Name(_, Some(key)) if !key.fits(certificate.spec.key) => None,
        Selector::Name(name, _) => certificate.spec.covers(name).then(|| {
            [
                !matches!(certificate.phase, Phase::Retiring { .. }),
                certificate.spec.names().contains(name),
                certificate.spec.role == Role::Primary,
                !certificate.stands_back(),
            ]
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Timestamp;
    use crate::cert::spec::IssuerName;
    use crate::cert::spec::Specification;

    fn certificate(names: &[&str], role: Role) -> Certificate {
        let names = names.iter().map(|n| Identifier::parse(n).unwrap()).collect();
        let spec = Specification::new(names, IssuerName::Internal, KeyAlgorithm::P256, None, role);
        Certificate::wanted(spec)
    }

    fn chosen(all: &[Certificate], text: &str) -> Result<usize, HouseError> {
        let found = find(all, &Selector::parse(text)?)?;
        Ok(all.iter().position(|c| std::ptr::eq(c, found)).unwrap())
    }

    #[test]
    fn a_name_means_the_primary_and_the_exact_and_the_wanted_one() {
        let mut all = vec![
            certificate(&["shop.example"], Role::Bridge),
            certificate(&["*.example.org"], Role::Primary),
            certificate(&["shop.example", "www.shop.example"], Role::Primary),
            certificate(&["a.example.org"], Role::Primary),
        ];
        assert_eq!(chosen(&all, "SHOP.example."), Ok(2));
        assert_eq!(chosen(&all, "a.example.org"), Ok(3));
        assert_eq!(chosen(&all, "b.example.org"), Ok(1));
        all[2].phase = Phase::Retiring { until: Timestamp::from_unix(1) };
        assert_eq!(chosen(&all, "shop.example"), Ok(0), "a retiring one comes last");
    }

    #[test]
    fn an_id_or_its_beginning_is_enough_and_two_candidates_are_named() {
        let all = vec![
            certificate(&["one.example"], Role::Primary),
            certificate(&["two.example"], Role::Primary),
        ];
        let id = all[1].id().to_string();
        let within = |text: &str| {
            let (first, last) = Selector::parse(text).unwrap().ids().unwrap();
            (first..=last).contains(&all[1].id())
        };
        assert!((4..=16).all(|digits| within(&id[..digits])));
        assert!(!within(&format!("{}{}", &id[..4], if id[4..].starts_with('0') { 1 } else { 0 })));
        assert_eq!(Selector::parse("one.example").unwrap().ids(), None);
        assert_eq!(chosen(&all, &id), Ok(1));
        assert_eq!(chosen(&all, &id.to_uppercase()[..5]), Ok(1));
        let twice = vec![all[0].clone(), all[0].clone()];
        let refused = chosen(&twice, &twice[0].id().to_string()).unwrap_err();
        assert!(matches!(refused, HouseError::Ambiguous { ids, .. } if ids.len() == 2));
    }

    #[test]
    fn two_for_the_same_names_are_told_apart_by_their_keys() {
        let of = |key| {
            let mut one = certificate(&["shop.example"], Role::Primary);
            one.spec.key = key;
            one
        };
        let all = vec![of(KeyAlgorithm::Rsa2048), of(KeyAlgorithm::P256)];
        for (word, place) in [("rsa", 0), ("RSA2048", 0), ("ecdsa", 1), ("p256", 1)] {
            assert_eq!(chosen(&all, &format!("shop.example/{word}")), Ok(place));
        }
        assert!(matches!(chosen(&all, "shop.example/p384"), Err(HouseError::NotFound { .. })));
        assert!(matches!(chosen(&all, "shop.example/dsa"), Err(HouseError::Refused { .. })));
        let told = chosen(&all, "shop.example").unwrap_err().to_string();
        for (one, word) in all.iter().zip(["shop.example/rsa2048", "shop.example/p256"]) {
            assert!(told.contains(&format!("{} ({word})", one.id())), "{told}");
        }
    }

    #[test]
    fn nonsense_is_refused_and_the_unknown_is_not_found() {
        let all = vec![certificate(&["one.example"], Role::Primary)];
        for nonsense in ["", "abc", "../etc", "a b.example", &"x.".repeat(300)] {
            let refused = Selector::parse(nonsense);
            assert!(matches!(refused, Err(HouseError::Refused { .. })), "{nonsense}");
        }
        assert!(matches!(chosen(&all, "ffff"), Err(HouseError::NotFound { .. })));
        assert!(matches!(chosen(&all, "two.example"), Err(HouseError::NotFound { .. })));
    }
}
