//! Records as the socket shows them: pure, given the time.

use std::collections::BTreeMap;

use super::view_care;
use super::wire::CertificateView;
use super::wire::Counts;
use super::wire::EntryView;
use super::wire::FailureView;
use super::wire::InstalledView;
use super::wire::Moment;
use super::wire::SiteView;
use super::wire::Standing;
use super::wire::WindowView;
use crate::base::Timestamp;
use crate::cert::chain::Chain;
use crate::cert::failure::Failure;
use crate::cert::failure::FailureKind;
use crate::cert::failure::Remedy;
use crate::cert::journal::Entry;
use crate::cert::lifecycle::Phase;
use crate::cert::record::Certificate;
use crate::cert::record::Installed;
use crate::cert::spec::Role;
use crate::config::Site;

/// Failures in a row after which a name that has no valid certificate is somebody's business:
/// the CA's own hiccups are over by then, and what is left is usually a wrong DNS record.
const PATIENCE: u32 = 3;

/// One certificate as it is at `now`.
pub fn certificate(record: &Certificate, now: Timestamp) -> CertificateView {
    let phase = &record.phase;
    let (renew_at, window, recheck_at) = match *phase {
        Phase::Holding { renew_at, window, recheck_at } => (
            Some(renew_at),
            Some(WindowView { start: window.start().into(), end: window.end().into() }),
            recheck_at,
        ),
        _ => (None, None, None),
    };
    CertificateView {
        id: record.id().to_string(),
        names: record.spec.names().iter().map(ToString::to_string).collect(),
        issuer: record.issued_by().to_string(),
        role: role(record.spec.role).to_owned(),
        key_algorithm: key_algorithm(record),
        profile: record.spec.profile.clone(),
        state: standing(record, now),
        condition: condition(record, now).to_owned(),
        phase: phase.word().to_owned(),
        installed: record.installed.as_ref().map(|one| installed(one, now)),
        renew_at: renew_at.map(Moment),
        window,
        recheck_at: recheck_at.map(Moment),
        next_wake: phase.wake_at(now).map(Moment),
        attempt: attempt(phase),
        failure: phase.failure().map(failure),
        halted_since: match *phase {
            Phase::Halted { since, .. } => Some(since.into()),
            _ => None,
        },
        order: phase.in_flight().and_then(|in_flight| in_flight.order.clone()),
        revision: record.revision,
        care: view_care::care(record),
        issue: view_care::issue(record),
        signing: None,
        terms: None,
    }
}

/// The same with what is known of the other one of its site, where there are two.
pub fn of_two(
    record: &Certificate,
    other: Option<&Certificate>,
    now: Timestamp,
) -> CertificateView {
    let mut view = certificate(record, now);
    if let Some(standby) = &mut view.care.standby {
        standby.other = other.map(|other| view_care::other(other, now));
    }
    view
}

/// Whether somebody has to act.
pub fn standing(record: &Certificate, now: Timestamp) -> Standing {
    let good = record.installed.as_ref().map(|one| one.validity).filter(|v| v.contains(now));
    match (&record.phase, good) {
        (Phase::Halted { .. }, _) => Standing::NeedsYou,
        (Phase::Waiting { .. }, Some(validity)) if now >= validity.last_call() => {
            Standing::NeedsYou
        }
        (Phase::Waiting { attempt, .. }, None) if *attempt >= PATIENCE => Standing::NeedsYou,
        (_, Some(_)) => Standing::Served,
        (_, None) => Standing::Working,
    }
}

