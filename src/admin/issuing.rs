//! The port behind which certificates are issued for clients and delivered to them: a part of the house.

use super::caller::Caller;
use super::house::HouseError;
use super::select::Selector;
use super::wire::CertificateView;
use crate::cert::care::Reason;
use crate::cert::chain::Chain;
use crate::cert::challenge::BoxFuture;
use crate::cert::client::ClientName;
use crate::cert::identifier::Identifier;
use crate::cert::key::KeyAlgorithm;
use crate::cert::request::ClientRequest;
use crate::cert::spec::CertificateId;
use crate::vault::age::Recipient;

/// What is asked for, field by field as it should be.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The names, sorted and without repetition.
    pub names: Vec<Identifier>,
    /// The kind of key.
    pub key: KeyAlgorithm,
    /// Whether the key may be handed out.
    pub exportable: bool,
    /// Whether it is renewed.
    pub hosted: bool,
    /// The request that the client signed itself.
    pub csr: Option<ClientRequest>,
    /// By what the client finds this order again.
    pub idempotency: Option<String>,
    /// On whose behalf, where that is somebody else.
    pub client: Option<ClientName>,
}

/// An order that was taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Placed {
    /// The certificate.
    pub certificate: CertificateId,
    /// Whether it was ordered by this call.
    pub fresh: bool,
}

/// Why no certificate is ordered.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    /// As for any other request.
    #[error(transparent)]
    House(#[from] HouseError),
    /// The client may not have another one.
    #[error("{reason}")]
    Overdrawn {
        /// With the balances, and what would raise them.
        reason: String,
    },
    /// An earlier order with the same key of idempotency was for something else.
    #[error("{reason}")]
    Taken {
        /// Which.
        reason: String,
    },
    /// A client asks on behalf of another one.
    #[error("you may not have certificates issued for client {client}")]
    NotYours {
        /// The other one.
        client: String,
    },
    /// No CA could be shown that the names are the client's.
    #[error("{reason}")]
    Unprovable {
        /// Which name, why, and what to try.
        reason: String,
    },
}

/// What a client may ask for by the call. The daemon implements it.
pub trait Issuing: Send + Sync {
    /// Takes an order of `caller`; that is durable then.
    fn issue(&self, asked: Asked, caller: Caller) -> BoxFuture<'_, Result<Placed, OrderError>>;
    /// Ends an order, or has revoked what was issued: the certificate, and whether its order ended. `None`
    /// for one that nobody ordered by a call.
    fn withdraw<'a>(
        &'a self,
        selector: &'a Selector,
        reason: Reason,
        caller: Caller,
    ) -> BoxFuture<'a, Result<Option<(CertificateView, bool)>, HouseError>>;
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
