//! `[tls]`, and `[site.tls]` over it: what is agreed on with clients of the front door.

use std::time::Duration;

use super::super::finding::Findings;
use super::super::key_path::KeyPath;
use super::super::model::{
    Agreement, KernelTls, Preset, TicketMode, Tls, TlsVersion, UnknownNames,
};
use super::super::quantity;
use super::super::raw::{RawSiteTls, RawTls};
use super::super::suggest;
use super::quoted;

/// Below, clients that come back now and then find no key that is still accepted; above, a key
/// that leaks opens too much.
const ROTATION: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(600)..=Duration::from_secs(24 * 3600);

const MODES: [(&str, TicketMode); 3] =
    [("fast", TicketMode::Fast), ("strict", TicketMode::Strict), ("off", TicketMode::Off)];

const KERNEL: [(&str, KernelTls); 2] = [("auto", KernelTls::Auto), ("off", KernelTls::Off)];

const PRESETS: [(&str, Preset); 3] =
    [("default", Preset::Default), ("modern", Preset::Modern), ("compatible", Preset::Compatible)];

const VERSIONS: [(&str, TlsVersion); 2] = [("1.2", TlsVersion::Tls12), ("1.3", TlsVersion::Tls13)];

const UNKNOWN: [(&str, UnknownNames); 2] =
    [("default-site", UnknownNames::DefaultSite), ("refuse", UnknownNames::Refuse)];

/// What sites agree on that say nothing of it themselves.
#[derive(Clone, Copy)]
pub(super) struct General {
    preset: Preset,
    /// If it was said.
    min_version: Option<TlsVersion>,
}

pub(super) fn check(raw: &RawTls, findings: &mut Findings) -> (Tls, General) {
    let word = |name: &str| KeyPath::dotted(&format!("tls.{name}"));
    let tickets = choice(&raw.tickets, &MODES, "kind of tickets", &word("tickets"), findings);
    let key = word("ticket_rotation");
    let ticket_rotation = match quantity::duration(&raw.ticket_rotation) {
        Ok(rotation) if ROTATION.contains(&rotation) => rotation,
        Ok(_) => {
            let text = quoted(&raw.ticket_rotation);
            findings
                .error(&key, format!("a rotation every {text} is out of bounds"))
                .expected("at least 10m and at most 24h");
            *ROTATION.start()
        }
        Err(_) => {
            let text = quoted(&raw.ticket_rotation);
            findings
                .error(&key, format!("{text} is no duration"))
                .expected("a whole number and one of ms, s, m, h, such as \"1h\"");
            *ROTATION.start()
        }
    };
    let key = word("unknown_names");
    let unknown_names =
        choice(&raw.unknown_names, &UNKNOWN, "answer to unknown names", &key, findings);
    let ktls = choice(&raw.ktls, &KERNEL, "use of kernel TLS", &word("ktls"), findings);
    let preset = choice(&raw.preset, &PRESETS, "preset", &word("preset"), findings);
    let preset = preset.unwrap_or(Preset::Modern);
    let min_version = version(raw.min_version.as_deref(), preset, &word("min_version"), findings);
    let tls = Tls {
        tickets: tickets.unwrap_or(TicketMode::Off),
        ticket_rotation,
        unknown_names: unknown_names.unwrap_or(UnknownNames::Refuse),
        ktls: ktls.unwrap_or(KernelTls::Off),
    };
    (tls, General { preset, min_version })
}

/// What the site at `at` agrees on: as it says, else as `general` does. A version that is asked for
/// there stays in force under another preset here, since whoever wrote it meant all sites.
pub(super) fn agreement(
    raw: Option<&RawSiteTls>,
    general: General,
    at: &KeyPath,
    findings: &mut Findings,
) -> Agreement {
    let at = at.key("tls");
    let said = raw.and_then(|raw| raw.preset.as_deref());
    let preset = said.map(|word| {
        let preset = choice(word, &PRESETS, "preset", &at.key("preset"), findings);
        preset.unwrap_or(Preset::Modern)
    });
    let preset = preset.unwrap_or(general.preset);
    let said = raw.and_then(|raw| raw.min_version.as_deref());
    let own = version(said, preset, &at.key("min_version"), findings);
    let least = least(preset);
    Agreement { preset, min_version: own.or(general.min_version).unwrap_or(least).max(least) }
}

/// The lowest version of a preset.
const fn least(preset: Preset) -> TlsVersion {
    match preset {
        Preset::Default | Preset::Compatible => TlsVersion::Tls12,
        Preset::Modern => TlsVersion::Tls13,
    }
}

fn version(
    said: Option<&str>,
    preset: Preset,
    key: &KeyPath,
    findings: &mut Findings,
) -> Option<TlsVersion> {
    let said = said?;
    if matches!(said, "1.0" | "1.1" | "ssl3") {
        findings
            .error(key, format!("TLS {said} is not spoken here, nor by any browser since 2020"))
            .expected("\"1.2\" or \"1.3\"");
        return None;
    }
    let version = choice(said, &VERSIONS, "version of TLS", key, findings)?;
    if version < least(preset) {
        findings
            .error(key, "the preset \"modern\" is TLS 1.3 alone")
            .expected("\"1.3\", which needs not be said")
            .hint("preset = \"default\" for TLS 1.2 beside 1.3");
        return None;
    }
    Some(version)
}

/// What `word` stands for.
pub(super) fn choice<T: Copy, const N: usize>(
    word: &str,
    known: &[(&str, T); N],
    what: &str,
    key: &KeyPath,
    findings: &mut Findings,
) -> Option<T> {
    let found = known.iter().find(|(name, _)| *name == word).map(|(_, value)| *value);
    if found.is_none() {
        let names = known.map(|(name, _)| name);
        let finding = findings
            .error(key, format!("the {what} {} is not known", quoted(word)))
            .expected(format!("one of {}", names.join(", ")));
        if let Some(meant) = suggest::nearest(word, names) {
            finding.hint(format!("{meant:?}"));
        }
    }
    found
}
