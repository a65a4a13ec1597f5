//! The plan of the house, as a test: who may import whom, and what every file must be.
//!
//! The sources are read as text. What makes that sound is checked too: one path in each `use` of
//! another room, no glob of a room, no re-export of one room by another.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::path::{Path, PathBuf};

/// Rooms, and the rooms that each may import: those to its left, and fewer where there is a
/// reason. A room that is not listed here is not known and fails.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("base", &[]),
    ("os", &["base"]),
    // Pure: it must be the same on every system.
    ("cert", &["base"]),
    ("config", &["base", "cert"]),
    // It goes on when everything else is down, and its server half can reach nothing.
    ("vault", &["base", "os", "cert"]),
    ("store", &["base", "os", "cert", "config", "vault"]),
    ("issuer", &["base", "os", "cert", "config", "vault", "store"]),
    ("scheduler", &["base", "os", "cert", "config", "vault", "store", "issuer"]),
    ("deploy", &["base", "os", "cert", "config", "vault", "store", "issuer", "scheduler"]),
    // It keeps serving when store, issuer and scheduler are down.
    ("edge", &["base", "os", "cert", "config", "vault"]),
    // It hears of clients from the edge, which does not know it.
    ("onboarding", &["base", "os", "cert", "config", "store", "issuer", "scheduler", "edge"]),
    // What happens it hears from the journal alone.
    ("notify", &["base", "os", "cert", "config", "store"]),
    ("admin", &["base", "os", "cert", "config", "vault", "store", "issuer", "scheduler", "edge"]),
    // A client of the socket: of the daemon it knows what goes over the wire. See `CLI_ONLY`.
    ("cli", &["base", "os", "cert", "config", "vault", "admin"]),
    (
        "daemon",
        &[
            "base",
            "os",
            "cert",
            "config",
            "vault",
            "store",
            "issuer",
            "scheduler",
            "deploy",
            "edge",
            "onboarding",
            "notify",
            "admin",
            "cli",
        ],
    ),
    (
        "main",
        &[
            "base",
            "os",
            "cert",
            "config",
            "vault",
            "store",
            "issuer",
            "scheduler",
            "deploy",
            "edge",
            "onboarding",
            "notify",
            "admin",
            "cli",
            "daemon",
        ],
    ),
];

/// Of the room on the left, the command line imports this module alone.
const CLI_ONLY: &[(&str, &str)] = &[("admin", "wire")];

/// Files of the command line that seal something for the vault or for a backup, or print its root.
const CLI_WITH_VAULT: &[&str] =
    &["trust.rs", "import.rs", "material.rs", "args_carry.rs", "backup.rs", "account.rs"];

/// Files of the vault that run in main; all others run in its own process, without a runtime.
const VAULT_CLIENT: &[&str] = &[
    "client.rs",
    "counting.rs",
    "issuing.rs",
    "ledger.rs",
    "link.rs",
    "porter.rs",
    "signer.rs",
    "supervisor.rs",
    "together.rs",
];

/// Names that gather what has no place, until everything imports them.
const NO_DRAWERS: &[&str] = &["common", "util", "utils", "types", "prelude", "helpers", "misc"];

/// The longest a file may be.
const LINES: usize = 500;

