//! The port behind which certificates are issued for clients and delivered to them: a part of the house.

use super::caller::Caller;
use super::house::HouseError;
use super::select::Selector;
use crate::cert::chain::Chain;
use crate::cert::challenge::BoxFuture;
use crate::vault::age::Recipient;

/// What a client may ask for by the call. The daemon implements it.
pub trait Issuing: Send + Sync {
    /// The chain of what is installed, if `caller` may see it.
    fn chain<'a>(
        &'a self,
        selector: &'a Selector,
        caller: Caller,
    ) -> BoxFuture<'a, Result<Chain, HouseError>>;
    /// The private key, if it may leave, in a file of age that only `recipient` opens.
    fn deliver<'a>(
        &'a self,
        selector: &'a Selector,
        recipient: Recipient,
        caller: Caller,
    ) -> BoxFuture<'a, Result<Vec<u8>, HouseError>>;
}
