//! Which certificate is shown to whom, and who is refused.

use std::process::Command;
use std::sync::atomic::Ordering;

use crate::house::{House, limits, site};
use crate::load;
use crate::memory::MemoryCa;
use crate::origin::Origin;

pub(crate) fn s_client(house: &House, arguments: &[&str]) -> String {
    let output = Command::new("openssl")
        .args(["s_client", "-connect", &house.https.to_string()])
        .args(arguments)
        .stdin(std::process::Stdio::null())
        .output()
        .expect("openssl is installed");
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    text
}

#[test]
fn an_unknown_name_gets_the_unrecognized_name_alert() {
    let origin = Origin::start();
    let house = House::open(vec![site(&["a.example"], origin.address)], limits());
    let unknown = s_client(&house, &["-servername", "b.example"]);
    assert!(unknown.contains("alert number 112"), "{unknown}");
    let none = s_client(&house, &["-noservername"]);
    assert!(none.contains("alert number 112"), "{none}");
    let known = s_client(&house, &["-servername", "A.Example"]);
    assert!(known.contains("BEGIN CERTIFICATE"), "{known}");
    let stats = house.edge.stats();
    assert_eq!(stats.handshakes.failed.unknown_name, 2);
}

#[test]
fn a_site_without_a_certificate_is_an_internal_error() {
    let ca = MemoryCa::new();
    let sites = vec![site(&["a.example"], "127.0.0.1:1".parse().unwrap())];
    let house = House::with(ca, sites, limits(), Vec::new());
    let answer = s_client(&house, &["-servername", "a.example"]);
    assert!(answer.contains("alert number 80"), "{answer}");
    assert_eq!(house.edge.stats().handshakes.failed.no_certificate, 1);
}

#[tokio::test]
async fn names_wildcards_addresses_and_the_default_lead_to_their_sites() {
    let origin = Origin::start();
    let mut fallback = site(&["default.example"], origin.address);
    fallback.default = true;
    let sites = vec![
        site(&["a.example"], origin.address),
        site(&["*.a.example"], origin.address),
        site(&["127.0.0.1"], origin.address),
        fallback,
    ];
    let house = House::open(sites, limits());
    let config = load::client_config(&house.ca.root(), &[]);
    for name in ["a.example", "x.a.example", "127.0.0.1", "default.example"] {
        // The client checks the certificate against the name.
        load::connect(&config, house.https, name).await.unwrap_or_else(|e| panic!("{name}: {e}"));
    }
    // These get the default site's certificate, which is not good for them.
    for name in ["x.y.a.example", "unknown.example"] {
        let error = load::connect(&config, house.https, name).await.unwrap_err().to_string();
        assert!(error.contains("not valid for name"), "{name}: {error}");
    }
    assert_eq!(house.edge.stats().handshakes.failed.unknown_name, 0);
}

#[tokio::test]
async fn an_unknown_host_on_the_default_site_is_served_and_a_known_one_is_not() {
    let origin = Origin::start();
    let mut fallback = site(&["default.example"], origin.address);
    fallback.default = true;
    let house = House::open(vec![site(&["a.example"], origin.address), fallback], limits());
    for (host, expected) in
        [("default.example", "200"), ("unknown.example", "200"), ("a.example", "421")]
    {
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        let answer = house.raw("default.example", request.as_bytes()).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {expected} ")), "{host}: {answer}");
    }
}

#[tokio::test]
async fn a_second_visit_is_resumed_whichever_worker_takes_it() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let origin = Origin::start();
    let house = House::open(vec![site(&["a.example"], origin.address)], limits());
    let config = load::client_config(&house.ca.root(), &[b"http/1.1"]);
    for _ in 0..8 {
        let mut stream = load::connect(&config, house.https, "a.example").await.unwrap();
        let request = b"GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n";
        stream.write_all(request).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
    }
    let stats = house.edge.stats();
    assert_eq!((stats.handshakes.full, stats.handshakes.resumed), (1, 7));
    assert_eq!(house.ca.signers.bound.load(Ordering::SeqCst), 2, "each worker is bound once");
}

