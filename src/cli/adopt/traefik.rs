//! Traefik's store: one JSON file with the certificates of each of its resolvers.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::Deserializer;
use zeroize::Zeroizing;

use super::account_stores::KeptAccount;
use super::account_stores::Registration;
use super::kept::Kept;
use super::kept::words;
use crate::cli::account;
use crate::cli::material::Material;

/// Largest file that is read; ten thousand certificates take about 60 MiB.
const MOST: u64 = 256 * 1024 * 1024;

#[derive(Deserialize)]
struct Resolver {
    #[serde(rename = "Account", default)]
    account: Option<Account>,
    /// `null` before the first one.
    #[serde(rename = "Certificates", default)]
    certificates: Option<Vec<Stored>>,
}

/// `null` before the first order.
#[derive(Deserialize)]
struct Account {
    #[serde(rename = "Registration", default)]
    registration: Option<Registration>,
    /// PKCS#1, in base64.
    #[serde(rename = "PrivateKey", deserialize_with = "wiped", default = "nothing")]
    key: Zeroizing<String>,
}

#[derive(Deserialize)]
struct Stored {
    domain: Domain,
    /// PEM, in base64 once more.
    certificate: String,
    /// The same.
    #[serde(deserialize_with = "wiped")]
    key: Zeroizing<String>,
}

#[derive(Deserialize)]
struct Domain {
    main: String,
}

fn wiped<'de, D: Deserializer<'de>>(from: D) -> Result<Zeroizing<String>, D::Error> {
    String::deserialize(from).map(Zeroizing::new)
}

fn nothing() -> Zeroizing<String> {
    Zeroizing::new(String::new())
}

/// The accounts of its resolvers, by the names of these.
pub(super) fn accounts(place: &Path) -> Result<Vec<KeptAccount>, String> {
    let resolvers = parse(&text(place)?).unwrap_or_default();
    let accounts = resolvers.into_values().filter_map(|resolver| resolver.account);
    let kept = accounts.filter_map(|Account { registration, key }| {
        let der = STANDARD.decode(key.as_bytes()).map(Zeroizing::new);
        let der = der.map_err(|_| format!("{}: the key is no base64", place.display()));
        let key = der.and_then(|der| account::rsa(&der, place));
        Some(registration?.with(place.to_owned(), key))
    });
    Ok(kept.collect())
}

pub(super) fn recognises(place: &Path) -> bool {
    place.is_file() && text(place).is_ok_and(|text| parse(&text).is_some())
}

pub(super) fn read(place: &Path) -> Result<Vec<Kept>, String> {
    let text = text(place)?;
    let what = || format!("{}: not understood as a store of Traefik 2 or 3", place.display());
    let resolvers = parse(&text).ok_or_else(what)?;
    let stored = resolvers.into_values().filter_map(|resolver| resolver.certificates).flatten();
    let mut found: Vec<_> = stored.map(|stored| kept(&stored, place)).collect();
    found.sort_by(|one, other| one.title.cmp(&other.title));
    Ok(found)
}

fn kept(stored: &Stored, place: &Path) -> Kept {
    let decode = |what: &str, text: &str| {
        let decoded = STANDARD.decode(text).map(Zeroizing::new);
        decoded.map_err(|_| format!("{}: the {what} is no base64", place.display()))
    };
    let found = decode("certificate", &stored.certificate).and_then(|chain| {
        let key = decode("key", &stored.key)?;
        Material::of(chain, &key, (place, place)).map_err(words)
    });
    Kept { title: stored.domain.main.clone(), at: place.to_owned(), found }
}

fn text(place: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", place.display());
    let file = File::open(place).map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len();
    if length > MOST {
        return Err(format!("{} is larger than {MOST} bytes", place.display()));
    }
    // Room for all of it at once: a growing vector would leave copies behind.
    let room = usize::try_from(length).unwrap_or(0).saturating_add(1);
    let mut text = Zeroizing::new(Vec::with_capacity(room));
    file.take(length).read_to_end(&mut text).map_err(failed)?;
    Ok(text)
}

/// The resolvers by name, if it is such a file.
fn parse(text: &[u8]) -> Option<BTreeMap<String, Resolver>> {
    let resolvers: BTreeMap<String, Option<Resolver>> = serde_json::from_slice(text).ok()?;
    let known: BTreeMap<_, _> =
        resolvers.into_iter().filter_map(|(name, one)| Some((name, one?))).collect();
    // Any object would do otherwise.
    known.values().any(|one| one.account.is_some() || one.certificates.is_some()).then_some(known)
}
