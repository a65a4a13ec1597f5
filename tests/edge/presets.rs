//! What each preset of TLS agrees on with real clients, site by site on one port.

use keyward::cert::key::KeyAlgorithm;
use keyward::config::{Agreement, Preset, TlsVersion, UnknownNames};
use rustls::HandshakeKind::{Full, FullWithHelloRetryRequest};
use rustls::NamedGroup::{X25519, X25519MLKEM768};
use std::time::Duration;

use crate::groups::shake;
use crate::handshakes::s_client;
use crate::house::{House, limits, site};
use crate::memory::MemoryCa;
use crate::origin::Origin;

const AGREEMENTS: [(&str, Preset, TlsVersion); 4] = [
    ("default.example", Preset::Default, TlsVersion::Tls12),
    ("modern.example", Preset::Modern, TlsVersion::Tls13),
    ("compatible.example", Preset::Compatible, TlsVersion::Tls12),
    ("newer.example", Preset::Default, TlsVersion::Tls13),
];

/// A site for each agreement, all at one address, each with an ECDSA and an RSA certificate.
fn open(origin: &Origin) -> House {
    let ca = MemoryCa::new();
    let day = Duration::from_secs(86_400);
    let (mut sites, mut certificates) = (Vec::new(), Vec::new());
    for (name, preset, min_version) in AGREEMENTS {
        let mut site = site(&[name], origin.address);
        site.tls = Agreement { preset, min_version };
        sites.push(site);
        certificates.push(ca.issue_for(&[name], KeyAlgorithm::P256, day));
        certificates.push(ca.issue_for(&[name], KeyAlgorithm::Rsa2048, day));
    }
    House::with(ca, sites, limits(), certificates)
}

/// Version and suite, or the alert.
fn agreed(house: &House, name: &str, options: &[&str]) -> String {
    let arguments = [&["-servername", name], options].concat();
    let answer = s_client(house, &arguments);
    if let Some(alert) = answer.split("alert number ").nth(1) {
        return format!("alert {}", alert.split_whitespace().next().unwrap());
    }
    let line = answer.lines().find(|line| line.starts_with("New, ")).unwrap_or_default();
    line.rsplit(' ').next().unwrap_or_default().to_owned()
}

#[test]
fn each_site_speaks_the_versions_and_suites_of_its_own_preset() {
    let origin = Origin::start();
    let house = open(&origin);
    let old = [
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        "ECDHE-RSA-AES128-GCM-SHA256",
        "ECDHE-RSA-AES256-GCM-SHA384",
        "ECDHE-RSA-CHACHA20-POLY1305",
    ];
    let new = ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"];
    // What would cost marks: without forward secrecy, without AEAD, without authentication.
    let weak = [
        "AES128-GCM-SHA256",
        "AES256-SHA256",
        "ECDHE-ECDSA-AES128-SHA256",
        "ECDHE-RSA-AES256-SHA384",
        "ECDHE-RSA-AES128-SHA",
        "DHE-RSA-AES128-GCM-SHA256",
        "ADH-AES128-GCM-SHA256",
        "NULL-SHA256",
    ];
    for (name, _, lowest) in AGREEMENTS {
        for suite in new {
            assert_eq!(agreed(&house, name, &["-tls1_3", "-ciphersuites", suite]), suite, "{name}");
        }
        for suite in old {
            let found = agreed(&house, name, &["-tls1_2", "-cipher", suite]);
            // protocol_version (RFC 8446, section 6.2) where the version is not spoken.
            let expected = if lowest == TlsVersion::Tls12 { suite } else { "alert 70" };
            assert_eq!(found, expected, "{name} {suite}");
        }
        for suite in weak {
            let cipher = format!("{suite}:@SECLEVEL=0");
            let found = agreed(&house, name, &["-tls1_2", "-cipher", &cipher]);
            assert!(found.starts_with("alert "), "{name} {suite}: {found}");
        }
        for version in ["-tls1", "-tls1_1"] {
            let found = agreed(&house, name, &[version, "-cipher", "ALL:@SECLEVEL=0"]);
            // TLS 1.0 does not name the signatures that a client can check, which is looked at first.
            assert!(
                ["alert 70", "alert 40"].contains(&found.as_str()),
                "{name} {version}: {found}"
            );
        }
    }
}

