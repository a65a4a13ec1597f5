//! Hosting: what is there is followed by its like, or by nothing, and what is imported for a site is
//! never left to expire.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use keyward::base::Clock as _;
use keyward::base::SystemClock;

use crate::daemon::Said;
use crate::daemon::eventually;
use crate::daemon::was_killed;
use crate::scene::Scene;

/// As long as an order may take on a machine that has much else to do.
const LONG: Duration = Duration::from_secs(100);

/// The policy of an organisation that was looked at (2.23.140.1.2.2) as an extension, DER.
const OV: [u8; 12] = [0x30, 10, 0x30, 8, 6, 6, 0x67, 0x81, 0x0c, 1, 2, 2];

/// A site that serves what is imported for it, and a CA of somebody else.
struct Landlord {
    scene: Scene,
    ca: rcgen::Issuer<'static, rcgen::KeyPair>,
}

impl Landlord {
    fn new(name: &str, more: &str) -> Self {
        let scene = Scene::new(name);
        let address = scene.origin.address;
        scene.configure(&format!(
            "[[site]]\nnames = [\"{name}\"]\norigin = \"http://{address}\"\n\
             issuer = \"imported\"\n{more}\n"
        ));
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::OrganizationName, "Somebody else");
        let ca = rcgen::Issuer::new(params, rcgen::KeyPair::generate().unwrap());
        Self { scene, ca }
    }

    /// Imports a certificate for `name` of which so many seconds have passed and are left; gives its
    /// serial number.
    fn bring(&self, name: &str, passed: u64, left: u64, ov: bool) -> String {
        let mut params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
        let now = SystemClock.now().as_unix();
        let at = |seconds| rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds);
        (params.not_before, params.not_after) = (at(now - passed), at(now + left));
        if ov {
            let extension = rcgen::CustomExtension::from_oid_content(&[2, 5, 29, 32], OV.to_vec());
            params.custom_extensions.push(extension);
        }
        let pair = rcgen::KeyPair::generate().unwrap();
        let made = params.signed_by(&pair, &self.ca).unwrap();
        let dir = self.scene.keyward.dir.path();
        let (cert, key) = (dir.join("brought.crt"), dir.join("brought.key"));
        fs::write(&cert, made.pem()).unwrap();
        fs::write(&key, pair.serialize_pem()).unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        let files = ["--cert", cert.to_str().unwrap(), "--key", key.to_str().unwrap()];
        let said = self.cli(&[&["import", name], &files[..]].concat()).ok();
        assert!(said.contains(name), "{said}");
        let chain = keyward::cert::chain::Chain::from_pem(made.pem().as_bytes()).unwrap();
        chain.leaf().unwrap().serial
    }

    fn cli(&self, arguments: &[&str]) -> Said {
        self.scene.keyward.cli(arguments)
    }

    fn view(&self, id: &str) -> serde_json::Value {
        self.cli(&["show", id, "--json"]).json()
    }

    /// Waits until another serial number than `former` is installed under `id`.
    fn succeeded(&self, id: &str, former: &str) -> serde_json::Value {
        eventually("it is succeeded", LONG, || {
            let view = self.view(id);
            (view["installed"]["serial"] != former).then_some(view)
        })
    }

    /// The id of the one that is imported.
    fn id(&self) -> String {
        let list = self.cli(&["list", "--json"]).json();
        let all = list["certificates"].as_array().unwrap();
        let imported = all.iter().find(|one| one["role"] == "imported").unwrap();
        imported["id"].as_str().unwrap().to_owned()
    }

    fn kinds(&self) -> Vec<String> {
        let journal = self.cli(&["events", "--json"]).json();
        let entries = journal["entries"].as_array().unwrap().iter();
        entries.map(|entry| entry["kind"].as_str().unwrap().to_owned()).collect()
    }
}

