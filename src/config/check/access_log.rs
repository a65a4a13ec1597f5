//! `[access_log]`: where the lines about requests go, and what stands in them.

use std::ops::RangeInclusive;
use std::path::Path;

use super::super::finding::Findings;
use super::super::key_path::KeyPath;
use super::super::model::{AccessFormat, AccessLog, AccessLogTo, State};
use super::super::raw::RawAccessLog;
use super::{files, quoted, tls};

const FORMATS: [(&str, AccessFormat); 3] = [
    ("json", AccessFormat::Json),
    ("common", AccessFormat::Common),
    ("combined", AccessFormat::Combined),
];

const QUERIES: [(&str, bool); 2] = [("hide", false), ("show", true)];

/// Beyond, a busy day leaves no line.
const SAMPLES: RangeInclusive<u64> = 1..=1_000_000;

pub(super) fn check(raw: &RawAccessLog, state: &State, findings: &mut Findings) -> AccessLog {
    let key = |name: &str| KeyPath::dotted("access_log").key(name);
    let to = to(&raw.to, &key("to"), state, findings);
    let format = tls::choice(&raw.format, &FORMATS, "format", &key("format"), findings);
    let queries =
        tls::choice(&raw.queries, &QUERIES, "way with query strings", &key("queries"), findings);
    if !SAMPLES.contains(&raw.sample) {
        findings
            .error(&key("sample"), format!("{} is out of bounds", raw.sample))
            .expected("a number from 1 to 1000000; 10 logs every tenth request");
    }
    AccessLog {
        to,
        format: format.unwrap_or(AccessFormat::Json),
        queries: queries.unwrap_or(false),
        tls: raw.tls,
        sample: raw.sample.max(1),
    }
}

fn to(text: &str, key: &KeyPath, state: &State, findings: &mut Findings) -> Option<AccessLogTo> {
    match text {
        "off" => None,
        "journal" => Some(AccessLogTo::Journal),
        _ => {
            if !text.starts_with('/') {
                findings
                    .error(key, format!("the access log cannot go to {}", quoted(text)))
                    .expected("\"off\", \"journal\", or the absolute path of a file")
                    .hint("\"/var/log/keyward/access.log\"");
                return None;
            }
            let path = files::absolute(text, key, findings);
            let Some(directory) = path.parent().filter(|_| !text.ends_with('/')) else {
                findings
                    .error(key, format!("{} is a directory", quoted(text)))
                    .expected("the path of a file")
                    .hint("\"/var/log/keyward/access.log\"");
                return None;
            };
            apart(directory, state, key, findings);
            Some(AccessLogTo::File(path))
        }
    }
}

/// What keyward may write it may also read, and that must not be the place of a master key, nor
/// may a log grow over the state. A file alone cannot be allowed: it is moved away and made anew.
fn apart(directory: &Path, state: &State, key: &KeyPath, findings: &mut Findings) {
    let system = ["/", "/etc", "/usr", "/run", "/var", "/var/log", "/dev", "/proc", "/sys"];
    if directory.starts_with(&state.dir) || state.dir.starts_with(directory) {
        findings
            .error(key, format!("the access log lies with the state, {}", state.dir.display()))
            .expected("a directory that has neither the state nor a master key below it")
            .hint("\"/var/log/keyward/access.log\"");
    } else if system.iter().any(|place| directory == Path::new(place)) {
        findings
            .error(key, format!("keyward would be let write all of {}", directory.display()))
            .expected("a directory for logs alone")
            .hint("\"/var/log/keyward/access.log\"");
    } else if std::fs::metadata(directory)
        .is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
    {
        findings.warning(key, format!("there is no directory {}", directory.display())).hint(
            "make it, and let keyward's user write there; /var/log/keyward comes with the service",
        );
    }
}
