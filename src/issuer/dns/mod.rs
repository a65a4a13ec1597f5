//! Proofs by DNS: where they belong, who sets them, and how they are gone again.
//!
//! | file | what it is |
//! |---|---|
//! | `desk` | sets records for an order, waits for them, and has them removed |
//! | `ledger` | which records are there, durable before they are |
//! | `here` | whether an address is this machine's |
//! | `question` | one question to one server, and its whole answer |
//! | `world` | what the servers of a zone say of a name |
//! | `caa` | whether CAA records let a CA sign |
//! | `persist` | the record that proves a name for good |
//! | `lookup` | what the DNS says: aliases, servers of a zone, records |
//! | `guide` | whether a name leads to this machine |
//! | `porter` | a process beside main that starts a clerk for each change |
//! | `clerk` | one change of one zone, in a process of its own that has the secrets |
//! | `updater` | accounts at providers that the crate dns-update speaks to |
//! | `acme_dns` | acme-dns |
//! | `exec` | a program of the operator's |

mod acme_dns;
pub(super) mod caa;
mod clerk;
mod desk;
mod exec;
mod guide;
mod here;
mod ledger;
mod lookup;
pub(super) mod persist;
mod porter;
mod question;
mod secret;
mod updater;
pub(super) mod world;

pub use clerk::Answer;
pub use clerk::Asked;
pub use clerk::serve_clerk;
pub use desk::DnsDesk;
pub use desk::DnsOptions;
pub(super) use desk::Planted;
pub use guide::Astray;
pub use guide::Guide;
pub use here::is_here;
pub use persist::Standing;
pub use porter::serve_porter;
pub use world::Absent;
pub use world::Resolved;
pub use world::Whereabouts;
pub use world::World;
