//! What an account keeps secret, and what is said where it is of no use.

use std::time::Duration;

use crate::bind::Bind;
use crate::daemon::eventually;
use crate::scene::Scene;

#[test]
fn a_refused_secret_is_told_with_what_to_look_at_and_is_nowhere_to_be_read() {
    let mut scene = Scene::new(&[("corp.example", "")]);
    let account = scene
        .bind
        .account("corp.example")
        .replace("key_name = \"corp.example\"", "key_name = \"stranger\"");
    scene.configure(&(account + &Scene::site(&["*.corp.example"], "")));
    scene.keyward.start();
    let failure = eventually("the failure is told", Duration::from_secs(120), || {
        let view = scene.keyward.certificate("*.corp.example")?;
        let text = view.to_string();
        (view["role"] == "primary" && text.contains("could not be set")).then_some(text)
    });
    assert!(failure.contains("check the [[dns]] account"), "{failure}");
    assert!(failure.contains("_acme-challenge.corp.example"), "{failure}");
    let secret = Bind::secret_text();
    assert!(!failure.contains(secret) && !scene.keyward.log().contains(secret));
    // The processes that may know it are started by one that is told where the configuration is.
    let lines = processes();
    let porter = lines.iter().find(|line| {
        line.contains("dns-porter")
            && line.contains(&scene.keyward.dir.path().display().to_string())
    });
    assert!(porter.is_some_and(|line| !line.contains(secret)), "{lines:?}");
    // Put right, the next attempt succeeds.
    scene.configure(&(scene.bind.account("corp.example") + &Scene::site(&["*.corp.example"], "")));
    scene.keyward.cli(&["reload"]).ok();
    scene.keyward.wait_issued("*.corp.example");
}

fn processes() -> Vec<String> {
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = all.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " ")).collect()
}

#[test]
fn accounts_are_checked_with_everything_that_is_wrong_with_them() {
    let scene = Scene::new(&[("corp.example", "")]);
    let open = scene.keyward.dir.path().join("open");
    std::fs::write(&open, "secret").unwrap();
    std::fs::set_permissions(&open, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let open = open.display();
    let tables = format!(
        "[[dns]]\nprovider = \"cloudflair\"\nzones = [\"a.example\"]\n\
         [[dns]]\nprovider = \"cloudflare\"\nzones = [\"b.example\", \"b.example\"]\nwith = {{ tokn_file = \"/x\" }}\n\
         [[dns]]\nprovider = \"hetzner\"\nzones = [\"c.example\"]\nwith = {{ token = \"s3cret\" }}\n\
         [[dns]]\nprovider = \"desec\"\nzones = []\npropagation = \"1h\"\nwith = {{ token_file = \"{open}\" }}\n"
    );
    scene.configure(&(tables + &Scene::site(&["*.corp.example"], "challenge = \"http-01\"")));
    let said = scene.keyward.cli(&["check", scene.keyward.config().to_str().unwrap()]);
    assert_eq!(said.status.code(), Some(78), "{said:#?}");
    let text = said.out + &said.err;
    for part in [
        "the DNS provider \"cloudflair\" is not known",
        "try: \"cloudflare\"",
        "the zone b.example stands twice",
        "the key \"tokn_file\" is not known here",
        "try: token_file",
        "cloudflare needs token_file or token_credential",
        "token is a secret, which has no place in the configuration",
        "try: token_file = \"/etc/keyward/token\"",
        "the account has no zones",
        "\"1h\" is no time for records to spread",
        "everybody on this machine can read or change the file of the secret",
        "http-01 cannot prove *.corp.example to a public CA",
    ] {
        assert!(text.contains(part), "{part}:\n{text}");
    }
    assert!(!text.contains("s3cret"), "{text}");
}

#[test]
fn a_systemd_credential_will_do_and_the_first_account_comes_with_a_reload() {
    let mut scene = Scene::new(&[("corp.example", "")]);
    let credentials = scene.keyward.dir.path().join("credentials");
    std::fs::create_dir(&credentials).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o400);
    std::fs::write(credentials.join("tsig"), Bind::secret_text()).unwrap();
    std::fs::set_permissions(credentials.join("tsig"), mode).unwrap();
    scene.keyward.with_env("CREDENTIALS_DIRECTORY", credentials.to_str().unwrap());
    scene.configure(&Scene::site(&["nas.internal"], ""));
    scene.keyward.start();
    let file = format!("key_file = \"{}\"", scene.bind.secret().display());
    let account = scene.bind.account("corp.example").replace(&file, "key_credential = \"tsig\"");
    assert!(account.contains("key_credential"));
    scene.configure(&(account + &Scene::site(&["*.corp.example"], "")));
    let checked = scene.keyward.cli(&["check", "--json", scene.keyward.config().to_str().unwrap()]);
    let checked = checked.json();
    assert_eq!(checked["dns"][0]["provider"], "rfc2136", "{checked:#}");
    assert_eq!(checked["dns"][0]["zones"], serde_json::json!(["corp.example"]), "{checked:#}");
    assert!(!checked.to_string().contains("tsig"), "{checked:#}");
    let said = scene.keyward.cli(&["reload"]);
    let said = said.out.clone() + &said.ok();
    assert!(!said.contains("restart"), "{said}");
    scene.keyward.wait_issued("*.corp.example");
    scene.wait_gone("_acme-challenge.corp.example");
}
