//! Which certificates of a list are wanted: pure.

use crate::base::Timestamp;
use crate::cert::client::ClientName;
use crate::cert::identifier::Identifier;
use crate::cert::record::Certificate;

/// What has to be so of a certificate; what is not said holds for all.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Filter {
    /// What the house is doing about it, by the phase's word.
    pub phase: Option<String>,
    /// Who issued it, or issues it: `internal`, `imported`, or the host of the CA's directory.
    pub issuer: Option<String>,
    /// A name that it is good for.
    pub name: Option<Identifier>,
    /// For whom it was issued.
    pub client: Option<ClientName>,
    /// What is installed runs out before then.
    pub expires_before: Option<Timestamp>,
}

impl Filter {
    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether `record` is wanted.
    pub fn fits(&self, record: &Certificate) -> bool {
        let client = record.care.issue.as_ref().map(|issue| &issue.client);
        let end = record.installed.as_ref().map(|installed| installed.validity.not_after);
        self.phase.as_ref().is_none_or(|phase| record.phase.word() == phase)
            && self.issuer.as_ref().is_none_or(|issuer| record.issued_by().to_string() == *issuer)
            && self.name.as_ref().is_none_or(|name| record.spec.covers(name))
            && self.client.as_ref().is_none_or(|wanted| client == Some(wanted))
            && self.expires_before.is_none_or(|moment| end.is_some_and(|end| end < moment))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cert::key::KeyAlgorithm;
    use crate::cert::spec::IssuerName;
    use crate::cert::spec::Role;
    use crate::cert::spec::Specification;

    #[test]
    fn each_word_narrows_and_none_takes_all() {
        let name = |text| Identifier::parse(text).unwrap();
        let issuer = IssuerName::Acme("https://ca.example/dir".to_owned());
        let names = vec![name("*.shop.example")];
        let (key, role) = (KeyAlgorithm::P256, Role::Primary);
        let record = Certificate::wanted(Specification::new(names, issuer, key, None, role));
        let all = Filter::default();
        assert!(all.is_empty() && all.fits(&record));
        let phase = |phase: &str| Filter { phase: Some(phase.to_owned()), ..Filter::default() };
        assert!(phase("due").fits(&record) && !phase("halted").fits(&record));
        let issuer = |issuer: &str| Filter { issuer: Some(issuer.to_owned()), ..Filter::default() };
        assert!(issuer("ca.example").fits(&record) && !issuer("internal").fits(&record));
        let named = |text| Filter { name: Some(name(text)), ..Filter::default() };
        assert!(named("a.shop.example").fits(&record) && !named("shop.example").fits(&record));
        let client = Some(ClientName::parse("ann").unwrap());
        assert!(!Filter { client, ..Filter::default() }.fits(&record));
        // Nothing that is not installed runs out.
        let ever = Some(Timestamp::from_unix(u64::MAX));
        assert!(!Filter { expires_before: ever, ..Filter::default() }.fits(&record));
    }
}
