//! `[allowance]`: how much is free, for how long an order goes on, and who issues.

use std::time::Duration;

use super::super::allowance::Allowance;
use super::super::ca::Acme;
use super::super::finding::Findings;
use super::super::key_path::KeyPath;
use super::super::quantity;
use super::super::raw_allowance::RawAllowance;
use super::super::raw_ca::RawIssuers;
use super::{issuers, quoted};
use crate::base::bounds::allowance::COUNT_MOST;
use crate::base::bounds::allowance::GIVE_UP_LEAST;
use crate::base::bounds::allowance::GIVE_UP_MOST;
use crate::cert::allowance::Class;
use crate::cert::spec::IssuerName;

pub(super) fn check(raw: &RawAllowance, cas: &[Acme], findings: &mut Findings) -> Allowance {
    let at = KeyPath::dotted("allowance");
    let written =
        [(Class::Single, raw.single), (Class::Wildcard, raw.wildcard), (Class::Multi, raw.multi)];
    let free = written.map(|(class, count)| {
        if count > COUNT_MOST {
            findings
                .error(&at.key(class.word()), format!("{count} is out of bounds"))
                .expected(format!("a number up to {COUNT_MOST}"));
        }
        (class, count.min(COUNT_MOST))
    });
    let give_up = give_up(&raw.give_up, &at.key("give_up"), findings);
    Allowance { free, give_up, issuers: who(raw, cas, &at, findings) }
}

fn give_up(text: &str, key: &KeyPath, findings: &mut Findings) -> Duration {
    match quantity::duration(text) {
        Ok(duration) if (GIVE_UP_LEAST..=GIVE_UP_MOST).contains(&duration) => duration,
        _ => {
            let most = GIVE_UP_MOST.as_secs() / 3600;
            findings
                .error(key, format!("{} is no time for an order to go on", quoted(text)))
                .expected(format!("from \"1m\" to \"{most}h\", such as \"24h\""));
            GIVE_UP_LEAST
        }
    }
}

fn who(raw: &RawAllowance, cas: &[Acme], at: &KeyPath, findings: &mut Findings) -> Vec<IssuerName> {
    let imported = |word: &String| word == issuers::IMPORTED;
    let nobody = match &raw.issuer {
        Some(RawIssuers::One(word)) => imported(word),
        Some(RawIssuers::Several(words)) => words.iter().any(imported),
        None => false,
    };
    if nobody {
        findings
            .error(&at.key("issuer"), "nobody issues what is imported")
            .expected("\"acme\", \"internal\", or the name of a [[ca]]")
            .hint("issuer = \"acme\"");
        return vec![IssuerName::Internal];
    }
    let (first, further) = issuers::check(raw.issuer.as_ref(), &[], cas, at, findings);
    std::iter::once(first).chain(further).collect()
}
