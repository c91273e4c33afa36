//! For each unpleasant behaviour: what the client sees, and what is there afterwards. In memory and over HTTP alike.

use super::*;

const NOTHING: usize = 0;
const ONE: usize = 1;

/// A create under one rule: what the client is told, what the journal notes as answered, and how many servers there are then.
async fn check(behaviour: Behaviour, expect: &str, noted: &str, servers: usize) {
    let rule = Rule::new(behaviour).on(Verb::Create);

    let cloud = cloud_with(Latencies::none());
    cloud.cloud(|cloud, now| cloud.set_rules(vec![rule.clone()], now));
    let outcome = told(cloud.create(ZONE, "server", named("web"), after(30)).await);
    assert!(outcome.starts_with(expect), "{rule:?} in memory: {outcome}");
    let there = cloud.cloud(|cloud, now| cloud.inventory(&Filter::default(), 10, None, now)).objects.len();
    assert_eq!(there, servers, "{rule:?} in memory");

    let served = serve(Simulator::in_memory(Latencies::none(), 7)).await;
    served.admin.set_faults(std::slice::from_ref(&rule)).await.unwrap();
    // Only a call that is never answered has to wait for its deadline.
    let patience = if noted == "silence" || matches!(rule.behaviour, Behaviour::LateAnswer { .. }) { 300 } else { 60_000 };
    let deadline = DateTime::<Utc>::from(SystemTime::now()) + TimeDelta::milliseconds(patience);
    let outcome = told(served.client.create(ZONE, "server", named("web"), deadline).await);
    let told_as_expected =
        if noted == "cut" { outcome.starts_with("unknown: ") && !outcome.contains("deadline") } else { outcome.starts_with(expect) };
    assert!(told_as_expected, "{rule:?} over HTTP: {outcome}");
    let calls = eventually("the call is in the journal", async || {
        let calls = served.admin.calls(&CallQuery::default()).await.unwrap().calls;
        (!calls.is_empty()).then_some(calls)
    })
    .await;
    let [call] = calls.as_slice() else { panic!("one call was made: {calls:?}") };
    assert_eq!((call.answer.as_str(), call.did, call.caller.as_str()), (noted, servers > 0, "worker-1"), "{rule:?}");
    assert_eq!(served.admin.objects(&Filter::default()).await.unwrap().len(), servers, "{rule:?} over HTTP");
}

async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let looking = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), looking).await.unwrap_or_else(|_| panic!("30 s and still not: {what}"))
}

#[tokio::test]
async fn a_call_that_is_never_answered_is_unknown_whether_it_was_done_or_not() {
    check(Behaviour::TimeoutBeforeDoing, "unknown: no answer before the deadline", "silence", NOTHING).await;
    check(Behaviour::TimeoutAfterDoing, "unknown: no answer before the deadline", "silence", ONE).await;
    check(Behaviour::LateAnswer { seconds: 40.0 }, "unknown: no answer before the deadline", "202", ONE).await;
}

#[tokio::test]
async fn a_500_is_unknown_whether_it_was_done_or_not() {
    check(Behaviour::ErrorBeforeDoing, "unknown: 500", "500", NOTHING).await;
    check(Behaviour::ErrorAfterDoing, "unknown: 500", "500", ONE).await;
}

#[tokio::test]
async fn a_connection_that_is_cut_is_unknown_whether_it_was_done_or_not() {
    check(Behaviour::CutBeforeDoing, "unknown: the connection was cut", "cut", NOTHING).await;
    check(Behaviour::CutAfterDoing, "unknown: the connection was cut", "cut", ONE).await;
}

#[tokio::test]
async fn a_refusal_carries_the_reason_and_leaves_nothing_behind() {
    let text = "No valid host was found.".to_owned();
    check(Behaviour::Refuse { status: 400, text: text.clone() }, "refused: No valid host was found.", "400", NOTHING).await;
    check(Behaviour::Refuse { status: 409, text }, "refused for now: No valid host was found.", "409", NOTHING).await;
}

#[tokio::test]
async fn a_caller_that_is_too_fast_is_told_to_wait_and_an_outage_proves_nothing() {
    check(Behaviour::RateLimit { per_second: 0, retry_after_seconds: 9 }, "busy: This request was rate-limited.", "429", NOTHING).await;
    check(Behaviour::Unavailable { retry_after_seconds: 9 }, "unknown: 503", "503", NOTHING).await;

    let served = serve(Simulator::in_memory(Latencies::none(), 7)).await;
    let nine = Some(Duration::from_secs(9));
    let limit = Behaviour::RateLimit { per_second: 0, retry_after_seconds: 9 };
    served.admin.set_faults(&[Rule::new(limit)]).await.unwrap();
    let outcome = served.client.find(ZONE, Filter::default(), late()).await;
    assert!(matches!(outcome, Outcome::Busy { retry_after, .. } if retry_after == nine), "{outcome:?}");
    served.admin.set_faults(&[Rule::new(Behaviour::Unavailable { retry_after_seconds: 9 })]).await.unwrap();
    let outcome = served.client.find(ZONE, Filter::default(), late()).await;
    assert!(matches!(outcome, Outcome::Unknown { retry_after, .. } if retry_after == nine), "{outcome:?}");
}

