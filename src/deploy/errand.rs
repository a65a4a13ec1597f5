//! One errand: a pair is brought to a target, looked for there, and kept or put back; or it is only
//! looked.

use std::sync::Arc;

use tokio::time::Instant;
use tokio::time::sleep;
use tokio::time::timeout;

use super::verdict::Judgement;
use super::verdict::judge;
use super::world::Sought;
use super::world::World;
use crate::base::bounds::deployment::LOOK;
use crate::base::bounds::deployment::LOOK_PAUSE;
use crate::base::bounds::deployment::LOOK_PAUSE_MOST;
use crate::base::bounds::deployment::SHOWN_WITHIN;
use crate::cert::deployment::Leaf;
use crate::cert::deployment::Verdict;
use crate::cert::identifier::Identifier;
use crate::cert::record::Certificate;
use crate::config::Probe;
use crate::config::Target;

/// What is shown at the place of a target, if there is one.
pub(super) async fn look(
    world: &dyn World,
    target: &Target,
    record: &Certificate,
    wanted: Leaf,
) -> Option<Result<Leaf, String>> {
    let (place, sought) = (target.probe.as_ref()?, sought(target, record, wanted)?);
    Some(look_once(world, place, &sought).await)
}

/// Brings what is installed for `record` to `target`.
pub(super) async fn carry(
    world: &dyn World,
    target: Arc<Target>,
    record: Arc<Certificate>,
    wanted: Leaf,
) -> Verdict {
    let before = look(world, &target, &record, wanted).await;
    let placed = match world.carry(Arc::clone(&target), Arc::clone(&record)).await {
        Ok(placed) => placed,
        Err(refused) if refused.put_back => return Verdict::PutBack(refused.reason),
        Err(refused) => return Verdict::Failed(refused.reason),
    };
    let judgement = match (before, target.probe.as_ref(), sought(&target, &record, wanted)) {
        (Some(before), Some(place), Some(sought)) => {
            let now = look_until(world, place, &sought).await;
            Some(judge(wanted, &before, now))
        }
        _ => None,
    };
    if let Some(Judgement::Broke(reason)) = judgement {
        let reason = format!("the server did not answer any more: {reason}");
        return match placed.put_back().await {
            Ok(()) => Verdict::PutBack(reason),
            Err(error) => Verdict::Failed(format!(
                "{reason}; and what was there before could not be put back: {error}"
            )),
        };
    }
    if let Err(error) = placed.keep().await {
        // It is there nevertheless; the next one that comes finds it so.
        tracing::warn!(target = %target.name, %error, "a pair was brought and not confirmed");
    }
    match judgement {
        None => Verdict::Kept,
        Some(Judgement::Shown) => Verdict::Shown,
        Some(Judgement::NotShown(leaf)) => Verdict::NotShown(leaf),
        Some(Judgement::Unseen(reason) | Judgement::Broke(reason)) => Verdict::Unseen(reason),
    }
}

/// What is looked for at a target.
fn sought(target: &Target, record: &Certificate, leaf: Leaf) -> Option<Sought> {
    let name = match target.sni.as_ref().or_else(|| record.spec.names().first())? {
        // A client never asks for the asterisk, but for something in its place.
        Identifier::Wildcard(parent) => {
            Identifier::parse(&format!("www.{}", parent.as_str())).ok()?
        }
        other => other.clone(),
    };
    Some(Sought { name, kind: record.spec.key.kind(), leaf })
}

async fn look_once(world: &dyn World, place: &Probe, sought: &Sought) -> Result<Leaf, String> {
    let looked = timeout(LOOK, world.look(place, sought)).await;
    looked.unwrap_or_else(|_| Err(format!("{place} did not answer within {} s", LOOK.as_secs())))
}

/// Looks until what is sought is shown or patience is at its end: servers take a moment to read their files,
/// and some restart.
async fn look_until(world: &dyn World, place: &Probe, sought: &Sought) -> Result<Leaf, String> {
    let (end, mut pause) = (Instant::now() + SHOWN_WITHIN, LOOK_PAUSE);
    loop {
        let seen = look_once(world, place, sought).await;
        if seen == Ok(sought.leaf) || Instant::now() + pause >= end {
            return seen;
        }
        sleep(pause).await;
        pause = (pause * 2).min(LOOK_PAUSE_MOST);
    }
}
