//! `[[notify]]` and `[heartbeat]`: by which ways people hear of what happened.
//!
//! What may be said in a file. What is told, and how it gets there, is the business of `notify`.

use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use super::model::Config;
use crate::cert::identifier::DnsName;
use crate::cert::journal::{EntryKind, Level};

/// A way by which people hear of what happened.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Channel {
    /// Its name.
    pub name: String,
    /// How news travels.
    pub way: Way,
    /// How much something has to matter.
    pub level: Level,
    /// What is told of; everything that a person should know where there is none.
    pub events: Vec<EntryKind>,
    /// Whose certificates are told of: these names and all below them; everybody's where there is none.
    pub about: Vec<DnsName>,
    /// When only errors are told at once.
    pub quiet: Option<Quiet>,
    /// When what is no error is told, all of it together.
    pub digest: Option<Digest>,
    /// The time zone of both, by its IANA name; that of the machine where there is none.
    pub zone: Option<String>,
}

/// How news travels.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Way {
    /// As a `POST` to a URL.
    Webhook(Webhook),
    /// As a message to mailboxes.
    Mail(Mail),
}

/// Where a `POST` goes, and how it looks.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Webhook {
    /// The URL.
    pub url: Place,
    /// What its body is.
    pub form: Form,
    /// The file of the secret by which it is signed.
    pub secret: Option<PathBuf>,
    /// The chat it is for, where the service has many.
    pub chat: Option<String>,
    /// The authorities that may vouch for the server instead of the system's.
    pub ca: Option<PathBuf>,
}

/// A URL, or the file in which one stands that is a secret itself.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Place {
    /// The URL.
    Url(String),
    /// The file it is in.
    File(PathBuf),
}

/// What the body of a `POST` is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Form {
    /// JSON of our own, signed as Standard Webhooks has it.
    Json,
    /// For Slack, Mattermost, Rocket.Chat: `text`.
    Slack,
    /// For Discord: `content`.
    Discord,
    /// For DingTalk's robots.
    DingTalk,
    /// For Feishu's and Lark's.
    Feishu,
    /// For WeCom's.
    WeCom,
    /// For Telegram's bots.
    Telegram,
    /// For ntfy: plain text.
    Ntfy,
}

/// Whom a message is for, and who takes it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Mail {
    /// Whom it is for.
    pub to: Vec<String>,
    /// Whom it is from.
    pub from: String,
    /// The host that takes it.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the connection is kept private.
    pub tls: MailTls,
    /// The user, and the file of the password.
    pub login: Option<(String, PathBuf)>,
    /// The authorities that may vouch for the host instead of the system's.
    pub ca: Option<PathBuf>,
}

/// How a connection to a mail server is kept private.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum MailTls {
    /// TLS from the first octet (RFC 8314).
    Implicit,
    /// STARTTLS, without which nothing is sent (RFC 3207).
    StartTls,
    /// Not at all: only to this machine.
    None,
}

/// Hours in which only errors are told at once; over midnight where `from` is later than `to`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Quiet {
    /// From when on.
    pub from: TimeOfDay,
    /// Until when.
    pub to: TimeOfDay,
}

/// When what is no error is told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Digest {
    /// Once a day.
    Daily(TimeOfDay),
    /// So long after the first of it.
    Every(Duration),
}

/// An hour and a minute, as clocks on walls show them.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd)]
pub struct TimeOfDay {
    /// From 0 to 23.
    pub hour: i8,
    /// From 0 to 59.
    pub minute: i8,
}

/// A URL that is called while all is well, so that silence is an alarm.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Heartbeat {
    /// The URL.
    pub url: Place,
    /// How often.
    pub every: Duration,
    /// The authorities that may vouch for the server instead of the system's.
    pub ca: Option<PathBuf>,
}

impl Config {
    /// The files that whoever tells has to read.
    pub fn files_of_news(&self) -> impl Iterator<Item = &Path> {
        let of_channels = self.notify.iter().flat_map(|channel| match &channel.way {
            Way::Webhook(hook) => [hook.url.file(), hook.secret.as_deref(), hook.ca.as_deref()],
            Way::Mail(mail) => {
                let password = mail.login.as_ref().map(|(_, file)| file.as_path());
                [password, mail.ca.as_deref(), None]
            }
        });
        let of_heart = self.heartbeat.iter().flat_map(|beat| [beat.url.file(), beat.ca.as_deref()]);
        of_channels.chain(of_heart).flatten()
    }
}

impl Place {
    fn file(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Url(_) => None,
        }
    }
}

impl Form {
    /// All of them, by the words of the file.
    pub const ALL: [(&'static str, Self); 8] = [
        ("json", Self::Json),
        ("slack", Self::Slack),
        ("discord", Self::Discord),
        ("dingtalk", Self::DingTalk),
        ("feishu", Self::Feishu),
        ("wecom", Self::WeCom),
        ("telegram", Self::Telegram),
        ("ntfy", Self::Ntfy),
    ];

    /// Whether its service knows a signature of ours.
    pub const fn is_signed(self) -> bool {
        matches!(self, Self::Json | Self::DingTalk | Self::Feishu)
    }
}

impl TimeOfDay {
    /// Reads `HH:MM`.
    pub fn parse(text: &str) -> Option<Self> {
        let (hour, minute) = text.split_once(':')?;
        let two = |text: &str, most: i8| -> Option<i8> {
            let plain = text.len() == 2 && text.bytes().all(|octet| octet.is_ascii_digit());
            text.parse().ok().filter(|number| plain && *number <= most)
        };
        Some(Self { hour: two(hour, 23)?, minute: two(minute, 59)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_of_day_has_two_digits_on_each_side() {
        assert_eq!(TimeOfDay::parse("07:30"), Some(TimeOfDay { hour: 7, minute: 30 }));
        assert_eq!(TimeOfDay::parse("23:59"), Some(TimeOfDay { hour: 23, minute: 59 }));
        for text in ["24:00", "7:30", "07:60", "0730", "+7:30", "07:3", "", ":"] {
            assert_eq!(TimeOfDay::parse(text), None, "{text}");
        }
    }
}
