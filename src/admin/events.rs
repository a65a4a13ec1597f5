//! The journal over the socket: as a list, or followed as server-sent events.
//!
//! A follower gets every entry after the number that it names (by `after`, or by `Last-Event-ID`
//! when it comes back), read from the store in pages and at the follower's own pace. Entries that
//! the store has dropped meanwhile are a gap in the numbers, which the client can see.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::Context;
use std::task::Poll;

use axum::Extension;
use axum::Json;
use axum::body::Body;
use axum::extract::Query;
use axum::extract::State;
use axum::extract::rejection::QueryRejection;
use axum::response::IntoResponse;
use axum::response::Response;
use bytes::Bytes;
use http::HeaderMap;
use http::header;
use http_body::Frame;
use serde::Deserialize;
use tokio::sync::mpsc;
use utoipa::IntoParams;

use super::caller::Bearer;
use super::caller::Caller;
use super::gate;
use super::routes::Desk;
use super::routes::bad_question;
use super::shares::Hold;
use super::shares::Party;
use super::shares::What;
use super::wire::EVENTS_DEFAULT;
use super::wire::EVENTS_MOST;
use super::wire::EntryView;
use super::wire::Journal;
use super::wire::Problem;
use crate::base::bounds;
use crate::cert::rights::Role;

/// How long a client should wait before it comes back, in the words of the protocol.
const RETRY: &[u8] = b"retry: 1000\n\n";

#[derive(Debug, Deserialize, IntoParams)]
pub(super) struct Question {
    after: Option<u64>,
    limit: Option<usize>,
    #[serde(default)]
    follow: bool,
    /// Only what is told of this certificate, by its whole id.
    certificate: Option<String>,
}

pub(super) async fn events(
    State(desk): State<Desk>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    question: Result<Query<Question>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(question) = question.map_err(|rejection| bad_question(&rejection.body_text()))?;
    let accepts = |value: &str| {
        value
            .split(',')
            .any(|kind| kind.split(';').next().map(str::trim) == Some("text/event-stream"))
    };
    let stream = headers.get(header::ACCEPT).and_then(|v| v.to_str().ok()).is_some_and(accepts);
    let follow = question.follow || stream;
    let last_seen = match headers.get("last-event-id") {
        None => None,
        Some(value) => {
            let number = value.to_str().ok().and_then(|text| text.trim().parse().ok());
            Some(number.ok_or_else(|| bad_question("Last-Event-ID is no number"))?)
        }
    };
    let head = *desk.house.journal_head().borrow();
    let usual = if follow { 0 } else { EVENTS_DEFAULT };
    let limit = question.limit.unwrap_or(usual).min(EVENTS_MOST);
    // Whoever names no place gets the newest `limit` entries.
    let newest = head.saturating_sub(u64::try_from(limit).unwrap_or(u64::MAX));
    let after = last_seen.or(question.after).unwrap_or(newest);
    if !follow {
        let limit = question.limit.unwrap_or(EVENTS_DEFAULT).min(EVENTS_MOST);
        let mut passage = desk.house.journal(after, limit, caller).await?;
        passage.entries.retain(|entry| is_of(entry, question.certificate.as_deref()));
        return Ok(Json(Journal { entries: passage.entries, head }).into_response());
    }
    let place = match desk.shares.take(&Party::of(&caller), What::Follower) {
        Ok(place) => place,
        Err(used_up) => return Ok(gate::refusal(&used_up)),
    };
    let (sender, receiver) = mpsc::channel(bounds::admin::FOLLOW_QUEUE);
    let tasks = desk.tasks.clone();
    tasks.job(
        "admin follower",
        follow_from(desk, (caller, question.certificate), after, sender, place),
    );
    let headers =
        [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-store")];
    Ok((headers, Body::new(Frames(receiver))).into_response())
}

/// Sends entries until the client or the house is gone.
async fn follow_from(
    desk: Desk,
    (caller, certificate): (Caller, Option<String>),
    mut after: u64,
    sender: mpsc::Sender<Bytes>,
    _place: Hold,
) {
    let mut head = desk.house.journal_head();
    let mut rights = desk.rights();
    let may_end = caller.role != Role::Operator || caller.token.is_some();
    // A number from before the store was begun anew would otherwise mean a long silence.
    after = after.min(*head.borrow());
    if sender.send(Bytes::from_static(RETRY)).await.is_err() {
        return;
    }
    loop {
        // Marked as seen before the store is asked: what comes later wakes us again.
        let newest = *head.borrow_and_update();
        while after < newest {
            let page = match desk.house.journal(after, EVENTS_MOST, caller.clone()).await {
                Ok(page) if page.to > after => page,
                // Nothing to send, or nothing to be had: the client comes back for it.
                Ok(_) => break,
                Err(_) => return,
            };
            after = page.to;
            let asked = page.entries.into_iter();
            for entry in asked.filter(|entry| is_of(entry, certificate.as_deref())) {
                let sent = tokio::select! {
                    sent = sender.send(frame(&entry)) => sent.is_ok(),
                    () = desk.stop.cancelled() => false,
                };
                if !sent {
                    return;
                }
            }
        }
        tokio::select! {
            changed = head.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(bounds::ADMIN_KEEP_ALIVE) => {
                // A full queue tells the same: there is something for the client to read.
                let _full = sender.try_send(Bytes::from_static(b": still here\n\n"));
            }
            // Who may still follow comes back and goes on behind the last entry; who operates by the
            // credentials of the socket stays an operator.
            _ = rights.changed(), if may_end => return,
            () = expired(caller.token) => return,
            () = sender.closed() => return,
            () = desk.stop.cancelled() => return,
        }
    }
}

/// Waits until the token has run out, if there is one and it does.
async fn expired(token: Option<Bearer>) {
    match token.and_then(|token| token.until) {
        Some(until) => tokio::time::sleep_until(until).await,
        None => std::future::pending().await,
    }
}

/// Whether an entry is about what was asked for; every one is where nothing was.
fn is_of(entry: &EntryView, certificate: Option<&str>) -> bool {
    certificate.is_none() || entry.certificate.as_deref() == certificate
}

/// One entry as the protocol writes it (HTML Living Standard, section 9.2).
fn frame(entry: &EntryView) -> Bytes {
    // JSON text has no line breaks, and a structure of strings and numbers always serialises.
    let data = serde_json::to_string(entry).unwrap_or_default();
    Bytes::from(format!("id: {}\nevent: entry\ndata: {data}\n\n", entry.seq))
}

/// A body made of what arrives on a channel.
struct Frames(mpsc::Receiver<Bytes>);

impl http_body::Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }
}
