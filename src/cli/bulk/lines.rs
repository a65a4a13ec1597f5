//! A file with many certificates to be ordered: every line is understood, or told with its number.
//!
//! Two forms: the names of one certificate in each line, with spaces or commas between them; or CSV
//! (RFC 4180) whose header says `names` and any of `key,exportable,hosted,out`. Nothing is asked of the
//! daemon here.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::admin::wire::issue::IssueOrder;
use crate::base::bounds;
use crate::cert::identifier::Identifier;
use crate::cert::key::KeyAlgorithm;

/// The columns of a file in CSV, the first of which must be there.
const COLUMNS: [&str; 5] = ["names", "key", "exportable", "hosted", "out"];

/// One certificate to be ordered.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Line {
    /// Where it stands, counted from 1.
    pub(super) number: u64,
    /// Its names, sorted and without repetition.
    pub(super) names: Vec<Identifier>,
    /// The name that stands first.
    pub(super) first: String,
    pub(super) key: KeyAlgorithm,
    pub(super) exportable: bool,
    pub(super) hosted: bool,
    /// The directory for its files, if not that of all.
    pub(super) out: Option<PathBuf>,
}

/// A line that is not understood.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Bad {
    pub(super) number: u64,
    pub(super) what: String,
}

/// What goes for every line that does not say otherwise.
#[derive(Clone, Debug)]
pub(super) struct Usual {
    pub(super) key: KeyAlgorithm,
    pub(super) exportable: bool,
    pub(super) hosted: bool,
}

/// Everything in a file, and everything that is wrong with it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Read {
    pub(super) lines: Vec<Line>,
    pub(super) bad: Vec<Bad>,
    /// Lines that say the same as an earlier one, whose number goes with theirs.
    pub(super) repeated: Vec<(u64, u64)>,
}

impl Line {
    /// By what the daemon knows it again. Of where it stands and where its files go nothing is in it, so
    /// a file may be sorted, cut, or added to between two runs.
    pub(super) fn idempotency_key(&self, batch: &str) -> String {
        let names: Vec<_> = self.names.iter().map(|name| name.text()).collect();
        let flag = |set: bool| if set { "1" } else { "0" };
        let key = self.key.text();
        let [exportable, hosted] = [self.exportable, self.hosted].map(flag);
        let text =
            ["keyward bulk v1", batch, key, exportable, hosted, &names.join("\n")].join("\n");
        let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
        digest
            .as_ref()
            .iter()
            .fold(String::from("bulk-"), |text, octet| text + &format!("{octet:02x}"))
    }

    /// The order for it.
    pub(super) fn order(&self, batch: &str, client: Option<&str>) -> IssueOrder {
        IssueOrder {
            names: self.names.iter().map(ToString::to_string).collect(),
            csr: None,
            key: Some(self.key.text().to_owned()),
            exportable: self.exportable,
            hosted: self.hosted,
            idempotency_key: Some(self.idempotency_key(batch)),
            client: client.map(str::to_owned),
        }
    }
}

impl Read {
    /// Reads a whole file.
    pub(super) fn of(text: &str, usual: &Usual) -> Self {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut read = Self::default();
        if is_csv(text) {
            read.table(text, usual);
        } else {
            for (number, line) in (1..).zip(text.lines()) {
                let line = line.split('#').next().unwrap_or_default().trim();
                if !line.is_empty() {
                    let found = names(line).map(|(names, first)| Line {
                        number,
                        names,
                        first,
                        key: usual.key,
                        exportable: usual.exportable,
                        hosted: usual.hosted,
                        out: None,
                    });
                    read.take(number, found);
                }
            }
        }
        read.part();
        read
    }

    fn take(&mut self, number: u64, line: Result<Line, String>) {
        match line {
            Ok(line) => self.lines.push(line),
            Err(what) => self.bad.push(Bad { number, what }),
        }
    }

