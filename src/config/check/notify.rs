//! `[[notify]]` and `[heartbeat]`: by which ways people hear of what happened.

use std::path::PathBuf;

use url::Url;

use super::super::finding::Findings;
use super::super::key_path::KeyPath;
use super::super::notify::{Channel, Digest, Form, Heartbeat, Mail, MailTls, Place, Quiet};
use super::super::notify::{TimeOfDay, Way, Webhook};
use super::super::private::why_not_private;
use super::super::quantity;
use super::super::raw_notify::{RawHeartbeat, RawNotify};
use super::super::suggest;
use super::{files, quoted};
use crate::base::bounds::news::BEAT_LEAST;
use crate::base::bounds::news::BEAT_MOST;
use crate::base::bounds::news::DIGEST_LEAST;
use crate::base::bounds::news::DIGEST_MOST;
use crate::cert::identifier::{DnsName, Identifier};
use crate::cert::journal::{EntryKind, Level};
use crate::cert::news;

/// How much something has to matter, by the words of the file.
const LEVELS: [(&str, Level); 3] =
    [("info", Level::Info), ("warning", Level::Warning), ("error", Level::Error)];

pub(super) fn check_all(raw: &[RawNotify], findings: &mut Findings) -> Vec<Channel> {
    let list = KeyPath::dotted("notify");
    let mut all: Vec<Channel> = Vec::with_capacity(raw.len());
    for (number, raw) in raw.iter().enumerate() {
        let at = list.index(number);
        let name = name(raw, &all, &at, findings);
        let level = word(&raw.level, &LEVELS, &at.key("level"), findings);
        let events = events(&raw.events, &at.key("events"), findings);
        let about = about(&raw.about, &at.key("about"), findings);
        let quiet = raw.quiet.as_deref().and_then(|text| quiet(text, &at.key("quiet"), findings));
        let digest =
            raw.digest.as_deref().and_then(|text| digest(text, &at.key("digest"), findings));
        zone(raw, &at, findings);
        let Some(way) = way(raw, &at, findings) else { continue };
        let zone = raw.time_zone.clone();
        let level = level.unwrap_or(Level::Warning);
        all.push(Channel { name, way, level, events, about, quiet, digest, zone });
    }
    all
}

pub(super) fn heartbeat(raw: &RawHeartbeat, findings: &mut Findings) -> Option<Heartbeat> {
    let at = KeyPath::dotted("heartbeat");
    let ca = ca(raw.ca_root.as_deref(), &at, findings);
    let every = match quantity::duration(&raw.every) {
        Ok(every) if (BEAT_LEAST..=BEAT_MOST).contains(&every) => every,
        _ => {
            findings
                .error(&at.key("every"), format!("{} is out of bounds", quoted(&raw.every)))
                .expected("from \"10s\" to \"24h\"");
            BEAT_LEAST
        }
    };
    let url =
        place(("url", raw.url.as_deref()), ("url_file", raw.url_file.as_deref()), &at, findings);
    Some(Heartbeat { url: url?, every, ca })
}

fn name(raw: &RawNotify, all: &[Channel], at: &KeyPath, findings: &mut Findings) -> String {
    let key = at.key("name");
    let name = raw.name.clone().unwrap_or_default();
    if findings.is_spoilt(&key) {
        return name;
    }
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.is_empty() || name.len() > 64 || !name.chars().all(plain) {
        findings
            .error(&key, "a channel has no name by which commands could call it")
            .expected("lower-case letters, digits and hyphens, such as \"ops\"");
    } else if all.iter().any(|channel| channel.name == name) {
        findings
            .error(&key, format!("there are two channels of the name {}", quoted(&name)))
            .expected("a name for each: what is still to be told is kept under it");
    }
    name
}

