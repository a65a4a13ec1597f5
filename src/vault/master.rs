//! Where the master key comes from, read once by the vault before it walls itself in.

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

use super::seal::MASTER_KEY;
use crate::base::Secret;
use crate::base::disk;

/// Where the master key comes from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum MasterKeySource {
    /// A file that must exist and that nobody but its owner may read.
    File(PathBuf),
    /// A credential of the service manager; who may read it is the manager's affair.
    Credential(PathBuf),
    /// A file that is made with a new key, mode 0400, if it does not exist yet.
    CreateIfMissing(PathBuf),
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
         64 hexadecimal digits, or base64 of 32 octets"
    )]
    Content {
        /// The file.
        path: PathBuf,
        /// Its length in octets; `more than 4096` is told as 4097.
        len: usize,
    },
    /// No randomness for a new key.
    #[error("the operating system gives no randomness for a new master key")]
    Random,
}

impl MasterKeySource {
    /// As two arguments of a command line. The path is made absolute: the vault runs elsewhere.
    pub fn to_arguments(&self) -> [OsString; 2] {
        let (kind, path) = match self {
            Self::File(path) => ("file", path),
            Self::Credential(path) => ("credential", path),
            Self::CreateIfMissing(path) => ("create", path),
        };
        let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
        [kind.into(), path.into()]
    }

    /// From two arguments of a command line; `None` for an unknown kind.
    pub fn from_arguments(kind: &OsString, path: OsString) -> Option<Self> {
        let path = PathBuf::from(path);
        match kind.to_str()? {
            "file" => Some(Self::File(path)),
            "credential" => Some(Self::Credential(path)),
            "create" => Some(Self::CreateIfMissing(path)),
            _ => None,
        }
    }

    /// Reads the key; the second value says whether it was made just now.
    ///
    /// # Errors
    /// [`MasterKeyError`] names the file and what is wrong with it.
    pub fn load(&self) -> Result<(Secret<[u8; MASTER_KEY]>, bool), MasterKeyError> {
        match self {
            Self::File(path) => Ok((read(path, true)?, false)),
            Self::Credential(path) => Ok((read(path, false)?, false)),
            Self::CreateIfMissing(path) => match read(path, true) {
                Err(MasterKeyError::Read { source, .. })
                    if source.kind() == io::ErrorKind::NotFound =>
                {
                    create(path)
                }
                other => Ok((other?, false)),
            },
        }
    }
}

const LONGEST: usize = 4096;

fn read(path: &Path, private: bool) -> Result<Secret<[u8; MASTER_KEY]>, MasterKeyError> {
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

fn parse(bytes: &[u8]) -> Option<Secret<[u8; MASTER_KEY]>> {
    if let Ok(raw) = <[u8; MASTER_KEY]>::try_from(bytes) {
        return Some(Secret::new(raw));
    }
    let text = bytes.trim_ascii();
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

fn create(path: &Path) -> Result<(Secret<[u8; MASTER_KEY]>, bool), MasterKeyError> {
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
        Ok(()) => Ok((Secret::new(*key), true)),
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
        *source.load().unwrap().0.expose()
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
        let (first, created) = source.load().unwrap();
        assert!(created);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o400);
        let (second, created) = source.load().unwrap();
        assert!(!created);
        assert_eq!(first.expose(), second.expose());
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
        assert_eq!(first.0.expose(), second.0.expose());
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_source_survives_the_command_line() {
        for source in [
            MasterKeySource::File("/a".into()),
            MasterKeySource::Credential("/b c".into()),
            MasterKeySource::CreateIfMissing("/d".into()),
        ] {
            let [kind, path] = source.to_arguments();
            assert_eq!(MasterKeySource::from_arguments(&kind, path), Some(source));
        }
        let [_, path] = MasterKeySource::File("here".into()).to_arguments();
        assert!(Path::new(&path).is_absolute());
    }
}
