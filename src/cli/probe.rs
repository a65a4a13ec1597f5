//! `keyward probe`: what a server shows, to whoever asks as any client does; without a daemon.
//!
//! Nothing of it is believed: that it is shown is all that is said.

use std::time::Duration;

use rustls_pki_types::ServerName;

use super::args_probe::Probe as Asked;
use super::out::Out;
use super::render::Fields;
use super::render::both;
use super::report::DONE;
use super::report::FAILED;
use super::report::FAULT;
use super::report::Report;
use super::report::USAGE;
use super::run::Entrances;
use crate::admin::wire::probe::Look;
use crate::admin::wire::probe::Seen;
use crate::cert::key::KeyKind;
use crate::config::Probe;

/// What `keyward probe` is told.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ProbeOptions {
    /// Where to look.
    pub place: Probe,
    /// The name to ask for.
    pub sni: ServerName<'static>,
    /// The kind of key that is asked for; any without.
    pub key: Option<KeyKind>,
    /// For all of it.
    pub within: Duration,
}

/// `keyward probe URL [--sni NAME] [--key KIND]`
pub(super) fn probe(
    daemon: Entrances,
    what: &Asked,
    within: Duration,
    out: &mut Out,
) -> Result<u8, Report> {
    let sni = match &what.sni {
        Some(name) => name.clone(),
        None => ServerName::try_from(what.place.host.clone()).map_err(|error| {
            Report::new(USAGE, format!("{} cannot be asked for: {error}", what.place.host))
                .hint("--sni with the name that clients ask for")
        })?,
    };
    let key = what.key.as_deref().map(|word| match word {
        "rsa" => KeyKind::Rsa,
        _ => KeyKind::Ecdsa,
    });
    let options = ProbeOptions { place: what.place.clone(), sni, key, within };
    let looked = (daemon.probe)(&options);
    if let Err(failed) = &looked
        && failed.status == FAULT
    {
        return Err(Report::new(FAULT, failed.report.clone()));
    }
    if out.json {
        let status = if looked.is_ok() { DONE } else { FAILED };
        let look = Look {
            place: options.place.to_string(),
            sni: options.sni.to_str().into_owned(),
            error: looked.as_ref().err().map(|failed| failed.report.clone()),
            seen: looked.ok(),
        };
        let text =
            serde_json::to_string(&look).map_err(|error| Report::new(FAULT, error.to_string()))?;
        return out.line(text).map(|()| status);
    }
    match looked {
        Ok(seen) => show(&options, &seen, out).map(|()| DONE),
        Err(failed) => Err(Report::new(FAILED, failed.report)),
    }
}

fn show(options: &ProbeOptions, seen: &Seen, out: &mut Out) -> Result<(), Report> {
    let mut fields = Fields::default();
    fields.add("place", options.place.to_string());
    fields.add("asked for", options.sni.to_str());
    let nameless = seen.names.is_empty();
    fields.add("names", if nameless { "none".to_owned() } else { seen.names.join(", ") });
    fields.add("serial", &seen.serial);
    fields.add("issuer", &seen.issuer);
    fields.add("valid from", both(seen.not_before, out));
    fields.add("not after", both(seen.not_after, out));
    let proven = if seen.proven { "" } else { ", which could not be checked" };
    fields.add("key", format!("{}{proven}", seen.key));
    fields.add(
        "chain",
        match seen.chain {
            1 => "1 certificate".to_owned(),
            count => format!("{count} certificates"),
        },
    );
    fields.add("protocol", &seen.protocol);
    fields.add("SHA-256", &seen.leaf);
    fields.add("seen at", seen.addresses.join(", "));
    for silent in &seen.silent {
        fields.add("silent", silent);
    }
    if seen.passed_over > 0 {
        fields.add("passed over", format!("{} further addresses", seen.passed_over));
    }
    fields.print(out)
}
