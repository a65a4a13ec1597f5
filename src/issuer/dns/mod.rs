//! Proofs by DNS: where they belong, who sets them, and how they are gone again.
//!
//! | file | what it is |
//! |---|---|
//! | `desk` | sets records for an order, waits for them, and has them removed |
//! | `ledger` | which records are there, durable before they are |
//! | `lookup` | what the DNS says: aliases, servers of a zone, records |
//! | `guide` | whether a name leads to this machine |
//! | `porter` | a process beside main that starts a clerk for each change |
//! | `clerk` | one change of one zone, in a process of its own that has the secrets |
//! | `updater` | accounts at providers that the crate dns-update speaks to |
//! | `acme_dns` | acme-dns |
//! | `exec` | a program of the operator's |

mod acme_dns;
mod clerk;
mod desk;
mod exec;
mod guide;
mod ledger;
mod lookup;
mod porter;
mod secret;
mod updater;

pub use clerk::Answer;
pub use clerk::Asked;
pub use clerk::serve_clerk;
pub use desk::DnsDesk;
pub use desk::DnsOptions;
pub(super) use desk::Planted;
pub use guide::Astray;
pub use guide::Guide;
pub use porter::serve_porter;
