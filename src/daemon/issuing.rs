//! What clients ask for by the call, as the house does it.

use super::house::Residence;
use crate::admin::Caller;
use crate::admin::HouseError;
use crate::admin::Issuing;
use crate::admin::Selector;
use crate::cert::chain::Chain;
use crate::cert::challenge::BoxFuture;
use crate::vault::age::Recipient;

impl Issuing for Residence {
    fn chain<'a>(
        &'a self,
        selector: &'a Selector,
        caller: Caller,
    ) -> BoxFuture<'a, Result<Chain, HouseError>> {
        Box::pin(self.show_chain(selector, caller))
    }

    fn deliver<'a>(
        &'a self,
        selector: &'a Selector,
        recipient: Recipient,
        caller: Caller,
    ) -> BoxFuture<'a, Result<Vec<u8>, HouseError>> {
        Box::pin(self.send_key(selector, recipient, caller))
    }
}
