//! What may be written after `account` and `rotate`, which are about accounts, keys and other secrets.

use std::path::PathBuf;

use clap::Subcommand;

#[derive(Debug, clap::Args)]
pub(super) struct Account {
    #[command(subcommand)]
    pub(super) what: Option<AccountOrder>,
}

#[derive(Debug, Subcommand)]
pub(super) enum AccountOrder {
    /// Use an account that was opened elsewhere, by its private key; nothing at the CA changes
    Adopt(AdoptAccount),
}

#[derive(Debug, clap::Args)]
pub(super) struct AdoptAccount {
    /// The CA, by the name that sites call it
    #[arg(long, value_name = "NAME", default_value = "acme")]
    pub(super) ca: String,
    /// The account's private key: PEM, or JSON as certbot keeps it (private_key.json)
    #[arg(long, value_name = "FILE")]
    pub(super) key: PathBuf,
    /// Let it take the place of the account that is here
    #[arg(long)]
    pub(super) force: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum Rotate {
    /// The keys of session tickets: no older ticket is accepted from then on
    Tickets,
    /// Replace the master key, and seal everything anew under its successor
    Master {
        /// Wait until the former one is not needed any more
        #[arg(long)]
        wait: bool,
    },
    /// Have the next renewal of certificates make new keys, also where reuse_key is set
    Keys(RotateKeys),
    /// Give the account at a CA another key, which its present one vouches for
    Account {
        /// The CA, by the name that sites call it
        #[arg(long, value_name = "NAME", default_value = "acme")]
        ca: String,
    },
}

#[derive(Debug, clap::Args)]
#[group(id = "which", required = true, multiple = true)]
pub(super) struct RotateKeys {
    /// Names they are for, their ids, or the beginnings of ids
    #[arg(value_name = "NAME", group = "which", conflicts_with = "all")]
    pub(super) names: Vec<String>,
    /// All certificates that are renewed here
    #[arg(long, group = "which")]
    pub(super) all: bool,
    /// Renew at once, instead of when it is due
    #[arg(long)]
    pub(super) now: bool,
}
