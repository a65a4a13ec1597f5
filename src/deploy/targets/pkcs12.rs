//! A pair as PKCS#12 (RFC 7292), encrypted as present programs read it: PBES2 with AES-256 and
//! PBKDF2, and an HMAC with SHA-256.
//!
//! Deliberately absent: the ciphers of old, which some devices want and nobody should.

use p12_keystore::Certificate;
use p12_keystore::EncryptionAlgorithm;
use p12_keystore::KeyStore;
use p12_keystore::KeyStoreEntry;
use p12_keystore::MacAlgorithm;
use p12_keystore::PrivateKey;
use p12_keystore::PrivateKeyChain;
use zeroize::Zeroizing;

use crate::deploy::pair::Pair;

/// Rounds of PBKDF2, as openssl takes them: the file is protected by its mode, and is opened at
/// every start of whoever reads it.
const ROUNDS: u32 = 2048;

pub(super) fn write(pair: &Pair, passphrase: &str) -> Result<Zeroizing<Vec<u8>>, String> {
    let failed =
        |error: p12_keystore::error::Error| format!("no PKCS#12 file can be made: {error}");
    let certificates: Result<Vec<_>, _> =
        pair.chain.certificates().iter().map(|der| Certificate::from_der(der)).collect();
    let key = PrivateKey::from_der(&pair.pkcs8).map_err(failed)?;
    // Ties the key to its certificate: any octets do, as long as both have the same.
    let id = pair.chain.leaf_key().map_err(|error| error.to_string())?;
    let chain = PrivateKeyChain::new(id.0.as_slice(), key, certificates.map_err(failed)?);
    let mut store = KeyStore::new();
    store.add_entry(&pair.name.to_string(), KeyStoreEntry::PrivateKeyChain(chain));
    let written = store
        .writer(passphrase)
        .encryption_algorithm(EncryptionAlgorithm::PbeWithHmacSha256AndAes256)
        .encryption_iterations(ROUNDS)
        .mac_algorithm(MacAlgorithm::HmacSha256)
        .mac_iterations(ROUNDS)
        .write();
    written.map(Zeroizing::new).map_err(failed)
}
