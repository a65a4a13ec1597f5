//! What may be written after `import`, `adopt`, `onboard` and `switch`.

use std::path::PathBuf;

use super::adopt::Tool;

#[derive(Debug, clap::Args)]
pub(super) struct Import {
    /// A name that the certificate must be for
    pub(super) name: Option<String>,
    /// The certificate and its intermediates, PEM
    #[arg(long, value_name = "FILE", requires = "key", required_unless_present = "pkcs12")]
    pub(super) cert: Option<PathBuf>,
    /// Its private key, PEM, encrypted or not; may be the same file
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub(super) key: Option<PathBuf>,
    /// Certificate, intermediates and private key in one PKCS#12 file (.p12, .pfx)
    #[arg(long, value_name = "FILE", conflicts_with_all = ["cert", "key"])]
    pub(super) pkcs12: Option<PathBuf>,
    /// The passphrase of an encrypted key in the only line of a file, or of a pipe; without this it
    /// is asked for at the terminal
    #[arg(long, value_name = "FILE")]
    pub(super) passphrase_file: Option<PathBuf>,
    /// Let the key be handed out again by keyward export
    #[arg(long)]
    pub(super) exportable: bool,
    /// Take it in although it ran out or is not valid yet
    #[arg(long)]
    pub(super) force: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Onboard {
    /// The name, which has to lead here
    pub(super) name: String,
    /// Its own origin, instead of that of `[onboarding]`
    #[arg(long, value_name = "URL")]
    pub(super) origin: Option<String>,
    /// Wait until its certificate is installed or has failed
    #[arg(long)]
    pub(super) wait: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Adopt {
    /// Stores: a directory such as /etc/letsencrypt, or the file acme.json of Traefik; without any,
    /// those that lie where they usually do
    #[arg(value_name = "PATH")]
    pub(super) places: Vec<PathBuf>,
    /// Only stores of this tool
    #[arg(long, value_enum, value_name = "TOOL")]
    pub(super) tool: Option<Tool>,
    /// Do it: without this it is only shown
    #[arg(long)]
    pub(super) apply: bool,
    /// Use their accounts at CAs also where there is one here already, which then goes
    #[arg(long)]
    pub(super) accounts: bool,
    /// Let the keys be handed out again by keyward export
    #[arg(long)]
    pub(super) exportable: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Switch {
    /// A name of the site, or the id of one of its certificates
    pub(super) name: String,
    /// Serve the one of the preferred CA again
    #[arg(long)]
    pub(super) back: bool,
}
