//! `keyward list`: read from the daemon page by page, and printed as it comes, so that neither side
//! ever holds all of a million certificates.
//!
//! What fits into one page is put into the order in which a person reads: what needs somebody
//! first, then by name.

use comfy_table::ColumnConstraint;
use comfy_table::Width;
use serde::Deserialize;
use serde_json::Value;

use super::args::List;
use super::connect::Client;
use super::connect::segment;
use super::look;
use super::out::Out;
use super::render;
use super::report::DONE;
use super::report::FAULT;
use super::report::Report;
use super::report::plain;
use crate::admin::wire::CertificateView;
use crate::admin::wire::LIST_MOST;
use crate::admin::wire::Standing;

const TITLES: [&str; 6] = ["NAME", "STATE", "EXPIRES", "NEXT", "ISSUER", "ID"];

/// Certificates of which the list says below itself why they need somebody.
const EXPLAINED: usize = 32;

/// A page, with what a newer daemon says of each certificate that this client does not know.
#[derive(Deserialize)]
struct Page {
    certificates: Vec<Value>,
    #[serde(default)]
    next: Option<String>,
}

/// `keyward list`
pub(super) fn list(client: &Client, what: &List, out: &mut Out) -> Result<u8, Report> {
    let mut left = if what.all { usize::MAX } else { what.limit.unwrap_or(LIST_MOST) };
    let (mut after, mut listing) = (None, Listing::default());
    loop {
        let page = fetch(client, after.as_deref(), left.min(LIST_MOST))?;
        left = left.saturating_sub(page.certificates.len());
        let last = page.next.is_none() || left == 0;
        // Whoever answers so would be asked for ever.
        if !last && (page.next == after || page.certificates.is_empty()) {
            return Err(Report::new(FAULT, "the daemon's list does not go on"));
        }
        listing.page(page.certificates, last, out)?;
        after = page.next;
        if last {
            return listing.end(after, out).map(|()| DONE);
        }
    }
}

fn fetch(client: &Client, after: Option<&str>, limit: usize) -> Result<Page, Report> {
    let from = after.map(|after| format!("&after={}", segment(after))).unwrap_or_default();
    client.get(&format!("/certificates?limit={limit}{from}"))?.decode()
}

/// What was printed so far, as far as the rest depends on it.
#[derive(Default)]
struct Listing {
    count: usize,
    widths: [u16; TITLES.len()],
    explained: Vec<String>,
    unexplained: u64,
}

impl Listing {
    fn page(&mut self, values: Vec<Value>, last: bool, out: &mut Out) -> Result<(), Report> {
        let mut both = Vec::with_capacity(values.len());
        for value in values {
            let view: CertificateView = CertificateView::deserialize(&value).map_err(|error| {
                Report::new(FAULT, format!("the daemon's list is not understood: {error}"))
            })?;
            both.push((value, view));
        }
        if self.count == 0 && last {
            both.sort_by(|(_, a), (_, b)| {
                let key = |c: &CertificateView| (std::cmp::Reverse(c.state), c.role != "primary");
                let names = || a.names.cmp(&b.names).then_with(|| a.id.cmp(&b.id));
                key(a).cmp(&key(b)).then_with(names)
            });
        }
        let first = self.count == 0;
        self.count = self.count.saturating_add(both.len());
        if out.json {
            return json(&both, first, out);
        }
        let views: Vec<_> = both.into_iter().map(|(_, view)| view).collect();
        self.table(&views, first, out)
    }

    fn table(
        &mut self,
        views: &[CertificateView],
        first: bool,
        out: &mut Out,
    ) -> Result<(), Report> {
        if views.is_empty() {
            return Ok(());
        }
        let titles = if first { &TITLES[..] } else { &[] };
        let (mut table, now) = (render::table(out, titles), out.now());
        for view in views {
            table.add_row(look::row(view, now));
            let Some(failure) = view.failure.as_ref().filter(|_| view.state == Standing::NeedsYou)
            else {
                continue;
            };
            if self.explained.len() == EXPLAINED {
                self.unexplained += 1;
                continue;
            }
            let name = view.names.first().map_or("", String::as_str);
            let (detail, hint) = (plain(&failure.detail), plain(&failure.hint));
            self.explained.push(format!("\n{name} needs you: {detail}\n  try: {hint}"));
        }
        let content = table.column_max_content_widths();
        for (known, width) in self.widths.iter_mut().zip(content) {
            *known = (*known).max(width.saturating_add(2));
        }
        // The columns of a page are no narrower than those of the pages above it, as far as the
        // reader has room.
        let total: u16 = self.widths.iter().copied().fold(0, u16::saturating_add);
        if out.width.is_none_or(|width| total <= width) {
            for (column, width) in table.column_iter_mut().zip(self.widths) {
                column.set_padding((0, 2));
                column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(width)));
            }
        }
        render::print(&table, out)
    }

    fn end(self, next: Option<String>, out: &mut Out) -> Result<(), Report> {
        if out.json {
            let next = Value::from(next);
            return out.line(format_args!("],\"next\":{next}}}"));
        }
        if self.count == 0 {
            return out.line("no certificates: no site is configured");
        }
        for text in &self.explained {
            out.line(text)?;
        }
        if self.unexplained > 0 {
            out.line(format_args!("\n{} more need you: keyward show NAME", self.unexplained))?;
        }
        if next.is_some() {
            let count = self.count;
            out.note(format_args!("these are {count}, and there are more: keyward list --all"));
        }
        Ok(())
    }
}

fn json(both: &[(Value, CertificateView)], first: bool, out: &mut Out) -> Result<(), Report> {
    let mut text = String::new();
    for (at, (value, _)) in both.iter().enumerate() {
        if !first || at > 0 {
            text.push(',');
        }
        text.push_str(&value.to_string());
    }
    if first {
        text.insert_str(0, "{\"certificates\":[");
    }
    out.bytes(text.as_bytes())
}
