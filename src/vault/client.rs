//! The vault as main knows it.

use std::cell::RefCell;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use tokio::sync::mpsc;

use super::error::VaultError;
use super::figures::VaultFigures;
use super::greet::Terms;
use super::greet::greet;
use super::handing::Lineage;
use super::link::Line;
use super::link::Link;
use super::link::VaultEvent;
use super::master::MasterKeySource;
use super::purpose::Purpose;
use super::scheme::Scheme;
use super::seal::Mark;
use super::supervisor;
use super::supervisor::Keeper;
use super::tally::Tally;
use super::walls;
use super::walls::WallReport;
use super::wire::Reply;
use super::wire::Request;
use crate::base::bounds;
use crate::cert::challenge::BoxFuture;
use crate::cert::failure::Failure;
use crate::cert::failure::FailureKind;
use crate::cert::key::KeyAlgorithm;
use crate::cert::key::KeyHandle;
use crate::cert::key::KeyId;
use crate::cert::key::KeyUsage;
use crate::cert::key::SealedKey;
use crate::cert::ports::KeySource;

/// How to start a vault.
#[derive(Clone, Debug)]
pub struct VaultOptions {
    /// This program; `/proc/self/exe` outside tests.
    pub exe: PathBuf,
    /// Where the master key comes from.
    pub master: MasterKeySource,
    /// Bytes of opened keys kept ready to sign.
    pub cache_bytes: u64,
    /// Worker threads that will call `bind_worker`.
    pub workers: usize,
    /// The core of each worker; missing ones are not pinned.
    pub cores: Vec<Option<usize>>,
    /// Workers ask through shared memory where the kernel lets them; through sockets otherwise.
    pub gates: bool,
    /// A vault of which any wall is torn is turned away, now and later.
    pub strict: bool,
}

/// How the vault is.
#[derive(Clone, Debug)]
pub struct VaultStatus {
    /// The present vault's process.
    pub pid: u32,
    /// The keeper's; `None` when it is gone, or there never was one.
    pub keeper_pid: Option<u32>,
    /// Vaults that were replaced.
    pub restarts: u64,
    /// How far its walls stand.
    pub walls: Vec<WallReport>,
    /// Workers ask through shared memory, not through sockets.
    pub gates: bool,
    /// The master keys it has, the present one first: two while what the former one sealed is
    /// sealed anew.
    pub masters: Vec<Mark>,
    /// The master key was made at this start: a better place for it should be named.
    pub created_master: bool,
    /// Why the last start of a vault failed, while none serves.
    pub failing: Option<String>,
    /// What it has done; `None` while none answers.
    pub figures: Option<VaultFigures>,
}

/// A vault that serves and is not supervised yet.
#[derive(Debug)]
pub struct Launched {
    keeper: Keeper,
    terms: Terms,
    handle: Handle,
    link: Arc<Link>,
}

/// A handle on the vault. Clones share it; the last one to go ends the vault.
#[derive(Clone, Debug)]
pub struct Vault(Arc<Handle>);

#[derive(Debug)]
struct Handle {
    link: Arc<Link>,
    workers: usize,
    work: Mutex<Line>,
    control: Mutex<Line>,
    events: Mutex<Option<mpsc::Receiver<VaultEvent>>>,
    /// Handshakes by key, of each worker, and of whoever is none.
    tallies: Vec<Tally>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.link.close();
    }
}

thread_local! {
    static BOUND: RefCell<Option<Line>> = const { RefCell::new(None) };
}

impl Launched {
    /// Its walls that do not stand whole.
    pub fn torn(&self) -> Vec<WallReport> {
        walls::torn(&self.link.state().walls)
    }

    /// The processes of vault and keeper.
    pub fn processes(&self) -> (u32, u32) {
        (self.link.state().pid, self.keeper.pid())
    }

    /// Supervises it from a thread of its own.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn supervise(self) -> Result<Vault, VaultError> {
        let Self { keeper, terms, handle, link } = self;
        let spawned = std::thread::Builder::new()
            .name("vault-supervisor".to_owned())
            .spawn(move || keeper.supervise(&link, &terms));
        spawned.map_err(VaultError::Start)?;
        Ok(Vault(Arc::new(handle)))
    }
}

