//! What a site or a route asks of requests, and where its routes lead, in words.

use crate::config::FieldTest;
use crate::config::Policy;
use crate::config::Rate;
use crate::config::Route;
use crate::config::RouteTo;
use crate::config::When;

/// What is asked, each in a few words; nothing, mostly.
pub(crate) fn asks(policy: &Policy) -> Vec<String> {
    let mut words = Vec::new();
    let networks = |list: &[_]| list.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if !policy.clients.deny.is_empty() {
        words.push(format!("nobody from {}", networks(&policy.clients.deny)));
    }
    if !policy.clients.allow.is_empty() {
        words.push(format!("only from {}", networks(&policy.clients.allow)));
    }
    if let Some(maintenance) = &policy.maintenance {
        words.push(match &maintenance.when {
            When::Now => "closed for maintenance".to_owned(),
            When::File(path) => format!("closed while {} is there", path.display()),
        });
    }
    if let Some(rate) = policy.rate {
        words.push(format!("{} for each client network", pace(rate)));
    }
    if let Some(auth) = &policy.auth {
        words.push(format!("a password for {:?}", auth.realm));
    }
    if let Some(most) = policy.max_body {
        words.push(format!("bodies up to {most} bytes"));
    }
    if let Some(most) = policy.max_answer {
        words.push(format!("answers up to {most} bytes"));
    }
    if policy.compress {
        words.push("compressed".to_owned());
    }
    if let Some(pages) = &policy.pages {
        words.push(format!("errors as in {}", pages.dir.display()));
    }
    words
}

/// "600 requests in a minute, 20 at once"
fn pace(rate: Rate) -> String {
    let seconds = rate.interval.as_secs_f64();
    let (unit, count) = [("second", 1.0), ("minute", 60.0), ("hour", 3600.0)]
        .map(|(unit, length)| (unit, length / seconds))
        .into_iter()
        .find(|(_, count)| *count >= 0.999)
        .unwrap_or(("day", 86_400.0 / seconds));
    format!("{count:.0} requests in a {unit}, {} at once", rate.burst)
}

/// Which requests a route is for, and where they go.
pub(crate) fn route(route: &Route, site: &Policy) -> String {
    let mut text = route.path.to_string();
    if !route.methods.is_empty() {
        let methods: Vec<&str> = route.methods.iter().map(http::Method::as_str).collect();
        text.push_str(&format!(" ({})", methods.join(", ")));
    }
    // Its value may be what only those know who are to come this way.
    if let Some(FieldTest { name, .. }) = &route.field {
        text.push_str(&format!(" with {name}"));
    }
    text.push_str(&match &route.to {
        RouteTo::Site => " as the site".to_owned(),
        RouteTo::Origin(origin) => format!(" to {origin}"),
        RouteTo::Redirect(status, to) => {
            format!(" elsewhere ({}): {}{}", status.as_u16(), to.text, star(to.open))
        }
    });
    if let Some(rewrite) = &route.rewrite {
        text.push_str(&format!(" under {}{}", rewrite.text, star(rewrite.open)));
    }
    // What the site asks is told there.
    if route.policy != *site {
        let asks = asks(&route.policy);
        let asks = if asks.is_empty() { "nothing".to_owned() } else { asks.join("; ") };
        text.push_str(&format!("; asks: {asks}"));
    }
    text
}

const fn star(open: bool) -> &'static str {
    if open { "*" } else { "" }
}
