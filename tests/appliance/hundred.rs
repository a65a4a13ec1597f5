//! The private keys of a hundred sites are never in the memory of the process that talks to the
//! network, whatever it is doing: and the same look finds the keys of one that signs by itself.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fs;
use std::io::BufRead as _;
use std::io::BufReader;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

use keyward::base::Secret;
use keyward::base::archive;
use keyward::cert::key::KeyAlgorithm;
use keyward::cert::key::KeyId;
use keyward::store::Incoming;
use keyward::store::Sealed;
use keyward::vault::keys;
use keyward::vault::seal::Sealer;

use crate::daemon::Keyward;
use crate::daemon::eventually;
use crate::daemon::run;
use crate::load::Load;
use crate::load::Target;
use crate::load::client_config;
use crate::load::connect;
use crate::origin::Origin;
use crate::scan::Needles;
use crate::scan::forms;
use crate::scene::runtime;

/// Sites, and how many of them have another key than one on P-256.
const SITES: usize = 100;
const RSA: usize = 4;
const P384: usize = 4;

/// The last sites have a certificate brought to them, too.
const BROUGHT: usize = 2;

fn name(site: usize) -> String {
    format!("s{site}.internal")
}

fn algorithm(site: usize) -> KeyAlgorithm {
    match site {
        _ if site < RSA => KeyAlgorithm::Rsa2048,
        _ if site < RSA + P384 => KeyAlgorithm::P384,
        _ => KeyAlgorithm::P256,
    }
}

/// Private keys by their names.
type Keys = BTreeMap<KeyId, (KeyAlgorithm, Vec<u8>)>;

/// A keyward with a hundred sites that the internal CA signs.
struct Town {
    keyward: Keyward,
    _origin: Origin,
    /// Every key that was ever served.
    keys: Keys,
}

impl Town {
    fn start() -> Self {
        let origin = Origin::start();
        let site = |site| {
            let (name, key) = (name(site), algorithm(site));
            let origin = origin.address;
            format!(
                "[[site]]\nnames = [\"{name}\"]\norigin = \"http://{origin}\"\nkey = \"{key}\"\n"
            )
        };
        let sites: String = (0..SITES).map(site).collect();
        let mut keyward = Keyward::new("", &sites);
        keyward.start();
        let mut town = Self { keyward, _origin: origin, keys: Keys::new() };
        let all = format!("{SITES} served");
        eventually("a hundred sites are served", Duration::from_secs(60), || {
            town.keyward.cli(&["status"]).ok().contains(&all).then_some(())
        });
        town.learn();
        assert_eq!(town.keys.len(), SITES);
        town
    }

    /// Opens the seals of every key in the store, as only who has the master key can; the names of
    /// those that are there now. The store is read from a backup.
    fn learn(&mut self) -> BTreeSet<KeyId> {
        let dir = tempfile::tempdir().unwrap();
        let tar = dir.path().join("backup.tar");
        self.keyward.cli(&["backup", "--output", tar.to_str().unwrap()]).ok();
        let store = Incoming::begin(dir.path()).unwrap();
        let file = store.file();
        archive::read(fs::File::open(&tar).unwrap(), |name, _| {
            let wanted = name == "keyward.redb";
            Ok(Some(if wanted { Box::new(file) } else { Box::new(std::io::sink()) }))
        })
        .unwrap();
        let master = fs::read(self.keyward.state().join("vault/master.key")).unwrap();
        let sealer = Sealer::new(Secret::new(master.try_into().unwrap())).unwrap();
        let mut present = BTreeSet::new();
        let look = |sealed: Sealed<'_>| {
            let Sealed::Key(key) = sealed else { return Ok(()) };
            let (_, pkcs8) = sealer.open(&key.sealed.0).unwrap();
            self.keys.insert(key.id, (key.algorithm, pkcs8.to_vec()));
            present.insert(key.id);
            Ok(())
        };
        store.check(look).unwrap();
        present
    }

    fn root(&self) -> rustls_pki_types::CertificateDer<'static> {
        let pem = self.keyward.cli(&["trust", "--print"]).ok();
        let root = keyward::cert::chain::Chain::from_pem(pem.as_bytes()).unwrap();
        root.to_rustls().remove(0)
    }

    fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.keyward.https))
    }

    /// A full handshake with every site that is signed by `root`, so that every key signs.
    async fn visit_all(&self, root: &rustls_pki_types::CertificateDer<'static>) {
        for site in 0..SITES - BROUGHT {
            let config = client_config(root, &[b"http/1.1"]);
            connect(&config, self.address(), &name(site)).await.unwrap();
        }
    }

    /// Brings a certificate with a key of our own for `site`, and has the key handed out again.
    fn bring(&mut self, site: usize) {
        let dir = self.keyward.dir.path();
        let mut params = rcgen::CertificateParams::new(vec![name(site)]).unwrap();
        params.not_after = rcgen::date_time_ymd(2090, 1, 1);
        let pair = rcgen::KeyPair::generate().unwrap();
        let (file, out) = (dir.join(format!("{site}.pem")), dir.join(format!("{site}.key")));
        let text = params.self_signed(&pair).unwrap().pem() + &pair.serialize_pem();
        fs::write(&file, text).unwrap();
        let file = file.to_str().unwrap();
        let import = ["import", "--cert", file, "--key", file, "--exportable"];
        self.keyward.cli(&import).ok();
        self.keyward.cli(&["export", &name(site), "--to", out.to_str().unwrap()]).ok();
        assert_eq!(fs::read_to_string(out).unwrap().matches("PRIVATE KEY").count(), 2);
        let id = KeyId::of_spki(&rcgen::PublicKeyData::subject_public_key_info(&pair));
        self.keys.insert(id, (KeyAlgorithm::P256, pair.serialize_der()));
    }

    fn renew(&self, sites: impl Iterator<Item = usize>) {
        for site in sites {
            self.keyward.cli(&["renew", &name(site)]).ok();
        }
    }
}

