//! What is agreed on with clients, as `keyward status` and `keyward show` tell it.

use std::path::Path;
use std::time::Duration;

use rcgen::BasicConstraints;
use rcgen::CertificateParams;
use rcgen::CertificateRevocationListParams;
use rcgen::IsCa;
use rcgen::Issuer;
use rcgen::KeyIdMethod;
use rcgen::KeyPair;
use rcgen::KeyUsagePurpose;
use rcgen::SerialNumber;
use rcgen::date_time_ymd;

use crate::daemon::Keyward;
use crate::daemon::eventually;
use crate::origin::Origin;

/// Lists of the CA in `dir` that are good until the first day of `year`.
fn lists(dir: &Path, ca: &Issuer<'_, KeyPair>, years: &[i32]) {
    let list = |year: &i32| {
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2020, 1, 1),
            next_update: date_time_ymd(*year, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: Vec::new(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(ca).unwrap().pem().unwrap()
    };
    std::fs::write(dir.join("clients.crl"), years.iter().map(list).collect::<String>()).unwrap();
}

#[test]
fn status_and_show_say_what_is_agreed_on_with_clients() {
    let origin = Origin::start();
    let origin = origin.address;
    let site = |name: &str, tls: &str| {
        format!("[[site]]\nnames = [\"{name}\"]\norigin = \"http://{origin}\"\n[site.tls]\n{tls}\n")
    };
    let mut keyward = Keyward::new("", "");
    let dir = keyward.dir.path().join("etc");
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate().unwrap();
    std::fs::write(dir.join("clients.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
    let ca = Issuer::new(params, key);
    lists(&dir, &ca, &[2090, 2080]);
    let clients = format!(
        "client_certificates = \"required\"\nclient_ca = \"{0}/clients.pem\"\n\
         client_crl = \"{0}/clients.crl\"",
        dir.display()
    );
    let sites = [
        site("a.internal", &clients),
        site("b.internal", "preset = \"modern\""),
        site("c.internal", ""),
    ];
    keyward.configure("", &sites.concat());
    keyward.edit("[listen]\n", "[listen]\nproxy_from = [\"192.0.2.0/24\", \"2001:db8::/32\"]\n");
    keyward.start();
    keyward.wait_issued("a.internal");
    keyward.wait_issued("b.internal");

    let status = keyward.cli(&["status", "--json"]).json();
    let door = &status["door"];
    assert_eq!(door["proxy_from"], serde_json::json!(["192.0.2.0/24", "2001:db8::/32"]));
    assert_eq!((&door["clients_required"], &door["clients_optional"]), (&1.into(), &0.into()));
    let agreements = serde_json::json!([
        { "preset": "default", "min_version": "1.2", "sites": 2 },
        { "preset": "modern", "min_version": "1.3", "sites": 1 },
    ]);
    assert_eq!(door["agreements"], agreements);
    let text = keyward.cli(&["status"]).ok();
    for told in [
        "believed from 192.0.2.0/24, 2001:db8::/32",
        "default from TLS 1.2: 2 sites; modern from TLS 1.3: 1 site",
        "certificate required by 1 site",
    ] {
        assert!(text.contains(told), "{told}: {text}");
    }

    let terms = keyward.certificate("b.internal").unwrap()["terms"].clone();
    assert_eq!((&terms["preset"], &terms["min_version"]), (&"modern".into(), &"1.3".into()));
    assert!(terms["clients"].is_null(), "{terms:#}");
    let shown = || keyward.certificate("a.internal").unwrap()["terms"]["clients"].clone();
    let clients = shown();
    assert_eq!(clients["mode"], "required");
    assert_eq!((&clients["lists"], &clients["trouble"]), (&2.into(), &serde_json::Value::Null));
    // The first that runs out.
    assert_eq!(clients["lists_until"], "2080-01-01T00:00:00Z", "{clients:#}");
    let text = keyward.cli(&["show", "a.internal"]).ok();
    assert!(
        text.contains("default from TLS 1.2") && text.contains("2 lists, good until"),
        "{text}"
    );

    // As the files are now.
    lists(&dir, &ca, &[2090, 2021]);
    let clients = shown();
    assert!(clients["trouble"].as_str().unwrap().contains("out of date"), "{clients:#}");
    std::fs::write(dir.join("clients.crl"), "nothing").unwrap();
    let clients = shown();
    assert!(clients["trouble"].as_str().unwrap().contains("nobody is let in"), "{clients:#}");
    let text = keyward.cli(&["show", "a.internal"]).ok();
    assert!(text.contains("nobody is let in"), "{text}");
    eventually("it still answers", Duration::from_secs(10), || {
        keyward.cli(&["status"]).status.success().then_some(())
    });
}
