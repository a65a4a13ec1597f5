//! How origins that speak TLS are asked: made once for each way that sites have of it, and shared.
//!
//! Where the CAs cannot be read nobody is believed, and such an origin cannot be reached.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use http::uri::Authority;
use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls_pki_types::ServerName;

use super::badge::Badge;
use super::badge::Badges;
use super::target::bare;
use super::visitors::stamp;
use super::watching::Watch;
use crate::base::trust;
use crate::cert::identifier::Identifier;
use crate::config::OriginTls;

/// What the sites of one serving set share.
#[derive(Debug)]
pub(super) struct Trusting<'a> {
    made: Known,
    /// The certificates that servers may ask for.
    badges: Option<Badges>,
    /// Who looks after their servers.
    pub(super) watch: &'a Watch,
    /// The site whose servers are being made.
    pub(super) site: String,
}

/// How origins are asked, by each way that sites have of it.
pub(super) type Known = HashMap<Way, Option<Arc<ClientConfig>>>;

/// CAs that are believed, whether anybody looks, and the certificate that is shown.
pub(super) type Way = (Option<PathBuf>, bool, Option<Box<Identifier>>);

/// How one server is asked.
#[derive(Clone, Debug)]
pub(super) struct Secure {
    /// Without one, nobody is believed.
    pub(super) config: Option<Arc<ClientConfig>>,
    /// What its certificate is for; what it is asked for, if that is a name.
    pub(super) name: ServerName<'static>,
}

impl<'a> Trusting<'a> {
    pub(super) fn new(watch: &'a Watch, badges: Option<Badges>) -> Self {
        Self { made: HashMap::new(), badges, watch, site: String::new() }
    }

    /// Makes nothing again of what was made before.
    pub(super) fn remember(&mut self, known: Known) {
        self.made = known;
    }

    /// What was made, to be remembered.
    pub(super) fn known(self) -> Known {
        self.made
    }

    /// How the server at `authority` is asked, and what tells that way from others.
    pub(super) fn of(
        &mut self,
        authority: &Authority,
        tls: &OriginTls,
    ) -> (Option<Secure>, String) {
        let name = tls.name.as_deref().unwrap_or_else(|| bare(authority));
        let when = tls.ca.as_ref().map(|ca| (ca, stamp(ca)));
        let way = format!("{name} {} {when:?} {:?}", tls.verify, tls.certificate);
        let key = (tls.ca.clone(), tls.verify, tls.certificate.clone());
        let badge = tls.certificate.clone().zip(self.badges.clone());
        let config = self.made.entry(key).or_insert_with(|| {
            let made =
                if tls.verify { trust::checked(tls.ca.as_deref()) } else { trust::unchecked() };
            made.inspect_err(|error| {
                tracing::error!(%error, "origins that speak TLS cannot be checked, nor asked");
            })
            .ok()
            .map(|config| match badge {
                Some((name, among)) => showing(&config, Badge { name: *name, among }),
                None => config,
            })
        });
        let name = ServerName::try_from(name.to_owned()).ok();
        (name.map(|name| Secure { config: config.clone(), name }), way)
    }
}

/// The same for servers that ask who it is. A resumed session would be that of the certificate which was
/// shown at its beginning, so there are none.
fn showing(config: &ClientConfig, badge: Badge) -> Arc<ClientConfig> {
    let mut config = config.clone();
    config.client_auth_cert_resolver = Arc::new(badge);
    config.resumption = Resumption::disabled();
    Arc::new(config)
}
