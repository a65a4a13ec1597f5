//! `keyward export`: opens a file that only its owner can read, and has the vault write the
//! private key into it. The key does not pass the daemon, and this process reads it only where
//! it is to go on to standard output.

use std::fs::File;
use std::fs::OpenOptions;
use std::io;
use std::io::Read as _;
use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::path::PathBuf;

use zeroize::Zeroizing;

use super::args_carry::Export;
use super::connect::Client;
use super::out::Out;
use super::report::DONE;
use super::report::FAILED;
use super::report::FAULT;
use super::report::NOT_ALLOWED;
use super::report::Report;
use super::report::plain;
use crate::admin::wire::transfer::Exported;
use crate::admin::wire::transfer::Handover;
use crate::admin::wire::transfer::HandoverOrder;
use crate::base::bounds;
use crate::base::disk;
use crate::os::sandbox;

/// `keyward export NAME --to FILE [--chain FILE]`
pub(super) fn export(client: &Client, what: &Export, out: &mut Out) -> Result<u8, Report> {
    let order = HandoverOrder::Export { certificate: what.name.clone() };
    if what.to == Path::new("-") {
        let exported = through_a_pipe(client, &order, out)?;
        chain(what, &exported)?;
        return Ok(DONE);
    }
    let target = Aside::create(&what.to, what.force)?;
    let exported = exported(client.hand_over(&order, target.file.as_fd())?)?;
    target.put_in_place(what.force)?;
    chain(what, &exported)?;
    let first = exported.certificate.names.first().map_or("", String::as_str);
    if out.json {
        let text = serde_json::to_string(&exported.certificate);
        return out.line(text.unwrap_or_default()).map(|()| DONE);
    }
    let place = what.to.display();
    out.line(format_args!("the private key of {} is in {place} (mode 600)", plain(first)))?;
    if let Some(path) = &what.chain {
        out.line(format_args!("  its certificate chain is in {}", path.display()))?;
    }
    Ok(DONE)
}

/// To standard output, whatever that is: the vault itself writes to a pipe alone.
fn through_a_pipe(
    client: &Client,
    order: &HandoverOrder,
    out: &mut Out,
) -> Result<Exported, Report> {
    sandbox::forbid_dumps()
        .map_err(|error| Report::new(FAULT, format!("cannot forbid core files: {error}")))?;
    let broken = |error: io::Error| Report::new(FAULT, format!("a pipe: {error}"));
    let (reader, writer) = io::pipe().map_err(broken)?;
    // A key fits into the pipe, so nobody has to read meanwhile.
    let exported = exported(client.hand_over(order, writer.as_fd())?)?;
    drop(writer);
    let room = usize::try_from(bounds::IMPORT_FILE).unwrap_or(0);
    let mut key = Zeroizing::new(Vec::with_capacity(room));
    reader.take(bounds::IMPORT_FILE).read_to_end(&mut key).map_err(broken)?;
    out.bytes(&key)?;
    Ok(exported)
}

fn exported(done: Handover) -> Result<Exported, Report> {
    match done {
        Handover::Exported(exported) => Ok(*exported),
        _ => Err(Report::new(FAULT, "the daemon did something else than it was asked")),
    }
}

fn chain(what: &Export, exported: &Exported) -> Result<(), Report> {
    let Some(path) = &what.chain else { return Ok(()) };
    let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
    if path.exists() && !what.force {
        return Err(there_already(&path));
    }
    disk::replace(&path, exported.chain.as_bytes(), 0o644).map_err(|error| refused(&path, &error))
}

/// A file beside the one that is wanted: nothing is lost when it stays empty or half written.
pub(super) struct Aside {
    pub(super) file: File,
    aside: PathBuf,
    target: PathBuf,
}

impl Aside {
    /// Opens it for writing alone, with mode 0600.
    ///
    /// # Errors
    /// When the target is there already and `force` is not given, or the system refuses.
    pub(super) fn create(target: &Path, force: bool) -> Result<Self, Report> {
        let target = std::path::absolute(target).map_err(|error| refused(target, &error))?;
        let Some(name) = target.file_name() else {
            return Err(Report::new(FAILED, format!("{} names no file", target.display())));
        };
        if target.symlink_metadata().is_ok() && !force {
            return Err(there_already(&target));
        }
        let mut aside = std::ffi::OsString::from(".");
        aside.push(name);
        aside.push(format!(".{}", std::process::id()));
        let aside = target.with_file_name(aside);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&aside);
        let file = file.map_err(|error| refused(&target, &error))?;
        Ok(Self { file, aside, target })
    }

    /// The same file, to read what was written; it stays when the name goes.
    ///
    /// # Errors
    /// Whatever the system says.
    pub(super) fn reader(&self) -> io::Result<File> {
        File::open(&self.aside)
    }

    /// Makes what was written durable, and gives it its name.
    ///
    /// # Errors
    /// When somebody else has made a file of that name meanwhile, or the system refuses.
    pub(super) fn put_in_place(mut self, force: bool) -> Result<(), Report> {
        let parent = self.target.parent().unwrap_or_else(|| Path::new("/"));
        let placed = self.file.flush().and_then(|()| self.file.sync_all()).and_then(|()| {
            if force {
                return std::fs::rename(&self.aside, &self.target);
            }
            // Unlike a rename, it never takes the place of another file.
            std::fs::hard_link(&self.aside, &self.target)
        });
        match placed.and_then(|()| disk::sync_directory(parent)) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(there_already(&self.target))
            }
            placed => placed.map_err(|error| refused(&self.target, &error)),
        }
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        // Gone already when it was renamed.
        let _gone = std::fs::remove_file(&self.aside);
    }
}

fn there_already(path: &Path) -> Report {
    Report::new(FAILED, format!("{} is there already", path.display()))
        .hint("another file, or --force to replace it")
}

fn refused(path: &Path, error: &io::Error) -> Report {
    let status = match error.kind() {
        io::ErrorKind::PermissionDenied => NOT_ALLOWED,
        _ => FAILED,
    };
    Report::new(status, format!("cannot write {}: {error}", path.display()))
}
