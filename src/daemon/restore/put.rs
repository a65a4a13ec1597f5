//! What a restore puts down beside the database, for whom, and how it takes it away again.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::path::PathBuf;

use super::refused;
use crate::base::disk;
use crate::config;
use crate::config::Config;
use crate::daemon::Failed;
use crate::daemon::open::Places;
use crate::vault::MasterKeySource;
use crate::vault::seal::MasterKey;

/// Whose everything is to be: who owns the state directory, and may then run the daemon.
#[derive(Clone, Copy)]
pub(super) struct Owner(Option<(u32, u32)>);

impl Owner {
    pub(super) fn of(state: &Path) -> Self {
        let found = std::fs::metadata(state).ok();
        Self(found.map(|found| (found.uid(), found.gid())))
    }

    pub(super) fn give(self, path: &Path) -> Result<(), Failed> {
        let Some((uid, gid)) = self.0 else { return Ok(()) };
        std::os::unix::fs::chown(path, Some(uid), Some(gid))
            .map_err(|error| Failed::forbidden(format!("error: {}: {error}", path.display())))
    }
}

/// The files that were put down so far. They go with this unless they stay.
pub(super) struct Laid {
    owner: Owner,
    files: Vec<PathBuf>,
    configuration: Option<PathBuf>,
}

impl Laid {
    pub(super) const fn new(owner: Owner) -> Self {
        Self { owner, files: Vec::new(), configuration: None }
    }

    pub(super) fn give(&self, path: &Path) -> Result<(), Failed> {
        self.owner.give(path)
    }

    /// Everything stays; returns where the configuration was put, if it was.
    pub(super) fn stays(mut self) -> Option<PathBuf> {
        self.files.clear();
        self.configuration.take()
    }

    /// Puts down the configuration, which everybody may read, as the package does it.
    pub(super) fn configuration(&mut self, path: &Path, text: &[u8]) -> Result<(), Failed> {
        let failed = |error| Failed::unavailable(format!("error: {}: {error}", path.display()));
        path.parent().map_or(Ok(()), std::fs::create_dir_all).map_err(failed)?;
        disk::replace(path, text, 0o644).map_err(failed)?;
        self.files.push(path.to_owned());
        self.configuration = Some(path.to_owned());
        Ok(())
    }

    /// Puts the master key where the configuration has it, unless that very key is there.
    pub(super) fn master(
        &mut self,
        config: &Config,
        places: &Places,
        master: &MasterKey,
    ) -> Result<PathBuf, Failed> {
        let path = match &config.vault.master_key {
            config::MasterKey::File(path) => path.clone(),
            config::MasterKey::Auto => places.vault.join("master.key"),
            config::MasterKey::Passphrase => {
                return Err(refused(
                    "the configuration wants a passphrase, and the backup holds a master key",
                    "name a file for it as master_key below [vault]",
                ));
            }
        };
        let there = path.symlink_metadata().is_ok();
        if there {
            let found = MasterKeySource::Credential(path.clone()).load();
            let found = found.map_err(|error| cannot_put(&path, &error))?.present;
            if found.key.expose() != master.key.expose() || found.epoch != master.epoch {
                return Err(there_is_another("master key", &path));
            }
        }
        self.put(&path, &master.to_file(), there)?;
        Ok(path)
    }

    /// Puts down what lies beside a passphrase, unless that very file is there.
    pub(super) fn verifier(
        &mut self,
        config: &Config,
        places: &Places,
        verifier: &[u8],
    ) -> Result<(), Failed> {
        if config.vault.master_key != config::MasterKey::Passphrase {
            return Err(refused(
                "the master key of the backup comes from a passphrase, which the configuration \
                 does not say",
                "master_key = \"passphrase\" below [vault]",
            ));
        }
        let path = places.vault.join("passphrase");
        let there = path.symlink_metadata().is_ok();
        if there && std::fs::read(&path).map_err(|error| cannot_put(&path, &error))? != verifier {
            return Err(there_is_another("passphrase", &path));
        }
        self.put(&path, verifier, there)
    }

    /// Durable under its name, and of its owner, on return.
    fn put(&mut self, path: &Path, content: &[u8], there: bool) -> Result<(), Failed> {
        if there {
            return self.give(path);
        }
        disk::replace_for(self.owner.0, path, content, 0o400)
            .map_err(|error| cannot_put(path, &error))?;
        self.files.push(path.to_owned());
        Ok(())
    }
}

impl Drop for Laid {
    fn drop(&mut self) {
        for path in self.files.drain(..).rev() {
            // The error that led here is the one worth reporting.
            let _stays = std::fs::remove_file(path);
        }
    }
}

fn cannot_put(path: &Path, error: &dyn std::fmt::Display) -> Failed {
    let place = path.display();
    Failed::unavailable(format!(
        "error: what opens the keys cannot be put to {place}: {error}\n  \
         try: more room, or rights on its directory; nothing was restored"
    ))
}

fn there_is_another(what: &str, path: &Path) -> Failed {
    refused(
        &format!("there is another {what} already: {}", path.display()),
        "put it aside; nothing was restored",
    )
}
