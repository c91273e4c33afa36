//! What is asked is done once, and answered when it is true.

use crate::cloud::{ISSUER, OPERATOR, cloud, network, server};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

#[test]
fn a_resource_is_ordered_and_read_back_at_the_position_of_its_answer() {
    cloud().run(async {
        let acme = cloud().acme().await;

        let ordered = cloud().post(&acme.admin, &acme.resources(), network("net-1")).fresh().answer().await;

        assert_eq!(ordered.status, StatusCode::CREATED, "{ordered:?}");
        assert_eq!((ordered.header("etag"), &ordered.body["phase"]), ("\"1\"", &json!("creating")));
        let read = cloud().get(&acme.admin, ordered.header("location")).at_least(&ordered).answer().await.ok();
        assert_eq!((read.id(), &read.body["name"], &read.body["spec"]), (ordered.id(), &json!("net-1"), &ordered.body["spec"]));
        assert_eq!(read.header("etag"), "\"1\"");
        let quota = cloud().get(&acme.admin, &format!("{}/quota", acme.path())).at_least(&ordered).answer().await.ok();
        let line = quota.body["quota"].as_array().unwrap().iter().find(|line| line["dimension"] == "networks").unwrap().clone();
        assert_eq!(line, json!({ "dimension": "networks", "limit": 10, "source": "own", "used": 1, "over_limit": false }));
    });
}

#[test]
fn the_same_order_sent_five_times_through_two_apis_is_one_resource_and_five_equal_answers() {
    cloud().run(async {
        let acme = cloud().acme().await;
        let send =
            |api: usize| cloud().ask_at(api, &acme.admin, Method::POST, &acme.resources()).json(network("once")).key("five").answer();

        let answers = futures::future::join_all([0, 1, 0, 1, 1].map(send)).await;

        for answer in &answers {
            assert_eq!((answer.status, &answer.body), (StatusCode::CREATED, &answers[0].body), "{answer:?}");
            assert_eq!(answer.position(), answers[0].position());
        }
        let replayed = answers.iter().filter(|answer| answer.headers.contains_key("idempotency-replayed")).count();
        assert_eq!(replayed, 4);
        let list = cloud().get(&acme.admin, &acme.resources()).at_least(&answers[0]).answer().await.ok();
        assert_eq!(list.body["items"].as_array().unwrap().len(), 1);
    });
}

#[test]
fn a_key_that_was_used_for_another_request_is_refused() {
    cloud().run(async {
        let acme = cloud().acme().await;
        cloud().post(&acme.admin, &acme.resources(), network("a")).key("one").answer().await.ok();
        let other = cloud().post(&acme.admin, &acme.resources(), network("b")).key("one").answer().await;
        assert_eq!((other.status, other.problem()), (StatusCode::UNPROCESSABLE_ENTITY, "idempotency-key-reused"));
    });
}

#[test]
fn a_refused_order_says_what_is_full_and_may_be_sent_again_when_there_is_room() {
    cloud().run(async {
        let acme = cloud().acme().await;
        let order = || cloud().post(&acme.admin, &acme.resources(), server(&acme.cells[0], "big", 101)).key("big").answer();

        let refused = order().await;

        assert_eq!((refused.status, refused.problem()), (StatusCode::CONFLICT, "quota-exceeded"));
        let told = |name: &str| refused.body[name].clone();
        assert_eq!([told("dimension"), told("limit"), told("used"), told("asked")], [json!("vcpus"), json!(100), json!(0), json!(101)]);
        let raised = json!({ "limits": { "vcpus": 200 } });
        let quota = format!("{}/quota", acme.path());
        cloud().ask(OPERATOR, Method::PUT, &quota).json(raised).fresh().answer().await.ok();
        assert_eq!(order().await.status, StatusCode::CREATED);
    });
}

