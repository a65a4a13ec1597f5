//! The store on a real file: crashes, a second daemon, damage, a full disk, old files.
#![expect(clippy::unwrap_used, reason = "a test that panics has failed, which is what it is for")]
#![expect(clippy::print_stdout, reason = "child processes report on their output")]

use std::io::BufRead as _;
use std::io::BufReader;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::sync::Arc;

use keyward::base::Timestamp;
use keyward::cert::chain::Chain;
use keyward::cert::identifier::Identifier;
use keyward::cert::journal::Entry;
use keyward::cert::journal::EntryKind;
use keyward::cert::journal::Level;
use keyward::cert::key::KeyAlgorithm;
use keyward::cert::key::KeyHandle;
use keyward::cert::key::KeyId;
use keyward::cert::key::KeyUsage;
use keyward::cert::key::SealedKey;
use keyward::cert::lifecycle::InFlight;
use keyward::cert::lifecycle::Phase;
use keyward::cert::ports::Book as _;
use keyward::cert::ports::Shelf;
use keyward::cert::record::Certificate;
use keyward::cert::record::Installed;
use keyward::cert::spec::IssuerName;
use keyward::cert::spec::Role;
use keyward::cert::spec::Specification;
use keyward::cert::validity::RenewalWindow;
use keyward::store::OpenError;
use keyward::store::Store;
use keyward::store::StoreError;

mod books;
mod catalog;
mod damage;
mod index;
mod replay;
mod turns;

/// Names the work of a child process, which is this very test binary.
const CHILD: &str = "KEYWARD_TEST_STORE_CHILD";
const CHILD_DIR: &str = "KEYWARD_TEST_STORE_DIR";

fn spec(name: &str) -> Specification {
    let names = vec![Identifier::parse(name).unwrap()];
    let issuer = IssuerName::Acme("https://ca.example/dir".to_owned());
    Specification::new(names, issuer, KeyAlgorithm::P256, None, Role::Primary)
}

fn key(number: u32) -> KeyHandle {
    let spki = number.to_be_bytes();
    KeyHandle {
        id: KeyId::of_spki(&spki),
        algorithm: KeyAlgorithm::P256,
        usage: KeyUsage::Tls,
        spki: Arc::from(spki),
        sealed: SealedKey(Arc::from(vec![7; 200])),
    }
}

/// A record of a certificate that is being ordered with `key`.
fn ordering(name: &str, key: &KeyHandle) -> Certificate {
    let in_flight = Some(InFlight { key: key.id, order: Some("https://ca.example/o/1".into()) });
    let deadline = Timestamp::from_unix(1_800_000_300);
    let phase = Phase::Ordering { attempt: 2, in_flight, deadline };
    Certificate { phase, ..Certificate::wanted(spec(name)) }
}

/// A record of a certificate that is installed with `key`. Its chain is real.
fn holding(name: &str, key: &KeyHandle) -> Certificate {
    let pair = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
    let der = params.self_signed(&pair).unwrap().der().to_vec();
    let at = Timestamp::from_unix(1_800_000_000);
    let mut installed = Installed::read(Chain::from_der(vec![der]).unwrap(), at).unwrap();
    installed.key = key.id;
    let window = RenewalWindow::new(at, Timestamp::from_unix(1_900_000_000)).unwrap();
    let phase = Phase::Holding { renew_at: at, window, recheck_at: Some(at) };
    Certificate { phase, installed: Some(installed), ..Certificate::wanted(spec(name)) }
}

fn entry(message: &str) -> Entry {
    let at = Timestamp::from_unix(1_800_000_000);
    Entry::about_house(at, EntryKind::Started, Level::Info, message.to_owned())
}

/// Stores a record together with the key it refers to.
async fn put(store: &Store, record: Certificate, key: &KeyHandle) -> Certificate {
    store.add_with_key(record.clone(), key.clone(), vec![entry("added")]).await.unwrap();
    record
}

struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts this test binary again as `work` on `dir`.
fn child(work: &str, dir: &Path) -> Daemon {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_process", "--nocapture", "--test-threads=1"])
        .env(CHILD, work)
        .env(CHILD_DIR, dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    Daemon(child)
}

/// Lines the child said after a marker, which tells them from the test harness's own.
fn lines(child: &mut Daemon) -> impl Iterator<Item = String> + use<> {
    let out = BufReader::new(child.0.stdout.take().unwrap());
    out.lines()
        .map_while(Result::ok)
        .filter_map(|line| line.split_once("child: ").map(|(_, said)| said.to_owned()))
}

/// What the children do. Does nothing when it is run as a test among others.
#[tokio::test]
async fn child_process() {
    let Ok(work) = std::env::var(CHILD) else { return };
    let dir = PathBuf::from(std::env::var(CHILD_DIR).unwrap());
    match work.as_str() {
        "write" => {
            let store = Store::open(&dir).unwrap();
            for number in 0..u32::MAX {
                let key = key(number);
                let record = ordering(&format!("n{number}.example"), &key);
                put(&store, record, &key).await;
                println!("child: {number}");
            }
        }
        "hold" => {
            let _store = Store::open(&dir).unwrap();
            println!("child: open");
            std::future::pending::<()>().await;
        }
        "fill" => fill(&dir).await,
        "books" => books::keep(&dir).await,
        other => panic!("no such work: {other}"),
    }
}

#[tokio::test]
async fn every_acknowledged_write_survives_kill_9() {
    let dir = tempfile::tempdir().unwrap();
    for rounds in 0..4 {
        let dir = dir.path().join(rounds.to_string());
        let mut acknowledged = None;
        let mut writer = child("write", &dir);
        for (count, line) in lines(&mut writer).enumerate() {
            acknowledged = Some(line.parse::<u32>().unwrap());
            if count >= 5 + rounds * 9 {
                break;
            }
        }
        drop(writer);
        let store = Store::open(&dir).unwrap();
        let last = acknowledged.unwrap();
        for number in 0..=last {
            let key = key(number);
            let wanted = ordering(&format!("n{number}.example"), &key);
            assert_eq!(store.certificate(wanted.id()).await.unwrap(), Some(wanted));
            assert_eq!(store.key(key.id).await.unwrap(), Some(key));
        }
        let count = u32::try_from(store.journal(0, 100_000).await.unwrap().len()).unwrap();
        assert_eq!(*store.journal_head().borrow(), u64::from(count));
        assert!(count > last, "{count} entries, {last} acknowledged");
    }
}

#[test]
fn a_second_daemon_on_the_same_state_is_refused_and_told_by_whom() {
    let dir = tempfile::tempdir().unwrap();
    let mut holder = child("hold", dir.path());
    assert_eq!(lines(&mut holder).next().as_deref(), Some("open"));
    let error = Store::open(dir.path()).unwrap_err();
    let pid = holder.0.id();
    assert!(matches!(error, OpenError::InUse { pid: Some(found), .. } if found == pid), "{error}");
    let shown = format!("the state in {} is in use by process {pid}", dir.path().display());
    assert_eq!(error.to_string(), shown);
    drop(holder);
    Store::open(dir.path()).unwrap();
}

#[test]
fn in_one_process_the_file_is_free_again_when_the_last_handle_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let one = Store::open(dir.path()).unwrap();
    let two = one.clone();
    drop(one);
    assert!(matches!(Store::open(dir.path()), Err(OpenError::InUse { .. })));
    drop(two);
    Store::open(dir.path()).unwrap();
}

#[test]
fn others_can_read_neither_the_directory_nor_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("deep/state");
    drop(Store::open(&dir).unwrap());
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dir), 0o700);
    assert_eq!(mode(&dir.join("keyward.redb")), 0o600);
    std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o755)).unwrap();
    drop(Store::open(&dir).unwrap());
    assert_eq!(mode(&dir), 0o700);
}

#[tokio::test]
async fn a_writer_who_read_an_older_revision_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let read = Certificate::wanted(spec("a.example"));
    store.add(read.clone(), vec![entry("one")]).await.unwrap();
    let twice = store.add(read.clone(), vec![entry("no")]).await;
    assert!(matches!(twice, Err(StoreError::Exists { .. })));
    let mut first = read.clone();
    first.phase = Phase::Retiring { until: Timestamp::from_unix(9) };
    let first = store.update(first, vec![entry("two")]).await.unwrap();
    assert_eq!(first.revision, 1);
    let refused = store.update(read, vec![entry("no")]).await.unwrap_err();
    assert!(matches!(refused, StoreError::Conflict { expected: 0, found: 1, .. }), "{refused}");
    assert_eq!(store.certificate(first.id()).await.unwrap(), Some(first.clone()));
    // The entries of what was refused are not told either.
    let told: Vec<_> = store.journal(0, 10).await.unwrap();
    let told: Vec<_> = told.iter().map(|entry| (entry.seq, entry.message.as_str())).collect();
    assert_eq!(told, [(1, "one"), (2, "two")]);
    assert_eq!(*store.journal_head().borrow(), 2);
}

#[tokio::test]
async fn a_key_goes_with_the_last_record_that_refers_to_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let (shared, next) = (key(1), key(3));
    let nobody = store.add(ordering("a.example", &shared), vec![]).await.unwrap_err();
    assert!(matches!(nobody, StoreError::MissingKey { .. }), "{nobody}");
    let one = put(&store, ordering("a.example", &shared), &shared).await;
    let two = put(&store, holding("b.example", &shared), &shared).await;
    store.remove(one.id(), vec![]).await.unwrap();
    assert!(store.key(shared.id).await.unwrap().is_some(), "b.example still has it");
    // A renewal puts another key in the place of the former one.
    let mut renewed = two.clone();
    renewed.installed.as_mut().unwrap().key = next.id;
    let renewed = store.update_with_key(renewed, next.clone(), vec![]).await.unwrap();
    assert!(store.key(shared.id).await.unwrap().is_none());
    assert!(store.key(next.id).await.unwrap().is_some());
    let catalog = store.catalog(&dir.path().join("served")).await.unwrap();
    let served = catalog::all(&catalog);
    assert_eq!(served.len(), 1);
    assert_eq!(served[0].key, next);
    store.remove(renewed.id(), vec![]).await.unwrap();
    assert!(store.key(next.id).await.unwrap().is_none());
}

