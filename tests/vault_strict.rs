//! A vault is taken only as long as all of its walls stand, where that was asked for.
//!
//! Which walls a machine has cannot be chosen, and some not even by its superuser. So the vault is
//! a double here: this program started again as keeper and vault, which says of its walls what a
//! file says. Main's half is the real one. `tests/appliance/walls.rs` has the real vault.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends at its first surprise")]

mod vault_common;

use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use keyward::os::descriptors;
use keyward::os::sandbox::Standing;
use keyward::vault::Vault;
use keyward::vault::VaultError;
use keyward::vault::VaultEvent;
use keyward::vault::VaultOptions;
use keyward::vault::seal::Mark;
use keyward::vault::walls::WALLS;
use keyward::vault::wire::Reply;
use keyward::vault::wire::Request;
use vault_common::House;
use vault_common::wait_until;

/// Does nothing unless this program was started as the double: it serves until main is gone.
#[test]
fn double() {
    let Some(file) = std::env::var_os("KEYWARD_DOUBLE") else { return };
    let main = descriptors::take_stdin().unwrap();
    loop {
        let (ours, theirs) = descriptors::seqpacket_pair().unwrap();
        let mut started = vec![1_u8];
        started.extend(std::process::id().to_le_bytes());
        if descriptors::send_with(main.as_fd(), &started, &[ours.as_fd()]).is_err() {
            return;
        }
        drop(ours);
        let mut frame = vec![0; 16 * 1024];
        // Its descriptors are dropped at once: this vault signs nothing.
        while let Ok(received) = descriptors::receive_with(theirs.as_fd(), &mut frame)
            && received.len > 0
        {
            let (id, request) = Request::decode(frame.get(..received.len).unwrap()).unwrap();
            let said = std::fs::read_to_string(&file).unwrap();
            let walls = said.trim().bytes().zip(0_u8..).map(|(standing, at)| {
                let text: &[u8] = if standing == b'0' { b"" } else { b"cut" };
                (at, standing - b'0', text)
            });
            let reply = match request {
                Request::Hello { .. } => Reply::Welcome {
                    pid: std::process::id(),
                    created: false,
                    walls: walls.collect(),
                    gates: false,
                    masters: vec![Mark { epoch: 1, check: [1; 8] }],
                },
                Request::Ping => Reply::Figures(<_>::default()),
                other => panic!("{other:?}"),
            };
            let mut out = Vec::new();
            reply.encode(id, &mut out).unwrap();
            if descriptors::send(theirs.as_fd(), &out).is_err() || said.ends_with('\n') {
                // A line end stands for a vault that ends after its first answer.
                break;
            }
        }
        let ended = [2, 0, 0, 0, 0];
        if descriptors::send(main.as_fd(), &ended).is_err() {
            return;
        }
        vault_common::pause(Duration::from_millis(20));
    }
}

/// Options for a vault that says of its walls what stands in `file`.
fn options(house: &House, file: &Path, strict: bool) -> VaultOptions {
    let script = house.dir.path().join("keyward");
    let text = format!(
        "#!/bin/sh\nKEYWARD_DOUBLE='{}' exec '{}' --exact double --nocapture\n",
        file.display(),
        std::env::current_exe().unwrap().display()
    );
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o700)).unwrap();
    VaultOptions { exe: script, strict, ..house.options(0) }
}

fn torn(error: VaultError) -> Vec<(&'static str, Standing)> {
    let VaultError::Torn(reports) = error else { panic!("{error}") };
    reports.into_iter().map(|report| (report.wall.name(), report.standing)).collect()
}

#[test]
fn each_wall_that_is_torn_or_not_spoken_of_is_a_reason_to_turn_a_vault_away() {
    let house = House::new();
    let file = house.dir.path().join("walls");
    let whole = "0".repeat(WALLS.len());
    for (index, wall) in WALLS.iter().enumerate() {
        for (standing, meant) in [("1", Standing::Partial), ("2", Standing::Absent)] {
            let mut said = whole.clone();
            said.replace_range(index..=index, standing);
            std::fs::write(&file, &said).unwrap();
            let error = Vault::launch(options(&house, &file, true)).unwrap_err();
            assert!(error.to_string().contains(wall.name()), "{error}");
            assert_eq!(torn(error), [(wall.name(), meant)]);
            // Nobody asked for it to be whole.
            drop(Vault::start(options(&house, &file, false)).unwrap());
        }
    }
    std::fs::write(&file, &whole[1..]).unwrap();
    let error = Vault::start(options(&house, &file, true)).unwrap_err();
    assert_eq!(torn(error), [("system calls", Standing::Absent)]);
}

#[test]
fn a_weaker_successor_is_turned_away_and_said_and_a_whole_one_taken_again() {
    let house = House::new();
    let file = house.dir.path().join("walls");
    let whole = "0".repeat(WALLS.len());
    std::fs::write(&file, &whole).unwrap();
    let vault = Vault::start(options(&house, &file, true)).unwrap();
    let mut events = vault.events().unwrap();
    assert_eq!(vault.status().restarts, 0);
    assert!(vault.ping().is_ok());

    // Ends after the next answer, and comes again with a wall less.
    std::fs::write(&file, format!("{}2\n", &whole[1..])).unwrap();
    assert!(vault.ping().is_ok());
    wait_until(Duration::from_secs(10), || vault.status().failing.is_some());
    let failing = vault.status().failing.unwrap();
    assert!(failing.contains("system calls (missing: cut)"), "{failing}");
    let Some(VaultEvent::Failing { reason }) = events.blocking_recv() else { panic!("not said") };
    assert!(reason.contains("system calls (missing: cut)"), "{reason}");
    assert_eq!(vault.status().restarts, 0, "it was taken");
    assert!(vault.ping().is_err(), "it is asked");

    std::fs::write(&file, &whole).unwrap();
    wait_until(Duration::from_secs(10), || vault.status().failing.is_none());
    assert!(vault.ping().is_ok());
    assert_eq!(vault.status().restarts, 1);
}
