//! What may be written after `pack`, `ledger` and `allowance`.

use clap::Subcommand;

use super::when;
use crate::base::Timestamp;
use crate::cert::allowance::Class;
use crate::cert::client::ClientName;

#[derive(Debug, Subcommand)]
pub(super) enum Pack {
    /// Let a client have more certificates of a class
    Grant(Grant),
    /// List packs, of one client or of all
    List {
        /// The client
        #[arg(value_parser = ClientName::parse)]
        client: Option<ClientName>,
    },
    /// Take back what is left of a pack; what is being ordered for it goes on
    Revoke {
        /// Its number, as keyward pack list shows it
        id: u64,
    },
}

#[derive(Debug, clap::Args)]
pub(super) struct Grant {
    /// The client
    #[arg(value_parser = ClientName::parse)]
    pub(super) client: ClientName,
    /// Of which class: single, wildcard or multi
    #[arg(long, value_name = "CLASS", value_parser = class)]
    pub(super) class: Class,
    /// How many certificates
    #[arg(long, value_name = "N")]
    pub(super) count: u64,
    /// Until when they may be had: a day, which is included, or a moment, in the local time zone unless
    /// it says otherwise (2027-01-31, 2027-01-31T12:00, 2027-01-31T12:00+02:00); for ever without it
    #[arg(long, value_name = "DATE", value_parser = when::until)]
    pub(super) until: Option<Timestamp>,
    /// Why, for the ledger
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub(super) note: String,
}

#[derive(Debug, clap::Args)]
pub(super) struct Ledger {
    /// The client; all of them without one
    #[arg(value_parser = ClientName::parse)]
    pub(super) client: Option<ClientName>,
    /// Only what is behind this entry
    #[arg(long, value_name = "SEQ", default_value = "0", hide_default_value = true)]
    pub(super) after: u64,
    /// At most so many entries
    #[arg(long, value_name = "N", conflicts_with = "all")]
    pub(super) limit: Option<usize>,
    /// All of them, however many
    #[arg(long)]
    pub(super) all: bool,
}

fn class(text: &str) -> Result<Class, String> {
    Class::parse(text).ok_or_else(|| "one of single, wildcard, multi".to_owned())
}