#[test]
fn imports_follow_the_plan() {
    let mut broken = Vec::new();
    for (path, text) in sources() {
        broken.extend(imports(&path, &text));
    }
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

#[test]
fn every_file_is_one_idea_with_a_charter() {
    let mut broken = Vec::new();
    for (path, text) in sources() {
        broken.extend(form(&path, &text));
    }
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

#[test]
fn the_sources_are_found() {
    let found: Vec<String> = sources().into_iter().map(|(path, _)| path).collect();
    for path in ["main.rs", "lib.rs", "base/bounds.rs", "config/check/site.rs"] {
        assert!(found.iter().any(|one| one == path), "{path}: {found:?}");
    }
    let map = fs::read_to_string(src().join("lib.rs")).unwrap();
    let declared: Vec<&str> =
        map.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')).collect();
    assert!(declared.len() >= 12, "{declared:?}");
    for room in declared {
        assert!(plan(room).is_some(), "src/lib.rs declares {room}, which is not in the plan");
    }
}

/// The rules, held against lines that break them: a guard that sees nothing guards nothing.
#[test]
fn what_breaks_the_plan_is_seen() {
    for (path, line, complaint) in [
        ("edge/a.rs", "use crate::store::Store;", "edge must not import store"),
        ("edge/a.rs", "    crate::issuer::go();", "edge must not import issuer"),
        ("edge/x/a.rs", "use crate::scheduler::Plan;", "edge must not import scheduler"),
        ("vault/server.rs", "use crate::config::Config;", "vault must not import config"),
        ("vault/server.rs", "use tokio::sync::mpsc;", "the vault's server half knows no tokio"),
        ("cert/a.rs", "use crate::os::peer;", "cert must not import os"),
        ("base/a.rs", "use crate::cert::key::KeyId;", "base must not import cert"),
        ("store/a.rs", "fn f(x: &crate::scheduler::Plan) {}", "store must not import scheduler"),
        ("cli/look.rs", "use crate::admin::server::Server;", "cli imports of admin only wire"),
        (
            "cli/look.rs",
            "use crate::vault::seal;",
            "cli imports vault in trust.rs, import.rs, material.rs, args_carry.rs, backup.rs",
        ),
        ("cli/look.rs", "use crate::daemon::run;", "cli must not import daemon"),
        ("attic/a.rs", "use crate::base::bounds;", "attic is no room of the plan"),
        ("edge/a.rs", "use crate::{base, store};", "one path in each use"),
        ("edge/a.rs", "use crate::cert::*;", "no glob of a room"),
        ("edge/a.rs", "use crate::cert::key::*;", "no glob of a room"),
        ("edge/a.rs", "pub use crate::cert::key::KeyId;", "re-exports cert"),
        ("edge/a.rs", "pub(crate) use crate::cert::key::KeyId;", "re-exports cert"),
        ("edge/a.rs", "use super::super::store::Store;", "leaves the room"),
        ("edge/x/a.rs", "use super::super::super::store::Store;", "leaves the room"),
        ("edge/mod.rs", "use super::store::Store;", "leaves the room"),
        ("edge/a.rs", "use keyward::store::Store;", "a room names itself crate"),
    ] {
        let complaints = imports(path, line);
        assert!(complaints.iter().any(|c| c.contains(complaint)), "{line}: {complaints:?}");
    }
    for (path, line) in [
        ("edge/a.rs", "use crate::cert::key::KeyId;"),
        ("edge/a.rs", "use crate::edge::route::Route;"),
        ("edge/a.rs", "// use crate::store::Store;"),
        ("edge/a.rs", "    use super::*;"),
        ("edge/x/a.rs", "use super::super::route::Route;"),
        ("edge/a.rs", "    use super::super::route::Route;"),
        ("cli/look.rs", "use crate::admin::wire::Status;"),
        ("cli/trust.rs", "use crate::vault::seal;"),
        ("vault/client.rs", "use tokio::sync::mpsc;"),
        ("daemon.rs", "use crate::store::Store;"),
        ("main.rs", "use keyward::cli;"),
    ] {
        assert_eq!(imports(path, line), Vec::<String>::new(), "{line}");
    }
}

#[test]
fn what_breaks_the_form_is_seen() {
    let long = format!("//! Long.\n{}", "\n".repeat(LINES));
    for (path, text, complaint) in [
        ("edge/a.rs", "use std::fmt;\n", "does not begin with //!"),
        ("edge/a.rs", long.as_str(), "501 lines"),
        ("edge/util.rs", "//! A.\n", "util is a drawer"),
        ("edge/common/mod.rs", "//! A.\n", "common is a drawer"),
        ("edge/a.rs", "//! A.\nmod types { }\n", "types is a drawer"),
        ("edge/a.rs", "//! A.\n    unsafe { go() }\n", "unsafe outside os"),
        ("edge/a.rs", "//! A.\nunsafe impl Send for A {}\n", "unsafe outside os"),
        ("edge/a.rs", "//! A.\n#![expect(unsafe_code, reason = \"\")]\n", "unsafe outside os"),
    ] {
        let complaints = form(path, text);
        assert!(complaints.iter().any(|c| c.contains(complaint)), "{path}: {complaints:?}");
    }
    let at_the_limit = format!("//! Long.\n{}", "\n".repeat(LINES - 1));
    for (path, text) in [
        ("os/a.rs", "//! A.\n    unsafe { go() }\n"),
        ("edge/a.rs", "//! A.\n// unsafe { go() }\n"),
        ("edge/a.rs", at_the_limit.as_str()),
    ] {
        assert_eq!(form(path, text), Vec::<String>::new(), "{path}");
    }
}

fn plan(room: &str) -> Option<&'static [&'static str]> {
    MAY_IMPORT.iter().find(|(name, _)| *name == room).map(|(_, allowed)| *allowed)
}

/// The room of a file: its directory below `src`, or its own name.
fn room(path: &str) -> &str {
    path.split_once('/').map_or_else(|| path.strip_suffix(".rs").unwrap_or(path), |(room, _)| room)
}

fn imports(path: &str, text: &str) -> Vec<String> {
    let room = room(path);
    if room == "lib" {
        return Vec::new();
    }
    let Some(allowed) = plan(room) else {
        return vec![format!("{path}: {room} is no room of the plan")];
    };
    let file = path.rsplit('/').next().unwrap_or(path);
    let mut broken = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let code = line.split("//").next().unwrap_or_default();
        let mut complain = |what: String| broken.push(format!("{path}:{}: {what}", number + 1));
        if code.contains("crate::{") || code.contains("keyward::{") {
            complain("one path in each use of a room".to_owned());
        }
        if code.contains("keyward::") && room != "main" && code.trim_start().starts_with("use ") {
            complain("a room names itself crate, not keyward".to_owned());
        }
        if code.contains("use crate::") && code.contains("::*") {
            complain("no glob of a room".to_owned());
        }
        if supers(code) > depth(path) + usize::from(code.starts_with(' ')) {
            complain("a path of super:: leaves the room".to_owned());
        }
        if room == "vault" && !VAULT_CLIENT.contains(&file) && code.contains("tokio::") {
            complain("the vault's server half knows no tokio".to_owned());
        }
        for rest in code.split("crate::").skip(1) {
            let mut parts = rest.split("::").map(identifier);
            let used = parts.next().unwrap_or_default();
            if used == room || plan(used).is_none() {
                continue;
            }
            if !allowed.contains(&used) {
                complain(format!("{room} must not import {used}"));
            }
            if code.trim_start().starts_with("pub") && code.contains(" use crate::") {
                complain(format!("{room} re-exports {used}"));
            }
            if room != "cli" {
                continue;
            }
            let module = parts.next().unwrap_or_default();
            if let Some((_, only)) = CLI_ONLY.iter().find(|(other, _)| *other == used)
                && module != *only
            {
                complain(format!("cli imports of {used} only {only}"));
            }
            if used == "vault" && !CLI_WITH_VAULT.contains(&file) {
                complain(format!("cli imports vault in {} only", CLI_WITH_VAULT.join(", ")));
            }
        }
    }
    broken
}

