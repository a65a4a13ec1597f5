//! A revocation that nobody here asked for, seen on the list of the CA: another certificate is ordered,
//! under another key, and people are told.

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use keyward::base::Clock as _;
use keyward::base::SystemClock;
use keyward::cert::chain::Chain;
use keyward::cert::lifecycle::Phase;
use keyward::cert::spec::Role;
use keyward::store::Store;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject as _;

use crate::between::Between;
use crate::between::Fault;
use crate::between::Rewrite;
use crate::daemon::eventually;
use crate::daemon::run;
use crate::scene::Scene;

const NAME: &str = "known.example";
const LONG: Duration = Duration::from_secs(200);

/// A CA that signs once more what Pebble has signed, for Pebble keeps no list of what it revoked. Its
/// lists are made by openssl.
struct Ca {
    dir: tempfile::TempDir,
    pem: String,
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
}

impl Ca {
    fn new() -> Self {
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.key_usages =
            vec![rcgen::KeyUsagePurpose::KeyCertSign, rcgen::KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(rcgen::DnType::CommonName, "one with a list");
        let (key, dir) = (rcgen::KeyPair::generate().unwrap(), tempfile::tempdir().unwrap());
        let pem = params.self_signed(&key).unwrap().pem();
        std::fs::write(dir.path().join("ca.pem"), &pem).unwrap();
        std::fs::write(dir.path().join("ca.key"), key.serialize_pem()).unwrap();
        let config = "[ca]\ndefault_ca = own\n[own]\ndatabase = index.txt\ncrlnumber = number\n\
                      default_md = sha256\ndefault_crl_days = 7\n";
        std::fs::write(dir.path().join("ca.conf"), config).unwrap();
        std::fs::write(dir.path().join("number"), "01\n").unwrap();
        Self { dir, pem, issuer: rcgen::Issuer::new(params, key) }
    }

    /// The chain as it would be of this CA, whose list lies at `url`.
    fn sign_anew(&self, chain: &str, url: &str) -> String {
        let chain = Chain::from_pem(chain.as_bytes()).unwrap();
        let leaf = chain.leaf().unwrap();
        let der = &chain.certificates()[0];
        let (_, parsed) = x509_parser::parse_x509_certificate(der).unwrap();
        let key = Public(parsed.public_key().subject_public_key.data.to_vec());
        let names = leaf.names.iter().map(ToString::to_string).collect::<Vec<_>>();
        let mut params = rcgen::CertificateParams::new(names).unwrap();
        let moment = |at: u64| rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(at);
        params.not_before = moment(leaf.validity.not_before.as_unix());
        params.not_after = moment(leaf.validity.not_after.as_unix());
        params.use_authority_key_identifier_extension = true;
        params.crl_distribution_points =
            vec![rcgen::CrlDistributionPoint { uris: vec![url.to_owned()] }];
        params.signed_by(&key, &self.issuer).unwrap().pem() + &self.pem
    }

    /// The list with these serial numbers in it, DER.
    fn list(&self, serials: &[&str]) -> Vec<u8> {
        let line = |serial: &&str| {
            format!("R\t400101000000Z\t260101000000Z,keyCompromise\t{serial}\tunknown\t/CN=x\n")
        };
        let index: String = serials.iter().map(line).collect();
        std::fs::write(self.dir.path().join("index.txt"), index).unwrap();
        let said = run(Command::new("sh").current_dir(self.dir.path()).arg("-c").arg(
            "openssl ca -config ca.conf -gencrl -cert ca.pem -keyfile ca.key -out list.pem && \
             openssl crl -in list.pem -outform DER -out list.der",
        ));
        said.ok();
        std::fs::read(self.dir.path().join("list.der")).unwrap()
    }
}

/// A public key for P-256.
struct Public(Vec<u8>);

impl rcgen::PublicKeyData for Public {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

/// A server of one list, over http, or over https under the certificate of a Pebble.
#[derive(Clone, Default)]
struct Publisher {
    list: Arc<Mutex<Vec<u8>>>,
    asked: Arc<Mutex<usize>>,
}

impl Publisher {
    /// Gives the URL as well.
    fn start(https: Option<&Path>) -> (Self, String) {
        let tls = https.map(|dir| {
            let chain = Chain::from_pem(&std::fs::read(dir.join("server.pem")).unwrap()).unwrap();
            let key = PrivatePkcs8KeyDer::from_pem_file(dir.join("server.key")).unwrap();
            let provider = keyward::base::tls::provider();
            let config = rustls::ServerConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_no_client_auth()
                .with_single_cert(chain.to_rustls(), key.into())
                .unwrap();
            Arc::new(config)
        });
        let scheme = if tls.is_some() { "https" } else { "http" };
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let url = format!("{scheme}://{}/list.crl", listener.local_addr().unwrap());
        let publisher = Self::default();
        let own = publisher.clone();
        std::thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                match &tls {
                    None => own.answer(socket),
                    Some(tls) => {
                        let tls = rustls::ServerConnection::new(Arc::clone(tls)).unwrap();
                        own.answer(rustls::StreamOwned::new(tls, socket));
                    }
                }
            }
        });
        (publisher, url)
    }

    fn answer(&self, mut stream: impl std::io::Read + std::io::Write) {
        let (mut head, mut octet) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut octet), Ok(1)) {
            head.extend_from_slice(&octet);
        }
        *self.asked.lock().unwrap() += 1;
        let list = self.list.lock().unwrap().clone();
        let head = format!(
            "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
            list.len()
        );
        let _gone = stream.write_all(&[head.as_bytes(), &list].concat());
        let _gone = stream.flush();
    }

    fn asked(&self) -> usize {
        *self.asked.lock().unwrap()
    }
}

