//! Connections to servers that are for one client alone, because they began with who it is.
//!
//! They end with the connection of the client. What the header says is the business of `tcp::preface`.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;

use super::connection::Client;
use super::origin::Pool;
use super::target::Target;
use super::tcp::preface;
use crate::base::bounds::origins::OWN_POOLS;
use crate::config::ProxyVersion;

/// Those of one client.
#[derive(Debug, Default)]
pub(super) struct Own(RefCell<Vec<(Box<str>, Rc<Pool>)>>);

impl Own {
    /// The connections to `target`.
    pub(super) fn pool(&self, target: &Target, most: usize) -> Rc<Pool> {
        let mut pools = self.0.borrow_mut();
        if let Some((_, pool)) = pools.iter().find(|(key, _)| **key == *target.key()) {
            return Rc::clone(pool);
        }
        // The one that was opened first; whoever uses it still has it.
        if pools.len() >= OWN_POOLS {
            pools.remove(0);
        }
        let pool = Pool::of(most);
        pools.push((target.key().into(), Rc::clone(&pool)));
        pool
    }
}

/// What a server is told first on a connection for `client`.
///
/// # Errors
/// When something does not fit into a header.
pub(super) fn introduce(client: &Client, version: Option<ProxyVersion>) -> io::Result<Vec<u8>> {
    let Some(version) = version else { return Ok(Vec::new()) };
    let ends = (client.peer_address, client.at);
    preface::header(version, ends, client.name(), client.facts.get())
}