/// Every form of every key, and then the marker.
fn needles(keys: &Keys, marker: &[u8]) -> (Needles, Vec<usize>) {
    let forms: Vec<_> = keys.values().map(|(kind, pkcs8)| forms(*kind, pkcs8)).collect();
    let counts = forms.iter().map(Vec::len).collect();
    (Needles::new(forms.into_iter().flatten().chain([marker.to_vec()])), counts)
}

/// How often each key was found in any form; the marker must be there.
fn found(counts: &[usize], forms: &[usize], place: &str) -> Vec<usize> {
    let (marker, mut rest) = counts.split_last().unwrap();
    assert!(*marker > 0, "{place} is not looked at");
    let mut each = Vec::new();
    for forms in forms {
        let (one, after) = rest.split_at(*forms);
        each.push(one.iter().sum());
        rest = after;
    }
    each
}

/// What a debugger writes of a running process, as after a crash.
fn core(pid: u32, dir: &Path) -> PathBuf {
    let prefix = dir.join("core");
    let said = run(Command::new("gcore").arg("-o").arg(&prefix).arg(pid.to_string()));
    let file = dir.join(format!("core.{pid}"));
    assert!(file.exists(), "{said:#?}");
    file
}

fn is_superuser() -> bool {
    nix::unistd::geteuid().is_root()
}

#[test]
fn no_key_of_a_hundred_sites_is_in_main_during_load_import_export_and_renewal() {
    let begun = Instant::now();
    let mut town = Town::start();
    let main = town.keyward.pid().cast_unsigned();
    if !is_superuser() {
        // Even the user it runs under may not look.
        let (needles, _) = needles(&town.keys, b"s42.internal");
        let refused = needles.look_in(main).unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::PermissionDenied);
        return;
    }
    let before: Vec<KeyId> = town.keys.keys().copied().collect();
    let root = town.root();
    let runtime = runtime();
    let _inside = runtime.enter();
    runtime.block_on(town.visit_all(&root));
    let loads: Vec<_> = [0, RSA, SITES / 2, SITES / 2 + 1]
        .map(|site| {
            let target = Target {
                address: town.address(),
                name: name(site),
                path: "/".to_owned(),
                root: root.clone(),
                h2: site % 2 == 1,
                per_connection: 1,
            };
            Load::start(&target, 1)
        })
        .into();
    let progress = || {
        runtime.block_on(async {
            for load in &loads {
                load.progress(3).await;
            }
        })
    };

    // What is brought, while it is; these keys are known beforehand.
    for site in SITES - BROUGHT..SITES {
        town.bring(site);
        progress();
        let (needles, forms) = needles(&town.keys, b"s42.internal");
        let looked = needles.look_in(main).unwrap();
        assert!(looked.looked_at > 1 << 20, "{looked:?}");
        let each = found(&looked.counts, &forms, "main");
        assert!(each.iter().all(|times| *times == 0), "private keys are in main: {each:?}");
    }

    // Renewals give every site another key. What they are is known afterwards, so the core that is
    // taken while they are made is looked at then.
    town.renew(0..SITES / 2);
    let core = core(main, town.keyward.dir.path());
    town.renew(SITES / 2..SITES - BROUGHT);
    eventually("every site has another key", Duration::from_secs(60), || {
        let present = town.learn();
        let former = before.iter().filter(|id| present.contains(id)).count();
        (former == BROUGHT).then_some(())
    });
    let renewed = town.keys.len() - before.len();
    progress();
    runtime.block_on(town.visit_all(&root));
    let (needles, forms) = needles(&town.keys, b"s42.internal");
    let looked = needles.look_in(main).unwrap();
    let mut counts = vec![0; looked.counts.len()];
    let bytes = fs::read(&core).unwrap();
    needles.look(&bytes, &mut counts);
    for (counts, place) in [(&looked.counts, "main"), (&counts, "its core")] {
        let each = found(counts, &forms, place);
        assert!(each.iter().all(|times| *times == 0), "private keys are in {place}: {each:?}");
    }
    let mut good = 0;
    for load in loads {
        let seen = runtime.block_on(load.stop());
        good += seen.good.load(std::sync::atomic::Ordering::SeqCst);
    }
    println!(
        "{} keys ({renewed} made by renewal or brought) in {} forms: none in {} MiB of main's \
         memory nor in {} MiB of its core; {good} requests meanwhile; {:?}",
        town.keys.len(),
        forms.iter().sum::<usize>(),
        looked.looked_at >> 20,
        bytes.len() >> 20,
        begun.elapsed(),
    );
}

