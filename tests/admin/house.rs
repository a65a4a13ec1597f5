//! A house without anything behind it, served on a real socket: what it shows is set by the test.

use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Output;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;

use keyward::admin::Bound;
use keyward::admin::Caller;
use keyward::admin::Filter;
use keyward::admin::House;
use keyward::admin::HouseError;
use keyward::admin::Keyring;
use keyward::admin::Passage;
use keyward::admin::Place;
use keyward::admin::Selector;
use keyward::admin::wire::CertificateView;
use keyward::admin::wire::Certificates;
use keyward::admin::wire::ConfigView;
use keyward::admin::wire::Counts;
use keyward::admin::wire::EntryView;
use keyward::admin::wire::FailureView;
use keyward::admin::wire::InstalledView;
use keyward::admin::wire::ListenerView;
use keyward::admin::wire::Moment;
use keyward::admin::wire::Reloaded;
use keyward::admin::wire::SiteView;
use keyward::admin::wire::Standing;
use keyward::admin::wire::Status;
use keyward::admin::wire::VaultView;
use keyward::admin::wire::care::CareView;
use keyward::admin::wire::care::HostedAll;
use keyward::admin::wire::care::Refused;
use keyward::admin::wire::care::RevokingView;
use keyward::admin::wire::care::Why;
use keyward::admin::wire::rotate::AccountView;
use keyward::admin::wire::rotate::MasterView;
use keyward::admin::wire::rotate::RotateKeys;
use keyward::admin::wire::rotate::RotatedKey;
use keyward::admin::wire::rotate::RotatedKeys;
use keyward::admin::wire::signing::SigningView;
use keyward::admin::wire::terms::DoorView;
use keyward::admin::wire::tickets::TicketsView;
use keyward::admin::wire::transfer::BackedUp;
use keyward::admin::wire::transfer::Exported;
use keyward::admin::wire::transfer::ImportKey;
use keyward::admin::wire::transfer::ImportOrder;
use keyward::admin::wire::transfer::Imported;
use keyward::base::Clock as _;
use keyward::base::SystemClock;
use keyward::base::Timestamp;
use keyward::base::tasks::TaskSet;
use keyward::cert::care::Accept;
use keyward::cert::care::Reason;
use keyward::cert::challenge::BoxFuture;
use keyward::cert::spec::CertificateId;
use keyward::config::Config;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub(crate) const DAY: u64 = 24 * 3600;

/// What the test's house shows.
pub(crate) struct Fake {
    pub(crate) started: Timestamp,
    pub(crate) journal: Mutex<Vec<EntryView>>,
    pub(crate) head: watch::Sender<u64>,
    pub(crate) reload: Mutex<Result<Reloaded, HouseError>>,
    pub(crate) slow: std::sync::atomic::AtomicBool,
    /// How many imported certificates there are beside the others.
    pub(crate) imported: AtomicUsize,
    /// How often a page of the list was asked for.
    pub(crate) pages: AtomicUsize,
    pub(crate) root: String,
    pub(crate) import_key: String,
    pub(crate) master: Mutex<Succession>,
}

/// How a change of the master key goes here.
#[derive(Default)]
pub(crate) struct Succession {
    /// Looks until it is done.
    pub(crate) left: u64,
    pub(crate) refused: bool,
}

impl Succession {
    fn step(&mut self) -> MasterView {
        let left = self.left;
        self.left = left.saturating_sub(1);
        MasterView {
            epoch: 2,
            mark: "epoch 2 (0202020202020202)".to_owned(),
            former: (left > 0).then(|| "epoch 1 (0101010101010101)".to_owned()),
            former_needed: left > 0,
            resealed: 7,
            ..MasterView::default()
        }
    }
}

/// A running server and the socket it is on.
pub(crate) struct Running {
    pub(crate) fake: Arc<Fake>,
    pub(crate) dir: tempfile::TempDir,
    pub(crate) socket: PathBuf,
    runtime: Option<tokio::runtime::Runtime>,
    stop: CancellationToken,
    tasks: TaskSet,
}

pub(crate) fn at(now: Timestamp, seconds: u64) -> Moment {
    Moment(now.plus(Duration::from_secs(seconds)))
}

