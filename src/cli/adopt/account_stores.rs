//! Accounts at CAs as other tools keep them: where their URLs, contacts and keys lie in each store.
//!
//! Nothing there is changed, and no CA is asked. What becomes of an account is in `accounts`.

use std::collections::BTreeMap;
use std::path::Path;
use std::path::PathBuf;

use serde::Deserialize;

use super::kept::entries;
use super::kept::name;
use super::kept::words;
use super::tool::Tool;
use crate::cli::account;
use crate::cli::account::AccountKey;
use crate::cli::material;

/// Directories within each other that are looked into: host, path, name and keys, and some more.
const DEPTH: usize = 8;

/// An account in a store.
pub(super) struct KeptAccount {
    /// Its URL at the CA.
    pub(super) url: String,
    pub(super) contact: Vec<String>,
    /// Where its key is.
    pub(super) at: PathBuf,
    /// That, or why it is of no use.
    pub(super) key: Result<AccountKey, String>,
}

/// An account as CAs describe it (RFC 8555, section 7.1.2).
#[derive(Default, Deserialize)]
pub(super) struct Body {
    #[serde(default)]
    contact: Option<Vec<String>>,
}

/// What certbot, lego and Traefik keep of it.
#[derive(Deserialize)]
pub(super) struct Registration {
    #[serde(default)]
    body: Body,
    uri: String,
}

/// lego's file.
#[derive(Deserialize)]
struct Lego {
    registration: Option<Registration>,
}

/// Caddy's file.
#[derive(Deserialize)]
struct Caddy {
    #[serde(flatten)]
    body: Body,
    location: String,
}

impl Registration {
    pub(super) fn with(self, at: PathBuf, key: Result<AccountKey, String>) -> KeptAccount {
        KeptAccount { url: self.uri, contact: self.body.contact.unwrap_or_default(), at, key }
    }
}

/// The accounts in the store of `tool` at `place`; those of Traefik are read by `traefik`.
pub(super) fn read(tool: Tool, place: &Path) -> Result<Vec<KeptAccount>, String> {
    let (below, one): (_, fn(&Path) -> Option<KeptAccount>) = match tool {
        Tool::Certbot => ("accounts", certbot),
        Tool::AcmeSh => ("ca", acme_sh),
        Tool::Caddy => ("acme", caddy),
        Tool::Lego => ("accounts", lego),
        Tool::Traefik => return super::traefik::accounts(place),
    };
    let mut files = BTreeMap::new();
    walk(&place.join(below), DEPTH, &mut files)?;
    Ok(files.into_values().filter_map(|path| one(&path)).collect())
}

/// Every file below `dir`, once, however many links lead there.
fn walk(dir: &Path, depth: usize, files: &mut BTreeMap<PathBuf, PathBuf>) -> Result<(), String> {
    for path in entries(dir)? {
        if path.is_dir() {
            if let Some(depth) = depth.checked_sub(1) {
                walk(&path, depth, files)?;
            }
        } else if let Ok(whole) = path.canonicalize() {
            files.entry(whole).or_insert(path);
        }
    }
    Ok(())
}

fn json<T: for<'de> Deserialize<'de>>(path: &Path) -> Option<T> {
    serde_json::from_slice(&material::whole(path).ok()?).ok()
}

fn key(path: &Path) -> Result<AccountKey, String> {
    account::read(path).map_err(words)
}

/// `accounts/HOST/PATH/ID/private_key.json` with `regr.json` beside it.
fn certbot(path: &Path) -> Option<KeptAccount> {
    if name(path)? != "private_key.json" {
        return None;
    }
    let registration: Registration = json(&path.with_file_name("regr.json"))?;
    Some(registration.with(path.to_owned(), key(path)))
}

/// `accounts/HOST/EMAIL/account.json` with `keys/EMAIL.key` beside it.
fn lego(path: &Path) -> Option<KeptAccount> {
    if name(path)? != "account.json" {
        return None;
    }
    let registration = json::<Lego>(path)?.registration?;
    let email = name(path.parent()?)?;
    let at = path.with_file_name("keys").join(format!("{email}.key"));
    let key = key(&at);
    Some(registration.with(at, key))
}

/// `acme/ISSUER/users/EMAIL/USER.json` with `USER.key` beside it.
fn caddy(path: &Path) -> Option<KeptAccount> {
    if path.extension()? != "json" {
        return None;
    }
    let Caddy { body, location } = json(path)?;
    let at = path.with_extension("key");
    let key = key(&at);
    Some(KeptAccount { url: location, contact: body.contact.unwrap_or_default(), at, key })
}

/// `ca/HOST/PATH/account.key` with `ca.conf` beside it, which is read by a shell.
fn acme_sh(path: &Path) -> Option<KeptAccount> {
    if name(path)? != "account.key" {
        return None;
    }
    let text = material::whole(&path.with_file_name("ca.conf")).ok()?;
    let text = std::str::from_utf8(&text).ok()?;
    let value = |wanted: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(wanted)?.strip_prefix('='))?;
        Some(line.trim().trim_matches(['\'', '"']).to_owned())
    };
    let email = value("CA_EMAIL").filter(|email| !email.is_empty());
    Some(KeptAccount {
        url: value("ACCOUNT_URL")?,
        contact: email.map(|email| format!("mailto:{email}")).into_iter().collect(),
        at: path.to_owned(),
        key: key(path),
    })
}
