//! The loop against a world of its own, in which targets are slow, fail, and are changed by others.
#![expect(clippy::disallowed_methods, reason = "a test waits by the clock of the machine")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::handle::DeployError;
use super::handle::Deployer;
use super::handle::Means;
use super::handle::Wish;
use super::world::AtTarget;
use super::world::Refused;
use super::world::Sought;
use super::world::World;
use crate::base::Jitter;
use crate::base::SystemClock;
use crate::base::Timestamp;
use crate::base::tasks::TaskSet;
use crate::cert::chain::Chain;
use crate::cert::challenge::BoxFuture;
use crate::cert::deployment::Deployment;
use crate::cert::deployment::Leaf;
use crate::cert::deployment::Made;
use crate::cert::deployment::State;
use crate::cert::deployment::TargetName;
use crate::cert::identifier::Identifier;
use crate::cert::journal::Entry;
use crate::cert::journal::EntryKind;
use crate::cert::key::KeyAlgorithm;
use crate::cert::record::Certificate;
use crate::cert::record::Installed;
use crate::cert::spec::CertificateId;
use crate::cert::spec::IssuerName;
use crate::cert::spec::Role;
use crate::cert::spec::Specification;
use crate::config;
use crate::config::Config;
use crate::config::Probe;
use crate::config::Target;

/// What does not end within this does not end; a loaded machine is slow.
const PATIENCE: Duration = Duration::from_secs(120);

type Kept = BTreeMap<(TargetName, CertificateId), Deployment>;

/// Targets by name: `slow…` never ends, `bad…` refuses, `deaf…` breaks by what it is given, all others
/// take it. What each shows is found under the port of its probe.
#[derive(Default)]
struct Scene {
    records: Mutex<Vec<Arc<Certificate>>>,
    kept: Mutex<Kept>,
    entries: Mutex<Vec<Entry>>,
    shows: Mutex<BTreeMap<u16, Leaf>>,
    /// Carried how often to which.
    carried: Mutex<BTreeMap<String, usize>>,
    busy: Mutex<Vec<String>>,
    twice: AtomicBool,
    put_back: AtomicUsize,
    down: AtomicBool,
    head: AtomicU64,
}

struct There {
    scene: Arc<Scene>,
    port: Option<u16>,
    former: Option<Leaf>,
    name: String,
}

struct House {
    scene: Arc<Scene>,
    configs: watch::Sender<Arc<Config>>,
    head: watch::Sender<u64>,
    deployer: Deployer,
    stop: CancellationToken,
}

struct Ground(Arc<Scene>);

fn record(name: &str) -> Certificate {
    let names = vec![Identifier::parse(name).unwrap()];
    let spec =
        Specification::new(names, IssuerName::Internal, KeyAlgorithm::P256, None, Role::Primary);
    let mut record = Certificate::wanted(spec);
    record.installed = Some(installed(name));
    record
}

/// Each is another one.
fn installed(name: &str) -> Installed {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let chain = Chain::from_der(vec![made.cert.der().to_vec()]).unwrap();
    Installed::read(chain, Timestamp::from_unix(1_800_000_000)).unwrap()
}

fn leaf(record: &Certificate) -> Leaf {
    Leaf::of(&record.installed.as_ref().unwrap().chain.certificates()[0])
}

fn config(text: &str) -> Arc<Config> {
    let site =
        "[[site]]\nnames = ['a.internal']\norigin = 'http://127.0.0.1:1'\nexportable = true\n";
    let text = format!("{text}\n{site}");
    Arc::new(config::parse(&text, Path::new("keyward.toml"), [("", ""); 0]).unwrap().config)
}

fn target(name: &str, port: u16, certificates: &str) -> String {
    format!(
        "[[target]]\nname = '{name}'\nkind = 'files'\ndir = '/x'\ncertificates = [{certificates}]\n\
         probe = 'tls://127.0.0.1:{port}'\n"
    )
}

