//! No private key is in the memory of the process that asks for signatures.
//!
//! The asking runs in a child, this program started again; the test knows the master key, opens
//! the child's sealed key for itself, and looks for the private number in the child's memory.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test ends at its first surprise"
)]

#[path = "kit/scan.rs"]
mod scan;
mod vault_common;

use std::io::BufRead;
use std::io::BufReader;
use std::process::Command;
use std::process::Stdio;

use keyward::base::Secret;
use keyward::cert::key::KeyAlgorithm;
use keyward::cert::key::KeyUsage;
use keyward::vault::purpose::Purpose;
use keyward::vault::scheme::Scheme;
use keyward::vault::seal::Sealer;
use scan::Needles;
use vault_common::House;

/// Does nothing unless this program was started as the process that asks.
#[test]
fn asker() {
    if std::env::var_os("KEYWARD_ASKER").is_none() {
        return;
    }
    let house = House::new();
    let vault = house.vault(1);
    let key = vault.generate_blocking(KeyAlgorithm::P256, KeyUsage::Tls).unwrap();
    vault.forget(key.id).unwrap();
    let message = vault_common::certificate_verify(32);
    for _ in 0..10 {
        vault.sign(&key, Purpose::Tls13, Scheme::EcdsaP256Sha256, &message).unwrap();
    }
    let sealed: Vec<_> = key.sealed.0.iter().map(ToString::to_string).collect();
    println!("\nsealed {}", sealed.join(" "));
    // Until the test has looked.
    std::io::stdin().read_line(&mut String::new()).unwrap();
    drop(key);
}

#[test]
fn the_asking_process_holds_the_sealed_key_and_not_the_private_one() {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "asker", "--nocapture"])
        .env("KEYWARD_ASKER", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let line = lines.find(|line| line.starts_with("sealed ")).unwrap();
    let sealed: Vec<u8> = line.split(' ').skip(1).map(|octet| octet.parse().unwrap()).collect();
    let sealer = Sealer::new(Secret::new([0x42; 32])).unwrap();
    let (_, pkcs8) = sealer.open(&sealed).unwrap();
    let forms = scan::p256_forms(&scan::p256_scalar(&pkcs8));
    let found = Needles::new([sealed].into_iter().chain(forms)).look_in(child.id()).unwrap();
    drop(child.stdin.take());
    lines.for_each(drop);
    assert!(child.wait().unwrap().success());
    assert!(found.counts[0] > 0, "the search does not even find what must be there");
    assert_eq!(found.counts[1..], [0; 3]);
}
