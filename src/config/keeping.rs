//! Hosting and take-over, as a site has them.

use crate::cert::care::Accept;

/// What becomes of certificates that a site has, or that were brought for it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Keeping {
    /// Whether their successors have to be like them.
    pub hosted: bool,
    /// Differences that are agreed to.
    pub accept: Accept,
    /// Whether a free one may take the place of one that was brought and runs out.
    pub take_over: bool,
}

impl Default for Keeping {
    fn default() -> Self {
        Self { hosted: false, accept: Accept::default(), take_over: true }
    }
}
