//! An origin that asks keyward who it is, with a key that only the vault has.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rcgen::ExtendedKeyUsagePurpose::{ClientAuth, ServerAuth};

use crate::daemon::Keyward;
use crate::daemon::eventually;
use crate::daemon::free_port;

/// A CA for both sides.
struct Ca(rcgen::Issuer<'static, rcgen::KeyPair>);

impl Ca {
    fn new(root: &Path) -> Self {
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, "the origins' own");
        let key = rcgen::KeyPair::generate().unwrap();
        fs::write(root, params.self_signed(&key).unwrap().pem()).unwrap();
        Self(rcgen::Issuer::new(params, key))
    }

    /// Chain and key in files, for a client or a server; the serial number.
    fn files(&self, dir: &Path, name: &str, usages: &[rcgen::ExtendedKeyUsagePurpose]) -> String {
        let mut params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.extended_key_usages = usages.to_vec();
        params.not_before = rcgen::date_time_ymd(2026, 1, 1);
        params.not_after = rcgen::date_time_ymd(2090, 1, 1);
        let pair = rcgen::KeyPair::generate().unwrap();
        let made = params.signed_by(&pair, &self.0).unwrap();
        fs::write(dir.join(format!("{name}.crt")), made.pem()).unwrap();
        let key = dir.join(format!("{name}.key"));
        fs::write(&key, pair.serialize_pem()).unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        let chain = keyward::cert::chain::Chain::from_pem(made.pem().as_bytes()).unwrap();
        chain.leaf().unwrap().serial
    }
}

/// `openssl s_server`, which lets nobody in without a certificate and tells whom it sees.
struct Guarded(Child);

impl Guarded {
    fn start(dir: &Path, port: u16, version: &str) -> Self {
        let mut command = Command::new("openssl");
        command
            .args(["s_server", "-www", "-Verify", "3", "-verify_return_error", version])
            .args(["-accept", &format!("127.0.0.1:{port}")])
            .args(["-CAfile".as_ref(), dir.join("root.pem").as_os_str()])
            .args(["-cert".as_ref(), dir.join("localhost.crt").as_os_str()])
            .args(["-key".as_ref(), dir.join("localhost.key").as_os_str()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Self(command.spawn().expect("openssl is installed"))
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn import(keyward: &Keyward, dir: &Path) -> String {
    let path = |end: &str| dir.join(format!("proxy.example.{end}")).display().to_string();
    let (cert, key) = (path("crt"), path("key"));
    keyward.cli(&["import", "--cert", &cert, "--key", &key]).ok()
}

#[test]
fn openssl_lets_keyward_in_with_an_imported_certificate_and_with_its_successor() {
    let dir = tempfile::tempdir().unwrap();
    let ca = Ca::new(&dir.path().join("root.pem"));
    ca.files(dir.path(), "localhost", &[ServerAuth]);
    // Keyward takes in none that is not for a server as well.
    let client = || ca.files(dir.path(), "proxy.example", &[ServerAuth, ClientAuth]);
    let ports = [free_port(), free_port()];
    let _guarded = [
        Guarded::start(dir.path(), ports[0], "-tls1_3"),
        Guarded::start(dir.path(), ports[1], "-tls1_2"),
    ];
    let root = dir.path().join("root.pem");
    let site = |name: &str, port: u16| {
        format!(
            "[[site]]\nnames = [\"{name}\"]\norigin = \"https://localhost:{port}\"\n\
             [site.origins]\ntls_ca = {root:?}\ntls_certificate = \"proxy.example\"\n"
        )
    };
    let sites = site("new.internal", ports[0]) + &site("old.internal", ports[1]);
    let mut keyward = Keyward::new("", &sites);
    keyward.start();
    let own = dir.path().join("own.pem");
    fs::write(&own, keyward.cli(&["trust", "--print"]).ok()).unwrap();
    let ask = |name: &str| {
        let said = keyward.curl(&own, name, "/", &["-w", "status %{http_code}"]);
        said.out
    };
    for name in ["new.internal", "old.internal"] {
        eventually("it is refused without a certificate", Duration::from_secs(60), || {
            ask(name).ends_with("status 502").then_some(())
        });
    }
    for _ in 0..2 {
        // The second is brought in the place of the first.
        let serial = client();
        import(&keyward, dir.path());
        for name in ["new.internal", "old.internal"] {
            let mut told = String::new();
            let seen = eventually("it is let in", Duration::from_secs(60), || {
                told = ask(name);
                // As openssl writes it, octet by octet.
                let serials = told.replace(':', "").to_lowercase();
                (told.ends_with("status 200") && serials.contains(&serial)).then_some(serials)
            });
            assert!(seen.contains("proxy.example"), "{told}");
        }
    }
    let status = keyward.cli(&["status", "--json"]).json();
    assert!(status["vault"]["restarts"].as_u64().is_none_or(|restarts| restarts == 0));
    assert!(keyward.log().contains("an origin asks for a certificate that cannot be shown"));
}