impl Vault {
    /// Starts keeper and vault, waits until the vault serves, and supervises them. Blocks.
    ///
    /// # Errors
    /// As [`Vault::launch`].
    pub fn start(options: VaultOptions) -> Result<Self, VaultError> {
        Self::launch(options)?.supervise()
    }

    /// Starts keeper and vault and waits until the vault serves, without starting a thread.
    /// Blocks.
    ///
    /// To be called before this process walls itself off from the master key, whose walls the
    /// keeper would inherit; the wall in turn must stand before the first thread.
    ///
    /// # Errors
    /// [`VaultError`]; above all [`VaultError::MasterKey`] with the file and what is wrong.
    pub fn launch(options: VaultOptions) -> Result<Launched, VaultError> {
        Self::launch_of(options, Lineage::default())
    }

    /// The same for a program that may be followed by another, or follows one.
    ///
    /// # Errors
    /// As [`Vault::launch`].
    pub fn launch_of(options: VaultOptions, lineage: Lineage) -> Result<Launched, VaultError> {
        let terms = Terms {
            cache_bytes: options.cache_bytes,
            cores: cores(options.workers, options.cores)?,
            gates: options.gates,
            strict: options.strict,
        };
        let mut keeper = match lineage.keeper.filter(|_| options.master.is_asked_for()) {
            Some(handed) => Keeper::handed(handed),
            None => Keeper::start(&options.exe, &options.master, lineage.config.as_deref())?,
        };
        let (handle, link) = Handle::new(options.workers);
        if let Err(error) = keeper.first(&link, &terms) {
            keeper.end();
            return Err(error);
        }
        Ok(Launched { keeper, terms, handle, link })
    }

    /// Uses a vault that somebody else started, by its control socket, with the walls it has. It
    /// is not restarted.
    ///
    /// # Errors
    /// As [`Vault::start`].
    pub fn connect(
        control: OwnedFd,
        cache_bytes: u64,
        workers: usize,
        cores: Vec<Option<usize>>,
    ) -> Result<Self, VaultError> {
        let cores = self::cores(workers, cores)?;
        let terms = Terms { cache_bytes, cores, gates: true, strict: false };
        let (handle, link) = Handle::new(workers);
        link.publish(greet(control, &terms)?);
        let spawned = std::thread::Builder::new()
            .name("vault-supervisor".to_owned())
            .spawn(move || supervisor::watch_orphan(&link));
        spawned.map_err(VaultError::Start)?;
        Ok(Self(Arc::new(handle)))
    }

    /// One that is reached by these channels, and by nobody supervised; it has no workers.
    #[cfg(test)]
    pub(super) fn of_channels(greeting: super::greet::Greeting) -> Self {
        let (handle, link) = Handle::new(0);
        link.publish(greeting);
        Self(Arc::new(handle))
    }

