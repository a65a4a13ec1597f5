//! How the servers of sites are asked whether they are well, again and again, once for all workers.
//!
//! What is concluded from one answer and from several is decided here; what follows from it for
//! requests, in `origin`.

use std::sync::Arc;
use std::sync::Weak;
use std::time::Duration;

use http::header::{CONNECTION, HOST, USER_AGENT};
use http::{HeaderValue, Method, Request};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio::time::sleep;
use tokio::time::timeout;

use super::body::UpBody;
use super::dial;
use super::dial::Opened;
use super::link::Link;
use super::link::Shared;
use super::standing::Standing;
use super::target::Reach;
use super::tcp::preface;
use super::version;
use super::watching::Tidings;
use crate::config::Health;

/// Where a server stands, by what was asked last.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Course {
    /// `None` until the first answer, which decides alone.
    up: Option<bool>,
    /// Answers in a row that say otherwise.
    against: u32,
}

impl Course {
    /// After one more answer; and whether it is up now, if that has changed.
    fn after(self, good: bool, health: &Health) -> (Self, Option<bool>) {
        if self.up == Some(good) {
            return (Self { against: 0, ..self }, None);
        }
        let against = self.against.saturating_add(1);
        let enough = if good { health.rise } else { health.fall };
        if self.up.is_some() && against < enough {
            return (Self { against, ..self }, None);
        }
        (Self { up: Some(good), against: 0 }, Some(good))
    }
}

/// Checks a server for as long as a site has it.
pub(super) async fn follow(
    standing: Weak<Standing>,
    reach: Arc<Reach>,
    health: Health,
    tidings: Arc<Tidings>,
    turns: Arc<Semaphore>,
) {
    let mut course = Course::default();
    // Servers that are checked as often are not checked at the same time.
    sleep(health.interval.min(FIRST).mul_f64(fastrand::f64())).await;
    while standing.strong_count() > 0 {
        let started = Instant::now();
        // The semaphore is never closed.
        let turn = turns.acquire().await;
        let answer = ask(&reach, &health).await;
        drop(turn);
        let Some(standing) = standing.upgrade() else { return };
        let (next, changed) = course.after(answer.is_ok(), &health);
        let first = course.up.is_none();
        course = next;
        match (changed, answer) {
            (Some(true), _) => {
                standing.rise(Instant::now());
                // That all is well at the start is no news.
                if !first {
                    tracing::info!(server = &*standing.server, "a server of a site is up again");
                    tidings.tell(&standing, None);
                }
            }
            (Some(false), Err(reason)) => {
                tracing::warn!(server = &*standing.server, reason, "a server of a site is down");
                tidings.tell(&standing, Some(reason.clone()));
                standing.fall(reason, Instant::now());
            }
            _ => {}
        }
        drop(standing);
        // A tenth more or less, so that they do not meet in the long run either.
        let pause = health.interval.mul_f64(0.9 + 0.2 * fastrand::f64());
        sleep(pause.saturating_sub(started.elapsed())).await;
    }
}

/// The first check comes within this time, if the interval is not shorter.
const FIRST: Duration = Duration::from_secs(1);

/// Asks once, on a connection of its own: one that is there says little about whether another one
/// would be.
///
/// # Errors
/// In words, why the server is not well.
async fn ask(reach: &Reach, health: &Health) -> Result<(), String> {
    let asking = async {
        let header = reach.proxy.map(preface::nobody).transpose();
        let header = header.map_err(|error| error.to_string())?.unwrap_or_default();
        let opened = dial::connect(reach, reach.speech, health.timeout, &header).await;
        let mut link = match opened.map_err(|error| error.to_string())? {
            Opened::Alone(sender, peer) => Link::Alone(sender, peer),
            Opened::Shared(connection) => Link::Stream(Shared::stream(&connection)),
        };
        let mut request = question(reach, health);
        let formed = if link.is_shared() {
            version::to_two(&mut request, reach.secure.is_some())
        } else {
            version::to_one(&mut request)
        };
        formed.ok_or("it cannot be asked for this path")?;
        let answer = link.send(request).await;
        let status = answer.map_err(|error| error.into_error().to_string())?.status();
        if health.status.contains(&status.as_u16()) {
            Ok(())
        } else {
            Err(format!("it answers with {}", status.as_u16()))
        }
    };
    let late = || format!("it does not answer within {} ms", health.timeout.as_millis());
    timeout(health.timeout, asking).await.unwrap_or_else(|_| Err(late()))
}

fn question(reach: &Reach, health: &Health) -> Request<UpBody> {
    let mut request = Request::new(UpBody::Empty);
    *request.method_mut() = Method::GET;
    // The configuration has no other than can be asked for.
    *request.uri_mut() = health.path.parse().unwrap_or_default();
    let host = health.host.as_deref().and_then(|host| HeaderValue::from_str(host).ok());
    let headers = request.headers_mut();
    headers.insert(HOST, host.unwrap_or_else(|| reach.host.clone()));
    headers.insert(USER_AGENT, HeaderValue::from_static("keyward-health"));
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_answer_decides_and_later_ones_only_several_in_a_row() {
        let health = Health { rise: 2, fall: 3, ..Health::at("/") };
        for (answers, changes) in [
            ("-", "v"),
            ("+", "^"),
            ("+--", "^  "),
            ("+---", "^  v"),
            ("+--+--+---", "^        v"),
            ("-+-++", "v   ^"),
            ("-++---++", "v ^  v ^"),
        ] {
            let mut course = Course::default();
            let told: String = answers
                .chars()
                .map(|answer| {
                    let (next, changed) = course.after(answer == '+', &health);
                    course = next;
                    match changed {
                        Some(true) => '^',
                        Some(false) => 'v',
                        None => ' ',
                    }
                })
                .collect();
            assert_eq!(told, changes, "{answers}");
        }
    }
}
