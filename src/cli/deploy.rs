//! `keyward deploy`, `undeploy` and `deployments`: certificates that are brought to those who serve them.

use std::time::Duration;

use super::args_deploy::Deploy;
use super::args_deploy::Deployments as Which;
use super::args_deploy::Undeploy;
use super::connect::Client;
use super::connect::segment;
use super::out::Out;
use super::render;
use super::render::Fields;
use super::report::DONE;
use super::report::FAILED;
use super::report::Report;
use super::report::plain;
use crate::admin::wire::LIST_MOST;
use crate::admin::wire::deployments::DeployOrder;
use crate::admin::wire::deployments::DeploymentView;
use crate::admin::wire::deployments::Deployments;
use crate::admin::wire::deployments::Undeployed;

const TITLES: [&str; 6] = ["TARGET", "CERTIFICATE", "STATE", "SINCE", "NEXT", "WHY"];

/// Between two questions how far it is.
const PAUSE: Duration = Duration::from_millis(300);

/// `keyward deploy CERTIFICATE --to TARGET`
pub(super) fn deploy(client: &Client, what: &Deploy, out: &mut Out) -> Result<u8, Report> {
    let order = DeployOrder { certificate: what.certificate.clone(), target: what.to.clone() };
    let mut answer = client.post_json("/deployments", &order)?;
    let mut one: DeploymentView = answer.decode()?;
    if !what.no_wait {
        if !out.json {
            out.note(format_args!("bringing it to target {} ...", plain(&one.target)));
        }
        let path = path(&one);
        // One that was not issued yet is brought there when it is, which may take long.
        while one.state == "pending" && one.wanted.is_some() {
            client.wait(async { tokio::time::sleep(PAUSE).await });
            answer = client.get(&path)?;
            one = answer.decode()?;
        }
    }
    let good = matches!(one.state.as_str(), "deployed" | "verified");
    let status = if good || one.state == "pending" { DONE } else { FAILED };
    if out.json {
        return out.line(String::from_utf8_lossy(&answer.0)).map(|()| status);
    }
    let (name, target) = (plain(&one.name), plain(&one.target));
    match one.state.as_str() {
        "verified" => out.line(format_args!("target {target} has {name} and shows it"))?,
        "deployed" => {
            out.line(format_args!("target {target} has {name}; nobody looks whether it shows it"))?;
        }
        "pending" if one.wanted.is_none() => {
            out.line(format_args!("{name} is brought to target {target} when it has been issued"))?;
        }
        "pending" => out.line(format_args!("{name} is being brought to target {target}"))?,
        state => {
            let why = plain(one.reason.as_deref().unwrap_or("nobody knows why"));
            out.line(format_args!("target {target} does not have {name} ({state}): {why}"))?;
            let next = render::relative(one.next, out.now());
            out.line(format_args!("  it is tried again {next}; see: keyward deployments"))?;
        }
    }
    Ok(status)
}

/// `keyward undeploy CERTIFICATE --from TARGET`
pub(super) fn undeploy(client: &Client, what: &Undeploy, out: &mut Out) -> Result<u8, Report> {
    let (target, certificate) = (segment(&what.from), segment(&what.certificate));
    let answer = client.delete(&format!("/deployments/{target}/{certificate}"))?;
    if out.json {
        return out.line(String::from_utf8_lossy(&answer.0)).map(|()| DONE);
    }
    let Undeployed { deployment } = answer.decode()?;
    let (name, target) = (plain(&deployment.name), plain(&deployment.target));
    out.line(format_args!("{name} is not brought to target {target} any more"))?;
    out.line("  what is there stays there, and is not renewed")?;
    Ok(DONE)
}

/// `keyward deployments [TARGET] [--state STATE] [--probe]`
pub(super) fn deployments(client: &Client, which: &Which, out: &mut Out) -> Result<u8, Report> {
    let mut filter = String::new();
    for (key, value) in [("target", &which.target), ("state", &which.state)] {
        if let Some(value) = value {
            filter.push_str(&format!("&{key}={}", segment(value)));
        }
    }
    let (mut after, mut all) = (None::<String>, Deployments::default());
    loop {
        let from = after.map(|after| format!("&after={}", segment(&after))).unwrap_or_default();
        let page: Deployments =
            client.get(&format!("/deployments?limit={LIST_MOST}{filter}{from}"))?.decode()?;
        all.deployments.extend(page.deployments);
        all.unmet.extend(page.unmet);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    if which.probe {
        for one in all.deployments.iter_mut().filter(|one| one.probe.is_some()) {
            *one = client.post(&format!("{}/probe", path(one)))?.decode()?;
        }
    }
    let good = |one: &DeploymentView| matches!(one.state.as_str(), "deployed" | "verified");
    let status = if which.probe && !all.deployments.iter().all(good) { FAILED } else { DONE };
    if out.json {
        let text = serde_json::to_string(&all).unwrap_or_default();
        return out.line(text).map(|()| status);
    }
    if all.deployments.is_empty() && all.unmet.is_empty() {
        out.line("nothing is deployed; see [[target]] in the configuration, and keyward deploy")?;
        return Ok(DONE);
    }
    let (mut table, now) = (render::table(out, &TITLES), out.now());
    for one in &all.deployments {
        table.add_row([
            render::cell(&one.target),
            render::cell(&one.name),
            render::cell(&one.state),
            render::cell(&render::relative(one.since, now)),
            render::cell(&render::relative(one.next, now)),
            render::cell(one.reason.as_deref().unwrap_or("-")),
        ]);
    }
    render::print(&table, out)?;
    for one in &all.unmet {
        let (target, name) = (plain(&one.target), plain(&one.name));
        out.line(format_args!("target {target} is to have {name}: there is no such certificate"))?;
    }
    Ok(status)
}

/// Adds where a certificate is brought, and how far that is.
pub(super) fn of_certificate(client: &Client, id: &str, fields: &mut Fields) {
    let path = format!("/deployments?limit={LIST_MOST}&certificate={}", segment(id));
    // A daemon that is older, or serves its second copy, has none to tell of.
    let Ok(found) = client.get(&path).and_then(|answer| answer.decode::<Deployments>()) else {
        return;
    };
    for (number, one) in found.deployments.iter().enumerate() {
        let why = one.reason.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
        let text = format!("target {}: {}{why}", one.target, one.state);
        fields.add(if number == 0 { "deployed" } else { "" }, text);
    }
}

fn path(one: &DeploymentView) -> String {
    format!("/deployments/{}/{}", segment(&one.target), segment(&one.certificate))
}
