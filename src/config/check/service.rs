//! `[state]`, `[admin]`, `[vault]` and `[log]`: how the service lives on its machine.

use super::super::finding::Findings;
use super::super::key_path::KeyPath;
use super::super::model::{Admin, Log, LogFormat, MasterKey, Require, State, Vault};
use super::super::quantity;
use super::super::raw::{RawAdmin, RawLog, RawState, RawVault};
use super::super::suggest;
use super::{clients_of_socket, files, quoted};

/// Octets that the kernel takes for the path of a socket, without the NUL at the end
/// (`sun_path` has 108; unix(7)).
pub(super) const SOCKET_PATH: usize = 107;

/// Bounds of the key cache: below, not one key fits; above, it is a slip of the pen.
const CACHE: std::ops::RangeInclusive<u64> = 64 * 1024..=64 * 1024 * 1024 * 1024;

const LEVELS: &[&str] = &["off", "error", "warn", "info", "debug", "trace"];

const FORMATS: &[(&str, LogFormat)] =
    &[("auto", LogFormat::Auto), ("text", LogFormat::Text), ("journal", LogFormat::Journal)];

const REQUIREMENTS: &[(&str, Require)] =
    &[("available", Require::Available), ("strict", Require::Strict)];

pub(super) fn state(raw: &RawState, findings: &mut Findings) -> State {
    State { dir: files::absolute(&raw.dir, &KeyPath::dotted("state.dir"), findings) }
}

pub(super) fn admin(raw: &RawAdmin, findings: &mut Findings) -> Admin {
    let key = KeyPath::dotted("admin.socket");
    let socket = files::absolute(&raw.socket, &key, findings);
    if raw.socket.len() > SOCKET_PATH {
        findings
            .error(&key, format!("the path of the socket has {} octets", raw.socket.len()))
            .expected(format!("at most {SOCKET_PATH}, which is what the kernel takes"))
            .hint("a directory nearer to the root");
    }
    if let Some(group) = &raw.group {
        let key = KeyPath::dotted("admin.group");
        let odd = |c: char| c.is_whitespace() || c.is_control() || matches!(c, ':' | ',' | '/');
        if (group.is_empty() || group.contains(odd)) && !findings.is_spoilt(&key) {
            findings
                .error(&key, format!("{} is no name of a group", quoted(group)))
                .expected("the name of a group on this machine");
        }
    }
    let share = clients_of_socket::share(&raw.share, findings);
    Admin { socket, group: raw.group.clone(), share }
}

pub(super) fn vault(raw: &RawVault, findings: &mut Findings) -> Vault {
    let key = KeyPath::dotted("vault.master_key");
    let master_key = if raw.master_key == "auto" {
        MasterKey::Auto
    } else if raw.master_key == "passphrase" {
        MasterKey::Passphrase
    } else if raw.master_key.starts_with('/') {
        MasterKey::File(files::existing(&raw.master_key, &key, findings))
    } else {
        // Not repeated: somebody may have written the key itself here.
        findings
            .error(
                &key,
                "the master key is no absolute path, and neither \"auto\" nor \"passphrase\"",
            )
            .expected("\"auto\", \"passphrase\", or the path of a file; never the key itself");
        MasterKey::Auto
    };
    let key = KeyPath::dotted("vault.cache");
    let cache = match quantity::size(&raw.cache) {
        Ok(bytes) if CACHE.contains(&bytes) => bytes,
        Ok(_) => {
            findings
                .error(&key, format!("a cache of {} is out of bounds", quoted(&raw.cache)))
                .expected("at least 64KiB and at most 64GiB");
            0
        }
        Err(_) => {
            findings
                .error(&key, format!("{} is no size", quoted(&raw.cache)))
                .expected("a whole number and one of B, KiB, MiB, GiB, such as \"64MiB\"");
            0
        }
    };
    Vault { master_key, cache, require: require(&raw.require, findings) }
}

/// A word that is not understood is refused, so that nobody believes in walls that are not asked
/// for.
fn require(word: &str, findings: &mut Findings) -> Require {
    let known = REQUIREMENTS.iter().find(|(name, _)| *name == word).map(|(_, require)| *require);
    if known.is_none() {
        let key = KeyPath::dotted("vault.require");
        let finding = findings
            .error(&key, format!("{} is not known", quoted(word)))
            .expected("\"available\" or \"strict\"");
        if let Some(meant) = suggest::nearest(word, REQUIREMENTS.iter().map(|(name, _)| *name)) {
            finding.hint(format!("{meant:?}"));
        }
    }
    known.unwrap_or(Require::Strict)
}

pub(super) fn log(raw: &RawLog, findings: &mut Findings) -> Log {
    let key = KeyPath::dotted("log.level");
    if let Some((part, level)) = raw.level.split(',').find_map(bad_directive) {
        let finding = findings
            .error(&key, format!("{} is no level and no filter", quoted(part)))
            .expected("a level (off, error, warn, info, debug, trace), or part=level by commas");
        if let Some(meant) = suggest::nearest(level, LEVELS.iter().copied()) {
            finding.hint(format!("{:?}", raw.level.replacen(level, meant, 1)));
        }
    }
    let key = KeyPath::dotted("log.format");
    let format = FORMATS.iter().find(|(name, _)| *name == raw.format).map(|(_, format)| *format);
    if format.is_none() {
        let names = FORMATS.iter().map(|(name, _)| *name);
        let finding = findings
            .error(&key, format!("the format {} is not known", quoted(&raw.format)))
            .expected("one of auto, text, journal");
        if let Some(meant) = suggest::nearest(&raw.format, names) {
            finding.hint(format!("{meant:?}"));
        }
    }
    Log { level: raw.level.clone(), format: format.unwrap_or(LogFormat::Auto) }
}

/// The part of a filter that is none, and what stands in it for a level. Stricter than the
/// filter's own syntax, in which a mistyped level is a part of the program with everything on.
fn bad_directive(part: &str) -> Option<(&str, &str)> {
    let (target, level) = match part.split_once('=') {
        Some((target, level)) => (Some(target), level),
        None => (None, part),
    };
    let sound = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '-');
    let target_is_sound = target.is_none_or(|t| !t.is_empty() && t.chars().all(sound));
    (!target_is_sound || !LEVELS.contains(&level)).then_some((part, level))
}
