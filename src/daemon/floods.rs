//! When clients begin to be turned away, and when that is over: told once each.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;

use crate::base::Timestamp;

/// So many clients turned away between two looks are a flood. Fewer are the ends of one, or a
/// client in a loop.
const BEGINS: u64 = 20;

/// A flood is over when nobody was turned away for so long.
const CALM: Duration = Duration::from_secs(60);

/// What is known of floods.
#[derive(Debug, Default)]
pub(super) struct Floods {
    /// Clients turned away until the last look.
    seen: u64,
    present: Option<Flood>,
    told: Told,
}

/// What a person is told of a flood while it lasts.
pub(super) type Told = Arc<ArcSwapOption<String>>;

#[derive(Debug)]
struct Flood {
    since: Timestamp,
    last: Timestamp,
    /// Clients turned away before it began.
    before: u64,
}

/// Something to tell.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum News {
    /// Clients are being turned away.
    Began(String),
    /// No more.
    Ended(String),
}

impl Floods {
    /// Where it stands while there is one.
    pub(super) fn told(&self) -> Told {
        Arc::clone(&self.told)
    }

    /// Looks at how many were turned away so far, lately one of `network`.
    pub(super) fn look(
        &mut self,
        turned_away: u64,
        network: Option<&str>,
        now: Timestamp,
    ) -> Option<News> {
        let before = std::mem::replace(&mut self.seen, turned_away);
        let fresh = turned_away.saturating_sub(before);
        let Some(flood) = &mut self.present else {
            if fresh < BEGINS {
                return None;
            }
            self.present = Some(Flood { since: now, last: now, before });
            let text = format!(
                "clients are being turned away, {fresh} so far, lately of {}",
                network.unwrap_or("a network unknown")
            );
            self.told.store(Some(Arc::new(format!("a flood since {now}: {text}"))));
            return Some(News::Began(text));
        };
        if fresh > 0 {
            flood.last = now;
            return None;
        }
        if now.since(flood.last) < CALM {
            return None;
        }
        let text = format!(
            "no client is being turned away any more; {} were within {} s",
            turned_away.saturating_sub(flood.before),
            flood.last.since(flood.since).as_secs()
        );
        self.present = None;
        self.told.store(None);
        Some(News::Ended(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NETWORK: Option<&str> = Some("192.0.2.0/24");

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_unix(1_800_000_000 + seconds)
    }

    #[test]
    fn a_flood_is_told_when_it_begins_and_when_it_is_over() {
        let mut floods = Floods::default();
        assert_eq!(floods.look(5, NETWORK, at(0)), None);
        let began = floods.look(105, NETWORK, at(5));
        let Some(News::Began(text)) = began else { panic!("{began:?}") };
        assert!(text.contains("100 so far") && text.contains("192.0.2.0/24"), "{text}");
        let told = floods.told();
        assert!(told.load().as_ref().unwrap().contains("192.0.2.0/24"));
        assert_eq!(floods.look(9000, NETWORK, at(10)), None);
        assert_eq!(floods.look(9000, NETWORK, at(15)), None);
        // The pause was none.
        assert_eq!(floods.look(9001, NETWORK, at(65)), None);
        assert_eq!(floods.look(9001, NETWORK, at(120)), None);
        let ended = floods.look(9001, NETWORK, at(125));
        let Some(News::Ended(text)) = ended else { panic!("{ended:?}") };
        assert!(text.contains("8996 were within 60 s"), "{text}");
        assert!(told.load().is_none());
        assert_eq!(floods.look(9001, NETWORK, at(130)), None);
        assert!(matches!(floods.look(9100, None, at(135)), Some(News::Began(_))));
    }

    #[test]
    fn a_few_that_are_turned_away_are_no_flood() {
        let mut floods = Floods::default();
        assert!((0..100).all(|turn| floods.look(turn * 19, NETWORK, at(turn * 5)).is_none()));
    }
}
