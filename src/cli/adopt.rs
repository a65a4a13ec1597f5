//! `keyward adopt`: takes over what certbot, acme.sh, Caddy, Traefik or lego keep.
//!
//! Everything is shown first and nothing is done without `--apply`; nothing in a store is ever changed. Each
//! key is sealed to the vault before it leaves this process, as for `keyward import`. Their accounts at CAs
//! are taken in as well, where keyward has none there yet: a CA counts orders by account, and may have bound
//! names to one.

mod account_stores;
mod accounts;
mod acme_sh;
mod caddy;
mod certbot;
mod kept;
mod lego;
mod plan;
mod tool;
mod traefik;

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::Deserialize;
use serde::Serialize;

use self::accounts::AccountPlan;
use self::plan::Fate;
use self::plan::Plan;
pub(super) use self::tool::Tool;
use super::args_bring::Adopt;
use super::connect::Client;
use super::connect::segment;
use super::import;
use super::out::Out;
use super::render;
use super::report::DONE;
use super::report::FAILED;
use super::report::FAULT;
use super::report::Report;
use super::report::plain;
use crate::admin::wire::LIST_MOST;
use crate::admin::wire::Moment;
use crate::admin::wire::Sites;
use crate::admin::wire::transfer::Imported;
use crate::os::sandbox;

/// `keyward adopt [PATH...]`
pub(super) fn adopt(
    client: &dyn Fn() -> Result<Client, Report>,
    what: &Adopt,
    out: &mut Out,
) -> Result<u8, Report> {
    // For a moment private keys are in this process: not in a core file, and not for others.
    sandbox::forbid_dumps()
        .map_err(|error| Report::new(FAULT, format!("cannot forbid core files: {error}")))?;
    let stores = stores(what)?;
    let (mut plans, mut owners) = (Vec::new(), Vec::new());
    for (tool, place) in &stores {
        let kept = tool.read(place).map_err(|why| Report::new(FAILED, why))?;
        plans.extend(kept.into_iter().map(|kept| Plan::of(*tool, kept, out.now())));
        owners.extend(accounts::of(*tool, place).map_err(|why| Report::new(FAILED, why))?);
    }
    plan::choose(&mut plans);
    // To look, no daemon is needed; with one it can be said what is there already.
    let daemon =
        client().and_then(|client| Ok((here(&client)?, accounts::known(&client)?, client)));
    let client = match daemon {
        Ok((serials, known, client)) => {
            plans.iter_mut().for_each(|plan| plan.compare(&serials));
            accounts::choose(&mut owners, &known, what.accounts);
            Ok(client)
        }
        Err(report) if what.apply => return Err(report),
        refused => refused.map(|(_, _, client)| client),
    };
    if what.apply
        && let Ok(client) = &client
    {
        // First of all: what is ordered from then on is ordered by these.
        for owner in &mut owners {
            owner.take(client);
            owner.tell(out)?;
        }
        for plan in &mut plans {
            take(client, plan, what.exportable);
            tell(plan, out)?;
        }
    }
    let fates = plans.iter().map(|plan| &plan.fate).chain(owners.iter().map(|owner| &owner.fate));
    let failed = fates.into_iter().any(|fate| matches!(fate, Fate::Failed(_)));
    let status = if failed { FAILED } else { DONE };
    if out.json {
        let text = serde_json::to_string_pretty(&shown(&plans, &owners));
        let text = text.map_err(|error| Report::new(FAULT, error.to_string()))?;
        return out.line(text).map(|()| status);
    }
    if !what.apply {
        table(&plans, out)?;
        accounts::table(&owners, out)?;
    }
    conclude(&stores, (&plans, &owners), client.as_ref(), what, out)?;
    Ok(status)
}

/// One list for programs: certificates, and accounts, which say that they are such.
fn shown<'a>(plans: &'a [Plan], owners: &'a [AccountPlan]) -> Vec<OneShown<'a>> {
    let certificates = plans.iter().map(|plan| OneShown::Certificate(plan.shown()));
    certificates.chain(owners.iter().map(|owner| OneShown::Account(owner.shown()))).collect()
}

#[derive(Serialize)]
#[serde(untagged)]
enum OneShown<'a> {
    Certificate(plan::Shown),
    Account(accounts::ShownAccount<'a>),
}

/// Each store that is meant, and whose it is.
fn stores(what: &Adopt) -> Result<Vec<(Tool, PathBuf)>, Report> {
    let mut found = Vec::new();
    for place in &what.places {
        let tool = Tool::wanted(what.tool).find(|tool| tool.recognises(place)).ok_or_else(|| {
            let names: Vec<_> = Tool::wanted(what.tool).map(Tool::name).collect();
            let what = format!("{}: no store of {}", place.display(), names.join(", "));
            Report::new(FAILED, what).hint(
                "name the directory itself, such as /etc/letsencrypt or ~/.acme.sh, or the file acme.json of Traefik",
            )
        })?;
        found.push((tool, place.clone()));
    }
    if what.places.is_empty() {
        let home = std::env::home_dir().unwrap_or_default();
        for tool in Tool::wanted(what.tool) {
            let there = tool.places(&home).into_iter().filter(|place| tool.recognises(place));
            found.extend(there.map(|place| (tool, place)));
        }
    }
    if found.is_empty() {
        let names: Vec<_> = Tool::wanted(what.tool).map(Tool::name).collect();
        let what = format!("no store of {} where it usually is", names.join(", "));
        let hint = "name it: keyward adopt PATH; or run this as the user who has it, often root";
        return Err(Report::new(FAILED, what).hint(hint));
    }
    Ok(found)
}

