//! What was there before a pair came that did not stay is there again, whoever put it there.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::fs::PermissionsExt as _;

use crate::scene::Scene;

const FIXED: &str = "kind = \"files\"\nprobe = \"none\"\nchain = \"OUT/chain.pem\"\nkey = \"OUT/key.pem\"\n\
                     combined = \"OUT/both.pem\"";

#[test]
fn files_that_were_not_ours_come_back_with_owner_and_mode_and_what_was_not_there_goes() {
    let scene = Scene::new();
    scene.target(FIXED);
    let key = scene.path("out/key.pem");
    fs::write(&key, "their key").unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o440)).unwrap();
    if nix::unistd::geteuid().is_root() {
        std::os::unix::fs::chown(&key, Some(65534), Some(65533)).unwrap();
    }
    let known = fs::metadata(&key).unwrap();
    fs::write(scene.path("elsewhere"), "their chain").unwrap();
    std::os::unix::fs::symlink("../elsewhere", scene.path("out/chain.pem")).unwrap();
    let before = scene.listing();

    let made = scene.pair();
    let placed = scene.carry(&made).unwrap();
    assert_eq!(scene.text("chain.pem"), made.chain_pem());
    assert_eq!(fs::read_to_string(scene.path("elsewhere")).unwrap(), "their chain");
    placed.put_back().unwrap();
    assert_eq!(scene.listing(), before);
    assert_eq!(scene.text("key.pem"), "their key");
    assert_eq!(scene.text("chain.pem"), "their chain");
    let now = fs::metadata(&key).unwrap();
    let like = |known: &fs::Metadata| (known.uid(), known.gid(), known.mode());
    assert_eq!(like(&now), like(&known));

    // One that stays is what the next one comes back to.
    scene.bring(&made);
    scene.carry(&scene.pair()).unwrap().put_back().unwrap();
    assert_eq!(scene.text("chain.pem"), made.chain_pem());
    assert_eq!(scene.text("both.pem"), scene.text("key.pem") + &made.chain_pem());
}

#[test]
fn a_link_leads_where_it_led() {
    let scene = Scene::new();
    scene.target("kind = \"files\"\ndir = \"OUT\"\nprobe = \"none\"");
    scene.carry(&scene.pair()).unwrap().put_back().unwrap();
    assert_eq!(scene.listing(), Vec::<String>::new());
    fs::create_dir(scene.path("out/theirs")).unwrap();
    std::os::unix::fs::symlink("theirs", scene.path("out/current")).unwrap();
    scene.carry(&scene.pair()).unwrap().put_back().unwrap();
    assert_eq!(scene.listing(), ["current -> theirs"]);
    let made = scene.pair();
    scene.bring(&made);
    scene.carry(&scene.pair()).unwrap().put_back().unwrap();
    assert_eq!(scene.text("current/fullchain.pem"), made.chain_pem());
}

#[test]
fn a_pair_that_nobody_judged_stays_and_is_not_what_the_next_one_comes_back_to() {
    let scene = Scene::new();
    scene.target(FIXED);
    fs::write(scene.path("out/key.pem"), "their key").unwrap();
    let before = scene.listing();
    let hand = scene.hand();
    let (one, two) = (scene.pair(), scene.pair());
    let placed = crate::scene::carry(&hand, &one).unwrap();
    // As if main had been killed.
    drop(placed);
    let placed = crate::scene::carry(&hand, &two).unwrap();
    assert_eq!(scene.text("chain.pem"), two.chain_pem());
    drop(placed);
    assert_eq!(scene.text("chain.pem"), two.chain_pem());
    crate::scene::carry(&hand, &one).unwrap().put_back().unwrap();
    assert_eq!(scene.listing(), before);
    assert_eq!(scene.text("key.pem"), "their key");
}
