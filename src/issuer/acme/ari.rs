//! When the CA would like a certificate to be renewed (RFC 9773).
//!
//! A plain GET, neither signed nor bound to an account: so it is asked without instant-acme's
//! account, whose answer would also lose the window when `Retry-After` is missing.

use std::sync::atomic::Ordering;
use std::time::Duration;

use instant_acme::RenewalInfo;

use super::AcmeIssuer;
use super::client::CaError;
use super::client::retry_after;
use super::directory::Directory;
use crate::base::Timestamp;
use crate::cert::chain::Chain;
use crate::cert::failure::Failure;
use crate::cert::ports::RenewalAdvice;
use crate::cert::record::Installed;
use crate::cert::validity::RenewalWindow;

/// Nobody is asked more often than this, whatever it says (section 4.3.2).
const SOONEST: Duration = Duration::from_secs(60);

/// And nobody less often.
const LATEST: Duration = Duration::from_secs(24 * 3600);

/// The next try after an error that will not pass by itself (section 4.3.3).
const AFTER_ERROR: Duration = Duration::from_secs(6 * 3600);

/// What one question brought.
enum Asked {
    /// A usable answer.
    Answer(RenewalAdvice),
    /// An error that may pass soon: no connection, 5xx.
    Fleeting,
    /// An error that will not: a bad answer, 4xx.
    Lasting,
}

impl AcmeIssuer {
    /// The advice for what is installed; `None` when there is none to be had.
    ///
    /// A CA that does not answer is no failure: the answer then has no window and says when to
    /// ask again.
    pub(super) async fn advice(
        &self,
        installed: &Installed,
    ) -> Result<Option<RenewalAdvice>, Failure> {
        let now = self.options.clock.now();
        let Some(id) = installed.ari_id.as_deref().filter(|_| self.options.config.renewal_info)
        else {
            return Ok(None);
        };
        // Not after expiry (section 4.3.3).
        if now > installed.validity.not_after {
            return Ok(None);
        }
        match self.directory().await {
            Ok(directory) => Ok(self.ask(&directory, id, now).await),
            Err(_unreachable) => Ok(Some(self.settle(Asked::Fleeting, now))),
        }
    }

    /// The advice right after issuance.
    pub(super) async fn first_advice(
        &self,
        directory: &Directory,
        chain: &Chain,
    ) -> Option<RenewalAdvice> {
        if !self.options.config.renewal_info {
            return None;
        }
        let id = chain.leaf().ok()?.ari_id?;
        self.ask(directory, &id, self.options.clock.now()).await
    }

    async fn ask(&self, directory: &Directory, id: &str, now: Timestamp) -> Option<RenewalAdvice> {
        let base = directory.renewal_info.as_deref()?;
        let url = format!("{}/{id}", base.trim_end_matches('/'));
        let asked = match self.client().await {
            Ok(client) => match client.get(&url).await {
                Ok((parts, body)) => {
                    let delay = retry_after(&parts.headers).map(|after| after.delay(now));
                    read(&body, delay, now)
                }
                Err(error) => error_kind(&error),
            },
            Err(_unusable) => Asked::Fleeting,
        };
        Some(self.settle(asked, now))
    }

    /// Counts failures in a row: after a fleeting one, the next question comes when the silence
    /// has lasted twice as long, which doubles the distance each time.
    fn settle(&self, asked: Asked, now: Timestamp) -> RenewalAdvice {
        match asked {
            Asked::Answer(advice) => {
                self.silent_since.store(0, Ordering::Relaxed);
                advice
            }
            Asked::Lasting => RenewalAdvice { window: None, recheck_at: now.plus(AFTER_ERROR) },
            Asked::Fleeting => {
                let mine = now.as_unix();
                let since = match self.silent_since.compare_exchange(
                    0,
                    mine,
                    Ordering::Relaxed,
                    Ordering::Relaxed,
                ) {
                    Ok(_) => mine,
                    Err(earlier) => earlier,
                };
                let silence = now.since(Timestamp::from_unix(since));
                let recheck_at = now.plus(silence.clamp(SOONEST, AFTER_ERROR));
                RenewalAdvice { window: None, recheck_at }
            }
        }
    }
}

fn error_kind(error: &CaError) -> Asked {
    match error {
        CaError::Transport(_) | CaError::Deadline | CaError::Unsigned(_) => Asked::Fleeting,
        CaError::Refused(refusal) if refusal.status.is_server_error() => Asked::Fleeting,
        CaError::Refused(refusal) if refusal.status.as_u16() == 429 => Asked::Fleeting,
        CaError::TooLarge | CaError::Refused(_) => Asked::Lasting,
    }
}

/// Reads an answer. A window that does not end after it begins makes it void (section 4.2).
fn read(body: &[u8], delay: Option<Duration>, now: Timestamp) -> Asked {
    let Ok(info) = serde_json::from_slice::<RenewalInfo>(body) else {
        return Asked::Lasting;
    };
    let start = Timestamp::from_unix_signed(info.suggested_window.start.unix_timestamp());
    let end = Timestamp::from_unix_signed(info.suggested_window.end.unix_timestamp());
    let Some(window) = RenewalWindow::new(start, end) else {
        return Asked::Lasting;
    };
    let delay = delay.unwrap_or(AFTER_ERROR).clamp(SOONEST, LATEST);
    Asked::Answer(RenewalAdvice { window: Some(window), recheck_at: now.plus(delay) })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix(1_735_000_000);

    fn advice(start: &str, end: &str, delay: Option<u64>) -> Option<(u64, u64, u64)> {
        let body = format!(r#"{{"suggestedWindow": {{"start": "{start}", "end": "{end}"}}}}"#);
        match read(body.as_bytes(), delay.map(Duration::from_secs), NOW) {
            Asked::Answer(advice) => {
                let window = advice.window.unwrap();
                let after = advice.recheck_at.since(NOW).as_secs();
                Some((window.start().as_unix(), window.end().as_unix(), after))
            }
            Asked::Lasting | Asked::Fleeting => None,
        }
    }

    #[test]
    fn a_window_is_read_and_the_distance_to_the_next_question_is_bounded() {
        let (start, end) = ("2025-01-02T04:00:00Z", "2025-01-03T04:00:00Z");
        let (s, e) = (1_735_790_400, 1_735_876_800);
        assert_eq!(advice(start, end, Some(21_600)), Some((s, e, 21_600)));
        assert_eq!(advice(start, end, Some(0)), Some((s, e, 60)));
        assert_eq!(advice(start, end, Some(u64::MAX)), Some((s, e, 86_400)));
        assert_eq!(advice(start, end, None), Some((s, e, 21_600)));
    }

    #[test]
    fn a_reversed_empty_or_unreadable_window_is_none() {
        let (start, end) = ("2025-01-02T04:00:00Z", "2025-01-03T04:00:00Z");
        assert_eq!(advice(end, start, Some(100)), None);
        assert_eq!(advice(start, start, Some(100)), None);
        assert_eq!(advice("yesterday", end, Some(100)), None);
        assert!(matches!(read(b"{}", None, NOW), Asked::Lasting));
    }
}
