//! Handshakes through the vault, and what its sudden death costs them.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends at its first surprise")]

mod vault_common;

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use keyward::base::bounds::VAULT_SHORT_LIFE;
use keyward::cert::chain::Chain;
use keyward::cert::key::KeyAlgorithm;
use keyward::cert::key::KeyUsage;
use keyward::cert::ports::Signers;
use keyward::vault::Vault;
use keyward::vault::VaultEvent;
use keyward::vault::VaultExit;
use keyward::vault::VaultOptions;
use rustls::ClientConfig;
use rustls::ClientConnection;
use rustls::ServerConfig;
use rustls::ServerConnection;
use rustls::SupportedProtocolVersion;
use rustls::sign::SingleCertAndKey;
use vault_common::House;

/// A site with a certificate of the internal CA, all keys in the vault.
fn site(
    vault: &Vault,
    algorithm: KeyAlgorithm,
    versions: &[&'static SupportedProtocolVersion],
) -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    let ca = vault.generate_blocking(KeyAlgorithm::P256, KeyUsage::InternalCa).unwrap();
    let key = vault.generate_blocking(algorithm, KeyUsage::Tls).unwrap();
    let mut ca_params = rcgen::CertificateParams::new(vec![]).unwrap();
    ca_params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let issuer =
        rcgen::CertifiedIssuer::self_signed(ca_params, vault.csr_signer(&ca).unwrap()).unwrap();
    let params = rcgen::CertificateParams::new(vec!["site.example".to_owned()]).unwrap();
    let leaf = params.signed_by(&vault.csr_signer(&key).unwrap(), &issuer).unwrap();
    let chain = Chain::from_der(vec![leaf.der().to_vec()]).unwrap();

    let certified = vault.certified_key(&chain, &key).unwrap();
    certified.keys_match().unwrap();
    let mut server = ServerConfig::builder_with_provider(keyward::base::tls::provider())
        .with_protocol_versions(versions)
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    server.send_tls13_tickets = 0;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(issuer.der().clone()).unwrap();
    let mut client = ClientConfig::builder_with_provider(keyward::base::tls::provider())
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    client.resumption = rustls::client::Resumption::disabled();
    (Arc::new(server), Arc::new(client))
}

fn handshake(server: &Arc<ServerConfig>, client: &Arc<ClientConfig>) -> Result<(), String> {
    let mut server = ServerConnection::new(Arc::clone(server)).unwrap();
    let mut client =
        ClientConnection::new(Arc::clone(client), "site.example".try_into().unwrap()).unwrap();
    let mut wire = Vec::new();
    while server.is_handshaking() || client.is_handshaking() {
        wire.clear();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        feed(&wire, |bytes| server.read_tls(bytes));
        server.process_new_packets().map_err(|error| format!("server: {error}"))?;
        wire.clear();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        feed(&wire, |bytes| client.read_tls(bytes));
        client.process_new_packets().map_err(|error| format!("client: {error}"))?;
    }
    Ok(())
}

fn feed(mut bytes: &[u8], mut read: impl FnMut(&mut dyn io::Read) -> io::Result<usize>) {
    while !bytes.is_empty() {
        read(&mut bytes).unwrap();
    }
}

#[test]
fn both_versions_of_tls_are_served_with_every_kind_of_key() {
    let house = House::new();
    let vault = house.vault(1);
    for algorithm in [KeyAlgorithm::P256, KeyAlgorithm::P384, KeyAlgorithm::Rsa2048] {
        for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
            let (server, client) = site(&vault, algorithm, &[version]);
            // Without a channel of its own first, then as a worker.
            handshake(&server, &client).unwrap();
            let vault = vault.clone();
            std::thread::spawn(move || {
                vault.bind_worker(0, None);
                handshake(&server, &client).unwrap();
            })
            .join()
            .unwrap();
        }
    }
}

#[test]
fn a_key_that_is_not_the_certificates_is_refused() {
    let house = House::new();
    let vault = house.vault(0);
    let key = vault.generate_blocking(KeyAlgorithm::P256, KeyUsage::Tls).unwrap();
    let other = rcgen::generate_simple_self_signed(vec!["a.example".to_owned()]).unwrap();
    let chain = Chain::from_der(vec![other.cert.der().to_vec()]).unwrap();
    let error = vault.certified_key(&chain, &key).unwrap_err();
    assert!(error.contains("not for key"), "{error}");
}

#[test]
fn killing_the_vault_under_load_costs_no_handshake() {
    kills_under_load(true);
}