#[test]
fn the_hybrid_group_is_preferred_by_those_who_have_it() {
    let origin = Origin::start();
    let house = House::open(vec![site(&["a.example"], origin.address)], limits());
    let config = load::client_config(&house.ca.root(), &[b"h2"]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let stream = runtime.block_on(load::connect(&config, house.https, "a.example")).unwrap();
    let group = stream.get_ref().1.negotiated_key_exchange_group().unwrap().name();
    assert_eq!(group, rustls::NamedGroup::X25519MLKEM768);
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
}

/// What A+ asks for: TLS 1.2 with forward secrecy and AEAD or TLS 1.3, and nothing else.
#[test]
fn old_protocols_and_suites_are_refused() {
    let origin = Origin::start();
    let house = House::open(vec![site(&["a.example"], origin.address)], limits());
    let weak = |suite| format!("{suite}:@SECLEVEL=0");
    for (version, suite) in [
        ("-tls1", "ALL"),
        ("-tls1_1", "ALL"),
        ("-tls1_2", "AES128-GCM-SHA256"),
        ("-tls1_2", "ECDHE-ECDSA-AES128-SHA256"),
        ("-tls1_2", "ECDHE-ECDSA-AES256-SHA"),
        ("-tls1_2", "DHE-RSA-AES128-GCM-SHA256"),
    ] {
        let options = ["-servername", "a.example", version, "-cipher", &weak(suite)];
        let answer = s_client(&house, &options);
        assert!(answer.contains("alert"), "{version} {suite}: {answer}");
        assert!(!answer.contains("BEGIN CERTIFICATE"), "{version} {suite}: {answer}");
    }
    for suite in [
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "ECDHE-ECDSA-CHACHA20-POLY1305",
    ] {
        let answer = s_client(&house, &["-servername", "a.example", "-tls1_2", "-cipher", suite]);
        assert!(answer.contains(&format!("Cipher is {suite}")), "{suite}: {answer}");
        assert!(answer.contains("Secure Renegotiation IS supported"), "{answer}");
    }
}

#[test]
fn no_protocol_in_common_is_an_alert() {
    let origin = Origin::start();
    let house = House::open(vec![site(&["a.example"], origin.address)], limits());
    let answer = s_client(&house, &["-servername", "a.example", "-alpn", "spdy/1"]);
    assert!(answer.contains("alert number 120"), "{answer}");
    // Who asks for a challenge and more is no CA.
    let answer = s_client(&house, &["-servername", "a.example", "-alpn", "acme-tls/1,http/1.1"]);
    assert!(answer.contains("ALPN protocol: http/1.1"), "{answer}");
    assert_eq!(house.edge.stats().handshakes.failed.protocol, 1);
}

/// A final dot is no part of a server name (RFC 6066, section 3), nor is an address a name: the
/// one is refused or read without it, the other is as if there were none.
#[test]
fn server_names_that_are_none_lead_to_no_other_site() {
    let origin = Origin::start();
    let sites = vec![site(&["a.example"], origin.address), site(&["127.0.0.1"], origin.address)];
    let house = House::open(sites, limits());
    let dotted = s_client(&house, &["-servername", "a.example."]);
    assert!(dotted.contains("BEGIN CERTIFICATE") || dotted.contains("alert"), "{dotted}");
    let leaf = house.ca.root_file();
    let root = leaf.to_str().unwrap();
    let check = ["-CAfile", root, "-verify_return_error", "-verify_ip", "127.0.0.1"];
    let address = s_client(&house, &[&["-servername", "127.0.0.1"][..], &check].concat());
    assert!(address.contains("Verify return code: 0"), "{address}");
    let other = s_client(&house, &[&["-servername", "192.0.2.1"][..], &check].concat());
    assert!(other.contains("Verify return code: 0"), "{other}");
}

/// Tickets are sealed with one key for all sites, but say whose they are.
#[tokio::test]
async fn a_ticket_of_one_site_opens_no_other() {
    let origin = Origin::start();
    let sites = vec![site(&["a.example"], origin.address), site(&["b.example"], origin.address)];
    let house = House::open(sites, limits());
    let file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("session-{}", std::process::id()));
    let visit = |name: &str, session: String| {
        let request =
            format!("GET / HTTP/1.1\\r\\nHost: {name}\\r\\nConnection: close\\r\\n\\r\\n");
        let asking = format!(
            "printf '{request}' | timeout 20 openssl s_client -ign_eof -connect {} -servername {name} \
             {session}",
            house.https
        );
        let output = Command::new("sh").arg("-c").arg(asking).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let first = visit("a.example", format!("-sess_out {}", file.display()));
    assert!(first.contains("New, TLSv1.3"), "{first}");
    let given = format!("-sess_in {}", file.display());
    let own = visit("a.example", given.clone());
    assert!(own.contains("Reused, TLSv1.3"), "{own}");
    let other = visit("b.example", given);
    std::fs::remove_file(&file).unwrap();
    assert!(other.contains("New, TLSv1.3") && !other.contains("Reused"), "{other}");
    let tickets = house.edge.stats().tickets;
    assert_eq!((tickets.accepted, tickets.unknown, tickets.refused), (1, 0, 1));
}
