//! What is agreed on with clients, as the socket shows it.

use serde::Deserialize;
use serde::Serialize;
use utoipa::ToSchema;

use super::Moment;

/// What the sites agree on with clients, all together.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DoorView {
    /// Each way that some site has; the most common first.
    pub agreements: Vec<AgreementView>,
    /// How many sites want a certificate of each client.
    pub clients_required: u64,
    /// How many sites look at a certificate if a client shows one.
    pub clients_optional: u64,
    /// Networks of balancers whose word on who the client is counts (PROXY protocol).
    pub proxy_from: Vec<String>,
}

/// A way to agree, and how many sites have it.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AgreementView {
    /// `default`, `modern` or `compatible`.
    pub preset: String,
    /// `1.2` or `1.3`.
    pub min_version: String,
    /// How many sites.
    pub sites: u64,
}

/// What one site agrees on with clients.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TermsView {
    /// The first name of the site.
    pub site: String,
    /// `default`, `modern` or `compatible`.
    pub preset: String,
    /// `1.2` or `1.3`.
    pub min_version: String,
    /// Which certificates of clients it wants, if it does.
    pub clients: Option<ClientsView>,
    /// The servers behind it.
    #[serde(default)]
    pub servers: Vec<ServerView>,
    /// What it asks of requests, each in a few words.
    #[serde(default)]
    pub asks: Vec<String>,
    /// Its routes in the order in which they are tried, each in a few words: which requests it is for,
    /// where they go, and what it asks where that is not what the site does.
    #[serde(default)]
    pub routes: Vec<String>,
}

/// One of the servers behind a site.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ServerView {
    /// Its address, with the port.
    pub address: String,
    /// Its share beside the others.
    pub weight: u32,
    /// `good`, `rising` (it came back and gets less than its share), `left out` (by some worker, for
    /// having failed requests) or `down` (so say the checks).
    pub state: String,
    /// Why, or how much it gets.
    pub detail: Option<String>,
    /// For how many seconds, where it is checked.
    pub since: Option<u64>,
}

/// Which certificates of clients a site wants.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ClientsView {
    /// `required` or `optional`.
    pub mode: String,
    /// The file with the CAs that sign them.
    pub ca: String,
    /// The file with the lists of those that are revoked.
    pub crl: Option<String>,
    /// How many lists are in it.
    pub lists: Option<u64>,
    /// When the first of them runs out; none for lists that do not say so.
    pub lists_until: Option<Moment>,
    /// Why clients with a certificate are not let in, if they are not.
    pub trouble: Option<String>,
}