/// Ends keyward, has its next look at the list be due, and starts it again.
fn a_day_later(scene: &mut Scene) {
    assert!(scene.keyward.terminate().success());
    let store = Store::open(&scene.keyward.state().join("store")).unwrap();
    crate::scene::runtime().block_on(async {
        let records = store.certificates().await.unwrap();
        let mut record = records.into_iter().find(|r| r.spec.role == Role::Primary).unwrap();
        match &mut record.phase {
            Phase::Holding { recheck_at, .. } => {
                assert!(recheck_at.is_some(), "it is looked at again");
                *recheck_at = Some(SystemClock.now());
            }
            other => panic!("{other:?}"),
        }
        store.update(record, Vec::new()).await.unwrap();
    });
    drop(store);
    scene.keyward.start();
}

fn replaced_once_the_list_names_it(https: bool) {
    let mut scene = Scene::new(NAME);
    let between = Between::start(&scene.pebble);
    let root = scene.pebble.ca_root();
    let (ca, dir) = (Arc::new(Ca::new()), root.parent().unwrap());
    let (publisher, url) = Publisher::start(https.then_some(dir));
    *publisher.list.lock().unwrap() = ca.list(&["0badcafe"]);
    let (signer, place) = (Arc::clone(&ca), url.clone());
    let anew = Rewrite::new(move |chain| signer.sign_anew(chain, &place));
    between.misbehave("/certZ", Fault::Rewrite(anew), usize::MAX);
    let acme = format!(
        "directory = \"{}\"\nca_root = \"{}\"\naccept_terms = true\nrenewal_info = {https}\n",
        between.directory(),
        root.display()
    );
    // Even where renewals keep the key, and with nothing else that the CA is asked every day.
    let site = format!("{}reuse_key = true\n", scene.site(NAME));
    scene.keyward.configure(&acme, &site);
    scene.keyward.start();
    let first = scene.keyward.wait_issued(NAME);
    let serial = first["installed"]["serial"].as_str().unwrap().to_owned();
    assert_eq!(first["installed"]["issuer"], "CN=one with a list", "{first:#}");

    // A list of others changes nothing.
    let before = publisher.asked();
    a_day_later(&mut scene);
    eventually("the list is looked at", LONG, || (publisher.asked() > before).then_some(()));
    let view = eventually("the look has ended", LONG, || {
        let view = scene.keyward.certificate(NAME)?;
        let log = scene.keyward.log();
        assert!(!log.contains("a list of revoked ones is not available"), "{log}");
        // The next look is due in a day, or when the CA is asked for its window again.
        let next = view["recheck_at"].as_str()?.to_owned();
        (next > now()).then_some(view)
    });
    assert_eq!(view["installed"]["serial"], serial.as_str(), "{view:#}");
    assert_eq!(view["condition"], "issued", "{view:#}");
    assert_eq!(scene.pebble.orders(), 1);

    // One that names it does.
    *publisher.list.lock().unwrap() = ca.list(&[&serial, "0badcafe"]);
    a_day_later(&mut scene);
    let second = eventually("it is replaced", LONG, || {
        let view = scene.keyward.wait_issued(NAME);
        (view["installed"]["serial"] != serial.as_str()).then_some(view)
    });
    assert_ne!(second["installed"]["key"], first["installed"]["key"], "that key is out of use");
    assert_eq!(second["care"]["revoked"]["serial"], serial.as_str(), "{second:#}");
    assert_eq!(second["condition"], "issued", "{second:#}");
    let served = second["installed"]["serial"].as_str().unwrap();
    eventually("the port shows it", LONG, || {
        (scene.keyward.served_serial(NAME)? == served).then_some(())
    });
    let events = scene.keyward.cli(&["events"]).ok();
    let told = format!("has revoked serial {serial}, as its list says: another one is ordered");
    assert_eq!(events.matches(&told).count(), 1, "{events}");
    assert_eq!(scene.pebble.orders(), 2, "one replacement");
    // And the one that took its place is left in peace.
    let before = publisher.asked();
    a_day_later(&mut scene);
    eventually("the list is looked at", LONG, || (publisher.asked() > before).then_some(()));
    std::thread::sleep(Duration::from_secs(2));
    let third = scene.keyward.wait_issued(NAME);
    assert_eq!(third["installed"]["serial"], second["installed"]["serial"], "{third:#}");
    assert_eq!(scene.pebble.orders(), 2);
}

/// Now, as moments are shown.
fn now() -> String {
    SystemClock.now().to_string()
}

#[test]
fn what_the_list_of_the_ca_names_is_replaced() {
    replaced_once_the_list_names_it(false);
}

#[test]
fn what_the_list_of_the_ca_names_is_replaced_over_https_too() {
    replaced_once_the_list_names_it(true);
}