#[tokio::test]
async fn each_kind_tells_of_the_provider_s_quota_in_its_own_way_and_the_dimension_is_understood() {
    let quota = |dimension: &str, limit| Behaviour::Quota { dimension: dimension.to_owned(), limit };
    check(
        quota("vcpus", 1),
        "refused for now (vcpus): Quota exceeded for vcpus: Requested 2, but already used 0 of 1 vcpus",
        "403",
        NOTHING,
    )
    .await;
    check(quota("servers", 0), "refused for now (servers): ", "403", NOTHING).await;
    check(quota("vcpus", 2), "done", "202", ONE).await;

    let cloud = cloud_with(Latencies::none());
    cloud.cloud(|cloud, now| cloud.set_rules(vec![Rule::new(quota("vcpus", 4))], now));
    create(&cloud, "volume", "data").await;
    let server = create(&cloud, "server", "web").await;
    let resize = async |vcpus: u32| {
        let properties = json!({ "vcpus": vcpus }).as_object().unwrap().clone();
        told(cloud.change(&server.address(), properties, late()).await)
    };
    assert_eq!(resize(3).await, "refused for now (vcpus): Quota exceeded for vcpus: Requested 1, but already used 4 of 4 vcpus");
    assert_eq!(resize(1).await, "done", "what takes less is not refused");
    for (kind, status) in [("volume", "413"), ("network", "409")] {
        let outcome = told(cloud.create(ZONE, kind, named("more"), late()).await);
        assert!(outcome.starts_with("refused for now (vcpus): "), "{outcome}");
        let calls =
            cloud.cloud(|cloud, _| cloud.calls(&CallQuery { kind: Some(kind.to_owned()), did: Some(false), ..CallQuery::default() }));
        assert_eq!(calls.calls[0].answer, status);
    }
}

#[tokio::test]
async fn work_is_slow_or_never_ends_or_ends_in_an_error_that_says_why() {
    let cloud = cloud_with(even_durations());
    let text = "Exceeded maximum number of retries.".to_owned();
    let rules = vec![
        Rule::new(Behaviour::Slow { factor: 3.0 }).named("slow"),
        Rule::new(Behaviour::NeverEnds).named("stuck").on(Verb::Create),
        Rule::new(Behaviour::EndsInError { text: text.clone() }).named("broken").on(Verb::Create),
    ];
    cloud.cloud(|cloud, now| cloud.set_rules(rules, now));
    let mut servers = Vec::new();
    for name in ["slow", "stuck", "broken", "well"] {
        servers.push(create(&cloud, "server", name).await);
    }
    let mut seen = Vec::new();
    for second in [10, 30, 1_000_000] {
        cloud.advance_to(after(second));
        for server in &servers {
            seen.push(status(&cloud, server).await.unwrap());
        }
    }
    let (build, active, error) = (Status::Build, Status::Active, Status::Error);
    assert_eq!(seen, [build, build, error, active, active, build, error, active, active, build, error, active]);
    let broken = cloud.get(&servers[2].address(), late()).await.done().unwrap();
    assert_eq!((broken.fault, broken.power), (Some(text), None));

    for server in &servers {
        assert_eq!(told(cloud.delete(&server.address(), late()).await), "done");
    }
    cloud.advance_to(after(1_000_030));
    let left = cloud.cloud(|cloud, now| cloud.inventory(&Filter::default(), 10, None, now)).objects;
    assert_eq!(left, [], "what is stuck or broken can be deleted all the same");
}

#[tokio::test]
async fn an_object_vanishes_without_any_call() {
    let cloud = cloud_with(even_durations());
    cloud.cloud(|cloud, now| cloud.set_rules(vec![Rule::new(Behaviour::Vanishes { after_seconds: 60.0 }).times(1)], now));
    let (gone, stays) = (create(&cloud, "server", "gone").await, create(&cloud, "server", "stays").await);
    cloud.advance_to(after(59));
    assert_eq!(status(&cloud, &gone).await, Some(Status::Active));
    cloud.advance_to(after(60));
    assert_eq!(status(&cloud, &gone).await, None);
    assert_eq!(status(&cloud, &stays).await, Some(Status::Active));
    assert_eq!(cloud.cloud(|cloud, _| cloud.calls(&CallQuery::default())).calls.len(), 2, "nobody has asked for a delete");
}

