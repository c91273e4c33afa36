//! Objects without faults: their states, and what is refused when.

use super::*;

#[tokio::test]
async fn a_create_is_accepted_at_once_and_built_only_after_its_time() {
    let cloud = cloud_with(even_durations());
    let server = create(&cloud, "server", "web").await;
    assert_eq!((server.status, server.task, server.power), (Status::Build, Some(TaskName::Spawning), None));

    cloud.advance_to(after(9));
    assert_eq!(status(&cloud, &server).await, Some(Status::Build));

    cloud.advance_to(after(3600));
    let server = cloud.get(&server.address(), late()).await.done().unwrap();
    assert_eq!((server.status, server.task, server.power), (Status::Active, None, Some(Power::Running)));
    assert_eq!(server.updated_at, after(10), "it was built when it was due, however late anybody looks");
}

#[tokio::test]
async fn without_latencies_everything_is_done_when_it_is_answered() {
    let cloud = cloud_with(Latencies::none());
    let server = create(&cloud, "server", "web").await;
    assert!(server.is_settled());
    assert_eq!(server.status, Status::Active);

    assert_eq!(cloud.delete(&server.address(), late()).await, Outcome::Done(()));
    assert_eq!(cloud.delete(&server.address(), late()).await, Outcome::Absent);
}

#[tokio::test]
async fn two_creates_with_one_name_make_two_objects_that_are_both_found() {
    let cloud = cloud_with(Latencies::none());
    let first = create(&cloud, "server", "web").await;
    let second = create(&cloud, "server", "web").await;
    assert_ne!(first.id, second.id);
    for filter in [Filter::by_name("web"), Filter::by_tag("intent", "web"), Filter::by_name("web").of_kind("server")] {
        assert_eq!(cloud.find(ZONE, filter, late()).await, Outcome::Done(vec![first.clone(), second.clone()]));
    }
    for filter in [Filter::by_name("we"), Filter::by_tag("intent", "we"), Filter::by_name("web").of_kind("volume")] {
        assert_eq!(cloud.find(ZONE, filter, late()).await, Outcome::Done(vec![]));
    }
    assert_eq!(cloud.find("south-1", Filter::by_name("web"), late()).await, Outcome::Done(vec![]));
}

#[tokio::test]
async fn a_delete_shows_until_it_is_done_and_repeats_without_harm() {
    let cloud = cloud_with(even_durations());
    let server = create(&cloud, "server", "web").await;
    cloud.advance_to(after(10));
    assert_eq!(told(cloud.delete(&server.address(), late()).await), "done");
    assert_eq!(status(&cloud, &server).await, Some(Status::Deleting));
    cloud.advance_to(after(19));
    assert_eq!(told(cloud.delete(&server.address(), late()).await), "done");
    cloud.advance_to(after(20));
    assert_eq!(status(&cloud, &server).await, None, "the repeat did not begin the delete anew");
    assert_eq!(told(cloud.delete(&server.address(), late()).await), "absent");
}

#[tokio::test]
async fn a_server_that_is_being_built_can_be_deleted_and_is_not_built_afterwards() {
    let cloud = cloud_with(even_durations());
    let server = create(&cloud, "server", "web").await;
    cloud.advance_to(after(5));
    cloud.delete(&server.address(), late()).await;
    cloud.advance_to(after(12));
    assert_eq!(status(&cloud, &server).await, Some(Status::Deleting));
    cloud.advance_to(after(15));
    assert_eq!(status(&cloud, &server).await, None);
}

