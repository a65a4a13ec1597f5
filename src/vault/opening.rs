//! From a sealed key to an opened one: once, however many threads ask for it at the same time, and
//! not again at once when it does not open.

use std::time::Instant;

use super::keyring::Asked;
use super::keyring::Keyring;
use super::keyring::Last;
use super::keys::OpenKey;
use super::refused::Refused;
use super::seal;
use super::seal::Content;
use super::seal::Sealer;
use super::wire::Refusal;

/// What opening a sealed key came to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Opening {
    /// It was opened.
    Done,
    /// It was open already, or another thread has just opened it.
    Open,
}

/// Opens `sealed` into `keyring`, unless it is there.
pub(super) fn open(
    sealer: &Sealer,
    keyring: &Keyring,
    refused: &Refused,
    sealed: &[u8],
    last: &mut Last,
) -> Result<Opening, (Refusal, String)> {
    // What the header says is believed as far as to look for such a key; the seal is checked
    // before a key comes to be there.
    let Content::Key { usage, id, .. } = seal::content_of(sealed).map_err(refusal)? else {
        return Err((Refusal::Seal, "the record is a secret, not a key".to_owned()));
    };
    let guard = match keyring.ask(&id, usage, last) {
        Asked::Open => return Ok(Opening::Open),
        Asked::Closed(guard) => Some(guard),
        Asked::Alone => None,
    };
    let now = present();
    if let Some(why) = refused.recall(sealed, now) {
        keyring.count_negative();
        return Err(why);
    }
    match read(sealer, sealed) {
        Ok(key) => keyring.put(key, guard, last),
        Err(why) => {
            // Before the guard goes, so that whoever waited for it finds the refusal.
            refused.note(sealed, now, &why);
            return Err(why);
        }
    }
    Ok(Opening::Done)
}

fn read(sealer: &Sealer, sealed: &[u8]) -> Result<OpenKey, (Refusal, String)> {
    let (content, pkcs8) = sealer.open(sealed).map_err(refusal)?;
    let Content::Key { usage, algorithm, id } = content else {
        return Err((Refusal::Seal, "the record is a secret, not a key".to_owned()));
    };
    let (key, _) = OpenKey::from_pkcs8(algorithm, usage, &pkcs8)
        .map_err(|error| (Refusal::Crypto, error.to_string()))?;
    if key.id != id {
        return Err((Refusal::Seal, "the record holds another key".to_owned()));
    }
    Ok(key)
}

fn refusal(error: seal::SealError) -> (Refusal, String) {
    (Refusal::Seal, error.to_string())
}

#[expect(clippy::disallowed_methods, reason = "the vault has no runtime whose clock it could ask")]
fn present() -> Instant {
    Instant::now()
}
