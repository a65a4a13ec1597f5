//! An order as a client sends it, looked at field by field: everything that is wrong with it is told at
//! once.
//!
//! Not here: whether the client may have it, and whether a CA can be shown that the names are its.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::issuing::Asked;
use super::wire::issue::FieldProblem;
use super::wire::issue::IssueOrder;
use crate::base::bounds;
use crate::cert::client::ClientName;
use crate::cert::identifier::Identifier;
use crate::cert::key::KeyAlgorithm;
use crate::cert::request::ClientRequest;

/// Characters of a value that are repeated.
const SHOWN: usize = 80;

/// Characters of a name that are read; the longest has 253, and more where it is not ASCII.
const NAME: usize = 1024;

/// What is asked for, or what is wrong with it. `header` is the field `Idempotency-Key`.
pub(super) fn check(order: IssueOrder, header: Option<&str>) -> Result<Asked, Vec<FieldProblem>> {
    let mut wrong = Wrong(Vec::new());
    let csr = order.csr.as_deref().and_then(|text| request(text, &mut wrong));
    let mut names = read_names(&order.names, &mut wrong);
    match &csr {
        Some(request) if order.names.is_empty() => names = request.names().to_vec(),
        Some(request) if wrong.0.is_empty() && names != request.names() => {
            let told: Vec<_> = request.names().iter().map(ToString::to_string).collect();
            let detail =
                format!("the request is for {}: expected the same, or none", told.join(", "));
            wrong.add("names", &order.names.join(", "), detail);
        }
        None if order.names.is_empty() && order.csr.is_none() => {
            wrong.add("names", "", "expected 1 to 100 names, or a csr");
        }
        Some(_) | None => {}
    }
    for name in names.iter().filter(|name| is_public_suffix(name)) {
        let detail =
            "it is a public suffix, below which names are anybody's: expected a name below it";
        wrong.add("names", &name.text(), detail);
    }
    let count = names.len();
    let most = bounds::NAMES_PER_CERTIFICATE;
    if count > most {
        wrong.add("names", &count.to_string(), format!("too many: expected at most {most}"));
    }
    let mut key = KeyAlgorithm::P256;
    if let Some(text) = &order.key {
        let all = [KeyAlgorithm::P256, KeyAlgorithm::P384, KeyAlgorithm::Rsa2048];
        match all.into_iter().find(|one| one.text() == text) {
            Some(found) => key = found,
            None => wrong.add("key", text, "expected p256, p384 or rsa2048"),
        }
    }
    if order.csr.is_some() {
        let elsewhere = "with a csr the key is the client's, and never comes here: leave it out";
        if let Some(text) = &order.key {
            wrong.add("key", text, elsewhere);
        }
        if order.exportable {
            wrong.add("exportable", "true", elsewhere);
        }
    }
    let idempotency = idempotency(order.idempotency_key.as_deref(), header, &mut wrong);
    let client = order.client.as_deref().and_then(|text| {
        let read = ClientName::parse(text);
        read.map_err(|error| wrong.add("client", text, error.to_string())).ok()
    });
    if !wrong.0.is_empty() {
        return Err(wrong.0);
    }
    let key = csr.as_ref().map_or(key, ClientRequest::algorithm);
    let (exportable, hosted) = (order.exportable, order.hosted);
    Ok(Asked { names, key, exportable, hosted, csr, idempotency, client })
}

struct Wrong(Vec<FieldProblem>);

impl Wrong {
    fn add(&mut self, field: &str, value: &str, detail: impl Into<String>) {
        let (field, value) = (field.to_owned(), value.chars().take(SHOWN).collect());
        self.0.push(FieldProblem { field, value, detail: detail.into() });
    }
}

fn read_names(texts: &[String], wrong: &mut Wrong) -> Vec<Identifier> {
    let mut names = Vec::new();
    // What is too many is told by the number, and not one by one.
    for (at, text) in texts.iter().enumerate().take(bounds::NAMES_PER_CERTIFICATE * 2) {
        let field = || format!("names[{at}]");
        if text.len() > NAME {
            wrong.add(&field(), text, "the name is too long: more than 253 characters");
            continue;
        }
        match Identifier::parse(text) {
            Ok(name) => names.push(name),
            Err(error) => wrong.add(&field(), text, error.to_string()),
        }
    }
    names.sort();
    names.dedup();
    names
}

/// PEM, or DER in base64.
fn request(text: &str, wrong: &mut Wrong) -> Option<ClientRequest> {
    let read = if text.trim_start().starts_with("-----BEGIN") {
        ClientRequest::read(text.as_bytes()).map_err(|error| error.to_string())
    } else {
        let plain: String = text.chars().filter(|c| !c.is_ascii_whitespace()).collect();
        match STANDARD.decode(plain) {
            Ok(der) => ClientRequest::from_der(&der).map_err(|error| error.to_string()),
            Err(_) => Err("neither PEM nor base64: expected a certificate request".to_owned()),
        }
    };
    // What was pasted there by mistake may be a private key.
    read.map_err(|detail| wrong.add("csr", "", detail)).ok()
}

