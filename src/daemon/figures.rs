//! Counters of the vault and the edge as flat lists, for the status.
//!
//! Not here: what is counted, which is with those who count.

use crate::admin::wire;
use crate::edge::EdgeStats;
use crate::vault::VaultFigures;

pub(super) fn vault_figures(figures: VaultFigures) -> wire::Figures {
    [
        ("hits", figures.hits),
        ("misses", figures.misses),
        ("open", figures.open),
        ("open_bytes", figures.open_bytes),
        ("signatures", figures.signatures),
        ("refusals", figures.refusals),
        ("opened", figures.opened),
        ("evictions", figures.evictions),
        ("pinned", figures.pinned),
        ("warmed", figures.warmed),
        ("negative", figures.negative),
        ("together", figures.together),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

/// Nested counters as one flat list: `handshakes.failed.timeout`.
pub(super) fn figures(stats: &EdgeStats) -> wire::Figures {
    fn walk(prefix: &str, value: &serde_json::Value, into: &mut wire::Figures) {
        match value {
            serde_json::Value::Object(fields) => {
                for (name, value) in fields {
                    let dot = if prefix.is_empty() { "" } else { "." };
                    walk(&format!("{prefix}{dot}{name}"), value, into);
                }
            }
            other => {
                into.insert(prefix.to_owned(), other.as_u64().unwrap_or_default());
            }
        }
    }
    let mut flat = wire::Figures::new();
    walk("", &serde_json::to_value(stats).unwrap_or_default(), &mut flat);
    flat
}
