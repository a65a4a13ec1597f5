//! What must hold for any bytes that lie where an entry of the second copy is kept.
#![allow(clippy::expect_used, reason = "a property that does not hold ends in a panic")]

use std::sync::Arc;

use super::catalog::file::Entry;
use super::codec;
use super::error::StoreError;
use crate::base::Timestamp;
use crate::base::property::Property;
use crate::cert::chain::Chain;
use crate::cert::identifier::Identifier;
use crate::cert::key::KeyAlgorithm;
use crate::cert::key::KeyHandle;
use crate::cert::key::KeyId;
use crate::cert::key::KeyUsage;
use crate::cert::key::SealedKey;
use crate::cert::record::Installed;
use crate::cert::served::Served;
use crate::cert::spec::IssuerName;
use crate::cert::spec::Role;
use crate::cert::spec::Specification;

/// An entry that is read is the one that it would be written as; changed in any octet, cut or
/// longer, it is not read. What stands behind a checksum that fits may be anything at all.
pub const SECOND_COPY: Property =
    Property { name: "second_copy", check: second_copy, seeds, tries: 5_000 };

fn second_copy(body: &[u8]) {
    // As they are, and as somebody would write them who can compute a checksum.
    for bytes in [body.to_vec(), codec::seal(body)] {
        let Ok(entry) = read(&bytes) else { continue };
        let mut again = codec::encode(&entry);
        assert!(again.len() <= 2 * bytes.len(), "an entry from nothing");
        assert_eq!(read(&again).as_ref().ok(), Some(&entry), "written otherwise than read");
        let at = body.len() % again.len();
        assert!(read(again.get(..at).unwrap_or_default()).is_err(), "a cut entry is read");
        assert!(read(&[&again[..], &[0]].concat()).is_err(), "a longer entry is read");
        if let Some(octet) = again.get_mut(at) {
            *octet ^= 1;
        }
        assert!(read(&again).is_err(), "a changed entry is read");
    }
}

fn read(bytes: &[u8]) -> Result<Entry<'_>, StoreError> {
    codec::decode("entries", String::new, bytes)
}

fn seeds() -> Vec<Vec<u8>> {
    let packed = ["a.example", "b.example"].map(|name| {
        let served = served(name);
        codec::encode(&Entry::new(&served, vec![[3; 32]]))
    });
    let body = |packed: &Vec<u8>| packed.get(9..).unwrap_or_default().to_vec();
    let mut seeds: Vec<_> = packed.iter().map(body).collect();
    seeds.extend(packed);
    // A list that says that it is longer than memory.
    seeds.push(vec![0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0, 0]);
    seeds
}

pub(super) fn served(name: &str) -> Arc<Served> {
    let key = rcgen::KeyPair::generate().expect("a key");
    let params = rcgen::CertificateParams::new(vec![name.to_owned()]).expect("a name");
    let leaf = params.self_signed(&key).expect("a leaf");
    let chain = Chain::from_der(vec![leaf.der().to_vec()]).expect("a chain");
    let installed = Installed::read(chain, Timestamp::from_unix(0)).expect("a leaf is read");
    let names = vec![Identifier::parse(name).expect("a name")];
    let (issuer, algorithm) = (IssuerName::Imported, KeyAlgorithm::P256);
    let spec = Specification::new(names, issuer, algorithm, None, Role::Imported);
    let spki = rcgen::PublicKeyData::subject_public_key_info(&key);
    let key = KeyHandle {
        id: KeyId::of_spki(&spki),
        algorithm,
        usage: KeyUsage::Tls,
        spki: spki.into(),
        sealed: SealedKey(vec![7; 200].into()),
    };
    Arc::new(Served { id: spec.id(), spec, installed, key })
}

#[cfg(test)]
mod tests {
    #[test]
    fn an_entry_is_read_as_it_was_written_or_not_at_all() {
        super::SECOND_COPY.hold();
    }
}
