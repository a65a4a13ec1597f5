//! Where the running vault keeps an opened key: in pages that even a superuser's look into its
//! memory does not show, and nowhere once it was dropped.
//!
//! The second is proven on a vault that was refused `memfd_secret`, so that its keys can be found
//! while they are open; the refusal is a filter that the vault inherits from this test.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends at its first surprise")]

#[path = "kit/scan.rs"]
mod scan;
mod vault_common;

use std::collections::BTreeMap;

use keyward::base::Secret;
use keyward::cert::key::KeyAlgorithm;
use keyward::cert::key::KeyHandle;
use keyward::cert::key::KeyUsage;
use keyward::os::sandbox::Standing;
use keyward::vault::Vault;
use keyward::vault::VaultOptions;
use keyward::vault::purpose::Purpose;
use keyward::vault::scheme::Scheme;
use keyward::vault::seal::Sealer;
use scan::Found;
use scan::Needles;
use seccompiler::SeccompAction;
use seccompiler::SeccompFilter;
use vault_common::House;

/// Starts a vault from a thread that has been refused `memfd_secret`; the filter is inherited.
fn without_hidden_pages(options: VaultOptions) -> Vault {
    let refused = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
    let rules = BTreeMap::from([(libc::SYS_memfd_secret, Vec::new())]);
    let architecture = std::env::consts::ARCH.try_into().unwrap();
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refused, architecture).unwrap();
    let program: seccompiler::BpfProgram = filter.try_into().unwrap();
    let launch = move || {
        seccompiler::apply_filter(&program).unwrap();
        Vault::launch(options).unwrap()
    };
    std::thread::spawn(launch).join().unwrap().supervise().unwrap()
}

fn wall(vault: &Vault) -> (Standing, String) {
    let walls = vault.status().walls;
    let report = walls.into_iter().find(|report| report.wall.name() == "secret memory").unwrap();
    (report.standing, report.detail)
}

fn key(vault: &Vault) -> KeyHandle {
    vault.generate_blocking(KeyAlgorithm::P256, KeyUsage::Tls).unwrap()
}

/// Looks for the private number and the document of `key` in the vault's memory. An unprivileged
/// test is refused, which is a wall of its own.
fn look(vault: &Vault, key: &KeyHandle) -> Option<Found> {
    let sealer = Sealer::new(Secret::new([0x42; 32])).unwrap();
    let (_, pkcs8) = sealer.open(&key.sealed.0).unwrap();
    let number = scan::p256_scalar(&pkcs8);
    // The document as far as it is the same whoever writes it.
    let start = pkcs8.windows(32).position(|window| window == number.as_slice()).unwrap();
    let document = pkcs8.get(start - 7..start + 32).unwrap().to_vec();
    let pid = vault.status().pid;
    let forms = scan::p256_forms(&number).into_iter().chain([document]);
    let found = Needles::new(forms).look_in(pid);
    if !nix::unistd::geteuid().is_root() {
        assert_eq!(found.unwrap_err().kind(), std::io::ErrorKind::PermissionDenied);
        return None;
    }
    Some(found.unwrap())
}

fn sign(vault: &Vault, key: &KeyHandle) {
    let message = vault_common::certificate_verify(32);
    for _ in 0..10 {
        vault.sign(key, Purpose::Tls13, Scheme::EcdsaP256Sha256, &message).unwrap();
    }
}

/// Asks enough else that nothing lies about only because nothing came after it.
fn stir(vault: &Vault, house: &House) {
    let other = key(vault);
    sign(vault, &other);
    vault.forget(other.id).unwrap();
    assert!(house.key.exists());
}

#[test]
fn an_open_key_is_nowhere_in_the_memory_that_a_superuser_can_read() {
    let house = House::new();
    let vault = house.vault(0);
    let (standing, detail) = wall(&vault);
    if standing == Standing::Partial && detail.contains("no memfd_secret") {
        // What such a kernel offers instead is the other test's affair.
        return;
    }
    assert_eq!((standing, detail.as_str()), (Standing::Full, ""));
    let key = key(&vault);
    sign(&vault, &key);
    stir(&vault, &house);
    let Some(found) = look(&vault, &key) else { return };
    assert_eq!(found.counts, [0; 4], "{found:?}");
    assert!(found.looked_at > 1 << 20 && found.unreadable > 1 << 18, "{found:?}");
}

#[test]
fn a_key_that_is_dropped_is_wiped_from_the_vaults_memory() {
    let house = House::new();
    let vault = without_hidden_pages(house.options(0));
    let (standing, detail) = wall(&vault);
    assert_eq!(standing, Standing::Partial);
    assert!(detail.contains("no memfd_secret"), "{detail}");
    let forgotten = key(&vault);
    sign(&vault, &forgotten);
    // While it is open it is there, once: the look can find it.
    let Some(found) = look(&vault, &forgotten) else { return };
    assert_eq!(found.counts, [0, 0, 1, 0], "{found:?}");
    vault.forget(forgotten.id).unwrap();
    stir(&vault, &house);
    let found = look(&vault, &forgotten).unwrap();
    assert_eq!(found.counts, [0; 4], "{found:?}");
    // Opened again from its sealed form, and pushed out by others.
    sign(&vault, &forgotten);
    assert_eq!(look(&vault, &forgotten).unwrap().counts, [0, 0, 1, 0]);
    let open = vault.ping().unwrap().open;
    let mut made = 0;
    while look(&vault, &forgotten).unwrap().total() > 0 {
        assert!(made < 10_000, "never evicted");
        for _ in 0..250 {
            sign_once(&vault, &key(&vault));
        }
        made += 250;
    }
    let after = vault.ping().unwrap().open;
    assert!(after > open && after < open + made, "nothing was evicted: {after} of {made}");
    // Gone from memory, not from use.
    sign(&vault, &forgotten);
}

fn sign_once(vault: &Vault, key: &KeyHandle) {
    let message = vault_common::certificate_verify(32);
    vault.sign(key, Purpose::Tls13, Scheme::EcdsaP256Sha256, &message).unwrap();
}
