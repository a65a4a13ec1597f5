//! Addresses, limits and the log's level change while requests go on.

use std::net::TcpStream;
use std::time::Duration;

use crate::daemon::eventually;
use crate::daemon::free_port;
use crate::load::Load;
use crate::scene::Scene;
use crate::scene::runtime;

#[test]
fn addresses_come_and_go_under_load_and_the_kept_one_fails_no_request() {
    let scene = Scene::issued("doors.example");
    let runtime = runtime();
    let _inside = runtime.enter();
    let load = Load::start(&scene.target(false), 4);
    let kept = format!("https = [\"127.0.0.1:{}\"]", scene.keyward.https);
    for _ in 0..3 {
        let more = free_port();
        let both = format!("https = [\"127.0.0.1:{}\", \"127.0.0.1:{more}\"]", scene.keyward.https);
        runtime.block_on(load.progress(50));
        scene.keyward.edit(&kept, &both);
        scene.keyward.cli(&["reload"]).ok();
        let mut target = scene.target(true);
        target.address.set_port(more);
        let other = Load::start(&target, 1);
        runtime.block_on(other.progress(10));
        let seen = runtime.block_on(other.stop());
        assert_eq!(*seen.failures.lock().unwrap(), Vec::<String>::new());
        let status = scene.keyward.cli(&["status"]).ok();
        assert!(status.contains(&format!("https on 127.0.0.1:{more}")), "{status}");

        runtime.block_on(load.progress(50));
        scene.keyward.edit(&both, &kept);
        scene.keyward.cli(&["reload"]).ok();
        eventually("the address is given back", Duration::from_secs(10), || {
            TcpStream::connect(("127.0.0.1", more)).is_err().then_some(())
        });
    }
    // An address that is taken changes nothing and says so.
    let holder = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = holder.local_addr().unwrap();
    let both = format!("https = [\"127.0.0.1:{}\", \"{taken}\"]", scene.keyward.https);
    scene.keyward.edit(&kept, &both);
    let said = scene.keyward.cli(&["reload"]);
    assert!(!said.status.success() && said.err.contains(&taken.to_string()), "{said:#?}");
    runtime.block_on(load.progress(50));
    let seen = runtime.block_on(load.stop());
    assert_eq!(*seen.failures.lock().unwrap(), Vec::<String>::new());
}

#[test]
fn the_log_level_and_the_limits_of_the_door_follow_a_reload() {
    let scene = Scene::issued("limits.example");
    // Debug at first: a connection leaves a trace. Then warnings only: a reload itself is silent.
    scene.keyward.edit("level = \"debug\"", "level = \"warn\"");
    scene.keyward.cli(&["reload"]).ok();
    let quiet = scene.keyward.log().len();
    scene.keyward.cli(&["reload"]).ok();
    scene.renew();
    assert_eq!(scene.keyward.log().get(quiet..), Some(""), "nothing below a warning is told");
    scene.keyward.edit("level = \"warn\"", "level = \"info\"");
    scene.keyward.cli(&["reload"]).ok();
    scene.keyward.cli(&["reload"]).ok();
    assert!(scene.keyward.log().len() > quiet, "the level came back");

    // An origin that never answers: first the client gives up, then the door does.
    let root = scene.root();
    let said = scene.keyward.curl(&root, "limits.example", "/silent", &["--max-time", "1"]);
    assert_eq!(said.status.code(), Some(28), "{said:#?}");
    scene.keyward.edit("[log]", "[edge]\nresponse_timeout = \"300ms\"\n\n[log]");
    scene.keyward.cli(&["reload"]).ok();
    let code = ["-o", "/dev/null", "-w", "%{http_code}"];
    assert_eq!(scene.keyward.curl(&root, "limits.example", "/silent", &code).ok(), "504");
}
