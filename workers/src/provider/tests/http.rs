//! What only the process has: routes, the admin's view, and its end.

use super::*;

#[tokio::test]
async fn a_life_over_http_is_the_same_as_in_memory() {
    let served = serve(Simulator::in_memory(Latencies::none(), 7)).await;
    let server = create(&served.client, "server", "name with spaces/und Umläute?&=#").await;
    assert!(server.is_settled());
    let found = served.client.find(ZONE, Filter::by_name(&server.name), late()).await;
    assert_eq!(found, Outcome::Done(vec![server.clone()]));
    let found = served.client.find(ZONE, Filter::by_tag("intent", &server.name), late()).await;
    assert_eq!(found, Outcome::Done(vec![server.clone()]));

    let volume = create(&served.client, "volume", "data").await.address();
    let attached = served.client.act(&volume, Action::Attach { server: server.id.clone() }, late()).await.done().unwrap();
    assert_eq!(attached.attached_to.as_ref(), Some(&server.id));
    assert!(told(served.client.delete(&volume, late()).await).starts_with("refused for now: "));
    let bigger = json!({ "volume_gib": 20 }).as_object().unwrap().clone();
    let changed = served.client.change(&volume, bigger, late()).await.done().unwrap();
    assert_eq!((&changed.properties["volume_gib"], &changed.properties["vcpus"]), (&json!(20), &json!(2)));

    assert_eq!(served.client.delete(&server.address(), late()).await, Outcome::Done(()));
    assert_eq!(served.client.delete(&server.address(), late()).await, Outcome::Absent);
    assert_eq!(served.client.delete(&volume, late()).await, Outcome::Done(()));
}

#[tokio::test]
async fn a_long_listing_comes_in_parts() {
    let simulator = Simulator::in_memory(Latencies::none(), 7);
    let new = Request::Create { zone: ZONE.to_owned(), kind: "server".to_owned(), new: named("web") };
    simulator
        .with(|cloud, now, rng| {
            for _ in 0..2500 {
                cloud.handle("", &new, now, rng);
            }
        })
        .unwrap();
    let served = serve(simulator).await;
    assert_eq!(served.client.find(ZONE, Filter::default(), late()).await.done().unwrap().len(), 2500);
    assert_eq!(served.admin.objects(&Filter::by_name("web")).await.unwrap().len(), 2500);
    let counts = served.admin.calls(&CallQuery::default()).await.unwrap().counts;
    assert_eq!(counts["*.list"], 3, "the admin's looks are not counted");
}

#[tokio::test]
async fn the_journal_proves_how_many_machines_were_made_though_all_but_one_are_gone() {
    let served = serve(Simulator::in_memory(Latencies::none(), 7)).await;
    let first = create(&served.client, "server", "web").await;
    let twin = create(&Client::new(&served.base, "worker-2", Duration::ZERO).unwrap(), "server", "web").await;
    served.client.delete(&twin.address(), late()).await;
    served.client.delete(&twin.address(), late()).await;

    let made = CallQuery { operation: Some(Verb::Create), name: Some("web".to_owned()), did: Some(true), ..CallQuery::default() };
    let made = served.admin.calls(&made).await.unwrap();
    let made: Vec<_> = made.calls.iter().map(|call| (call.caller.as_str(), call.id.as_deref())).collect();
    assert_eq!(made, [("worker-1", Some(first.id.as_str())), ("worker-2", Some(twin.id.as_str()))]);
    let deletes = CallQuery { operation: Some(Verb::Delete), ..CallQuery::default() };
    let deletes = served.admin.calls(&deletes).await.unwrap().calls;
    let deletes: Vec<_> = deletes.iter().map(|call| (call.seq, call.did, call.answer.as_str())).collect();
    assert_eq!(deletes, [(2, true, "202"), (3, false, "404")]);
    let later = CallQuery { after: Some(2), ..CallQuery::default() };
    assert_eq!(served.admin.calls(&later).await.unwrap().calls.len(), 1);
}

#[tokio::test]
async fn the_admin_changes_things_behind_the_client_s_back() {
    let served = serve(Simulator::in_memory(Latencies::none(), 7)).await;
    let server = create(&served.client, "server", "web").await;
    let off = Alteration { status: Some(Status::Shutoff), power: Some(Power::Shutdown), ..Alteration::default() };
    served.admin.alter(&server.id, &off).await.unwrap();
    let seen = served.client.get(&server.address(), late()).await.done().unwrap();
    assert_eq!((seen.status, seen.power), (Status::Shutoff, Some(Power::Shutdown)));
    served.admin.vanish(&server.id).await.unwrap();
    assert_eq!(served.client.get(&server.address(), late()).await, Outcome::Absent);
    assert_eq!(served.admin.vanish(&server.id).await.unwrap_err().status().unwrap(), 404);
}

#[tokio::test]
async fn a_rule_with_a_slip_of_the_pen_is_refused_instead_of_doing_nothing() {
    let served = serve(Simulator::in_memory(Latencies::none(), 7)).await;
    let put = async |body: serde_json::Value| {
        let url = format!("{}/admin/faults", served.base);
        reqwest::Client::builder().no_proxy().build().unwrap().put(url).json(&body).send().await.unwrap().status().as_u16()
    };
    assert_eq!(put(json!([{ "operation": "create", "behaviour": "timeout_after_doing" }])).await, 204);
    assert_eq!(put(json!([{ "kind": "server", "count": 2, "behaviour": { "slow": { "factor": 10 } } }])).await, 204);
    assert_eq!(served.admin.faults().await.unwrap(), [Rule::new(Behaviour::Slow { factor: 10.0 }).of_kind("server").times(2)]);
    assert_eq!(put(json!([{ "opreation": "create", "behaviour": "timeout_after_doing" }])).await, 400);
    assert_eq!(put(json!([{ "behaviour": "time_out" }])).await, 400);
}

#[tokio::test]
async fn nobody_there_is_unknown_and_so_is_a_wrong_address() {
    let served = serve(Simulator::in_memory(Latencies::none(), 7)).await;
    let nowhere = Client::new("http://127.0.0.1:1", "worker-1", Duration::ZERO).unwrap();
    assert!(nowhere.create(ZONE, "server", named("web"), late()).await.is_unknown());
    let wrong = Client::new(&format!("{}/elsewhere", served.base), "worker-1", Duration::ZERO).unwrap();
    let address = create(&served.client, "server", "web").await.address();
    assert!(wrong.delete(&address, late()).await.is_unknown(), "a delete is not done because of a wrong address");
    assert!(Client::new("127.0.0.1:1", "worker-1", Duration::ZERO).is_err());
}

#[tokio::test]
async fn the_server_stops_though_somebody_still_waits_for_an_answer_that_never_comes() {
    let served = serve(Simulator::in_memory(Latencies::none(), 7)).await;
    served.admin.set_faults(&[Rule::new(Behaviour::TimeoutAfterDoing)]).await.unwrap();
    let client = served.client.clone();
    let waiting = tokio::spawn(async move { client.create(ZONE, "server", named("web"), late()).await });
    while served.admin.objects(&Filter::default()).await.unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    drop(served._stop);
    let deadline = Duration::from_secs(30);
    tokio::time::timeout(deadline, served.ended).await.expect("it stops").unwrap().unwrap();
    assert!(tokio::time::timeout(deadline, waiting).await.expect("the caller is let go").unwrap().is_unknown());
}
