//! The journal of the daemon as a stream that does not end: through restarts of the daemon, no entry
//! twice and none left out that is still there.

use std::time::Duration;

use http_body_util::BodyExt as _;
use tokio::sync::mpsc;

use super::super::connect::Client;
use super::super::report::NO_DAEMON;
use super::super::report::Report;
use super::super::sse::Reader;
use crate::admin::wire::EntryView;
use crate::base::bounds;

/// Pause before it comes back.
const PAUSE: Duration = Duration::from_secs(1);

/// What is heard.
#[derive(Debug)]
pub(super) enum Heard {
    Entry(EntryView),
    /// The stream was opened, for the first time or again: what happened before is to be asked for.
    There,
    /// The daemon does not answer.
    Away,
}

/// Tells everything after entry `after` to `told`. Ends only with a refusal, or when nobody listens.
pub(super) async fn follow(
    client: &Client,
    after: u64,
    told: mpsc::Sender<Heard>,
) -> Result<(), Report> {
    let mut last = None;
    loop {
        let path = format!("/events?follow=true&after={after}");
        let heard = match client.stream(&path, last).await {
            Ok(response) => {
                if told.send(Heard::There).await.is_err() {
                    return Ok(());
                }
                drain(response.into_body(), &mut last, &told).await
            }
            Err(report) if report.status == NO_DAEMON || report.is_passing() => {
                told.send(Heard::Away).await.is_ok()
            }
            Err(report) => return Err(report),
        };
        if !heard {
            return Ok(());
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Reads one stream to its end; whether somebody still listens.
async fn drain(
    mut body: hyper::body::Incoming,
    last: &mut Option<u64>,
    told: &mpsc::Sender<Heard>,
) -> bool {
    let mut reader = Reader::default();
    loop {
        // The daemon says something every so often; a long silence is a connection that is dead.
        let silence = bounds::ADMIN_KEEP_ALIVE * 4;
        let Ok(Some(Ok(frame))) = tokio::time::timeout(silence, body.frame()).await else {
            return true;
        };
        let Ok(piece) = frame.into_data() else { continue };
        // What is not understood is heard of by asking.
        let Ok(events) = reader.feed(&piece) else { return true };
        for data in events {
            let Ok(entry) = serde_json::from_str::<EntryView>(&data) else { continue };
            *last = Some(entry.seq);
            if told.send(Heard::Entry(entry)).await.is_err() {
                return false;
            }
        }
    }
}
