//! `[tls]`: what is agreed on with clients of the front door.

use std::time::Duration;

use super::super::finding::Findings;
use super::super::key_path::KeyPath;
use super::super::model::{TicketMode, Tls};
use super::super::quantity;
use super::super::raw::RawTls;
use super::super::suggest;
use super::quoted;

/// Below, clients that come back now and then find no key that is still accepted; above, a key
/// that leaks opens too much.
const ROTATION: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(600)..=Duration::from_secs(24 * 3600);

const MODES: [(&str, TicketMode); 3] =
    [("fast", TicketMode::Fast), ("strict", TicketMode::Strict), ("off", TicketMode::Off)];

pub(super) fn check(raw: &RawTls, findings: &mut Findings) -> Tls {
    let key = KeyPath::dotted("tls.tickets");
    let tickets = MODES.iter().find(|(name, _)| *name == raw.tickets).map(|(_, mode)| *mode);
    if tickets.is_none() {
        let finding = findings
            .error(&key, format!("the kind of tickets {} is not known", quoted(&raw.tickets)))
            .expected("one of fast, strict, off");
        if let Some(meant) = suggest::nearest(&raw.tickets, MODES.map(|(name, _)| name)) {
            finding.hint(format!("{meant:?}"));
        }
    }
    let key = KeyPath::dotted("tls.ticket_rotation");
    let ticket_rotation = match quantity::duration(&raw.ticket_rotation) {
        Ok(rotation) if ROTATION.contains(&rotation) => rotation,
        Ok(_) => {
            let text = quoted(&raw.ticket_rotation);
            findings
                .error(&key, format!("a rotation every {text} is out of bounds"))
                .expected("at least 10m and at most 24h");
            *ROTATION.start()
        }
        Err(_) => {
            let text = quoted(&raw.ticket_rotation);
            findings
                .error(&key, format!("{text} is no duration"))
                .expected("a whole number and one of ms, s, m, h, such as \"1h\"");
            *ROTATION.start()
        }
    };
    Tls { tickets: tickets.unwrap_or(TicketMode::Off), ticket_rotation }
}
