//! Changes of DNS zones, made by processes that main asks and that know more than it does.
//!
//! The porter is started before the wall. For each change it starts a clerk, which reads the account's
//! secrets and speaks to the provider; see `issuer::dns`.

use std::io;
use std::io::Read as _;
use std::io::Write as _;
use std::net::Shutdown;
use std::os::fd::AsFd as _;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::base::bounds;
use crate::base::tasks::SharedClock;
use crate::base::tasks::TaskSet;
use crate::cert::challenge::BoxFuture;
use crate::cert::zone::ZoneChange;
use crate::cert::zone::ZoneKeeper;
use crate::cert::zone::ZoneRecord;
use crate::config::Config;
use crate::issuer::dns::Answer;
use crate::issuer::dns::Asked;
use crate::issuer::dns::DnsDesk;
use crate::issuer::dns::DnsOptions;
use crate::os::descriptors;
use crate::store::Store;

/// Beyond the clerk's own deadline, for its start and its end.
const GRACE: Duration = Duration::from_secs(20);

/// The way to the porter. It ends when this is dropped.
#[derive(Clone, Debug)]
pub(super) struct Porter(Arc<OwnedFd>);

impl Porter {
    /// Starts it for the configuration at `config`. To be called before the wall is raised.
    pub(super) fn start(config: &Path) -> io::Result<Self> {
        let (ours, theirs) = descriptors::seqpacket_pair()?;
        let config = std::path::absolute(config)?;
        // Not waited for: it ends with this process, or with its successor's predecessor.
        let _ends_with_main = Command::new("/proc/self/exe")
            .arg0("keyward")
            .arg("dns-porter")
            .arg(config)
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self(Arc::new(ours)))
    }

    fn ask(&self, asked: &Asked) -> Result<(), String> {
        let (mut ours, theirs) = UnixStream::pair().map_err(|error| error.to_string())?;
        let sent = descriptors::send_with(self.0.as_fd(), &[0], &[theirs.as_fd()]);
        sent.map_err(|error| format!("the process that changes zones is gone ({error})"))?;
        drop(theirs);
        let text = serde_json::to_vec(asked).map_err(|error| error.to_string())?;
        let mut answer = Vec::new();
        let patience = bounds::dns::CHANGE.saturating_add(GRACE);
        let most = u64::try_from(bounds::dns::MESSAGE).unwrap_or(u64::MAX);
        let mut exchange = || {
            ours.set_read_timeout(Some(patience))?;
            ours.set_write_timeout(Some(GRACE))?;
            ours.write_all(&text)?;
            ours.shutdown(Shutdown::Write)?;
            (&mut ours).take(most).read_to_end(&mut answer)
        };
        let read: io::Result<usize> = exchange();
        read.map_err(|error| format!("the process that changes a zone does not answer ({error})"))?;
        let answer: Answer = serde_json::from_slice(&answer)
            .map_err(|_| "the process that changes a zone ended without an answer".to_owned())?;
        answer.refused.map_or(Ok(()), Err)
    }
}

impl ZoneKeeper for Porter {
    fn change<'a>(
        &'a self,
        what: ZoneChange,
        record: &'a ZoneRecord,
    ) -> BoxFuture<'a, Result<(), String>> {
        let asked = Asked { what, record: record.clone() };
        let porter = self.clone();
        Box::pin(async move {
            let answer = tokio::task::spawn_blocking(move || porter.ask(&asked)).await;
            answer.unwrap_or_else(|_| Err("the runtime is ending".to_owned()))
        })
    }
}

/// Proofs by DNS, and the removal of those that an earlier run left behind.
pub(super) fn begin_proofs(
    zones: Option<Porter>,
    store: &Store,
    configs: &watch::Receiver<Arc<Config>>,
    clock: &SharedClock,
    tasks: &TaskSet,
    stop: &CancellationToken,
) -> DnsDesk {
    let able = zones.is_some();
    let desk = DnsDesk::new(DnsOptions {
        config: configs.clone(),
        zones: zones.map(|porter| Arc::new(porter) as _),
        book: Arc::new(store.clone()),
        clock: Arc::clone(clock),
    });
    if able {
        tasks.service("dns-proofs", desk.clone().tidy(stop.clone()));
    }
    desk
}