/// Where the keys of the signing child lie.
const SIGNER: &str = "KEYWARD_TEST_SIGNER";

/// What a child has in its memory that is no secret.
const MARKER: &[u8] = b"a process that signs with keys of its own";

/// Loads every key in `dir`, signs with each, and waits.
fn sign_until_told(dir: &Path) {
    let provider = keyward::base::tls::provider();
    let mut signers = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let der = fs::read(entry.unwrap().path()).unwrap();
        let key = provider
            .key_provider
            .load_private_key(rustls_pki_types::PrivatePkcs8KeyDer::from(der).into())
            .unwrap();
        let signer = key.choose_scheme(&[
            rustls::SignatureScheme::ECDSA_NISTP256_SHA256,
            rustls::SignatureScheme::ECDSA_NISTP384_SHA384,
            rustls::SignatureScheme::RSA_PSS_SHA256,
        ]);
        let signature = signer.unwrap().sign(b"a message").unwrap();
        signers.push((key, signature, MARKER.to_vec()));
    }
    println!("{} signers", signers.len());
    std::io::stdout().flush().unwrap();
    // Until the parent hangs up.
    std::io::stdin().read_line(&mut String::new()).unwrap();
    assert!(signers.iter().all(|(_, signature, _)| !signature.is_empty()));
}

#[test]
fn the_same_look_finds_every_key_of_a_process_that_signs_with_keys_of_its_own() {
    if let Some(dir) = std::env::var_os(SIGNER) {
        return sign_until_told(Path::new(&dir));
    }
    let dir = tempfile::tempdir().unwrap();
    let mut made = Keys::new();
    for site in 0..SITES {
        let pkcs8 = keys::generate(algorithm(site)).unwrap();
        fs::write(dir.path().join(site.to_string()), &*pkcs8).unwrap();
        made.insert(KeyId::of_spki(&pkcs8), (algorithm(site), pkcs8.to_vec()));
    }
    let test =
        "hundred::the_same_look_finds_every_key_of_a_process_that_signs_with_keys_of_its_own";
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(SIGNER, dir.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let said = lines.find(|line| line.as_ref().unwrap().ends_with("signers")).unwrap().unwrap();
    assert_eq!(said, format!("{SITES} signers"));
    let (needles, forms) = needles(&made, MARKER);
    let looked = needles.look_in(child.id()).unwrap();
    let mut counts = vec![0; looked.counts.len()];
    if is_superuser() {
        let core = core(child.id(), dir.path());
        needles.look(&fs::read(core).unwrap(), &mut counts);
    } else {
        counts.clone_from(&looked.counts);
    }
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
    for (counts, place) in [(&looked.counts, "the process"), (&counts, "its core")] {
        let each = found(counts, &forms, place);
        let missed = each.iter().filter(|times| **times == 0).count();
        assert_eq!(missed, 0, "keys that the look does not find in {place}: {each:?}");
    }
}
