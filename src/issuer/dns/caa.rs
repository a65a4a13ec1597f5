//! Whether CAA records let a CA sign a name (RFC 8659; RFC 8657 for accounts and methods). Pure.
//!
//! Where the records are is found by `world`.

use hickory_resolver::proto::rr::rdata::CAA;

/// Who wants to sign, and how it would be asked.
#[derive(Clone, Copy, Debug)]
pub(in crate::issuer) struct Applicant<'a> {
    /// The names by which the CA knows itself in such records; empty where it does not say.
    pub(in crate::issuer) ca: &'a [String],
    /// The URL of the account; none before there is one.
    pub(in crate::issuer) account: Option<&'a str>,
    /// The challenges by which the name may be proven.
    pub(in crate::issuer) methods: &'a [String],
}

/// What the records say.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::issuer) enum Verdict {
    /// The CA may sign.
    Allowed,
    /// It may not, and why.
    Forbidden(String),
    /// It cannot be told, and why.
    Unsure(String),
}

/// What one record asks of a CA.
struct Grant {
    domain: String,
    parameters: Vec<(String, String)>,
}

/// Judges the records of the nearest name that has any; `wildcard` says what is to be signed.
pub(in crate::issuer) fn judge(
    records: &[CAA],
    wildcard: bool,
    applicant: &Applicant<'_>,
) -> Verdict {
    let known = |tag: &str| {
        ["issue", "issuewild", "iodef", "issuemail", "issuevmc", "contactemail", "contactphone"]
            .iter()
            .any(|one| tag.eq_ignore_ascii_case(one))
    };
    if let Some(odd) = records.iter().find(|one| one.issuer_critical && !known(&one.tag)) {
        return Verdict::Forbidden(format!(
            "a critical property {} forbids whoever does not know it",
            odd.tag.escape_default()
        ));
    }
    let of = |tag: &str| -> Vec<&CAA> {
        records.iter().filter(|one| one.tag.eq_ignore_ascii_case(tag)).collect()
    };
    let (issue, wild) = (of("issue"), of("issuewild"));
    // RFC 8659, section 4.3: for a wildcard, the one counts in place of the other.
    let counting = if wildcard && !wild.is_empty() { wild } else { issue };
    if counting.is_empty() {
        return Verdict::Allowed;
    }
    let listed: Vec<String> = counting
        .iter()
        .map(|one| String::from_utf8_lossy(&one.value).escape_default().to_string())
        .collect();
    let listed = listed.join("\", \"");
    if applicant.ca.is_empty() {
        return Verdict::Unsure(format!(
            "the CA does not say by which name it goes in them; they have \"{listed}\""
        ));
    }
    let grants = counting.iter().filter_map(|one| grant(&one.value));
    let ours: Vec<Grant> = grants
        .filter(|grant| applicant.ca.iter().any(|ca| ca.eq_ignore_ascii_case(&grant.domain)))
        .collect();
    if ours.is_empty() {
        let ca = applicant.ca.join(" or ");
        return Verdict::Forbidden(format!("they have \"{listed}\", and the CA goes by {ca}"));
    }
    let verdicts: Vec<Verdict> = ours.iter().map(|grant| conditions(grant, applicant)).collect();
    // One that lets it sign will do.
    let best = |wanted: fn(&Verdict) -> bool| verdicts.iter().find(|one| wanted(one)).cloned();
    best(|one| *one == Verdict::Allowed)
        .or_else(|| best(|one| matches!(one, Verdict::Unsure(_))))
        .or_else(|| verdicts.first().cloned())
        .unwrap_or(Verdict::Allowed)
}

/// The value of a property (RFC 8659, section 4.2); none where it is malformed, which grants nothing.
fn grant(value: &[u8]) -> Option<Grant> {
    let text = std::str::from_utf8(value).ok()?;
    let mut parts = text.split(';').map(|part| part.trim_matches([' ', '\t']));
    let domain = parts.next()?.trim_end_matches('.').to_owned();
    let mut parameters = Vec::new();
    for part in parts.filter(|part| !part.is_empty()) {
        let (key, value) = part.split_once('=')?;
        parameters.push((key.trim().to_ascii_lowercase(), value.trim().to_owned()));
    }
    Some(Grant { domain, parameters })
}