impl House {
    fn begin(text: &str, scene: Arc<Scene>) -> Self {
        let (configs, seen) = watch::channel(config(text));
        let (head, head_seen) = watch::channel(scene.head.load(Ordering::SeqCst));
        let means = Means {
            world: Arc::new(Ground(Arc::clone(&scene))),
            configs: seen,
            head: head_seen,
            clock: Arc::new(SystemClock),
            jitter: Arc::new(Jitter::seeded(7)),
        };
        let (stop, (tasks, _)) = (CancellationToken::new(), TaskSet::new());
        let deployer = Deployer::begin(means, &tasks, &stop);
        Self { scene, configs, head, deployer, stop }
    }

    /// Installs another certificate for the name.
    fn renew(&self, name: &str) -> Leaf {
        let mut records = self.scene.records.lock().unwrap();
        let one = records.iter_mut().find(|one| one.spec.names()[0].to_string() == name).unwrap();
        let mut other = Certificate::clone(one);
        other.installed = Some(installed(name));
        *one = Arc::new(other);
        let leaf = leaf(one);
        drop(records);
        let head = self.scene.head.fetch_add(1, Ordering::SeqCst) + 1;
        self.head.send_replace(head);
        leaf
    }

    fn one(&self, target: &str) -> Option<Deployment> {
        self.deployer.all().into_iter().find(|one| one.target.as_str() == target)
    }

    async fn until(&self, what: &str, holds: impl Fn(&[Deployment]) -> bool) {
        let end = std::time::Instant::now() + PATIENCE;
        loop {
            let all = self.deployer.all();
            if holds(&all) {
                return;
            }
            assert!(std::time::Instant::now() < end, "{what}: {:?}", all.first());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn kinds(&self) -> Vec<EntryKind> {
        self.scene.entries.lock().unwrap().iter().map(|entry| entry.kind).collect()
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl World for Ground {
    fn find<'a>(
        &'a self,
        called: &'a str,
    ) -> BoxFuture<'a, Result<Option<Arc<Certificate>>, String>> {
        Box::pin(async move {
            if self.0.down.load(Ordering::SeqCst) {
                return Err("the store is away".to_owned());
            }
            let records = self.0.records.lock().unwrap();
            Ok(records.iter().find(|one| one.spec.names()[0].to_string() == called).cloned())
        })
    }

    fn record(&self, id: CertificateId) -> BoxFuture<'_, Result<Option<Arc<Certificate>>, String>> {
        let records = self.0.records.lock().unwrap();
        let found = records.iter().find(|one| one.id() == id).cloned();
        Box::pin(async move { Ok(found) })
    }

    fn carry(
        &self,
        target: Arc<Target>,
        record: Arc<Certificate>,
    ) -> BoxFuture<'_, Result<Box<dyn AtTarget>, Refused>> {
        let scene = Arc::clone(&self.0);
        Box::pin(async move {
            let name = target.name.to_string();
            {
                let mut busy = scene.busy.lock().unwrap();
                if busy.contains(&name) {
                    scene.twice.store(true, Ordering::SeqCst);
                }
                busy.push(name.clone());
            }
            *scene.carried.lock().unwrap().entry(name.clone()).or_default() += 1;
            if name.starts_with("slow") {
                std::future::pending::<()>().await;
            }
            if name.starts_with("bad") {
                scene.busy.lock().unwrap().retain(|one| *one != name);
                let reason = "it does not want it".to_owned();
                return Err(Refused { reason, put_back: false });
            }
            let port = target.probe.as_ref().map(|probe| probe.port);
            let mut shows = scene.shows.lock().unwrap();
            let former = port.and_then(|port| shows.get(&port).copied());
            if let Some(port) = port {
                if name.starts_with("deaf") {
                    shows.remove(&port);
                } else {
                    shows.insert(port, leaf(&record));
                }
            }
            drop(shows);
            Ok(Box::new(There { scene, port, former, name }) as Box<dyn AtTarget>)
        })
    }

