//! What people and panels bring about over the socket, and who else is asked.

use std::io::Read as _;
use std::io::Write as _;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use crate::daemon::eventually;
use crate::daemon::was_killed;
use crate::origin::Origin;
use crate::scene::Scene;

#[test]
fn a_name_is_onboarded_by_hand_with_its_own_origin_and_offboarded_for_good() {
    let scene = Scene::new("suffixes = [\"nobody.example\"]", "");
    let own = Origin::start();
    let origin = format!("http://{}", own.address);
    // No suffix has it, so that no client brings it.
    assert_eq!(scene.greet("www.shop.example"), 21);
    let order = ["onboard", "www.shop.example", "--origin", &origin, "--wait"];
    let said = scene.keyward.cli(&order);
    assert!(said.status.success(), "{said:#?}");
    assert_eq!(scene.visit("www.shop.example", &[]).ok(), "ok");
    assert_eq!(own.requests.load(std::sync::atomic::Ordering::Relaxed), 1, "its own origin");
    assert_eq!(scene.origin.requests.load(std::sync::atomic::Ordering::Relaxed), 0);
    let listed = scene.keyward.cli(&["onboarded"]).ok();
    assert!(listed.contains("www.shop.example") && listed.contains(&origin), "{listed}");
    assert_eq!(scene.listed()[0]["by_hand"], true);
    // Again is no second order, and may bring another origin.
    let other = format!("http://{}", scene.origin.address);
    scene.keyward.cli(&["onboard", "www.shop.example", "--origin", &other]).ok();
    assert_eq!(scene.visit("www.shop.example", &[]).ok(), "ok");
    assert_eq!(scene.origin.requests.load(std::sync::atomic::Ordering::Relaxed), 1);
    assert_eq!(scene.pebble.orders(), 1);

    scene.keyward.edit("suffixes = [\"nobody.example\"]", "");
    scene.keyward.cli(&["reload"]).ok();
    scene.keyward.cli(&["offboard", "www.shop.example"]).ok();
    assert_eq!(scene.greet("www.shop.example"), 21, "it is not served");
    assert_eq!(scene.greet("www.shop.example"), 21, "and does not come back by itself");
    assert!(scene.keyward.certificate("www.shop.example").is_none(), "nor is it kept");
    assert_eq!(scene.listed()[0]["barred"], true);
    let unknown = scene.keyward.cli(&["offboard", "b.shop.example"]);
    assert!(unknown.err.contains("b.shop.example is not onboarded"), "{unknown:#?}");
    scene.keyward.cli(&["onboard", "www.shop.example", "--wait"]).ok();
    assert_eq!(scene.visit("www.shop.example", &[]).ok(), "ok");
    assert_eq!(scene.pebble.orders(), 2);
    scene.keyward.cli(&["offboard", "www.shop.example", "--may-return"]).ok();
    assert_eq!(scene.names(), Vec::<String>::new());
    assert_eq!(scene.visit("www.shop.example", &[]).ok(), "ok", "it may return");
}