/// The one of `known` that `text` names.
fn word<T: Copy>(
    text: &str,
    known: &[(&str, T)],
    key: &KeyPath,
    findings: &mut Findings,
) -> Option<T> {
    if findings.is_spoilt(key) {
        return None;
    }
    if let Some((_, value)) = known.iter().find(|(word, _)| *word == text) {
        return Some(*value);
    }
    let words: Vec<_> = known.iter().map(|(word, _)| format!("{word:?}")).collect();
    let finding = findings.error(key, format!("{} is not known", quoted(text)));
    finding.expected(format!("one of {}", words.join(", ")));
    if let Some(meant) = suggest::nearest(text, known.iter().map(|(word, _)| *word)) {
        finding.hint(format!("{meant:?}"));
    }
    None
}

fn events(raw: &[String], key: &KeyPath, findings: &mut Findings) -> Vec<EntryKind> {
    let words: Vec<(String, EntryKind)> =
        news::KINDS.iter().map(|kind| (kind.to_string(), *kind)).collect();
    let known: Vec<(&str, EntryKind)> =
        words.iter().map(|(word, kind)| (word.as_str(), *kind)).collect();
    let mut events = Vec::with_capacity(raw.len());
    for (number, text) in raw.iter().enumerate() {
        events.extend(word(text, &known, &key.index(number), findings));
    }
    events
}

fn about(raw: &[String], key: &KeyPath, findings: &mut Findings) -> Vec<DnsName> {
    let mut names = Vec::with_capacity(raw.len());
    for (number, text) in raw.iter().enumerate() {
        let key = key.index(number);
        match Identifier::parse(text) {
            _ if findings.is_spoilt(&key) => {}
            Ok(Identifier::Dns(name)) => names.push(name),
            _ => {
                findings
                    .error(&key, format!("{} is no name that others are below", quoted(text)))
                    .expected("a host name: certificates for it and for all below it are told of");
            }
        }
    }
    names
}

fn quiet(text: &str, key: &KeyPath, findings: &mut Findings) -> Option<Quiet> {
    if findings.is_spoilt(key) {
        return None;
    }
    let parsed = text.split_once('-').and_then(|(from, to)| {
        Some(Quiet { from: TimeOfDay::parse(from.trim())?, to: TimeOfDay::parse(to.trim())? })
    });
    if parsed.is_none_or(|quiet| quiet.from == quiet.to) {
        findings
            .error(key, format!("{} are no hours", quoted(text)))
            .expected("from when until when, such as \"22:00-07:00\"");
        return None;
    }
    parsed
}

fn digest(text: &str, key: &KeyPath, findings: &mut Findings) -> Option<Digest> {
    if findings.is_spoilt(key) {
        return None;
    }
    if let Some(time) = TimeOfDay::parse(text) {
        return Some(Digest::Daily(time));
    }
    match quantity::duration(text) {
        Ok(every) if (DIGEST_LEAST..=DIGEST_MOST).contains(&every) => Some(Digest::Every(every)),
        _ => {
            findings
                .error(key, format!("{} is no time to tell everything together", quoted(text)))
                .expected("a time of day such as \"08:00\", or from \"1m\" to \"168h\"");
            None
        }
    }
}

fn zone(raw: &RawNotify, at: &KeyPath, findings: &mut Findings) {
    let Some(name) = &raw.time_zone else { return };
    let key = at.key("time_zone");
    if !findings.is_spoilt(&key) && jiff::tz::TimeZone::get(name).is_err() {
        findings
            .error(&key, format!("there is no time zone {}", quoted(name)))
            .expected("a name of the IANA time zone database, such as \"Europe/Berlin\"");
    }
}

fn way(raw: &RawNotify, at: &KeyPath, findings: &mut Findings) -> Option<Way> {
    let hook = raw.webhook.is_some() || raw.webhook_file.is_some();
    match (hook, raw.mail.is_empty()) {
        (true, true) => webhook(raw, at, findings).map(Way::Webhook),
        (false, false) => mail(raw, at, findings).map(Way::Mail),
        (true, false) => {
            findings
                .error(&at.key("mail"), "a channel is a webhook and mail at once")
                .expected("one of both; a further [[notify]] for the other");
            None
        }
        (false, true) => {
            if !["webhook", "mail"].iter().any(|key| findings.is_spoilt(&at.key(key))) {
                findings
                    .error(at, "nobody is told by this channel")
                    .expected("`webhook`, `webhook_file` or `mail`")
                    .hint("mail = [\"ops@example.org\"]");
            }
            None
        }
    }
}

