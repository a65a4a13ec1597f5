//! A certificate whose end comes near, though nothing that follows it is there: what is told of it, at
//! which moments of its life.
//!
//! The moments are shares of its life and no numbers of days, so that they fit six days and a year. A
//! renewal that goes as planned is over before the first of them, or told of nowhere but at the last.

use super::journal::Entry;
use super::journal::EntryKind;
use super::journal::Level;
use super::lifecycle::Phase;
use super::record::Certificate;
use super::validity::Validity;
use crate::base::Timestamp;

/// Which share of the life is left, and how much that matters; the first where it is a fifth.
const MARKS: [(u32, Level); 3] = [(5, Level::Warning), (10, Level::Warning), (20, Level::Error)];

/// The moments of `validity` at which something is told, in order; the last is its end.
fn marks(validity: &Validity) -> [(Timestamp, Level); 4] {
    let [fifth, tenth, twentieth] =
        MARKS.map(|(part, level)| (validity.not_after.minus(validity.life() / part), level));
    [
        fifth,
        tenth,
        twentieth,
        (validity.not_after.plus(std::time::Duration::from_secs(1)), Level::Error),
    ]
}

/// The next moment after `now` at which something might be told of `record`.
pub fn next(record: &Certificate, now: Timestamp) -> Option<Timestamp> {
    let installed = record.installed.as_ref()?;
    marks(&installed.validity).into_iter().map(|(at, _)| at).find(|at| *at > now)
}

/// What is told of `record` at `now`, where `last` is when that was asked before.
pub fn told(record: &Certificate, last: Timestamp, now: Timestamp) -> Option<Entry> {
    let installed = record.installed.as_ref()?;
    if matches!(record.phase, Phase::Retiring { .. }) {
        return None;
    }
    let validity = &installed.validity;
    let all = marks(validity);
    // Of several that passed since, the last says it all.
    let passed = all.iter().rposition(|(at, _)| last < *at && *at <= now)?;
    let level = all.get(passed).map_or(Level::Warning, |(_, level)| *level);
    let planned = matches!(record.phase, Phase::Holding { renew_at, .. } if renew_at > now);
    let ends = passed + 1 == all.len();
    if planned && level < Level::Error && record.is_renewed_here() {
        return None;
    }
    let kind = if ends { EntryKind::Expired } else { EntryKind::Expiring };
    let moment = validity.not_after;
    let why = reason(record);
    let message = if ends {
        format!("the certificate ran out at {moment}, and none that follows it is there: {why}")
    } else {
        let left = validity.percent_left(now);
        format!("the certificate runs out at {moment}, {left} % of its life are left: {why}")
    };
    Some(Entry {
        certificate: Some(record.id()),
        name: record.spec.names().first().map(|name| name.text().into_owned()),
        ..Entry::about_house(now, kind, level, message)
    })
}

fn reason(record: &Certificate) -> String {
    if !record.is_renewed_here() {
        return "it is not renewed here; import the one that follows it, or have it hosted"
            .to_owned();
    }
    match &record.phase {
        Phase::Waiting { attempt, failure, .. } => {
            format!("{attempt} attempts in a row failed, the last with: {}", failure.detail)
        }
        Phase::Halted { failure, .. } => format!("attempts stopped: {}", failure.detail),
        Phase::Holding { renew_at, .. } => format!("its renewal is planned at {renew_at}"),
        Phase::Due { .. } | Phase::Ordering { .. } | Phase::Retiring { .. } => {
            "its renewal is being tried".to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cert::failure::Failure;
    use crate::cert::failure::FailureKind;
    use crate::cert::identifier::Identifier;
    use crate::cert::key::KeyAlgorithm;
    use crate::cert::record::Installed;
    use crate::cert::spec::IssuerName;
    use crate::cert::spec::Role;
    use crate::cert::spec::Specification;
    use crate::cert::validity::RenewalWindow;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_unix(10_000 + seconds)
    }

    /// Good from 0 to 1000.
    fn record(phase: Phase, role: Role) -> Certificate {
        let issuer = IssuerName::Acme("https://ca.example/dir".to_owned());
        let names = vec![Identifier::parse("a.example").unwrap()];
        let spec = Specification::new(names, issuer, KeyAlgorithm::P256, None, role);
        let ca = rcgen::generate_simple_self_signed(vec!["a.example".to_owned()]).unwrap();
        let chain = crate::cert::chain::Chain::from_pem(ca.cert.pem().as_bytes()).unwrap();
        let mut installed = Installed::read(chain, at(0)).unwrap();
        installed.validity = Validity { not_before: at(0), not_after: at(1000) };
        Certificate { installed: Some(installed), phase, ..Certificate::wanted(spec) }
    }

    fn failing() -> Phase {
        let failure = Failure::new(FailureKind::Unreachable, "no route");
        Phase::Waiting { attempt: 3, until: at(2000), failure, in_flight: None }
    }

    fn holding(renew_at: u64) -> Phase {
        let window = RenewalWindow::new(at(renew_at), at(renew_at + 1)).unwrap();
        Phase::Holding { renew_at: at(renew_at), window, recheck_at: None }
    }

    fn kind(record: &Certificate, last: u64, now: u64) -> Option<(EntryKind, Level)> {
        told(record, at(last), at(now)).map(|entry| (entry.kind, entry.level))
    }

    #[test]
    fn a_renewal_that_fails_is_told_by_share_of_the_life_that_is_left() {
        let late = record(failing(), Role::Primary);
        assert_eq!(kind(&late, 0, 799), None);
        assert_eq!(kind(&late, 799, 800), Some((EntryKind::Expiring, Level::Warning)));
        assert_eq!(kind(&late, 800, 899), None);
        assert_eq!(kind(&late, 899, 900), Some((EntryKind::Expiring, Level::Warning)));
        assert_eq!(kind(&late, 900, 951), Some((EntryKind::Expiring, Level::Error)));
        assert_eq!(kind(&late, 951, 1000), None);
        assert_eq!(kind(&late, 1000, 1001), Some((EntryKind::Expired, Level::Error)));
        assert_eq!(kind(&late, 1001, 5000), None);
        // Whoever was away hears of it once.
        assert_eq!(kind(&late, 0, 5000), Some((EntryKind::Expired, Level::Error)));
        let told = told(&late, at(0), at(850)).unwrap().message;
        assert!(told.contains("15 %") && told.contains("3 attempts") && told.contains("no route"));
    }

    #[test]
    fn a_renewal_as_planned_is_told_at_the_last_moment_only() {
        let planned = record(holding(930), Role::Primary);
        assert_eq!(kind(&planned, 0, 920), None);
        let never = record(holding(990), Role::Primary);
        assert_eq!(kind(&never, 0, 960), Some((EntryKind::Expiring, Level::Error)));
        assert_eq!(kind(&record(Phase::Retiring { until: at(9000) }, Role::Primary), 0, 960), None);
        // Nobody here renews it, so that nothing is planned.
        let brought = record(holding(930), Role::Imported);
        assert_eq!(kind(&brought, 0, 810), Some((EntryKind::Expiring, Level::Warning)));
    }

    #[test]
    fn the_next_moment_is_the_first_one_that_lies_ahead() {
        let one = record(failing(), Role::Primary);
        let ahead = |now| next(&one, at(now)).map(|at| at.as_unix() - 10_000);
        assert_eq!(
            [ahead(0), ahead(800), ahead(950), ahead(1000)],
            [Some(800), Some(900), Some(1001), Some(1001)]
        );
        assert_eq!(ahead(1001), None);
    }
}