#[test]
fn killing_the_vault_under_load_costs_no_handshake_over_sockets_either() {
    kills_under_load(false);
}

#[expect(clippy::print_stdout, reason = "a test tells what it measured")]
fn kills_under_load(gates: bool) {
    const WORKERS: usize = 3;
    const KILLS: u64 = 4;
    let house = House::new();
    let vault = Vault::start(VaultOptions { gates, ..house.options(WORKERS) }).unwrap();
    assert_eq!(vault.status().gates, gates);
    let mut events = vault.events().unwrap();
    let (server, client) = site(&vault, KeyAlgorithm::P256, &[&rustls::version::TLS13]);
    let stop = AtomicBool::new(false);
    let (done, failed) = (AtomicU64::new(0), AtomicU64::new(0));
    let mut longest = Duration::ZERO;
    std::thread::scope(|scope| {
        // The last thread has no channel of its own.
        for index in 0..=WORKERS {
            let (vault, server, client) = (vault.clone(), &server, &client);
            let (stop, done, failed) = (&stop, &done, &failed);
            scope.spawn(move || {
                vault.bind_worker(index, None);
                while !stop.load(Ordering::Relaxed) {
                    let counter = if handshake(server, client).is_ok() { done } else { failed };
                    counter.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for _ in 0..KILLS {
            // Longer than a short life, which would be followed by a pause.
            vault_common::pause(VAULT_SHORT_LIFE + Duration::from_millis(100));
            vault_common::kill(vault.status().pid);
            let killed = vault_common::now();
            let before = done.load(Ordering::Relaxed);
            let event = events.blocking_recv().unwrap();
            let nine = VaultExit::Signal(9);
            assert!(matches!(event, VaultEvent::Restarted { exit, .. } if exit == nine));
            // One handshake of each thread may have been signed before the kill.
            let enough = before + u64::try_from(WORKERS).unwrap() + 2;
            vault_common::wait_until(Duration::from_secs(5), || {
                done.load(Ordering::Relaxed) >= enough
            });
            longest = longest.max(killed.elapsed());
        }
        stop.store(true, Ordering::Relaxed);
    });
    let (done, failed) = (done.into_inner(), failed.into_inner());
    println!("{done} handshakes, {failed} failed, recovered within {longest:?}");
    assert!(longest < Duration::from_secs(1), "recovered after {longest:?}");
    assert_eq!(failed, 0);
    assert_eq!(vault.status().restarts, KILLS);
    assert_eq!(vault.status().gates, gates);
}

#[test]
fn a_vault_that_hangs_costs_its_deadline_and_its_late_answer_is_not_mistaken() {
    hangs(None);
}

#[test]
fn at_a_gate_and_at_a_workers_socket_a_hanging_vault_costs_no_more() {
    for gates in [true, false] {
        hangs(Some(gates));
    }
}

/// Asks on the shared channel, or as a worker.
fn hangs(as_worker: Option<bool>) {
    use keyward::vault::VaultError;
    use keyward::vault::purpose::Purpose;
    use keyward::vault::scheme::Scheme;
    let house = House::new();
    let gates = as_worker.unwrap_or(true);
    let vault = Vault::start(VaultOptions { gates, ..house.options(1) }).unwrap();
    if as_worker.is_some() {
        vault.bind_worker(0, None);
    }
    let key = vault.generate_blocking(KeyAlgorithm::P256, KeyUsage::Tls).unwrap();
    let sign = |len: usize| {
        let message = vault_common::certificate_verify(len);
        vault.sign(&key, Purpose::Tls13, Scheme::EcdsaP256Sha256, &message)
    };
    assert!(sign(32).is_ok());
    let stopped = vault_common::Stopped::new(vault.status().pid);
    let asked = vault_common::now();
    let late = sign(48);
    assert!(matches!(late, Err(VaultError::Late)), "{late:?}");
    assert!(asked.elapsed() < 2 * keyward::base::bounds::VAULT_SIGN_DEADLINE);
    drop(stopped);
    // The late signature was over another message: taken for this one it would not verify.
    let signed = sign(32).unwrap();
    let (_, spki) = {
        use x509_parser::prelude::FromDer;
        x509_parser::x509::SubjectPublicKeyInfo::from_der(&key.spki).unwrap()
    };
    ring::signature::UnparsedPublicKey::new(
        &ring::signature::ECDSA_P256_SHA256_ASN1,
        &spki.subject_public_key.data,
    )
    .verify(&vault_common::certificate_verify(32), &signed)
    .unwrap();
}
