//! The one place where a private key exists in the clear: its own process, and the way to it.
//!
//! Three processes take part. Main holds a [`Vault`] and asks. The vault itself
//! ([`serve_vault`]) holds the master key and the opened keys, and can reach nothing but its
//! sockets. The keeper ([`serve_keeper`]) stands between them only to start a vault and to start
//! another when one ends, because what main starts would inherit main's walls.
//!
//! The half that runs in the vault's process (`server`, `desk`, `transfer`, `keys`, `keyring`,
//! `shelf`, `ranking`, `opening`, `refused`, `seal`, `import_box`, `master`, `succession`, `walls`, `purpose`,
//! `ratchet`, `ticketing`, `tally`) uses no runtime, no configuration and no store.

mod account_request;
pub mod age;
mod asker;
pub mod busy_list;
mod channel;
mod client;
mod codec;
mod counting;
mod der;
mod desk;
mod error;
mod figures;
mod gate;
#[cfg(test)]
mod gate_model;
mod greet;
mod handing;
pub mod import_box;
mod issuing;
mod jwk;
mod keeper;
pub mod key_file;
pub mod key_jwk;
pub mod key_locked;
pub mod keyring;
pub mod keys;
pub mod ledger;
mod link;
pub mod master;
mod octets;
mod opening;
pub mod passphrase;
mod porter;
#[cfg(any(test, fuzzing))]
pub mod properties;
pub mod purpose;
pub mod ranking;
mod ratchet;
mod refusal;
mod refused;
mod rotation;
pub mod scheme;
pub mod seal;
mod server;
mod shelf;
mod signer;
pub mod succession;
mod supervisor;
pub mod tally;
pub mod ticket;
mod ticketing;
mod tickets;
pub mod together;
mod transfer;
pub mod walls;
mod warmth;
pub mod wire;
pub mod wire_several;
pub mod wire_tickets;

pub use client::Launched;
pub use client::Vault;
pub use client::VaultOptions;
pub use client::VaultStatus;
pub use error::VaultError;
pub use figures::VaultFigures;
pub use handing::HandedKeeper;
pub use handing::Lineage;
pub use keeper::VaultExit;
pub use keeper::serve_keeper;
pub use link::VaultEvent;
pub use master::MasterKeySource;
pub use server::serve_vault;
pub use server::status;
pub use signer::CsrSigner;
pub use tickets::Turned;