/// Where it stands in its life.
pub fn condition(record: &Certificate, now: Timestamp) -> &'static str {
    if matches!(record.phase, Phase::Retiring { .. }) {
        return "retired";
    }
    let serial = record.installed.as_ref().map(|one| one.serial.as_str());
    if serial.is_some_and(|serial| record.care.is_revoked(serial)) {
        return "revoked";
    }
    let astray = record.phase.failure().is_some_and(|f| f.kind == FailureKind::Astray);
    let Some(validity) = record.installed.as_ref().map(|one| one.validity) else {
        return match record.phase {
            Phase::Waiting { .. } if astray => "astray",
            Phase::Waiting { .. } | Phase::Halted { .. } => "failed",
            Phase::Ordering { .. } => "ordered",
            Phase::Due { .. } | Phase::Holding { .. } | Phase::Retiring { .. } => "wanted",
        };
    };
    if now > validity.not_after {
        return "expired";
    }
    match record.phase {
        Phase::Halted { .. } => "failed",
        _ if now >= validity.last_call() => "expiring",
        Phase::Waiting { .. } if astray => "astray",
        Phase::Due { .. } | Phase::Ordering { .. } | Phase::Waiting { .. } => "renewing",
        // An announcement stands before the last call: it is told where everybody looks.
        _ if record.care.take_over.is_some_and(|one| one.announced >= one_life(record)) => {
            "expiring"
        }
        _ if record.stands_back() => "standby",
        _ if record.care.hosting.accept().is_some() => "hosted",
        Phase::Holding { .. } | Phase::Retiring { .. } => "issued",
    }
}

/// When what is installed came, as far as an announcement may be about it.
fn one_life(record: &Certificate) -> Timestamp {
    record.installed.as_ref().map_or(Timestamp::from_unix(u64::MAX), |one| one.at)
}

/// What is served.
pub fn installed(installed: &Installed, now: Timestamp) -> InstalledView {
    InstalledView {
        serial: installed.serial.clone(),
        not_before: installed.validity.not_before.into(),
        not_after: installed.validity.not_after.into(),
        valid: installed.validity.contains(now),
        percent_left: installed.validity.percent_left(now),
        // What is installed was read from this very chain, so the leaf does parse; should it
        // not, the rest of the view is still worth showing.
        issuer: installed.chain.leaf().map_or_else(|_| String::new(), |leaf| leaf.issuer),
        key: installed.key.to_hex(),
        installed_at: installed.at.into(),
    }
}

/// A failure with its remedy.
pub fn failure(failure: &Failure) -> FailureView {
    let (remedy, retry_after) = match failure.remedy {
        Remedy::Retry => ("retry", None),
        Remedy::RetryAfter(at) => ("retry-after", Some(at.into())),
        Remedy::Intervene => ("intervene", None),
    };
    FailureView {
        kind: word(&failure.kind),
        detail: failure.to_string(),
        remedy: remedy.to_owned(),
        retry_after,
        hint: failure.kind.hint().to_owned(),
        subject: failure.subject.as_ref().map(ToString::to_string),
        challenge: failure.challenge.map(|challenge| challenge.to_string()),
    }
}

/// One entry of the journal.
pub fn entry(entry: &Entry) -> EntryView {
    EntryView {
        seq: entry.seq,
        at: entry.at.into(),
        kind: word(&entry.kind),
        level: word(&entry.level),
        certificate: entry.certificate.map(|id| id.to_string()),
        name: entry.name.clone(),
        message: entry.message.clone(),
    }
}

