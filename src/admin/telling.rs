//! The port behind which people are told of what happens, and its routes: a part of the house.

use axum::Json;
use axum::extract::Path;
use axum::extract::State;
use axum::extract::rejection::PathRejection;

use super::house::HouseError;
use super::routes::Desk;
use super::routes::bad_question;
use super::wire::Problem;
use super::wire::news::Channels;
use super::wire::news::TriedOut;
use crate::cert::challenge::BoxFuture;

/// What can be seen and tried of channels. The daemon implements it.
pub trait Telling: Send + Sync {
    /// The channels, and how each fares.
    fn channels(&self) -> BoxFuture<'_, Result<Channels, HouseError>>;
    /// Has a channel tell a word of its own, and waits until it was taken.
    fn try_out<'a>(&'a self, channel: &'a str) -> BoxFuture<'a, Result<(), HouseError>>;
}

fn telling(desk: &Desk) -> Result<&dyn Telling, Problem> {
    desk.house.telling().ok_or_else(|| {
        let reason = "nobody is told of anything while the store is not readable".to_owned();
        HouseError::Unavailable { reason }.into()
    })
}

/// `GET /v1/notify`
pub(super) async fn list(State(desk): State<Desk>) -> Result<Json<Channels>, Problem> {
    Ok(Json(telling(&desk)?.channels().await?))
}

/// `POST /v1/notify/{channel}/test`
pub(super) async fn test(
    State(desk): State<Desk>,
    channel: Result<Path<String>, PathRejection>,
) -> Result<Json<TriedOut>, Problem> {
    let Path(channel) = channel.map_err(|rejection| bad_question(&rejection.body_text()))?;
    telling(&desk)?.try_out(&channel).await?;
    Ok(Json(TriedOut { channel }))
}
