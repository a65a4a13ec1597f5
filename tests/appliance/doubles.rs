//! An ECDSA and an RSA certificate for the same names, side by side: each client gets the one that
//! it can check, and each is called by a name of its own.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::daemon::Keyward;
use crate::daemon::Said;
use crate::daemon::eventually;
use crate::daemon::run;
use crate::origin::Origin;

const NAME: &str = "shop.internal";
const SOON: Duration = Duration::from_secs(60);

/// Clients, by what they can check, as openssl's options say it.
const ECDSA_TOO: &str = "-tls1_3";
const RSA_ONLY: [&str; 3] = [
    "-tls1_2 -cipher ECDHE-RSA-AES128-GCM-SHA256",
    "-tls1_2 -sigalgs RSA-PSS+SHA256:RSA+SHA256",
    "-tls1_3 -sigalgs rsa_pss_rsae_sha256",
];

fn started(origin: &Origin, more: &str) -> Keyward {
    let origin = origin.address;
    let site = format!("[[site]]\nnames = [\"{NAME}\"]\norigin = \"http://{origin}\"\n{more}");
    let mut keyward = Keyward::new("", &site);
    keyward.start();
    keyward.wait_issued("shop.internal/p256");
    keyward
}

/// The serial number that a client with these options is shown.
fn shown(keyward: &Keyward, options: &str) -> Option<String> {
    keyward.serial_for(NAME, options)
}

fn waits_until_shown(keyward: &Keyward, options: &str, serial: &str) {
    eventually(&format!("{serial} with {options}"), SOON, || {
        (shown(keyward, options).as_deref() == Some(serial)).then_some(())
    });
}

/// Every client gets its kind.
fn are_shown(keyward: &Keyward, ecdsa: &str, rsa: &str) {
    for options in RSA_ONLY {
        waits_until_shown(keyward, options, rsa);
    }
    waits_until_shown(keyward, ECDSA_TOO, ecdsa);
    waits_until_shown(keyward, "-tls1_2 -cipher ECDHE-ECDSA-AES128-GCM-SHA256", ecdsa);
}

struct Files {
    cert: PathBuf,
    key: PathBuf,
    serial: String,
}

/// A certificate with a key that openssl makes, as files.
fn files(keyward: &Keyward, stem: &str, algorithm: &[&str]) -> Files {
    let dir = keyward.dir.path();
    let (cert, key) = (dir.join(format!("{stem}.crt")), dir.join(format!("{stem}.key")));
    run(Command::new("openssl").arg("genpkey").args(algorithm).arg("-out").arg(&key)).ok();
    let pair = rcgen::KeyPair::from_pem(&fs::read_to_string(&key).unwrap()).unwrap();
    let params = rcgen::CertificateParams::new(vec![NAME.to_owned()]).unwrap();
    let made = params.self_signed(&pair).unwrap().pem();
    fs::write(&cert, &made).unwrap();
    let chain = keyward::cert::chain::Chain::from_pem(made.as_bytes()).unwrap();
    let serial = chain.leaf().unwrap().serial;
    Files { cert, key, serial }
}

const RSA: [&str; 4] = ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"];
const P256: [&str; 4] = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"];
const P384: [&str; 4] = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"];

fn import(keyward: &Keyward, files: &Files) -> Said {
    let (cert, key) = (files.cert.to_str().unwrap(), files.key.to_str().unwrap());
    keyward.cli(&["import", "--exportable", "--cert", cert, "--key", key])
}

fn id(keyward: &Keyward, selector: &str) -> String {
    keyward.certificate(selector).unwrap()["id"].as_str().unwrap().to_owned()
}

