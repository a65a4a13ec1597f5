//! What a mistyped word may have been meant to be.

/// What is shorter begins too many words.
const CUT_SHORT: usize = 3;

/// The one of `known` that is nearest to `word`, if it is near enough to be what was meant; else the
/// only one that is cut short, or that is short for it.
pub(super) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Long enough for every key there is; what is longer was not mistyped.
    if word.len() > 64 {
        return None;
    }
    let word = word.to_ascii_lowercase().replace('-', "_");
    let allowed = (word.chars().count() / 3).clamp(1, 3);
    let known: Vec<_> = known.into_iter().collect();
    let near = known
        .iter()
        .map(|candidate| (distance(&word, &candidate.replace('-', "_")), *candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, candidate)| candidate);
    near.or_else(|| {
        let short = |one: &str, two: &str| one.len() >= CUT_SHORT && two.starts_with(one);
        let mut cut = known.iter().filter(|known| short(known, &word) || short(&word, known));
        cut.next().filter(|_| cut.next().is_none()).copied()
    })
}

/// Insertions, deletions, replacements and swaps of neighbours that turn `one` into `two`.
fn distance(one: &str, two: &str) -> usize {
    let two: Vec<char> = two.chars().collect();
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=two.len()).collect();
    let mut previous = None;
    for (row, from) in one.chars().enumerate() {
        let mut current = vec![row + 1];
        for (column, to) in two.iter().enumerate() {
            let at = |line: &[usize], index: usize| line.get(index).copied().unwrap_or(usize::MAX);
            let replaced = at(&last, column).saturating_add(usize::from(from != *to));
            let removed = at(&last, column + 1).saturating_add(1);
            let added = at(&current, column).saturating_add(1);
            let mut best = replaced.min(removed).min(added);
            let swapped = column > 0 && previous == Some(*to) && two.get(column - 1) == Some(&from);
            if swapped {
                best = best.min(at(&before_last, column - 1).saturating_add(1));
            }
            current.push(best);
        }
        before_last = std::mem::replace(&mut last, current);
        previous = Some(from);
    }
    last.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_count_each_slip_once() {
        for (one, two, expected) in [
            ("origin", "origin", 0),
            ("orgin", "origin", 1),
            ("oirgin", "origin", 1),
            ("directroy", "directory", 1),
            ("", "abc", 3),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(one, two), expected, "{one} {two}");
        }
    }

    #[test]
    fn only_what_is_near_is_suggested() {
        let known = ["names", "origin", "redirect"];
        assert_eq!(nearest("name", known), Some("names"));
        assert_eq!(nearest("Origin", known), Some("origin"));
        assert_eq!(nearest("upstream", known), None);
        assert_eq!(nearest("directory", ["dir", "mode"]), Some("dir"));
        assert_eq!(nearest("cert", ["certificate", "key"]), Some("certificate"));
        assert_eq!(nearest("cert", ["certificate", "certificates"]), None, "it is either");
        assert_eq!(nearest("no", ["notices"]), None);
        assert_eq!(nearest("preserve-host", ["preserve_host"]), Some("preserve_host"));
        assert_eq!(nearest(&"n".repeat(100), known), None);
    }
}
