//! News as a `POST`: what the body is for each kind of service, how it is signed, and whether the answer
//! means that it was taken.
//!
//! Signed are those whose service looks at it: our own JSON by Standard Webhooks 1.0, DingTalk and Feishu
//! each in a way of its own.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::HeaderMap;
use http::HeaderValue;
use http::Method;
use http::Request;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use http_body_util::Full;
use ring::hmac;
use serde_json::Value;
use serde_json::json;
use url::Url;

use super::letter::Letter;
use super::secret;
use crate::base::Timestamp;
use crate::base::bounds::news::ANSWER;
use crate::base::bounds::news::CONNECT;
use crate::base::bounds::news::EXCHANGE;
use crate::base::exchange::Within;
use crate::base::exchange::send;
use crate::cert::journal::Level;
use crate::config::Form;
use crate::config::Webhook;

const WITHIN: Within = Within { connect: CONNECT, whole: EXCHANGE, octets: ANSWER };

/// Why a message was not taken.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct NotTaken {
    /// In words, without the URL.
    pub(super) reason: String,
    /// After how long it may be tried again, where the service says so.
    pub(super) after: Option<Duration>,
}

impl From<String> for NotTaken {
    fn from(reason: String) -> Self {
        Self { reason, after: None }
    }
}

/// What is sent.
struct Posted {
    url: String,
    headers: HeaderMap,
    body: Vec<u8>,
}

/// Octets of text that a service takes; beyond them it refuses the whole message, or cuts it off.
pub(super) const fn room(form: Form) -> usize {
    match form {
        Form::Json => 256 * 1024,
        Form::Slack => 12_000,
        Form::Discord => 2_000,
        Form::DingTalk | Form::Feishu => 18_000,
        Form::WeCom => 2_000,
        Form::Telegram | Form::Ntfy => 4_000,
    }
}

/// Tells `letter`; `id` is the same whenever the same one is tried again.
///
/// # Errors
/// [`NotTaken`]
pub(super) async fn post(
    hook: &Webhook,
    letter: &Letter<'_>,
    id: &str,
    now: Timestamp,
) -> Result<(), NotTaken> {
    let url = secret::url(&hook.url).await?;
    let secret = match &hook.secret {
        Some(path) => Some(secret::line(path).await?),
        None => None,
    };
    let key = secret.as_ref().map(|secret| secret.as_str());
    let posted = compose(hook, (&url, key), letter, id, now)?;
    let mut request = Request::new(Full::new(Bytes::from(posted.body)));
    *request.method_mut() = Method::POST;
    // The reason is in no message: it might repeat what is a secret.
    *request.uri_mut() = posted.url.parse().map_err(|_| "the URL is none".to_owned())?;
    *request.headers_mut() = posted.headers;
    let answer = send(request, hook.ca.as_deref(), WITHIN).await?;
    if !answer.status.is_success() {
        let status = answer.status.as_u16();
        let why = match answer.status {
            StatusCode::NOT_FOUND | StatusCode::GONE => ": the URL leads nowhere any more",
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => ": it does not let us",
            StatusCode::TOO_MANY_REQUESTS => ": it wants fewer messages",
            _ => "",
        };
        let reason = format!("the answer is {status}{why}");
        return Err(NotTaken { reason, after: answer.retry_after });
    }
    taken(hook.form, &answer.body)?;
    Ok(())
}

