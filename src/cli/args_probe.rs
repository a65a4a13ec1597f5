//! What may be written behind `keyward probe`.

use rustls_pki_types::ServerName;

use crate::config::Probe as Place;
use crate::config::ProbeProtocol;

#[derive(Debug, clap::Args)]
pub(super) struct Probe {
    /// Where: PROTOCOL://HOST or PROTOCOL://HOST:PORT, such as smtp://mail.example.org:587
    #[arg(value_name = "URL", value_parser = place)]
    pub(super) place: Place,
    /// The name to ask for, instead of the host
    #[arg(long, value_name = "NAME", value_parser = name)]
    pub(super) sni: Option<ServerName<'static>>,
    /// The certificate with a key of this kind, where a server has one of each
    #[arg(long, value_name = "KIND", value_parser = ["ecdsa", "rsa"])]
    pub(super) key: Option<String>,
}

fn place(text: &str) -> Result<Place, String> {
    Place::parse(text).map_err(|error| {
        let known: Vec<&str> = ProbeProtocol::ALL.iter().map(|(word, ..)| *word).collect();
        format!("{error}; expected PROTOCOL://HOST:PORT with one of {}", known.join(", "))
    })
}

fn name(text: &str) -> Result<ServerName<'static>, String> {
    ServerName::try_from(text.to_owned()).map_err(|error| error.to_string())
}
