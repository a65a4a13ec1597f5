//! What a site or one of its routes asks of requests, as checked.
//!
//! A route's policy is complete: what it left out is the site's already.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::network::IpNetwork;
use crate::base::users::Users;

/// What is asked of requests before they go on, and of answers.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Policy {
    /// Whose requests are answered.
    pub clients: Clients,
    /// Who has to say a password.
    pub auth: Option<BasicAuth>,
    /// How many requests a client network has.
    pub rate: Option<Rate>,
    /// Bytes of the longest body that a request may have.
    pub max_body: Option<u64>,
    /// Bytes of the longest body that an origin's answer may have.
    pub max_answer: Option<u64>,
    /// Pages for errors.
    pub pages: Option<ErrorPages>,
    /// When the site is being worked on.
    pub maintenance: Option<Maintenance>,
    /// Whether answers are made shorter for clients that take them so.
    pub compress: bool,
}

/// Whose requests are answered.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Clients {
    /// Those of these networks; of all, if there are none here.
    pub allow: Vec<IpNetwork>,
    /// Of those, not these.
    pub deny: Vec<IpNetwork>,
}

/// Names and passwords (RFC 7617).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BasicAuth {
    /// What a browser shows beside the question.
    pub realm: String,
    /// Those that the file names.
    pub users: Users,
    /// A file with further ones.
    pub file: Option<PathBuf>,
    /// Whether the origin sees what the client said.
    pub forward: bool,
}

/// How many requests a client network has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Rate {
    /// From one to the next, in the long run.
    pub interval: Duration,
    /// So many at once, after a while without any.
    pub burst: u32,
    /// The number of the route that says so; `None` when it is the site.
    pub route: Option<usize>,
}

/// Pages for errors.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ErrorPages {
    /// Where they lie: `404.html`, `5xx.html` and so on.
    pub dir: PathBuf,
    /// Whether they take the place of an origin's errors as well.
    pub origins: bool,
}

/// When a site is being worked on, so that nobody but some is let in.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Maintenance {
    /// When.
    pub when: When,
    /// Who is let in all the same.
    pub allow: Vec<IpNetwork>,
}

/// When a site is being worked on.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum When {
    /// Until the configuration says otherwise.
    Now,
    /// While there is such a file.
    File(PathBuf),
}

impl Policy {
    /// Whether nothing is asked.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Directories in which files are read, or looked for, while serving.
    pub fn places(&self) -> impl Iterator<Item = &Path> {
        let users = self.auth.iter().filter_map(|auth| auth.file.as_ref()?.parent());
        let pages = self.pages.iter().map(|pages| pages.dir.as_path());
        let closed = self.maintenance.iter().filter_map(|maintenance| match &maintenance.when {
            When::File(path) => path.parent(),
            When::Now => None,
        });
        users.chain(pages).chain(closed)
    }
}

impl Clients {
    /// Whether requests of `address` are answered.
    pub fn admit(&self, address: IpAddr) -> bool {
        let is_in = |networks: &[IpNetwork]| networks.iter().any(|one| one.contains(address));
        !is_in(&self.deny) && (self.allow.is_empty() || is_in(&self.allow))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deny_comes_before_allow_and_an_empty_list_is_everybody() {
        let networks = |texts: &[&str]| {
            let network = |text: &&str| {
                let (address, prefix) = text.split_once('/').unwrap();
                IpNetwork { address: address.parse().unwrap(), prefix: prefix.parse().unwrap() }
            };
            texts.iter().map(network).collect()
        };
        let admit = |allow: &[&str], deny: &[&str], address: &str| {
            let clients = Clients { allow: networks(allow), deny: networks(deny) };
            clients.admit(address.parse().unwrap())
        };
        assert!(admit(&[], &[], "192.0.2.1"));
        assert!(
            admit(&["10.0.0.0/8"], &[], "10.1.2.3") && !admit(&["10.0.0.0/8"], &[], "11.0.0.1")
        );
        assert!(
            admit(&["10.0.0.0/8"], &[], "::ffff:10.1.2.3") && !admit(&["10.0.0.0/8"], &[], "::1")
        );
        assert!(!admit(&["10.0.0.0/8"], &["10.1.0.0/16"], "10.1.2.3"));
        assert!(
            admit(&[], &["10.0.0.0/8"], "11.0.0.1") && !admit(&[], &["10.0.0.0/8"], "10.0.0.1")
        );
        assert!(!admit(&["10.0.0.0/16"], &["0.0.0.0/0"], "10.0.0.1"));
    }
}
