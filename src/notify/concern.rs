//! Whether an entry of the journal concerns a channel.

use crate::cert::identifier::Identifier;
use crate::cert::journal::Entry;
use crate::cert::journal::EntryKind;
use crate::cert::news::is_worth_telling;
use crate::config::Channel;

/// Whether `channel` is to tell of `entry`.
pub(super) fn concerns(channel: &Channel, entry: &Entry) -> bool {
    // How a channel itself fares is told by the others.
    let of_itself = matches!(entry.kind, EntryKind::NewsFailed | EntryKind::NewsDelivered)
        && entry.name.as_deref() == Some(channel.name.as_str());
    let kind = if channel.events.is_empty() {
        is_worth_telling(entry)
    } else {
        channel.events.contains(&entry.kind)
    };
    !of_itself && kind && entry.level >= channel.level && of_names(channel, entry)
}

fn of_names(channel: &Channel, entry: &Entry) -> bool {
    if channel.about.is_empty() {
        return true;
    }
    let name = entry.name.as_deref().and_then(|name| Identifier::parse(name).ok());
    let Some(name) = name else { return false };
    let text = name.text();
    let text = text.strip_prefix("*.").unwrap_or(&text);
    channel.about.iter().any(|above| {
        let rest = text.strip_suffix(above.as_str());
        rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::base::Timestamp;
    use crate::cert::identifier::DnsName;
    use crate::cert::journal::Level;
    use crate::config::Form;
    use crate::config::Place;
    use crate::config::Way;
    use crate::config::Webhook;

    fn channel(level: Level, events: &[EntryKind], names: &[&str]) -> Channel {
        let name = |text: &&str| match Identifier::parse(text).unwrap() {
            Identifier::Dns(name) => name,
            _ => unreachable!(),
        };
        let names: Vec<DnsName> = names.iter().map(name).collect();
        let way = Way::Webhook(Webhook {
            url: Place::File(PathBuf::new()),
            form: Form::Json,
            secret: None,
            chat: None,
            ca: None,
        });
        let (quiet, digest, zone) = (None, None, None);
        let events = events.to_vec();
        Channel { name: "ops".into(), way, level, events, about: names, quiet, digest, zone }
    }

    fn entry(kind: EntryKind, level: Level, name: &str) -> Entry {
        let at = Timestamp::from_unix(0);
        let entry = Entry::about_house(at, kind, level, String::new());
        Entry { name: (!name.is_empty()).then(|| name.to_owned()), ..entry }
    }

    #[test]
    fn what_matters_less_than_was_asked_for_is_not_told() {
        let warnings = channel(Level::Warning, &[], &[]);
        assert!(concerns(&warnings, &entry(EntryKind::Failed, Level::Warning, "a.example")));
        assert!(concerns(&warnings, &entry(EntryKind::Halted, Level::Error, "a.example")));
        assert!(!concerns(&warnings, &entry(EntryKind::Installed, Level::Info, "a.example")));
        let all = channel(Level::Info, &[], &[]);
        assert!(concerns(&all, &entry(EntryKind::Installed, Level::Info, "a.example")));
        // A step on the way, unless it went wrong.
        assert!(!concerns(&all, &entry(EntryKind::Ordering, Level::Info, "a.example")));
        assert!(concerns(&all, &entry(EntryKind::Ordering, Level::Warning, "a.example")));
    }

    #[test]
    fn only_the_events_and_names_that_were_asked_for_are_told() {
        let some = channel(Level::Info, &[EntryKind::Installed], &["shop.example"]);
        for name in ["shop.example", "www.shop.example", "*.shop.example"] {
            assert!(concerns(&some, &entry(EntryKind::Installed, Level::Info, name)), "{name}");
        }
        for name in ["bookshop.example", "example", "192.0.2.7", ""] {
            assert!(!concerns(&some, &entry(EntryKind::Installed, Level::Info, name)), "{name}");
        }
        assert!(!concerns(&some, &entry(EntryKind::Halted, Level::Error, "shop.example")));
    }

    #[test]
    fn no_channel_tells_of_its_own_failure() {
        let all = channel(Level::Info, &[], &[]);
        assert!(!concerns(&all, &entry(EntryKind::NewsFailed, Level::Error, "ops")));
        assert!(concerns(&all, &entry(EntryKind::NewsFailed, Level::Error, "mail")));
    }
}
