//! Notifications that are late, early, repeated, lost or senseless. What Open XDMoD makes of real ones is compared in `schemas`.

use domain::{
    Timestamp,
    metering::openstack::{Notification, Session, Size, sessions},
};
use proptest::prelude::*;
use std::collections::BTreeSet;

fn minute(n: i64) -> Timestamp {
    "2026-11-21T10:00:00.25Z".parse::<Timestamp>().unwrap() + chrono::TimeDelta::minutes(n)
}

fn said(n: i64, event: &str) -> Notification {
    let size = Size { flavor: "m1".to_owned(), vcpus: 1, memory_mib: 1024, root_gib: 10 };
    let state = (event == "exists").then(|| "active".to_owned());
    let message = format!("{n} {event}");
    Notification { message, at: minute(n), event: event.to_owned(), instance: "i".to_owned(), project: "p".to_owned(), state, size }
}

fn of(notifications: &[Notification]) -> Vec<Session> {
    sessions(notifications, &BTreeSet::new(), minute(10_000))
}

/// `active 0..5` with the minutes.
fn shown(notifications: &[Notification]) -> Vec<String> {
    let begin: Timestamp = "2026-11-21T10:00:00Z".parse().unwrap();
    let show = |s: Session| {
        let state = if s.active { "active" } else { "inactive" };
        let [start, end] = [s.start, s.end].map(|t| (t - begin).num_minutes());
        format!("{state} {start}..{end}{}", if s.open { " open" } else { "" })
    };
    of(notifications).into_iter().map(show).collect()
}

#[test]
fn an_instance_that_is_stopped_and_started_has_three_sessions() {
    let told =
        [said(0, "create.end"), said(5, "power_off.start"), said(5, "power_off.end"), said(9, "power_on.end"), said(12, "delete.start")];
    assert_eq!(shown(&told), ["active 0..5", "inactive 5..9", "active 9..12"]);
}

#[test]
fn a_create_that_got_lost_begins_with_the_first_heartbeat() {
    assert_eq!(shown(&[said(60, "exists"), said(90, "delete.end")]), ["active 60..90"]);
}

#[test]
fn a_deletion_that_got_lost_ends_with_the_last_heartbeat_and_is_open() {
    assert_eq!(shown(&[said(0, "create.end"), said(60, "exists"), said(120, "exists")]), ["active 0..120 open"]);
}

#[test]
fn a_new_size_is_another_session_though_only_a_heartbeat_tells() {
    let mut grown = said(60, "exists");
    grown.size.vcpus = 4;
    let told = [said(0, "create.end"), grown, said(90, "delete.end")];
    assert_eq!(shown(&told), ["active 0..60", "active 60..90"]);
    assert_eq!(of(&told).iter().map(|s| s.size.vcpus).collect::<Vec<_>>(), [1, 4]);
}

#[test]
fn what_makes_no_sense_changes_nothing() {
    let mut stopped = said(3, "exists");
    stopped.state = Some("stopped".to_owned());
    assert_eq!(shown(&[said(0, "delete.end"), said(1, "shutdown.start"), said(2, "live_migration.post.end"), stopped]), [""; 0]);
}

#[test]
fn what_cirrus_made_is_never_touched_and_what_is_early_is_left_for_the_next_time() {
    let told = [said(0, "create.end"), said(5, "delete.end")];
    assert_eq!(sessions(&told, &BTreeSet::from(["i".to_owned()]), minute(100)), []);
    let early = sessions(&told, &BTreeSet::new(), minute(5));
    assert!(early.len() == 1 && early[0].open, "{early:?}");
}

proptest! {
    #[test]
    fn the_order_and_the_repetition_of_notifications_have_no_say(
        (told, order) in proptest::collection::vec((0..500i64, 0..8usize), 1..40).prop_flat_map(|told| {
            let indices: Vec<usize> = (0..told.len()).chain(0..told.len() / 2).collect();
            (Just(told), Just(indices).prop_shuffle())
        }),
    ) {
        let kinds = ["create.end", "exists", "power_off.start", "power_off.end", "power_on.start", "power_on.end", "delete.start", "delete.end"];
        let told: Vec<Notification> = told.iter().map(|(n, kind)| said(*n, kinds[*kind])).collect();
        let shuffled: Vec<Notification> = order.iter().map(|i| told[*i].clone()).collect();
        let sessions = of(&told);
        prop_assert_eq!(&of(&shuffled), &sessions);
        for pair in sessions.windows(2) {
            prop_assert!(pair[0].start <= pair[0].end && pair[0].end <= pair[1].start, "{pair:?} overlap");
        }
    }
}
