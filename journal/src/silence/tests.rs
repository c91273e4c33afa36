use super::*;

fn at(seconds: f64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::milliseconds((seconds * 1_000.0) as i64)
}

const SPREAD_DRAWN: Duration = Duration::from_millis(200);

fn reasons() -> Reasons {
    Reasons::new(at(0.0), SPREAD_DRAWN)
}

#[test]
fn an_assignment_is_a_reason_once() {
    let mut reasons = reasons();
    reasons.assigned();
    assert_eq!(reasons.reason(at(0.0)), Some(Reason::Assigned));
    reasons.claimed(at(0.0));
    assert_eq!(reasons.reason(at(100.0)), None, "who lost the race does not claim again");
    reasons.assigned();
    reasons.revoked();
    assert_eq!(reasons.reason(at(100.0)), None, "an assignment that was taken back is none");
}

#[test]
fn silence_is_a_reason_only_while_commands_wait() {
    let mut reasons = reasons();
    assert_eq!(reasons.reason(at(3_600.0)), None, "an idle partition is not silent");
    reasons.waiting(Some(at(3_600.0)), at(3_600.0));
    assert_eq!(reasons.reason(at(3_601.1)), None);
    assert_eq!(reasons.reason(at(3_601.2)), Some(Reason::Silence), "after one second and what was drawn");
    reasons.waiting(None, at(3_601.2));
    assert_eq!(reasons.reason(at(3_700.0)), None);
}

#[test]
fn whatever_is_accepted_breaks_the_silence() {
    let mut reasons = reasons();
    reasons.waiting(Some(at(10.0)), at(10.0));
    reasons.accepted(at(11.0));
    assert_eq!(reasons.reason(at(12.1)), None);
    assert_eq!(reasons.reason(at(12.2)), Some(Reason::Silence));
}

#[test]
fn a_command_that_goes_on_waiting_does_not_start_the_silence_anew() {
    let mut reasons = reasons();
    for tenth in 0..=12 {
        reasons.waiting(Some(at(10.0)), at(10.0 + f64::from(tenth) / 10.0));
    }
    assert_eq!(reasons.reason(at(11.2)), Some(Reason::Silence));
}

#[test]
fn each_takeover_without_outcome_doubles_the_silence_and_an_outcome_ends_that() {
    let mut reasons = reasons();
    reasons.waiting(Some(at(10.0)), at(10.0));
    for (takeovers, seconds) in [(1, 2.4), (2, 4.8), (3, 9.6)] {
        let now = at(100.0 * f64::from(takeovers));
        reasons.taken_over(now, now, SPREAD_DRAWN);
        assert_eq!(reasons.silent_at(), Some(now + TimeDelta::milliseconds((seconds * 1_000.0) as i64)), "{takeovers} takeovers");
    }
    reasons.outcome(at(400.0));
    assert_eq!(reasons.silent_at(), Some(at(401.2)));
}

#[test]
fn doubling_ends_so_that_a_night_without_leader_does_not_need_another_night() {
    let mut reasons = reasons();
    reasons.waiting(Some(at(10.0)), at(10.0));
    for takeover in 0..100 {
        let now = at(1_000.0 + f64::from(takeover));
        reasons.taken_over(now, now, SPREAD_DRAWN);
    }
    assert_eq!(reasons.silent_at(), Some(at(1_099.0) + TimeDelta::milliseconds(1_200 * 64)));
}

#[test]
fn a_command_that_outlived_three_leaders_is_fatal_to_the_fourth() {
    let mut reasons = reasons();
    reasons.waiting(Some(at(10.0)), at(10.0));
    for takeover in 1..=3 {
        reasons.taken_over(at(f64::from(takeover) * 20.0), at(f64::from(takeover) * 20.0), SPREAD_DRAWN);
        assert!(!reasons.is_fatal(), "leader {takeover} still decides it");
    }
    reasons.taken_over(at(80.0), at(80.0), SPREAD_DRAWN);
    assert!(reasons.is_fatal(), "the fourth leader records it as failed");
    reasons.outcome(at(81.0));
    assert!(!reasons.is_fatal());
}

#[test]
fn takeovers_of_an_idle_partition_say_nothing_about_a_command_that_came_later() {
    let mut reasons = reasons();
    for takeover in 1..=5 {
        reasons.taken_over(at(f64::from(takeover)), at(f64::from(takeover)), SPREAD_DRAWN);
    }
    reasons.waiting(Some(at(10.0)), at(10.0));
    assert!(!reasons.is_fatal());
    assert_eq!(reasons.silent_at(), Some(at(11.2)), "and do not lengthen its silence");
}
