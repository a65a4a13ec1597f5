//! `keyward doctor`: what an order for a name depends on, looked at one by one.

use super::args_doctor::Doctor as Asked;
use super::connect::Client;
use super::connect::segment;
use super::out::Out;
use super::report::DONE;
use super::report::FAILED;
use super::report::Report;
use super::report::plain;
use crate::admin::wire::doctor::Doctor;
use crate::admin::wire::doctor::Finding;

/// `keyward doctor NAME [--staging[=URL]]`
pub(super) fn doctor(client: &Client, what: &Asked, out: &mut Out) -> Result<u8, Report> {
    let how = what.staging.as_deref().map(|at| format!("?staging={}", segment(at)));
    let path = format!("/doctor/{}{}", segment(&what.name), how.unwrap_or_default());
    let answer = client.get(&path)?;
    let doctor: Doctor = answer.decode()?;
    let status = if doctor.finding == Finding::Problem { FAILED } else { DONE };
    if out.json {
        return out.line(String::from_utf8_lossy(&answer.0)).map(|()| status);
    }
    let mut about: Option<&str> = None;
    let longest = doctor.checks.iter().map(|check| check.what.len()).max().unwrap_or_default();
    for check in &doctor.checks {
        if check.name.as_deref() != about {
            about = check.name.as_deref();
            out.line(format_args!("{}", plain(about.unwrap_or("all names"))))?;
        }
        let word = match check.finding {
            Finding::Ok => "ok     ",
            Finding::Warning => "warning",
            Finding::Problem => "PROBLEM",
        };
        let what = plain(&check.what);
        out.line(format_args!("  {word}  {what:longest$}  {}", plain(&check.seen)))?;
        if let Some(change) = &check.change {
            out.line(format_args!("           {:longest$}  try: {}", "", plain(change)))?;
        }
    }
    let count = |finding| doctor.checks.iter().filter(|check| check.finding == finding).count();
    let (problems, warnings) = (count(Finding::Problem), count(Finding::Warning));
    out.line(format_args!("{problems} problems, {warnings} warnings"))?;
    Ok(status)
}
