//! Doubles of the vault and the store, and a record of what the issuer reported.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use keyward::cert::challenge::BoxFuture;
use keyward::cert::failure::Failure;
use keyward::cert::failure::FailureKind;
use keyward::cert::key::KeyAlgorithm;
use keyward::cert::key::KeyHandle;
use keyward::cert::key::KeyId;
use keyward::cert::key::KeyUsage;
use keyward::cert::key::SealedKey;
use keyward::cert::ports::AccountKeys;
use keyward::cert::ports::Book;
use keyward::cert::ports::KeySource;
use keyward::cert::ports::Progress;
use keyward::cert::ports::RemoteSigning;
use keyward::cert::ports::Shelf;
use keyward::cert::ports::ToBeSigned;
use rcgen::KeyPair;
use rcgen::PublicKeyData as _;
use rcgen::SigningKey as _;
use tokio::sync::Notify;

/// A book that forgets at the end of the test.
#[derive(Debug, Default)]
pub(crate) struct MemoryBook(pub(crate) Mutex<HashMap<(Shelf, String), Vec<u8>>>);

impl Book for MemoryBook {
    fn get<'a>(
        &'a self,
        shelf: Shelf,
        name: &'a str,
    ) -> BoxFuture<'a, Result<Option<Vec<u8>>, Failure>> {
        let value = self.0.lock().unwrap().get(&(shelf, name.to_owned())).cloned();
        Box::pin(async { Ok(value) })
    }

    fn put<'a>(
        &'a self,
        shelf: Shelf,
        name: &'a str,
        value: Vec<u8>,
    ) -> BoxFuture<'a, Result<(), Failure>> {
        self.0.lock().unwrap().insert((shelf, name.to_owned()), value);
        Box::pin(async { Ok(()) })
    }
}

/// Keys and seals of a vault, in this process.
#[derive(Default)]
pub(crate) struct Vault {
    keys: Mutex<HashMap<KeyId, Arc<KeyPair>>>,
    /// Keys of accounts, in the order in which they were made.
    pub(crate) accounts: Mutex<Vec<KeyHandle>>,
    /// Keys that were taken over so far.
    pub(crate) taken_over: AtomicUsize,
    /// Signatures made so far.
    pub(crate) signatures: AtomicUsize,
    /// Told when a request is about to be signed.
    pub(crate) signing: Notify,
    /// Refuses from now on.
    pub(crate) broken: std::sync::atomic::AtomicBool,
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Vault")
    }
}

impl Vault {
    pub(crate) fn make(&self, algorithm: KeyAlgorithm, usage: KeyUsage) -> KeyHandle {
        let algorithm_of_rcgen = match algorithm {
            KeyAlgorithm::P256 => &rcgen::PKCS_ECDSA_P256_SHA256,
            KeyAlgorithm::P384 => &rcgen::PKCS_ECDSA_P384_SHA384,
            KeyAlgorithm::Rsa2048 => panic!("the double makes no RSA keys"),
        };
        self.keep(KeyPair::generate_for(algorithm_of_rcgen).unwrap(), algorithm, usage)
    }

    fn keep(&self, pair: KeyPair, algorithm: KeyAlgorithm, usage: KeyUsage) -> KeyHandle {
        let spki = pair.subject_public_key_info();
        let id = KeyId::of_spki(&spki);
        self.keys.lock().unwrap().insert(id, Arc::new(pair));
        let sealed = SealedKey(Arc::from(&b"sealed"[..]));
        KeyHandle { id, algorithm, usage, spki: spki.into(), sealed }
    }
}

impl Vault {
    /// The private key of the newest account.
    pub(crate) fn account_key(&self) -> Vec<u8> {
        let id = self.accounts.lock().unwrap().last().unwrap().id;
        self.keys.lock().unwrap()[&id].serialize_der()
    }

    /// As an earlier version sealed it under `label`: no cipher, but the label is bound.
    pub(crate) fn sealed_before(&self, label: &str) -> Vec<u8> {
        let key = self.account_key();
        label.bytes().chain([0]).chain(key.iter().map(|byte| byte ^ 0x5a)).collect()
    }
}

impl KeySource for Vault {
    fn generate(
        &self,
        algorithm: KeyAlgorithm,
        usage: KeyUsage,
    ) -> BoxFuture<'_, Result<KeyHandle, Failure>> {
        let handle = self.make(algorithm, usage);
        Box::pin(async { Ok(handle) })
    }
}

