//! What is not carried, and why, in words; the target is as it was each time.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use keyward::cert::identifier::Identifier;
use keyward::deploy::hand::HandError;
use keyward::deploy::hand::Stage;

use crate::scene;
use crate::scene::Made;
use crate::scene::PATIENCE;
use crate::scene::Scene;

const FILES: &str = "kind = \"files\"\ndir = \"OUT\"\nprobe = \"none\"";

fn refused(scene: &Scene, made: &Made) -> HandError {
    let before = scene.listing();
    let error = scene.carry(made).unwrap_err();
    assert!(error.as_it_was, "{error}");
    assert_eq!(scene.listing(), before, "{error}");
    error
}

#[test]
fn a_key_that_is_another_ones_or_none_is_not_put_anywhere() {
    let scene = Scene::new();
    scene.target(FILES);
    scene.bring(&scene.pair());
    let mixed = Made { key: scene.pair().key, ..scene.pair() };
    let error = refused(&scene, &mixed);
    let told = "the private key did not come: the private key does not belong to the leaf";
    assert_eq!(error.to_string(), told);
    let none = Made { key: "garbage".to_owned(), ..scene.pair() };
    let error = refused(&scene, &none);
    assert_eq!(error.stage, Stage::Key);
    assert!(!error.reason.contains("garbage"), "{error}");
    let made = scene.pair();
    let other = Identifier::parse("other.example.org").unwrap();
    let error = scene::carry_named(&scene.hand(), &made, &other, PATIENCE).unwrap_err();
    assert_eq!(error.reason, "the leaf is not for other.example.org");
}

#[test]
fn only_a_target_of_the_file_is_known_and_a_broken_file_none_at_all() {
    let scene = Scene::new();
    scene.target(FILES);
    let text = fs::read_to_string(scene.config()).unwrap();
    fs::write(scene.config(), text.replace("\"one\"", "\"two\"")).unwrap();
    let error = refused(&scene, &scene.pair());
    assert_eq!(
        (error.stage, error.reason.as_str()),
        (Stage::Prepare, "the file has no target one")
    );
    fs::write(scene.config(), text.replace("dir = ", "dir == ")).unwrap();
    let error = refused(&scene, &scene.pair());
    assert!(error.reason.starts_with("the configuration cannot be used: "), "{error}");
    fs::remove_file(scene.config()).unwrap();
    let error = refused(&scene, &scene.pair());
    assert!(error.reason.ends_with("there is no such file"), "{error}");
}

#[test]
fn a_place_that_others_can_bend_is_not_written_in() {
    let scene = Scene::new();
    scene.target("kind = \"files\"\nprobe = \"none\"\nkey = \"OUT/in/key.pem\"\nchain = \"OUT/in/chain.pem\"");
    let set_mode = |mode| {
        fs::set_permissions(scene.path("out"), fs::Permissions::from_mode(mode)).unwrap();
    };
    set_mode(0o777);
    let error = refused(&scene, &scene.pair());
    assert!(error.reason.contains("everybody can write in"), "{error}");
    // Somebody who may write there puts a link in the place of the directory.
    fs::create_dir(scene.path("aim")).unwrap();
    std::os::unix::fs::symlink(scene.path("aim"), scene.path("out/in")).unwrap();
    set_mode(0o1777);
    let error = refused(&scene, &scene.pair());
    assert!(error.reason.contains("symbolic link in a directory that others can write"), "{error}");
    assert_eq!(fs::read_dir(scene.path("aim")).unwrap().count(), 0);
    // Where none but its owner writes, a link is a way like another.
    set_mode(0o755);
    scene.bring(&scene.pair());
    let count = fs::read_dir(scene.path("aim")).unwrap().count();
    assert_eq!(count, 3, "key, chain, and the directory of the record");
}

#[test]
fn what_is_in_the_way_is_named_and_left() {
    let scene = Scene::new();
    scene.target(FILES);
    fs::create_dir(scene.path("out/current")).unwrap();
    fs::write(scene.path("out/current/theirs"), "x").unwrap();
    let error = refused(&scene, &scene.pair());
    assert!(error.reason.ends_with("out/current is no link: move it away"), "{error}");
    scene.target("kind = \"files\"\nprobe = \"none\"\ncombined = \"OUT/current\"");
    let error = refused(&scene, &scene.pair());
    assert!(error.reason.contains("neither a file nor a link: move it away"), "{error}");
    scene.target("kind = \"files\"\nprobe = \"none\"\ndir = \"OUT\"\nowner = \"no-such-user\"");
    let error = refused(&scene, &scene.pair());
    assert_eq!(error.reason, "there is no user no-such-user");
    // The state of main is out of reach, whatever the file says.
    let state = scene.path("state/pairs");
    fs::create_dir(&state).unwrap();
    let text = format!("kind = \"files\"\nprobe = \"none\"\ndir = \"{}\"", state.display());
    scene.target(&text);
    let error = refused(&scene, &scene.pair());
    assert!(error.reason.contains("Permission denied"), "{error}");
}

#[test]
fn two_hands_are_not_at_work_in_one_place() {
    let scene = Scene::new();
    scene.target(&format!("{FILES}\ndeadline = \"2s\""));
    let hand = scene.hand();
    let (one, two) = (scene.pair(), scene.pair());
    let placed = scene::carry(&hand, &one).unwrap();
    let error = scene::carry_named(&hand, &two, &two.name, Duration::from_secs(2)).unwrap_err();
    assert!(error.reason.starts_with("another hand is still at work in "), "{error}");
    assert!(error.as_it_was);
    placed.keep().unwrap();
    assert_eq!(scene.text("current/fullchain.pem"), one.chain_pem());
}

#[test]
fn a_hand_that_is_not_there_or_dies_is_told_of() {
    let scene = Scene::new();
    scene.target(FILES);
    let nowhere = scene.path("nowhere");
    let hand = keyward::deploy::hand::Hand::start_from(
        std::path::Path::new("/bin/true"),
        &scene.config(),
        &nowhere,
    );
    let error = scene::carry(&hand.unwrap(), &scene.pair()).unwrap_err();
    assert_eq!(error.stage, Stage::Start);
    assert!(error.as_it_was);
}