#[test]
fn a_spec_that_does_not_fit_is_refused_with_every_fault_before_anything_is_written() {
    cloud().run(async {
        let acme = cloud().acme().await;
        let body = json!({ "kind": "server", "cell": acme.cells[0], "zone": "zone-1", "name": "x",
            "spec": { "vcpus": 0, "memory_mib": "many", "colour": "red" } });

        let refused = cloud().post(&acme.admin, &acme.resources(), body).fresh().answer().await;

        assert_eq!((refused.status, refused.problem()), (StatusCode::UNPROCESSABLE_ENTITY, "invalid-body"));
        let mut pointers: Vec<&str> = refused.body["errors"].as_array().unwrap().iter().map(|e| e["pointer"].as_str().unwrap()).collect();
        pointers.sort_unstable();
        assert_eq!(pointers, ["#/spec/colour", "#/spec/image", "#/spec/memory_mib", "#/spec/vcpus"]);
        let history = cloud().get(&acme.admin, &format!("{}/history", acme.path())).answer().await.ok();
        assert!(!history.body.to_string().contains("colour"));
    });
}

#[test]
fn a_change_on_a_generation_that_is_gone_is_refused_and_nothing_is_changed() {
    cloud().run(async {
        let acme = cloud().acme().await;
        let ordered = cloud().post(&acme.admin, &acme.resources(), network("old")).fresh().answer().await.ok();
        let path = ordered.header("location").to_owned();
        let rename = |name: &str, tag: &str| {
            cloud().ask(&acme.admin, Method::PATCH, &path).json(json!({ "name": name })).header("If-Match", tag).fresh().answer()
        };

        let renamed = rename("new", "\"1\"").await.ok();
        assert_eq!((renamed.header("etag"), &renamed.body["name"]), ("\"2\"", &json!("new")));
        for (tag, status) in [("\"1\"", 412), ("W/\"2\"", 412), ("\"x\"", 412), ("\"3\", \"4\"", 400)] {
            assert_eq!(rename("not this", tag).await.status.as_u16(), status, "{tag}");
        }
        let last = rename("by 1", "*").await.ok();
        let read = cloud().get(&acme.admin, &path).at_least(&last).answer().await.ok();
        assert_eq!((&read.body["name"], &read.body["generation"]), (&json!("by 1"), &json!(3)));
    });
}

#[test]
fn who_does_not_wait_gets_an_operation_that_tells_the_outcome() {
    cloud().run(async {
        let acme = cloud().acme().await;
        let order = cloud().post(&acme.admin, &acme.resources(), network("later")).header("Prefer", "respond-async").fresh();

        let accepted = order.answer().await;

        assert_eq!(accepted.status, StatusCode::ACCEPTED, "{accepted:?}");
        assert_eq!(accepted.header("preference-applied"), "respond-async");
        let path = accepted.header("location").to_owned();
        let operation = until_known(&acme.admin, &path).await;
        assert_eq!(
            (&operation["state"], &operation["status"], &operation["answer"]["name"]),
            (&json!("done"), &json!(201), &json!("later"))
        );
        assert_eq!(
            operation["location"].as_str().unwrap(),
            format!("{}/{}", acme.resources(), operation["answer"]["id"].as_str().unwrap())
        );
    });
}

async fn until_known(subject: &str, path: &str) -> Value {
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(30);
    loop {
        let operation = cloud().get(subject, path).answer().await.ok().body;
        if operation["state"] != "unknown" {
            return operation;
        }
        assert!(tokio::time::Instant::now() < deadline, "not in time: {operation}");
    }
}

#[test]
fn an_operation_that_is_not_on_the_journal_says_to_send_it_again() {
    cloud().run(async {
        let acme = cloud().acme().await;
        let path = format!("{}/operations/{}", acme.path(), Uuid::from_u128(rand::random()));
        let operation = cloud().get(&acme.admin, &path).answer().await.ok();
        assert_eq!((&operation.body["state"], &operation.body["advice"]), (&json!("unknown"), &json!("send it again with the same key")));
    });
}

