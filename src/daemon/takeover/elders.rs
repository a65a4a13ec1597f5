//! The processes before this one that still finish what they began, as the one that follows them
//! knows them.
//!
//! Each is a socket that closes with its process. Deliberately absent: what they still do.

use std::os::fd::AsFd as _;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;

use super::Line;
use super::Word;
use crate::os::descriptors;

/// How often it is looked whether the last of them is gone.
const LOOK: Duration = Duration::from_millis(50);

/// All of them; clones are the same ones.
#[derive(Clone, Debug, Default)]
pub(in crate::daemon) struct Elders(Arc<Mutex<Vec<Line>>>);

impl Elders {
    /// There are more of them.
    pub(in crate::daemon) fn join(&self, lines: Vec<Line>) {
        self.lines().extend(lines);
    }

    /// How many there are.
    pub(in crate::daemon) fn count(&self) -> usize {
        let mut lines = self.lines();
        lines.retain(|line| !descriptors::is_hung_up(line.0.as_fd()));
        lines.len()
    }

    /// What is said of them.
    pub(in crate::daemon) fn notice(&self) -> Option<String> {
        match self.count() {
            0 => None,
            1 => Some("a former process finishes what it began".to_owned()),
            many => Some(format!("{many} former processes finish what they began")),
        }
    }

    /// Copies for whoever comes next.
    pub(super) fn copies(&self) -> Vec<OwnedFd> {
        self.count();
        self.lines().iter().filter_map(|line| line.0.try_clone().ok()).collect()
    }

    /// Has all of them end within `limit`, and waits for that.
    pub(in crate::daemon) async fn end(&self, limit: Duration) {
        let millis = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        for line in self.lines().iter() {
            // One that is gone needs not hurry.
            let _gone = line.say(&Word::Hurry { millis }, &[]);
        }
        let gone = async {
            while self.count() > 0 {
                tokio::time::sleep(LOOK).await;
            }
        };
        if tokio::time::timeout(limit.saturating_add(LOOK), gone).await.is_err() {
            tracing::warn!(left = self.count(), "former processes do not end in time");
        }
    }

    fn lines(&self) -> MutexGuard<'_, Vec<Line>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_hangs_up_is_gone_and_the_others_are_told_to_hurry() {
        let pairs: Vec<_> = (0..2).map(|_| descriptors::seqpacket_pair().unwrap()).collect();
        let (ours, theirs): (Vec<_>, Vec<_>) =
            pairs.into_iter().map(|(a, b)| (Line(a), Line(b))).unzip();
        let elders = Elders::default();
        elders.join(ours);
        assert_eq!(elders.notice().unwrap(), "2 former processes finish what they began");
        let mut theirs = theirs.into_iter();
        drop(theirs.next());
        assert_eq!((elders.count(), elders.copies().len()), (1, 1));
        let last = theirs.next().unwrap();
        let hearing = std::thread::spawn(move || last.hear(Duration::from_secs(5)).unwrap().0);
        elders.end(Duration::from_secs(5)).await;
        assert_eq!(hearing.join().unwrap(), Word::Hurry { millis: 5000 });
        assert_eq!(elders.notice(), None);
    }
}