#[derive(Deserialize)]
struct Page {
    certificates: Vec<Certificate>,
    #[serde(default)]
    next: Option<String>,
}

#[derive(Deserialize)]
struct Certificate {
    installed: Option<Installed>,
}

#[derive(Deserialize)]
struct Installed {
    serial: String,
}

/// The serial numbers of all certificates that the daemon has.
fn here(client: &Client) -> Result<BTreeSet<String>, Report> {
    let (mut serials, mut after) = (BTreeSet::new(), None::<String>);
    loop {
        let from = after.as_deref().map(|after| format!("&after={}", segment(after)));
        let path = format!("/certificates?limit={LIST_MOST}{}", from.unwrap_or_default());
        let page: Page = client.get(&path)?.decode()?;
        let found = page.certificates.into_iter().filter_map(|one| one.installed);
        serials.extend(found.map(|installed| installed.serial));
        // Whoever answers with the same place again would be asked for ever.
        if page.next.is_none() || page.next == after {
            return Ok(serials);
        }
        after = page.next;
    }
}

/// Has the daemon take one in.
fn take(client: &Client, plan: &mut Plan, exportable: bool) {
    let (Fate::Take, Some((brought, material))) = (&plan.fate, &plan.found) else { return };
    let taken = import::order(client, brought, &material.key, exportable, false)
        .and_then(|order| client.post_json("/import", &order)?.decode::<Imported>());
    plan.fate = match taken {
        Ok(imported) => Fate::Taken(imported.certificate.id),
        Err(report) => {
            let causes = std::iter::once(report.what.unwrap_or_default()).chain(report.causes);
            Fate::Failed(causes.collect::<Vec<_>>().join(": "))
        }
    };
}

fn tell(plan: &Plan, out: &mut Out) -> Result<(), Report> {
    if out.json {
        return Ok(());
    }
    out.line(format_args!("{}: {}", plain(&plan.title()), plain(&plan.fate.words())))
}

fn table(plans: &[Plan], out: &mut Out) -> Result<(), Report> {
    let (mut table, now) =
        (render::table(out, &["NAMES", "FROM", "EXPIRES", "ISSUER", "WHAT"]), out.now());
    for plan in plans {
        let leaf = plan.found.as_ref().map(|(brought, _)| &brought.leaf);
        let expires = leaf.map(|leaf| render::relative(Moment(leaf.validity.not_after), now));
        table.add_row([
            render::cell(&plain(&plan.title())),
            render::cell(plan.tool.name()),
            render::cell(&expires.unwrap_or_default()),
            render::cell(&plain(leaf.map_or("", |leaf| &leaf.issuer))),
            render::cell(&plain(&plan.fate.words())),
        ]);
    }
    render::print(&table, out)
}

/// What is left for a person to do.
fn conclude(
    stores: &[(Tool, PathBuf)],
    (plans, owners): (&[Plan], &[AccountPlan]),
    client: Result<&Client, &Report>,
    what: &Adopt,
    out: &mut Out,
) -> Result<(), Report> {
    let open = plans.iter().filter(|plan| matches!(plan.fate, Fate::Take)).count();
    if open > 0 {
        let count = render::count(open as u64, "certificate");
        out.line(format_args!("\n{count} to take over: run it again with --apply"))?;
    }
    let open = owners.iter().filter(|owner| matches!(owner.fate, Fate::Take)).count();
    if open > 0 && client.is_ok() {
        let count = render::count(open as u64, "account");
        out.line(format_args!("{count} to use from then on; at the CA nothing changes"))?;
    }
    if let Err(report) = client {
        let why = report.what.as_deref().unwrap_or("the daemon cannot be asked");
        out.line(format_args!("it is not known what is here already: {}", plain(why)))?;
        if let Some(hint) = &report.hint {
            out.line(format_args!("  try: {}", plain(hint)))?;
        }
    }
    let sites = client.ok().and_then(|client| client.get("/sites").ok()?.decode::<Sites>().ok());
    let known: BTreeSet<_> =
        sites.into_iter().flat_map(|sites| sites.sites).flat_map(|site| site.names).collect();
    let mut homeless = Vec::new();
    for plan in plans.iter().filter(|plan| !matches!(plan.fate, Fate::Left(_) | Fate::Failed(_))) {
        let names = plan.names();
        if !names.is_empty() && !names.iter().any(|name| known.contains(name)) {
            homeless.push(names);
        }
    }
    if !homeless.is_empty() {
        out.line(
            "\nno site has these names yet; in keyward.toml, each with where its requests go:",
        )?;
        for names in homeless {
            out.line(format_args!(
                "\n[[site]]\nnames = {names:?}\norigin = \"http://127.0.0.1:8080\""
            ))?;
        }
    }
    if what.apply {
        let mut told = BTreeSet::new();
        for (tool, _) in stores {
            if told.insert(tool.name()) {
                out.note(tool.farewell());
            }
        }
        for farewell in owners.iter().filter_map(AccountPlan::farewell) {
            out.note(farewell);
        }
    }
    Ok(())
}
