//! The files of whoever brings a certificate: which of them has what, and under which passphrase.

use std::io::Read as _;
use std::path::Path;
use std::path::PathBuf;

use zeroize::Zeroizing;

use super::args_bring::Import;
use super::passphrase::PassphraseRefused;
use super::passphrase::PassphraseSource;
use super::report::FAILED;
use super::report::FAULT;
use super::report::NOT_ALLOWED;
use super::report::Report;
use super::report::USAGE;
use crate::base::bounds;
use crate::cert::key::KeyId;
use crate::os::sandbox;
use crate::vault::key_file::KeyFile;
use crate::vault::key_locked;
use crate::vault::key_locked::LockedError;

/// A certificate and its key, as they were brought.
pub(super) struct Material {
    /// Certificates, PEM.
    pub(super) chain: Zeroizing<Vec<u8>>,
    /// The private key.
    pub(super) key: KeyFile,
    /// Where the certificates were.
    pub(super) chain_at: PathBuf,
    /// Where the key was.
    pub(super) key_at: PathBuf,
}

impl Material {
    /// One whose key is in `pem`, under no passphrase.
    pub(super) fn of(
        chain: Zeroizing<Vec<u8>>,
        pem: &[u8],
        (chain_at, key_at): (&Path, &Path),
    ) -> Result<Self, Report> {
        let key = KeyFile::from_pem(pem).map_err(|error| refused(key_at, &error))?;
        Ok(Self { chain, key, chain_at: chain_at.to_owned(), key_at: key_at.to_owned() })
    }
}

/// Reads the files, and asks for the passphrase where one is needed.
pub(super) fn read(what: &Import) -> Result<Material, Report> {
    let file = what.passphrase_file.as_ref();
    let source =
        file.map_or(PassphraseSource::Terminal, |path| PassphraseSource::File(path.clone()));
    match (&what.pkcs12, &what.cert, &what.key) {
        (Some(path), _, _) => pkcs12(path, &source, file.is_some()),
        (None, Some(cert), Some(key)) => {
            let chain = whole(cert)?;
            let pem = whole(key)?;
            if !key_locked::is_locked(&pem) {
                return Material::of(chain, &pem, (cert, key));
            }
            let opened = unlock(key, &source, |passphrase| key_locked::open_pem(&pem, passphrase))?;
            Ok(Material { chain, key: opened, chain_at: cert.clone(), key_at: key.clone() })
        }
        // The definition of the command line does not let these through.
        _ => Err(Report::new(USAGE, "expected --cert and --key, or --pkcs12".to_owned())),
    }
}

fn pkcs12(path: &Path, source: &PassphraseSource, told: bool) -> Result<Material, Report> {
    let der = whole(path)?;
    let open = |passphrase: &[u8]| key_locked::open_pkcs12(&der, passphrase);
    // Many are written under an empty one: nobody is asked for that.
    let free = if told { None } else { open(b"").map_err(|error| refused(path, &error))? };
    let opened = match free {
        Some(opened) => opened,
        None => unlock(path, source, open)?,
    };
    Ok(Material {
        chain: Zeroizing::new(opened.chain.to_pem().into_bytes()),
        key: opened.key,
        chain_at: path.to_owned(),
        key_at: path.to_owned(),
    })
}

/// Why a file stays shut.
enum Shut {
    Passphrase(PassphraseRefused),
    Locked(LockedError),
    Other,
}

impl From<PassphraseRefused> for Shut {
    fn from(refused: PassphraseRefused) -> Self {
        Self::Passphrase(refused)
    }
}

fn unlock<T>(
    path: &Path,
    source: &PassphraseSource,
    open: impl Fn(&[u8]) -> Result<Option<T>, LockedError>,
) -> Result<T, Report> {
    let what = path.display().to_string();
    let opened = source.open_with(&what, |given| open(given).map_err(Shut::Locked), || Shut::Other);
    opened.map_err(|shut| match shut {
        Shut::Passphrase(reason) => {
            let advice = reason.advice();
            Report::new(FAILED, format!("{what} is encrypted: {reason}")).hint(advice)
        }
        Shut::Locked(error) => refused(path, &error),
        Shut::Other => Report::new(FAILED, format!("{what} opens under another passphrase")),
    })
}

fn refused(path: &Path, error: &impl std::fmt::Display) -> Report {
    Report::new(FAILED, format!("{}: {error}", path.display()))
}

/// The file, which may hold a key: wiped when it is dropped.
pub(super) fn whole(path: &Path) -> Result<Zeroizing<Vec<u8>>, Report> {
    let refused = |error: std::io::Error| {
        let status = match error.kind() {
            std::io::ErrorKind::PermissionDenied => NOT_ALLOWED,
            _ => FAILED,
        };
        Report::new(status, format!("{}: {error}", path.display()))
    };
    let file = std::fs::File::open(path).map_err(refused)?;
    let limit = bounds::IMPORT_FILE;
    // Room for all of it at once: a growing vector would leave copies behind.
    let room = usize::try_from(limit).unwrap_or(0).saturating_add(1);
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    file.take(limit + 1).read_to_end(&mut bytes).map_err(refused)?;
    if bytes.len() >= room {
        let what = format!("{} is larger than {limit} bytes, and no such file", path.display());
        return Err(Report::new(FAILED, what));
    }
    Ok(bytes)
}

/// Whether the file holds that very key. For a moment the key is in this process.
pub(super) fn is_key(path: &Path, of: KeyId) -> Result<bool, Report> {
    sandbox::forbid_dumps()
        .map_err(|error| Report::new(FAULT, format!("cannot forbid core files: {error}")))?;
    let small = path.metadata().is_ok_and(|found| found.len() <= bounds::IMPORT_FILE);
    let read = small.then(|| std::fs::read(path).ok()).flatten().map(Zeroizing::new);
    Ok(read.and_then(|text| KeyFile::from_pem(&text).ok()).is_some_and(|key| key.id == of))
}
