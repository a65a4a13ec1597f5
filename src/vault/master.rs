//! Where the master key comes from, read once by the vault before it walls itself in.
//!
//! Beside the key, in a file of the same name with `.former` at its end, may lie the one before
//! it: what is still sealed under that one opens as well, and is sealed anew.

use std::ffi::OsString;
use std::fs::DirBuilder;
use std::io;
use std::io::Read;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::path::PathBuf;

use base64::Engine as _;
use ring::rand::SecureRandom;
use zeroize::Zeroizing;

use super::seal::FIRST_EPOCH;
use super::seal::MASTER_KEY;
use super::seal::MasterKey;
use crate::base::Secret;
use crate::base::disk;

/// Where the master key comes from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum MasterKeySource {
    /// A file that must exist and that nobody but its owner may read.
    File(PathBuf),
    /// A credential of the service manager; who may read it is the manager's affair.
    Credential(PathBuf),
    /// A file of our own making: as [`Self::File`], and we may give the key a successor.
    Own(PathBuf),
    /// Derived from a passphrase that the keeper asks for; what lies here is no secret.
    Passphrase(PathBuf),
    /// As [`Self::Passphrase`], and a new one is taken if nothing lies there yet.
    NewPassphrase(PathBuf),
    /// As [`Self::Own`], and made with a new key, mode 0400, if it does not exist yet.
    CreateIfMissing(PathBuf),
}

/// The master keys that were found.
#[derive(Debug)]
pub struct Found {
    /// The one to seal under.
    pub present: MasterKey,
    /// The one before it.
    pub former: Option<MasterKey>,
    /// The present one was made just now.
    pub created: bool,
}

/// Why there is no master key.
#[derive(Debug, thiserror::Error)]
pub enum MasterKeyError {
    /// The file cannot be read.
    #[error("master key file {path} cannot be read")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        #[source]
        source: io::Error,
    },
    /// The file cannot be made.
    #[error("master key file {path} cannot be created")]
    Create {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        #[source]
        source: io::Error,
    },
    /// Others may read it.
    #[error(
        "master key file {path} has mode {mode:03o}: others than its owner may use it \
         (try chmod 400)"
    )]
    Open {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It is something else.
    #[error(
        "master key file {path} has {len} bytes: expected 32 raw octets, \
         64 hexadecimal digits, or base64 of 32 octets, after a line `epoch NUMBER` if there is one"
    )]
    Content {
        /// The file.
        path: PathBuf,
        /// Its length in octets; `more than 4096` is told as 4097.
        len: usize,
    },
    /// The passphrase gave none.
    #[error("{0}")]
    Passphrase(String),
    /// No randomness for a new key.
    #[error("the operating system gives no randomness for a new master key")]
    Random,
}

impl MasterKeySource {
    /// As two arguments of a command line. The path is made absolute: the vault runs elsewhere.
    pub fn to_arguments(&self) -> [OsString; 2] {
        let kind = match self {
            Self::File(_) => "file",
            Self::Credential(_) => "credential",
            Self::Own(_) => "own",
            Self::CreateIfMissing(_) => "create",
            Self::Passphrase(_) => "passphrase",
            Self::NewPassphrase(_) => "passphrase-new",
        };
        let path = self.path();
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        [kind.into(), path.into()]
    }

    /// From two arguments of a command line; `None` for an unknown kind.
    pub fn from_arguments(kind: &OsString, path: OsString) -> Option<Self> {
        let path = PathBuf::from(path);
        match kind.to_str()? {
            "file" => Some(Self::File(path)),
            "credential" => Some(Self::Credential(path)),
            "own" => Some(Self::Own(path)),
            "passphrase" => Some(Self::Passphrase(path)),
            "passphrase-new" => Some(Self::NewPassphrase(path)),
            "create" => Some(Self::CreateIfMissing(path)),
            _ => None,
        }
    }

    /// Where the key is.
    pub fn path(&self) -> &Path {
        match self {
            Self::File(path)
            | Self::Credential(path)
            | Self::Own(path)
            | Self::Passphrase(path)
            | Self::NewPassphrase(path)
            | Self::CreateIfMissing(path) => path,
        }
    }

    /// Whether it is ours to delete when it has a successor.
    pub const fn is_ours(&self) -> bool {
        !matches!(self, Self::File(_) | Self::Credential(_))
    }

    /// Whether somebody has to be asked for it.
    pub const fn is_asked_for(&self) -> bool {
        matches!(self, Self::Passphrase(_) | Self::NewPassphrase(_))
    }

    /// Reads the key, and the one before it where there is one.
    ///
    /// # Errors
    /// [`MasterKeyError`] names the file and what is wrong with it.
    pub fn load(&self) -> Result<Found, MasterKeyError> {
        let (path, private) = (self.path(), !matches!(self, Self::Credential(_)));
        let (present, created) = match (read(path, private), self) {
            (Err(error), Self::CreateIfMissing(path)) if error.is_absence() => create(path)?,
            (other, _) => (other?, false),
        };
        let former = match read(&former(path), private) {
            Err(error) if error.is_absence() => None,
            other => Some(other?),
        };
        Ok(Found { present, former, created })
    }
}