/// The word at the beginning of `text`.
fn identifier(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    text.get(..end).unwrap_or_default()
}

/// How many `super::` stand in a row, at most.
fn supers(code: &str) -> usize {
    let mut most = 0;
    let mut rest = code;
    while let Some(at) = rest.find("super::") {
        rest = rest.split_at(at).1;
        let mut row = 0;
        while let Some(after) = rest.strip_prefix("super::") {
            row += 1;
            rest = after;
        }
        most = most.max(row);
    }
    most
}

/// How many steps up stay in the room: 1 for `edge/a.rs`, 0 for `edge/mod.rs`.
fn depth(path: &str) -> usize {
    let steps = path.matches('/').count();
    if path.ends_with("/mod.rs") { steps - 1 } else { steps }
}

fn form(path: &str, text: &str) -> Vec<String> {
    let mut broken = Vec::new();
    if !text.starts_with("//!") {
        broken.push(format!("{path} does not begin with //!, its charter"));
    }
    let lines = text.lines().count();
    if lines > LINES {
        broken.push(format!("{path} has {lines} lines, more than {LINES}"));
    }
    for part in path.split('/') {
        let name = part.strip_suffix(".rs").unwrap_or(part);
        if NO_DRAWERS.contains(&name) {
            broken.push(format!("{path}: {name} is a drawer"));
        }
    }
    for (number, line) in text.lines().enumerate() {
        let code = line.split("//").next().unwrap_or_default();
        let words: Vec<&str> = code.split_whitespace().collect();
        for (word, next) in words.iter().zip(words.iter().skip(1)) {
            let name = identifier(next);
            if *word == "mod" && NO_DRAWERS.contains(&name) {
                broken.push(format!("{path}:{}: {name} is a drawer", number + 1));
            }
        }
        let permits = code.contains("(unsafe_code") && !code.contains("deny");
        let unsafe_word = words.contains(&"unsafe") && !code.contains('"');
        if room(path) != "os" && (permits || unsafe_word) {
            broken.push(format!("{path}:{}: unsafe outside os", number + 1));
        }
    }
    broken
}

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// Every source file: its path below `src`, and its text.
fn sources() -> Vec<(String, String)> {
    let root = src();
    let mut found = Vec::new();
    let mut waiting = vec![root.clone()];
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                waiting.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
                found.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found.sort();
    found
}
