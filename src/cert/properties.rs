//! What must hold for any file that is brought as a chain of certificates.
#![allow(clippy::expect_used, reason = "a property that does not hold ends in a panic")]

use super::brought::Brought;
use super::chain::Chain;
use super::key::KeyId;
use crate::base::Timestamp;
use crate::base::bounds;
use crate::base::property::Property;

/// A chain that is taken in is short, begins with the certificate of the key, and is written as it
/// is read; taking in what was written changes nothing.
pub const CHAIN_FILE: Property =
    Property { name: "chain_file", check: chain_file, seeds, tries: 1_000 };

const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);

fn chain_file(bytes: &[u8]) {
    let Ok(given) = Chain::from_pem(bytes) else { return };
    let again = Chain::from_pem(given.to_pem().as_bytes()).expect("what was written is read");
    assert_eq!(again, given);
    let Ok(leaf) = given.leaf() else { return };
    assert!(leaf.names.is_sorted(), "{:?}", leaf.names);
    for key in [leaf.key, KeyId([0; 32])] {
        let Ok(brought) = Brought::examine(bytes, key, NOW, true) else { continue };
        let written = brought.chain.to_pem();
        assert!(brought.chain.certificates().len() <= bounds::IMPORT_CHAIN);
        assert_eq!(brought.leaf.key, key, "the leaf is for another key");
        let again = Brought::examine(written.as_bytes(), key, NOW, true).expect("it is taken");
        assert_eq!((again.chain, again.algorithm), (brought.chain, brought.algorithm));
        let spec = brought.leaf.names.len();
        assert!((1..=bounds::IMPORT_NAMES).contains(&spec), "{spec} names");
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let key = || rcgen::KeyPair::generate().expect("a key");
    let mut params = rcgen::CertificateParams::new(Vec::new()).expect("no names");
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, "Root");
    params.use_authority_key_identifier_extension = true;
    let (root_key, leaf_key) = (key(), key());
    let root = params.self_signed(&root_key).expect("a root");
    let issuer = rcgen::Issuer::new(params, root_key);
    let names = ["a.example", "*.b.example", "192.0.2.1"].map(str::to_owned);
    let mut params = rcgen::CertificateParams::new(names).expect("names");
    params.use_authority_key_identifier_extension = true;
    let leaf = params.signed_by(&leaf_key, &issuer).expect("a leaf");
    let own = params.self_signed(&leaf_key).expect("a leaf");
    let joined = leaf.pem().replace(['\r', '\n'], "");
    let texts = [leaf.pem(), leaf.pem() + &root.pem(), root.pem() + &leaf.pem(), own.pem(), joined];
    texts.map(String::into_bytes).into()
}

#[cfg(test)]
mod tests {
    #[test]
    fn chains_are_read_as_they_are_written_and_taken_in_once() {
        super::CHAIN_FILE.hold();
    }
}
