//! What holds for deployments whatever happens to them.

use proptest::prelude::*;

use super::*;

const WATCH: Watch = Watch(Duration::from_secs(3600));

fn leaf(number: u8) -> Leaf {
    Leaf([number; 32])
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_unix(1_800_000_000 + seconds)
}

fn fresh() -> Deployment {
    let target = TargetName::parse("mail").unwrap();
    let called = "mail.example".to_owned();
    Deployment::new((CertificateId([7; 8]), target), called, None, Made::File, at(0))
}

fn event() -> impl Strategy<Value = Event> {
    let some = || (0u8..4).prop_map(leaf);
    let why = || Just("it did not work".to_owned());
    let verdict = prop_oneof![
        3 => Just(Verdict::Shown),
        1 => Just(Verdict::Kept),
        2 => some().prop_map(Verdict::NotShown),
        1 => why().prop_map(Verdict::Unseen),
        1 => why().prop_map(Verdict::PutBack),
        1 => why().prop_map(Verdict::Failed),
    ];
    prop_oneof![
        2 => some().prop_map(Event::Wanted),
        1 => Just(Event::Asked),
        4 => verdict.prop_map(Event::Carried),
        3 => some().prop_map(|leaf| Event::Looked(Ok(leaf))),
        1 => why().prop_map(|why| Event::Looked(Err(why))),
    ]
}

proptest! {
    #[test]
    fn whatever_happens_it_wakes_again_and_goes_on(
        events in prop::collection::vec((event(), 0u64..100_000, any::<u32>()), 1..60),
    ) {
        let mut now = at(0);
        let mut one = fresh();
        for (event, pause, draw) in events {
            now = now.plus(Duration::from_secs(pause));
            let after = one.after(event.clone(), WATCH, now, draw);
            // It wakes within the hour, or at the next look.
            let most = now.plus(RETRY_MOST.max(WATCH.0));
            prop_assert!(after.next <= most.max(one.next), "{after:?}");
            prop_assert_eq!(after.is_due(WATCH, most), true);
            // A new leaf, or whoever asks, has it brought at once.
            let new = matches!(event, Event::Wanted(leaf) if one.wanted != Some(leaf));
            if new || event == Event::Asked {
                prop_assert_eq!(after.state, State::Pending);
                prop_assert_eq!(after.next, now);
            }
            // Nothing is called good that is not there.
            if after.state.is_good() {
                prop_assert_eq!(after.placed, after.wanted);
                prop_assert_eq!(after.failing, None);
            }
            if after.state == State::Verified && one.state != State::Verified {
                prop_assert_eq!(after.seen, after.wanted);
            }
            // What was wanted is never forgotten, and where something is wanted, something is done.
            prop_assert!(one.wanted.is_none() || after.wanted.is_some());
            if after.wanted.is_some() {
                prop_assert!(after.step(true) != Step::Rest);
            }
            // What is not good says why, or is on its way.
            if !after.state.is_good() && after.state != State::Pending {
                prop_assert!(after.reason.is_some());
            }
            prop_assert_eq!(after.since, if after.state == one.state { one.since } else { now });
            let text = serde_json::to_string(&after).unwrap();
            prop_assert_eq!(&serde_json::from_str::<Deployment>(&text).unwrap(), &after);
            one = after;
        }
    }

    #[test]
    fn failures_back_off_up_to_an_hour_and_for_ever(draw in any::<u32>(), many in 1u32..5000) {
        let mut one = fresh().after(Event::Wanted(leaf(1)), WATCH, at(0), 0);
        let (mut now, mut last) = (at(0), Duration::ZERO);
        for number in 1..=many.min(40) {
            let failed = Event::Carried(Verdict::Failed("no".to_owned()));
            one = one.after(failed, WATCH, now, draw);
            let pause = one.next.since(now);
            prop_assert!(pause >= last.min(RETRY_MOST * 3 / 4) && pause <= RETRY_MOST, "{pause:?}");
            prop_assert!(pause >= RETRY_FIRST * 3 / 4);
            prop_assert_eq!((one.failures, one.failing), (number, Some(at(0))));
            prop_assert_eq!(one.step(true), Step::Carry);
            (now, last) = (one.next, pause);
        }
        one.failures = many;
        let failed = one.after(Event::Carried(Verdict::Failed("no".to_owned())), WATCH, now, draw);
        prop_assert!(failed.next > now);
        let good = failed.after(Event::Carried(Verdict::Shown), WATCH, now, draw);
        prop_assert_eq!((good.failures, good.failing, good.reason), (0, None, None));
    }
}

