use super::*;
use axum::body::to_bytes;
use domain::{
    id::IntentId,
    people::{Grant, Principal, Role},
    platform::{PlatformEvent, Reservation},
    quota::Limit,
    refusal::Refusal,
    resource::{Opened, Requested, ResourceEvent, Terms},
    tenant::{CellEvent, Clock, MemberEvent, TenantEvent},
};
use serde_json::json;
use uuid::Uuid;
use zeroize::Zeroizing;

const TENANT: TenantId = TenantId(Uuid::from_u128(1));
const CELL: CellId = CellId(Uuid::from_u128(2));
const RESOURCE: ResourceId = ResourceId(Uuid::from_u128(3));

fn at(seconds: i64) -> domain::Timestamp {
    chrono::DateTime::from_timestamp(1_700_000_000 + seconds, 0).unwrap()
}

fn step() -> Opened {
    Opened { intent: IntentId(Uuid::from_u128(4)), deadline: at(1800) }
}

fn terms(vcpus: u64) -> Terms {
    let claim = [("vcpus".parse().unwrap(), vcpus)].into_iter().collect();
    Terms { spec: json!({ "vcpus": vcpus }), claim, uses: vec![] }
}

fn of_resource(event: ResourceEvent) -> Event {
    Event::Resource { tenant: TENANT, resource: RESOURCE, event }
}

fn of_tenant(event: TenantEvent) -> Event {
    Event::Tenant { tenant: TENANT, event }
}

fn done(events: &[Event]) -> Done {
    match answer(events) {
        Outcome::Done(done) => *done,
        other => panic!("expected a success, not {other:?}"),
    }
}

fn refused(event: CommandEvent) -> Problem {
    match answer(&[Event::Command(event)]) {
        Outcome::Refused(problem) => *problem,
        other => panic!("expected a refusal, not {other:?}"),
    }
}

fn requested() -> Event {
    of_resource(ResourceEvent::Requested(Box::new(Requested {
        cell: Some(CELL),
        kind: "server".parse().unwrap(),
        version: 1,
        name: "web-1".into(),
        labels: Default::default(),
        subscriber: None,
        zone: Some("zone-1".parse().unwrap()),
        terms: terms(2),
        power: true,
        step: step(),
        at: at(0),
    })))
}

#[test]
fn a_created_resource_is_answered_whole_and_with_its_place() {
    let done = done(&[requested()]);

    assert_eq!((done.status, done.generation), (StatusCode::CREATED, Some(1)));
    assert_eq!(done.location.as_deref(), Some(resource_path(TENANT, RESOURCE).as_str()));
    assert_eq!(
        Value::Object(done.body),
        json!({
            "id": RESOURCE, "tenant": TENANT, "changed": true, "generation": 1, "cell": CELL, "kind": "server", "name": "web-1",
            "labels": {}, "zone": "zone-1", "spec": { "vcpus": 2 }, "claim": { "vcpus": 2 }, "phase": "creating",
            "step": { "intent": step().intent, "work": "create", "deadline": "2023-11-14T22:43:20Z" }, "at": "2023-11-14T22:13:20Z",
        })
    );
}

#[test]
fn a_change_is_answered_with_what_changed_and_nothing_else() {
    let change = ResourceEvent::ChangeRequested { generation: 4, terms: Box::new(terms(4)), step: step(), at: at(0) };
    let done = done(&[of_resource(change)]);

    assert_eq!((done.status, done.generation, &done.location), (StatusCode::OK, Some(4), &None));
    assert_eq!(done.body["spec"], json!({ "vcpus": 4 }));
    assert_eq!(done.body["step"]["work"], "change");
    assert!(!done.body.contains_key("name") && !done.body.contains_key("phase"));
}

#[test]
fn no_answer_shows_a_sealed_value() {
    let mut terms = terms(2);
    terms.spec["user_data"] =
        json!({ "$sealed": { "v": 1, "for": format!("intent:{}", Uuid::nil()), "as": "secret", "data": "c2VjcmV0" } });
    let change = ResourceEvent::ChangeRequested { generation: 2, terms: Box::new(terms), step: step(), at: at(0) };

    assert_eq!(done(&[of_resource(change)]).body["spec"]["user_data"], json!({ "$sealed": "secret" }));
}

#[test]
fn closing_a_tenant_is_about_the_tenant_although_its_cells_close_with_it() {
    let cell = Event::Cell { tenant: TENANT, cell: CELL, event: CellEvent::Closed {} };
    let done = done(&[cell, of_tenant(TenantEvent::Closed {})]);
    assert_eq!(Value::Object(done.body), json!({ "id": TENANT, "changed": true, "status": "closed" }));
}

