//! `[allowance]`: what each client may have for nothing, and how its certificates are ordered.
//!
//! What an operator grants beside that is kept in the store.

use std::time::Duration;

use crate::cert::allowance::Class;
use crate::cert::spec::IssuerName;

/// `[allowance]`
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Allowance {
    /// How many certificates of each class a client may have, in the order of [`Class::ALL`].
    pub free: [(Class, u64); 3],
    /// How long an order may go on without a certificate before what was reserved is given back.
    pub give_up: Duration,
    /// Who issues, in order of preference; never empty.
    pub issuers: Vec<IssuerName>,
}