fn webhook(raw: &RawNotify, at: &KeyPath, findings: &mut Findings) -> Option<Webhook> {
    let form = word(&raw.format, &Form::ALL, &at.key("format"), findings);
    // A stand-in: it was complained of.
    let (known, form) = (form.is_some(), form.unwrap_or(Form::Json));
    only("mail", raw, at, findings);
    let secret = raw
        .secret_file
        .as_deref()
        .map(|path| files::existing(path, &at.key("secret_file"), findings));
    if secret.is_some() && !form.is_signed() {
        findings
            .error(&at.key("secret_file"), format!("{} knows no signature", quoted(&raw.format)))
            .expected("format \"json\", \"dingtalk\" or \"feishu\" beside it, or no secret");
    }
    match (form, &raw.chat) {
        (Form::Telegram, None) => {
            findings
                .error(&at.key("chat"), "a bot of Telegram has to know the chat")
                .expected("its number, or @ and the name of a channel");
        }
        (other, Some(_)) if known && other != Form::Telegram => {
            findings
                .error(&at.key("chat"), format!("{} has no chats", quoted(&raw.format)))
                .expected("format = \"telegram\" beside it, or no chat");
        }
        _ => {}
    }
    let (plain, file) = (raw.webhook.as_deref(), raw.webhook_file.as_deref());
    let url = place(("webhook", plain), ("webhook_file", file), at, findings);
    let ca = ca(raw.ca_root.as_deref(), at, findings);
    Some(Webhook { url: url?, form, secret, chat: raw.chat.clone(), ca })
}

/// The URL at the one key, or the file at the other, of which both may not be.
fn place(
    (key, url): (&str, Option<&str>),
    (file_key, file): (&str, Option<&str>),
    at: &KeyPath,
    findings: &mut Findings,
) -> Option<Place> {
    match (url, file) {
        (Some(url), None) => {
            posted(url, &at.key(key), findings);
            Some(Place::Url(url.to_owned()))
        }
        (None, Some(file)) => Some(Place::File(files::existing(file, &at.key(file_key), findings))),
        (Some(_), Some(_)) => {
            findings
                .error(&at.key(file_key), format!("`{key}` is there as well"))
                .expected("one of both");
            None
        }
        (None, None) => None,
    }
}

/// What is told may be read by nobody on the way.
fn posted(text: &str, key: &KeyPath, findings: &mut Findings) {
    if findings.is_spoilt(key) {
        return;
    }
    let Some(wrong) = why_not_private(text, "called") else { return };
    // Such a URL is a secret itself more often than not.
    findings
        .error(key, format!("the URL {wrong}"))
        .expected("a URL with https://, or with http:// on this machine");
}

fn mail(raw: &RawNotify, at: &KeyPath, findings: &mut Findings) -> Option<Mail> {
    only("webhook", raw, at, findings);
    for (number, address) in raw.mail.iter().enumerate() {
        mailbox(address, &at.key("mail").index(number), findings);
    }
    let from = raw.from.clone().unwrap_or_default();
    if raw.from.is_some() {
        mailbox(&from, &at.key("from"), findings);
    } else if !findings.is_spoilt(&at.key("from")) {
        findings
            .error(&at.key("from"), "mail has no sender")
            .expected("an address that the server takes from here")
            .hint("from = \"keyward@example.org\"");
    }
    let login = match (&raw.user, raw.password_file.as_deref()) {
        (Some(user), Some(path)) => {
            Some((user.clone(), files::existing(path, &at.key("password_file"), findings)))
        }
        (None, None) => None,
        (Some(_), None) => {
            lacks("password_file", "user", at, findings);
            None
        }
        (None, Some(_)) => {
            lacks("user", "password_file", at, findings);
            None
        }
    };
    let ca = ca(raw.ca_root.as_deref(), at, findings);
    let (host, port, tls) = smtp(raw.smtp.as_deref(), &at.key("smtp"), findings)?;
    Some(Mail { to: raw.mail.clone(), from, host, port, tls, login, ca })
}