#[test]
fn a_lowered_limit_says_which_limits_of_cells_it_clamped() {
    let vcpus = || "vcpus".parse().unwrap();
    let limits = TenantEvent::LimitsSet { limits: [(vcpus(), Limit::At(6))].into() };
    let clamped = TenantEvent::CellLimitsClamped { dimension: vcpus(), ceiling: Limit::At(6) };
    let done = done(&[of_tenant(limits), of_tenant(clamped)]);
    assert_eq!(Value::Object(done.body), json!({ "id": TENANT, "changed": true, "limits": { "vcpus": 6 }, "clamped": { "vcpus": 6 } }));
}

#[test]
fn an_opened_tenant_a_cell_and_a_role_are_created() {
    let ada = Principal { issuer: "https://id.example".into(), subject: "ada".into() };
    let reservation = Reservation {
        reference: "acme".into(),
        name: "Acme".into(),
        administrator: ada.clone(),
        clock: Clock::Journal,
        labels: Default::default(),
        limits: Default::default(),
        cell_default: Default::default(),
    };
    let opened = done(&[of_tenant(TenantEvent::Opened(Box::new(reservation.clone())))]);
    assert_eq!((opened.status, opened.location), (StatusCode::CREATED, Some(tenant_path(TENANT))));
    assert_eq!((&opened.body["status"], &opened.body["clock"]), (&json!("open"), &json!("journal")));

    let created = CellEvent::Created { name: "blue".into(), billing_account: None, limits: Default::default() };
    let created = done(&[Event::Cell { tenant: TENANT, cell: CELL, event: created }]);
    assert_eq!((created.status, created.location), (StatusCode::CREATED, Some(cell_path(TENANT, CELL))));

    let granted = MemberEvent::RoleGranted { principal: ada.clone(), grant: Grant { role: Role::CellUser, cell: Some(CELL) } };
    let granted = done(&[Event::Member { tenant: TENANT, event: granted }]);
    let expected = json!({ "tenant": TENANT, "changed": true, "principal": ada, "role": "cell_user", "cell": CELL, "granted": true });
    assert_eq!((granted.status, Value::Object(granted.body)), (StatusCode::CREATED, expected));

    let reserved = PlatformEvent::TenantReserved { tenant: TENANT, reservation: Box::new(reservation) };
    assert_eq!(done(&[Event::Platform(reserved)]).status, StatusCode::ACCEPTED, "reserved is not open");
}

#[test]
fn what_was_so_already_is_a_success_that_changed_nothing() {
    let done = done(&[Event::Command(CommandEvent::NothingToDo { generation: Some(7) })]);
    assert_eq!((done.status, done.generation), (StatusCode::OK, Some(7)));
    assert_eq!(Value::Object(done.body), json!({ "changed": false, "generation": 7 }));
}

#[test]
fn a_repetition_points_to_the_first_outcome() {
    assert_eq!(answer(&[Event::Command(CommandEvent::Repeated { of: 41 })]), Outcome::Repeated { of: 41 });
}

#[test]
fn what_was_not_decided_says_that_it_can_be_sent_again() {
    let problem = |event| serde_json::to_value(refused(event).document()).unwrap();
    for event in [CommandEvent::Expired, CommandEvent::Failed { problem: "deciding it panicked".into() }] {
        let problem = problem(event);
        assert_eq!(problem["retryable"], true, "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains("send it again with the same key"), "{problem}");
    }
    let refusal = CommandEvent::Refused { refusal: Refusal::CellsDoNotNest, body: Some(json!({ "secret": 1 })) };
    assert!(!problem(refusal).to_string().contains("secret"), "a refused body is for auditors");
}

#[tokio::test]
async fn the_answer_carries_its_position_its_tag_and_its_place() {
    let tokens = Tokens::new(Uuid::from_u128(1), vec![Zeroizing::new(vec![1; 32])]).unwrap();
    let position = Position { generation: 1, partition: 3, seq: 48_113 };

    let response = done(&[requested()]).respond(position, &tokens);

    let headers = response.headers().clone();
    assert_eq!((response.status(), &headers[ETAG]), (StatusCode::CREATED, &HeaderValue::from_static("\"1\"")));
    assert_eq!(headers[LOCATION].to_str().unwrap(), resource_path(TENANT, RESOURCE));
    let body: Value = serde_json::from_slice(&to_bytes(response.into_body(), 1 << 16).await.unwrap()).unwrap();
    assert_eq!(body["position"], headers[&POSITION].to_str().unwrap());
    let shown = tokens.read(body["position"].as_str().unwrap()).unwrap();
    assert_eq!(shown.iter().collect::<Vec<_>>(), [position]);
}
