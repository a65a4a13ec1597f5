//! Files of a target: where they lie, what is in them, whose they are, and what becomes of old ones.

use std::process::Command;

use crate::daemon::run;
use crate::scene::Scene;

#[test]
fn a_pair_has_a_directory_and_a_link_leads_to_the_present_one() {
    let scene = Scene::new();
    scene.target("kind = \"files\"\ndir = \"OUT/{name}\"\nprobe = \"none\"");
    let (one, two, three) = (scene.pair(), scene.pair(), scene.pair());
    scene.bring(&one);
    let first = [
        "mail.example.org/current -> v1",
        "mail.example.org/v1/fullchain.pem",
        "mail.example.org/v1/privkey.pem",
    ];
    assert_eq!(scene.listing(), first);
    let current = |file: &str| scene.text(&format!("mail.example.org/current/{file}"));
    assert_eq!(current("fullchain.pem"), one.chain_pem());
    let key = rcgen::KeyPair::from_pem(&current("privkey.pem")).unwrap();
    assert_eq!(key.serialize_pem(), one.key);
    assert_eq!(scene.mode("mail.example.org/v1/privkey.pem"), 0o600);
    assert_eq!(scene.mode("mail.example.org/v1/fullchain.pem"), 0o644);
    scene.bring(&two);
    scene.bring(&three);
    assert_eq!(current("fullchain.pem"), three.chain_pem());
    // The one before stays for whoever wants to look, and no other.
    let names = scene.listing();
    assert_eq!(names[0], "mail.example.org/current -> v3");
    assert!(names.iter().any(|name| name.contains("/v2/")), "{names:?}");
    assert!(!names.iter().any(|name| name.contains("/v1/")), "{names:?}");
    assert_eq!(names.len(), 5, "{names:?}");
}

#[test]
fn an_asterisk_is_no_part_of_a_path() {
    let scene = Scene::new();
    scene.target("kind = \"files\"\ndir = \"OUT/{name}\"\nprobe = \"none\"");
    scene.bring(&scene.pair_for("*.example.org"));
    assert_eq!(scene.listing()[0], "_.example.org/current -> v1");
}

#[test]
fn files_at_places_of_their_own_have_the_owner_and_the_mode_that_are_named() {
    use std::os::unix::fs::MetadataExt as _;
    let scene = Scene::new();
    scene.target(
        "kind = \"files\"\nprobe = \"none\"\nchain = \"OUT/a/chain.pem\"\nkey = \"OUT/b/key.pem\"\n\
         combined = \"OUT/both.pem\"\nowner = \"nobody\"\ngroup = \"65533\"\nmode = \"0640\"",
    );
    let made = scene.pair();
    scene.bring(&made);
    assert_eq!(scene.listing(), ["a/chain.pem", "b/key.pem", "both.pem"]);
    assert_eq!(scene.text("a/chain.pem"), made.chain_pem());
    let both = scene.text("both.pem");
    assert_eq!(both, scene.text("b/key.pem") + &made.chain_pem());
    assert_eq!([scene.mode("a/chain.pem"), scene.mode("b/key.pem")], [0o644, 0o640]);
    assert_eq!(scene.mode("both.pem"), 0o640);
    if nix::unistd::geteuid().is_root() {
        for file in ["a/chain.pem", "b/key.pem", "both.pem"] {
            let known = std::fs::metadata(scene.path("out").join(file)).unwrap();
            assert_eq!((known.uid(), known.gid()), (65534, 65533), "{file}");
        }
    }
}

#[test]
fn a_pkcs12_file_is_one_that_openssl_reads() {
    let scene = Scene::new();
    scene.target("kind = \"files\"\nprobe = \"none\"\ndir = \"OUT\"\npkcs12 = \"pair.p12\"");
    let made = scene.pair();
    scene.bring(&made);
    let file = scene.path("out/current/pair.p12");
    let openssl = |more: &[&str]| {
        let mut command = Command::new("openssl");
        command.args(["pkcs12", "-passin", "pass:", "-nodes", "-in"]).arg(&file).args(more);
        run(&mut command).ok()
    };
    let key = openssl(&["-nocerts"]);
    let begin = key.find("-----BEGIN").unwrap();
    let key = rcgen::KeyPair::from_pem(&key[begin..]).unwrap();
    assert_eq!(key.serialize_pem(), made.key);
    let chain = openssl(&["-nokeys"]);
    let chain = keyward::cert::chain::Chain::from_pem(chain.as_bytes()).unwrap();
    assert_eq!(chain, made.chain);
    assert_eq!(scene.mode("current/pair.p12"), 0o600);
}