#[test]
fn advice_tells_the_quota_that_an_order_would_use_and_writes_nothing() {
    cloud().run(async {
        let acme = cloud().acme().await;
        let path = format!("{}?validate_only=true", acme.resources());
        let mut order = server(&acme.cells[0], "maybe", 1);
        order["flavor"] = json!("m1.small");
        order["spec"] = json!({ "image": "debian-13" });

        let advice = cloud().post(&acme.admin, &path, order).fresh().answer().await.ok();

        assert_eq!((&advice.body["advice"], &advice.body["status"]), (&json!(true), &json!(201)));
        assert_eq!(advice.body["claim"], json!({ "memory_mib": 2048, "servers": 1, "vcpus": 1 }));
        let refused = cloud().post(&acme.admin, &path, server(&acme.cells[0], "big", 101)).fresh().answer().await;
        assert_eq!((refused.problem(), &refused.body["advice"]), ("quota-exceeded", &json!(true)));
        let list = cloud().get(&acme.admin, &acme.resources()).answer().await.ok();
        assert_eq!(list.body["items"], json!([]));
    });
}

#[test]
fn opening_a_tenant_again_finds_it_open_and_another_with_its_reference_is_refused() {
    cloud().run(async {
        let reference = cloud().unique("reference");
        let body = |name: &str| json!({ "reference": reference, "name": name, "administrator": { "issuer": "https://id.test", "subject": "eve" } });
        let open = |name: &str, key: &str| cloud().post(OPERATOR, "/v1/tenants", body(name)).key(key).answer();
        let key = cloud().unique("open");

        let first = open("One", &key).await;
        assert_eq!((first.status, &first.body["status"]), (StatusCode::CREATED, &json!("open")));
        let again = open("One", &key).await;
        assert_eq!((again.status, &again.body), (StatusCode::CREATED, &first.body));
        let other = open("Two", &cloud().unique("open")).await;
        assert_eq!((other.status, other.problem()), (StatusCode::CONFLICT, "already-exists"));
    });
}

#[test]
fn a_secret_never_reaches_the_journal_in_the_clear_and_is_not_shown() {
    cloud().run(async {
        let acme = cloud().acme().await;
        let mut order = server(&acme.cells[0], "sealed", 1);
        order["spec"]["user_data"] = json!("password=hunter2");
        order["spec"]["contact"] = json!("ada@example.org");
        let send = || cloud().post(&acme.admin, &acme.resources(), order.clone()).key("sealed").answer();

        let ordered = send().await.ok();

        assert_eq!(ordered.body["spec"]["user_data"], json!({ "$sealed": "secret" }));
        assert_eq!(send().await.ok().body, ordered.body, "a repetition is the same request although it is sealed anew");
        let path = ordered.header("location").to_owned();
        let read = cloud().get(&acme.admin, &path).at_least(&ordered).answer().await.ok();
        assert_eq!(read.body["spec"]["contact"], json!({ "$sealed": "personal" }));
        let history = cloud().get(&acme.admin, &format!("{path}/history")).at_least(&ordered).answer().await.ok().body.to_string();
        assert!(!history.contains("hunter2") && !history.contains("ada@example.org"));
        for partition in 0..cloud().journal.all_partitions() {
            let topics = [cloud().journal.events(), cloud().journal.commands()];
            for topic in topics {
                let text = crate::promises::everything_on(&topic, partition);
                assert!(!text.contains("hunter2") && !text.contains("ada@example.org"), "{topic}");
            }
        }
    });
}

