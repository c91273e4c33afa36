//! A tenant learns nothing about another, and a stranger learns nothing at all.

use crate::cloud::{ISSUER, OPERATOR, cloud, network, server};
use reqwest::{Method, StatusCode};
use serde_json::json;
use uuid::Uuid;

/// Every route below a tenant, with a method.
fn routes(tenant: &str, cell: &str, resource: &str) -> Vec<(Method, String)> {
    let t = format!("/v1/tenants/{tenant}");
    let operation = Uuid::nil();
    let r = format!("{t}/resources/{resource}");
    let reads = [
        t.clone(),
        format!("{t}/quota"),
        format!("{t}/cells"),
        format!("{t}/cells/{cell}"),
        format!("{t}/cells/{cell}/quota"),
        format!("{t}/members"),
        format!("{t}/resources"),
        r.clone(),
        format!("{r}/history"),
        format!("{t}/history"),
        format!("{t}/operations/{operation}"),
    ];
    let writes = [
        (Method::DELETE, t.clone()),
        (Method::POST, format!("{t}/resume")),
        (Method::DELETE, format!("{t}/cells/{cell}")),
        (Method::DELETE, r.clone()),
        (Method::POST, format!("{r}/actions/stop")),
        (Method::POST, format!("{r}/detach")),
    ];
    reads.into_iter().map(|path| (Method::GET, path)).chain(writes).collect()
}

#[test]
fn a_foreign_id_is_answered_like_one_that_never_was_in_every_route() {
    cloud().run(async {
        let acme = cloud().acme().await;
        let ordered = cloud().post(&acme.admin, &acme.resources(), network("n")).fresh().answer().await.ok();
        let nowhere = Uuid::from_u128(rand::random()).to_string();
        let foreign = routes(&acme.tenant, &acme.cells[0], ordered.id());
        let absent = routes(&nowhere, &nowhere, &nowhere);
        for ((method, foreign), (_, absent)) in foreign.into_iter().zip(absent) {
            // A stranger of his own for each route: strangers are slowed down.
            let stranger = cloud().unique("mallory");
            let mut bodies = Vec::new();
            for path in [&foreign, &absent] {
                let answer = cloud().ask(&stranger, method.clone(), path).fresh().answer().await;
                assert_eq!((answer.status, answer.problem()), (StatusCode::NOT_FOUND, "not-found"), "{method} {path}");
                let mut body = answer.body;
                body.as_object_mut().unwrap().remove("instance");
                bodies.push(body);
            }
            assert_eq!(bodies[0], bodies[1], "{method} {foreign}");
        }
    });
}

#[test]
fn a_stranger_writes_nothing_and_is_slowed_down() {
    cloud().run(async {
        let acme = cloud().acme().await;
        let stranger = cloud().unique("mallory");
        let mut slowed = false;
        for _ in 0..25 {
            let answer = cloud().post(&stranger, &acme.resources(), network("mine")).fresh().answer().await;
            assert!(answer.status == StatusCode::NOT_FOUND || slowed || answer.status == StatusCode::TOO_MANY_REQUESTS);
            if answer.status == StatusCode::TOO_MANY_REQUESTS {
                assert_eq!(answer.problem(), "too-many-refusals");
                assert!(answer.header("retry-after").parse::<u64>().unwrap() >= 1);
                slowed = true;
            }
        }
        assert!(slowed);
        let partition = cloud().journal.partition_of(Some(acme.tenant.parse().unwrap()));
        assert!(!crate::promises::everything_on(&cloud().journal.commands(), partition).contains(&stranger));
        cloud().get(&acme.admin, &acme.resources()).answer().await.ok();
    });
}

