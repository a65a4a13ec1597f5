//! A restore that is cut off, that has no room, or whose backup holds what does not open.

use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use keyward::base::crash::RESTORE_POINTS;
use keyward::cert::ports::Book as _;
use keyward::cert::ports::Shelf;
use keyward::issuer::custody;
use keyward::store::Store;

use crate::backup::House;
use crate::backup::NAMES;
use crate::backup::identity;
use crate::backup::packed;
use crate::backup::unpacked;
use crate::daemon::BINARY;
use crate::daemon::Keyward;
use crate::daemon::Said;
use crate::daemon::run;
use crate::daemon::was_killed;
use crate::scene::Scene;
use crate::scene::runtime;

const SOON: Duration = Duration::from_secs(30);

/// Every file below the state directory, and the configuration.
fn files(keyward: &Keyward) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = vec![keyward.config()];
    found.retain(|path| path.exists());
    let mut places = vec![keyward.state()];
    while let Some(place) = places.pop() {
        for entry in fs::read_dir(place).into_iter().flatten().flatten() {
            let path = entry.path();
            // The lock is no state.
            if path.is_dir() {
                places.push(path);
            } else if !path.ends_with("keyward.lock") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn backup(keyward: &Keyward, tar: &Path, recipient: &str) {
    let config = keyward.config();
    let arguments = ["backup", "--output", tar.to_str().unwrap(), "--recipient", recipient];
    keyward.cli(&[&arguments[..], &["--config", config.to_str().unwrap()]].concat()).ok();
}

fn restore(keyward: &Keyward, tar: &Path, key: &Path) -> Command {
    let mut command = Command::new(BINARY);
    command.arg("restore").arg(tar).arg("--identity").arg(key);
    command.arg("--config").arg(keyward.config());
    command
}

/// A house that is gone, of which a backup and the identity for it are left.
fn lost() -> (House, PathBuf, PathBuf, [String; 2]) {
    let mut house = House::start();
    let (key, tar) = (house.path("age.key"), house.path("backup.tar"));
    let before = house.serials();
    backup(&house.keyward, &tar, &identity(&key));
    house.wipe();
    fs::remove_file(house.keyward.config()).unwrap();
    (house, tar, key, before)
}

#[test]
fn a_kill_at_any_step_leaves_nothing_or_everything_and_the_next_start_knows_which() {
    let (mut house, tar, key, before) = lost();
    for point in RESTORE_POINTS {
        let mut command = restore(&house.keyward, &tar, &key);
        let said = run(command.env("KEYWARD_CRASH_AT", point));
        assert!(was_killed(said.status), "{point}: {said:?}");
        let database = house.keyward.state().join("store/keyward.redb");
        assert_eq!(database.exists(), *point == "restore-placed", "{point}");
        if !database.exists() {
            // Where the configuration came back already, a start neither makes a master key nor
            // an empty database in the place of the one that is on its way.
            let there = files(&house.keyward);
            if house.keyward.config().exists() {
                house.keyward.spawn();
                assert_eq!(house.keyward.wait_end(SOON).code(), Some(69), "{point}");
                let log = house.keyward.log();
                assert!(log.contains("was cut off") && log.contains("restore again"), "{log}");
            }
            assert_eq!(files(&house.keyward), there, "{point}: a start changes nothing");
            let said = run(&mut restore(&house.keyward, &tar, &key)).ok();
            assert!(said.contains("every key opens: 2 of certificates, 2 of the"), "{said}");
        }
        house.keyward.start();
        assert_eq!(house.serials(), before, "{point}");
        let root = house.path("root.pem");
        fs::write(&root, house.keyward.cli(&["trust", "--print"]).ok()).unwrap();
        assert_eq!(house.keyward.curl(&root, NAMES[0], "/", &[]).ok(), "ok", "{point}");
        let left = files(&house.keyward);
        assert!(!left.iter().any(|path| path.to_string_lossy().contains(".restored")), "{left:?}");
        house.wipe();
        fs::remove_file(house.keyward.config()).unwrap();
    }
}

#[test]
fn whoever_gives_up_a_restore_that_was_cut_off_may_begin_anew() {
    let (mut house, tar, key, before) = lost();
    let said =
        run(restore(&house.keyward, &tar, &key).env("KEYWARD_CRASH_AT", "restore-configured"));
    assert!(was_killed(said.status), "{said:?}");
    fs::remove_file(house.keyward.state().join("store/.keyward.redb.restored")).unwrap();
    house.keyward.start();
    assert_ne!(house.serials(), before);
}

#[test]
fn a_restore_without_room_takes_away_what_it_put_down() {
    let (mut house, tar, key, before) = lost();
    let refused = |said: Said| {
        assert!(!said.status.success(), "{said:?}");
        assert_eq!(files(&house.keyward), Vec::<PathBuf>::new(), "{said:?}");
        said.err
    };
    let size = fs::metadata(&tar).unwrap().len();
    for limit in [0, 1, 512, 4096, size / 4, size / 2] {
        let program = restore(&house.keyward, &tar, &key);
        let mut limited = Command::new("prlimit");
        limited.arg(format!("--fsize={limit}")).arg(BINARY).args(program.get_args());
        let told = refused(run(&mut limited));
        assert!(told.contains("more room on the disk"), "{limit}: {told}");
    }
    // The last thing that is put down finds no place: what was put down before it goes again.
    let obstacle = house.keyward.state().join("vault/.master.key.new");
    fs::create_dir_all(&obstacle).unwrap();
    let told = refused(run(&mut restore(&house.keyward, &tar, &key)));
    assert!(told.contains("nothing was restored"), "{told}");
    fs::remove_dir(obstacle).unwrap();
    run(&mut restore(&house.keyward, &tar, &key)).ok();
    house.keyward.start();
    assert_eq!(house.serials(), before);
}

/// Changes one octet of everything sealed on a shelf of the database below `dir`.
fn damage(dir: &Path, shelf: Shelf) -> usize {
    let store = Store::open(dir).unwrap();
    let runtime = runtime();
    let stored = runtime.block_on(store.shelf(shelf)).unwrap();
    let mut count = 0;
    for (name, bytes) in stored {
        let mut flip = |record: &[u8]| {
            count += 1;
            let mut record = record.to_vec();
            *record.last_mut().unwrap() ^= 1;
            Ok(Some(record))
        };
        let changed = custody::reseal(shelf, &bytes, &mut flip).unwrap().unwrap();
        runtime.block_on(store.put(shelf, &name, changed)).unwrap();
    }
    count
}

#[test]
fn a_backup_with_an_account_or_an_internal_ca_that_does_not_open_is_not_taken() {
    let mut scene = Scene::issued("back.example");
    let dir = scene.keyward.dir.path().to_owned();
    let (key, tar, out) = (dir.join("age.key"), dir.join("backup.tar"), dir.join("out"));
    backup(&scene.keyward, &tar, &identity(&key));
    let serial = scene.keyward.served_serial("back.example");
    scene.keyward.terminate();
    fs::remove_dir_all(scene.keyward.state()).unwrap();

    for (shelf, told) in [
        (Shelf::InternalCa, "the internal CA: record of epoch 1 is damaged"),
        (Shelf::Accounts, "the account at https://"),
    ] {
        let out = out.join(format!("{shelf:?}"));
        unpacked(&tar, &out);
        let house = out.join("house");
        fs::create_dir(&house).unwrap();
        fs::rename(out.join("keyward.redb"), house.join("keyward.redb")).unwrap();
        assert_ne!(damage(&house, shelf), 0, "{shelf:?}");
        fs::rename(house.join("keyward.redb"), out.join("keyward.redb")).unwrap();
        let damaged = out.join("damaged.tar");
        packed(&out, &damaged);
        let said = run(&mut restore(&scene.keyward, &damaged, &key));
        assert!(!said.status.success() && said.err.contains(told), "{shelf:?}: {said:?}");
        assert!(said.err.contains("is damaged"), "{shelf:?}: {said:?}");
        assert_eq!(files(&scene.keyward), [scene.keyward.config()], "{shelf:?}");
    }

    let said = run(restore(&scene.keyward, &tar, &key).arg("--json")).json();
    assert_eq!(said["accounts"], 1, "{said:#}");
    assert_eq!(said["authority_keys"], 2, "{said:#}");
    assert_eq!(said["opened"], true, "{said:#}");
    scene.keyward.start();
    assert_eq!(scene.keyward.served_serial("back.example"), serial);
    // The account is the same, and its key signs.
    scene.renew();
    assert_eq!(scene.pebble.accounts(), 1);
}
