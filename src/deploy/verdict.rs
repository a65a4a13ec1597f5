//! What is to become of a pair that was brought to a target and taken up there.

use crate::cert::deployment::Leaf;

/// Whether a pair stays.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Judgement {
    /// It is shown, so it stays.
    Shown,
    /// Another one is shown: it stays, as the target may only not have read it yet.
    NotShown(Leaf),
    /// Nobody answers, nor did before: it stays, as the server may be down for reasons of its own.
    Unseen(String),
    /// The server answered before and does not any more: it goes.
    Broke(String),
}

/// Judges by what was seen before and is seen now.
pub(super) fn judge(
    wanted: Leaf,
    before: &Result<Leaf, String>,
    now: Result<Leaf, String>,
) -> Judgement {
    match (before, now) {
        (_, Ok(leaf)) if leaf == wanted => Judgement::Shown,
        (_, Ok(leaf)) => Judgement::NotShown(leaf),
        (Ok(_), Err(reason)) => Judgement::Broke(reason),
        (Err(_), Err(reason)) => Judgement::Unseen(reason),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_broke_a_server_goes() {
        let (old, new) = (Leaf([1; 32]), Leaf([2; 32]));
        let silent = || Err("refused".to_owned());
        for (before, now, judgement) in [
            (Ok(old), Ok(new), Judgement::Shown),
            (silent(), Ok(new), Judgement::Shown),
            (Ok(old), Ok(old), Judgement::NotShown(old)),
            (silent(), Ok(old), Judgement::NotShown(old)),
            (Ok(old), silent(), Judgement::Broke("refused".to_owned())),
            (Ok(new), silent(), Judgement::Broke("refused".to_owned())),
            (silent(), silent(), Judgement::Unseen("refused".to_owned())),
        ] {
            assert_eq!(judge(new, &before, now.clone()), judgement, "{before:?} {now:?}");
        }
    }
}
