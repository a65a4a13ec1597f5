//! What becomes of each account in a store: one for each CA of the configuration is taken in, where the
//! house has none there, or where somebody wants another.
//!
//! Not here: where the stores keep them.

use std::collections::BTreeSet;
use std::path::Path;
use std::path::PathBuf;

use serde::Serialize;
use url::Url;

use super::account_stores;
use super::account_stores::KeptAccount;
use super::plan::Fate;
use super::tool::Tool;
use crate::admin::wire::account::AccountAdopted;
use crate::admin::wire::account::AccountEntry;
use crate::admin::wire::account::Accounts;
use crate::cli::account;
use crate::cli::account::AccountKey;
use crate::cli::connect::Client;
use crate::cli::out::Out;
use crate::cli::render;
use crate::cli::report::Report;
use crate::cli::report::plain;

/// An account in a store, and what becomes of it.
pub(super) struct AccountPlan {
    tool: Tool,
    at: PathBuf,
    url: String,
    contact: Vec<String>,
    key: Option<AccountKey>,
    /// What the configuration calls its CA, as soon as that is known.
    ca: Option<String>,
    /// Whether the house has another one there, which goes.
    instead: bool,
    pub(super) fate: Fate,
}

/// One as programs see it.
#[derive(Serialize)]
pub(super) struct ShownAccount<'a> {
    kind: &'static str,
    tool: &'static str,
    at: &'a PathBuf,
    account: &'a str,
    contact: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    key_algorithm: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ca: Option<&'a str>,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

/// The accounts in the store of `tool` at `place`.
///
/// # Errors
/// In words, when the store cannot be read.
pub(super) fn of(tool: Tool, place: &Path) -> Result<Vec<AccountPlan>, String> {
    let kept = account_stores::read(tool, place)?;
    let plan = |KeptAccount { url, contact, at, key }: KeptAccount| {
        let (key, fate) = match key {
            Ok(key) => (Some(key), Fate::Take),
            Err(why) => (None, Fate::Left(why)),
        };
        AccountPlan { tool, at, url, contact, key, ca: None, instead: false, fate }
    };
    Ok(kept.into_iter().map(plan).collect())
}

/// What the house has at its CAs.
///
/// # Errors
/// When it cannot be asked.
pub(super) fn known(client: &Client) -> Result<Vec<AccountEntry>, Report> {
    Ok(client.get("/accounts")?.decode::<Accounts>()?.accounts)
}

/// Decides, knowing what the house has; with `replace`, an account that is there may go.
pub(super) fn choose(plans: &mut [AccountPlan], known: &[AccountEntry], replace: bool) {
    let mut taken = BTreeSet::new();
    for plan in plans.iter_mut().filter(|plan| matches!(plan.fate, Fate::Take)) {
        let place = origin(&plan.url);
        let at = known.iter().find(|one| place.is_some() && origin(&one.directory) == place);
        let Some(entry) = at else {
            let ca = place.unwrap_or_else(|| plan.url.clone());
            plan.fate = Fate::Left(format!("neither [acme] nor a [[ca]] is at {ca}"));
            continue;
        };
        plan.ca = Some(entry.ca.clone());
        let key = plan.key.as_ref().map(|key| key.id.to_hex());
        if key.is_some() && entry.key == key {
            plan.fate = Fate::Here;
            continue;
        }
        plan.instead = entry.account.is_some();
        if let (Some(account), false) = (&entry.account, replace) {
            plan.fate = Fate::Left(format!(
                "there is {account} at this CA already: --accounts has this one take its place"
            ));
        } else if !taken.insert(entry.ca.clone()) {
            plan.fate = Fate::Left("another account at the same CA stands above".to_owned());
        }
    }
}

/// The CA by whose word a URL is: scheme, host and port.
fn origin(url: &str) -> Option<String> {
    let origin = Url::parse(url).ok()?.origin();
    origin.is_tuple().then(|| origin.ascii_serialization())
}

impl AccountPlan {
    /// Has the daemon take it in.
    pub(super) fn take(&mut self, client: &Client) {
        let (Fate::Take, Some(key)) = (&self.fate, &self.key) else { return };
        let taken = account::take(client, key, self.ca.as_deref(), self.instead)
            .and_then(|answer| answer.decode::<AccountAdopted>());
        self.fate = match taken {
            Ok(adopted) => Fate::Taken(adopted.account),
            Err(report) => {
                let causes = std::iter::once(report.what.unwrap_or_default()).chain(report.causes);
                Fate::Failed(causes.collect::<Vec<_>>().join(": "))
            }
        };
    }

    /// In words: what becomes of it.
    fn words(&self) -> String {
        let ca = self.ca.as_deref().unwrap_or("its CA");
        match &self.fate {
            Fate::Take if self.ca.is_none() => "it is not known whether there is one".to_owned(),
            Fate::Take => format!("to use for {ca}"),
            Fate::Taken(_) => format!("used for {ca} from now on"),
            other => other.words(),
        }
    }

    fn kind(&self) -> Option<String> {
        self.key.as_ref().map(|key| key.algorithm.to_string())
    }

    /// Says what became of it.
    pub(super) fn tell(&self, out: &mut Out) -> Result<(), Report> {
        if out.json {
            return Ok(());
        }
        out.line(format_args!("account {}: {}", plain(&self.url), plain(&self.words())))
    }

    /// What is left to do where it was taken in.
    pub(super) fn farewell(&self) -> Option<String> {
        let (Fate::Taken(_), Some(ca)) = (&self.fate, &self.ca) else { return None };
        let tool = self.tool.name();
        Some(format!(
            "{tool} has the key of the account at {ca} as well; when it is gone: keyward rotate \
             account --ca {ca}"
        ))
    }

    pub(super) fn shown(&self) -> ShownAccount<'_> {
        let reason = match &self.fate {
            Fate::Left(why) | Fate::Failed(why) => Some(why.as_str()),
            Fate::Take | Fate::Taken(_) | Fate::Here => None,
        };
        ShownAccount {
            kind: "account",
            tool: self.tool.name(),
            at: &self.at,
            account: &self.url,
            contact: &self.contact,
            key_algorithm: self.kind(),
            ca: self.ca.as_deref(),
            outcome: self.fate.word(),
            reason,
        }
    }
}

/// Prints what would become of them.
pub(super) fn table(plans: &[AccountPlan], out: &mut Out) -> Result<(), Report> {
    if plans.is_empty() {
        return Ok(());
    }
    out.line("")?;
    let mut table = render::table(out, &["ACCOUNT", "FROM", "CONTACT", "KEY", "WHAT"]);
    for plan in plans {
        table.add_row([
            render::cell(&plain(&plan.url)),
            render::cell(plan.tool.name()),
            render::cell(&plain(&plan.contact.join(" "))),
            render::cell(&plan.kind().unwrap_or_default()),
            render::cell(&plain(&plan.words())),
        ]);
    }
    render::print(&table, out)
}
