//! What a provider wants to know of an account, with the secrets as they are: only in the process
//! that makes one change.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::path::PathBuf;

use crate::base::bounds;
use crate::config::DnsAccount;
use crate::config::Setting;

/// Values by the names of their fields.
pub(super) struct Known(BTreeMap<&'static str, String>);

impl Known {
    /// Reads the secrets of `account`.
    ///
    /// # Errors
    /// In words without a secret, when a file is not to be read or is everybody's.
    pub(super) fn of(account: &DnsAccount) -> Result<Self, String> {
        let read = |(name, setting): (&&'static str, &Setting)| {
            let value = match setting {
                Setting::Text(text) => Ok(text.clone()),
                Setting::File(path) => file(path),
                Setting::Credential(credential) => {
                    let directory = std::env::var_os("CREDENTIALS_DIRECTORY");
                    let directory = directory.ok_or("the unit has no credentials");
                    directory
                        .map_err(str::to_owned)
                        .and_then(|directory| file(&PathBuf::from(directory).join(credential)))
                }
            };
            Ok((*name, value.map_err(|reason| format!("{name}: {reason}"))?))
        };
        account.settings.iter().map(read).collect::<Result<_, String>>().map(Self)
    }

    /// The value of a field that is there, as the configuration was checked for.
    pub(super) fn need(&self, name: &str) -> Result<&str, String> {
        self.may(name).ok_or_else(|| format!("{name} is missing"))
    }

    /// The value of a field that may be there.
    pub(super) fn may(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    #[cfg(test)]
    pub(super) fn from(values: impl IntoIterator<Item = (&'static str, String)>) -> Self {
        Self(values.into_iter().collect())
    }
}

/// What the file holds, without white space around it.
fn file(path: &Path) -> Result<String, String> {
    let failed = |error: std::io::Error| format!("{} cannot be read: {error}", path.display());
    let file = File::open(path).map_err(failed)?;
    let about = file.metadata().map_err(failed)?;
    if about.permissions().mode() & 0o007 != 0 {
        return Err(format!("everybody can read {}: chmod o= it", path.display()));
    }
    let mut text = String::new();
    file.take(bounds::dns::SECRET).read_to_string(&mut text).map_err(failed)?;
    let text = text.trim().to_owned();
    if text.is_empty() { Err(format!("{} is empty", path.display())) } else { Ok(text) }
}
