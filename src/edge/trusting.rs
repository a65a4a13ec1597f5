//! How origins that speak TLS are asked: made once for each way that sites have of it, and shared.
//!
//! Where the CAs cannot be read nobody is believed, and such an origin cannot be reached.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use http::uri::Authority;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;

use super::target::bare;
use super::visitors::stamp;
use super::watching::Watch;
use crate::base::trust;
use crate::config::OriginTls;

/// What the sites of one serving set share.
#[derive(Debug)]
pub(super) struct Trusting<'a> {
    made: HashMap<(Option<PathBuf>, bool), Option<Arc<ClientConfig>>>,
    /// Who looks after their servers.
    pub(super) watch: &'a Watch,
    /// The site whose servers are being made.
    pub(super) site: String,
}

/// How one server is asked.
#[derive(Clone, Debug)]
pub(super) struct Secure {
    /// Without one, nobody is believed.
    pub(super) config: Option<Arc<ClientConfig>>,
    /// What its certificate is for; what it is asked for, if that is a name.
    pub(super) name: ServerName<'static>,
}

impl<'a> Trusting<'a> {
    pub(super) fn new(watch: &'a Watch) -> Self {
        Self { made: HashMap::new(), watch, site: String::new() }
    }

    /// How the server at `authority` is asked, and what tells that way from others.
    pub(super) fn of(
        &mut self,
        authority: &Authority,
        tls: &OriginTls,
    ) -> (Option<Secure>, String) {
        let name = tls.name.as_deref().unwrap_or_else(|| bare(authority));
        let when = tls.ca.as_ref().map(|ca| (ca, stamp(ca)));
        let way = format!("{name} {} {when:?}", tls.verify);
        let key = (tls.ca.clone(), tls.verify);
        let config = self.made.entry(key).or_insert_with(|| {
            let made =
                if tls.verify { trust::checked(tls.ca.as_deref()) } else { trust::unchecked() };
            made.inspect_err(|error| {
                tracing::error!(%error, "origins that speak TLS cannot be checked, nor asked");
            })
            .ok()
        });
        let name = ServerName::try_from(name.to_owned()).ok();
        (name.map(|name| Secure { config: config.clone(), name }), way)
    }
}