fn lacks(key: &str, other: &str, at: &KeyPath, findings: &mut Findings) {
    if !findings.is_spoilt(&at.key(key)) {
        findings
            .error(&at.key(key), format!("`{other}` is there, and `{key}` is not"))
            .expected("both, or none");
    }
}

/// The host, its port and how the connection is kept private.
fn smtp(
    text: Option<&str>,
    key: &KeyPath,
    findings: &mut Findings,
) -> Option<(String, u16, MailTls)> {
    if findings.is_spoilt(key) {
        return None;
    }
    let url = text.and_then(|text| Url::parse(text).ok());
    let plain = |url: &Url| {
        url.username().is_empty()
            && url.password().is_none()
            && matches!(url.path(), "" | "/")
            && url.query().is_none()
    };
    let host = url.as_ref().filter(|url| plain(url)).and_then(Url::host_str);
    let port = url.as_ref().and_then(Url::port);
    let scheme = url.as_ref().map(Url::scheme);
    match (scheme, host) {
        (Some("smtps"), Some(host)) => {
            Some((host.to_owned(), port.unwrap_or(465), MailTls::Implicit))
        }
        (Some("smtp"), Some(host @ ("localhost" | "127.0.0.1" | "[::1]"))) => {
            Some((host.to_owned(), port.unwrap_or(25), MailTls::None))
        }
        (Some("smtp"), Some(host)) => {
            Some((host.to_owned(), port.unwrap_or(587), MailTls::StartTls))
        }
        _ => {
            let told = match text {
                Some(text) => format!("{} names no mail server", super::quoted_url(text)),
                None => "mail is taken by no server".to_owned(),
            };
            findings
                .error(key, told)
                .expected(
                    "\"smtp://HOST\" (STARTTLS, port 587; on this machine port 25, without), or \
                     \"smtps://HOST\" (TLS, port 465)",
                )
                .hint("smtp = \"smtp://mail.example.org\"");
            None
        }
    }
}

/// Looks for what is surely none; what a server thinks of it is seen when it is tried.
fn mailbox(text: &str, key: &KeyPath, findings: &mut Findings) {
    let odd = |c: char| c.is_whitespace() || c.is_control() || "<>,;\"()".contains(c);
    let good = text.rsplit_once('@').is_some_and(|(local, domain)| {
        !local.is_empty() && !domain.is_empty() && !text.contains(odd) && !local.contains('@')
    });
    if !good && !findings.is_spoilt(key) {
        findings
            .error(key, format!("{} is no address of mail", quoted(text)))
            .expected("one such as \"ops@example.org\"");
    }
}

/// Complains of keys of the `other` way.
fn only(other: &str, raw: &RawNotify, at: &KeyPath, findings: &mut Findings) {
    let of_mail = [
        ("from", raw.from.is_some()),
        ("smtp", raw.smtp.is_some()),
        ("user", raw.user.is_some()),
        ("password_file", raw.password_file.is_some()),
    ];
    let of_hooks = [("secret_file", raw.secret_file.is_some()), ("chat", raw.chat.is_some())];
    let keys: &[(&str, bool)] = if other == "mail" { &of_mail } else { &of_hooks };
    for (key, _) in keys.iter().filter(|(_, said)| *said) {
        findings
            .error(&at.key(key), format!("`{key}` says something of {other}, which this is not"))
            .expected("it in a [[notify]] of that kind");
    }
}

fn ca(path: Option<&str>, at: &KeyPath, findings: &mut Findings) -> Option<PathBuf> {
    path.map(|path| files::existing(path, &at.key("ca_root"), findings))
}
