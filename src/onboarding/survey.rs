//! The configuration in force, and whom it has asked where names lead.
//!
//! Both are made anew when the file changes, and not for each name.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use tokio::sync::watch;
use tokio::time::timeout;

use super::policy::Refusal;
use super::policy::Taken;
use crate::base::bounds::onboarding::LOOKUP;
use crate::cert::identifier::DnsName;
use crate::config::Config;
use crate::config::Onboarding;
use crate::issuer::dns::Astray;
use crate::issuer::dns::Guide;

/// What names are held to.
#[derive(Debug)]
pub struct Survey {
    config: watch::Receiver<Arc<Config>>,
    made: Mutex<Option<Made>>,
}

#[derive(Debug)]
struct Made {
    of: Arc<Config>,
    taken: Arc<Taken>,
    guide: Option<(Vec<SocketAddr>, Arc<Guide>)>,
}

impl Survey {
    /// Follows `config`.
    pub fn new(config: watch::Receiver<Arc<Config>>) -> Self {
        Self { config, made: Mutex::new(None) }
    }

    /// The configuration in force, and the names that its sites have.
    pub(super) fn present(&self) -> (Arc<Config>, Arc<Taken>) {
        let config = Arc::clone(&self.config.borrow());
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = made.as_ref().filter(|known| Arc::ptr_eq(&known.of, &config)) {
            return (config, Arc::clone(&known.taken));
        }
        let taken = Arc::new(Taken::of(&config));
        let guide = made.take().and_then(|former| former.guide);
        *made = Some(Made { of: Arc::clone(&config), taken: Arc::clone(&taken), guide });
        (config, taken)
    }

    /// Whether `name` leads here.
    pub(super) async fn leads(&self, plan: &Onboarding, name: &DnsName) -> Result<(), Refusal> {
        let guide = self.guide(&plan.name_servers).map_err(Astray::Unknown)?;
        let leads = guide.leads(name.as_str(), plan.target.as_str(), &plan.addresses);
        // Servers that are slow by intent hold a place no longer.
        let late = |_| Err(Astray::Unknown(format!("not within {} s", LOOKUP.as_secs())));
        Ok(timeout(LOOKUP, leads).await.unwrap_or_else(late)?)
    }

    fn guide(&self, servers: &[SocketAddr]) -> Result<Arc<Guide>, String> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let known = made.as_ref().and_then(|made| made.guide.as_ref());
        if let Some((_, guide)) = known.filter(|(of, _)| of == servers) {
            return Ok(Arc::clone(guide));
        }
        let guide = Arc::new(Guide::new(servers)?);
        if let Some(made) = made.as_mut() {
            made.guide = Some((servers.to_vec(), Arc::clone(&guide)));
        }
        Ok(guide)
    }
}