#[test]
fn imported_ones_of_both_kinds_are_served_and_called_apart() {
    let origin = Origin::start();
    let mut keyward = started(&origin, "");
    let own = keyward.served_serial(NAME).unwrap();
    let (ecdsa, rsa) = (files(&keyward, "ecdsa", &P256), files(&keyward, "rsa", &RSA));
    let said = import(&keyward, &ecdsa).ok();
    assert!(said.starts_with("imported "), "{said}");
    let said = import(&keyward, &rsa).ok();
    assert!(said.starts_with("imported "), "the one does not replace the other: {said}");
    are_shown(&keyward, &ecdsa.serial, &rsa.serial);
    keyward.kill9();
    keyward.start();
    are_shown(&keyward, &ecdsa.serial, &rsa.serial);

    // Both are listed, and neither is meant by what fits both.
    let list = keyward.cli(&["list"]).ok();
    for line in ["shop.internal (imported)", "shop.internal/rsa (imported)"] {
        assert!(list.contains(line), "{line}: {list}");
    }
    let (first, second) = ("shop.internal/ecdsa", "shop.internal/rsa");
    let ids = [id(&keyward, &ecdsa_id(&keyward)), id(&keyward, second)];
    assert_ne!(ids[0], ids[1]);
    let target = keyward.dir.path().join("out.key");
    for refused in [
        keyward.cli(&["forget", NAME]),
        keyward.cli(&["export", NAME, "--to", target.to_str().unwrap()]),
    ] {
        assert!(!refused.status.success() && !target.exists(), "{refused:?}");
        assert!(ids.iter().all(|id| refused.err.contains(id.as_str())), "{refused:?}");
        assert!(refused.err.contains("shop.internal/rsa"), "{refused:?}");
    }
    keyward.cli(&["export", second, "--to", target.to_str().unwrap()]).ok();
    assert_eq!(fs::read_to_string(&target).unwrap(), fs::read_to_string(&rsa.key).unwrap());

    // One of the same kind takes the place of its predecessor and leaves the other alone.
    let next = files(&keyward, "next", &RSA);
    let said = import(&keyward, &next).ok();
    assert!(said.starts_with("replaced "), "{said}");
    are_shown(&keyward, &ecdsa.serial, &next.serial);
    assert_eq!(id(&keyward, second), ids[1]);
    let curve = files(&keyward, "curve", &P384);
    let said = import(&keyward, &curve).ok();
    assert!(said.starts_with("replaced "), "another curve is the same kind: {said}");
    waits_until_shown(&keyward, ECDSA_TOO, &curve.serial);
    waits_until_shown(&keyward, RSA_ONLY[0], &next.serial);

    keyward.cli(&["forget", second]).ok();
    waits_until_shown(&keyward, ECDSA_TOO, &curve.serial);
    assert_ne!(shown(&keyward, RSA_ONLY[0]), Some(next.serial));
    keyward.cli(&["forget", first]).ok();
    waits_until_shown(&keyward, ECDSA_TOO, &own);
}

/// The site's own certificate is an ECDSA one as well: by its id the imported one is meant.
fn ecdsa_id(keyward: &Keyward) -> String {
    let all = keyward.cli(&["list", "--json"]).json();
    let all = all["certificates"].as_array().unwrap().clone();
    let one = all.iter().find(|one| one["role"] == "imported" && one["key_algorithm"] == "p256");
    one.unwrap()["id"].as_str().unwrap().to_owned()
}

#[test]
fn a_site_with_two_kinds_of_keys_orders_renews_and_drops_each_by_itself() {
    let origin = Origin::start();
    let mut keyward = started(&origin, "key = [\"p256\", \"rsa2048\"]\n");
    let serial = |keyward: &Keyward, selector: &str| {
        eventually("it is issued", SOON, || {
            let view = keyward.certificate(selector)?;
            let serial = view["installed"]["serial"].as_str()?;
            Some(serial.to_owned())
        })
    };
    let (first, second) = ("shop.internal/p256", "shop.internal/rsa");
    let (ecdsa, rsa) = (serial(&keyward, first), serial(&keyward, second));
    are_shown(&keyward, &ecdsa, &rsa);
    keyward.kill9();
    keyward.start();
    are_shown(&keyward, &ecdsa, &rsa);
    let refused = keyward.cli(&["renew", NAME]);
    assert!(!refused.status.success() && refused.err.contains(second), "{refused:?}");
    keyward.cli(&["renew", second]).ok();
    let renewed = eventually("it is renewed", SOON, || {
        Some(serial(&keyward, second)).filter(|serial| *serial != rsa)
    });
    are_shown(&keyward, &ecdsa, &renewed);
    assert_eq!(serial(&keyward, first), ecdsa);

    keyward.edit("key = [\"p256\", \"rsa2048\"]", "key = \"p256\"");
    keyward.cli(&["reload"]).ok();
    eventually("the other is shown no more", SOON, || {
        (shown(&keyward, RSA_ONLY[0]) != Some(renewed.clone())).then_some(())
    });
    waits_until_shown(&keyward, ECDSA_TOO, &ecdsa);
}
