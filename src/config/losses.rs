//! What a site gives up by the way it is set: marks of graders, and clients.
//!
//! Nothing here is wrong: it is what an operator should know who changed a default. The numbers are
//! those of SSL Labs' rating guide 2009r and of Mozilla's server-side TLS guidelines 6.0.

use super::model::{Preset, Site, TlsVersion};
use crate::cert::key::KeyAlgorithm;
use crate::cert::spec::IssuerName;

/// Seconds for which HSTS must hold for SSL Labs' A+: 180 days.
const SSL_LABS_HSTS: u64 = 15_552_000;

/// Seconds that Mozilla's guidelines ask for: two years.
const MOZILLA_HSTS: u64 = 63_072_000;

/// Clients without TLS 1.3, by the releases that brought it.
const OLDER_CLIENTS: &str = "clients without TLS 1.3: WeChat mini programs and payment callbacks, Safari before 12.1 and \
     iOS before 12.2, Android before 10, Windows before 11 and Server 2022, Java before 8u261, \
     OpenSSL before 1.1.1";

impl Site {
    /// What it gives up against the defaults, a sentence each; empty for a site as it comes. Sites
    /// of the internal CA have no mark to lose: no grader trusts them.
    pub fn losses(&self) -> Vec<String> {
        let mut losses = Vec::new();
        if self.issuer != IssuerName::Internal {
            losses.extend(self.hsts_losses());
        }
        if self.tls.min_version == TlsVersion::Tls13 {
            losses.push(OLDER_CLIENTS.to_owned());
        }
        if self.tls.preset == Preset::Modern
            && [Some(self.key), self.second_key].contains(&Some(KeyAlgorithm::Rsa2048))
        {
            losses.push("Mozilla's modern guidelines: they want an ECDSA key".to_owned());
        }
        if self.tls.preset == Preset::Compatible {
            losses.push(
                "post-quantum key exchange with clients that have it and do not begin with it"
                    .to_owned(),
            );
        }
        losses
    }

    fn hsts_losses(&self) -> Option<String> {
        let seconds = match self.hsts {
            None => 0,
            Some(hsts) if hsts.max_age >= MOZILLA_HSTS => return None,
            Some(hsts) => hsts.max_age,
        };
        Some(if seconds < SSL_LABS_HSTS {
            "SSL Labs' A+ (A at best) and Mozilla's guidelines: HSTS for less than 180 days"
                .to_owned()
        } else {
            "Mozilla's guidelines: HSTS for less than two years".to_owned()
        })
    }
}
