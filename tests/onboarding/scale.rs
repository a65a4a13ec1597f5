//! Many onboarded names cost little memory, no start, and no look-up, beside one.
//!
//! `ONBOARDED_NAMES=100000 cargo test --test onboarding scale -- --nocapture` prints the figures for so
//! many. All share a key and a chain: what is measured is what a name costs, not a signature.

use std::io::Read as _;
use std::io::Write as _;
use std::net::TcpStream;
use std::time::Duration;
use std::time::Instant;

use keyward::base::Clock as _;
use keyward::base::SystemClock;
use keyward::base::Timestamp;
use keyward::base::bounds::CATALOG_CACHE;
use keyward::base::bounds::STORE_CACHE;
use keyward::cert::chain::Chain;
use keyward::cert::guest::Guest;
use keyward::cert::identifier::DnsName;
use keyward::cert::identifier::Identifier;
use keyward::cert::key::KeyAlgorithm;
use keyward::cert::key::KeyHandle;
use keyward::cert::key::KeyUsage;
use keyward::cert::key::SealedKey;
use keyward::cert::lifecycle::Phase;
use keyward::cert::record::Certificate;
use keyward::cert::record::Installed;
use keyward::cert::spec::IssuerName;
use keyward::cert::spec::Role;
use keyward::cert::spec::Specification;
use keyward::cert::validity::RenewalWindow;
use keyward::store::Store;
use keyward::vault::MasterKeySource;
use keyward::vault::keys;
use keyward::vault::keys::OpenKey;
use keyward::vault::seal::Content;
use keyward::vault::seal::Sealer;

use crate::daemon::Keyward;
use crate::daemon::eventually;
use crate::scene::hello;

const DAY: Duration = Duration::from_secs(86_400);
const PORTION: usize = 5000;

struct Public(Vec<u8>);