    fn table(&mut self, text: &str, usual: &Usual) {
        let mut reader = csv::ReaderBuilder::new()
            .flexible(true)
            .comment(Some(b'#'))
            .trim(csv::Trim::All)
            .from_reader(text.as_bytes());
        let columns: Vec<String> = match reader.headers() {
            Ok(header) => header.iter().map(str::to_ascii_lowercase).collect(),
            Err(error) => return self.take(1, Err(error.to_string())),
        };
        for (at, column) in columns.iter().enumerate() {
            let known = COLUMNS.contains(&column.as_str());
            let twice = columns.iter().take(at).any(|former| former == column);
            if !known || twice {
                let why = if twice { "is there twice" } else { "is not known" };
                let what = format!("the column {column:?} {why}: expected {}", COLUMNS.join(","));
                self.take(1, Err(what));
            }
        }
        if !self.bad.is_empty() {
            return;
        }
        for record in reader.records() {
            let record = match record {
                Ok(record) => record,
                Err(error) => {
                    let number = error.position().map_or(0, csv::Position::line);
                    self.take(number, Err(error.to_string()));
                    continue;
                }
            };
            let number = record.position().map_or(0, csv::Position::line);
            if record.iter().all(str::is_empty) {
                continue;
            }
            let line = row(number, &columns, &record, usual);
            self.take(number, line);
        }
    }

    /// Sets those apart that say the same: they are one certificate.
    fn part(&mut self) {
        let mut seen: BTreeMap<String, u64> = BTreeMap::new();
        let repeated = &mut self.repeated;
        self.lines.retain(|line| {
            let first = *seen.entry(line.idempotency_key("")).or_insert(line.number);
            if first != line.number {
                repeated.push((line.number, first));
            }
            first == line.number
        });
    }
}

fn row(
    number: u64,
    columns: &[String],
    record: &csv::StringRecord,
    usual: &Usual,
) -> Result<Line, String> {
    if record.len() > columns.len() {
        return Err(format!(
            "it has {} fields, and the header {}: put several names into quotes, or a space between them",
            record.len(),
            columns.len()
        ));
    }
    let field = |wanted: &str| {
        let at = columns.iter().position(|column| column == wanted)?;
        record.get(at).filter(|text| !text.is_empty())
    };
    let flag =
        |wanted: &str, usual: bool| match field(wanted).map(str::to_ascii_lowercase).as_deref() {
            None => Ok(usual),
            Some("true" | "yes" | "1") => Ok(true),
            Some("false" | "no" | "0") => Ok(false),
            Some(other) => Err(format!("{wanted} is {other:?}: expected true or false")),
        };
    let (names, first) = names(field("names").unwrap_or_default())?;
    let key = match field("key") {
        None => usual.key,
        Some(text) => algorithm(text)
            .ok_or_else(|| format!("key is {text:?}: expected p256, p384 or rsa2048"))?,
    };
    let out = field("out").map(PathBuf::from);
    Ok(Line {
        number,
        names,
        first,
        key,
        // Who wants it in a directory wants its key there.
        exportable: flag("exportable", usual.exportable || out.is_some())?,
        hosted: flag("hosted", usual.hosted)?,
        out,
    })
}

/// The kind of key that is called so.
pub(super) fn algorithm(text: &str) -> Option<KeyAlgorithm> {
    let all = [KeyAlgorithm::P256, KeyAlgorithm::P384, KeyAlgorithm::Rsa2048];
    all.into_iter().find(|one| one.text() == text)
}

/// Whether the first line that says something is the header of a table.
fn is_csv(text: &str) -> bool {
    let mut said =
        text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let first = said.next().and_then(|line| line.split(',').next());
    first.is_some_and(|word| word.trim().trim_matches('"').eq_ignore_ascii_case("names"))
}