#[test]
fn the_lighter_aes_comes_first_except_for_those_who_put_chacha_before_it() {
    let origin = Origin::start();
    let house = open(&origin);
    let [light, heavy, chacha] =
        ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"];
    for (offered, taken) in [
        (&[heavy, light][..], light),
        (&[heavy, chacha, light], light),
        (&[heavy, chacha], heavy),
        (&[chacha, heavy, light], chacha),
        (&[light, chacha], light),
    ] {
        let options = ["-tls1_3", "-ciphersuites", &offered.join(":")];
        for (name, _, _) in AGREEMENTS {
            assert_eq!(agreed(&house, name, &options), taken, "{name} {offered:?}");
        }
    }
    let [light, heavy, chacha] = [
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "ECDHE-ECDSA-CHACHA20-POLY1305",
    ];
    // Also with a group that is steered, as in TLS 1.2 it is.
    for groups in ["X25519:P-256", "P-384:P-256:X25519"] {
        for (offered, taken) in [([heavy, chacha, light], light), ([chacha, heavy, light], chacha)]
        {
            let options = ["-tls1_2", "-cipher", &offered.join(":"), "-groups", groups];
            for name in ["default.example", "compatible.example"] {
                assert_eq!(agreed(&house, name, &options), taken, "{name} {offered:?} {groups}");
            }
        }
    }
}

#[tokio::test]
async fn compatible_asks_nobody_for_a_second_hello() {
    let origin = Origin::start();
    let house = open(&origin);
    for (name, behind, ahead) in [
        ("default.example", (X25519MLKEM768, FullWithHelloRetryRequest), (X25519MLKEM768, Full)),
        ("modern.example", (X25519MLKEM768, FullWithHelloRetryRequest), (X25519MLKEM768, Full)),
        ("compatible.example", (X25519, Full), (X25519MLKEM768, Full)),
    ] {
        assert_eq!(shake(&house, name, &[X25519, X25519MLKEM768]).await, behind, "{name}");
        assert_eq!(shake(&house, name, &[X25519MLKEM768, X25519]).await, ahead, "{name}");
    }
}

#[test]
fn another_preset_holds_from_the_next_handshake_on_and_sessions_resume_under_it() {
    let origin = Origin::start();
    let mut house = open(&origin);
    let tls12 = ["-tls1_2"];
    assert!(agreed(&house, "default.example", &tls12).starts_with("ECDHE-ECDSA"));
    let dir = tempfile::tempdir().unwrap();
    let session = dir.path().join("session");
    let session = session.to_str().unwrap();
    let visit = |house: &House, how: &str| {
        // Waits for the ticket, which comes with the answer.
        let script = format!(
            "printf 'GET /x HTTP/1.1\\r\\nHost: default.example\\r\\nConnection: close\\r\\n\\r\\n' | \
             timeout 20 openssl s_client -connect {} -servername default.example -tls1_3 \
             -quiet {how} {session}; true",
            house.https
        );
        std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
    };
    visit(&house, "-sess_out");
    let resumed = house.edge.stats().handshakes.resumed;
    visit(&house, "-sess_in");
    assert_eq!(house.edge.stats().handshakes.resumed, resumed + 1);
    house.config.sites[0].tls =
        Agreement { preset: Preset::Modern, min_version: TlsVersion::Tls13 };
    house.edge.publish(&house.config);
    assert_eq!(agreed(&house, "default.example", &tls12), "alert 70");
    visit(&house, "-sess_in");
    assert_eq!(house.edge.stats().handshakes.resumed, resumed + 2);
}

#[test]
fn an_unknown_name_gets_the_default_site_or_an_alert_as_the_file_says() {
    let origin = Origin::start();
    let mut house = open(&origin);
    house.config.sites[0].default = true;
    house.edge.publish(&house.config);
    let refused = |answer: &str| answer.contains("alert number 112");
    let shown = |answer: &str| answer.contains("BEGIN CERTIFICATE");
    assert!(shown(&s_client(&house, &["-servername", "unknown.example"])));
    assert!(shown(&s_client(&house, &["-noservername"])));
    house.config.tls.unknown_names = UnknownNames::Refuse;
    house.edge.publish(&house.config);
    let unknown = s_client(&house, &["-servername", "unknown.example"]);
    assert!(refused(&unknown) && !shown(&unknown), "{unknown}");
    assert!(shown(&s_client(&house, &["-noservername"])), "who asks for none is not refused");
    assert!(shown(&s_client(&house, &["-servername", "modern.example"])));
}

#[test]
fn nothing_is_renegotiated() {
    let origin = Origin::start();
    let house = open(&origin);
    // "R" on a line of its own asks openssl to renegotiate.
    let script = format!(
        "(sleep 1; echo R; sleep 1) | timeout 20 openssl s_client -connect {} \
         -servername default.example -tls1_2 -legacy_renegotiation 2>&1",
        house.https
    );
    let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("RENEGOTIATING"), "{text}");
    // no_renegotiation is a warning that openssl takes for an end (RFC 5246, section 7.2.2).
    assert!(text.contains("no renegotiation") || text.contains("alert number"), "{text}");
    assert!(text.contains("Secure Renegotiation IS supported"), "RFC 5746: {text}");
}
