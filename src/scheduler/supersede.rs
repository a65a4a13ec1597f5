//! Which retired certificates have done their service: pure, given configuration and records.
//!
//! A retired certificate bridges the time until what took its place is there. From then on it must
//! not be shown any more, even where it outlasts its successor: a site that went over to another
//! CA, key or profile would else be served with the old one for days. The record and its key
//! stay, so that a site that comes back needs no new order.

use std::collections::BTreeSet;
use std::collections::HashMap;
use std::sync::Arc;

use crate::base::Timestamp;
use crate::cert::identifier::Identifier;
use crate::cert::lifecycle::Phase;
use crate::cert::record::Certificate;
use crate::cert::spec::CertificateId;
use crate::cert::spec::Role;
use crate::config::Config;

/// The retired certificates of which every name that a site still has is covered by a valid
/// primary certificate that is not retired. One whose names no site has is left alone: it is shown
/// to who still asks for them, if the default site answers.
pub(super) fn superseded(
    config: &Config,
    records: &[Arc<Certificate>],
    now: Timestamp,
) -> BTreeSet<CertificateId> {
    let retired = |record: &Certificate| matches!(record.phase, Phase::Retiring { .. });
    let shown = |record: &&Arc<Certificate>| retired(record) && record.shown().is_some();
    if !records.iter().any(|record| shown(&record)) {
        return BTreeSet::new();
    }
    let names: BTreeSet<_> = config.sites.iter().flat_map(|site| &site.names).collect();
    let mut below: HashMap<Identifier, Vec<&Identifier>> = HashMap::new();
    for name in &names {
        if let Some(star) = name.wildcard() {
            below.entry(star).or_default().push(name);
        }
    }
    let mut valid = BTreeSet::new();
    for record in records {
        // What is revoked replaces nothing, and neither does what only stands by.
        let good = record.is_good(now) && !record.stands_back();
        if good && !retired(record) && record.spec.role == Role::Primary {
            valid.extend(record.spec.names());
        }
    }
    let covered = |name: &Identifier| {
        valid.contains(name) || name.wildcard().is_some_and(|star| valid.contains(&star))
    };
    let done = |record: &&Arc<Certificate>| {
        let of_sites: Vec<_> = record
            .spec
            .names()
            .iter()
            .flat_map(|name| {
                names.get(name).into_iter().chain(below.get(name).into_iter().flatten())
            })
            .collect();
        !of_sites.is_empty() && of_sites.into_iter().all(|name| covered(name))
    };
    records.iter().filter(shown).filter(done).map(|record| record.id()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cert::chain::Chain;
    use crate::cert::key::KeyAlgorithm;
    use crate::cert::key::KeyId;
    use crate::cert::record::Installed;
    use crate::cert::spec::IssuerName;
    use crate::cert::spec::Specification;
    use crate::cert::validity::Validity;
    use crate::scheduler::testing::config;
    use crate::scheduler::testing::site;

    const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);

    fn record(names: &[&str], days: u64, retired: bool) -> Arc<Certificate> {
        let names = names.iter().map(|name| Identifier::parse(name).unwrap()).collect();
        let (key, issuer) = (KeyAlgorithm::P256, IssuerName::Internal);
        let mut record =
            Certificate::wanted(Specification::new(names, issuer, key, None, Role::Primary));
        let chain: Chain = serde_json::from_str("[[48]]").unwrap();
        let not_after = NOW.plus(std::time::Duration::from_secs(days * 86_400));
        let validity = Validity { not_before: Timestamp::from_unix(0), not_after };
        let (key, serial) = (KeyId([0; 32]), "00".to_owned());
        record.installed = Some(Installed { chain, key, validity, serial, ari_id: None, at: NOW });
        if retired {
            record.phase = Phase::Retiring { until: NOW };
        }
        Arc::new(record)
    }

    #[test]
    fn a_retired_one_stays_until_each_of_its_names_that_is_left_has_another() {
        let config = config(vec![
            site(&["a.shop.example", "b.shop.example"], IssuerName::Internal),
            site(&["c.shop.example"], IssuerName::Internal),
        ]);
        let count = |old: &[&str], new: &[&str], days: u64| {
            let records = [record(old, 90, true), record(new, days, false)];
            superseded(&config, &records, NOW).len()
        };
        let (a, b, c) = ("a.shop.example", "b.shop.example", "c.shop.example");
        assert_eq!(count(&[a, b], &[a, b, c], 1), 1);
        assert_eq!(count(&[a, b], &[a], 1), 0, "b has nothing else");
        assert_eq!(count(&[a, b], &["*.shop.example"], 1), 1);
        assert_eq!(count(&["*.shop.example"], &[a, b], 1), 0, "c has nothing else");
        assert_eq!(count(&["*.shop.example"], &[a, b, c], 1), 1);
        assert_eq!(
            count(&[a, "gone.example"], &[a], 1),
            1,
            "nobody asks for a name without a site"
        );
        assert_eq!(count(&["gone.example"], &[a], 1), 0);
        assert_eq!(count(&[a], &[a, b], 0), 1, "valid to its last second");
        let expired = NOW.plus(std::time::Duration::from_secs(1));
        let records = [record(&[a], 90, true), record(&[a, b], 0, false)];
        assert!(superseded(&config, &records, expired).is_empty(), "what ran out replaces nothing");
        let both = [record(&[a], 90, true), record(&[a, b], 1, true)];
        assert!(superseded(&config, &both, NOW).is_empty());
    }
}
