//! What a miss cannot do without on this machine: a sealed key is read from a file of as many, opened
//! and made ready to sign, by nobody but a loop. No name is looked up, no certificate is read and no
//! process asks another.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::Duration;
use std::time::Instant;

use keyward::cert::key::KeyAlgorithm;
use keyward::vault::keys;
use ring::aead;
use ring::rand::SystemRandom;
use ring::signature::ECDSA_P256_SHA256_ASN1_SIGNING;
use ring::signature::EcdsaKeyPair;

/// Octets between the beginnings of two sealed keys, about those of an entry of the second copy.
const APART: usize = 1100;

/// A file of sealed keys.
pub(super) struct Raw {
    file: File,
    count: usize,
    cipher: aead::LessSafeKey,
    sealed: usize,
    random: SystemRandom,
    rng: fastrand::Rng,
}

impl Raw {
    /// With `count` places; all hold the same key.
    pub(super) fn new(count: usize) -> Self {
        let cipher = aead::UnboundKey::new(&aead::AES_256_GCM, &[7; 32]).unwrap();
        let cipher = aead::LessSafeKey::new(cipher);
        let mut sealed = keys::generate(KeyAlgorithm::P256).unwrap().to_vec();
        cipher.seal_in_place_append_tag(nonce(), aead::Aad::empty(), &mut sealed).unwrap();
        let file = tempfile::tempfile().unwrap();
        let length = sealed.len();
        sealed.resize(APART, 0);
        let portion = sealed.repeat(1000);
        for at in 0..count.div_ceil(1000) {
            file.write_all_at(&portion, (at * portion.len()) as u64).unwrap();
        }
        let (random, rng) = (SystemRandom::new(), fastrand::Rng::with_seed(5));
        Self { file, count, cipher, sealed: length, random, rng }
    }

    /// Microseconds of this thread's CPU for each of `times` keys.
    pub(super) fn burst(&mut self, times: usize) -> f64 {
        let before = spent();
        for _ in 0..times {
            let mut record = vec![0; self.sealed];
            let place = self.rng.usize(..self.count) * APART;
            self.file.read_exact_at(&mut record, place as u64).unwrap();
            let opened = self.cipher.open_in_place(nonce(), aead::Aad::empty(), &mut record);
            let algorithm = &ECDSA_P256_SHA256_ASN1_SIGNING;
            EcdsaKeyPair::from_pkcs8(algorithm, opened.unwrap(), &self.random).unwrap();
        }
        (spent() - before) * 1e6 / times as f64
    }
}

/// A file beside the store: how long it takes to write one page of it and have the disk take it.
pub(super) fn sync(state: &Path) -> impl FnMut() -> Duration {
    const PAGE: usize = 4096;
    let file = File::create(state.join("synced")).unwrap();
    file.write_all_at(&vec![0; 256 * PAGE], 0).unwrap();
    file.sync_all().unwrap();
    let mut rng = fastrand::Rng::with_seed(6);
    move || {
        file.write_all_at(&[rng.u8(..); PAGE], (rng.usize(..256) * PAGE) as u64).unwrap();
        let begun = Instant::now();
        file.sync_data().unwrap();
        begun.elapsed()
    }
}

/// The same for all: what is sealed here is no secret.
fn nonce() -> aead::Nonce {
    aead::Nonce::assume_unique_for_key([0; aead::NONCE_LEN])
}

/// Seconds of CPU of the calling thread.
fn spent() -> f64 {
    // The kernel brings its accounting up to date where a thread gives way.
    std::thread::yield_now();
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    let nanos: f64 = told.split_whitespace().next().unwrap().parse().unwrap();
    nanos / 1e9
}