impl rcgen::PublicKeyData for Public {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

fn now() -> Timestamp {
    SystemClock.now()
}

fn name(number: usize) -> DnsName {
    match Identifier::parse(&format!("n{number}.shop{}.example", number % 977)).unwrap() {
        Identifier::Dns(name) => name,
        other => panic!("{other}"),
    }
}

fn sealed(sealer: &Sealer) -> KeyHandle {
    let (algorithm, usage) = (KeyAlgorithm::P256, KeyUsage::Tls);
    let pkcs8 = keys::generate(algorithm).unwrap();
    let (open, spki) = OpenKey::from_pkcs8(algorithm, usage, &pkcs8).unwrap();
    let content = Content::Key { usage, algorithm, id: open.id };
    let sealed = sealer.seal(content, &pkcs8).unwrap();
    KeyHandle { id: open.id, algorithm, usage, spki: spki.into(), sealed: SealedKey(sealed.into()) }
}

fn installed(key: &KeyHandle) -> Installed {
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let pair = rcgen::KeyPair::generate().unwrap();
    let issuer = rcgen::CertifiedIssuer::self_signed(params, pair).unwrap();
    let mut params = rcgen::CertificateParams::new(vec!["any.example".to_owned()]).unwrap();
    let at = |at: Timestamp| rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(at.as_unix());
    (params.not_before, params.not_after) = (at(now().minus(DAY)), at(now().plus(DAY * 90)));
    let public = Public(key.spki[key.spki.len() - 65..].to_vec());
    let leaf = params.signed_by(&public, &issuer).unwrap().der().to_vec();
    Installed::read(Chain::from_der(vec![leaf, issuer.der().to_vec()]).unwrap(), now()).unwrap()
}

/// A keyward that has so many onboarded names, started once so that all is made.
fn house(names: usize) -> Keyward {
    let tables = "[onboarding]\ntarget = \"edge.host.example\"\norigin = \"http://127.0.0.1:9\"\n\
                  issuer = \"internal\"\nname_servers = [\"127.0.0.1:9\"]\n\
                  [edge]\nworkers = 1\nhandshake_share = 100\n";
    let mut house = Keyward::new("accept_terms = true", tables);
    house.edit("level = \"debug\"", "level = \"warn\"");
    let vault = house.state().join("vault");
    std::fs::create_dir_all(&vault).unwrap();
    let master = MasterKeySource::CreateIfMissing(vault.join("master.key")).load().unwrap();
    let sealer = Sealer::under(master.present, None).unwrap();
    let key = sealed(&sealer);
    let installed = installed(&key);
    let window = RenewalWindow::new(now().plus(DAY * 60), now().plus(DAY * 70)).unwrap();
    let record = |number: usize| {
        let names = vec![Identifier::Dns(name(number))];
        let (issuer, role) = (IssuerName::Internal, Role::Onboarded);
        let spec = Specification::new(names, issuer, KeyAlgorithm::P256, None, role);
        let phase = Phase::Holding { renew_at: now().plus(DAY * 60), window, recheck_at: None };
        Certificate { phase, installed: Some(installed.clone()), ..Certificate::wanted(spec) }
    };
    let store = Store::open(&house.state().join("store")).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut first = vec![key];
    for from in (0..names).step_by(PORTION) {
        let records: Vec<_> = (from..names.min(from + PORTION)).map(record).collect();
        let guest = |record: &Certificate| Guest {
            certificate: record.id(),
            origin: None,
            since: now().minus(DAY * 30),
            by_hand: false,
            barred: false,
        };
        let guests = records.iter().zip(from..).map(|(one, n)| (name(n), guest(one))).collect();
        let keys = std::mem::take(&mut first);
        runtime.block_on(store.add_all(records, keys, Vec::new())).unwrap();
        runtime.block_on(store.settle_guests(guests)).unwrap();
    }
    drop(runtime.block_on(store.catalog(&house.state().join("served"))).unwrap());
    drop(store);
    house.start();
    house.terminate();
    house
}

/// The first octet that comes back for a ClientHello; 0 when there is nobody.
fn greet(house: &Keyward, name: &DnsName) -> u8 {
    let hello = hello(name.as_str());
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", house.https)) else { return 0 };
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut first = [0];
    if stream.write_all(&hello).is_err() || stream.read_exact(&mut first).is_err() {
        return 0;
    }
    first[0]
}

/// From the start of the process to the first handshake for a name.
fn first_handshake(house: &mut Keyward, name: &DnsName) -> Duration {
    let begun = Instant::now();
    house.spawn();
    eventually("a handshake", Duration::from_secs(200), || {
        (greet(house, name) == 22).then_some(())
    });
    let took = begun.elapsed();
    house.wait_ready();
    took
}

fn resident(house: &Keyward) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", house.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

/// Ticks of a hundredth of a second that the process has used.
fn used(house: &Keyward) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", house.pid())).unwrap();
    let rest = stat.rsplit(") ").next().unwrap();
    rest.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

#[test]
fn many_names_cost_little_memory_no_start_and_no_look_up() {
    let names = std::env::var("ONBOARDED_NAMES").ok().and_then(|n| n.parse().ok());
    let names: usize = names.unwrap_or(10_000);
    let (mut one, mut many) = (house(1), house(names));
    let mut starts = (Vec::new(), Vec::new());
    for round in 0..3 {
        for (house, starts, last) in
            [(&mut one, &mut starts.0, 0), (&mut many, &mut starts.1, names - 1)]
        {
            starts.push(first_handshake(house, &name(last)));
            if round < 2 {
                house.terminate();
            }
        }
    }
    let (start_one, start_many) = (median(starts.0), median(starts.1));
    let (rest_one, rest_many) = (resident(&one), resident(&many));
    // Each of these names for the first time: nothing is at hand.
    let (mut alone, mut among) = (Vec::new(), Vec::new());
    for round in 0..400 {
        for (house, times, number) in
            [(&one, &mut alone, 0), (&many, &mut among, (round * 7919) % names)]
        {
            let begun = Instant::now();
            assert_eq!(greet(house, &name(number)), 22, "{number}");
            times.push(begun.elapsed());
        }
    }
    let (alone, among) = (median(alone), median(among));
    // Nothing is due: time passes, and turns of the scheduler, without a walk through the names.
    let (before_one, before_many) = (used(&one), used(&many));
    std::thread::sleep(Duration::from_secs(5));
    let (idle_one, idle_many) = (used(&one) - before_one, used(&many) - before_many);
    let (count, grown) = (u64::try_from(names).unwrap(), rest_many.saturating_sub(rest_one));
    println!(
        "{names} onboarded names beside one: {grown} bytes of memory more ({rest_one} and {rest_many} in \
         all); first handshake after {start_many:?} and {start_one:?}; a first look at a name \
         {among:?} and {alone:?}; {idle_many} and {idle_one} ticks in five idle seconds"
    );
    // The page caches of both files fill up, whatever there is; a name itself has some twenty octets.
    let caches = u64::try_from(STORE_CACHE + CATALOG_CACHE).unwrap();
    assert!(grown < caches + (16 << 20) + 64 * count, "{grown} bytes more");
    assert!(start_many < start_one * 3 + Duration::from_secs(5), "{start_many:?}, {start_one:?}");
    assert!(among < alone * 3 + Duration::from_millis(10), "{among:?}, {alone:?}");
    assert!(idle_many <= idle_one + 100, "{idle_many} ticks, {idle_one} beside it");
    // The list goes through all of them in pages, each once.
    let listed = many.cli(&["onboarded", "--all", "--json"]).ok();
    let mut seen = 0;
    let mut last = String::new();
    for line in listed.lines() {
        let page: serde_json::Value = serde_json::from_str(line).unwrap();
        for one in page["names"].as_array().unwrap() {
            let name = one["name"].as_str().unwrap().to_owned();
            assert!(name > last, "{name} behind {last}");
            (seen, last) = (seen + 1, name);
        }
    }
    assert_eq!(seen, names);
}