/// The key of the body or of the header, which may be written as a string of structured fields (RFC 9651,
/// section 3.3.3) or plainly.
fn idempotency(body: Option<&str>, header: Option<&str>, wrong: &mut Wrong) -> Option<String> {
    let header = header.map(|text| {
        let bare = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
        bare.unwrap_or(text)
    });
    if let (Some(body), Some(header)) = (body, header)
        && body != header
    {
        let detail = format!("the header field Idempotency-Key says {header:?}: say one of them");
        wrong.add("idempotency_key", body, detail);
    }
    let key = body.or(header)?;
    let plain = key.bytes().all(|octet| (b' '..=b'~').contains(&octet));
    if key.is_empty() || key.len() > bounds::orders::IDEMPOTENCY_KEY || !plain {
        let most = bounds::orders::IDEMPOTENCY_KEY;
        wrong.add("idempotency_key", key, format!("expected 1 to {most} characters of ASCII"));
    }
    Some(key.to_owned())
}

fn is_public_suffix(name: &Identifier) -> bool {
    let text = match name {
        Identifier::Dns(name) | Identifier::Wildcard(name) => name.as_str(),
        Identifier::Ip(_) => return false,
    };
    // Where the list says nothing, every last part is taken for one.
    psl::domain_str(text).is_none() && text != "localhost"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(names: &[&str]) -> IssueOrder {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        IssueOrder { names, ..IssueOrder::default() }
    }

    fn fields(order: IssueOrder, header: Option<&str>) -> Vec<String> {
        let wrong = check(order, header).expect_err("it is wrong");
        assert!(wrong.iter().all(|one| !one.detail.is_empty()), "{wrong:?}");
        wrong.into_iter().map(|one| one.field).collect()
    }

    fn csr(names: &[&str]) -> String {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = rcgen::CertificateParams::new(names).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        let key = rcgen::KeyPair::generate().unwrap();
        params.serialize_request(&key).unwrap().pem().unwrap()
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once_by_field_and_value() {
        let wrong = IssueOrder {
            key: Some("ed25519".to_owned()),
            csr: Some("MIIB".to_owned()),
            client: Some("A B".to_owned()),
            idempotency_key: Some("x".repeat(200)),
            exportable: true,
            ..order(&["a.example", "bad_name.example", "intranet"])
        };
        let told = fields(wrong, None);
        for field in
            ["csr", "names[1]", "names[2]", "key", "exportable", "idempotency_key", "client"]
        {
            assert!(told.contains(&field.to_owned()), "{field}: {told:?}");
        }
        assert_eq!(fields(order(&[]), None), ["names"]);
        assert_eq!(fields(order(&["co.uk"]), None), ["names"]);
        assert_eq!(fields(order(&["*.github.io", "a.example"]), None), ["names"]);
        let many: Vec<String> = (0..101).map(|number| format!("n{number}.example")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(fields(order(&many), None), ["names"]);
        assert!(check(order(&many[1..]), None).is_ok());
    }

    #[test]
    fn a_request_brings_its_names_and_its_kind_of_key_and_repeats_nothing_that_was_pasted() {
        let text = csr(&["b.example", "a.example"]);
        let with = |names: &[&str]| IssueOrder { csr: Some(text.clone()), ..order(names) };
        let asked = check(with(&[]), None).unwrap();
        assert_eq!((asked.names.len(), asked.key), (2, KeyAlgorithm::P256));
        assert!(check(with(&["a.example", "B.example"]), None).is_ok());
        assert_eq!(fields(with(&["a.example"]), None), ["names"]);
        let exportable = IssueOrder { exportable: true, ..with(&[]) };
        assert_eq!(fields(exportable, None), ["exportable"]);
        let key = rcgen::KeyPair::generate().unwrap().serialize_pem();
        let wrong = check(IssueOrder { csr: Some(key.clone()), ..order(&[]) }, None).unwrap_err();
        let told = format!("{wrong:?}");
        let secret = key.lines().nth(1).unwrap();
        assert!(!told.contains(&secret[..20]), "{told}");
    }

    #[test]
    fn the_key_of_idempotency_comes_from_body_or_header_and_not_two_from_both() {
        let with = |body: Option<&str>| IssueOrder {
            idempotency_key: body.map(str::to_owned),
            ..order(&["a.example"])
        };
        let key = |body, header| check(with(body), header).unwrap().idempotency;
        assert_eq!(key(None, None), None);
        assert_eq!(key(Some("one"), None).as_deref(), Some("one"));
        assert_eq!(key(None, Some("\"one\"")).as_deref(), Some("one"));
        assert_eq!(key(Some("one"), Some("\"one\"")).as_deref(), Some("one"));
        assert_eq!(fields(with(Some("one")), Some("two")), ["idempotency_key"]);
        assert_eq!(fields(with(Some("")), None), ["idempotency_key"]);
        assert_eq!(fields(with(None), Some("\u{e4}")), ["idempotency_key"]);
    }
}
