//! The certificate that keyward shows to origins that ask who it is.
//!
//! It is found in the catalog by its name for each connection, so that a renewed one is shown by the
//! next; its key stays in the vault.

use std::cmp::Reverse;
use std::sync::Arc;

use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::sign::CertifiedKey;

use crate::base::Clock;
use crate::cert::identifier::Identifier;
use crate::cert::ports::Catalog;
use crate::cert::ports::Signers;

/// Where such certificates are, and who signs with their keys.
#[derive(Clone, Debug)]
pub(super) struct Badges {
    pub(super) catalog: Arc<dyn Catalog>,
    pub(super) signers: Arc<dyn Signers>,
    pub(super) clock: Arc<dyn Clock>,
}

/// The one with this name.
#[derive(Debug)]
pub(super) struct Badge {
    pub(super) name: Identifier,
    pub(super) among: Badges,
}

impl Badge {
    /// The best that can be used now, of those whose signatures the origin can check.
    fn find(&self, schemes: &[SignatureScheme]) -> Result<Arc<CertifiedKey>, String> {
        let Badges { catalog, signers, clock } = &self.among;
        let mut candidates = catalog.candidates(&self.name)?;
        let now = clock.now();
        candidates.sort_by_cached_key(|served| Reverse(served.rank(&self.name, now)));
        let mut last = Err("there is none with this name".to_owned());
        for served in &candidates {
            last = signers.client_key(&served.installed.chain, &served.key);
            if let Ok(key) = &last
                && key.key.choose_scheme(schemes).is_some()
            {
                return last;
            }
        }
        match last {
            Ok(_) => Err("the origin can check none of them".to_owned()),
            Err(reason) => Err(reason),
        }
    }
}

impl ResolvesClientCert for Badge {
    /// Without one, none is shown, and the origin says what it thinks of that.
    fn resolve(&self, _: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let found = self.find(schemes);
        found
            .inspect_err(|reason| {
                let name = &self.name;
                tracing::warn!(%name, reason, "an origin asks for a certificate that cannot be shown");
            })
            .ok()
    }

    fn has_certs(&self) -> bool {
        true
    }
}
