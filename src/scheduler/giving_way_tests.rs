//! When a CA gives way, and to which.

use super::*;

const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);

fn ca(name: &str) -> IssuerName {
    IssuerName::Acme(format!("https://{name}.example/dir"))
}

fn list() -> Vec<IssuerName> {
    vec![ca("a"), ca("b"), ca("c")]
}

fn at(minutes: u64) -> Timestamp {
    NOW.plus(Duration::from_secs(60 * minutes))
}

/// The ladder is at its foot.
fn judge(
    choice: &mut Choice,
    failure: &Failure,
    whose: (&IssuerName, &[IssuerName]),
    installed: Option<Validity>,
    now: Timestamp,
) -> Verdict {
    super::judge(choice, failure, whose, installed, Duration::ZERO, now)
}

fn leave(to: &str, at: Timestamp, forgiven: u32) -> Verdict {
    Verdict::Leave { to: ca(to), at, forgiven }
}

fn unreachable() -> Failure {
    Failure::new(FailureKind::Unreachable, "no route")
}

#[test]
fn the_third_failure_in_a_row_crosses_over_where_nothing_is_served() {
    let (mut choice, list) = (Choice::default(), list());
    let whose = (&ca("a"), list.as_slice());
    assert_eq!(judge(&mut choice, &unreachable(), whose, None, at(0)), Verdict::Stay);
    assert_eq!(judge(&mut choice, &unreachable(), whose, None, at(1)), Verdict::Stay);
    let third = judge(&mut choice, &unreachable(), whose, None, at(6));
    assert_eq!(third, leave("b", at(6), 3));
    assert_eq!(choice.left.len(), 1);
    assert_eq!(choice.trouble, None, "the next one begins without a record");
}

#[test]
fn who_has_one_ca_never_leaves_it() {
    let (mut choice, one) = (Choice::default(), vec![ca("a")]);
    for minute in 0..50 {
        let stays = judge(&mut choice, &unreachable(), (&ca("a"), &one), None, at(minute));
        assert_eq!(stays, Verdict::Stay);
    }
    assert_eq!(choice, Choice::default());
}

#[test]
fn a_failure_of_the_sites_own_never_crosses_and_ends_the_count() {
    let (mut choice, list) = (Choice::default(), list());
    let whose = (&ca("a"), list.as_slice());
    let own = [FailureKind::Dns, FailureKind::Connection, FailureKind::ChallengeFailed];
    for minute in 0..100 {
        for kind in own {
            let failure = Failure::new(kind, "no such name");
            let stays = judge(&mut choice, &failure, whose, None, at(minute));
            assert_eq!(stays, Verdict::Stay);
        }
    }
    for _ in 0..2 {
        assert_eq!(judge(&mut choice, &unreachable(), whose, None, at(101)), Verdict::Stay);
    }
    let failure = Failure::new(FailureKind::Dns, "no such name");
    assert_eq!(judge(&mut choice, &failure, whose, None, at(102)), Verdict::Stay);
    assert_eq!(judge(&mut choice, &unreachable(), whose, None, at(103)), Verdict::Stay);
    // So does a limit that the name's own failures have reached.
    let name = crate::cert::identifier::Identifier::parse("a.example").unwrap();
    let limited = Failure::new(FailureKind::RateLimited, "failed validations are used up")
        .with_remedy(Remedy::RetryAfter(at(10_000)))
        .about(name);
    assert_eq!(judge(&mut choice, &limited, whose, None, at(104)), Verdict::Stay);
}

#[test]
fn who_refuses_the_account_the_name_or_for_hours_gives_way_at_once() {
    for kind in [FailureKind::Account, FailureKind::Rejected, FailureKind::Terms] {
        let (mut choice, list) = (Choice::default(), list());
        let verdict = judge(&mut choice, &Failure::new(kind, "no"), (&ca("a"), &list), None, NOW);
        assert_eq!(verdict, leave("b", NOW, 1), "{kind:?}");
        assert_eq!(choice.left[0].again, None, "nothing here changes that");
    }
    let limited = |until| {
        Failure::new(FailureKind::RateLimited, "429").with_remedy(Remedy::RetryAfter(until))
    };
    let (mut choice, list) = (Choice::default(), list());
    let whose = (&ca("a"), list.as_slice());
    assert_eq!(judge(&mut choice, &limited(at(10)), whose, None, NOW), Verdict::Stay);
    assert_eq!(judge(&mut choice, &limited(at(60)), whose, None, NOW), leave("b", NOW, 2));
    // A renewal that has weeks has an hour.
    let week = Validity { not_before: NOW, not_after: at(7 * 24 * 60) };
    let mut choice = Choice::default();
    let stays = judge(&mut choice, &limited(at(60)), whose, Some(week), NOW);
    assert_eq!(stays, Verdict::Stay);
    let caa = Failure::new(FailureKind::Caa, "another CA");
    let mut choice = Choice::default();
    assert_eq!(judge(&mut choice, &caa, whose, None, NOW), Verdict::Stay);
    assert_eq!(judge(&mut choice, &caa, whose, None, at(1)), leave("b", at(1), 2));
}

