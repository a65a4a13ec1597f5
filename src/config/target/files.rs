//! `kind = "files"`: which files a target wants, whose they are, and who is told to read them.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::super::raw_target::RawWords;

/// Files for a program that serves the certificate.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct FileTarget {
    /// The directory in which every pair has one of its own, and `current` leads to the present
    /// one; may hold `{name}`. None where all files have a place of their own.
    pub dir: Option<PathBuf>,
    /// The chain in PEM, leaf first: a name in `dir`, or an absolute path; so the others.
    pub chain: Option<PathBuf>,
    /// The key in PEM.
    pub key: Option<PathBuf>,
    /// Both in one file, the key first: all servers take that that want one file.
    pub combined: Option<PathBuf>,
    /// Both as PKCS #12.
    pub pkcs12: Option<PathBuf>,
    /// Whose they are, by name or number.
    pub owner: Option<String>,
    /// Which group's, by name or number.
    pub group: Option<String>,
    /// The permissions of what holds a key; the chain may be read by all.
    pub mode: Option<u32>,
    /// Who is told.
    pub reload: Option<Reload>,
}

/// How a program is told that there are new files.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Reload {
    /// A unit of systemd is reloaded, or restarted where it cannot be.
    Unit(String),
    /// The process whose number is in a file gets a signal.
    Signal(Signal, PathBuf),
    /// A program is run, with arguments and without a shell; never empty, the first is absolute.
    Program(Vec<String>),
}

/// A signal by which programs are told to read their files again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Signal {
    /// SIGHUP.
    Hup,
    /// SIGUSR1.
    Usr1,
    /// SIGUSR2.
    Usr2,
}

impl Signal {
    /// All of them, by the words of the file.
    pub const ALL: [(&'static str, Self); 3] =
        [("HUP", Self::Hup), ("USR1", Self::Usr1), ("USR2", Self::Usr2)];
}

/// The keys as they are written; see `raw`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(in super::super) struct RawFileTarget {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in super::super) dir: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in super::super) chain: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in super::super) key: Option<RawWords>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in super::super) combined: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in super::super) pkcs12: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in super::super) owner: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in super::super) group: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in super::super) mode: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in super::super) reload: Option<RawWords>,
}

impl RawFileTarget {
    /// A value for every key.
    pub(in super::super) fn example() -> Self {
        let some = |text: &str| Some(text.to_owned());
        Self {
            dir: some("/etc/ssl/keyward/{name}"),
            chain: some("fullchain.pem"),
            key: Some(RawWords::One("privkey.pem".to_owned())),
            combined: some("combined.pem"),
            pkcs12: some("pair.p12"),
            owner: some("root"),
            group: some("ssl-cert"),
            mode: some("0640"),
            reload: Some(RawWords::One("unit:nginx.service".to_owned())),
        }
    }
}
