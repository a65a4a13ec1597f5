//! What holds of every choice, of every course of failures, and of every budget.

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::{Strategy, any, prop_assert, prop_assert_eq, proptest};

use super::*;

fn view() -> impl Strategy<Value = View> {
    (1_u32..20, 0_u32..10, 0_u32..10, any::<bool>(), any::<bool>())
        .prop_map(|(weight, open, most, out, tried)| View { weight, open, most, out, tried })
}

fn idle(weight: u32) -> View {
    View { weight, open: 0, most: 0, out: false, tried: false }
}

/// Draws from a fixed seed.
fn dice() -> impl FnMut(u64) -> u64 {
    let mut random = fastrand::Rng::with_seed(7);
    move |below| random.u64(..below)
}

fn asking(eject_after: u32, eject_for: Duration) -> Asking {
    Asking { eject_after, eject_for, ..Asking::default() }
}

proptest! {
    #[test]
    fn a_choice_is_one_that_may_be_asked_and_there_is_one_whenever_there_can_be(
        views in vec(view(), 0..8),
        seed in any::<u64>(),
    ) {
        let mut random = fastrand::Rng::with_seed(seed);
        let choice = choose(views.len(), |number| views[number], |below| random.u64(..below));
        let all_out = views.iter().all(|view| view.out);
        let meant: Vec<&View> =
            views.iter().filter(|view| !view.tried && (all_out || !view.out)).collect();
        let room = |view: &&View| view.most == 0 || view.open < view.most;
        match choice {
            Choice::Server(number) => {
                let chosen = views[number];
                prop_assert!(!chosen.tried && room(&&chosen) && (all_out || !chosen.out));
                // Never the one that has the most to do, if others have less.
                let load = |view: &View| f64::from(view.open) / f64::from(view.weight);
                let fit: Vec<&&View> = meant.iter().filter(|view| room(view)).collect();
                let fewer = fit.iter().filter(|view| load(view) < load(&chosen)).count();
                prop_assert!(fit.len() < 2 || fewer < fit.len() - 1);
            }
            Choice::Full => prop_assert!(!meant.is_empty() && !meant.iter().any(room)),
            Choice::Nobody => prop_assert!(meant.is_empty()),
        }
    }

    #[test]
    fn whoever_fails_is_left_out_for_a_growing_time_and_no_longer_than_bounds_say(
        after in 1_u32..6,
        seconds in 1_u64..60,
        rounds in 1_usize..12,
    ) {
        let asking = asking(after, Duration::from_secs(seconds));
        let mut now = Instant::now();
        let (mut health, mut last) = (Health::default(), Duration::ZERO);
        for round in 0..rounds {
            let needed = if round == 0 { after } else { 1 };
            for failure in 1..=needed {
                prop_assert!(!health.is_out(|| now), "out after {} failures", failure - 1);
                health = health.after(false, || now, &asking);
            }
            prop_assert!(health.is_out(|| now));
            // More failures meanwhile add nothing.
            prop_assert_eq!(health.after(false, || now, &asking), health);
            let span = health.until.unwrap() - now;
            prop_assert!(span >= asking.eject_for && span <= EJECTED_AT_MOST);
            prop_assert!(span == (last * 2).max(asking.eject_for).min(EJECTED_AT_MOST));
            last = span;
            now += span;
            prop_assert!(!health.is_out(|| now));
        }
        prop_assert_eq!(health.after(true, || now, &asking), Health::default());
    }

    #[test]
    fn tries_are_never_more_than_the_share_of_the_requests_and_the_reserve(
        percent in 0_u8..=100,
        course in vec(any::<bool>(), 0..400),
    ) {
        let (mut budget, mut taken, mut tries) = (Budget::new(percent), 0_u32, 0_u32);
        for fails in course {
            taken += 1;
            budget = budget.taken(percent);
            if fails && let Some(left) = budget.spend() {
                (budget, tries) = (left, tries + 1);
            }
        }
        let reserve = if percent == 0 { 0 } else { RETRY_RESERVE };
        prop_assert!(tries * 100 <= reserve * 100 + taken * u32::from(percent));
    }
}

#[test]
fn idle_servers_are_asked_by_their_weights() {
    let weights = [1, 3, 6];
    let (mut hits, mut draw) = ([0_u32; 3], dice());
    for _ in 0..10_000 {
        let Choice::Server(number) = choose(3, |number| idle(weights[number]), &mut draw) else {
            panic!("nobody is chosen");
        };
        hits[number] += 1;
    }
    for (hits, weight) in hits.into_iter().zip(weights) {
        let wanted = weight * 1000;
        assert!(hits.abs_diff(wanted) < 200, "{hits} instead of {wanted}");
    }
}

/// Requests that take long pile up nowhere: with two choices the fullest of ten servers has little
/// more than its share.
#[test]
fn load_is_spread_far_better_than_by_chance() {
    let fullest = |two: bool| {
        let (mut open, mut draw) = ([0_u32; 10], dice());
        for _ in 0..1000 {
            let seen = open;
            let see = |number: usize| View { open: if two { seen[number] } else { 0 }, ..idle(1) };
            let Choice::Server(number) = choose(10, see, &mut draw) else { panic!("nobody") };
            open[number] += 1;
        }
        open.into_iter().max().unwrap_or_default()
    };
    assert!(fullest(true) <= 103, "{}", fullest(true));
    assert!(fullest(false) > 110, "{}", fullest(false));
}

#[test]
fn one_failure_among_answers_leaves_nobody_out() {
    let asking = asking(2, Duration::from_secs(1));
    let now = Instant::now();
    let mut health = Health::default();
    for _ in 0..10 {
        health = health.after(false, || now, &asking).after(true, || now, &asking);
        assert!(!health.is_out(|| now));
    }
    let never = Asking { eject_after: 0, ..asking };
    let mut health = Health::default();
    for _ in 0..100 {
        health = health.after(false, || now, &never);
    }
    assert!(!health.is_out(|| now));
}
