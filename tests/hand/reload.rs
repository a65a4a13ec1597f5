//! Who serves the pair is told; what it does not take is put back, and it is told again.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use keyward::deploy::hand::Stage;

use crate::scene;
use crate::scene::Scene;

/// A program that writes down what it finds each time it is told, and does what `then` says.
fn program(scene: &Scene, then: &str) {
    let out = scene.path("out");
    let text = format!(
        "#!/bin/sh\ncd {out}\ncat chain.pem >> ../log/seen 2>/dev/null\necho told >> ../log/told\n{then}\n",
        out = out.display()
    );
    let path = scene.path("etc/told.sh");
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    scene.target(&format!(
        "kind = \"files\"\nprobe = \"none\"\nchain = \"OUT/chain.pem\"\nkey = \"OUT/key.pem\"\n\
         reload = [\"{}\", \"now\"]\ndeadline = \"5s\"",
        path.display()
    ));
}

fn seen(scene: &Scene) -> String {
    fs::read_to_string(scene.path("log/seen")).unwrap_or_default()
}

#[test]
fn it_is_told_when_the_pair_is_there_and_again_when_it_is_put_back() {
    let scene = Scene::new();
    program(&scene, "");
    let (one, two) = (scene.pair(), scene.pair());
    scene.bring(&one);
    assert_eq!(seen(&scene), one.chain_pem());
    let placed = scene.carry(&two).unwrap();
    assert_eq!(seen(&scene), one.chain_pem() + &two.chain_pem());
    placed.put_back().unwrap();
    assert_eq!(seen(&scene), one.chain_pem() + &two.chain_pem() + &one.chain_pem());
}

#[test]
fn one_that_refuses_the_pair_has_what_was_there_before() {
    let scene = Scene::new();
    program(&scene, "");
    let one = scene.pair();
    scene.bring(&one);
    // It takes the pair with that chain alone.
    fs::write(scene.path("log/good.pem"), one.chain_pem()).unwrap();
    program(&scene, "cmp -s chain.pem ../log/good.pem || { echo no such chain; exit 3; }");
    let two = scene.pair();
    let error = scene.carry(&two).unwrap_err();
    assert_eq!((error.stage, error.as_it_was), (Stage::TakeUp, true));
    assert!(error.reason.ends_with("told.sh: exit status: 3: no such chain"), "{error}");
    assert_eq!(scene.text("chain.pem"), one.chain_pem());
    assert_eq!(seen(&scene), one.chain_pem() + &two.chain_pem() + &one.chain_pem());
    // One that does not even take what it had is told of.
    program(&scene, "echo never; exit 1");
    let error = scene.carry(&two).unwrap_err();
    assert_eq!((error.stage, error.as_it_was), (Stage::TakeUp, false));
    assert!(error.reason.contains("exit status: 1: never; and putting it back: "), "{error}");
    assert_eq!(scene.text("chain.pem"), one.chain_pem());
    let placed = fs::read_dir(scene.path("out")).unwrap().count();
    assert_eq!(placed, 3, "key, chain, and the directory of the record");
}

#[test]
fn one_that_hangs_is_killed_and_what_was_there_before_is_there() {
    let scene = Scene::new();
    program(&scene, "");
    let one = scene.pair();
    scene.bring(&one);
    fs::write(scene.path("log/good.pem"), one.chain_pem()).unwrap();
    program(&scene, "cmp -s chain.pem ../log/good.pem || sleep 600");
    let error = scene.carry(&scene.pair()).unwrap_err();
    assert_eq!((error.stage, error.as_it_was), (Stage::TakeUp, true), "{error}");
    assert!(error.reason.contains("did not end in time, and was killed"), "{error}");
    assert_eq!(scene.text("chain.pem"), one.chain_pem());
}

#[test]
fn a_program_that_is_told_hears_signals_and_reaches_no_state_of_ours() {
    let scene = Scene::new();
    fs::write(scene.path("state/secret"), "x").unwrap();
    let state = scene.path("state").display().to_string();
    program(
        &scene,
        &format!(
            "grep SigIgn /proc/self/status > ../log/ign; cat {state}/secret 2> ../log/denied; exit 0"
        ),
    );
    scene.bring(&scene.pair());
    let ignored = fs::read_to_string(scene.path("log/ign")).unwrap();
    let ignored = u64::from_str_radix(ignored.split_whitespace().last().unwrap(), 16).unwrap();
    // SIGHUP, SIGINT, SIGQUIT and SIGTERM are numbers 1, 2, 3 and 15.
    assert_eq!(ignored & 0x4007, 0, "{ignored:x}");
    assert!(fs::read_to_string(scene.path("log/denied")).unwrap().contains("Permission denied"));
}

#[test]
fn a_main_that_does_not_wait_for_ever_says_so() {
    let scene = Scene::new();
    // It ends neither time: the hand is at it for longer than main waits.
    program(&scene, "sleep 600");
    let text = fs::read_to_string(scene.config()).unwrap();
    fs::write(scene.config(), text.replace("deadline = \"5s\"", "deadline = \"300s\"")).unwrap();
    let made = scene.pair();
    let error = scene::carry_named(&scene.hand(), &made, &made.name, Duration::ZERO).unwrap_err();
    assert_eq!(error.reason, "the process that deploys did not answer in time");
    assert!(!error.as_it_was, "it is not known");
}