/// One site, with the certificates there are.
pub fn site<'a, I>(site: &Site, certificates: I, now: Timestamp) -> SiteView
where
    I: IntoIterator<Item = &'a Certificate>,
{
    let mut names = site.names.clone();
    names.sort();
    names.dedup();
    let mut wanted: Option<&Certificate> = None;
    let mut serving: Option<(&Certificate, &Installed)> = None;
    for record in certificates {
        let retiring = matches!(record.phase, Phase::Retiring { .. });
        let issuer = &record.spec.issuer;
        if record.spec.role == Role::Primary
            && !retiring
            && (*issuer == site.issuer || Some(issuer) == site.standby.as_ref())
            && !record.stands_back()
            && record.spec.key == site.key
            && record.spec.names() == names
        {
            wanted = Some(record);
        }
        let Some(installed) = record.shown() else { continue };
        let better = |than: &(&Certificate, &Installed)| {
            let rank = |record: &Certificate, installed: &Installed| {
                installed.rank(&record.spec, site.name(), now)
            };
            rank(record, installed) > rank(than.0, than.1)
        };
        if record.spec.covers(site.name()) && serving.as_ref().is_none_or(better) {
            serving = Some((record, installed));
        }
    }
    SiteView {
        name: site.name().to_string(),
        names: site.names.iter().map(ToString::to_string).collect(),
        origin: site.origin.to_string(),
        issuer: site.issuer.to_string(),
        // While a bridge answers the port, the site's own certificate is what counts.
        state: match wanted.map_or(Standing::Working, |record| standing(record, now)) {
            // One that was brought is as good as its own.
            Standing::Working if serving.is_some_and(|(record, _)| brought(record, now)) => {
                Standing::Served
            }
            other => other,
        },
        certificate: wanted.map(|record| record.id().to_string()),
        serving: serving.map(|(record, _)| record.id().to_string()),
        not_after: serving.map(|(_, installed)| installed.validity.not_after.into()),
        redirect: site.redirect,
        default: site.default,
    }
}

fn brought(record: &Certificate, now: Timestamp) -> bool {
    let valid = record.installed.as_ref().is_some_and(|one| one.validity.contains(now));
    valid && !record.spec.role.is_driven()
}

/// The certificates by state: those that the configuration asks for as they are at `now`, and of
/// the imported ones how many are in which phase. Of the latter none is looked at, so one that is
/// held counts as served, which it is unless it was brought before its time.
pub fn counts<'a, I>(certificates: I, imported: &BTreeMap<String, u64>, now: Timestamp) -> Counts
where
    I: IntoIterator<Item = &'a Certificate>,
{
    let mut counts = Counts::default();
    let mut phases: BTreeMap<String, u64> = imported.clone();
    for (phase, count) in imported {
        counts.total += count;
        counts.imported += count;
        match phase.as_str() {
            "halted" => counts.needs_you += count,
            "holding" | "retiring" => counts.served += count,
            _ => counts.working += count,
        }
    }
    for record in certificates {
        counts.total += 1;
        match standing(record, now) {
            Standing::Served => counts.served += 1,
            Standing::Working => counts.working += 1,
            Standing::NeedsYou => counts.needs_you += 1,
        }
        *phases.entry(record.phase.word().to_owned()).or_default() += 1;
        *counts.conditions.entry(condition(record, now).to_owned()).or_default() += 1;
    }
    counts.phases = phases;
    counts
}

/// The kind of key; an RSA key that was brought may be longer than those that are made here.
fn key_algorithm(record: &Certificate) -> String {
    let chain = record.installed.as_ref().map(|one| &one.chain);
    let longer = chain.filter(|_| record.spec.role == Role::Imported).and_then(Chain::rsa_bits);
    longer.map_or_else(|| record.spec.key.to_string(), |bits| format!("rsa{bits}"))
}

const fn role(role: Role) -> &'static str {
    match role {
        Role::Primary => "primary",
        Role::Bridge => "bridge",
        Role::Imported => "imported",
        Role::Onboarded => "onboarded",
        Role::Issued(_) => "issued",
    }
}

const fn attempt(phase: &Phase) -> u32 {
    match phase {
        Phase::Due { attempt, .. }
        | Phase::Ordering { attempt, .. }
        | Phase::Waiting { attempt, .. } => *attempt,
        Phase::Holding { .. } | Phase::Halted { .. } | Phase::Retiring { .. } => 0,
    }
}

