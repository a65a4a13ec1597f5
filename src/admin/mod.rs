//! The window and the doorbell: a JSON interface on a local socket.
//!
//! `wire` is what travels, and all that clients know of this room. `house` is the port behind
//! which the daemon stands; `view` turns records into what travels. `bind`, `access`, `server`,
//! `routes` and `events` are the way from the socket to the house; `gate` finds out who asks
//! (`caller`), of those whom the configuration knows (`people`, `follow`), and what is left of their
//! `shares`; `ways` is the table of all routes, with what each needs of who asks. Nothing here decides anything about certificates.

mod access;
mod accounts;
mod bind;
mod books;
mod caller;
mod care;
mod delivery;
mod deploying;
mod document;
mod etag;
mod events;
mod filter;
mod follow;
mod gate;
mod guests;
mod handover;
mod house;
mod issuing;
mod order_check;
mod orders;
mod page;
mod patience;
mod people;
mod rotate;
mod routes;
mod select;
mod server;
mod shares;
mod sketch;
mod standby;
mod telling;
mod tokens;
mod transfer;
pub mod view;
mod view_care;
mod ways;
mod whoami;
pub mod why;
pub mod wire;

pub use access::{Access, Peer};
pub use bind::{BindError, Bound, Left, bind, handed, inherited};
pub use books::Books;
pub use books::Granting;
pub use caller::{Bearer, Caller};
pub use deploying::Deploying;
pub use deploying::Overview;
pub use document::{document, document_text};
pub use filter::Filter;
pub use house::{House, HouseError, Passage};
pub use issuing::{Asked, Issuing, OrderError, Placed};
pub use page::Place;
pub use select::{Selector, find};
pub use server::serve;
pub use telling::Telling;
pub use tokens::{Granted, Keyring};
pub use ways::{Need, Open, table};
