//! The invariants of the phase machine, each with its number from the design.

use proptest::prelude::*;

use super::*;
use crate::cert::challenge::ChallengeType;
use crate::cert::identifier::Identifier;

fn moment() -> impl Strategy<Value = Timestamp> {
    prop_oneof![
        Just(0),
        // Near each other, so that some are reached and some are not.
        0u64..2_000,
        1_700_000_000u64..1_700_100_000,
        any::<u64>(),
        Just(u64::MAX),
    ]
    .prop_map(Timestamp::from_unix)
}

fn window() -> impl Strategy<Value = RenewalWindow> {
    (moment(), moment()).prop_filter_map("a window has a length", |(one, two)| {
        RenewalWindow::new(one.min(two), one.max(two))
    })
}

fn validity() -> impl Strategy<Value = Validity> {
    (moment(), moment())
        .prop_map(|(one, two)| Validity { not_before: one.min(two), not_after: one.max(two) })
}

fn in_flight() -> impl Strategy<Value = Option<InFlight>> {
    let one = (any::<[u8; 32]>(), any::<Option<String>>());
    proptest::option::of(one.prop_map(|(key, order)| InFlight { key: KeyId(key), order }))
}

fn failure() -> impl Strategy<Value = Failure> {
    let remedy = prop_oneof![
        Just(Remedy::Retry),
        Just(Remedy::Intervene),
        moment().prop_map(Remedy::RetryAfter),
    ];
    let kind = prop_oneof![Just(FailureKind::Dns), Just(FailureKind::AlreadyReplaced)];
    (kind, remedy, ".*", any::<bool>()).prop_map(|(kind, remedy, detail, about)| {
        let failure = Failure::new(kind, detail).with_remedy(remedy);
        if about {
            let name = Identifier::parse("*.shop.example").unwrap();
            failure.about(name).while_trying(ChallengeType::TlsAlpn01)
        } else {
            failure
        }
    })
}

/// Any phase, whether or not a run can reach it.
pub(crate) fn phase() -> impl Strategy<Value = Phase> {
    prop_oneof![
        (any::<u32>(), in_flight())
            .prop_map(|(attempt, in_flight)| Phase::Due { attempt, in_flight }),
        (any::<u32>(), in_flight(), moment()).prop_map(|(attempt, in_flight, deadline)| {
            Phase::Ordering { attempt, in_flight, deadline }
        }),
        holding(),
        (any::<u32>(), moment(), failure(), in_flight()).prop_map(
            |(attempt, until, failure, in_flight)| {
                Phase::Waiting { attempt, until, failure, in_flight }
            }
        ),
        halted(),
        moment().prop_map(|until| Phase::Retiring { until }),
    ]
}

fn holding() -> impl Strategy<Value = Phase> {
    (moment(), window(), proptest::option::of(moment()))
        .prop_map(|(renew_at, window, recheck_at)| Phase::Holding { renew_at, window, recheck_at })
}

fn halted() -> impl Strategy<Value = Phase> {
    (failure(), moment()).prop_map(|(failure, since)| Phase::Halted { failure, since })
}

