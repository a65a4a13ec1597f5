//! News by mail: one message over SMTP, private on the way or not at all.

use lettre::AsyncSmtpTransport;
use lettre::AsyncTransport as _;
use lettre::Message;
use lettre::Tokio1Executor;
use lettre::message::Mailbox;
use lettre::message::header::ContentType;
use lettre::message::header::HeaderName;
use lettre::message::header::HeaderValue;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::Certificate;
use lettre::transport::smtp::client::CertificateStore;
use lettre::transport::smtp::client::Tls;
use lettre::transport::smtp::client::TlsParameters;

use super::letter::Letter;
use super::secret;
use crate::base::bounds::news::EXCHANGE;
use crate::base::causes::with_causes;
use crate::cert::journal::Level;
use crate::config::Mail;
use crate::config::MailTls;

/// Tells `letter`; `id` is the same whenever the same one is tried again.
///
/// # Errors
/// In words, why it was not taken.
pub(super) async fn mail(mail: &Mail, letter: &Letter<'_>, id: &str) -> Result<(), String> {
    let message = compose(mail, letter, id)?;
    let tls = match mail.tls {
        MailTls::None => Tls::None,
        MailTls::StartTls => Tls::Required(parameters(mail).await?),
        MailTls::Implicit => Tls::Wrapper(parameters(mail).await?),
    };
    let host = mail.host.trim_start_matches('[').trim_end_matches(']');
    let mut transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(host)
        .port(mail.port)
        .timeout(Some(EXCHANGE))
        .tls(tls);
    if let Some((user, file)) = &mail.login {
        let password = secret::line(file).await?;
        transport = transport.credentials(Credentials::new(user.clone(), (*password).clone()));
    }
    let sending = transport.build();
    match tokio::time::timeout(EXCHANGE, sending.send(message)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(with_causes(&error)),
        Err(_) => Err(format!("it was not taken within {} s", EXCHANGE.as_secs())),
    }
}

/// Whom the client believes.
async fn parameters(mail: &Mail) -> Result<TlsParameters, String> {
    let host = mail.host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let ca = mail.ca.clone();
    // It reads files.
    let built = tokio::task::spawn_blocking(move || {
        let mut builder = TlsParameters::builder(host);
        if let Some(path) = &ca {
            let told = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
            let pem = std::fs::read(path).map_err(|error| told(&error))?;
            // One certificate at a time is taken.
            for block in pem_blocks(&pem) {
                let certificate = Certificate::from_pem(block).map_err(|error| told(&error))?;
                builder = builder.add_root_certificate(certificate);
            }
            builder = builder.certificate_store(CertificateStore::None);
        }
        builder.build_rustls().map_err(|error| with_causes(&error))
    });
    built.await.map_err(|_| "the daemon is ending".to_owned())?
}

/// The certificates of a PEM file, each with its lines of beginning and end.
fn pem_blocks(pem: &[u8]) -> impl Iterator<Item = &[u8]> {
    const END: &[u8] = b"-----END CERTIFICATE-----";
    let mut rest = pem;
    std::iter::from_fn(move || {
        let end = memchr::memmem::find(rest, END)?.saturating_add(END.len());
        let (block, after) = rest.split_at_checked(end)?;
        rest = after;
        Some(block)
    })
}

fn compose(mail: &Mail, letter: &Letter<'_>, id: &str) -> Result<Message, String> {
    let mailbox = |text: &str| -> Result<Mailbox, String> {
        text.parse().map_err(|error| format!("{text:?} is no address of mail: {error}"))
    };
    let from = mailbox(&mail.from)?;
    let domain = mail.from.rsplit_once('@').map_or("localhost", |(_, domain)| domain);
    let mut message = Message::builder()
        .from(from)
        .subject(letter.subject())
        // Who gets it twice sees that it is the same.
        .message_id(Some(format!("<{id}@{domain}>")))
        .header(ContentType::TEXT_PLAIN);
    for to in &mail.to {
        message = message.to(mailbox(to)?);
    }
    let mut message =
        message.body(format!("{}\n", letter.text())).map_err(|error| error.to_string())?;
    let headers = message.headers_mut();
    // Nobody's "out of office" is wanted (RFC 3834, section 5).
    headers.insert_raw(HeaderValue::new(
        HeaderName::new_from_ascii_str("Auto-Submitted"),
        "auto-generated".to_owned(),
    ));
    if letter.level() == Level::Error {
        headers.insert_raw(HeaderValue::new(
            HeaderName::new_from_ascii_str("Importance"),
            "high".to_owned(),
        ));
    }
    Ok(message)
}