    /// What happens to the vault from now on; `None` when somebody else has taken it.
    pub fn events(&self) -> Option<mpsc::Receiver<VaultEvent>> {
        self.0.events.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// A new key. Blocks for up to [`bounds::VAULT_WORK_DEADLINE`].
    ///
    /// # Errors
    /// [`VaultError`].
    pub fn generate_blocking(
        &self,
        algorithm: KeyAlgorithm,
        usage: KeyUsage,
    ) -> Result<KeyHandle, VaultError> {
        self.made(&Request::Generate { algorithm, usage }, algorithm, usage)
    }

    /// The handle of a key that the vault has just made or taken over.
    fn made(
        &self,
        request: &Request<'_>,
        algorithm: KeyAlgorithm,
        usage: KeyUsage,
    ) -> Result<KeyHandle, VaultError> {
        let (spki, sealed) = self.control().ask(request, |reply| match reply {
            Reply::Generated { spki, sealed } => Ok((spki.to_vec(), sealed.to_vec())),
            _ => Err(VaultError::Unexpected),
        })?;
        Ok(KeyHandle {
            id: KeyId::of_spki(&spki),
            algorithm,
            usage,
            spki: spki.into(),
            sealed: SealedKey(sealed.into()),
        })
    }

    /// Signs on this thread's own channel if it has one, else on the shared one. Blocks for up
    /// to [`bounds::VAULT_SIGN_DEADLINE`], and for [`bounds::VAULT_FAILOVER`] more when the
    /// vault dies.
    ///
    /// # Errors
    /// [`VaultError`].
    pub fn sign(
        &self,
        key: &KeyHandle,
        purpose: Purpose,
        scheme: Scheme,
        message: &[u8],
    ) -> Result<Vec<u8>, VaultError> {
        self.sign_asked(Asked { key, purpose, scheme, message, along: false })
    }

    fn sign_asked(&self, asked: Asked<'_>) -> Result<Vec<u8>, VaultError> {
        if asked.purpose.is_for_workers() {
            return self.on_nearest(|line| sign_on(line, asked));
        }
        sign_on(&mut lock(&self.0.work), asked)
    }

    /// The same for a handshake, with a key that was not asked for lately: it is most likely not
    /// open, so it is sent along with the first question.
    pub(super) fn sign_along(
        &self,
        key: &KeyHandle,
        purpose: Purpose,
        scheme: Scheme,
        message: &[u8],
    ) -> Result<Vec<u8>, VaultError> {
        self.sign_asked(Asked { key, purpose, scheme, message, along: true })
    }

    /// Asks on this thread's own channel if it has one, else on the shared one.
    pub(super) fn on_nearest<T>(
        &self,
        ask: impl Fn(&mut Line) -> Result<T, VaultError>,
    ) -> Result<T, VaultError> {
        let own = BOUND.with(|bound| {
            let mut bound = bound.try_borrow_mut().ok()?;
            let line = bound.as_mut()?;
            let mine = line.instance() == self.0.link.instance;
            mine.then(|| ask(line))
        });
        match own {
            // Another thread was bound to the same index first.
            None | Some(Err(VaultError::ChannelInUse)) => ask(&mut lock(&self.0.work)),
            Some(answered) => answered,
        }
    }

    /// The key of the account `label`, which an earlier version sealed as a secret for main, as one
    /// that never leaves.
    ///
    /// # Errors
    /// [`VaultError::Seal`] when it was sealed under another label or master key, or damaged.
    pub fn take_over(&self, label: &str, sealed: &[u8]) -> Result<KeyHandle, VaultError> {
        let request = Request::TakeOver { label: label.as_bytes(), sealed };
        self.made(&request, KeyAlgorithm::P256, KeyUsage::Account)
    }

    /// Drops a key from the vault's cache.
    ///
    /// # Errors
    /// [`VaultError`].
    pub fn forget(&self, key: KeyId) -> Result<(), VaultError> {
        self.control().ask(&Request::Forget { key }, |reply| match reply {
            Reply::Done => Ok(()),
            _ => Err(VaultError::Unexpected),
        })
    }

    /// What the present vault has done.
    ///
    /// # Errors
    /// [`VaultError`].
    pub fn ping(&self) -> Result<VaultFigures, VaultError> {
        self.control().ask(&Request::Ping, |reply| match reply {
            Reply::Figures(numbers) => Ok(VaultFigures::of(numbers)),
            _ => Err(VaultError::Unexpected),
        })
    }

    /// How the vault is. Blocks as [`Vault::ping`] does.
    pub fn status(&self) -> VaultStatus {
        let figures = self.ping().ok();
        let state = self.0.link.state();
        VaultStatus {
            pid: state.pid,
            keeper_pid: state.keeper_pid,
            restarts: self.0.link.restarts(),
            walls: state.walls.clone(),
            gates: state.gates,
            masters: state.masters.clone(),
            created_master: state.created_master,
            failing: state.last_refusal.clone(),
            figures,
        }
    }

    /// The present vault's walls that do not stand whole.
    pub fn torn(&self) -> Vec<WallReport> {
        walls::torn(&self.0.link.state().walls)
    }

    /// Gives the calling thread the channel of worker `index`.
    pub(super) fn bind(&self, index: usize) {
        let line = (index < self.0.workers).then(|| Line::new(Arc::clone(&self.0.link), index));
        BOUND.with(|bound| {
            if let Ok(mut bound) = bound.try_borrow_mut() {
                *bound = line;
            }
        });
    }

    /// Counts the vaults; what is counted is of the present one.
    pub(super) fn era(&self) -> u64 {
        self.0.link.restarts()
    }

    pub(super) fn workers(&self) -> usize {
        self.0.workers
    }

    pub(super) fn tallies(&self) -> &[Tally] {
        &self.0.tallies
    }

    /// Counts a handshake with `key`, for the worker that calls.
    pub(super) fn count_handshake(&self, key: &KeyId) {
        let index = BOUND.with(|bound| {
            let bound = bound.try_borrow().ok()?;
            let line = bound.as_ref()?;
            (line.instance() == self.0.link.instance).then(|| line.index())
        });
        // Whoever is no worker waits for the others there are.
        let _turn = index.is_none().then(|| lock(&self.0.work));
        if let Some(tally) = self.0.tallies.get(index.unwrap_or(self.0.workers)) {
            tally.count(key, self.era());
        }
    }

    pub(super) fn link(&self) -> &Link {
        &self.0.link
    }

    pub(super) fn control(&self) -> MutexGuard<'_, Line> {
        lock(&self.0.control)
    }
}

