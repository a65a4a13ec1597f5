//! Where a list of certificates goes on: behind which certificate.
//!
//! Those that the configuration asks for come first, then the imported ones, and both in the order
//! of their ids. Neither changes while a certificate lives, so whoever follows the list from page
//! to page meets each certificate that is there all the while exactly once.

use std::fmt;

use super::house::HouseError;
use crate::cert::spec::CertificateId;

/// The longest place that is looked at.
const LONGEST: usize = 64;

/// Behind which certificate.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Place {
    /// Among the imported ones.
    pub imported: bool,
    /// Its name.
    pub id: CertificateId,
}

impl Place {
    /// Reads what [`fmt::Display`] wrote.
    ///
    /// # Errors
    /// [`HouseError::Refused`] for anything else.
    pub fn parse(text: &str) -> Result<Self, HouseError> {
        let parsed = || {
            let (group, digits) = text.split_once('-')?;
            let imported = match group {
                "wanted" => false,
                "imported" => true,
                _ => return None,
            };
            Some(Self { imported, id: CertificateId::from_hex(digits)? })
        };
        parsed().ok_or_else(|| {
            let shown: String = text.chars().take(LONGEST).collect();
            HouseError::Refused {
                reason: format!(
                    "after={shown:?} is no place in the list: give the \"next\" of the page before, \
                     or leave it out to begin"
                ),
            }
        })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let group = if self.imported { "imported" } else { "wanted" };
        write!(f, "{group}-{}", self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_as_it_was_written_and_nothing_else_is_one() {
        for imported in [true, false] {
            let place = Place { imported, id: CertificateId([0, 1, 2, 3, 0xab, 0xcd, 0xef, 0xff]) };
            assert_eq!(Place::parse(&place.to_string()), Ok(place));
        }
        for bad in [
            "",
            "-",
            "imported",
            "imported-",
            "imported-00",
            "imported-000102030405060",
            "imported-000102030405060g",
            "imported-+00102030405060",
            "imported-00010203040506070",
            "IMPORTED-0001020304050607",
            "other-0001020304050607",
            " wanted-0001020304050607",
            "wanted-\u{00e4}\u{00e4}\u{00e4}\u{00e4}\u{00e4}\u{00e4}\u{00e4}\u{00e4}",
        ] {
            let refused = Place::parse(bad).unwrap_err().to_string();
            assert!(refused.contains("no place in the list"), "{bad}: {refused}");
        }
        let long = Place::parse(&"x".repeat(100_000)).unwrap_err().to_string();
        assert!(long.len() < 300, "{long}");
    }
}
