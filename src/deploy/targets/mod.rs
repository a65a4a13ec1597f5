//! Kinds of targets, on the hand's side: one small file for each, on one trait.

mod errand;
mod exec;
mod files;
mod haproxy;
mod pkcs12;
pub(super) mod program;
pub(super) mod reload;

use crate::base::bounds;
use crate::config::Target as Configured;
use crate::config::TargetKind;
use crate::deploy::hand::deadline::Deadline;
use crate::deploy::hand::one_line;
use crate::deploy::pair::Pair;

/// Why something did not work, in the words of a person.
#[derive(Debug)]
pub(super) struct Fault {
    /// What, on one line.
    pub(super) reason: String,
    /// Whether the target is as it was before it was begun with.
    pub(super) as_it_was: bool,
}

impl Fault {
    /// Nothing was changed.
    pub(super) fn harmless(reason: impl ToString) -> Self {
        Self { reason: one_line(&reason.to_string(), bounds::hand::REASON), as_it_was: true }
    }

    /// Something may be half done.
    pub(super) fn half_done(reason: impl ToString) -> Self {
        Self { as_it_was: false, ..Self::harmless(reason) }
    }
}

/// Where a pair is brought. Called in order: [`place`](Self::place), [`take_up`](Self::take_up), and then
/// either [`keep`](Self::keep), or [`put_back`](Self::put_back) and once more `take_up`.
pub(super) trait Target {
    /// Puts the pair there, all of it or nothing.
    ///
    /// # Errors
    /// [`Fault`], which says whether there is something to be put back.
    fn place(&mut self, pair: &Pair) -> Result<(), Fault>;

    /// Has the pair used that is there, within this time.
    ///
    /// # Errors
    /// [`Fault`].
    fn take_up(&mut self, deadline: Deadline) -> Result<(), Fault>;

    /// Puts back what was there before; nothing happens where that is there already.
    ///
    /// # Errors
    /// [`Fault`].
    fn put_back(&mut self) -> Result<(), Fault>;

    /// What is there now is what a later `put_back` comes back to.
    fn keep(&mut self);
}

/// The target of the file, ready to be written in; what an earlier hand left half done is undone first.
///
/// # Errors
/// [`Fault`] says what is in the way.
pub(super) fn open(
    target: &Configured,
    name: &str,
    deadline: Deadline,
) -> Result<Box<dyn Target>, Fault> {
    match &target.kind {
        TargetKind::Files(files) => {
            let opened = files::Files::open(files, target.name.as_str(), name, deadline)?;
            Ok(Box::new(opened))
        }
        TargetKind::Haproxy(haproxy) => {
            let name_of = target.name.as_str();
            Ok(Box::new(haproxy::Haproxy::open(haproxy, name_of, name, deadline)?))
        }
        TargetKind::Exec(program) => Ok(Box::new(exec::Exec::open(program, target.name.as_str())?)),
    }
}
