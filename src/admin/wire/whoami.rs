//! What travels when somebody asks who they are.

use serde::Deserialize;
use serde::Serialize;
use utoipa::ToSchema;

/// `GET /v1/whoami`
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct WhoAmI {
    /// The client of the configuration; none for who may use the socket without being one.
    pub client: Option<String>,
    /// `operator`, `client` or `observer`.
    pub role: String,
    /// What may be asked for: `read`, `issue`, `deploy`, `operate`.
    pub scopes: Vec<String>,
    /// The user at the other end of the socket.
    pub user: u32,
}
