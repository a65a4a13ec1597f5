//! `keyward issue --file`: many certificates, each ordered once, however often this is begun.

mod follow;
mod lines;
mod outcome;
mod run;

use std::io::Read as _;
use std::path::Path;

use nix::unistd::Uid;
use nix::unistd::User;

use self::lines::Line;
use self::lines::Read;
use self::lines::Usual;
use self::outcome::Outcome;
use self::run::End;
use self::run::Run;
use super::args_issue::Issue;
use super::connect::Client;
use super::out::Out;
use super::render;
use super::report::BAD_DATA;
use super::report::DONE;
use super::report::FAILED;
use super::report::INTERRUPTED;
use super::report::Report;
use super::report::SOME;
use super::report::plain;
use crate::admin::wire::whoami::WhoAmI;
use crate::base::bounds;
use crate::cert::allowance::Class;
use crate::cert::key::KeyAlgorithm;

/// Bad lines that are told one by one.
const TOLD: usize = 100;

/// `keyward issue --file FILE`
pub(super) fn bulk(
    client: &Client,
    what: &Issue,
    file: &Path,
    out: &mut Out,
) -> Result<u8, Report> {
    let usual = Usual {
        key: what.key.as_deref().and_then(lines::algorithm).unwrap_or(KeyAlgorithm::P256),
        // Who wants files wants their keys.
        exportable: what.exportable || what.out.is_some(),
        hosted: what.hosted,
    };
    let read = Read::of(&text(file)?, &usual);
    if !read.bad.is_empty() {
        return Err(bad(file, &read));
    }
    for (number, first) in &read.repeated {
        out.note(format_args!("line {number} says the same as line {first}: one certificate"));
    }
    if what.dry_run {
        return dry_run(client, what, &read, out);
    }
    if let Some(dir) = &what.out
        && !dir.is_dir()
    {
        return Err(Report::new(FAILED, format!("{} is no directory", dir.display())));
    }
    // Nothing is spent for keys that could not be written.
    let written = |line: &Line| line.exportable && (line.out.is_some() || what.out.is_some());
    if read.lines.iter().any(written) {
        client.can_hand_over()?;
    }
    let run = Run::new(client, what, read.lines);
    let (end, results) = run.work_off(out)?;
    outcome::tell(&results, out)?;
    if let Some(path) = &what.report {
        outcome::write(&results, path)?;
    }
    let issued = results.iter().filter(|one| matches!(one.outcome, Outcome::Issued { .. })).count();
    if end == End::Interrupted {
        let told = format!("interrupted after {issued} of {}", results.len());
        return Err(Report::new(INTERRUPTED, told)
            .hint("what was ordered goes on; say the same again to go on from there"));
    }
    Ok(match issued {
        all if all == results.len() => DONE,
        0 => FAILED,
        _ => SOME,
    })
}

fn text(file: &Path) -> Result<String, Report> {
    let refused = |error: std::io::Error| {
        Report::new(FAILED, format!("cannot read {}: {error}", file.display()))
    };
    let mut text = Vec::new();
    let most = bounds::orders::BULK_FILE;
    if file == Path::new("-") {
        std::io::stdin().take(most + 1).read_to_end(&mut text).map_err(refused)?;
    } else {
        let opened = std::fs::File::open(file).map_err(refused)?;
        opened.take(most + 1).read_to_end(&mut text).map_err(refused)?;
    }
    if u64::try_from(text.len()).is_ok_and(|len| len > most) {
        let told = format!("{} has more than {most} bytes", file.display());
        return Err(
            Report::new(BAD_DATA, told).hint("cut it: what was issued is not ordered again")
        );
    }
    String::from_utf8(text)
        .map_err(|error| Report::new(BAD_DATA, format!("{} is no UTF-8: {error}", file.display())))
}

fn bad(file: &Path, read: &Read) -> Report {
    let lines = render::count(u64::try_from(read.bad.len()).unwrap_or(u64::MAX), "line");
    let what = format!("{lines} of {} cannot be understood: nothing was ordered", file.display());
    let mut report = Report::new(BAD_DATA, what);
    let told = |bad: &lines::Bad| format!("line {}: {}", bad.number, plain(&bad.what));
    report.causes = read.bad.iter().take(TOLD).map(told).collect();
    if let Some(more) = read.bad.len().checked_sub(TOLD).filter(|more| *more > 0) {
        report.causes.push(format!("and {more} more"));
    }
    report
}

/// What would be ordered, by class, and what is left of the allowance.
fn dry_run(client: &Client, what: &Issue, read: &Read, out: &mut Out) -> Result<u8, Report> {
    let wanted =
        |class: Class| read.lines.iter().filter(|line| Class::of(&line.names) == class).count();
    let whose = match &what.client {
        Some(name) => name.clone(),
        None => own_name(client)?,
    };
    let balances = super::issue::left(client, &whose)?.classes;
    let mut table = render::table(out, &["CLASS", "LINES", "LEFT", "GRANTED"]);
    let mut enough = true;
    let mut json = Vec::new();
    for class in Class::ALL {
        let lines = u64::try_from(wanted(class)).unwrap_or(u64::MAX);
        let found = balances.iter().find(|found| found.class == class.word());
        let (left, granted) = found.map_or((0, 0), |found| (found.available, found.granted));
        enough &= lines <= left;
        let row = [lines, left, granted].map(|number| number.to_string());
        let [lines_text, left_text, granted_text] = row;
        table.add_row([class.word().to_owned(), lines_text, left_text, granted_text]);
        json.push(serde_json::json!({
            "class": class.word(), "lines": lines, "available": left, "granted": granted,
        }));
    }
    if out.json {
        out.line(serde_json::Value::from(json))?;
    } else {
        render::print(&table, out)?;
        if !enough {
            out.line("this is more than is left; what was issued of it before costs nothing")?;
        }
    }
    Ok(if enough { DONE } else { FAILED })
}

/// The client that whoever asks is: by its name in the file, or else by that of the local user.
fn own_name(client: &Client) -> Result<String, Report> {
    let who: WhoAmI = client.get("/whoami")?.decode()?;
    let user = || User::from_uid(Uid::effective()).ok().flatten().map(|user| user.name);
    who.client.or_else(user).ok_or_else(|| {
        Report::new(FAILED, "nobody knows as which client you ask").hint("--client NAME")
    })
}