#[test]
fn only_what_is_issued_is_hosted_and_the_states_are_seen_wherever_one_looks() {
    let mut scene =
        Scene::custom("good.example", "", |settings| settings.blocked.push("bad.example".into()));
    let both = format!("{}{}", scene.site("good.example"), scene.site("bad.example"));
    scene.configure(&both);
    scene.keyward.start();
    scene.keyward.wait_issued("good.example");
    eventually("the other is refused", LONG, || {
        let view = scene.keyward.certificate("bad.example")?;
        (view["condition"] == "failed").then_some(())
    });
    let keyward = &scene.keyward;
    let said = keyward.cli(&["host", "bad.example"]);
    assert!(
        !said.status.success() && said.err.contains("not issued yet (it is failed)"),
        "{said:?}"
    );
    let said = keyward.cli(&["host", "--all"]);
    assert_eq!(said.status.code(), Some(1), "{said:?}");
    assert!(said.out.contains("1 certificate hosted from now on, 0 before, 1 not"), "{said:?}");
    assert!(said.out.contains("bad.example is not: it is not issued yet"), "{said:?}");
    let view = keyward.cli(&["show", "good.example", "--json"]).json();
    assert_eq!((&view["condition"], &view["care"]["hosted"]), (&"hosted".into(), &true.into()));
    assert!(keyward.cli(&["show", "good.example"]).ok().contains("served (hosted)"));
    assert!(keyward.cli(&["list"]).ok().contains("served, hosted"));
    assert!(keyward.cli(&["status"]).ok().contains("1 hosted"));
    let said = keyward.cli(&["unhost", "good.example"]).ok();
    assert_eq!(said, "good.example is not hosted any more\n");
    let view = keyward.cli(&["show", "good.example", "--json"]).json();
    assert_eq!((&view["condition"], &view["care"]["hosted"]), (&"issued".into(), &false.into()));
    let events = keyward.cli(&["events"]).ok();
    assert!(events.contains("has it hosted") && events.contains("hosted no more"), "{events}");
    // By the file, without a command, and then only by the file.
    scene.configure(&both.replace("names = [\"good", "hosted = true\nnames = [\"good"));
    scene.keyward.cli(&["reload"]).ok();
    eventually("the file has it hosted", LONG, || {
        let view = scene.keyward.certificate("good.example")?;
        (view["condition"] == "hosted").then_some(())
    });
    let said = scene.keyward.cli(&["unhost", "good.example"]);
    assert!(!said.status.success() && said.err.contains("hosted = true"), "{said:?}");
    // It outlives a crash.
    scene.keyward.kill9();
    scene.keyward.start();
    let view = scene.keyward.certificate("good.example").unwrap();
    assert_eq!(view["condition"], "hosted");
}

#[test]
fn an_imported_one_is_followed_by_its_like_or_hosting_ends_with_the_difference_named() {
    let name = "brought.example";
    let mut landlord = Landlord::new(name, "take_over = false");
    landlord.scene.keyward.start();
    let organisation = landlord.bring(name, 60, 100_000, true);
    let id = landlord.id();
    // Known beforehand: nothing is begun.
    let said = landlord.cli(&["host", name]);
    assert!(said.err.contains("its level would be DV, and is OV"), "{said:?}");
    assert!(said.err.contains("--accept dv"), "{said:?}");
    assert_eq!(landlord.scene.pebble.orders(), 0);
    // Known only from what came: it is not served, and the present one stays.
    landlord.cli(&["host", name, "--accept", "dv"]).ok();
    landlord.cli(&["renew", &id]).ok();
    let view = eventually("hosting ends", LONG, || {
        let view = landlord.view(&id);
        view["care"]["hosting_ended"].is_string().then_some(view)
    });
    let told = view["care"]["hosting_ended"].as_str().unwrap();
    assert!(told.starts_with("its issuer would be Pebble"), "{told}");
    assert!(told.ends_with("and is Somebody else"), "{told}");
    assert_eq!(view["installed"]["serial"], organisation.as_str());
    assert_eq!(landlord.scene.pebble.orders(), 1);
    let view = eventually("its owner is told", LONG, || {
        let view = landlord.view(&id);
        (view["phase"] == "halted").then_some(view)
    });
    assert_eq!((&view["state"], &view["failure"]["kind"]), (&"needs you".into(), &"unlike".into()));
    let why = landlord.cli(&["why", name]).ok();
    assert!(why.contains("its issuer would be Pebble") && why.contains("--accept"), "{why}");
    // Agreed to beforehand: it is followed, and keeps its identity and its history.
    landlord.cli(&["host", name, "--accept", "dv,issuer"]).ok();
    let view = landlord.succeeded(&id, &organisation);
    assert_eq!((&view["role"], &view["condition"]), (&"imported".into(), &"hosted".into()));
    assert_eq!(view["care"]["accept"], serde_json::json!(["dv", "issuer"]));
    assert_eq!(landlord.id(), id);
    let kinds = landlord.kinds();
    for kind in ["imported", "hosted", "hosting-ended", "installed"] {
        assert!(kinds.iter().any(|one| one == kind), "{kind}: {kinds:?}");
    }
    let said = landlord.scene.keyward.curl(&landlord.scene.root(), name, "/", &[]);
    assert_eq!(said.ok(), "ok");
}