#[tokio::test]
async fn a_listing_that_lags_shows_neither_what_is_new_nor_that_something_is_gone() {
    let cloud = cloud_with(Latencies::none());
    let old = create(&cloud, "server", "old").await;
    cloud.cloud(|cloud, now| cloud.set_rules(vec![Rule::new(Behaviour::Lag { seconds: 300.0 })], now));
    cloud.advance_to(after(1));
    cloud.delete(&old.address(), late()).await;
    let new = create(&cloud, "server", "new").await;
    cloud.advance_to(after(100));
    cloud.act(&new.address(), Action::Stop, late()).await;

    let seen = async |second| {
        cloud.advance_to(after(second));
        let all = cloud.find(ZONE, Filter::default(), late()).await.done().unwrap();
        let mut by_name = Vec::new();
        for name in ["old", "new"] {
            by_name.extend(cloud.find(ZONE, Filter::by_name(name), late()).await.done().unwrap());
        }
        assert_eq!(all, by_name, "by whatever they are looked for");
        for object in [&old, &new] {
            let shown = all.iter().find(|shown| shown.id == object.id).map(|shown| shown.status);
            assert_eq!(status(&cloud, object).await, shown, "a look lags like the listing");
        }
        all.into_iter().map(|object| (object.name, object.status)).collect::<Vec<_>>()
    };
    let old_active = ("old".to_owned(), Status::Active);
    let new_active = ("new".to_owned(), Status::Active);
    let new_off = ("new".to_owned(), Status::Shutoff);
    assert_eq!(seen(101).await, std::slice::from_ref(&old_active));
    assert_eq!(seen(300).await, [old_active]);
    assert_eq!(seen(301).await, std::slice::from_ref(&new_active));
    assert_eq!(seen(399).await, [new_active]);
    assert_eq!(seen(400).await, std::slice::from_ref(&new_off));
    assert_eq!(seen(100_000).await, [new_off]);
}

#[tokio::test]
async fn a_lag_of_one_kind_or_of_listings_alone_leaves_other_looks_fresh() {
    let cloud = cloud_with(Latencies::none());
    let lag = Behaviour::Lag { seconds: 300.0 };
    cloud.cloud(|cloud, now| cloud.set_rules(vec![Rule::new(lag).on(Verb::List).of_kind("server")], now));
    let server = create(&cloud, "server", "web").await;
    let volume = create(&cloud, "volume", "web").await;
    assert_eq!(status(&cloud, &server).await, Some(Status::Active));
    assert_eq!(cloud.find(ZONE, Filter::by_name("web").of_kind("server"), late()).await, Outcome::Done(vec![]));
    assert_eq!(cloud.find(ZONE, Filter::by_name("web").of_kind("volume"), late()).await, Outcome::Done(vec![volume]));
}

#[tokio::test]
async fn rules_show_only_where_and_as_often_as_they_say() {
    let cloud = cloud_with(Latencies::none());
    let cut = |rule: fn(Rule) -> Rule| rule(Rule::new(Behaviour::CutBeforeDoing));
    let rules = vec![
        cut(|rule| rule.in_zone("south-1")),
        cut(|rule| rule.of_kind("bucket")),
        cut(|rule| rule.named("bad-").times(2)),
        cut(|rule| rule.on(Verb::Delete)),
        cut(|rule| rule.with_probability(0.0)),
    ];
    cloud.cloud(|cloud, now| cloud.set_rules(rules, now));
    let mut unknown = Vec::new();
    for (zone, kind, name) in [
        ("south-1", "server", "web"),
        (ZONE, "bucket", "web"),
        (ZONE, "server", "bad-1"),
        (ZONE, "server", "bad-2"),
        (ZONE, "server", "bad-3"),
        (ZONE, "server", "web"),
    ] {
        unknown.push(cloud.create(zone, kind, named(name), late()).await.is_unknown());
    }
    assert_eq!(unknown, [true, true, true, true, false, false]);
    assert_eq!(cloud.cloud(|cloud, _| cloud.rules()[2].count), Some(0));
}

#[tokio::test]
async fn a_share_of_calls_is_hit_about_as_often_as_the_rule_says() {
    let cloud = cloud_with(Latencies::none());
    cloud.cloud(|cloud, now| cloud.set_rules(vec![Rule::new(Behaviour::ErrorAfterDoing).with_probability(0.2)], now));
    let mut hit = 0;
    for number in 0..1000 {
        hit += usize::from(cloud.create(ZONE, "server", named(&number.to_string()), late()).await.is_unknown());
    }
    assert!((150..250).contains(&hit), "{hit} of 1000");
    assert_eq!(cloud.cloud(|cloud, _| cloud.len()), 1000, "all were done");
}

#[tokio::test]
async fn a_rate_is_limited_by_the_second() {
    let cloud = cloud_with(Latencies::none());
    let limit = Behaviour::RateLimit { per_second: 3, retry_after_seconds: 1 };
    cloud.cloud(|cloud, now| cloud.set_rules(vec![Rule::new(limit)], now));
    let burst = async || {
        let mut done = 0;
        for _ in 0..5 {
            done += usize::from(cloud.find(ZONE, Filter::default(), late()).await.done().is_some());
        }
        done
    };
    assert_eq!(burst().await, 3);
    assert_eq!(burst().await, 0);
    cloud.advance_to(after(1));
    assert_eq!(burst().await, 3);
}