fn event() -> impl Strategy<Value = Event> {
    let installed =
        (validity(), proptest::option::of(window()), any::<Option<u64>>(), any::<u32>());
    let installed = installed.prop_map(|(validity, window, recheck, draw)| Event::Installed {
        validity,
        window,
        recheck_at: recheck.map(Timestamp::from_unix),
        draw,
    });
    let checked = (validity(), proptest::option::of(window()), any::<Option<u64>>(), any::<u32>());
    let checked = checked.prop_map(|(validity, window, recheck, draw)| Event::WindowChecked {
        validity,
        window,
        recheck_at: recheck.map(Timestamp::from_unix),
        draw,
    });
    prop_oneof![
        Just(Event::Tick),
        moment().prop_map(|deadline| Event::Leased { deadline }),
        any::<[u8; 32]>().prop_map(|key| Event::KeyStored(KeyId(key))),
        Just(Event::KeyDropped),
        any::<String>().prop_map(Event::OrderOpened),
        Just(Event::OrderLost),
        installed,
        (failure(), any::<u32>()).prop_map(|(failure, draw)| Event::Failed { failure, draw }),
        checked,
        (any::<u32>(), moment(), failure())
            .prop_map(|(attempt, until, failure)| { Event::Diverted { attempt, until, failure } }),
        Just(Event::Abandoned),
        Just(Event::Requested),
        Just(Event::Changed),
        Just(Event::Restarted),
        (moment(), validity()).prop_map(|(until, validity)| Event::Deferred { until, validity }),
        moment().prop_map(|keep_until| Event::Removed { keep_until }),
        (proptest::option::of(validity()), any::<u32>())
            .prop_map(|(installed, draw)| Event::Returned { installed, draw }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_event_in_no_phase_at_no_time_is_a_panic(
        phase in phase(), events in proptest::collection::vec((event(), moment()), 0..12),
    ) {
        let mut phase = phase;
        for (event, now) in events {
            phase = phase.step(event, now).0;
        }
    }

    #[test]
    fn invariant_2_a_lease_is_not_given_twice(
        phase in phase(), one in moment(), two in moment(), now in moment(),
    ) {
        let (leased, _) = phase.step(Event::Leased { deadline: one }, now);
        let (again, effects) = leased.clone().step(Event::Leased { deadline: two }, now);
        prop_assert!(effects.is_empty());
        if matches!(leased, Phase::Ordering { .. }) {
            prop_assert_eq!(again, leased);
        }
    }

    #[test]
    fn invariant_5_every_phase_but_halted_wakes_and_waking_makes_progress(
        phase in phase(), now in moment(),
    ) {
        match phase.wake_at(now) {
            None => prop_assert_eq!(phase.word(), "halted"),
            Some(wake) => {
                let (next, effects) = phase.clone().step(Event::Tick, now.max(wake));
                prop_assert!(next != phase || !effects.is_empty());
            }
        }
    }

    #[test]
    fn invariant_6_a_drawn_moment_stands_while_the_window_does(
        phase in holding(), validity in validity(), recheck in moment(), draws: [u32; 2],
        now in moment(),
    ) {
        let Phase::Holding { renew_at: drawn, window, .. } = phase else { unreachable!() };
        let recheck_at = Some(recheck);
        let mut phase = phase.step(Event::Restarted, now).0;
        for (new, draw) in [(Some(window), draws[0]), (None, draws[1])] {
            let event = Event::WindowChecked { validity, window: new, recheck_at, draw };
            phase = phase.step(event, now).0;
            phase = phase.step(Event::Restarted, now).0;
        }
        prop_assert_eq!(phase, Phase::Holding { renew_at: drawn, window, recheck_at });
    }

    #[test]
    fn invariant_7_neither_installing_nor_asking_goes_past_the_last_twentieth(
        from in 0u64..1 << 40, life in 60u64..1 << 40, age: u32,
        window in proptest::option::of(window()), draw: u32,
    ) {
        let not_before = Timestamp::from_unix(from);
        let validity =
            Validity { not_before, not_after: not_before.plus(Duration::from_secs(life)) };
        // Installed in the first half of its life.
        let age = crate::base::jitter::share(life / 2, age);
        let now = not_before.plus(Duration::from_secs(age));
        let ordering = Phase::Ordering { attempt: 0, in_flight: None, deadline: now };
        let event = Event::Installed { validity, window, recheck_at: None, draw };
        let installed = ordering.step(event, now).0;
        let event = Event::WindowChecked { validity, window, recheck_at: None, draw };
        let checked = installed.clone().step(event, now).0;
        for phase in [installed, checked] {
            let Phase::Holding { renew_at, .. } = phase else { unreachable!() };
            prop_assert!(renew_at <= validity.last_call());
        }
    }

    #[test]
    fn invariant_8_time_going_back_brings_no_order_and_a_jump_ahead_at_most_one(
        phase in phase(), now in moment(), other in moment(),
    ) {
        let orders = |effects: &[Effect]| effects.iter().filter(|e| **e == Effect::Order).count();
        let (_, effects) = phase.clone().step(Event::Tick, now);
        let due = orders(&effects);
        if other <= now {
            let (_, effects) = phase.clone().step(Event::Tick, other);
            prop_assert!(orders(&effects) <= due);
        } else {
            // As the scheduler does: an order is leased, and looked at again and again.
            let deadline = other.plus(Duration::from_secs(300));
            prop_assume!(deadline > other);
            let (mut phase, mut ordered) = (phase, 0);
            for _ in 0..5 {
                let (next, effects) = phase.step(Event::Tick, other);
                ordered += orders(&effects);
                phase = next;
                if orders(&effects) > 0 {
                    phase = phase.step(Event::Leased { deadline }, other).0;
                }
            }
            prop_assert!(ordered <= 1, "{ordered} orders");
        }
    }

    #[test]
    fn invariant_10_time_alone_never_leaves_halted(
        phase in halted(), moments in proptest::collection::vec(moment(), 1..20), restart: bool,
    ) {
        let mut now = phase.clone();
        for moment in moments {
            let (next, effects) = now.step(Event::Tick, moment);
            prop_assert!(effects.is_empty());
            now = if restart { next.step(Event::Restarted, moment).0 } else { next };
        }
        prop_assert_eq!(now.clone(), phase);
        prop_assert_eq!(now.wake_at(Timestamp::from_unix(0)), None);
    }

    #[test]
    fn an_unfinished_issuance_keeps_its_key_until_it_is_installed(
        key: [u8; 32], url: String, failure in failure(), draw: u32, now in moment(),
    ) {
        let phase = Phase::Ordering { attempt: 0, in_flight: None, deadline: now };
        let phase = phase.step(Event::KeyStored(KeyId(key)), now).0;
        let phase = phase.step(Event::OrderOpened(url.clone()), now).0;
        let kept = Some(InFlight { key: KeyId(key), order: Some(url) });
        let crashed = phase.clone().step(Event::Restarted, now).0;
        prop_assert_eq!(crashed.in_flight().cloned(), kept.clone());
        let failed = phase.clone().step(Event::Failed { failure, draw }, now).0;
        if matches!(failed, Phase::Waiting { .. }) {
            prop_assert_eq!(failed.in_flight().cloned(), kept);
        }
        let lost = phase.step(Event::OrderLost, now).0;
        prop_assert_eq!(lost.in_flight().cloned(), Some(InFlight { key: KeyId(key), order: None }));
    }

    #[test]
    fn a_failure_waits_at_least_a_second_and_never_beyond_the_horizon(
        failure in failure(), draw: u32, attempt: u32, now in 0u64..1 << 40,
    ) {
        let now = Timestamp::from_unix(now);
        let phase = Phase::Ordering { attempt, in_flight: None, deadline: now };
        if let Phase::Waiting { until, .. } = phase.step(Event::Failed { failure, draw }, now).0 {
            prop_assert!(until > now);
            prop_assert!(until <= now.plus(HORIZON).plus(Duration::from_secs(30)));
        }
    }
}

#[test]
fn what_was_just_installed_is_not_renewed_at_once_when_the_window_is_past() {
    let now = Timestamp::from_unix(1_700_000_000);
    let validity =
        Validity { not_before: now, not_after: now.plus(Duration::from_secs(90 * 86400)) };
    let past = RenewalWindow::new(Timestamp::from_unix(1), Timestamp::from_unix(2));
    let phase = Phase::Ordering { attempt: 0, in_flight: None, deadline: now };
    let event = Event::Installed { validity, window: past, recheck_at: None, draw: 0 };
    assert_eq!(phase.step(event, now).0.wake_at(now), Some(now.plus(REST)));
}
