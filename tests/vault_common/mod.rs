//! What the tests of the vault share: a directory with a master key, and a vault on it.
#![allow(dead_code, reason = "each test program uses its own part")]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::path::PathBuf;

use keyward::vault::MasterKeySource;
use keyward::vault::Vault;
use keyward::vault::VaultOptions;

pub(crate) struct House {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) key: PathBuf,
}

impl House {
    pub(crate) fn new() -> Self {
        Self::with_key(&[0x42; 32])
    }

    pub(crate) fn with_key(key: &[u8]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("master.key");
        std::fs::write(&path, key).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o400)).unwrap();
        Self { dir, key: path }
    }

    pub(crate) fn options(&self, workers: usize) -> VaultOptions {
        VaultOptions {
            exe: Path::new(env!("CARGO_BIN_EXE_keyward")).to_owned(),
            master: MasterKeySource::File(self.key.clone()),
            cache_bytes: 1024 * 1024,
            workers,
            cores: vec![None; workers],
        }
    }

    pub(crate) fn vault(&self, workers: usize) -> Vault {
        Vault::start(self.options(workers)).unwrap()
    }
}

/// What a TLS 1.3 server signs, with a transcript hash of `len` octets.
pub(crate) fn certificate_verify(len: usize) -> Vec<u8> {
    let mut message = vec![b' '; 64];
    message.extend_from_slice(b"TLS 1.3, server CertificateVerify\0");
    message.extend(std::iter::repeat_n(0x5a, len));
    message
}
