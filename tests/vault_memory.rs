//! No private key is in the memory of the process that asks for signatures.
//!
//! The asking runs in a child, this program started again; the test knows the master key, opens
//! the child's sealed key for itself, and looks for the private number in the child's memory.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends at its first surprise")]

mod vault_common;

use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;
use std::io::Seek;
use std::io::SeekFrom;
use std::process::Command;
use std::process::Stdio;

use keyward::base::Secret;
use keyward::cert::key::KeyAlgorithm;
use keyward::cert::key::KeyUsage;
use keyward::vault::purpose::Purpose;
use keyward::vault::scheme::Scheme;
use keyward::vault::seal::Sealer;
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
    let scalar = p256_scalar(&pkcs8);

    let found_sealed = occurrences(child.id(), &sealed);
    let found_scalar = occurrences(child.id(), &scalar);
    let reversed: Vec<u8> = scalar.iter().rev().copied().collect();
    let found_reversed = occurrences(child.id(), &reversed);
    drop(child.stdin.take());
    lines.for_each(drop);
    assert!(child.wait().unwrap().success());
    assert!(found_sealed > 0, "the search does not even find what must be there");
    assert_eq!((found_scalar, found_reversed), (0, 0));
}

/// The private number of a P-256 key: the first octet string of 32 in RFC 5915's structure,
/// which follows version 1.
fn p256_scalar(pkcs8: &[u8]) -> Vec<u8> {
    let start = pkcs8.windows(5).position(|window| window == [2, 1, 1, 4, 32]).unwrap() + 5;
    pkcs8.get(start..start + 32).unwrap().to_vec()
}

fn occurrences(pid: u32, needle: &[u8]) -> usize {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let mut memory = std::fs::File::open(format!("/proc/{pid}/mem")).unwrap();
    let finder = memchr::memmem::Finder::new(needle);
    let mut found = 0;
    for line in maps.lines() {
        let mut fields = line.split_whitespace();
        let (range, rights) = (fields.next().unwrap(), fields.next().unwrap());
        if !rights.starts_with("rw") {
            continue;
        }
        let (start, end) = range.split_once('-').unwrap();
        let start = u64::from_str_radix(start, 16).unwrap();
        let len = u64::from_str_radix(end, 16).unwrap() - start;
        memory.seek(SeekFrom::Start(start)).unwrap();
        let mut bytes = Vec::new();
        // Some special regions cannot be read; none of them holds what a program writes.
        let _special = (&memory).take(len).read_to_end(&mut bytes);
        found += finder.find_iter(&bytes).count();
    }
    found
}