fn compose(
    hook: &Webhook,
    (url, secret): (&str, Option<&str>),
    letter: &Letter<'_>,
    id: &str,
    now: Timestamp,
) -> Result<Posted, String> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let mut url = url.to_owned();
    let titled = || format!("{}\n{}", letter.subject(), letter.text());
    let body = match hook.form {
        Form::Json => {
            let body = own(letter, id).to_string().into_bytes();
            for (name, value) in signed(&body, secret, id, now)? {
                let value = HeaderValue::from_str(&value).map_err(|error| error.to_string())?;
                headers.insert(name, value);
            }
            return Ok(Posted { url, headers, body });
        }
        Form::Slack => json!({ "text": titled() }),
        Form::Discord => json!({ "content": titled(), "allowed_mentions": { "parse": [] } }),
        Form::WeCom => json!({ "msgtype": "text", "text": { "content": titled() } }),
        Form::DingTalk => {
            if let Some(secret) = secret {
                url = ding(&url, secret, now)?;
            }
            json!({ "msgtype": "text", "text": { "content": titled() } })
        }
        Form::Feishu => {
            let mut body = json!({ "msg_type": "text", "content": { "text": titled() } });
            if let (Some(secret), Some(all)) = (secret, body.as_object_mut()) {
                let at = now.as_unix().to_string();
                let sign = mac(format!("{at}\n{secret}").as_bytes(), b"");
                all.insert("timestamp".to_owned(), at.into());
                all.insert("sign".to_owned(), sign.into());
            }
            body
        }
        Form::Telegram => json!({
            "chat_id": hook.chat,
            "text": titled(),
            "link_preview_options": { "is_disabled": true },
        }),
        Form::Ntfy => {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
            let priority = match letter.level() {
                Level::Info => "3",
                Level::Warning => "4",
                Level::Error => "5",
            };
            headers.insert("Priority", HeaderValue::from_static(priority));
            if let Ok(title) = HeaderValue::from_str(&letter.subject()) {
                headers.insert("Title", title);
            }
            return Ok(Posted { url, headers, body: letter.text().into_bytes() });
        }
    };
    Ok(Posted { url, headers, body: body.to_string().into_bytes() })
}

/// Our own form: everything that is known, in fields.
fn own(letter: &Letter<'_>, id: &str) -> Value {
    let news: Vec<Value> = letter
        .news
        .iter()
        .map(|entry| {
            json!({
                "seq": entry.seq,
                "at": entry.at.to_string(),
                "kind": entry.kind,
                "level": entry.level,
                "certificate": entry.certificate.map(|id| id.to_string()),
                "name": entry.name,
                "message": entry.message,
            })
        })
        .collect();
    json!({
        "id": id,
        "host": letter.host,
        "channel": letter.channel,
        "level": letter.level(),
        "subject": letter.subject(),
        "text": letter.text(),
        "lost": letter.lost,
        "news": news,
    })
}

/// The fields of Standard Webhooks 1.0; the signature where there is a secret.
fn signed(
    body: &[u8],
    secret: Option<&str>,
    id: &str,
    now: Timestamp,
) -> Result<Vec<(&'static str, String)>, String> {
    let at = now.as_unix().to_string();
    let mut fields = vec![("webhook-id", id.to_owned()), ("webhook-timestamp", at.clone())];
    if let Some(secret) = secret {
        let key = match secret.strip_prefix("whsec_") {
            Some(coded) => BASE64_STANDARD
                .decode(coded)
                .map_err(|_| "what is behind whsec_ in the secret is no base64".to_owned())?,
            None => secret.as_bytes().to_vec(),
        };
        let message = [id.as_bytes(), b".", at.as_bytes(), b".", body].concat();
        fields.push(("webhook-signature", format!("v1,{}", mac(&key, &message))));
    }
    Ok(fields)
}

/// The URL of a robot of DingTalk with what shows that we know its secret.
fn ding(url: &str, secret: &str, now: Timestamp) -> Result<String, String> {
    let at = now.as_unix().saturating_mul(1000).to_string();
    let sign = mac(secret.as_bytes(), format!("{at}\n{secret}").as_bytes());
    let mut url = Url::parse(url).map_err(|_| "the URL is none".to_owned())?;
    url.query_pairs_mut().append_pair("timestamp", &at).append_pair("sign", &sign);
    Ok(url.into())
}

/// HMAC-SHA256 in base64.
fn mac(key: &[u8], message: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    BASE64_STANDARD.encode(hmac::sign(&key, message))
}

/// Some services say no with a status of success.
fn taken(form: Form, body: &[u8]) -> Result<(), String> {
    let (field, good, told) = match form {
        Form::DingTalk | Form::WeCom => ("errcode", json!(0), "errmsg"),
        Form::Feishu => ("code", json!(0), "msg"),
        Form::Telegram => ("ok", json!(true), "description"),
        Form::Json | Form::Slack | Form::Discord | Form::Ntfy => return Ok(()),
    };
    let answer: Value =
        serde_json::from_slice(body).map_err(|_| "the answer is no JSON".to_owned())?;
    if answer.get(field) == Some(&good) {
        return Ok(());
    }
    let why = answer.get(told).and_then(Value::as_str).unwrap_or("for no reason that it tells");
    Err(format!("the service refuses it: {why}"))
}

#[cfg(test)]
#[path = "hook_tests.rs"]
mod tests;
