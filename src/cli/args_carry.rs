//! What may be written after `export`, `backup` and `restore`, which carry secrets out of the house and back.

use std::path::PathBuf;

use super::args::CONFIG;
use crate::vault::age::Recipient;

#[derive(Debug, clap::Args)]
pub(super) struct Export {
    /// A name it is for, its id, or the beginning of the id
    pub(super) name: String,
    /// Where to write the key, with mode 600; - for standard output
    #[arg(long, value_name = "FILE")]
    pub(super) to: PathBuf,
    /// Where to write the certificate and its intermediates
    #[arg(long, value_name = "FILE")]
    pub(super) chain: Option<PathBuf>,
    /// Replace files that are there already
    #[arg(long)]
    pub(super) force: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Backup {
    /// Where to write it, with mode 600: a file, or a directory for one named after the time
    #[arg(long, value_name = "FILE|DIR", default_value = ".")]
    pub(super) output: PathBuf,
    /// Add the master key, encrypted to this recipient of age (age1...)
    #[arg(long, value_name = "RECIPIENT", group = "wrapping")]
    pub(super) recipient: Option<Recipient>,
    /// Add the master key, encrypted with a passphrase that is asked for twice
    #[arg(long, group = "wrapping")]
    pub(super) passphrase: bool,
    /// The same with the passphrase in the only line of a file, or of a pipe
    #[arg(long, value_name = "FILE", group = "wrapping")]
    pub(super) passphrase_file: Option<PathBuf>,
    /// The file with the master key, if it is not where the configuration says
    #[arg(long, value_name = "FILE", requires = "wrapping")]
    pub(super) master_key: Option<PathBuf>,
    /// The configuration, which goes into the backup
    #[arg(long, value_name = "FILE", env = "KEYWARD_CONFIG", default_value = CONFIG)]
    pub(super) config: PathBuf,
    /// Replace a file that is there already
    #[arg(long)]
    pub(super) force: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Restore {
    /// The backup
    #[arg(value_name = "FILE")]
    pub(super) backup: PathBuf,
    /// A file with the identity of age (AGE-SECRET-KEY-1...) that opens the master key in it
    #[arg(long, value_name = "FILE", group = "opening")]
    pub(super) identity: Option<PathBuf>,
    /// Ask for the passphrase that opens the master key in it
    #[arg(long, group = "opening")]
    pub(super) passphrase: bool,
    /// The same with the passphrase in the only line of a file, or of a pipe
    #[arg(long, value_name = "FILE", group = "opening")]
    pub(super) passphrase_file: Option<PathBuf>,
    /// The configuration; if there is none, that of the backup is written there
    #[arg(long, value_name = "FILE", env = "KEYWARD_CONFIG", default_value = CONFIG)]
    pub(super) config: PathBuf,
}
