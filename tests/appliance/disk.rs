//! A disk without room: no order reaches the CA, serving goes on, and room is enough to go on.

use std::process::Command;
use std::time::Duration;

use crate::daemon::eventually;
use crate::daemon::run;
use crate::load::Load;
use crate::scene::Scene;
use crate::scene::runtime;

#[test]
fn a_full_disk_stops_orders_and_nothing_else() {
    let scene = Scene::issued("full.example");
    // A limit on the size of files ends a write as a disk without room does.
    let limit = |limit: &str| {
        let pid = scene.keyward.pid().to_string();
        let mut prlimit = Command::new("prlimit");
        run(prlimit.args(["--pid", &pid, &format!("--fsize={limit}:unlimited")])).ok();
    };
    let runtime = runtime();
    let _inside = runtime.enter();
    let load = Load::start(&scene.target(false), 4);
    let orders = scene.pebble.orders();
    let serial = scene.keyward.served_serial("full.example");
    limit("4096");

    // Neither a person nor a new site gets an order out of it.
    let said = scene.keyward.cli(&["renew", "full.example"]);
    assert!(!said.status.success() && said.err.contains("no space"), "{said:#?}");
    let both = format!("{}\n{}", scene.site("full.example"), scene.site("more.example"));
    scene.configure(&both);
    scene.keyward.cli(&["reload"]).ok();
    let degraded = eventually("status says it", Duration::from_secs(10), || {
        let status = scene.keyward.cli(&["status", "--json"]).json();
        status["degraded"].as_str().map(str::to_owned)
    });
    assert!(degraded.contains("no space is left"), "{degraded}");
    // Long enough for the scheduler to try again.
    std::thread::sleep(Duration::from_secs(6));
    assert_eq!(scene.pebble.orders(), orders, "invariant 12");
    runtime.block_on(load.progress(100));
    assert_eq!(scene.keyward.served_serial("full.example"), serial);
    assert!(scene.keyward.cli(&["list"]).ok().contains("full.example"));

    limit("unlimited");
    scene.keyward.wait_issued("more.example");
    scene.renew();
    let status = scene.keyward.cli(&["status", "--json"]).json();
    assert_eq!(status["degraded"], serde_json::Value::Null, "{status:#}");
    let seen = runtime.block_on(load.stop());
    assert_eq!(*seen.failures.lock().unwrap(), Vec::<String>::new());
}
