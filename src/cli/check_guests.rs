//! `keyward check`: which names may come of themselves.

use std::io;
use std::io::Write;

use crate::config::Config;

/// What `[onboarding]` makes of the names that lead here.
pub(super) fn write(out: &mut impl Write, config: &Config) -> io::Result<()> {
    let Some(plan) = &config.onboarding else { return Ok(()) };
    writeln!(out, "\nnames that lead to {}", plan.target)?;
    let joined = |names: &[_]| {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        names.join(", ")
    };
    match plan.suffixes.as_slice() {
        [] => writeln!(out, "  admitted     all, whoever brings them")?,
        suffixes => writeln!(out, "  admitted     below {}", joined(suffixes))?,
    }
    if !plan.denied.is_empty() {
        writeln!(out, "  denied       below {}", joined(&plan.denied))?;
    }
    writeln!(out, "  certificate  {}", plan.site.issuer)?;
    writeln!(out, "  origin       {}", plan.origin)?;
    let limit = |number: u32| if number == 0 { "no limit".to_owned() } else { number.to_string() };
    writeln!(
        out,
        "  new names    {} in a week for a domain, {} in an hour for a client network, {} in all",
        limit(plan.per_domain),
        limit(plan.per_network),
        plan.names
    )?;
    match &plan.ask {
        Some(url) => writeln!(out, "  asked        {url}"),
        None => Ok(()),
    }
}
