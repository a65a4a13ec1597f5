//! `[[target]]` and `[deployment]`: where certificates go that others serve.
//!
//! What each kind of target needs stands in a file of its own beside this one; carrying is the
//! business of `deploy`.

mod exec;
mod files;
mod haproxy;
mod preset;
mod presets;
mod probe;

pub use exec::ExecTarget;
pub use exec::Hook;
pub(super) use exec::RawExecTarget;
pub use files::FileTarget;
pub(super) use files::RawFileTarget;
pub use files::Reload;
pub use files::Signal;
pub use haproxy::HaproxyTarget;
pub(super) use haproxy::RawHaproxyTarget;
pub use preset::TargetPreset;
pub(super) use presets::fill;
pub use probe::NoProbe;
pub use probe::Probe;
pub use probe::ProbeProtocol;

use std::time::Duration;

use super::model::Config;
use crate::cert::client::ClientName;
use crate::cert::deployment::TargetName;
use crate::cert::identifier::Identifier;

/// A place to which certificates are brought with their keys.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Target {
    /// Its name, which no other has.
    pub name: TargetName,
    /// What is done there.
    pub kind: TargetKind,
    /// The program whose habits were filled in, if one was named.
    pub preset: Option<TargetPreset>,
    /// The certificates that go there, each as `keyward show` takes it.
    pub certificates: Vec<String>,
    /// Clients who may bring their own certificates there.
    pub clients: Vec<ClientName>,
    /// Where it is seen which certificate is shown; nowhere where there is none.
    pub probe: Option<Probe>,
    /// The name that is asked for there, instead of the first one of the certificate.
    pub sni: Option<Identifier>,
    /// How long bringing one may take.
    pub deadline: Duration,
    /// Line of the file on which it begins, for messages.
    pub line: usize,
}

/// What is done at a target.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum TargetKind {
    /// Files are written, and somebody is told to read them.
    Files(FileTarget),
    /// HAProxy is told over its socket.
    Haproxy(HaproxyTarget),
    /// A program is run.
    Exec(ExecTarget),
}

/// `[deployment]`: what holds for all of them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Deploying {
    /// How often it is looked whether a target still shows what was brought.
    pub watch: Duration,
    /// How many are brought at a time.
    pub together: usize,
}

impl TargetKind {
    /// The word of the file.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Files(_) => "files",
            Self::Haproxy(_) => "haproxy",
            Self::Exec(_) => "exec",
        }
    }
}

impl Target {
    /// The word of the file for its kind, or for its preset.
    pub fn word(&self) -> &'static str {
        self.preset.map_or_else(|| self.kind.word(), TargetPreset::word)
    }
}

impl Config {
    /// The target of that name.
    pub fn target(&self, name: &TargetName) -> Option<&Target> {
        self.targets.iter().find(|target| target.name == *name)
    }
}

/// The path that stands for `name`, the first one of a certificate, in the place of `{name}`; an
/// asterisk is written as `_`.
pub fn path_for(path: &std::path::Path, name: &str) -> std::path::PathBuf {
    let name = name.replace('*', "_").replace(['/', '\0'], "-");
    path.to_string_lossy().replace("{name}", &name).into()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::path_for;

    #[test]
    fn a_name_in_a_path_is_one_part_of_it() {
        let path = Path::new("/etc/ssl/{name}/x");
        assert_eq!(path_for(path, "a.example"), Path::new("/etc/ssl/a.example/x"));
        assert_eq!(path_for(path, "*.example"), Path::new("/etc/ssl/_.example/x"));
        assert_eq!(path_for(path, "../x"), Path::new("/etc/ssl/..-x/x"));
    }
}