#[test]
fn personal_data_is_read_back_by_who_operates_the_resource_and_by_nobody_once_the_person_is_erased() {
    cloud().run(async {
        let acme = cloud().acme().await;
        let mut order = server(&acme.cells[0], "personal", 1);
        order["spec"]["contact"] = json!("grace@example.org");
        let ordered = cloud().post(&acme.admin, &acme.resources(), order.clone()).fresh().answer().await.ok();
        let viewer = cloud().unique("vera");
        let grant = json!({ "principal": { "issuer": ISSUER, "subject": viewer }, "role": "tenant_viewer" });
        let granted = cloud().post(&acme.admin, &format!("{}/members", acme.path()), grant).fresh().answer().await.ok();
        let path = format!("{}/personal-data", ordered.header("location"));
        let read = || cloud().get(&acme.admin, &path).at_least(&ordered).answer();
        assert_eq!(read().await.ok().body["values"], json!({ "contact": "grace@example.org" }));
        assert_eq!(cloud().get(&viewer, &path).at_least(&granted).answer().await.status, StatusCode::FORBIDDEN);

        let erasures = format!("{}/erasures", acme.path());
        let forget = |who: &str, person: &str| cloud().post(who, &erasures, json!({ "person": person })).fresh().answer();
        assert_eq!(forget(&viewer, "grace@example.org").await.status, StatusCode::FORBIDDEN);
        assert_eq!(forget(&acme.admin, "somebody@example.org").await.ok().body["erased"], false);
        assert_eq!(read().await.ok().body["values"], json!({ "contact": "grace@example.org" }), "another person was meant");
        assert_eq!(forget(&acme.admin, "grace@example.org").await.ok().body["erased"], true);

        let after = read().await.ok();
        assert_eq!((&after.body["values"], &after.body["erased"]), (&json!({}), &json!(["contact"])));
        let again = cloud().post(&acme.admin, &acme.resources(), order).fresh().answer().await;
        assert_eq!((again.status, again.problem()), (StatusCode::GONE, "erased"), "nothing is stored under this name any more");
    });
}

#[test]
fn a_write_without_a_key_is_refused_and_a_misspelt_wish_is_not_passed_over() {
    cloud().run(async {
        let acme = cloud().acme().await;
        let keyless = cloud().post(&acme.admin, &acme.resources(), network("x")).answer().await;
        assert_eq!((keyless.status, keyless.problem()), (StatusCode::BAD_REQUEST, "missing-idempotency-key"));
        let misspelt = cloud().post(&acme.admin, &format!("{}?validate=true", acme.resources()), network("x")).fresh().answer().await;
        assert_eq!((misspelt.status, &misspelt.body["parameter"]), (StatusCode::BAD_REQUEST, &json!("validate")));
        let large = json!({ "kind": "network", "name": "x".repeat(70_000), "spec": {} });
        assert_eq!(cloud().post(&acme.admin, &acme.resources(), large).fresh().answer().await.status, StatusCode::PAYLOAD_TOO_LARGE);
    });
}

#[test]
fn a_time_can_be_given_only_to_a_tenant_with_the_effective_clock() {
    cloud().run(async {
        let acme = cloud().acme().await;
        let at = "2020-01-01T00:00:00Z";
        let order =
            |subject: &str, path: &str| cloud().post(subject, path, network("then")).header("Cirrus-Effective-At", at).fresh().answer();
        assert_eq!(order(&acme.admin, &acme.resources()).await.body["reason"], "clock_is_not_effective");

        let admin = cloud().unique("tim");
        let body = json!({ "reference": cloud().unique("past"), "name": "Past", "clock": "effective",
            "administrator": { "issuer": "https://id.test", "subject": admin }, "limits": { "networks": "unlimited" } });
        let past = cloud().post(OPERATOR, "/v1/tenants", body).fresh().answer().await.ok();
        let resources = format!("{}/resources", past.header("location"));
        let ordered = order(&admin, &resources).await.ok();
        assert_eq!(ordered.body["at"], at);
        // Whoever reads an answer of such a tenant sees that its times are not the journal's.
        let listed = cloud().get(&admin, &resources).at_least(&ordered).answer().await.ok();
        assert_eq!((ordered.header("cirrus-clock"), listed.header("cirrus-clock")), ("effective", "effective"));
    });
}