fn names(text: &str) -> Result<(Vec<Identifier>, String), String> {
    let words = text.split([' ', '\t', ',', ';']).filter(|word| !word.is_empty());
    let mut names = Vec::new();
    for word in words {
        let shown: String = word.chars().take(80).collect();
        names.push(Identifier::parse(word).map_err(|error| format!("{shown:?}: {error}"))?);
    }
    let first = names.first().ok_or("no name stands in it")?.to_string();
    names.sort();
    names.dedup();
    if names.len() > bounds::NAMES_PER_CERTIFICATE {
        let most = bounds::NAMES_PER_CERTIFICATE;
        return Err(format!("{} names: expected at most {most}", names.len()));
    }
    Ok((names, first))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const USUAL: Usual = Usual { key: KeyAlgorithm::P256, exportable: false, hosted: false };

    fn read(text: &str) -> Read {
        Read::of(text, &USUAL)
    }

    fn names_of(line: &Line) -> Vec<String> {
        line.names.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_line_is_a_certificate_and_what_is_no_name_is_told_with_its_number() {
        let text = "\u{feff}# shops\n\nb.example a.example, B.example # two\r\n*.c.example\n\
                    bad_name.example\nintranet\na.example;b.example\n";
        let found = read(text);
        assert_eq!(found.lines.iter().map(|line| line.number).collect::<Vec<_>>(), [3, 4]);
        assert_eq!(names_of(&found.lines[0]), ["a.example", "b.example"]);
        assert_eq!(found.lines[0].first, "b.example");
        assert_eq!(found.bad.iter().map(|bad| bad.number).collect::<Vec<_>>(), [5, 6]);
        assert!(found.bad[0].what.contains("bad_name.example"), "{:?}", found.bad);
        assert_eq!(found.repeated, [(7, 3)]);
    }

    #[test]
    fn a_table_says_more_and_every_wrong_field_of_it_is_told() {
        let text = "names,key,exportable,hosted,out\n\
                    a.example,,,,\n\
                    \"b.example,c.example\",p384,yes,true,\n\
                    d.example e.example,rsa2048,no,0,certs/d\n\
                    f.example,ed25519,,,\n\
                    g.example,,perhaps,,\n\
                    ,p256,,,\n\
                    h.example,i.example,p256,yes,no,certs\n";
        let found = read(text);
        let [a, b, d] = &found.lines[..] else { panic!("{found:?}") };
        assert_eq!(
            (a.number, a.key, a.exportable, a.hosted),
            (2, KeyAlgorithm::P256, false, false)
        );
        assert_eq!((b.key, b.exportable, b.hosted), (KeyAlgorithm::P384, true, true));
        assert_eq!(names_of(b), ["b.example", "c.example"]);
        assert_eq!(d.out.as_deref(), Some(std::path::Path::new("certs/d")));
        assert!(!d.exportable, "what the line says goes");
        assert_eq!(found.bad.iter().map(|bad| bad.number).collect::<Vec<_>>(), [5, 6, 7, 8]);
        for (bad, word) in found.bad.iter().zip(["ed25519", "perhaps", "no name", "6 fields"]) {
            assert!(bad.what.contains(word), "{bad:?}");
        }
        let header = read("names,keys,out,out\na.example,,,\n");
        assert_eq!((header.lines.len(), header.bad.len()), (0, 2), "{header:?}");
    }

    #[test]
    fn a_line_is_known_again_by_what_it_says_and_not_by_where_it_stands() {
        let one = read("a.example b.example\n").lines.remove(0);
        let moved = read("x.example\nb.example A.example # moved\n").lines.remove(1);
        assert_eq!(one.idempotency_key(""), moved.idempotency_key(""));
        assert!(one.idempotency_key("").len() <= bounds::orders::IDEMPOTENCY_KEY);
        let mut others = vec![one.idempotency_key("june")];
        others.extend([
            Line { key: KeyAlgorithm::P384, ..one.clone() }.idempotency_key(""),
            Line { exportable: true, ..one.clone() }.idempotency_key(""),
            Line { hosted: true, ..one.clone() }.idempotency_key(""),
            read("a.example").lines[0].idempotency_key(""),
        ]);
        others.sort();
        others.dedup();
        assert_eq!(others.len(), 5);
        assert!(!others.contains(&one.idempotency_key("")));
        let elsewhere = Line { out: Some("x".into()), number: 9, ..one.clone() };
        assert_eq!(elsewhere.idempotency_key(""), one.idempotency_key(""));
    }

    proptest! {
        #[test]
        fn every_line_of_any_text_is_understood_or_told(text in "(names|[a-z.,\"# \n]){0,40}") {
            let found = read(&text);
            let numbers = found.lines.iter().map(|line| line.number);
            let numbers = numbers.chain(found.bad.iter().map(|bad| bad.number));
            for number in numbers {
                prop_assert!(number <= u64::try_from(text.lines().count()).unwrap() + 1);
            }
        }
    }
}
