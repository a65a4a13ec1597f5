//! A signature with a key that is open takes no memory: none in the vault, and in the worker what
//! rustls wants to own, which is the signer and the signature.
//!
//! A program of its own and no harness: its allocator counts, and it is the vault's binary too. The
//! vault's count lies in a file that both processes have mapped, made before the walls go up.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test ends at its first surprise, and says what it has shown"
)]
#![expect(unsafe_code, reason = "an allocator is unsafe, and a file is mapped")]

mod vault_common;

use std::alloc::GlobalAlloc;
use std::alloc::Layout;
use std::alloc::System;
use std::fs::File;
use std::num::NonZeroUsize;
use std::path::Path;
use std::process::ExitCode;
use std::ptr::null_mut;
use std::sync::atomic::AtomicPtr;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use keyward::cert::chain::Chain;
use keyward::cert::key::KeyAlgorithm;
use keyward::cert::key::KeyUsage;
use keyward::cert::ports::Signers;
use keyward::vault::VaultOptions;
use keyward::vault::serve_keeper;
use keyward::vault::serve_vault;
use nix::sys::mman::MapFlags;
use nix::sys::mman::ProtFlags;
use rustls::SignatureScheme;
use vault_common::House;
use vault_common::certificate_verify;

/// Where the process counts; nowhere at first.
static COUNT: AtomicPtr<AtomicU64> = AtomicPtr::new(null_mut());

struct Counting;

fn count() {
    // SAFETY: it is null, or points into a mapping that is never taken back.
    if let Some(count) = unsafe { COUNT.load(Ordering::Relaxed).as_ref() } {
        count.fetch_add(1, Ordering::Relaxed);
    }
}

// SAFETY: it does what the system's does.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as promised by the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: as promised by the caller.
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as promised by the caller.
        unsafe { System.realloc(place, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Has `main` and vault each a place in the file beside the master key.
fn mapped(master_key: &Path, place: usize) -> *mut AtomicU64 {
    const LEN: usize = 4096;
    let path = master_key.with_file_name("allocations");
    let file = File::options().read(true).write(true).create(true).truncate(false).open(path);
    let file = file.unwrap();
    file.set_len(u64::try_from(LEN).unwrap()).unwrap();
    let rights = ProtFlags::PROT_READ.union(ProtFlags::PROT_WRITE);
    let len = NonZeroUsize::new(LEN).unwrap();
    // SAFETY: a new mapping at a place that the kernel chooses overlays nothing.
    let start = unsafe { nix::sys::mman::mmap(None, len, rights, MapFlags::MAP_SHARED, file, 0) };
    start.unwrap().as_ptr().cast::<AtomicU64>().wrapping_add(place)
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.get(1).map(String::as_str) {
        Some("vault-keeper") => serve_keeper(),
        Some("vault") => {
            COUNT.store(mapped(Path::new(arguments.get(3).unwrap()), 1), Ordering::Relaxed);
            serve_vault()
        }
        // cargo asks every target for its tests.
        Some("--list") => ExitCode::SUCCESS,
        _ => {
            a_signature_takes_no_memory();
            println!("a signature takes no memory ... ok");
            ExitCode::SUCCESS
        }
    }
}

fn a_signature_takes_no_memory() {
    const KEYS: u64 = 20;
    const ROUNDS: u64 = 200;
    const SIGNATURES: u64 = KEYS * ROUNDS;
    let house = House::new();
    let exe = std::env::current_exe().unwrap();
    let vault = keyward::vault::Vault::start(VaultOptions { exe, ..house.options(1) }).unwrap();
    let (own, of_vault) = (mapped(&house.key, 0), mapped(&house.key, 1));
    // SAFETY: mapped above, and never unmapped.
    let own = unsafe { &*own };
    // SAFETY: as above.
    let of_vault = unsafe { &*of_vault };
    vault.bind_worker(0, None);
    let ca = vault.generate_blocking(KeyAlgorithm::P256, KeyUsage::InternalCa).unwrap();
    let ca_params = rcgen::CertificateParams::new(vec![]).unwrap();
    let issuer =
        rcgen::CertifiedIssuer::self_signed(ca_params, vault.csr_signer(&ca).unwrap()).unwrap();
    let certified: Vec<_> = (0..KEYS)
        .map(|_| {
            let key = vault.generate_blocking(KeyAlgorithm::P256, KeyUsage::Tls).unwrap();
            let params = rcgen::CertificateParams::new(vec!["site.example".to_owned()]).unwrap();
            let leaf = params.signed_by(&vault.csr_signer(&key).unwrap(), &issuer).unwrap();
            let chain = Chain::from_der(vec![leaf.der().to_vec()]).unwrap();
            vault.certified_key(&chain, &key).unwrap()
        })
        .collect();
    let message = certificate_verify(32);
    let sign_with_all = || {
        for certified in &certified {
            let offered = [SignatureScheme::ECDSA_NISTP256_SHA256];
            let signer = certified.key.choose_scheme(&offered).unwrap();
            assert!(signer.sign(&message).unwrap().len() > 60);
        }
    };
    // The first ones make what is kept by thread.
    sign_with_all();
    let counts = || [own, of_vault].map(|count| count.load(Ordering::Relaxed));
    let before = counts();
    COUNT.store(std::ptr::from_ref(own).cast_mut(), Ordering::Relaxed);
    (0..ROUNDS).for_each(|_| sign_with_all());
    COUNT.store(null_mut(), Ordering::Relaxed);
    let [own, of_vault] = counts();
    let [own_before, vault_before] = before;
    assert!(vault_before > 100, "the vault's allocator counts nothing");
    let taken = (own - own_before, of_vault - vault_before);
    assert_eq!(taken, (2 * SIGNATURES, 0), "in {SIGNATURES} signatures");
}