#[test]
fn the_certificate_of_an_onboarded_name_is_replaced_and_then_revoked_also_after_a_restart() {
    let mut scene = Scene::new("", "");
    scene.keyward.cli(&["onboard", "www.shop.example", "--wait"]).ok();
    let serial = |scene: &Scene| -> String {
        let view = scene.keyward.certificate("www.shop.example").unwrap();
        view["installed"]["serial"].as_str().unwrap().to_owned()
    };
    let standing = |scene: &Scene, serial: &str| scene.pebble.standing(serial).unwrap();
    let first = serial(&scene);
    let order = ["revoke", "www.shop.example", "--reason", "keyCompromise", "--wait"];
    let said = scene.keyward.cli(&order).ok();
    assert!(said.contains("revoked serial"), "{said}");
    let second = serial(&scene);
    assert_ne!(first, second);
    assert_eq!(standing(&scene, &first)["Status"], "Revoked");
    assert_eq!(standing(&scene, &first)["Reason"], 1);
    assert_eq!(standing(&scene, &second)["Status"], "Valid");
    assert_eq!(scene.visit("www.shop.example", &[]).ok(), "ok");
    // Killed when it is noted, the next start goes on with it: nobody holds such a one in memory.
    for point in ["revocation-noted", "revocation-told"] {
        let former = serial(&scene);
        assert!(scene.keyward.terminate().success());
        scene.keyward.with_env("KEYWARD_CRASH_AT", point);
        scene.keyward.start();
        let _said = scene.keyward.cli(&["revoke", "www.shop.example"]);
        assert!(was_killed(scene.keyward.wait_end(Duration::from_secs(100))), "{point}");
        scene.keyward.without_env("KEYWARD_CRASH_AT");
        scene.keyward.start();
        eventually("it is revoked", Duration::from_secs(100), || {
            (standing(&scene, &former)["Status"] == "Revoked").then_some(())
        });
        assert_ne!(serial(&scene), former, "{point}");
        eventually("that is known", Duration::from_secs(60), || {
            let view = scene.keyward.certificate("www.shop.example")?;
            (view["care"]["revoked"]["serial"] == former.as_str()).then_some(())
        });
    }
}

#[test]
fn a_name_that_leads_elsewhere_is_refused_by_hand_too_and_the_answer_says_why() {
    let tables = "[[site]]\nnames = [\"own.shop.example\"]\norigin = \"http://127.0.0.1:9\"\n\
                  issuer = \"internal\"\n";
    let scene = Scene::new("", tables);
    for (name, why) in [
        ("away.shop.example", "its alias leads to other.host.example"),
        ("one.shop.example", "its aliases go round in a circle"),
        ("nothing.shop.example", "it is no alias"),
        ("own.shop.example", "a site of the configuration has it"),
        ("edge.host.example", "it is the target itself"),
        ("192.0.2.7", "it is an address"),
        ("*.wild.example", "it is a wildcard"),
    ] {
        let said = scene.keyward.cli(&["onboard", name]);
        assert!(!said.status.success() && said.err.contains(why), "{name}: {said:#?}");
    }
    let bad = ["onboard", "a.shop.example", "--origin", "ftp://x"];
    let said = scene.keyward.cli(&bad);
    assert!(said.err.contains("its origin cannot be used"), "{said:#?}");
    assert_eq!((scene.names().len(), scene.pebble.orders()), (0, 0));
}

/// An HTTP server that says 200 to `yes` and 403 to everything else, and what it was asked.
fn oracle(yes: &'static str) -> (u16, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let noted = Arc::clone(&asked);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut bytes = [0; 2048];
            let length = stream.read(&mut bytes).unwrap_or(0);
            let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
            let line = text.lines().next().unwrap_or_default().to_owned();
            let status = if line.contains(yes) { "200 OK" } else { "403 Forbidden" };
            noted.lock().unwrap().push(line);
            let _ignored = write!(
                stream,
                "HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            );
        }
    });
    (port, asked)
}

#[test]
fn whoever_is_to_be_asked_decides_about_what_clients_bring() {
    let (port, asked) = oracle("domain=a.shop.example");
    let scene = Scene::new(&format!("ask = \"http://127.0.0.1:{port}/may?key=1\""), "");
    assert_eq!(scene.visit("a.shop.example", &[]).ok(), "ok");
    assert_eq!(scene.greet("b.shop.example"), 21);
    assert_eq!(scene.greet("b.shop.example"), 21);
    // A name that leads elsewhere is nobody's business.
    assert_eq!(scene.greet("away.shop.example"), 21);
    let lines = asked.lock().unwrap().clone();
    let line = |name: &str| format!("GET /may?key=1&domain={name} HTTP/1.1");
    assert_eq!(lines, [line("a.shop.example"), line("b.shop.example")], "once each");
    assert_eq!(scene.pebble.orders(), 1);
}
