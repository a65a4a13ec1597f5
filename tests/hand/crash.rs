//! A hand that is killed at any moment leaves what the next one finishes or undoes.

use std::fs;
use std::path::Path;

use keyward::base::crash::HAND_BACK_POINTS;
use keyward::base::crash::HAND_POINTS;
use keyward::deploy::hand::Hand;
use keyward::deploy::hand::HandError;

use crate::daemon::BINARY;
use crate::scene;
use crate::scene::Made;
use crate::scene::Scene;

const FIXED: &str =
    "kind = \"files\"\nprobe = \"none\"\nchain = \"OUT/chain.pem\"\nkey = \"OUT/key.pem\"";
const BOTH: &str = "kind = \"files\"\nprobe = \"none\"\ndir = \"OUT\"\nchain = \"OUT/chain.pem\"\n\
                    key = \"privkey.pem\"\ncombined = \"OUT/both.pem\"";

/// A way to hands that are killed at this point.
fn killed_at(scene: &Scene, point: &str) -> Hand {
    // The environment of this process belongs to all tests.
    let program = scene.path(&format!("etc/{point}"));
    let text = format!("#!/bin/sh\nKEYWARD_CRASH_AT={point} exec {BINARY} \"$@\"\n");
    fs::write(&program, text).unwrap();
    fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    Hand::start_from(&program, &scene.config(), Path::new("/nonexistent/socket")).unwrap()
}

/// Everything that is in use, with its text; `None` for what is absent.
fn shown(scene: &Scene, files: &[&str]) -> Vec<Option<String>> {
    let read = |file: &&str| fs::read_to_string(scene.path("out").join(file)).ok();
    files.iter().map(read).collect()
}

/// A target with files of a pair, and the texts that it has with each.
struct Target {
    text: &'static str,
    files: &'static [&'static str],
    of: fn(&Made) -> Vec<Option<String>>,
}

const TARGETS: [Target; 2] = [
    Target {
        text: FIXED,
        files: &["chain.pem", "key.pem"],
        of: |made| vec![Some(made.chain_pem()), Some(pkcs8(made))],
    },
    Target {
        text: BOTH,
        files: &["chain.pem", "current/privkey.pem", "both.pem"],
        of: |made| {
            let both = pkcs8(made) + &made.chain_pem();
            vec![Some(made.chain_pem()), Some(pkcs8(made)), Some(both)]
        },
    },
];

fn pkcs8(made: &Made) -> String {
    made.key.clone()
}

/// Whether the hand was killed at the point; where it was, whatever it said before.
fn outcome(scene: &Scene, point: &str, made: &Made) -> Result<(), HandError> {
    let placed = scene::carry(&killed_at(scene, point), made)?;
    placed.keep()
}

#[test]
fn after_a_kill_anywhere_the_next_pair_comes_whole_and_what_was_there_comes_back() {
    for Target { text, files, of } in TARGETS {
        for point in HAND_POINTS {
            let scene = Scene::new();
            scene.target(text);
            let (first, second, third) = (scene.pair(), scene.pair(), scene.pair());
            scene.bring(&first);
            assert_eq!(shown(&scene, files), of(&first), "{point}");
            let error = outcome(&scene, point, &second).unwrap_err();
            assert!(!error.reason.is_empty(), "{point}: the hand was not killed");
            // A change that nobody judged is undone, one that was judged is not.
            let kept = if *point == "hand-forgotten" { &second } else { &first };
            let placed = scene.carry(&third).unwrap();
            assert_eq!(shown(&scene, files), of(&third), "{point}");
            placed.put_back().unwrap();
            assert_eq!(shown(&scene, files), of(kept), "{point}");
            scene.bring(&third);
            assert_eq!(shown(&scene, files), of(&third), "{point}");
            // Nothing is left of all this but the pair before.
            let left = scene.listing();
            let odd = |name: &&String| name.contains("keyward-new") || name.contains("errand");
            assert_eq!(left.iter().find(odd), None, "{point}: {left:?}");
            assert!(left.len() <= files.len() + 3, "{point}: {left:?}");
        }
    }
}

#[test]
fn a_half_changed_target_is_put_right_even_by_a_hand_that_brings_nothing() {
    for Target { text, files, of } in TARGETS {
        let scene = Scene::new();
        scene.target(text);
        let (first, second) = (scene.pair(), scene.pair());
        scene.bring(&first);
        outcome(&scene, "hand-swapped-one", &second).unwrap_err();
        let half = shown(&scene, files);
        assert!(half != of(&first) && half != of(&second), "it is half changed");
        let mixed = Made { key: first.key.clone(), ..scene.pair() };
        scene.carry(&mixed).unwrap_err();
        assert_eq!(shown(&scene, files), of(&first));
    }
}

#[test]
fn a_kill_while_it_is_put_back_is_gone_on_with() {
    for Target { text, files, of } in TARGETS {
        for point in HAND_BACK_POINTS {
            let scene = Scene::new();
            scene.target(text);
            let (first, second) = (scene.pair(), scene.pair());
            scene.bring(&first);
            let placed = scene::carry(&killed_at(&scene, point), &second).unwrap();
            placed.put_back().unwrap_err();
            let third = scene.pair();
            scene.carry(&third).unwrap().put_back().unwrap();
            assert_eq!(shown(&scene, files), of(&first), "{point}");
        }
    }
}
