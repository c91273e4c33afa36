use super::*;
use crate::provider::TaskName;
use chrono::TimeZone;
use uuid::Uuid;

const ME: &str = "worker-a";
const SETTLE: TimeDelta = TimeDelta::seconds(5);

fn now() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 1, 21, 20, 0, 0).unwrap()
}

fn job(task: Task) -> Job {
    Job {
        tenant: TenantId(Uuid::from_u128(1)),
        resource: ResourceId(Uuid::from_u128(2)),
        intent: IntentId(Uuid::from_u128(3)),
        made_by: IntentId(Uuid::from_u128(2)),
        kind: "server".parse().unwrap(),
        zone: Some("zone-a".parse().unwrap()),
        project: "p".into(),
        task,
        spec: serde_json::json!({"vcpus": 2}),
        pending: None,
        attempts: 0,
        since: None,
    }
}

fn object(id: &str) -> Object {
    Object {
        id: id.into(),
        kind: "server".into(),
        zone: "zone-a".into(),
        project: "p".into(),
        name: provider_name(IntentId(Uuid::from_u128(2))),
        properties: properties(&serde_json::json!({"vcpus": 2})),
        tags: Default::default(),
        status: Status::Active,
        task: None,
        power: Some(Power::Running),
        attached_to: None,
        fault: None,
        created_at: now(),
        updated_at: now(),
    }
}

fn there(objects: Vec<Object>) -> Seen {
    Seen { objects, ..Seen::default() }
}

fn announced(worker: &str, seconds_left: i64) -> Option<Pending> {
    Some(Pending { worker: worker.into(), epoch: 1, call_deadline: now() + TimeDelta::seconds(seconds_left) })
}

#[track_caller]
fn check(job: &Job, seen: &Seen, expect: Next) {
    assert_eq!(plan(job, seen, now(), ME, SETTLE), expect);
}

fn again(seconds: i64) -> Next {
    Next::LookAgain(now() + TimeDelta::seconds(seconds))
}

fn done(id: &str) -> Next {
    Next::Done { external: Some(id.into()) }
}

#[test]
fn what_is_not_there_is_made_under_the_name_of_its_intent() {
    let Next::Call(Call::Create(new)) = plan(&job(Task::Create), &Seen::default(), now(), ME, SETTLE) else { panic!() };
    assert_eq!(new.name, "cirrus-00000000-0000-0000-0000-000000000002");
    assert_eq!(new.tags["intent"], "00000000-0000-0000-0000-000000000002");
}

#[test]
fn what_somebody_made_before_is_reported_and_not_made_again() {
    check(&job(Task::Create), &there(vec![object("a")]), done("a"));
}

#[test]
fn while_another_worker_may_be_calling_nothing_is_done() {
    for task in [Task::Create, Task::Delete, Task::Change, Task::Start, Task::Detach] {
        let theirs = Job { pending: announced("worker-b", 10), ..job(task) };
        check(&theirs, &Seen::default(), again(15));
    }
}

#[test]
fn after_the_deadline_and_the_settle_time_of_another_worker_its_step_is_taken_over() {
    let theirs = Job { pending: announced("worker-b", -5), ..job(Task::Create) };
    assert!(matches!(plan(&theirs, &Seen::default(), now(), ME, SETTLE), Next::Call(Call::Create(_))));
}

#[test]
fn after_a_time_out_a_create_is_not_repeated_before_it_could_have_shown() {
    let mine = Job { pending: announced(ME, -2), ..job(Task::Create) };
    check(&mine, &Seen::default(), again(3));
}

#[test]
fn of_twins_the_oldest_stays() {
    let (old, twin) = (object("a"), object("b"));
    check(&job(Task::Create), &there(vec![old, twin.clone()]), Next::Call(Call::Delete(Box::new(twin))));
}

#[test]
fn an_error_at_the_provider_fails_the_create_and_says_that_something_is_left() {
    let broken = Object { status: Status::Error, fault: Some("No valid host was found.".into()), ..object("a") };
    check(&job(Task::Create), &there(vec![broken]), Next::Failed { problem: "No valid host was found.".into(), remains: true });
}

#[test]
fn what_is_being_built_is_looked_at_again() {
    let building = Object { status: Status::Build, task: Some(TaskName::Spawning), ..object("a") };
    assert!(matches!(plan(&job(Task::Create), &there(vec![building]), now(), ME, SETTLE), Next::LookAgain(_)));
}

#[test]
fn a_delete_believes_in_absence_only_when_no_call_can_make_it_appear() {
    check(&Job { pending: announced(ME, 10), ..job(Task::Delete) }, &Seen::default(), again(15));
    check(&job(Task::Delete), &Seen::default(), Next::Done { external: None });
    check(&job(Task::Delete), &there(vec![object("a")]), Next::Call(Call::Delete(Box::new(object("a")))));
}

#[test]
fn a_delete_whose_own_call_was_answered_is_done_once_nothing_is_there() {
    let mine = Job { pending: announced(ME, 10), ..job(Task::Delete) };
    check(&mine, &Seen { called: true, ..Seen::default() }, Next::Done { external: None });
}

#[test]
fn what_was_made_a_moment_ago_and_is_not_shown_yet_is_neither_gone_nor_deleted() {
    for task in [Task::Delete, Task::Change, Task::Stop, Task::Detach] {
        let young = Job { since: Some(now() - TimeDelta::seconds(2)), ..job(task) };
        check(&young, &Seen::default(), again(3));
    }
    let older = Job { since: Some(now() - SETTLE), ..job(Task::Delete) };
    check(&older, &Seen::default(), Next::Done { external: None });
}

#[test]
fn a_change_that_is_in_place_already_is_done() {
    check(&job(Task::Change), &there(vec![object("a")]), done("a"));
    let bigger = Job { spec: serde_json::json!({"vcpus": 4}), ..job(Task::Change) };
    let Next::Call(Call::Change(_, wanted)) = plan(&bigger, &there(vec![object("a")]), now(), ME, SETTLE) else { panic!() };
    assert_eq!(wanted["vcpus"], 4);
}

#[test]
fn a_change_of_what_vanished_fails_in_plain_words() {
    check(&job(Task::Change), &Seen::default(), Next::Failed { problem: "it is gone from the provider".into(), remains: false });
    check(&job(Task::Detach), &Seen::default(), Next::Done { external: None });
}

#[test]
fn power_follows_what_is_wanted() {
    check(&job(Task::Start), &there(vec![object("a")]), done("a"));
    let off = Object { status: Status::Shutoff, power: Some(Power::Shutdown), ..object("a") };
    check(&job(Task::Stop), &there(vec![off.clone()]), done("a"));
    check(&job(Task::Start), &there(vec![off.clone()]), Next::Call(Call::Act(Box::new(off), Action::Start)));
}

#[test]
fn a_volume_is_attached_to_the_right_server_or_not_at_all() {
    let job = job(Task::Attach(Some("s".into())));
    let attached_to = |id: Option<&str>| Object { attached_to: id.map(str::to_owned), ..object("v") };
    let seen = |v: Object| there(vec![v]);
    check(&job, &seen(attached_to(Some("s"))), done("v"));
    check(&job, &seen(attached_to(None)), Next::Call(Call::Act(Box::new(object("v")), Action::Attach { server: "s".into() })));
    assert!(matches!(plan(&job, &seen(attached_to(Some("x"))), now(), ME, SETTLE), Next::Failed { .. }));
}