#[test]
fn what_is_served_and_good_waits_for_its_own_ca_an_eighth_of_what_is_left_and_a_day_at_most() {
    for (hours_left, patience) in [(16, 2), (10_000, 24)] {
        let (mut choice, list) = (Choice::default(), list());
        let whose = (&ca("a"), list.as_slice());
        let good = Some(Validity { not_before: NOW, not_after: at(60 * hours_left) });
        for _ in 0..5 {
            assert_eq!(judge(&mut choice, &unreachable(), whose, good, NOW), Verdict::Stay);
        }
        let end = at(60 * patience);
        let last = judge(&mut choice, &unreachable(), whose, good, end);
        assert_eq!(last, leave("b", end, 6), "{hours_left}");
        // Another one gave it because this one was gone: that is not waited for once more.
        let mut choice = Choice { issued: Some(ca("b")), ..Choice::default() };
        for _ in 0..2 {
            assert_eq!(judge(&mut choice, &unreachable(), whose, good, NOW), Verdict::Stay);
        }
        assert_eq!(judge(&mut choice, &unreachable(), whose, good, NOW), leave("b", NOW, 3));
    }
}

#[test]
fn when_all_were_left_they_take_turns_on_the_ladder_and_who_refused_is_asked_once_a_day() {
    let (mut choice, list) = (Choice::default(), list());
    let refused = Failure::new(FailureKind::Account, "no");
    assert_eq!(judge(&mut choice, &refused, (&ca("a"), &list), None, at(0)), leave("b", at(0), 1));
    for minute in [0, 1] {
        judge(&mut choice, &unreachable(), (&ca("b"), &list), None, at(minute));
    }
    let to_c = judge(&mut choice, &unreachable(), (&ca("b"), &list), None, at(6));
    assert_eq!(to_c, leave("c", at(6), 3));
    let later =
        Failure::new(FailureKind::RateLimited, "429").with_remedy(Remedy::RetryAfter(at(600)));
    let back = judge(&mut choice, &later, (&ca("c"), &list), None, at(7));
    assert_eq!(back, leave("b", at(7), 0));
    // One more failure is enough now, and the only other one names its moment.
    let again = judge(&mut choice, &unreachable(), (&ca("b"), &list), None, at(8));
    assert_eq!(again, leave("b", at(8), 0));
    // A day later the one that refused may have thought better of it, and has another day if not.
    let tomorrow = 24 * 60;
    let first = judge(&mut choice.clone(), &later, (&ca("b"), &list), None, at(tomorrow - 1));
    assert_eq!(first, leave("c", at(tomorrow - 1), 0));
    let mut alone = choice.clone();
    alone.left.retain(|left| left.issuer != ca("c"));
    let pair = [ca("a"), ca("b")];
    for (minute, to) in [(tomorrow - 1, "b"), (tomorrow, "a")] {
        let verdict = judge(&mut alone, &unreachable(), (&ca("b"), &pair), None, at(minute));
        assert_eq!(verdict, leave(to, at(minute), 0), "{minute}");
    }
    for (minute, to) in [(tomorrow, "b"), (2 * tomorrow - 1, "b"), (2 * tomorrow, "a")] {
        let asked = if minute == tomorrow { "a" } else { "b" };
        let failure = if minute == tomorrow { &refused } else { &unreachable() };
        let verdict = judge(&mut alone, failure, (&ca(asked), &pair), None, at(minute));
        assert_eq!(verdict, leave(to, at(minute), 0), "{minute}");
    }
    // When each of them waits for somebody, so does the certificate.
    for (name, last) in [("b", false), ("c", true)] {
        let verdict = judge(&mut choice, &refused, (&ca(name), &list), None, at(9));
        assert_eq!(verdict == Verdict::GiveUp, last, "{verdict:?}");
    }
}

#[test]
fn who_refused_is_asked_again_while_there_is_time_where_the_others_are_gone() {
    let pair = [ca("a"), ca("b")];
    let refused = Failure::new(FailureKind::Account, "no");
    // Hours that are left when it refuses, and after which it is asked again.
    for (left, hours) in [(16, 8), (100, 24), (1, 1)] {
        let good = Some(Validity { not_before: NOW, not_after: at(60 * left) });
        let mut choice = Choice::default();
        choice.left.push(Left::because(ca("b"), &refused, NOW));
        choice.left.push(Left::because(ca("a"), &unreachable(), NOW));
        for (minute, to) in [(60 * hours - 1, "a"), (60 * hours, "b")] {
            let verdict = judge(&mut choice, &unreachable(), (&ca("a"), &pair), good, at(minute));
            assert_eq!(verdict, leave(to, at(minute), 0), "{left} {minute}");
        }
    }
}

#[test]
fn each_rests_as_the_ladder_has_it_or_as_it_asked_for_itself() {
    let pair = [ca("a"), ca("b")];
    let wait = Duration::from_secs(5 * 3600);
    let slow =
        Failure::new(FailureKind::RateLimited, "429").with_remedy(Remedy::RetryAfter(at(60)));
    // Minutes before now at which the other one failed, and who is asked when.
    for (ago, to, moment) in [(10, "b", 60), (280, "a", 20), (400, "a", 0)] {
        let mut choice = Choice::default();
        choice.left.push(Left::because(ca("b"), &unreachable(), NOW));
        let failed = NOW.minus(Duration::from_secs(60 * ago));
        choice.left.push(Left::because(ca("a"), &unreachable(), failed));
        let whose = (&ca("b"), pair.as_slice());
        let verdict = super::judge(&mut choice, &slow, whose, None, wait, NOW);
        assert_eq!(verdict, leave(to, at(moment), 0), "{ago}");
    }
}