/// The word by which serde knows a variant without fields.
fn word<T: serde::Serialize>(variant: &T) -> String {
    match serde_json::to_value(variant) {
        Ok(serde_json::Value::String(text)) => text,
        Ok(other) => other.to_string(),
        Err(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::cert::identifier::Identifier;
    use crate::cert::key::KeyAlgorithm;
    use crate::cert::key::KeyId;
    use crate::cert::lifecycle::InFlight;
    use crate::cert::spec::IssuerName;
    use crate::cert::spec::Specification;
    use crate::cert::validity::RenewalWindow;
    use crate::cert::validity::Validity;

    const DAY: u64 = 24 * 3600;

    fn day(days: u64) -> Timestamp {
        Timestamp::from_unix(1_000_000_000 + days * DAY)
    }

    fn record(phase: Phase, installed: bool, role: Role) -> Certificate {
        let names = vec![Identifier::parse("shop.example").unwrap()];
        let issuer = IssuerName::Acme("https://ca.example/dir".to_owned());
        let mut record =
            Certificate::wanted(Specification::new(names, issuer, KeyAlgorithm::P256, None, role));
        record.phase = phase;
        record.installed = installed.then(|| {
            let key = rcgen::KeyPair::generate().unwrap();
            let params = rcgen::CertificateParams::new(vec!["shop.example".to_owned()]).unwrap();
            let der = params.self_signed(&key).unwrap().der().to_vec();
            Installed {
                chain: Chain::from_der(vec![der]).unwrap(),
                key: KeyId([7; 32]),
                validity: Validity { not_before: day(0), not_after: day(100) },
                serial: "0a".to_owned(),
                ari_id: None,
                at: day(0),
            }
        });
        record
    }

    fn waiting(attempt: u32) -> Phase {
        let failure = Failure::new(FailureKind::Dns, "no A record")
            .about(Identifier::parse("shop.example").unwrap())
            .with_remedy(Remedy::RetryAfter(day(3)));
        let in_flight = Some(InFlight {
            key: KeyId([1; 32]),
            order: Some("https://ca.example/o/1".to_owned()),
        });
        Phase::Waiting { attempt, until: day(4), failure, in_flight }
    }

    fn halted() -> Phase {
        Phase::Halted { failure: Failure::new(FailureKind::Terms, "not accepted"), since: day(1) }
    }

    fn holding() -> Phase {
        let window = RenewalWindow::new(day(66), day(70)).unwrap();
        Phase::Holding { renew_at: day(67), window, recheck_at: Some(day(2)) }
    }

    #[test]
    fn state_and_condition_by_phase_and_age() {
        use Standing::{NeedsYou, Served, Working};
        let due = || Phase::Due { attempt: 0, in_flight: None };
        let ordering = || Phase::Ordering { attempt: 0, in_flight: None, deadline: day(9) };
        let retiring = || Phase::Retiring { until: day(9) };
        let table: Vec<(Phase, Option<u64>, Standing, &str)> = vec![
            // Phase, day of looking when something is installed, state, condition.
            (due(), None, Working, "wanted"),
            (ordering(), None, Working, "ordered"),
            (waiting(1), None, Working, "failed"),
            (waiting(3), None, NeedsYou, "failed"),
            (halted(), None, NeedsYou, "failed"),
            (holding(), Some(1), Served, "issued"),
            (holding(), Some(96), Served, "expiring"),
            (due(), Some(67), Served, "renewing"),
            (ordering(), Some(67), Served, "renewing"),
            (waiting(30), Some(90), Served, "renewing"),
            (waiting(1), Some(95), NeedsYou, "expiring"),
            (waiting(1), Some(101), Working, "expired"),
            (waiting(3), Some(101), NeedsYou, "expired"),
            (due(), Some(101), Working, "expired"),
            (halted(), Some(1), NeedsYou, "failed"),
            (halted(), Some(101), NeedsYou, "expired"),
            (retiring(), Some(1), Served, "retired"),
        ];
        for (phase, at, state, expected) in table {
            let now = day(at.unwrap_or(0));
            let record = record(phase, at.is_some(), Role::Primary);
            let told = format!("{} on day {at:?}", record.phase.word());
            assert_eq!(standing(&record, now), state, "{told}");
            assert_eq!(condition(&record, now), expected, "{told}");
        }
    }

    #[test]
    fn a_waiting_certificate_tells_its_failure_its_order_and_its_next_wake() {
        let view = certificate(&record(waiting(2), false, Role::Primary), day(0));
        assert_eq!((view.phase.as_str(), view.attempt), ("waiting", 2));
        assert_eq!(view.next_wake, Some(Moment(day(4))));
        assert_eq!(view.order.as_deref(), Some("https://ca.example/o/1"));
        let failure = view.failure.unwrap();
        assert_eq!((failure.kind.as_str(), failure.remedy.as_str()), ("dns", "retry-after"));
        assert_eq!(failure.retry_after, Some(Moment(day(3))));
        assert_eq!(failure.detail, "shop.example: no A record");
        assert!(failure.hint.contains("A, AAAA and CNAME"));
    }

    #[test]
    fn a_held_certificate_tells_what_is_served_and_when_it_is_renewed() {
        let view = certificate(&record(holding(), true, Role::Primary), day(25));
        assert_eq!(view.renew_at, Some(Moment(day(67))));
        assert_eq!(view.next_wake, Some(Moment(day(2))));
        assert_eq!(view.window.unwrap().end, Moment(day(70)));
        let installed = view.installed.unwrap();
        assert!(installed.valid);
        assert_eq!(installed.percent_left, 75);
        assert_eq!(installed.key, "07".repeat(32));
        assert!(installed.issuer.contains("rcgen"));
        assert_eq!(view.failure, None);
    }

    #[test]
    fn a_site_is_answered_by_its_bridge_until_its_own_certificate_is_there() {
        let shop = Site {
            names: vec![Identifier::parse("shop.example").unwrap()],
            origin: crate::config::Origin::http("127.0.0.1:8080".parse().unwrap()),
            issuer: IssuerName::Acme("https://ca.example/dir".to_owned()),
            further: Vec::new(),
            standby: None,
            preferred_chain: None,
            key: KeyAlgorithm::P256,
            profile: None,
            hsts: None,
            redirect: true,
            default: false,
            preserve_host: true,
            second_key: None,
            reuse_key: false,
            early_data: false,
            access_log: true,
            tls_headers: false,
            challenge: None,
            policy: crate::config::Policy::default(),
            routes: Vec::new(),
            tls: crate::config::Agreement::default(),
            clients: None,
            exportable: false,
            keeping: crate::config::Keeping::default(),
            line: 3,
        };
        let mut own = record(Phase::Due { attempt: 0, in_flight: None }, false, Role::Primary);
        let bridge = record(holding(), true, Role::Bridge);
        let view = site(&shop, [&own, &bridge], day(1));
        assert_eq!(view.state, Standing::Working);
        assert_eq!(view.certificate, Some(own.id().to_string()));
        assert_eq!(view.serving, Some(bridge.id().to_string()));
        assert_eq!(view.origin, "http://127.0.0.1:8080");
        own.installed = record(holding(), true, Role::Primary).installed;
        own.phase = holding();
        let view = site(&shop, [&bridge, &own], day(1));
        assert_eq!((view.state, view.serving), (Standing::Served, Some(own.id().to_string())));
        assert_eq!(view.not_after, Some(Moment(day(100))));
        assert_eq!(site(&shop, [], day(1)).state, Standing::Working);
    }

    #[test]
    fn counts_add_up() {
        let all = [
            record(holding(), true, Role::Primary),
            record(halted(), false, Role::Primary),
            record(waiting(1), false, Role::Primary),
        ];
        let imported = [("holding".to_owned(), 40), ("halted".to_owned(), 2)].into();
        let counts = counts(&all, &imported, day(1).plus(Duration::from_secs(1)));
        assert_eq!((counts.total, counts.imported, counts.served), (45, 42, 41));
        assert_eq!((counts.working, counts.needs_you), (1, 3));
        assert_eq!(counts.phases.values().sum::<u64>(), 45);
        assert_eq!(counts.phases.get("holding"), Some(&41));
    }
}