impl MasterKey {
    /// What a file with it holds: the key alone if it is the first, as it always was, and else its
    /// epoch before it.
    pub fn to_file(&self) -> Zeroizing<Vec<u8>> {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        // Has its room from the start: one that grows would leave copies behind.
        let mut text = Zeroizing::new(Vec::with_capacity(128));
        if self.epoch == FIRST_EPOCH {
            text.extend_from_slice(self.key.expose());
            return text;
        }
        text.extend_from_slice(format!("epoch {}\n", self.epoch).as_bytes());
        for octet in self.key.expose() {
            let digits =
                [octet >> 4, octet & 15].map(|half| DIGITS.get(usize::from(half)).copied());
            text.extend(digits.into_iter().flatten());
        }
        text.push(b'\n');
        text
    }

    /// Reads what [`Self::to_file`] wrote, and the other forms that such a file may have.
    pub fn from_file(bytes: &[u8]) -> Option<Self> {
        parse(bytes)
    }
}

impl MasterKeyError {
    /// Whether the file is not there at all.
    pub(super) fn is_absence(&self) -> bool {
        matches!(self, Self::Read { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

/// Where the predecessor of the key at `path` is, while it is needed.
pub fn former(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".former");
    PathBuf::from(name)
}

const LONGEST: usize = 4096;

pub(super) fn read(path: &Path, private: bool) -> Result<MasterKey, MasterKeyError> {
    let failed = |source| MasterKeyError::Read { path: path.to_owned(), source };
    let file = std::fs::File::open(path).map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.mode() & 0o777;
    if private && mode & 0o077 != 0 {
        return Err(MasterKeyError::Open { path: path.to_owned(), mode });
    }
    // Room for all of it at once: a growing vector would leave copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(LONGEST + 1));
    file.take(LONGEST as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    parse(&bytes).ok_or_else(|| MasterKeyError::Content { path: path.to_owned(), len: bytes.len() })
}

fn parse(bytes: &[u8]) -> Option<MasterKey> {
    if let Ok(raw) = <[u8; MASTER_KEY]>::try_from(bytes) {
        return Some(MasterKey { epoch: FIRST_EPOCH, key: Secret::new(raw) });
    }
    let text = bytes.trim_ascii();
    let Some(numbered) = text.strip_prefix(b"epoch ") else {
        return Some(MasterKey { epoch: FIRST_EPOCH, key: parse_key(text)? });
    };
    let end = numbered.iter().position(|octet| *octet == b'\n')?;
    let (number, key) = numbered.split_at_checked(end)?;
    let epoch = str::from_utf8(number).ok()?.trim().parse().ok().filter(|epoch| *epoch > 0)?;
    Some(MasterKey { epoch, key: parse_key(key.trim_ascii())? })
}

fn parse_key(text: &[u8]) -> Option<Secret<[u8; MASTER_KEY]>> {
    let mut key = Zeroizing::new([0; MASTER_KEY]);
    if text.len() == 2 * MASTER_KEY {
        for (octet, digits) in key.iter_mut().zip(text.chunks_exact(2)) {
            let digits = str::from_utf8(digits).ok()?;
            if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return None;
            }
            *octet = u8::from_str_radix(digits, 16).ok()?;
        }
        return Some(Secret::new(*key));
    }
    let engine = base64::engine::general_purpose::STANDARD;
    let decoded = Zeroizing::new(engine.decode(text).ok()?);
    key.copy_from_slice(decoded.get(..).filter(|octets| octets.len() == MASTER_KEY)?);
    Some(Secret::new(*key))
}

fn create(path: &Path) -> Result<(MasterKey, bool), MasterKeyError> {
    let mut key = Zeroizing::new([0; MASTER_KEY]);
    ring::rand::SystemRandom::new().fill(&mut *key).map_err(|_| MasterKeyError::Random)?;
    let failed = |source| MasterKeyError::Create { path: path.to_owned(), source };
    let parent = path.parent().unwrap_or_else(|| Path::new("/"));
    DirBuilder::new().recursive(true).mode(0o700).create(parent).map_err(failed)?;
    // Written whole under a name of its own and then linked, which never replaces a file: two
    // programs that start at once must not each seal under a key of their own.
    let aside = parent.join(format!(".master.{}", std::process::id()));
    let made = disk::replace(&aside, &*key, 0o400)
        .and_then(|()| std::fs::hard_link(&aside, path))
        .and_then(|()| disk::sync_directory(parent));
    // It is linked now, or of no use.
    let _absent = std::fs::remove_file(&aside);
    match made {
        Ok(()) => Ok((MasterKey { epoch: FIRST_EPOCH, key: Secret::new(*key) }, true)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Ok((read(path, true)?, false))
        }
        Err(error) => Err(failed(error)),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn file(content: &[u8], mode: u32) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("master.key");
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        (dir, path)
    }

    fn key_of(source: &MasterKeySource) -> [u8; MASTER_KEY] {
        *source.load().unwrap().present.key.expose()
    }

    #[test]
    fn raw_hexadecimal_and_base64_mean_the_same_key() {
        let raw = [0xab; MASTER_KEY];
        let hex = "ab".repeat(MASTER_KEY) + "\n";
        let base64 = base64::engine::general_purpose::STANDARD.encode(raw) + "\n";
        for content in [&raw[..], hex.as_bytes(), base64.as_bytes()] {
            let (_dir, path) = file(content, 0o400);
            assert_eq!(key_of(&MasterKeySource::File(path)), raw);
        }
    }

    #[test]
    fn other_content_is_refused_with_its_length() {
        for content in [&b""[..], &[1; 31], &[1; 33], &[b'z'; 64], &[b'a'; 5000]] {
            let (_dir, path) = file(content, 0o400);
            let error = MasterKeySource::File(path).load().unwrap_err();
            assert!(matches!(error, MasterKeyError::Content { .. }), "{error}");
        }
    }

    #[test]
    fn a_key_may_say_its_epoch_and_have_its_predecessor_beside_it() {
        let text = format!("epoch 7\n{}\n", "ab".repeat(MASTER_KEY));
        let (dir, path) = file(text.as_bytes(), 0o400);
        let found = MasterKeySource::File(path.clone()).load().unwrap();
        assert_eq!((found.present.epoch, found.former.is_none()), (7, true));
        assert_eq!(*found.present.key.expose(), [0xab; MASTER_KEY]);
        let before = dir.path().join("master.key.former");
        assert_eq!(former(&path), before);
        std::fs::write(&before, [1; MASTER_KEY]).unwrap();
        let error = MasterKeySource::File(path.clone()).load().unwrap_err();
        assert!(matches!(error, MasterKeyError::Open { .. }), "{error}");
        std::fs::set_permissions(&before, std::fs::Permissions::from_mode(0o400)).unwrap();
        let found = MasterKeySource::File(path).load().unwrap();
        assert_eq!(found.former.unwrap().epoch, 1);
        for odd in ["epoch 0\n", "epoch -1\n", "epoch 4294967296\n", "epoch \n", "epoch 1 "] {
            let (_dir, path) = file(format!("{odd}{}", "ab".repeat(32)).as_bytes(), 0o400);
            let error = MasterKeySource::File(path).load().unwrap_err();
            assert!(matches!(error, MasterKeyError::Content { .. }), "{odd:?}");
        }
    }

    #[test]
    fn a_file_open_to_others_is_refused_unless_it_is_a_credential() {
        let (_dir, path) = file(&[1; MASTER_KEY], 0o440);
        let error = MasterKeySource::File(path.clone()).load().unwrap_err();
        assert!(error.to_string().contains("mode 440"), "{error}");
        let error = MasterKeySource::CreateIfMissing(path.clone()).load().unwrap_err();
        assert!(matches!(error, MasterKeyError::Open { .. }), "{error}");
        assert_eq!(key_of(&MasterKeySource::Credential(path)), [1; MASTER_KEY]);
    }

    #[test]
    fn a_missing_file_is_made_once_and_only_if_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("master.key");
        let error = MasterKeySource::File(path.clone()).load().unwrap_err();
        assert!(matches!(error, MasterKeyError::Read { .. }), "{error}");
        let source = MasterKeySource::CreateIfMissing(path.clone());
        let first = source.load().unwrap();
        assert!(first.created);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o400);
        let second = source.load().unwrap();
        assert!(!second.created);
        assert_eq!(first.present.key.expose(), second.present.key.expose());
    }

    #[test]
    fn of_many_that_make_the_key_at_once_one_wins_and_all_have_its_key() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("vault/master.key");
        let first = create(&path).unwrap();
        assert!(first.1);
        // The second one also found no file when it looked.
        let second = create(&path).unwrap();
        assert!(!second.1);
        assert_eq!(first.0.key.expose(), second.0.key.expose());
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_source_survives_the_command_line() {
        for source in [
            MasterKeySource::File("/a".into()),
            MasterKeySource::Credential("/b c".into()),
            MasterKeySource::CreateIfMissing("/d".into()),
            MasterKeySource::Own("/e".into()),
        ] {
            let [kind, path] = source.to_arguments();
            assert_eq!(MasterKeySource::from_arguments(&kind, path), Some(source));
        }
        let [_, path] = MasterKeySource::File("here".into()).to_arguments();
        assert!(Path::new(&path).is_absolute());
    }
}
