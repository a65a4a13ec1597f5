//! An order at a directory that is for trying, from the account to the certificate: everything that a real
//! one needs is needed for it, and nothing of it is kept.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use tokio::time::timeout;

use super::Patient;
use crate::admin::wire::doctor::Check;
use crate::cert::challenge::BoxFuture;
use crate::cert::failure::Failure;
use crate::cert::key::KeyAlgorithm;
use crate::cert::key::KeyUsage;
use crate::cert::lifecycle::Phase;
use crate::cert::ports::Book;
use crate::cert::ports::CertificateAuthority as _;
use crate::cert::ports::Job;
use crate::cert::ports::KeySource;
use crate::cert::ports::Progress;
use crate::cert::ports::Shelf;
use crate::cert::spec::IssuerName;
use crate::cert::spec::Role;
use crate::cert::spec::Specification;
use crate::daemon::authorities::Authorities;

/// Directories for trying, by those that they are like. Those of other CAs want an external account of
/// their own, which the configuration does not have.
const KNOWN: [(&str, &str); 1] = [(
    "https://acme-v02.api.letsencrypt.org/directory",
    "https://acme-staging-v02.api.letsencrypt.org/directory",
)];

/// The directory for trying of the CA that issues under this name.
fn known(issuer: &IssuerName) -> Option<&'static str> {
    let IssuerName::Acme(directory) = issuer else { return None };
    let found = KNOWN.iter().find(|(of, _)| of == directory);
    found.map(|(_, staging)| *staging)
}

/// A book whose pages are gone with it.
#[derive(Debug, Default)]
struct Scratch(Mutex<HashMap<(Shelf, String), Vec<u8>>>);

impl Book for Scratch {
    fn get<'a>(
        &'a self,
        shelf: Shelf,
        name: &'a str,
    ) -> BoxFuture<'a, Result<Option<Vec<u8>>, Failure>> {
        let pages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = pages.get(&(shelf, name.to_owned())).cloned();
        Box::pin(async { Ok(found) })
    }

    fn put<'a>(
        &'a self,
        shelf: Shelf,
        name: &'a str,
        value: Vec<u8>,
    ) -> BoxFuture<'a, Result<(), Failure>> {
        let mut pages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pages.insert((shelf, name.to_owned()), value);
        Box::pin(async { Ok(()) })
    }
}

/// Nobody goes on with such an order.
struct Unnoted;

impl Progress for Unnoted {
    fn order_opened<'a>(&'a self, _url: &'a str) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async { Ok(()) })
    }

    fn counted(&self) -> BoxFuture<'_, Result<(), Failure>> {
        Box::pin(async { Ok(()) })
    }

    fn order_lost(&self) -> BoxFuture<'_, Result<(), Failure>> {
        Box::pin(async { Ok(()) })
    }

    fn challenge_failed<'a>(
        &'a self,
        _failures: &'a [Failure],
    ) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async { Ok(()) })
    }
}

/// Orders for all names of `patient` at `directory`, or where that is empty, at the one that is known for its
/// CA. It ends after `limit`.
pub(super) async fn order(
    patient: &Patient,
    directory: &str,
    authorities: &Authorities,
    keys: &dyn KeySource,
    limit: Duration,
) -> Check {
    let problem = |seen: String, change: &str| Check::problem("staging", None, seen, change);
    if !patient.by_acme {
        let seen = "no public CA is asked for it, so that there is nothing to try";
        return Check::ok("staging", None, seen);
    }
    let directory = match (directory, known(&patient.issuer)) {
        ("", None) => {
            let seen = format!("no directory for trying is known of {}", patient.issuer);
            return Check::warning("staging", None, seen, "name one: --staging=URL");
        }
        ("", Some(known)) => known,
        (named, _) => named,
    };
    if !directory.starts_with("https://") {
        return problem(format!("{directory:?} is no https URL"), "--staging=https://...");
    }
    if IssuerName::Acme(directory.to_owned()) == patient.issuer {
        let seen = format!("{directory} is where the certificate itself is ordered");
        return problem(seen, "name a directory that is for trying");
    }
    let phase = patient.certificate.as_ref().map(|one| &one.phase);
    if phase.is_some_and(|phase| matches!(phase, Phase::Ordering { .. })) {
        // The CA would ask at the same place for another proof.
        let seen = "it is being ordered, and a trial would get in the way";
        return Check::warning("staging", None, seen, "wait until that has ended: keyward why");
    }
    let Some(issuer) = authorities.trial(&patient.issuer, directory, Arc::<Scratch>::default())
    else {
        return problem(format!("{} is not configured", patient.issuer), "see the site");
    };
    let key = match keys.generate(KeyAlgorithm::P256, KeyUsage::Tls).await {
        Ok(key) => key,
        Err(failure) => return problem(failure.to_string(), failure.kind.hint()),
    };
    let (names, at) = (patient.names.clone(), IssuerName::Acme(directory.to_owned()));
    let profile = patient.profile.clone();
    let job = Job {
        spec: Specification::new(names, at, key.algorithm, profile, Role::Primary),
        key: key.into(),
        order: None,
        resumed: false,
        taken: Vec::new(),
        replaces: None,
        attempt: 0,
        before: None,
        challenge: patient.only,
        // The roots of where it is tried are others.
        preferred_chain: None,
    };
    match timeout(limit, issuer.obtain(job, &Unnoted)).await {
        Ok(Ok(issued)) => {
            let leaf = issued.chain.leaf();
            let by =
                leaf.map_or_else(|_| "an issuer without a name".to_owned(), |leaf| leaf.issuer);
            let seen = format!("{directory} issued a certificate, by {by}, which is thrown away");
            Check::ok("staging", None, seen)
        }
        Ok(Err(failure)) => problem(format!("{directory}: {failure}"), failure.kind.hint()),
        Err(_) => Check::warning(
            "staging",
            None,
            format!("{directory} issued nothing within {} s", limit.as_secs()),
            "see what stands above, and the log of the daemon",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_directory_for_trying_is_known_of_the_cas_that_have_one() {
        let of = |directory: &str| known(&IssuerName::Acme(directory.to_owned()));
        let staging = "https://acme-staging-v02.api.letsencrypt.org/directory";
        assert_eq!(of("https://acme-v02.api.letsencrypt.org/directory"), Some(staging));
        assert_eq!(of("https://ca.example/directory"), None);
        assert_eq!(known(&IssuerName::Internal), None);
    }
}
