//! What becomes of certificates that were brought for a site, or that it has: hosting and take-over.

use super::super::finding::Findings;
use super::super::keeping::Keeping;
use super::super::key_path::KeyPath;
use super::super::raw::RawKeys;
use super::super::raw_keeping::RawKeeping;
use super::super::suggest;
use super::quoted;
use crate::cert::care::Accept;

/// The latest share of a life at which a free certificate is ordered in the place of one that was
/// brought: a third is what every certificate has left when it is renewed.
const LEFT_MOST: u64 = 33;

pub(super) fn check(raw: &RawKeeping, at: &KeyPath, findings: &mut Findings) -> Keeping {
    let key = at.key("accept");
    let accept = match &raw.accept {
        None => Accept::default(),
        Some(RawKeys::One(word)) => accepted(Accept::default(), word, &key, findings),
        Some(RawKeys::Several(words)) => {
            let mut accept = Accept::default();
            for (number, word) in words.iter().enumerate() {
                accept = accepted(accept, word, &key.index(number), findings);
            }
            accept
        }
    };
    if accept != Accept::default() && !raw.hosted && !findings.is_spoilt(&at.key("hosted")) {
        findings
            .warning(&key, "differences are agreed to, and nothing is hosted")
            .hint("hosted = true, or keyward host NAME --accept for one certificate");
    }
    Keeping { hosted: raw.hosted, accept, take_over: raw.take_over }
}

fn accepted(accept: Accept, word: &str, key: &KeyPath, findings: &mut Findings) -> Accept {
    if let Some(more) = accept.with(word) {
        return more;
    }
    if findings.is_spoilt(key) {
        return accept;
    }
    let finding = findings
        .error(key, format!("{} is no difference that can be agreed to", quoted(word)))
        .expected("\"dv\" (a lower level) or \"issuer\" (another one), or a list of both");
    if let Some(meant) = suggest::nearest(word, Accept::WORDS) {
        finding.hint(format!("{meant:?}"));
    }
    accept
}

/// `acme.take_over_left`, in percent.
pub(super) fn left(raw: u64, findings: &mut Findings) -> u8 {
    let key = KeyPath::dotted("acme.take_over_left");
    if raw > LEFT_MOST && !findings.is_spoilt(&key) {
        findings
            .error(&key, format!("a take-over with {raw} % of the life left is too early"))
            .expected(format!("1 to {LEFT_MOST}, or 0 for none at all"));
    }
    u8::try_from(raw.min(LEFT_MOST)).unwrap_or(0)
}