impl Fake {
    pub(crate) fn new() -> Arc<Self> {
        let key = rcgen::KeyPair::generate().unwrap();
        let root = rcgen::CertificateParams::new(vec!["root.internal".to_owned()]).unwrap();
        Arc::new(Self {
            started: SystemClock.now(),
            journal: Mutex::new(Vec::new()),
            head: watch::Sender::new(0),
            reload: Mutex::new(Ok(Reloaded::default())),
            slow: std::sync::atomic::AtomicBool::new(false),
            imported: AtomicUsize::new(0),
            pages: AtomicUsize::new(0),
            root: root.self_signed(&key).unwrap().pem(),
            master: Mutex::default(),
            import_key: "CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQk=".to_owned(),
        })
    }

    /// Imported certificates, as many as the test wants, one in a hundred of which needs somebody.
    fn brought(&self) -> impl Iterator<Item = CertificateView> {
        let shop = self.all().swap_remove(0);
        let halted = self.all().swap_remove(1);
        (0..self.imported.load(Ordering::Relaxed)).map(move |number| {
            let like = if number % 100 == 7 { &halted } else { &shop };
            CertificateView {
                id: format!("{number:016x}"),
                names: vec![format!("brought-{number}.example")],
                role: "imported".to_owned(),
                ..like.clone()
            }
        })
    }

    /// Writes one entry.
    pub(crate) fn tell(&self, kind: &str, level: &str, certificate: Option<&str>, message: &str) {
        let mut journal = self.journal.lock().unwrap();
        let seq = journal.len() as u64 + 1;
        journal.push(EntryView {
            seq,
            at: Moment(Timestamp::from_unix(1_800_000_000 + seq)),
            kind: kind.to_owned(),
            level: level.to_owned(),
            certificate: certificate.map(str::to_owned),
            name: certificate.map(|_| "shop.example".to_owned()),
            message: message.to_owned(),
        });
        self.head.send_replace(seq);
    }

    pub(crate) fn entries(&self) -> Vec<EntryView> {
        self.journal.lock().unwrap().clone()
    }

    pub(crate) fn tickets(&self) -> TicketsView {
        TicketsView {
            mode: "fast".to_owned(),
            epoch: Some(7),
            since: Some(Moment(self.started.minus(Duration::from_secs(7300)))),
            next: Some(at(self.started, 7300)),
            durable: true,
        }
    }

    pub(crate) fn all(&self) -> Vec<CertificateView> {
        let now = self.started;
        let mut shop = CertificateView {
            id: "aa00000000000001".to_owned(),
            names: vec!["shop.example".to_owned(), "www.shop.example".to_owned()],
            issuer: "acme-v02.api.letsencrypt.org".to_owned(),
            role: "primary".to_owned(),
            key_algorithm: "p256".to_owned(),
            profile: None,
            state: Standing::Served,
            condition: "issued".to_owned(),
            phase: "holding".to_owned(),
            installed: Some(InstalledView {
                serial: "0a0b".to_owned(),
                not_before: Moment(now.minus(Duration::from_secs(30 * DAY + 60))),
                not_after: at(now, 59 * DAY + 3600),
                valid: true,
                percent_left: 66,
                issuer: "C=US, O=Let's Encrypt, CN=E7".to_owned(),
                key: "07".repeat(32),
                installed_at: Moment(now.minus(Duration::from_secs(30 * DAY))),
            }),
            renew_at: Some(at(now, 29 * DAY + 3600)),
            window: None,
            recheck_at: None,
            next_wake: Some(at(now, 29 * DAY + 3600)),
            attempt: 0,
            failure: None,
            halted_since: None,
            order: None,
            revision: 4,
            care: CareView::default(),
            signing: Some(signing(now, None)),
            issue: None,
            terms: None,
        };
        let mut broken = shop.clone();
        broken.id = "bb00000000000002".to_owned();
        broken.names = vec!["broken.example".to_owned()];
        broken.state = Standing::NeedsYou;
        broken.condition = "failed".to_owned();
        broken.phase = "halted".to_owned();
        broken.installed = None;
        broken.signing = None;
        broken.renew_at = None;
        broken.next_wake = None;
        broken.halted_since = Some(Moment(now.minus(Duration::from_secs(3 * DAY + 60))));
        broken.failure = Some(FailureView {
            kind: "rejected".to_owned(),
            detail: "broken.example: the CA does not\u{1b}[2Jlike it".to_owned(),
            remedy: "intervene".to_owned(),
            retry_after: None,
            hint: "the CA does not sign this name; set issuer = \"internal\" for it".to_owned(),
            subject: Some("broken.example".to_owned()),
            challenge: None,
        });
        shop.revision = 5;
        vec![shop, broken]
    }

