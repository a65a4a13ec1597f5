//! Seeing is believing: which certificate is shown at a place, over the protocol of that place.
//!
//! The certificate is compared, not believed: no trust is checked. A deployment is no more than a hope
//! until somebody who knows nothing of it, and asks as any client does, is shown the new leaf.

mod address;
mod error;
mod imap;
mod ldap;
mod mysql;
mod onlooker;
mod plain;
mod pop3;
mod postgres;
#[cfg(any(test, fuzzing))]
pub mod properties;
mod seen;
mod smtp;
mod xmpp;

pub use error::ProbeError;
pub use seen::Seen;
pub use seen::fingerprint;

use std::net::SocketAddr;
use std::time::Duration;

use rustls_pki_types::ServerName;
use tokio::net::lookup_host;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio::time::timeout_at;

use self::address::Look;
use crate::base::bounds::deployment::probe::ADDRESSES;
use crate::cert::key::KeyKind;
use crate::config::Probe;

/// What is shown at `place` to a client that asks for `sni`, as seen within `within`.
///
/// A name may have several addresses: each one is looked at, and where a connection is accepted all
/// must show the same leaf. Where nobody accepts one no client sees a former certificate: such
/// addresses are told in [`Seen::silent`], and are an error only when there are no others.
///
/// # Errors
/// [`ProbeError`] says where, and what was missing.
pub async fn probe(
    place: &Probe,
    sni: &ServerName<'_>,
    within: Duration,
) -> Result<Seen, ProbeError> {
    probe_for(place, sni, None, within).await
}

/// The same for the certificate with a key of that kind, where a server has several.
///
/// # Errors
/// As [`probe`].
pub async fn probe_for(
    place: &Probe,
    sni: &ServerName<'_>,
    kind: Option<KeyKind>,
    within: Duration,
) -> Result<Seen, ProbeError> {
    let until = Instant::now() + within;
    let all = resolve(place, until).await?;
    all_at(all, Look { protocol: place.protocol, name: sni.to_owned(), kind, within, until }).await
}

async fn all_at(all: Vec<SocketAddr>, look: Look) -> Result<Seen, ProbeError> {
    let passed_over = all.len().saturating_sub(ADDRESSES);
    let mut looking = JoinSet::new();
    for (number, at) in all.into_iter().take(ADDRESSES).enumerate() {
        let look = look.clone();
        looking.spawn(async move { (number, at, look.at(at).await) });
    }
    // None of them panics.
    let mut looks = looking.join_all().await;
    looks.sort_by_key(|(number, ..)| *number);
    let seen = together(looks.into_iter().map(|(_, at, seen)| (at, seen)))?;
    Ok(Seen { passed_over, ..seen })
}

/// The addresses of the place, each once, in the order of the resolver.
async fn resolve(place: &Probe, until: Instant) -> Result<Vec<SocketAddr>, ProbeError> {
    let unresolved = |reason: String| ProbeError::Unresolved { host: place.host.clone(), reason };
    let found = timeout_at(until, lookup_host((place.host.as_str(), place.port))).await;
    let found = found.map_err(|_| unresolved("the resolver does not answer in time".to_owned()))?;
    let mut all: Vec<SocketAddr> = Vec::new();
    for at in found.map_err(|error| unresolved(error.to_string()))? {
        if !all.contains(&at) {
            all.push(at);
        }
    }
    if all.is_empty() { Err(unresolved("there is none".to_owned())) } else { Ok(all) }
}

/// What was seen at all of them as one: the same leaf, or an error.
fn together(
    looks: impl Iterator<Item = (SocketAddr, Result<Seen, ProbeError>)>,
) -> Result<Seen, ProbeError> {
    let (mut first, mut other): (Option<Seen>, Option<Seen>) = (None, None);
    let (mut silent, mut broken) = (Vec::new(), None);
    for (at, look) in looks {
        match (look, &mut first) {
            (Ok(seen), None) => first = Some(seen),
            (Ok(seen), Some(first)) if first.leaf == seen.leaf => {
                first.at.push(at);
                first.proven &= seen.proven;
            }
            (Ok(seen), Some(_)) => match &mut other {
                None => other = Some(seen),
                Some(other) if other.leaf == seen.leaf => other.at.push(at),
                // Two that differ say it.
                Some(_) => {}
            },
            (Err(error), _) if error.is_silence() => silent.push((at, error)),
            (Err(error), _) => broken = broken.or(Some(error)),
        }
    }
    match (first, other, broken) {
        (Some(seen), _, Some(reason)) => {
            Err(ProbeError::Partly { seen: Box::new(seen), reason: Box::new(reason) })
        }
        (None, _, Some(reason)) => Err(reason),
        (Some(first), Some(other), None) => {
            Err(ProbeError::Differs { first: Box::new(first), other: Box::new(other) })
        }
        (Some(first), None, None) => {
            let told = |(at, error): (SocketAddr, ProbeError)| (at, error.to_string());
            Ok(Seen { silent: silent.into_iter().map(told).collect(), ..first })
        }
        (None, _, None) => Err(silent.into_iter().next().map_or_else(
            || ProbeError::Unresolved { host: String::new(), reason: "no address".to_owned() },
            |(_, error)| error,
        )),
    }
}

#[cfg(test)]
#[path = "probe_tests.rs"]
mod tests;