#[tokio::test]
async fn the_journal_keeps_the_newest_entries_and_its_numbers_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let kept = keyward::base::bounds::JOURNAL_ENTRIES;
    let many: Vec<_> = (0..kept + 5).map(|number| entry(&number.to_string())).collect();
    store.append(many).await.unwrap();
    store.append(vec![entry("last")]).await.unwrap();
    let all = store.journal(0, kept * 2).await.unwrap();
    assert_eq!(all.len(), kept);
    assert_eq!(all.last().unwrap().message, "last");
    assert_eq!(all.last().unwrap().seq, u64::try_from(kept + 6).unwrap());
    assert_eq!(all.first().unwrap().seq, 7);
    drop(store);
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(*store.journal_head().borrow(), u64::try_from(kept + 6).unwrap());
    assert_eq!(store.journal(u64::try_from(kept + 4).unwrap(), 1).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_shelf_returns_what_was_put_there() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    store.put(Shelf::Accounts, "https://ca/dir", b"one".to_vec()).await.unwrap();
    store.put(Shelf::InternalCa, "https://ca/dir", b"two".to_vec()).await.unwrap();
    store.put(Shelf::Accounts, "https://ca/dir", b"three".to_vec()).await.unwrap();
    drop(store);
    let store = Store::open(dir.path()).unwrap();
    let get = |shelf| store.get(shelf, "https://ca/dir");
    assert_eq!(get(Shelf::Accounts).await.unwrap().as_deref(), Some(&b"three"[..]));
    assert_eq!(get(Shelf::InternalCa).await.unwrap().as_deref(), Some(&b"two"[..]));
    assert_eq!(store.get(Shelf::Accounts, "other").await.unwrap(), None);
}

/// Writes until a limit on the size of files is met, and tells what was acknowledged.
async fn fill(dir: &Path) {
    use nix::sys::resource::Resource;
    use nix::sys::resource::setrlimit;
    use nix::sys::signal::SigSet;
    use nix::sys::signal::Signal;
    // Blocked, so that the write fails instead of ending the process; threads inherit it.
    let mut blocked = SigSet::empty();
    blocked.add(Signal::SIGXFSZ);
    blocked.thread_block().unwrap();
    let store = Store::open(dir).unwrap();
    let hard = nix::sys::resource::getrlimit(Resource::RLIMIT_FSIZE).unwrap().1;
    setrlimit(Resource::RLIMIT_FSIZE, 4 * 1024 * 1024, hard).unwrap();
    let mut number = 0;
    let refused = loop {
        let put = store.put(Shelf::Accounts, &number.to_string(), vec![9; 60_000]).await;
        if let Err(error) = put {
            break error;
        }
        println!("child: {number}");
        number += 1;
    };
    println!("child: refused {:?} {}", refused.kind, refused.detail);
    let told = store.append(vec![entry("never"); 100_000]).await;
    println!("child: told {} {}", told.is_ok(), *store.journal_head().borrow());
    // Space again: the same process goes on.
    setrlimit(Resource::RLIMIT_FSIZE, hard, hard).unwrap();
    let again = store.put(Shelf::Accounts, "again", vec![1]).await;
    println!("child: again {}", again.is_ok());
    println!("child: end");
}

#[tokio::test]
async fn a_full_disk_is_an_error_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut filler = child("fill", dir.path());
    let said: Vec<_> = lines(&mut filler).take_while(|line| line != "end").collect();
    drop(filler);
    let acknowledged: Vec<u32> = said.iter().map_while(|line| line.parse().ok()).collect();
    assert!(acknowledged.len() > 5, "{said:?}");
    let rest: Vec<_> = said[acknowledged.len()..].to_vec();
    assert!(rest[0].starts_with("refused Store no space is left"), "{rest:?}");
    assert!(rest.contains(&"told false 0".to_owned()), "{rest:?}");
    assert!(rest.contains(&"again true".to_owned()), "{rest:?}");
    let store = Store::open(dir.path()).unwrap();
    for number in acknowledged {
        let found = store.get(Shelf::Accounts, &number.to_string()).await.unwrap();
        assert_eq!(found, Some(vec![9; 60_000]), "value {number}");
    }
    assert_eq!(store.get(Shelf::Accounts, "again").await.unwrap(), Some(vec![1]));
}