    fn chosen(&self, selector: &Selector) -> Result<CertificateView, HouseError> {
        let text = selector.to_string();
        let fits = |c: &CertificateView| match selector {
            Selector::Id(prefix) => c.id.starts_with(prefix),
            Selector::Name(..) => c.names.contains(&text),
        };
        self.all().into_iter().find(fits).ok_or(HouseError::NotFound { selector: text })
    }
}

impl Keyring for Fake {}

impl House for Fake {
    fn status(&self) -> BoxFuture<'_, Result<Status, HouseError>> {
        Box::pin(async {
            if self.slow.load(Ordering::SeqCst) {
                std::future::pending::<()>().await;
            }
            Ok(Status {
                version: "1.2.3".to_owned(),
                pid: 4711,
                started_at: Moment(self.started.minus(Duration::from_secs(7300))),
                uptime_seconds: 7300,
                config: ConfigView {
                    source: Some("/etc/keyward/keyward.toml".to_owned()),
                    applied_at: Moment(self.started.minus(Duration::from_secs(3 * 3600 + 60))),
                    refused: None,
                },
                degraded: None,
                notices: vec!["a plain file".to_owned()],
                walls: vec!["files (partly: an old kernel)".to_owned(), "dumps".to_owned()],
                sites: 2,
                certificates: Counts { total: 2, served: 1, needs_you: 1, ..Counts::default() },
                vault: VaultView {
                    pid: Some(4712),
                    restarts: 1,
                    walls: vec!["landlock".to_owned(), "seccomp".to_owned()],
                    required: Some("available".to_owned()),
                    master_key: Some("the file /k".to_owned()),
                    master: Some(self.master.lock().unwrap().step()),
                    channel: Some("shared memory".to_owned()),
                    figures: [("signatures".to_owned(), 12)].into(),
                    alarms: vec!["a key signs too much".to_owned()],
                    busiest: vec![signing(self.started, Some("shop.example"))],
                },
                tickets: self.tickets(),
                edge: [("requests".to_owned(), 34), ("connections".to_owned(), 5)].into(),
                listeners: vec![ListenerView {
                    purpose: "https".to_owned(),
                    address: "[::]:443".to_owned(),
                    inherited: true,
                }],
                kernel: vec!["kernel TLS (missing: an old kernel)".to_owned()],
                door: DoorView::default(),
                next_wake: Some(at(self.started, 29 * DAY + 3600)),
            })
        })
    }

    fn sites(&self) -> BoxFuture<'_, Result<Vec<SiteView>, HouseError>> {
        Box::pin(async {
            Ok(vec![SiteView {
                name: "shop.example".to_owned(),
                names: vec!["shop.example".to_owned(), "www.shop.example".to_owned()],
                origin: "http://127.0.0.1:8080".to_owned(),
                issuer: "acme-v02.api.letsencrypt.org".to_owned(),
                state: Standing::Served,
                certificate: Some("aa00000000000001".to_owned()),
                serving: Some("aa00000000000001".to_owned()),
                not_after: Some(at(self.started, 59 * DAY)),
                redirect: true,
                default: true,
            }])
        })
    }

    fn certificates(
        &self,
        (after, limit): (Option<Place>, usize),
        filter: Filter,
        _: Caller,
    ) -> BoxFuture<'_, Result<Certificates, HouseError>> {
        Box::pin(async move {
            self.pages.fetch_add(1, Ordering::Relaxed);
            let place = |view: &CertificateView| Place {
                imported: view.role == "imported",
                id: CertificateId::from_hex(&view.id).unwrap(),
            };
            let behind = |view: &CertificateView| {
                let at = place(view);
                after.is_none_or(|after| (at.imported, at.id) > (after.imported, after.id))
            };
            let all = self.all().into_iter().chain(self.brought());
            let wanted = |one: &CertificateView| {
                filter.phase.as_ref().is_none_or(|phase| one.phase == *phase)
            };
            let all = all.filter(behind).filter(wanted);
            let mut certificates: Vec<_> = all.take(limit + 1).collect();
            let more = certificates.len() > limit;
            certificates.truncate(limit);
            let last = certificates.last().filter(|_| more);
            let next = last.map(|last| place(last).to_string());
            Ok(Certificates { certificates, next })
        })
    }

    fn certificate<'a>(
        &'a self,
        selector: &'a Selector,
        _: Caller,
    ) -> BoxFuture<'a, Result<CertificateView, HouseError>> {
        Box::pin(async { self.chosen(selector) })
    }

    fn host<'a>(
        &'a self,
        selector: &'a Selector,
        accept: Accept,
        _: Caller,
    ) -> BoxFuture<'a, Result<CertificateView, HouseError>> {
        Box::pin(async move {
            let mut chosen = self.chosen(selector)?;
            if chosen.installed.is_none() {
                return Err(HouseError::Refused { reason: "it is not issued yet".to_owned() });
            }
            chosen.care.hosted = true;
            chosen.care.accept = accept.words().into_iter().map(str::to_owned).collect();
            Ok(chosen)
        })
    }

    fn unhost<'a>(
        &'a self,
        selector: &'a Selector,
        _: Caller,
    ) -> BoxFuture<'a, Result<CertificateView, HouseError>> {
        Box::pin(async { self.chosen(selector) })
    }

    fn host_all(
        &self,
        _: Accept,
        after: Option<Place>,
        caller: Caller,
    ) -> BoxFuture<'_, Result<HostedAll, HouseError>> {
        Box::pin(async move {
            let page = self.certificates((after, 2), Filter::default(), caller).await?;
            let (hosted, refused) =
                page.certificates.into_iter().partition::<Vec<_>, _>(|one| one.installed.is_some());
            let refused = refused.into_iter().map(|one| Refused {
                id: one.id,
                name: one.names[0].clone(),
                reason: "it is not issued yet".to_owned(),
            });
            Ok(HostedAll { hosted, already: 0, refused: refused.collect(), next: page.next })
        })
    }

    fn revoke<'a>(
        &'a self,
        selector: &'a Selector,
        reason: Reason,
        _: Caller,
    ) -> BoxFuture<'a, Result<CertificateView, HouseError>> {
        Box::pin(async move {
            let mut chosen = self.chosen(selector)?;
            self.tell("revoked", "info", Some(&chosen.id), &format!("revoked ({reason})"));
            chosen.care.revoking = Some(RevokingView {
                serial: "0a0b".to_owned(),
                reason: reason.to_string(),
                attempt: 0,
                next: None,
                detail: None,
            });
            Ok(chosen)
        })
    }

    fn why<'a>(
        &'a self,
        selector: &'a Selector,
        _: Caller,
    ) -> BoxFuture<'a, Result<Why, HouseError>> {
        Box::pin(async {
            let certificate = self.chosen(selector)?;
            Ok(Why {
                served: "this one".to_owned(),
                doing: "nothing is needed now".to_owned(),
                problem: None,
                checked: vec!["a step".to_owned()],
                standby: Vec::new(),
                issuers: Vec::new(),
                change: Vec::new(),
                next: certificate.next_wake,
                certificate,
            })
        })
    }

    fn renew<'a>(
        &'a self,
        selector: &'a Selector,
        _: Caller,
    ) -> BoxFuture<'a, Result<CertificateView, HouseError>> {
        Box::pin(async {
            let chosen = self.chosen(selector)?;
            self.tell("requested", "info", Some(&chosen.id), "somebody asked for a renewal");
            // Another certificate's fortune must not be taken for this one's.
            self.tell("installed", "info", Some("cc00000000000003"), "another one");
            if chosen.failure.is_some() {
                self.tell("halted", "error", Some(&chosen.id), "the CA does not like it");
            } else {
                let number = self.entries().len() + 1;
                self.tell("installed", "info", Some(&chosen.id), &format!("number {number}"));
            }
            Ok(chosen)
        })
    }

    fn reload(&self) -> BoxFuture<'_, Result<Reloaded, HouseError>> {
        Box::pin(async { self.reload.lock().unwrap().clone() })
    }

    fn journal(
        &self,
        after: u64,
        limit: usize,
        _: Caller,
    ) -> BoxFuture<'_, Result<Passage, HouseError>> {
        Box::pin(async move {
            let behind = self.entries().into_iter().filter(|entry| entry.seq > after);
            let entries: Vec<_> = behind.take(limit).collect();
            let to = entries.last().map_or(after, |last| last.seq);
            Ok(Passage { entries, to })
        })
    }

    fn journal_head(&self) -> watch::Receiver<u64> {
        self.head.subscribe()
    }

    fn internal_root(&self) -> BoxFuture<'_, Result<String, HouseError>> {
        Box::pin(async { Ok(self.root.clone()) })
    }

    fn import_key(&self) -> BoxFuture<'_, Result<ImportKey, HouseError>> {
        let (key, fingerprint) = (self.import_key.clone(), "ab".repeat(32));
        Box::pin(async { Ok(ImportKey { key, fingerprint }) })
    }

    fn import(
        &self,
        order: ImportOrder,
        caller: Caller,
    ) -> BoxFuture<'_, Result<Imported, HouseError>> {
        self.tell("imported", "info", None, &format!("user {}", caller.peer.uid));
        Box::pin(async move {
            let mut certificate = self.all().remove(0);
            certificate.names = vec![order.key];
            Ok(Imported { certificate, replaced: None, notes: vec!["put right".to_owned()] })
        })
    }

    fn rotate_account(
        &self,
        _: Option<String>,
        caller: Caller,
    ) -> BoxFuture<'_, Result<AccountView, HouseError>> {
        self.tell("requested", "info", None, &format!("user {}", caller.peer.uid));
        let account = "https://ca.example/acct/1".to_owned();
        let account = AccountView { account, ..AccountView::default() };
        Box::pin(async { Ok(account) })
    }

    fn rotate_master(&self, caller: Caller) -> BoxFuture<'_, Result<MasterView, HouseError>> {
        self.tell("master-key", "warning", None, &format!("user {}", caller.peer.uid));
        Box::pin(async {
            let mut master = self.master.lock().unwrap();
            if master.refused {
                return Err(HouseError::Refused { reason: "it is a file of yours".to_owned() });
            }
            master.left = 3;
            Ok(master.step())
        })
    }

    fn rotate_keys(
        &self,
        order: RotateKeys,
        caller: Caller,
    ) -> BoxFuture<'_, Result<RotatedKeys, HouseError>> {
        self.tell("requested", "info", None, &format!("user {}", caller.peer.uid));
        Box::pin(async move {
            let mut chosen = Vec::new();
            for name in &order.certificates {
                chosen.push(self.chosen(&Selector::parse(name)?)?);
            }
            if order.all {
                chosen = self.all();
            }
            let when = if order.now { "now" } else { "next-renewal" };
            let rotated = |certificate| RotatedKey { certificate, when: when.to_owned() };
            Ok(RotatedKeys { certificates: chosen.into_iter().map(rotated).collect() })
        })
    }

    fn forget<'a>(
        &'a self,
        selector: &'a Selector,
        _: Caller,
    ) -> BoxFuture<'a, Result<CertificateView, HouseError>> {
        Box::pin(async { self.chosen(selector) })
    }

    fn rotate_tickets(&self, caller: Caller) -> BoxFuture<'_, Result<TicketsView, HouseError>> {
        self.tell("tickets-replaced", "info", None, &format!("user {}", caller.peer.uid));
        Box::pin(async { Ok(self.tickets()) })
    }

    fn export<'a>(
        &'a self,
        selector: &'a Selector,
        target: OwnedFd,
        _: Caller,
    ) -> BoxFuture<'a, Result<Exported, HouseError>> {
        Box::pin(async {
            let certificate = self.chosen(selector)?;
            std::io::Write::write_all(&mut std::fs::File::from(target), b"the key\n").unwrap();
            if certificate.failure.is_some() {
                return Err(HouseError::Refused { reason: "it does not leave".to_owned() });
            }
            Ok(Exported { certificate, chain: "the chain\n".to_owned() })
        })
    }

    fn backup(&self, target: OwnedFd, _: Caller) -> BoxFuture<'_, Result<BackedUp, HouseError>> {
        Box::pin(async {
            std::io::Write::write_all(&mut std::fs::File::from(target), b"the store").unwrap();
            Ok(BackedUp { octets: 9, certificates: 1 })
        })
    }
}