#[test]
fn drift_is_put_right_at_once_until_somebody_fights_for_the_place() {
    let mut one = fresh().after(Event::Wanted(leaf(1)), WATCH, at(0), 0);
    one = one.after(Event::Carried(Verdict::Shown), WATCH, at(0), 0);
    let mut now = one.next;
    for number in 1..=DRIFTS + 2 {
        one = one.after(Event::Looked(Ok(leaf(2))), WATCH, now, 0);
        assert_eq!((one.state, one.drifts, one.step(true)), (State::Drifted, number, Step::Carry));
        assert_eq!(one.next == now, number <= DRIFTS, "{number}");
        assert_eq!(one.failing.is_some(), number > DRIFTS);
        one = one.after(Event::Carried(Verdict::Shown), WATCH, one.next, 0);
        now = one.next;
    }
    assert_eq!(one.drifts, DRIFTS + 2);
    // A day without: it is as if nothing had been.
    let later = now.plus(DRIFTS_FORGOTTEN);
    one = one.after(Event::Looked(Ok(leaf(1))), WATCH, later, 0);
    assert_eq!((one.state, one.drifts, one.drifted), (State::Verified, 0, None));
}

#[test]
fn a_server_that_is_away_is_looked_for_and_not_started() {
    let mut one = fresh().after(Event::Wanted(leaf(1)), WATCH, at(0), 0);
    one = one.after(Event::Carried(Verdict::Shown), WATCH, at(0), 0);
    for number in 1..=SILENCES {
        let now = one.next;
        one = one.after(Event::Looked(Err("refused".to_owned())), WATCH, now, 0);
        let state = if number < SILENCES { State::Verified } else { State::Failed };
        assert_eq!((one.state, one.step(true)), (state, Step::Look), "{number}");
        assert!(one.reason.as_ref().unwrap().contains("refused"));
    }
    // It comes again, with what it had.
    let back = one.after(Event::Looked(Ok(leaf(1))), WATCH, one.next, 0);
    assert_eq!((back.state, back.failing, back.reason), (State::Verified, None, None));
}

#[test]
fn what_was_taken_and_is_not_shown_is_brought_again() {
    let mut one = fresh().after(Event::Wanted(leaf(1)), WATCH, at(0), 0);
    one = one.after(Event::Carried(Verdict::NotShown(leaf(9))), WATCH, at(0), 0);
    assert_eq!((one.state, one.placed, one.step(true)), (State::Failed, one.wanted, Step::Carry));
    // A look in between changes nothing of it, unless it is shown.
    let looked = one.after(Event::Looked(Ok(leaf(9))), WATCH, at(1), 0);
    assert_eq!((looked.state, looked.drifts, looked.step(true)), (State::Failed, 0, Step::Carry));
    let looked = one.after(Event::Looked(Ok(leaf(1))), WATCH, at(1), 0);
    assert_eq!(looked.state, State::Verified);
}

#[test]
fn who_shares_a_place_does_not_prove_anothers_deployment() {
    let one = fresh().after(Event::Wanted(leaf(1)), WATCH, at(0), 0);
    let looked = one.after(Event::Looked(Ok(leaf(1))), WATCH, at(1), 0);
    assert_eq!((looked.state, looked.step(true)), (State::Pending, Step::Carry));
}

#[test]
fn a_clock_that_was_set_back_keeps_nobody_waiting() {
    let mut one = fresh().after(Event::Wanted(leaf(1)), WATCH, at(0), 0);
    one = one.after(Event::Carried(Verdict::Shown), WATCH, at(0), u32::MAX);
    assert!(!one.is_due(WATCH, at(0)));
    assert!(one.is_due(WATCH, at(0).minus(Duration::from_secs(3600))));
}

#[test]
fn a_leaf_is_written_in_hexadecimal_and_read_strictly() {
    let leaf = Leaf::of(b"");
    let text = serde_json::to_string(&leaf).unwrap();
    assert!(text.starts_with("\"e3b0c44298fc1c14"), "{text}");
    assert_eq!(serde_json::from_str::<Leaf>(&text).unwrap(), leaf);
    for bad in ["\"\"", "\"e3\"", &text.replace("e3", "g3"), &format!("\"0{}", &text[1..])] {
        assert!(serde_json::from_str::<Leaf>(bad).is_err(), "{bad}");
    }
}