/// What the parameters ask (RFC 8657, sections 3 and 4).
fn conditions(grant: &Grant, applicant: &Applicant<'_>) -> Verdict {
    let all = |key: &str| -> Vec<&str> {
        let of = grant.parameters.iter().filter(|(name, _)| name == key);
        of.map(|(_, value)| value.as_str()).collect()
    };
    let methods = all("validationmethods");
    if let Some(list) = methods.first() {
        let may = list.split(',').map(str::trim);
        if !may.into_iter().any(|one| applicant.methods.iter().any(|method| method == one)) {
            return Verdict::Forbidden(format!(
                "validationmethods={} admits none of: {}",
                list.escape_default(),
                applicant.methods.join(", ")
            ));
        }
    }
    match (all("accounturi").as_slice(), applicant.account) {
        ([], _) => Verdict::Allowed,
        ([only], Some(account)) if *only == account => Verdict::Allowed,
        ([only, ..], Some(account)) => Verdict::Forbidden(format!(
            "accounturi={} is not the account here, {account}",
            only.escape_default()
        )),
        ([only, ..], None) => Verdict::Unsure(format!(
            "accounturi={} stands there, and there is no account here yet",
            only.escape_default()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn property(tag: &str, value: &str, critical: bool) -> CAA {
        let mut caa = CAA::new_issue(critical, None, Vec::new());
        caa.tag = tag.to_owned();
        caa.value = value.as_bytes().to_vec();
        caa
    }

    fn verdict(records: &[(&str, &str)], wildcard: bool) -> Verdict {
        let records: Vec<_> =
            records.iter().map(|(tag, value)| property(tag, value, false)).collect();
        let (ca, methods) = (["ca.example".to_owned()], ["http-01".to_owned(), "dns-01".into()]);
        let account = Some("https://ca.example/acct/7");
        judge(&records, wildcard, &Applicant { ca: &ca, account, methods: &methods })
    }

    #[test]
    fn the_ca_may_sign_what_no_property_or_one_of_its_own_is_about() {
        for (records, wildcard) in [
            (&[][..], false),
            (&[("iodef", "mailto:a@b.example")], false),
            (&[("issue", "CA.example.")], true),
            (&[("issue", "other.example"), ("issue", " ca.example ; ")], false),
            (&[("issuewild", ";")], false),
            (&[("issue", ";"), ("issuewild", "ca.example")], true),
            (&[("issue", "ca.example; accounturi=https://ca.example/acct/7")], false),
            (&[("issue", "ca.example; validationmethods=tls-alpn-01,dns-01")], false),
            (&[("issue", "ca.example; accounturi=x"), ("issue", "ca.example")], false),
        ] {
            assert_eq!(verdict(records, wildcard), Verdict::Allowed, "{records:?} {wildcard}");
        }
    }

    #[test]
    fn what_forbids_it_is_named() {
        for (records, wildcard, said) in [
            (&[("issue", ";")][..], false, "they have \";\""),
            (&[("issue", "other.example")], false, "the CA goes by ca.example"),
            (&[("issue", "ca.example"), ("issuewild", ";")], true, "they have \";\""),
            (&[("issue", "ca.example; accounturi=https://e.example/8")], false, "is not the acc"),
            (&[("issue", "ca.example; validationmethods=tls-alpn-01")], false, "admits none of"),
            (&[("issue", "ca.example; nonsense")], false, "they have"),
        ] {
            let Verdict::Forbidden(why) = verdict(records, wildcard) else {
                panic!("{records:?} {wildcard}")
            };
            assert!(why.contains(said), "{why}");
        }
        let critical = [property("tbs", "x", true)];
        let anybody = Applicant { ca: &[], account: None, methods: &[] };
        assert!(matches!(judge(&critical, false, &anybody), Verdict::Forbidden(_)));
    }

    #[test]
    fn what_cannot_be_told_is_no_refusal() {
        let records = [property("issue", "ca.example; accounturi=https://ca.example/8", false)];
        let (ca, methods) = (["ca.example".to_owned()], ["http-01".to_owned()]);
        let new = Applicant { ca: &ca, account: None, methods: &methods };
        assert!(matches!(judge(&records, false, &new), Verdict::Unsure(_)));
        let nameless = Applicant { ca: &[], account: None, methods: &methods };
        assert!(matches!(judge(&records, false, &nameless), Verdict::Unsure(_)));
    }
}