    fn look<'a>(
        &'a self,
        place: &'a Probe,
        _sought: &'a Sought,
    ) -> BoxFuture<'a, Result<Leaf, String>> {
        let shown = self.0.shows.lock().unwrap().get(&place.port).copied();
        Box::pin(async move { shown.ok_or_else(|| "refused".to_owned()) })
    }

    fn deployments(&self) -> BoxFuture<'_, Result<Vec<Deployment>, String>> {
        let all = self.0.kept.lock().unwrap().values().cloned().collect();
        Box::pin(async move { Ok(all) })
    }

    fn keep(
        &self,
        kept: Vec<Deployment>,
        gone: Vec<(TargetName, CertificateId)>,
        entries: Vec<Entry>,
    ) -> BoxFuture<'_, Result<(), String>> {
        let mut all = self.0.kept.lock().unwrap();
        for key in gone {
            all.remove(&key);
        }
        for one in kept {
            all.insert((one.target.clone(), one.certificate), one);
        }
        self.0.entries.lock().unwrap().extend(entries);
        Box::pin(async { Ok(()) })
    }

    fn changed(&self, after: u64) -> BoxFuture<'_, Result<(bool, u64), String>> {
        let head = self.0.head.load(Ordering::SeqCst);
        Box::pin(async move { Ok((head > after, head)) })
    }
}

impl There {
    fn leave(&self) {
        self.scene.busy.lock().unwrap().retain(|one| *one != self.name);
    }
}

impl AtTarget for There {
    fn keep(self: Box<Self>) -> BoxFuture<'static, Result<(), String>> {
        self.leave();
        Box::pin(async { Ok(()) })
    }

    fn put_back(self: Box<Self>) -> BoxFuture<'static, Result<(), String>> {
        self.leave();
        if let (Some(port), Some(former)) = (self.port, self.former) {
            self.scene.shows.lock().unwrap().insert(port, former);
        }
        self.scene.put_back.fetch_add(1, Ordering::SeqCst);
        Box::pin(async { Ok(()) })
    }
}

