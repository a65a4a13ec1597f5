//! The words by which news is told.

use jiff::tz::TimeZone;

use crate::cert::journal::Entry;
use crate::cert::journal::Level;

/// Several news, and where they are from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Letter<'a> {
    /// The machine's name.
    pub(super) host: &'a str,
    /// The channel's name.
    pub(super) channel: &'a str,
    /// The news, oldest first.
    pub(super) news: &'a [Entry],
    /// News that were given up before.
    pub(super) lost: u64,
    /// In which time zone moments are told.
    pub(super) zone: &'a TimeZone,
}

impl Letter<'_> {
    /// How much the gravest of it matters.
    pub(super) fn level(&self) -> Level {
        self.news.iter().map(|entry| entry.level).max().unwrap_or(Level::Info)
    }

    /// One line that says what it is about.
    pub(super) fn subject(&self) -> String {
        match self.news {
            [] => format!("keyward on {}: a trial", self.host),
            [one] => match &one.name {
                Some(name) => format!("keyward on {}: {name}: {}", self.host, one.kind),
                None => format!("keyward on {}: {}", self.host, one.kind),
            },
            several => {
                let urgent = several.iter().filter(|one| one.level == Level::Error).count();
                let told = if urgent == 0 { String::new() } else { format!(", {urgent} urgent") };
                format!("keyward on {}: {} news{told}", self.host, several.len())
            }
        }
    }

    /// Everything, a line each.
    pub(super) fn text(&self) -> String {
        let mut lines: Vec<String> = self.news.iter().map(|entry| self.line(entry)).collect();
        if self.news.is_empty() {
            let told = format!("this is a trial of the channel {:?}: it works", self.channel);
            lines.push(told);
        }
        if self.lost > 0 {
            lines.push(format!("{} older news could not be told and were given up", self.lost));
        }
        lines.join("\n")
    }

    fn line(&self, entry: &Entry) -> String {
        let level = match entry.level {
            Level::Info => "",
            Level::Warning => "warning: ",
            Level::Error => "URGENT: ",
        };
        let name = entry.name.as_deref().map(|name| format!("{name}: ")).unwrap_or_default();
        let moment = i64::try_from(entry.at.as_unix()).ok();
        let moment = moment.and_then(|at| jiff::Timestamp::from_second(at).ok());
        let at = match moment {
            Some(at) => {
                at.to_zoned_datetime(self.zone.clone()).strftime("%Y-%m-%d %H:%M %Z").to_string()
            }
            None => entry.at.to_string(),
        };
        format!("{level}{name}{} ({}, {at})", entry.message, entry.kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Timestamp;
    use crate::cert::journal::EntryKind;

    fn entry(kind: EntryKind, level: Level, name: Option<&str>, message: &str) -> Entry {
        let at = Timestamp::from_unix(1_800_000_000);
        let entry = Entry::about_house(at, kind, level, message.to_owned());
        Entry { name: name.map(str::to_owned), ..entry }
    }

    #[test]
    fn a_letter_says_where_what_and_when_with_its_time_zone() {
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        let one = entry(EntryKind::Halted, Level::Error, Some("shop.example"), "it stops");
        let two = entry(EntryKind::VaultRestarted, Level::Warning, None, "the vault ended");
        let letter = |news, lost| Letter { host: "box", channel: "ops", news, lost, zone: &zone };
        let both = [one.clone(), two.clone()];
        assert_eq!(letter(&both, 0).subject(), "keyward on box: 2 news, 1 urgent");
        let (one, two) = ([one], [two]);
        assert_eq!(letter(&two, 0).subject(), "keyward on box: vault-restarted");
        assert_eq!(letter(&one, 0).subject(), "keyward on box: shop.example: halted");
        let text = "URGENT: shop.example: it stops (halted, 2027-01-15 09:00 CET)\n\
                    warning: the vault ended (vault-restarted, 2027-01-15 09:00 CET)\n\
                    3 older news could not be told and were given up";
        assert_eq!(letter(&both, 3).text(), text);
        assert!(letter(&[], 0).text().contains("\"ops\""));
        assert_eq!(letter(&both, 0).level(), Level::Error);
    }
}