impl RemoteSigning for Vault {
    fn sign_der(
        &self,
        key: &KeyHandle,
        what: ToBeSigned,
        message: &[u8],
    ) -> Result<Vec<u8>, String> {
        if self.broken.load(Ordering::SeqCst) {
            return Err("the vault is away".to_owned());
        }
        // As the real one: a site key signs requests, a CA key certificates, an account what it
        // asks.
        match (key.usage, what) {
            (KeyUsage::Tls, ToBeSigned::Csr) | (KeyUsage::InternalCa, ToBeSigned::Certificate) => {
                self.signing.notify_waiters();
                self.signatures.fetch_add(1, Ordering::SeqCst);
            }
            (KeyUsage::Account, ToBeSigned::AccountRequest) => {}
            other => return Err(format!("{other:?} is refused")),
        }
        let pair = self.keys.lock().unwrap().get(&key.id).cloned().ok_or("no such key")?;
        pair.sign(message).map_err(|error| error.to_string())
    }

    fn sign_key_change(
        &self,
        key: &KeyHandle,
        other: &KeyHandle,
        message: &[u8],
    ) -> Result<Vec<u8>, String> {
        let keys = self.keys.lock().unwrap();
        keys.get(&other.id).ok_or("no such other key")?;
        let pair = keys.get(&key.id).ok_or("no such key")?;
        pair.sign(message).map_err(|error| error.to_string())
    }
}

impl AccountKeys for Vault {
    fn make(&self) -> BoxFuture<'_, Result<KeyHandle, Failure>> {
        let handle = self.make(KeyAlgorithm::P256, KeyUsage::Account);
        self.accounts.lock().unwrap().push(handle.clone());
        Box::pin(async { Ok(handle) })
    }

    fn take_over<'a>(
        &'a self,
        label: &'a str,
        sealed: &'a [u8],
    ) -> BoxFuture<'a, Result<KeyHandle, Failure>> {
        let opened = sealed
            .strip_prefix(label.as_bytes())
            .and_then(|rest| rest.strip_prefix(&[0]))
            .map(|rest| rest.iter().map(|byte| byte ^ 0x5a).collect::<Vec<_>>())
            .ok_or_else(|| Failure::new(FailureKind::Vault, "sealed under another label"));
        let handle = opened.map(|pkcs8| {
            let pair = KeyPair::try_from(pkcs8.as_slice()).unwrap();
            self.keep(pair, KeyAlgorithm::P256, KeyUsage::Account)
        });
        self.taken_over.fetch_add(1, Ordering::SeqCst);
        Box::pin(async { handle })
    }
}

/// What the issuer reported about its orders.
#[derive(Debug, Default)]
pub(crate) struct Steps {
    pub(crate) opened: Mutex<Vec<String>>,
    pub(crate) lost: AtomicUsize,
    /// Orders that did not name what they replace, though there was something.
    pub(crate) counted: AtomicUsize,
    /// Failures after which the attempt went on, by another challenge.
    pub(crate) refused: Mutex<Vec<Failure>>,
    /// Admits no further order within the attempt.
    pub(crate) limit: Mutex<Option<Failure>>,
    /// Told when an order was stored; the issuer then waits for ever if `hold` is set.
    pub(crate) stored: Notify,
    pub(crate) hold: bool,
}

impl Steps {
    /// The newest order.
    pub(crate) fn order(&self) -> Option<String> {
        self.opened.lock().unwrap().last().cloned()
    }
}

impl Progress for Steps {
    fn order_opened<'a>(&'a self, url: &'a str) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async move {
            self.opened.lock().unwrap().push(url.to_owned());
            self.stored.notify_one();
            if self.hold {
                std::future::pending::<()>().await;
            }
            Ok(())
        })
    }

    fn counted(&self) -> BoxFuture<'_, Result<(), Failure>> {
        self.counted.fetch_add(1, Ordering::SeqCst);
        let limit = self.limit.lock().unwrap().clone();
        Box::pin(async { limit.map_or(Ok(()), Err) })
    }

    fn order_lost(&self) -> BoxFuture<'_, Result<(), Failure>> {
        self.lost.fetch_add(1, Ordering::SeqCst);
        Box::pin(async { Ok(()) })
    }

    fn challenge_failed<'a>(
        &'a self,
        failures: &'a [Failure],
    ) -> BoxFuture<'a, Result<(), Failure>> {
        self.refused.lock().unwrap().extend_from_slice(failures);
        let limit = self.limit.lock().unwrap().clone();
        Box::pin(async { limit.map_or(Ok(()), Err) })
    }
}