impl Handle {
    fn new(workers: usize) -> (Self, Arc<Link>) {
        let (sender, receiver) = mpsc::channel(bounds::VAULT_EVENTS);
        let link = Arc::new(Link::new(sender));
        let handle = Self {
            workers,
            work: Mutex::new(Line::new(Arc::clone(&link), workers)),
            control: Mutex::new(Line::new(Arc::clone(&link), workers.saturating_add(1))),
            events: Mutex::new(Some(receiver)),
            tallies: std::iter::repeat_with(Tally::default)
                .take(workers.saturating_add(1))
                .collect(),
            link: Arc::clone(&link),
        };
        (handle, link)
    }
}

impl KeySource for Vault {
    fn generate(
        &self,
        algorithm: KeyAlgorithm,
        usage: KeyUsage,
    ) -> BoxFuture<'_, Result<KeyHandle, Failure>> {
        let vault = self.clone();
        Box::pin(async move {
            let made =
                tokio::task::spawn_blocking(move || vault.generate_blocking(algorithm, usage));
            match made.await {
                Ok(made) => Ok(made?),
                Err(_) => Err(Failure::new(FailureKind::Vault, "the runtime is ending")),
            }
        })
    }
}

/// What is to be signed.
#[derive(Clone, Copy)]
struct Asked<'a> {
    key: &'a KeyHandle,
    purpose: Purpose,
    scheme: Scheme,
    message: &'a [u8],
    /// Whether the sealed key goes along with the first question.
    along: bool,
}

/// Signs; sends the sealed key along when the vault does not have it open.
fn sign_on(line: &mut Line, asked: Asked<'_>) -> Result<Vec<u8>, VaultError> {
    let Asked { key, purpose, scheme, message, along } = asked;
    for sealed in [along.then_some(&*key.sealed.0), Some(&key.sealed.0)] {
        let sealed = sealed.unwrap_or_default();
        let request = Request::Sign { key: key.id, purpose, scheme, message, sealed };
        let signed = line.ask(&request, |reply| match reply {
            Reply::Signature(signature) => Ok(Some(signature.to_vec())),
            Reply::NeedBlob => Ok(None),
            _ => Err(VaultError::Unexpected),
        })?;
        if let Some(signature) = signed {
            return Ok(signature);
        }
    }
    Err(VaultError::Unexpected)
}

fn lock(line: &Mutex<Line>) -> MutexGuard<'_, Line> {
    line.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One for each worker.
fn cores(workers: usize, mut cores: Vec<Option<usize>>) -> Result<Vec<Option<usize>>, VaultError> {
    if workers > bounds::VAULT_WORKERS {
        return Err(VaultError::TooManyWorkers { workers, limit: bounds::VAULT_WORKERS });
    }
    cores.resize(workers, None);
    Ok(cores)
}