#[tokio::test]
async fn what_meets_another_task_is_busy_and_what_meets_a_wrong_status_is_refused_for_now() {
    let cloud = cloud_with(even_durations());
    let server = create(&cloud, "server", "web").await;
    let volume = create(&cloud, "volume", "data").await;
    let (server, volume) = (server.address(), volume.address());
    let busy = |verb: &str, address: &Address, task: &str| {
        format!("busy: Cannot '{verb}' {} {} while it is in task_state {task}", address.kind, address.id)
    };
    assert_eq!(told(cloud.act(&server, Action::Stop, late()).await), busy("stop", &server, "spawning"));
    assert_eq!(told(cloud.change(&server, Properties::new(), late()).await), busy("change", &server, "spawning"));
    assert_eq!(told(cloud.delete(&volume, late()).await), busy("delete", &volume, "spawning"));

    cloud.advance_to(after(10));
    let wrong = format!("refused for now: Cannot 'start' server {} while it is in vm_state active", server.id);
    assert_eq!(told(cloud.act(&server, Action::Start, late()).await), wrong);
    assert_eq!(
        told(cloud.act(&volume, Action::Start, late()).await),
        "refused: There is no such action: start of volume",
        "what can never be done is not worth a retry"
    );
}

#[tokio::test]
async fn power_and_properties_change_when_the_work_is_done_and_not_before() {
    let cloud = cloud_with(even_durations());
    let address = create(&cloud, "server", "web").await.address();
    cloud.advance_to(after(10));
    let bigger = json!({ "vcpus": 8 }).as_object().unwrap().clone();
    let steps = [(Some(Action::Stop), Status::Shutoff, 2), (None, Status::Shutoff, 8), (Some(Action::Start), Status::Active, 8)];
    let mut before = (Status::Active, 2);
    for (round, (action, status, vcpus)) in (1..).zip(steps) {
        let accepted = match action {
            Some(action) => cloud.act(&address, action, late()).await,
            None => cloud.change(&address, bigger.clone(), late()).await,
        };
        let seen = |object: Object| (object.status, object.properties["vcpus"].as_i64().unwrap());
        assert_eq!(accepted.map(seen).done(), Some(before));
        cloud.advance_to(after(10 + 10 * round));
        before = (status, vcpus);
        assert_eq!(cloud.get(&address, late()).await.map(seen).done(), Some(before));
    }
}

#[tokio::test]
async fn a_volume_is_attached_to_one_server_only() {
    let cloud = cloud_with(even_durations());
    let (one, other) = (create(&cloud, "server", "one").await, create(&cloud, "server", "other").await);
    let volume = create(&cloud, "volume", "data").await.address();
    let attach = |server: &Object| Action::Attach { server: server.id.clone() };
    cloud.advance_to(after(10));

    assert_eq!(told(cloud.act(&volume, attach(&one), late()).await), "done");
    assert!(told(cloud.act(&volume, attach(&other), late()).await).starts_with("busy: "), "the first attach is not finished");
    cloud.advance_to(after(12));
    for server in [&one, &other] {
        let refused = format!("refused for now: Invalid volume: {} is already attached to instance {}", volume.id, one.id);
        assert_eq!(told(cloud.act(&volume, attach(server), late()).await), refused);
    }
    let in_use = format!("refused for now: Invalid volume: Volume {} is attached to server {}.", volume.id, one.id);
    assert_eq!(told(cloud.delete(&volume, late()).await), in_use);

    assert_eq!(told(cloud.act(&volume, Action::Detach, late()).await), "done");
    cloud.advance_to(after(14));
    assert_eq!(told(cloud.act(&volume, attach(&other), late()).await), "done");
    cloud.advance_to(after(16));
    assert_eq!(cloud.get(&volume, late()).await.done().unwrap().attached_to, Some(other.id));
}

#[tokio::test]
async fn what_is_attached_to_a_server_survives_its_delete_unattached() {
    let cloud = cloud_with(Latencies::none());
    let server = create(&cloud, "server", "web").await;
    let attach = Action::Attach { server: server.id.clone() };
    for kind in ["volume", "public_ip"] {
        let address = create(&cloud, kind, "part").await.address();
        assert_eq!(cloud.act(&address, attach.clone(), late()).await.done().unwrap().attached_to, Some(server.id.clone()));
    }
    cloud.delete(&server.address(), late()).await;
    let left = cloud.find(ZONE, Filter::default(), late()).await.done().unwrap();
    assert_eq!(
        left.iter().map(|object| (object.kind.as_str(), &object.attached_to)).collect::<Vec<_>>(),
        [("volume", &None), ("public_ip", &None)]
    );
}

