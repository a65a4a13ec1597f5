//! What must hold for any bytes that reach the vault's readers; see [`crate::base::property`] for
//! who runs it.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a property that does not hold ends in a panic"
)]

mod counter;
mod readers;
#[cfg(test)]
mod tests;

use std::sync::OnceLock;

use super::keys;
use super::seal::Content;
use super::seal::MASTER_KEY;
use super::seal::Sealer;
use crate::base::Secret;
use crate::base::property::Property;
use crate::cert::key::KeyAlgorithm;
use crate::cert::key::KeyId;
use crate::cert::key::KeyUsage;

/// A frame that is read as a request is the one that the request is written as.
pub const REQUEST: Property = Property {
    name: "request",
    check: readers::request,
    seeds: readers::request_seeds,
    tries: 20_000,
};

/// The same of replies, and of what the keeper tells.
pub const REPLY: Property =
    Property { name: "reply", check: readers::reply, seeds: readers::reply_seeds, tries: 20_000 };

/// What was sealed opens as what it was; changed in any bit or cut, it does not open, nor does
/// anything that was not sealed here.
pub const SEALED: Property =
    Property { name: "sealed", check: readers::sealed, seeds: readers::sealed_seeds, tries: 2_000 };

/// The same of the box in which a key is brought.
pub const IMPORT_BOX: Property = Property {
    name: "import_box",
    check: readers::import_box,
    seeds: readers::import_box_seeds,
    tries: 300,
};

/// A file is read as the key that it would be written as, or refused in words that quote nothing
/// of it.
pub const KEY_FILE: Property = Property {
    name: "key_file",
    check: readers::key_file,
    seeds: readers::key_file_seeds,
    tries: 500,
};

/// Frames on a channel: each is answered once, within its bounds and its role and without a
/// private key, or ends the conversation.
pub const DESK: Property =
    Property { name: "desk", check: counter::desk, seeds: counter::desk_seeds, tries: 500 };

/// Memory of a gate, whoever wrote it: what is read fits its buffer, and what is answered its
/// slot.
pub const GATE: Property =
    Property { name: "gate", check: counter::gate, seeds: counter::gate_seeds, tries: 500 };

/// The master key of every trial: an input must mean the same tomorrow.
fn sealer() -> Sealer {
    Sealer::new(Secret::new([0x42; MASTER_KEY])).expect("a master key is good")
}

/// A key, sealed by [`sealer`].
#[derive(Clone, Debug)]
struct Sample {
    algorithm: KeyAlgorithm,
    usage: KeyUsage,
    id: KeyId,
    pkcs8: Vec<u8>,
    sealed: Vec<u8>,
}

/// One key of every kind, and one for every calling.
fn samples() -> &'static [Sample] {
    static SAMPLES: OnceLock<Vec<Sample>> = OnceLock::new();
    SAMPLES.get_or_init(|| {
        [
            (KeyAlgorithm::P256, KeyUsage::Tls),
            (KeyAlgorithm::P256, KeyUsage::ExportableTls),
            (KeyAlgorithm::P384, KeyUsage::InternalCa),
            (KeyAlgorithm::Rsa2048, KeyUsage::Tls),
            (KeyAlgorithm::P256, KeyUsage::Account),
            (KeyAlgorithm::Rsa2048, KeyUsage::BroughtAccount),
        ]
        .map(|(algorithm, usage)| {
            let pkcs8 = keys::generate(algorithm).expect("keys are made").to_vec();
            let (key, _) = keys::OpenKey::from_pkcs8(algorithm, usage, &pkcs8).expect("a key");
            let content = Content::Key { usage, algorithm, id: key.id };
            let sealed = sealer().seal(content, &pkcs8).expect("it is sealed");
            Sample { algorithm, usage, id: key.id, pkcs8, sealed }
        })
        .into()
    })
}