#[test]
fn an_imported_one_that_runs_out_is_taken_over_after_that_was_announced() {
    let name = "ending.example";
    let mut landlord = Landlord::new(name, "");
    landlord.scene.keyward.start();
    // A minute of its two has passed, so that its last part has begun; half a minute is a quarter.
    let former = landlord.bring(name, 70, 50, false);
    let id = landlord.id();
    let view = eventually("it is announced", LONG, || {
        let view = landlord.view(&id);
        view["care"]["take_over_at"].is_string().then_some(view)
    });
    if view["installed"]["valid"] == true
        && view["phase"] == "holding"
        && view["installed"]["serial"] == former.as_str()
    {
        assert_eq!(view["condition"], "expiring");
    }
    let view = landlord.succeeded(&id, &former);
    assert!(view["care"]["source"].as_str().unwrap().starts_with("127.0.0.1"), "{view:#}");
    let kinds = landlord.kinds();
    let place = |kind: &str| kinds.iter().position(|one| one == kind).unwrap();
    assert!(place("take-over") < place("order-opened"), "{kinds:?}");
    let said = landlord.scene.keyward.curl(&landlord.scene.root(), name, "/", &[]);
    assert_eq!(said.ok(), "ok");
    // What its owner brings then is served again, and not taken over before its time.
    let again = landlord.bring(name, 60, 100_000, false);
    let view = landlord.view(&id);
    assert_eq!(view["installed"]["serial"], again.as_str());
    assert!(view["care"]["take_over_at"].is_null(), "{view:#}");
}

#[test]
fn a_take_over_that_is_forbidden_does_not_happen_and_the_owner_is_told() {
    let name = "mine.example";
    let mut landlord = Landlord::new(name, "take_over = false");
    landlord.scene.keyward.start();
    let former = landlord.bring(name, 100, 60, false);
    let id = landlord.id();
    let view = eventually("its owner is told", LONG, || {
        let view = landlord.view(&id);
        (view["phase"] == "halted").then_some(view)
    });
    assert_eq!(view["failure"]["kind"], "imported");
    assert_eq!(view["installed"]["serial"], former.as_str());
    assert!(!landlord.kinds().iter().any(|kind| kind == "take-over"));
    assert_eq!(landlord.scene.pebble.orders(), 0);
}

#[test]
fn a_kill_at_any_step_of_a_take_over_costs_no_second_order() {
    for point in keyward::base::crash::POINTS {
        let name = "felled.example";
        let mut landlord = Landlord::new(name, "");
        landlord.scene.keyward.start();
        let former = landlord.bring(name, 60, 100_000, false);
        let id = landlord.id();
        assert!(landlord.scene.keyward.terminate().success());
        landlord.scene.keyward.with_env("KEYWARD_CRASH_AT", point);
        landlord.scene.keyward.start();
        landlord.cli(&["host", name, "--accept", "issuer"]).ok();
        // The daemon may be gone before it answers.
        let _said = landlord.cli(&["renew", &id]);
        let ended = landlord.scene.keyward.wait_end(LONG);
        assert!(was_killed(ended), "{point}: {ended}\n{}", landlord.scene.keyward.log());
        landlord.scene.keyward.without_env("KEYWARD_CRASH_AT");
        landlord.scene.keyward.start();
        landlord.succeeded(&id, &former);
        assert_eq!(landlord.scene.pebble.orders(), 1, "{point}");
        let said = landlord.scene.keyward.curl(&landlord.scene.root(), name, "/", &[]);
        assert_eq!(said.ok(), "ok", "{point}");
    }
}