#[tokio::test]
async fn an_attach_that_ends_after_its_server_is_gone_attaches_nothing() {
    let cloud = cloud_with(even_durations());
    let server = create(&cloud, "server", "web").await;
    let volume = create(&cloud, "volume", "data").await.address();
    let attach = Action::Attach { server: server.id.clone() };
    cloud.advance_to(after(10));
    assert_eq!(told(cloud.act(&volume, attach.clone(), late()).await), "done");
    assert!(cloud.cloud(|cloud, now| cloud.vanish(&server.id, now)));
    cloud.advance_to(after(12));
    let then = cloud.get(&volume, late()).await.done().unwrap();
    assert_eq!((then.attached_to, then.task), (None, None));
    assert_eq!(told(cloud.act(&volume, attach, late()).await), format!("refused: Instance {} could not be found.", server.id));
}

#[tokio::test]
async fn a_public_ip_of_the_region_can_be_attached_to_a_server_of_a_zone_and_a_foreign_volume_cannot() {
    let cloud = cloud_with(Latencies::none());
    let server = create(&cloud, "server", "web").await;
    let attach = Action::Attach { server: server.id };
    let address = |kind| {
        let cloud = cloud.clone();
        async move { cloud.create("north", kind, named("part"), late()).await.done().unwrap().address() }
    };
    assert_eq!(told(cloud.act(&address("public_ip").await, attach.clone(), late()).await), "done");
    assert_eq!(
        told(cloud.act(&address("volume").await, attach, late()).await),
        "refused: Invalid volume: the instance and the volume are not in the same availability zone."
    );
}

#[tokio::test]
async fn an_id_under_another_kind_or_zone_is_absent() {
    let cloud = cloud_with(Latencies::none());
    let address = create(&cloud, "server", "web").await.address();
    for wrong in [Address { zone: "south-1".to_owned(), ..address.clone() }, Address { kind: "volume".to_owned(), ..address.clone() }] {
        assert_eq!(cloud.get(&wrong, late()).await, Outcome::Absent);
        assert_eq!(cloud.delete(&wrong, late()).await, Outcome::Absent);
    }
    assert!(cloud.get(&address, late()).await.done().is_some());
}

#[tokio::test]
async fn a_walk_over_all_parts_meets_every_object_once_even_while_others_come_and_go() {
    let cloud = cloud_with(Latencies::none());
    let mut objects = Vec::new();
    for number in 0..25 {
        objects.push(create(&cloud, "server", &format!("web-{number}")).await);
    }
    let mut met = Vec::new();
    let mut marker = None;
    loop {
        let page = cloud.list(ZONE, Filter::default(), 4, marker, late()).await.done().unwrap();
        met.extend(page.objects.iter().map(|object| object.name.clone()));
        // The object at which the next part goes on is deleted meanwhile, and another one is made.
        let last = page.objects.last().unwrap();
        cloud.delete(&last.address(), late()).await;
        if met.len() < 20 {
            create(&cloud, "server", &format!("late-{}", met.len())).await;
        }
        marker = page.next;
        if marker.is_none() {
            break;
        }
    }
    let expected: Vec<String> = objects.into_iter().map(|object| object.name).collect();
    assert_eq!(met[..25], expected);
    assert!(met[25..].iter().all(|name| name.starts_with("late-")), "what is younger comes last: {met:?}");
    assert!(told(cloud.list(ZONE, Filter::default(), 4, Some("x".to_owned()), late()).await).starts_with("refused: "));
}

#[tokio::test]
async fn nothing_is_sent_after_the_deadline() {
    let cloud = cloud_with(Latencies::none());
    let outcome = cloud.create(ZONE, "server", named("web"), morning()).await;
    assert_eq!(told(outcome), "busy: the deadline had passed, so nothing was sent");
    assert_eq!(cloud.cloud(|cloud, _| cloud.calls(&CallQuery::default())), CallReport::default());
}