impl Running {
    pub(crate) fn start() -> Self {
        Self::start_for(None)
    }

    pub(crate) fn start_for(group: Option<&str>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("admin.sock");
        let mut running = Self {
            fake: Fake::new(),
            dir,
            socket,
            runtime: None,
            stop: CancellationToken::new(),
            tasks: TaskSet::new().0,
        };
        running.serve(group);
        running
    }

    /// With the clients and limits of a configuration, and the way to change it.
    pub(crate) fn start_with(text: &str) -> (Self, watch::Sender<Arc<Config>>) {
        let configs = watch::Sender::new(configuration(text));
        let dir = tempfile::tempdir().unwrap();
        // Others have to come through.
        std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let socket = dir.path().join("admin.sock");
        let mut running = Self {
            fake: Fake::new(),
            dir,
            socket,
            runtime: None,
            stop: CancellationToken::new(),
            tasks: TaskSet::new().0,
        };
        let bound = keyward::admin::bind(&running.socket, None).unwrap();
        running.serve_on(bound.following(configs.subscribe()));
        (running, configs)
    }

    pub(crate) fn serve(&mut self, group: Option<&str>) {
        let bound = keyward::admin::bind(&self.socket, group).unwrap();
        self.serve_on(bound);
    }

    fn serve_on(&mut self, bound: Bound) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        self.stop = CancellationToken::new();
        let (tasks, _watch) = TaskSet::new();
        let (house, stop, more) = (Arc::clone(&self.fake), self.stop.clone(), tasks.clone());
        runtime.block_on(async {
            tasks.job("admin", async move {
                keyward::admin::serve(bound, house, more, stop).await.unwrap();
            });
        });
        self.runtime = Some(runtime);
        self.tasks = tasks;
    }

    /// Ends the server as the daemon would, and waits for its tasks.
    pub(crate) fn stop(&mut self) {
        self.stop.cancel();
        let runtime = self.runtime.take().unwrap();
        let ended = runtime.block_on(async {
            tokio::time::timeout(Duration::from_secs(5), self.tasks.finished()).await
        });
        assert!(ended.is_ok(), "every task of the interface ends when it is told to");
    }

    pub(crate) fn keyward(&self, arguments: &[&str]) -> (i32, String, String) {
        ended(&command(&self.socket, arguments).output().unwrap())
    }
}

/// What the socket takes of a file.
pub(crate) fn configuration(text: &str) -> Arc<Config> {
    let parsed = keyward::config::parse(text, Path::new("keyward.toml"), [("", ""); 0]);
    Arc::new(parsed.unwrap().config)
}

/// The real program, pointed at `socket`.
pub(crate) fn command(socket: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_keyward"));
    command.arg("--socket").arg(socket).args(arguments).env("TZ", "UTC");
    command.env_remove("KEYWARD_SOCKET").env_remove("COLUMNS").env_remove("CLICOLOR_FORCE");
    command
}

pub(crate) fn ended(output: &Output) -> (i32, String, String) {
    (
        output.status.code().unwrap_or(-1),
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

#[expect(clippy::disallowed_methods, reason = "a test that polls another process waits for real")]
pub(crate) fn pause(milliseconds: u64) {
    std::thread::sleep(Duration::from_millis(milliseconds));
}

fn signing(now: Timestamp, name: Option<&str>) -> SigningView {
    SigningView {
        key: "070707070707".to_owned(),
        name: name.map(str::to_owned),
        signatures: 1201,
        per_minute: 30,
        handshakes: 1201,
        since: Moment(now.minus(Duration::from_secs(7300))),
    }
}
