//! The record that proves names for good (draft-ietf-acme-dns-persist-00, dns-persist-01): what has to
//! stand there, and whether it does. Pure.
//!
//! Nobody here sets it: its point is that the account's owner does so once, by hand.

use crate::base::Timestamp;

/// Issuers that a CA may go by in one challenge (section 4 of the draft).
pub(in crate::issuer) const ISSUERS: usize = 10;

/// Who is to be let prove what.
#[derive(Clone, Copy, Debug)]
pub(in crate::issuer) struct Grant<'a> {
    /// The names by which the CA goes; empty where it does not say.
    pub(in crate::issuer) issuers: &'a [String],
    /// The URL of the account.
    pub(in crate::issuer) account: &'a str,
    /// Whether it is for a wildcard.
    pub(in crate::issuer) wildcard: bool,
}

/// What stands there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Standing {
    /// What is needed; until then, where it says so.
    Good(Option<Timestamp>),
    /// Nothing at all.
    Nothing,
    /// Records, and none of them is for this CA.
    Others,
    /// One for this CA and another account.
    OtherAccount,
    /// One that does not say that it is for wildcards.
    NoWildcard,
    /// One whose time ended then.
    Over(Timestamp),
}

impl Standing {
    /// What is amiss, in words.
    pub fn lacking(self) -> Option<String> {
        Some(match self {
            Self::Good(_) => return None,
            Self::Nothing => "no such record is there".to_owned(),
            Self::Others => "the records there are for other CAs".to_owned(),
            Self::OtherAccount => "the record there is for another account".to_owned(),
            Self::NoWildcard => "the record there has no policy=wildcard".to_owned(),
            Self::Over(at) => format!("the record there ended at {at}"),
        })
    }
}

/// Where the record for `host` belongs: a wildcard's is that of what it is below of.
pub(in crate::issuer) fn place(host: &str) -> String {
    format!("_validation-persist.{}", host.strip_prefix("*.").unwrap_or(host))
}

/// What it has to say for the CA that goes by `issuer`.
pub(in crate::issuer) fn text(issuer: &str, account: &str, wildcard: bool) -> String {
    let policy = if wildcard { "; policy=wildcard" } else { "" };
    format!("{issuer}; accounturi={account}{policy}")
}

/// Whether one of `texts` lets `grant` prove the name at `now`; of several that do, the one that lasts
/// longest counts, and of those that do not, the one that lacks least.
pub(in crate::issuer) fn judge(texts: &[String], grant: &Grant<'_>, now: Timestamp) -> Standing {
    let standings = texts.iter().map(|text| one(text, grant, now));
    standings.max_by_key(rank).unwrap_or(Standing::Nothing)
}

const fn rank(standing: &Standing) -> (u8, u64) {
    match standing {
        Standing::Good(None) => (6, 0),
        Standing::Good(Some(until)) => (5, until.as_unix()),
        Standing::Over(at) => (4, at.as_unix()),
        Standing::NoWildcard => (3, 0),
        Standing::OtherAccount => (2, 0),
        Standing::Others => (1, 0),
        Standing::Nothing => (0, 0),
    }
}

/// A record in the form of CAA's issue-value (RFC 8659, section 4.2). What cannot be read, or says
/// something twice, is for nobody.
fn one(text: &str, grant: &Grant<'_>, now: Timestamp) -> Standing {
    let mut parts = text.split(';').map(str::trim);
    let issuer = parts.next().unwrap_or_default().trim_end_matches('.');
    let is_ours = |one: &String| one.trim_end_matches('.').eq_ignore_ascii_case(issuer);
    if issuer.is_empty() || (!grant.issuers.is_empty() && !grant.issuers.iter().any(is_ours)) {
        return Standing::Others;
    }
    let (mut account, mut policy, mut until) = (None, None, None);
    for part in parts.filter(|part| !part.is_empty()) {
        let Some((key, value)) = part.split_once('=') else { return Standing::Others };
        let place = match key.trim().to_ascii_lowercase().as_str() {
            "accounturi" => &mut account,
            "policy" => &mut policy,
            "persistuntil" => &mut until,
            // Section 5: what is not known is passed over.
            _ => continue,
        };
        if place.replace(value.trim()).is_some() {
            return Standing::Others;
        }
    }
    if account != Some(grant.account) {
        return Standing::OtherAccount;
    }
    if grant.wildcard && !policy.is_some_and(|policy| policy.eq_ignore_ascii_case("wildcard")) {
        return Standing::NoWildcard;
    }
    match until.map(str::parse::<u64>) {
        None => Standing::Good(None),
        Some(Err(_)) => Standing::Others,
        Some(Ok(seconds)) => {
            let until = Timestamp::from_unix(seconds);
            if until > now { Standing::Good(Some(until)) } else { Standing::Over(until) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACCOUNT: &str = "https://ca.example/acct/7";

    fn standing(texts: &[&str], wildcard: bool) -> Standing {
        let issuers = ["ca.example".to_owned(), "ca.test".to_owned()];
        let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
        let grant = Grant { issuers: &issuers, account: ACCOUNT, wildcard };
        judge(&texts, &grant, Timestamp::from_unix(1000))
    }

    #[test]
    fn what_is_printed_is_what_is_found_good() {
        for wildcard in [false, true] {
            let text = text("ca.example", ACCOUNT, wildcard);
            assert_eq!(standing(&[&text], wildcard), Standing::Good(None), "{text}");
        }
        assert_eq!(place("*.shop.example"), "_validation-persist.shop.example");
        assert_eq!(place("shop.example"), "_validation-persist.shop.example");
    }

    #[test]
    fn what_is_amiss_is_told_apart() {
        let uri = format!("accounturi={ACCOUNT}");
        let with = |more: &str| format!("ca.example; {uri}{more}");
        let until = Timestamp::from_unix;
        for (texts, wildcard, expected) in [
            (vec![], false, Standing::Nothing),
            (vec!["v=spf1 -all".to_owned()], false, Standing::Others),
            (vec![format!("other.example; {uri}")], false, Standing::Others),
            (vec![format!(";{uri}")], false, Standing::Others),
            (vec!["ca.example".to_owned()], false, Standing::OtherAccount),
            (vec![format!("ca.example; {uri}8")], false, Standing::OtherAccount),
            (vec![format!("CA.Test.;AccountURI={ACCOUNT};odd=1")], false, Standing::Good(None)),
            (vec![with("; policy=strict")], true, Standing::NoWildcard),
            (vec![with("; policy=WildCard")], true, Standing::Good(None)),
            (vec![with("; persistUntil=1001")], false, Standing::Good(Some(until(1001)))),
            (vec![with("; persistUntil=1000")], false, Standing::Over(until(1000))),
            (vec![with("; persistUntil=soon")], false, Standing::Others),
            (vec![with(&format!("; {uri}"))], false, Standing::Others),
            (
                vec![with("; persistUntil=9"), with("; persistUntil=2000")],
                false,
                Standing::Good(Some(until(2000))),
            ),
        ] {
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            let found = standing(&texts, wildcard);
            assert_eq!(found, expected, "{texts:?}");
            assert_eq!(found.lacking().is_none(), matches!(expected, Standing::Good(_)));
        }
    }
}
