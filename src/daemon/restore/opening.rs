//! The master key of a backup, and whether everything sealed in it opens under that.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use zeroize::Zeroizing;

use super::refused;
use crate::base::bounds;
use crate::cert::key::KeyUsage;
use crate::cert::ports::Shelf;
use crate::cli::Opening;
use crate::cli::PassphraseRefused;
use crate::daemon::Failed;
use crate::issuer::custody;
use crate::store::Sealed;
use crate::vault::age;
use crate::vault::age::AgeError;
use crate::vault::age::Identity;
use crate::vault::age::Opener;
use crate::vault::age::Passphrase;
use crate::vault::passphrase::Verifier;
use crate::vault::seal::Content;
use crate::vault::seal::MasterKey;
use crate::vault::seal::Sealer;

fn identities(path: &Path) -> Result<Vec<Identity>, Failed> {
    let told = |reason: &dyn std::fmt::Display| {
        refused(&format!("{}: {reason}", path.display()), "the file that age-keygen wrote")
    };
    let file = File::open(path).map_err(|error| told(&error))?;
    let room = usize::try_from(bounds::IMPORT_FILE).unwrap_or(0);
    let mut text = Zeroizing::new(String::with_capacity(room));
    file.take(bounds::IMPORT_FILE).read_to_string(&mut text).map_err(|error| told(&error))?;
    Identity::read_all(&text).map_err(|error| told(&error))
}

/// The master key in `file`.
pub(super) fn opened(file: &[u8], opening: &Opening) -> Result<MasterKey, Failed> {
    let bytes = match opening {
        Opening::Identity(path) => {
            age::decrypt(Opener::Identities(&identities(path)?), file).map_err(stays_shut)?
        }
        Opening::Passphrase(source) => {
            let open =
                |words: &[u8]| match age::decrypt(Opener::Passphrase(Passphrase(words)), file) {
                    Err(AgeError::OtherPassphrase) => Ok(None),
                    other => other.map(Some).map_err(stays_shut),
                };
            source.open_with("the backup", open, || stays_shut(AgeError::OtherPassphrase))?
        }
    };
    let strange = || {
        let what = "what is encrypted in the backup is no master key";
        refused(what, "another backup, which keyward backup wrote")
    };
    MasterKey::from_file(&bytes).ok_or_else(strange)
}

/// The master key that comes from a passphrase, which is asked for to look at the backup only.
pub(super) fn derived(verifier: &Verifier, opening: &Opening) -> Result<MasterKey, Failed> {
    let Opening::Passphrase(source) = opening else {
        let what = "the master key of this backup comes from a passphrase";
        return Err(refused(what, "--passphrase, or neither of both"));
    };
    let open = |words: &[u8]| verifier.open(words).map_err(Failed::fault);
    source.open_with("the backup", open, || {
        let what = "this is not the passphrase that the master key of the backup comes from";
        refused(what, "another --passphrase")
    })
}

/// Looks at everything sealed, and counts it.
#[derive(Default)]
pub(super) struct Examiner {
    sealer: Option<Sealer>,
    /// Keys of the internal CA.
    pub(super) authority: u64,
    /// Accounts at CAs.
    pub(super) accounts: u64,
}

impl Examiner {
    /// Without a master key, it counts only.
    pub(super) fn new(master: Option<&MasterKey>) -> Result<Self, Failed> {
        let sealer = master.map(|master| {
            let copy = MasterKey { epoch: master.epoch, key: master.key.clone() };
            Sealer::under(copy, None).map_err(Failed::fault)
        });
        Ok(Self { sealer: sealer.transpose()?, ..Self::default() })
    }

    /// Whether something sealed is what it is said to be, as far as can be told.
    pub(super) fn look(&mut self, sealed: Sealed<'_>) -> Result<(), String> {
        let (shelf, name, stored) = match sealed {
            Sealed::Key(key) => {
                return match self.open(&key.sealed.0)? {
                    Some(Content::Key { id, .. }) if id != key.id => Err(other()),
                    Some(Content::Secret { .. }) => Err(other()),
                    Some(Content::Key { .. }) | None => Ok(()),
                };
            }
            Sealed::OnShelf(shelf, name, stored) => (shelf, name, stored),
        };
        let mut found = Vec::new();
        let mut note = |record: &[u8]| {
            found.push(record.to_vec());
            Ok(None)
        };
        custody::reseal(shelf, stored, &mut note).map_err(|failure| failure.to_string())?;
        for record in found {
            let content = self.open(&record)?;
            match (shelf, content) {
                // An earlier version sealed it as a secret.
                (Shelf::Accounts, Some(content))
                    if !is_account(content) && content != Content::secret(name.as_bytes()) =>
                {
                    return Err(other());
                }
                (Shelf::InternalCa, Some(content)) if !is_authority(content) => {
                    return Err(other());
                }
                (Shelf::Accounts, _) => self.accounts += 1,
                (Shelf::InternalCa, _) => self.authority += 1,
                (Shelf::Proofs, _) => {}
            }
        }
        Ok(())
    }

    fn open(&self, record: &[u8]) -> Result<Option<Content>, String> {
        let Some(sealer) = &self.sealer else { return Ok(None) };
        let (content, _) = sealer.open(record).map_err(|error| error.to_string())?;
        Ok(Some(content))
    }
}

fn other() -> String {
    "something else is sealed under its name".to_owned()
}

const fn is_account(content: Content) -> bool {
    matches!(content, Content::Key { usage, .. } if usage.is_account())
}

const fn is_authority(content: Content) -> bool {
    matches!(content, Content::Key { usage: KeyUsage::InternalCa, .. })
}

fn stays_shut(error: AgeError) -> Failed {
    let advice = match error {
        AgeError::OtherRecipient => "the --identity that belongs to its recipient",
        AgeError::OtherPassphrase => "another --passphrase",
        AgeError::WantsPassphrase => "--passphrase",
        AgeError::WantsIdentity => "--identity FILE",
        AgeError::Costly(_) => "a backup that keyward or age wrote: this one was not",
        AgeError::Format(_) | AgeError::Damaged | AgeError::Long | AgeError::Refused => {
            "another backup, whole and unchanged"
        }
    };
    refused(&format!("the master key in the backup: {error}"), advice)
}

impl From<PassphraseRefused> for Failed {
    fn from(error: PassphraseRefused) -> Self {
        refused(&error.to_string(), error.advice())
    }
}