#[test]
fn who_has_a_role_in_one_cell_sees_that_cell_only() {
    cloud().run(async {
        let acme = cloud().acme().await;
        let mut ids = Vec::new();
        for cell in &acme.cells {
            ids.push(cloud().post(&acme.admin, &acme.resources(), server(cell, "web", 1)).fresh().answer().await.ok());
        }
        let viewer = cloud().unique("vera");
        let grant = json!({ "principal": { "issuer": ISSUER, "subject": viewer }, "role": "cell_viewer", "cell": acme.cells[0] });
        let granted = cloud().post(&acme.admin, &format!("{}/members", acme.path()), grant).fresh().answer().await.ok();
        let get = |path: String| cloud().get(&viewer, &path).at_least(&granted).answer();

        let list = get(acme.resources()).await.ok();

        let seen: Vec<&str> = list.body["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap()).collect();
        assert_eq!(seen, [ids[0].id()]);
        assert_eq!(get(format!("{}/{}", acme.resources(), ids[0].id())).await.status, StatusCode::OK);
        assert_eq!(get(format!("{}/{}", acme.resources(), ids[1].id())).await.status, StatusCode::NOT_FOUND);
        assert_eq!(get(format!("{}/cells/{}/quota", acme.path(), acme.cells[1])).await.status, StatusCode::NOT_FOUND);
        assert_eq!(get(format!("{}/quota", acme.path())).await.status, StatusCode::NOT_FOUND);
        let history = get(format!("{}/history", acme.path())).await.ok().body.to_string();
        assert!(history.contains(ids[0].id()) && !history.contains(ids[1].id()));
        let deleted = cloud().ask(&viewer, Method::DELETE, &format!("{}/{}", acme.resources(), ids[0].id())).fresh().answer().await;
        assert_eq!((deleted.status, &deleted.body["permission"]), (StatusCode::FORBIDDEN, &json!("operate_resources")));
        let me = get("/v1/me".to_owned()).await.ok();
        assert_eq!(me.body["tenants"], json!([{ "tenant": acme.tenant, "roles": [{ "role": "cell_viewer", "cell": acme.cells[0] }] }]));
        assert_eq!(me.body["operator"], false);
    });
}

#[test]
fn a_role_that_was_revoked_counts_no_more() {
    cloud().run(async {
        let acme = cloud().acme().await;
        let bob = cloud().unique("bob");
        let members = format!("{}/members", acme.path());
        let grant = json!({ "principal": { "issuer": ISSUER, "subject": bob }, "role": "tenant_viewer" });
        let granted = cloud().post(&acme.admin, &members, grant).fresh().answer().await.ok();
        assert_eq!(granted.status, StatusCode::CREATED);
        cloud().get(&bob, &acme.path()).at_least(&granted).answer().await.ok();
        let listed = cloud().get(&acme.admin, &members).at_least(&granted).answer().await.ok();
        assert_eq!(listed.body["items"].as_array().unwrap().len(), 2);

        let named = format!("{members}?issuer={ISSUER}&subject={bob}&role=tenant_viewer");
        let revoked = cloud().ask(&acme.admin, Method::DELETE, &named).fresh().answer().await.ok();

        assert_eq!(revoked.body["granted"], false);
        assert_eq!(cloud().get(&bob, &acme.path()).at_least(&revoked).answer().await.status, StatusCode::NOT_FOUND);
        let own = format!("{members}?issuer={ISSUER}&subject={}&role=tenant_super_administrator", acme.admin);
        let last = cloud().ask(&acme.admin, Method::DELETE, &own).fresh().answer().await;
        assert_eq!((last.status, &last.body["reason"]), (StatusCode::CONFLICT, &json!("last_super_administrator")));
    });
}

#[test]
fn only_those_who_run_the_platform_change_it() {
    cloud().run(async {
        let acme = cloud().acme().await;
        let region = || json!({ "region": "elsewhere", "title": "Elsewhere" });
        let refused = cloud().post(&acme.admin, "/v1/regions", region()).fresh().answer().await;
        assert_eq!((refused.status, &refused.body["reason"]), (StatusCode::FORBIDDEN, &json!("operators_only")));
        cloud().get(OPERATOR, &acme.path()).answer().await.ok();
        let tenants = cloud().get(&acme.admin, "/v1/tenants").answer().await.ok();
        assert_eq!(tenants.body["items"].as_array().unwrap().len(), 1, "a tenant's people know their own");
        let suspended =
            cloud().post(OPERATOR, &format!("{}/suspend", acme.path()), json!({ "reason": "unpaid" })).fresh().answer().await.ok();
        assert_eq!(suspended.body["status"], "suspended");
        let order = cloud().post(&acme.admin, &acme.resources(), network("n")).fresh().answer().await;
        assert_eq!(order.body["reason"], "tenant_suspended");
    });
}

#[test]
fn without_a_valid_token_nobody_is_anybody() {
    cloud().run(async {
        let bare = cloud().bare(Method::GET, "/v1/me").answer().await;
        assert_eq!((bare.status, bare.problem()), (StatusCode::UNAUTHORIZED, "unauthenticated"));
        assert!(bare.header("www-authenticate").starts_with("Bearer"));
        for path in ["/healthz", "/readyz", "/openapi.json", "/problems", "/problems/quota-exceeded"] {
            cloud().bare(Method::GET, path).answer().await.ok();
        }
    });
}
