//! What the journal is told of a deployment that changed.

use crate::base::Timestamp;
use crate::base::bounds::deployment::DRIFTS;
use crate::cert::deployment::Deployment;
use crate::cert::deployment::State;
use crate::cert::journal::Entry;
use crate::cert::journal::EntryKind;
use crate::cert::journal::Level;

/// An entry about a deployment.
pub(super) fn entry(
    one: &Deployment,
    (kind, level): (EntryKind, Level),
    message: String,
    at: Timestamp,
) -> Entry {
    let (certificate, name) = (Some(one.certificate), Some(one.called.clone()));
    Entry { seq: 0, at, kind, level, certificate, name, message }
}

/// The entry for what became of `before`, if it is worth one: neither every failure in a row nor every
/// look.
pub(super) fn of_change(before: &Deployment, after: &Deployment, at: Timestamp) -> Option<Entry> {
    let target = &after.target;
    let why = after.reason.as_deref().unwrap_or("nobody knows why");
    let (kind, level, message) = match after.state {
        _ if after.urgent && !before.urgent => {
            let told = format!("target {target} has not had it for an hour: {why}");
            (EntryKind::DeploymentFailed, Level::Error, told)
        }
        State::Verified | State::Deployed if before.state.is_good() => return None,
        State::Verified if before.state == State::Failed && before.placed == before.wanted => {
            (EntryKind::Deployed, Level::Info, format!("it is shown by target {target}"))
        }
        State::Verified => {
            let told = format!("it was brought to target {target}, and is shown there");
            (EntryKind::Deployed, Level::Info, told)
        }
        State::Deployed => {
            let told =
                format!("it was brought to target {target}; nobody looks whether it is shown");
            (EntryKind::Deployed, Level::Info, told)
        }
        State::RolledBack if before.reason == after.reason && before.failures > 0 => return None,
        State::RolledBack => {
            let told = format!("target {target} has the former certificate again: {why}");
            (EntryKind::RolledBack, Level::Warning, told)
        }
        // One that never goes away is told when it lasts.
        State::Failed if before.failing.is_some() => return None,
        State::Failed => {
            let told = format!("target {target} does not have it: {why}");
            (EntryKind::DeploymentFailed, Level::Warning, told)
        }
        State::Drifted if after.drifts == before.drifts || after.drifts > DRIFTS + 1 => {
            return None;
        }
        State::Drifted => {
            let level = if after.drifts > DRIFTS { Level::Error } else { Level::Warning };
            (EntryKind::Drifted, level, format!("target {target} shows another certificate: {why}"))
        }
        State::Pending => return None,
    };
    Some(entry(after, (kind, level), message, at))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::cert::deployment::Event;
    use crate::cert::deployment::Leaf;
    use crate::cert::deployment::Made;
    use crate::cert::deployment::TargetName;
    use crate::cert::deployment::Verdict;
    use crate::cert::deployment::Watch;
    use crate::cert::spec::CertificateId;

    #[test]
    fn what_goes_on_is_told_once_and_again_when_it_lasts() {
        let (watch, mut now) =
            (Watch(Duration::from_secs(600)), Timestamp::from_unix(1_800_000_000));
        let key = (CertificateId([1; 8]), TargetName::parse("mail").unwrap());
        let mut one = Deployment::new(key, "a.example".to_owned(), None, Made::File, now);
        let mut told = Vec::new();
        let mut happens = |event: Event, pause: u64, told: &mut Vec<(EntryKind, Level)>| {
            now = now.plus(Duration::from_secs(pause));
            let after = one.after(event, watch, now, 0);
            told.extend(of_change(&one, &after, now).map(|entry| (entry.kind, entry.level)));
            one = after;
        };
        happens(Event::Wanted(Leaf([1; 32])), 0, &mut told);
        for _ in 0..20 {
            happens(Event::Carried(Verdict::Failed("no".to_owned())), 600, &mut told);
        }
        happens(Event::Carried(Verdict::Shown), 1, &mut told);
        for _ in 0..3 {
            happens(Event::Looked(Ok(Leaf([1; 32]))), 600, &mut told);
        }
        for _ in 0..6 {
            happens(Event::Looked(Ok(Leaf([9; 32]))), 1, &mut told);
            happens(Event::Carried(Verdict::Shown), 1, &mut told);
        }
        happens(Event::Wanted(Leaf([2; 32])), 1, &mut told);
        happens(Event::Carried(Verdict::PutBack("it broke".to_owned())), 1, &mut told);
        happens(Event::Carried(Verdict::PutBack("it broke".to_owned())), 1, &mut told);
        let good = (EntryKind::Deployed, Level::Info);
        let mut expected = vec![
            (EntryKind::DeploymentFailed, Level::Warning),
            (EntryKind::DeploymentFailed, Level::Error),
            good,
        ];
        for number in 1..=6 {
            match number {
                1..=3 => expected.push((EntryKind::Drifted, Level::Warning)),
                4 => expected.push((EntryKind::Drifted, Level::Error)),
                _ => {}
            }
            expected.push(good);
        }
        expected.push((EntryKind::RolledBack, Level::Warning));
        assert_eq!(told, expected);
    }
}