fn scene(names: &[&str]) -> Arc<Scene> {
    let scene = Arc::<Scene>::default();
    *scene.records.lock().unwrap() = names.iter().map(|name| Arc::new(record(name))).collect();
    scene
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_slow_and_failing_targets_starve_nobody() {
    let names = |kind: &str, many: u16| (0..many).map(|n| format!("{kind}{n}")).collect::<Vec<_>>();
    let all = [names("bad", 850), names("good", 50), names("slow", 100)].concat();
    let numbered = all.iter().zip(1u16..);
    let text = numbered.map(|(name, port)| target(name, port, "'a.internal'")).collect::<String>();
    let house =
        House::begin(&format!("[deployment]\ntogether = 16\n{text}"), scene(&["a.internal"]));
    let done = |wanted: Leaf| {
        move |all: &[Deployment]| {
            let good = all.iter().filter(|one| one.target.as_str().starts_with("good"));
            good.filter(|one| one.state == State::Verified && one.seen == Some(wanted)).count()
                == 50
        }
    };
    let first = leaf(&house.scene.records.lock().unwrap()[0]);
    house.until("the good ones have it", done(first)).await;
    let failed = |all: &[Deployment]| {
        let bad = all.iter().filter(|one| one.target.as_str().starts_with("bad"));
        bad.filter(|one| one.state == State::Failed && one.failures > 0).count() == 850
    };
    house.until("the bad ones have failed", failed).await;
    // Those that are slow are under way still, and the others fail again and again.
    let second = house.renew("a.internal");
    house.until("the good ones have its successor", done(second)).await;
    let all = house.deployer.all();
    assert_eq!(all.len(), 1000);
    let slow = all.iter().filter(|one| one.target.as_str().starts_with("slow"));
    assert!(slow.clone().all(|one| one.state == State::Pending));
    let carried = house.scene.carried.lock().unwrap().clone();
    assert!(carried.iter().filter(|(name, _)| name.starts_with("slow")).all(|(_, n)| *n <= 1));
    assert!(carried.iter().filter(|(name, _)| name.starts_with("good")).all(|(_, n)| *n == 2));
    assert!(!house.scene.twice.load(Ordering::SeqCst), "one at a time to each");
}

#[tokio::test]
async fn drift_is_seen_and_put_right_and_what_breaks_is_put_back() {
    let text = [
        "[deployment]\nwatch = '1s'\n".to_owned(),
        target("mail", 25, "'a.internal'"),
        target("deaf", 26, "'a.internal'"),
    ];
    let scene = scene(&["a.internal"]);
    let (former, other) = (Leaf([9; 32]), Leaf([8; 32]));
    scene.shows.lock().unwrap().insert(26, former);
    let house = House::begin(&text.concat(), scene);
    let mine = leaf(&house.scene.records.lock().unwrap()[0]);
    let verified = |all: &[Deployment]| {
        all.iter().any(|one| one.target.as_str() == "mail" && one.state == State::Verified)
    };
    house.until("it is verified", verified).await;
    house.scene.shows.lock().unwrap().insert(25, other);
    house.until("it drifted", |all| all.iter().any(|one| one.drifts == 1)).await;
    house.until("it is put right", verified).await;
    assert_eq!(house.scene.shows.lock().unwrap().get(&25), Some(&mine));
    // The other server went silent by what it was given.
    let rolled = |all: &[Deployment]| {
        all.iter().any(|one| one.target.as_str() == "deaf" && one.state == State::RolledBack)
    };
    house.until("it is put back", rolled).await;
    assert_eq!(house.scene.shows.lock().unwrap().get(&26), Some(&former));
    assert!(house.scene.put_back.load(Ordering::SeqCst) > 0);
    let kinds = house.kinds();
    for kind in
        [EntryKind::Deploying, EntryKind::Deployed, EntryKind::Drifted, EntryKind::RolledBack]
    {
        assert!(kinds.contains(&kind), "{kind}: {kinds:?}");
    }
    let before = kinds.iter().position(|kind| *kind == EntryKind::Deploying);
    assert!(before < kinds.iter().position(|kind| *kind == EntryKind::Deployed));
}

#[tokio::test]
async fn what_was_asked_for_lasts_and_ends_with_its_target() {
    let text = [target("mail", 25, ""), target("web", 443, "'b.internal'")].concat();
    let scene = scene(&["a.internal"]);
    let house = House::begin(&text, Arc::clone(&scene));
    let one = scene.records.lock().unwrap()[0].clone();
    let wish = |target: &str| Wish {
        target: TargetName::parse(target).unwrap(),
        record: Arc::clone(&one),
        called: "a.internal".to_owned(),
        told: "user 0".to_owned(),
    };
    let asked = house.deployer.deploy(wish("mail")).await.unwrap();
    assert_eq!((asked.made, asked.state), (Made::Asked, State::Pending));
    let refused = house.deployer.deploy(wish("nowhere")).await;
    assert!(matches!(refused, Err(DeployError::Refused(_))), "{refused:?}");
    let verified = |all: &[Deployment]| all.iter().any(|one| one.state == State::Verified);
    house.until("it is verified", verified).await;
    let mail = || TargetName::parse("mail").unwrap();
    let looked = house.deployer.look(mail(), one.id()).await.unwrap();
    assert_eq!(looked.state, State::Verified);
    let end = std::time::Instant::now() + PATIENCE;
    while house.deployer.unmet().is_empty() {
        assert!(std::time::Instant::now() < end);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(house.deployer.unmet()[0].1, "b.internal");
    drop(house);

    // It is there after the next start, and follows a renewal; a store that is away ends nothing.
    let house = House::begin(&text, Arc::clone(&scene));
    house.until("it is known again", verified).await;
    scene.down.store(true, Ordering::SeqCst);
    house.renew("a.internal");
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert!(house.one("mail").is_some());
    scene.down.store(false, Ordering::SeqCst);
    let newest = house.renew("a.internal");
    let seen = |all: &[Deployment]| all.iter().any(|one| one.seen == Some(newest));
    house.until("its successor is there", seen).await;

    // The target is gone, and so is what was to be there.
    house.configs.send_replace(config(&target("web", 443, "'b.internal'")));
    house.until("it is gone", <[Deployment]>::is_empty).await;
    assert!(scene.kept.lock().unwrap().is_empty());
    assert_eq!(house.kinds().last(), Some(&EntryKind::Undeployed));

    // The file wants it: nobody else ends that.
    house.configs.send_replace(config(&target("mail", 25, "'a.internal'")));
    house.until("the file wants it", verified).await;
    let kept = house.deployer.undeploy(mail(), one.id(), "user 0".to_owned()).await;
    assert!(matches!(kept, Err(DeployError::Refused(why)) if why.contains("configuration file")));
}
