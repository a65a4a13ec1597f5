//! The bodies and signatures of each kind of service, against what the services document.

use std::path::PathBuf;

use jiff::tz::TimeZone;

use super::*;
use crate::cert::journal::Entry;
use crate::cert::journal::EntryKind;
use crate::config::Place;

const NOW: Timestamp = Timestamp::from_unix(1_614_265_330);

fn hook(form: Form) -> Webhook {
    let url = Place::File(PathBuf::new());
    let chat = (form == Form::Telegram).then(|| "-100".to_owned());
    Webhook { url, form, secret: None, chat, ca: None }
}

fn posted(form: Form, url: &str, secret: Option<&str>) -> (Posted, Value) {
    let at = Timestamp::from_unix(1_800_000_000);
    let told = "it \"stops\"\nhere".to_owned();
    let entry = Entry::about_house(at, EntryKind::Halted, Level::Error, told);
    let news = [Entry { seq: 7, name: Some("shop.example".to_owned()), ..entry }];
    let zone = TimeZone::UTC;
    let letter = Letter { host: "box", channel: "ops", news: &news, lost: 0, zone: &zone };
    let posted = compose(&hook(form), (url, secret), &letter, "box-ops-7", NOW).unwrap();
    let json = serde_json::from_slice(&posted.body).unwrap_or(Value::Null);
    (posted, json)
}

fn field<'a>(posted: &'a Posted, name: &str) -> &'a str {
    posted.headers.get(name).unwrap().to_str().unwrap()
}

/// The example of the specification of Standard Webhooks.
#[test]
fn our_own_form_is_signed_as_standard_webhooks_documents_it() {
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let fields =
        signed(br#"{"test": 2432232314}"#, Some(secret), "msg_p5jXN8AQM9LWM0D4loKWxJek", NOW);
    let signature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
    assert_eq!(fields.unwrap().pop(), Some(("webhook-signature", signature.to_owned())));
    assert!(signed(b"", Some("whsec_?"), "", NOW).is_err());
}

#[test]
fn our_own_form_has_everything_in_fields() {
    let (sent, json) = posted(Form::Json, "https://hook.example/x", Some("plain"));
    assert_eq!(sent.url, "https://hook.example/x");
    assert_eq!(field(&sent, "content-type"), "application/json");
    assert_eq!(field(&sent, "webhook-id"), "box-ops-7");
    assert_eq!(field(&sent, "webhook-timestamp"), "1614265330");
    let message = [b"box-ops-7.1614265330.".as_slice(), &sent.body].concat();
    let signature = field(&sent, "webhook-signature").strip_prefix("v1,").unwrap();
    let signature = BASE64_STANDARD.decode(signature).unwrap();
    let key = hmac::Key::new(hmac::HMAC_SHA256, b"plain");
    hmac::verify(&key, &message, &signature).unwrap();
    let one = &json["news"][0];
    assert_eq!((&one["seq"], &one["kind"]), (&json!(7), &json!("halted")));
    assert_eq!((&one["level"], &one["name"]), (&json!("error"), &json!("shop.example")));
    assert_eq!((&json["host"], &json["channel"]), (&json!("box"), &json!("ops")));
    let (unsigned, _) = posted(Form::Json, "https://hook.example/x", None);
    assert!(unsigned.headers.get("webhook-signature").is_none());
}

#[test]
fn each_service_gets_what_it_documents() {
    let url = "https://hook.example/x?access_token=t";
    let text = |value: &Value| value.as_str().unwrap().contains("it \"stops\"\nhere");
    assert!(text(&posted(Form::Slack, url, None).1["text"]));
    let (_, discord) = posted(Form::Discord, url, None);
    assert!(text(&discord["content"]));
    // Nobody is rung up by a certificate that is called @everyone.
    assert_eq!(discord["allowed_mentions"]["parse"], json!([]));
    let (_, wecom) = posted(Form::WeCom, url, None);
    assert!(wecom["msgtype"] == "text" && text(&wecom["text"]["content"]));
    let (_, telegram) = posted(Form::Telegram, url, None);
    assert!(telegram["chat_id"] == "-100" && text(&telegram["text"]));
    let (ntfy, _) = posted(Form::Ntfy, url, None);
    assert_eq!(
        (field(&ntfy, "priority"), field(&ntfy, "content-type")),
        ("5", "text/plain; charset=utf-8")
    );
    assert_eq!(field(&ntfy, "title"), "keyward on box: shop.example: halted");
}

/// Computed beside this by openssl: `printf '%s\n%s' TIME SECRET | openssl dgst -sha256 -hmac SECRET`
/// for DingTalk, and with both joined as the key and nothing as the message for Feishu.
#[test]
fn robots_are_signed_as_theirs_document_it() {
    let (ding, body) = posted(Form::DingTalk, "https://d.example/s?access_token=t", Some("SECx"));
    assert_eq!(body["msgtype"], "text");
    let url = Url::parse(&ding.url).unwrap();
    let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(pairs[0], pair("access_token", "t"));
    assert_eq!(pairs[1], pair("timestamp", "1614265330000"));
    assert_eq!(pairs[2], pair("sign", DING));
    let (_, feishu) = posted(Form::Feishu, "https://f.example/x", Some("SECx"));
    assert_eq!((&feishu["timestamp"], &feishu["sign"]), (&json!("1614265330"), &json!(FEISHU)));
    assert_eq!(feishu["msg_type"], "text");
}

const DING: &str = "7LXp2fbxWvyLNPvouzQ8qrlnmdpRexWrdo0dwBi0jtc=";
const FEISHU: &str = "PG9QjwtxpwgBNNiZJegrZeg80Sj/KTyq6ggNmRqO13Y=";

#[test]
fn a_refusal_with_a_status_of_success_is_one() {
    assert_eq!(taken(Form::DingTalk, br#"{"errcode":0,"errmsg":"ok"}"#), Ok(()));
    let refused = taken(Form::DingTalk, br#"{"errcode":310000,"errmsg":"sign not match"}"#);
    assert_eq!(refused, Err("the service refuses it: sign not match".to_owned()));
    assert!(taken(Form::WeCom, br#"{"errcode":93000,"errmsg":"x"}"#).is_err());
    assert_eq!(taken(Form::Feishu, br#"{"code":0,"msg":"success"}"#), Ok(()));
    assert!(taken(Form::Feishu, br#"{"code":19021,"msg":"sign"}"#).is_err());
    assert_eq!(taken(Form::Telegram, br#"{"ok":true,"result":{}}"#), Ok(()));
    assert!(taken(Form::Telegram, br#"{"ok":false,"description":"x"}"#).is_err());
    assert!(taken(Form::Telegram, b"<html>").is_err());
    // These answer in plain text, or not at all.
    for form in [Form::Json, Form::Slack, Form::Discord, Form::Ntfy] {
        assert_eq!(taken(form, b""), Ok(()));
    }
}
