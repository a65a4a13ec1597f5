//! `[[client]]`, and what `[admin]` says of them: who they are, and how much each may take.
//!
//! Deliberately absent: whether their users and groups are there, which changes without the file.

use super::super::client::{Client, Share};
use super::super::finding::Findings;
use super::super::key_path::KeyPath;
use super::super::quantity;
use super::super::raw_client::{RawClient, RawShare};
use super::super::suggest;
use super::quoted;
use crate::cert::client::ClientName;
use crate::cert::rights::Role;

/// The largest body: every request in work may hold one.
const BODY: std::ops::RangeInclusive<u64> = 16 * 1024..=16 * 1024 * 1024;

/// Above, a share is none.
const MOST: u64 = 1024;

/// The clients, in the order of the file.
pub(super) fn check_all(raw: &[RawClient], findings: &mut Findings) -> Vec<Client> {
    let list = KeyPath::dotted("client");
    let mut all: Vec<Client> = Vec::with_capacity(raw.len());
    for (number, raw) in raw.iter().enumerate() {
        let at = list.index(number);
        let Some(name) = name(raw, &all, &at, findings) else { continue };
        for (key, entries) in [("users", &raw.users), ("groups", &raw.groups)] {
            for (index, entry) in entries.iter().enumerate() {
                one(entry, key, &at.key(key).index(index), findings);
            }
        }
        for (index, user) in raw.users.iter().enumerate() {
            if let Some(other) = all.iter().find(|client| client.users.contains(user)) {
                findings
                    .error(
                        &at.key("users").index(index),
                        format!("the user {} is the client {} already", quoted(user), other.name),
                    )
                    .expected("each user in one client");
            }
        }
        let role = role(&raw.role, &at.key("role"), findings);
        let (users, groups) = (raw.users.clone(), raw.groups.clone());
        all.push(Client { name, users, groups, role });
    }
    all
}

fn name(
    raw: &RawClient,
    all: &[Client],
    at: &KeyPath,
    findings: &mut Findings,
) -> Option<ClientName> {
    let key = at.key("name");
    if findings.is_spoilt(&key) {
        return None;
    }
    let Some(text) = &raw.name else {
        findings.error(&key, "a client has no name").expected("a name, such as \"panel\"");
        return None;
    };
    let Ok(name) = ClientName::parse(text) else {
        findings.error(&key, format!("{} is no name of a client", quoted(text))).expected(
            "1 to 64 of a-z, 0-9, \".\", \"_\" and \"-\", of which the first is a letter or digit",
        );
        return None;
    };
    if all.iter().any(|client| client.name == name) {
        findings
            .error(&key, format!("there are two clients {name}"))
            .expected("each name once")
            .hint("one [[client]] with the users and groups of both");
    }
    Some(name)
}

fn one(entry: &str, key: &str, at: &KeyPath, findings: &mut Findings) {
    let odd = |c: char| c.is_whitespace() || c.is_control() || matches!(c, ':' | ',' | '/');
    if (entry.is_empty() || entry.contains(odd)) && !findings.is_spoilt(at) {
        let one = if key == "users" { "user" } else { "group" };
        findings
            .error(at, format!("{} is no name of a {one}", quoted(entry)))
            .expected(format!("the name or the number of a {one} on this machine"));
    }
}

fn role(word: &str, at: &KeyPath, findings: &mut Findings) -> Role {
    let known = Role::parse(word);
    if known.is_none() {
        let finding = findings
            .error(at, format!("the role {} is not known", quoted(word)))
            .expected("one of client, observer, operator");
        if let Some(meant) = suggest::nearest(word, Role::ALL.into_iter().map(Role::word)) {
            finding.hint(format!("{meant:?}"));
        }
    }
    known.unwrap_or(Role::Client)
}

/// What each client may take.
pub(super) fn share(raw: &RawShare, findings: &mut Findings) -> Share {
    let mut count = |key: &str, value: u64, most: u64| {
        if !(1..=most).contains(&value) {
            findings
                .error(&KeyPath::dotted(key), format!("{value} is out of bounds"))
                .expected(format!("at least 1 and at most {most}"));
        }
        value.clamp(1, most)
    };
    let connections = count("admin.client_connections", raw.client_connections, MOST);
    let requests = count("admin.client_requests", raw.client_requests, MOST);
    let per_minute = count("admin.client_per_minute", raw.client_per_minute, 1_000_000);
    let key = KeyPath::dotted("admin.body");
    let body = quantity::size(&raw.body);
    if !body.as_ref().is_ok_and(|bytes| BODY.contains(bytes)) {
        findings
            .error(&key, format!("{} is no size of a body", quoted(&raw.body)))
            .expected("at least \"16KiB\" and at most \"16MiB\"");
    }
    Share {
        connections: usize::try_from(connections).unwrap_or(1),
        requests: usize::try_from(requests).unwrap_or(1),
        per_minute: u32::try_from(per_minute).unwrap_or(1),
        body: usize::try_from(body.unwrap_or(0)).unwrap_or(0),
    }
}
