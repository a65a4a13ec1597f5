//! What is to be where: what the file wants, and what was asked for, against what there is.
//!
//! Pure. Deliberately absent: finding certificates by what they are called.

use std::collections::BTreeMap;

use crate::base::Timestamp;
use crate::base::bounds::deployment::MOST;
use crate::cert::client::ClientName;
use crate::cert::deployment::Deployment;
use crate::cert::deployment::Event;
use crate::cert::deployment::Leaf;
use crate::cert::deployment::Made;
use crate::cert::deployment::TargetName;
use crate::cert::deployment::Watch;
use crate::cert::lifecycle::Phase;
use crate::cert::record::Certificate;
use crate::cert::spec::CertificateId;

/// Where a deployment is found: target and certificate.
pub(super) type Key = (TargetName, CertificateId);

/// All deployments.
pub(super) type All = BTreeMap<Key, Deployment>;

/// What is known of a certificate that somebody wants somewhere.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Known {
    pub(super) id: CertificateId,
    pub(super) owner: Option<ClientName>,
    /// What is installed, if something is.
    pub(super) leaf: Option<Leaf>,
}

/// A wish: this certificate, called so, at this target.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Wanted {
    pub(super) target: TargetName,
    pub(super) called: String,
    pub(super) made: Made,
    pub(super) known: Known,
}

/// What is to be changed.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Changes {
    /// Those that are new or want something else now.
    pub(super) kept: Vec<Deployment>,
    /// Those that nobody wants any more.
    pub(super) gone: Vec<Deployment>,
    /// Wishes for which there is no room.
    pub(super) refused: usize,
}

impl Known {
    /// What a record says.
    pub(super) fn of(record: &Certificate) -> Self {
        let chain = record.installed.as_ref().map(|installed| &installed.chain);
        let leaf = chain.and_then(|chain| chain.certificates().first()).map(|der| Leaf::of(der));
        let owner = record.care.issue.as_ref().map(|issue| issue.client.clone());
        Self { id: record.id(), owner, leaf }
    }
}

/// Whether a certificate of this record is to be anywhere: not one that is on its way out.
pub(super) const fn stays(record: &Certificate) -> bool {
    !matches!(record.phase, Phase::Retiring { .. })
}

/// What leads from `all` to what is wanted. Of two wishes for the same the first counts: the file before
/// those who asked.
pub(super) fn changes(all: &All, wanted: Vec<Wanted>, watch: Watch, now: Timestamp) -> Changes {
    let mut changes = Changes::default();
    let mut wishes: BTreeMap<Key, Wanted> = BTreeMap::new();
    for wish in wanted {
        if wishes.len() < MOST {
            wishes.entry((wish.target.clone(), wish.known.id)).or_insert(wish);
        } else {
            changes.refused += 1;
        }
    }
    for (key, one) in all {
        if !wishes.contains_key(key) {
            changes.gone.push(one.clone());
        }
    }
    for (key, wish) in wishes {
        let known = all.get(&key);
        let mut one = known.cloned().unwrap_or_else(|| {
            let place = (wish.known.id, wish.target.clone());
            Deployment::new(place, wish.called.clone(), None, wish.made, now)
        });
        (one.called, one.owner, one.made) = (wish.called, wish.known.owner, wish.made);
        if let Some(leaf) = wish.known.leaf {
            one = one.after(Event::Wanted(leaf), watch, now, 0);
        }
        if known != Some(&one) {
            changes.kept.push(one);
        }
    }
    changes
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::cert::deployment::State;

    const WATCH: Watch = Watch(Duration::from_secs(60));

    fn wish(target: &str, id: u8, leaf: Option<u8>, made: Made) -> Wanted {
        let known =
            Known { id: CertificateId([id; 8]), owner: None, leaf: leaf.map(|n| Leaf([n; 32])) };
        let target = TargetName::parse(target).unwrap();
        Wanted { target, called: format!("n{id}"), made, known }
    }

    fn keep(all: &mut All, changes: &Changes) {
        for one in &changes.gone {
            all.remove(&(one.target.clone(), one.certificate));
        }
        for one in &changes.kept {
            all.insert((one.target.clone(), one.certificate), one.clone());
        }
    }

    #[test]
    fn what_is_wanted_comes_and_what_is_not_goes() {
        let (mut all, now) = (All::new(), Timestamp::from_unix(1_800_000_000));
        let wishes = || {
            vec![
                wish("a", 1, Some(1), Made::File),
                wish("b", 1, Some(1), Made::Asked),
                wish("a", 2, None, Made::File),
            ]
        };
        let first = changes(&all, wishes(), WATCH, now);
        assert_eq!((first.kept.len(), first.gone.len()), (3, 0));
        assert!(first.kept.iter().all(|one| one.state == State::Pending && one.next == now));
        keep(&mut all, &first);
        // Nothing more is to be done.
        assert_eq!(changes(&all, wishes(), WATCH, now), Changes::default());
        // The file says what was asked for as well: it is the file's, and stays what it was.
        let mut both = wishes();
        both.insert(0, wish("b", 1, Some(1), Made::File));
        let second = changes(&all, both, WATCH, now);
        assert_eq!(second.kept.len(), 1);
        assert_eq!(second.kept[0].made, Made::File);
        // One was renewed, and one is wanted no more.
        let wishes = vec![wish("a", 1, Some(7), Made::File), wish("a", 2, Some(2), Made::File)];
        let third = changes(&all, wishes, WATCH, now.plus(Duration::from_secs(9)));
        let leaves: Vec<_> = third.kept.iter().map(|one| one.wanted).collect();
        assert_eq!(leaves, [Some(Leaf([7; 32])), Some(Leaf([2; 32]))]);
        assert_eq!(third.gone.len(), 1);
        assert_eq!(third.gone[0].target.as_str(), "b");
    }

    #[test]
    fn there_are_bounds_and_they_are_told() {
        let wishes = (0..MOST + 3).map(|n| {
            let mut wish = wish("a", 1, None, Made::File);
            wish.target = TargetName::parse(&format!("t{n}")).unwrap();
            wish
        });
        let found = changes(&All::new(), wishes.collect(), WATCH, Timestamp::from_unix(1));
        assert_eq!((found.kept.len(), found.refused), (MOST, 3));
    }
}
