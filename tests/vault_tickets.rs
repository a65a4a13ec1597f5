//! What the vault does about session tickets, and what it does not do for anybody.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends at its first surprise")]

mod vault_common;

use keyward::cert::ports::Signers;
use keyward::cert::ports::TicketSeal;
use keyward::vault::Turned;
use keyward::vault::Vault;
use keyward::vault::VaultError;
use keyward::vault::wire_tickets::Step;
use vault_common::House;

fn turn(vault: &Vault, strict: bool, step: Step, now: u64, state: &[u8]) -> Turned {
    vault.turn_tickets(strict, step, now, state).unwrap()
}

/// Names of the keys, and whether their octets came along.
fn keys(turned: &Turned) -> Vec<([u8; 16], bool)> {
    turned.keys.iter().map(|raw| (raw.name, raw.key.is_some())).collect()
}

#[test]
fn a_state_goes_on_in_the_next_vault_and_under_its_master_key_only() {
    let house = House::new();
    let first = turn(&house.vault(0), false, Step::Look, 1000, b"");
    assert_eq!((first.epoch, first.since, &first.anew), (1, 1000, &None));
    let next = house.vault(0);
    let found = turn(&next, false, Step::Look, 5000, &first.state);
    assert_eq!((found.since, keys(&found), &found.anew), (1000, keys(&first), &None));
    let second = turn(&next, false, Step::Next, 5000, &found.state);
    assert_eq!((second.epoch, second.since), (2, 5000));
    assert_eq!(keys(&second).get(1), keys(&first).first());
    // Nothing of this was in force by being asked for.
    assert_eq!(next.seal(&[1; 32], b"session"), None);
    let stranger = House::with_key(&[0x43; 32]).vault(0);
    let begun = turn(&stranger, false, Step::Look, 6000, &second.state);
    assert!(begun.anew.unwrap().contains("master key"));
    assert_eq!((begun.epoch, begun.since), (1, 6000));
}

#[test]
fn keys_that_stay_in_the_vault_are_shown_to_nobody() {
    let vault = House::new().vault(0);
    let strict = turn(&vault, true, Step::Look, 1000, b"");
    let later = turn(&vault, true, Step::Next, 2000, &strict.state);
    assert!(keys(&later).iter().all(|(_, shown)| !shown) && later.keys.len() == 2);
    // Asked as if they might be shown, the vault begins anew.
    for step in [Step::Look, Step::Restamp, Step::Next] {
        let other = turn(&vault, false, step, 3000, &later.state);
        assert!(other.anew.is_some() && other.epoch == 3);
        assert!(keys(&other).iter().all(|(name, _)| keys(&later).iter().all(|(n, _)| n != name)));
    }
    // Nor does another request open the state.
    let label = "keyward vault: session tickets";
    assert!(matches!(vault.take_over(label, &later.state), Err(VaultError::Crypto(_))));
    let other = vault.take_over("another label", &later.state);
    assert!(matches!(other, Err(VaultError::Seal(_))));
    // And what may be shown is not used as if it were kept.
    let fast = turn(&vault, false, Step::Look, 1000, b"");
    assert!(matches!(vault.adopt_tickets(&fast.state), Err(VaultError::Seal(_))));
    assert!(matches!(vault.adopt_tickets(b"nonsense"), Err(VaultError::Seal(_))));
    assert_eq!(vault.seal(&[1; 32], b"session"), None);
}

#[test]
fn workers_have_tickets_sealed_and_opened_with_the_keys_in_use() {
    let house = House::new();
    let vault = house.vault(1);
    vault.bind_worker(0, None);
    let first = turn(&vault, true, Step::Look, 1000, b"");
    vault.adopt_tickets(&first.state).unwrap();
    let ticket = vault.seal(&[1; 32], b"session").unwrap();
    let name = keys(&first).first().unwrap().0;
    assert!(ticket.starts_with(&name));
    assert_eq!(vault.open(&[1; 32], &ticket).as_deref(), Some(&b"session"[..]));
    assert_eq!(vault.open(&[2; 32], &ticket), None);
    let elsewhere = vault.clone();
    let given = ticket.clone();
    let found = std::thread::spawn(move || elsewhere.open(&[1; 32], &given));
    assert_eq!(found.join().unwrap().as_deref(), Some(&b"session"[..]));
    // Accepted in the next epoch, and gone after it.
    let second = turn(&vault, true, Step::Next, 2000, &first.state);
    vault.adopt_tickets(&second.state).unwrap();
    assert!(vault.open(&[1; 32], &ticket).is_some());
    let third = turn(&vault, true, Step::Next, 3000, &second.state);
    vault.adopt_tickets(&third.state).unwrap();
    assert_eq!(vault.open(&[1; 32], &ticket), None);
    // What is too long for a ticket, and what is none, cost no more than the answer.
    assert_eq!(vault.seal(&[1; 32], &[0; 2000]), None);
    assert_eq!(vault.open(&[1; 32], &[7; 3000]), None);
    assert!(vault.seal(&[1; 32], b"session").is_some());
    assert_eq!(vault.status().restarts, 0);
}
