//! References between resources, in a spec or by attachment.

use crate::cloud::*;
use domain::{
    id::{CellId, ResourceId},
    refusal::Refusal,
};
use serde_json::json;

#[track_caller]
fn refused(answer: Answer, why: &str) {
    match answer.refusal() {
        Some(Refusal::BadReference { problem, .. }) => assert_eq!(problem, why),
        other => panic!("{other:?}"),
    }
}

const ABSENT: &str = "there is none in this cell or at the tenant's level";

fn on(cloud: &Cloud, disk: ResourceId) -> New {
    cloud.order("server").with("disk", disk.to_string())
}

#[test]
fn a_server_names_what_lives_in_its_cell_or_at_the_tenant() {
    let mut cloud = Cloud::open();
    let shared = cloud.has(cloud.order("network").at_tenant());
    let own = cloud.has(cloud.order("network"));
    let names = json!([shared.to_string(), own.to_string(), own.to_string()]);
    let server = cloud.has(cloud.order("server").with("networks", names));
    assert_eq!(cloud.resource(server).terms.uses.len(), 2);
    for network in [shared, own] {
        cloud.ada(delete(network)).refused_with(Refusal::InUse { by: vec![server] });
    }
    cloud.removes(server);
    cloud.removes(shared);
}

#[test]
fn a_reference_out_of_the_cell_kind_or_zone_is_refused() {
    let mut cloud = Cloud::open();
    let c = cloud.c;
    let elsewhere = cloud.has(cloud.order("volume").in_cell(c));
    let far = cloud.has(cloud.order("volume").in_zone("az2"));
    let network = cloud.has(cloud.order("network"));
    refused(cloud.ada(on(&cloud, elsewhere)), ABSENT);
    refused(cloud.ada(on(&cloud, ResourceId(nobody()))), ABSENT);
    refused(cloud.ada(on(&cloud, far)), "it is in the zone az2");
    refused(cloud.ada(on(&cloud, network)), "it is a network, not a volume");
    cloud.ada(cloud.order("server").with("disk", "x")).refused_with(Refusal::field("#/spec/disk", "not the id of a resource"));
    cloud
        .ada(cloud.order("server").with("networks", json!([7])))
        .refused_with(Refusal::field("#/spec/networks/0", "not the id of a resource"));
    let server = cloud.server();
    refused(cloud.ada(attach(elsewhere, server)), ABSENT);
    refused(cloud.ada(attach(far, server)), "it is in the zone az1");
    refused(cloud.ada(attach(far, network)), "it is a network, not a server");
}

#[test]
fn what_sits_at_the_tenant_names_nothing_in_a_cell() {
    let mut cloud = Cloud::open();
    let server = cloud.server();
    let shared = cloud.has(cloud.order("volume").at_tenant());
    refused(cloud.ada(attach(shared, server)), ABSENT);
}

#[test]
fn what_ends_or_is_lost_cannot_be_named_any_more() {
    let mut cloud = Cloud::open();
    let [deleting, lost] = [(); 2].map(|()| cloud.has(cloud.order("volume")));
    cloud.ada(delete(deleting)).accepted();
    cloud.reports(vanished(lost)).accepted();
    let [failing, failed] = [true, false].map(|remains| {
        let id = cloud.ada(cloud.order("volume")).resource();
        cloud.fails(id, remains).accepted();
        id
    });
    for (id, phase) in [(deleting, "deleting"), (lost, "lost"), (failing, "failing"), (failed, "failed")] {
        refused(cloud.ada(on(&cloud, id)), &format!("it is {phase}"));
    }
}

#[test]
fn what_is_still_being_made_can_be_named_but_not_attached_to() {
    let mut cloud = Cloud::open();
    let disk = cloud.ada(cloud.order("volume")).resource();
    let server = cloud.ada(on(&cloud, disk)).accepted().resource();
    let volume = cloud.has(cloud.order("volume"));
    cloud.ada(attach(volume, server)).is("refused: busy");
    cloud.done(disk).accepted();
    cloud.done(server).accepted();
    cloud.ada(attach(volume, server)).accepted();
}

#[test]
fn a_changed_reference_is_held_until_the_change_is_done_or_has_failed() {
    let mut cloud = Cloud::open();
    let [old, new] = [(); 2].map(|()| cloud.has(cloud.order("network")));
    let server = cloud.has(cloud.order("server").with("networks", json!([old.to_string()])));
    let to = |network: ResourceId| change(server, json!({ "vcpus": 2, "memory_mib": 2048, "networks": [network.to_string()] }));
    let in_use = || Refusal::InUse { by: vec![server] };
    cloud.ada(to(new)).accepted();
    cloud.ada(delete(old)).refused_with(in_use());
    cloud.ada(delete(new)).refused_with(in_use());
    cloud.fails(server, true).is("resource.step_failed");
    cloud.ada(delete(old)).refused_with(in_use());
    cloud.ada(to(new)).accepted();
    cloud.done(server).is("resource.changed");
    cloud.removes(old);
    cloud.ada(delete(new)).refused_with(in_use());
}

#[test]
fn a_lost_network_does_not_stand_in_the_way_of_another_change() {
    let mut cloud = Cloud::open();
    let network = cloud.has(cloud.order("network"));
    let networks = json!([network.to_string()]);
    let server = cloud.has(cloud.order("server").with("networks", networks.clone()));
    cloud.reports(vanished(network)).accepted();
    cloud.ada(change(server, json!({ "vcpus": 4, "memory_mib": 2048, "networks": networks }))).accepted();
    cloud.done(server).accepted();
    cloud.ada(change(server, json!({ "vcpus": 4, "memory_mib": 2048, "networks": [] }))).accepted();
    cloud.done(server).accepted();
    cloud.removes(network);
}

#[test]
fn a_group_that_names_itself_can_still_be_deleted() {
    let mut cloud = Cloud::open();
    let group = cloud.has(cloud.order("security_group"));
    cloud.ada(change(group, json!({ "peers": [group.to_string()] }))).accepted();
    cloud.done(group).is("resource.changed");
    cloud.removes(group);
    assert!(cloud.acme().users.is_empty());
}

#[test]
fn a_refusal_names_at_most_a_hundred_users() {
    let mut cloud = Cloud::open();
    let network = cloud.has(cloud.order("network").at_tenant());
    for _ in 0..101 {
        cloud.ada(cloud.order("server").with("networks", json!([network.to_string()]))).accepted();
    }
    match cloud.ada(delete(network)).refusal() {
        Some(Refusal::InUse { by }) => assert_eq!(by.len(), 100),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_resource_is_placed_only_where_its_service_and_its_cell_allow() {
    let mut cloud = Cloud::open();
    let b = cloud.b;
    cloud.ada(cloud.order("server").at_tenant()).is("refused: wrong_level");
    cloud.ada(cloud.order("bucket").in_cell(b)).is("refused: wrong_level");
    cloud.ada(cloud.order("bucket")).accepted();
    cloud.ada(cloud.order("server").in_no_zone()).is("refused: zone_mismatch");
    cloud.ada(cloud.order("network").in_zone("az1")).is("refused: zone_mismatch");
    cloud.ada(cloud.order("server").in_zone("az9")).is("refused: no_such_zone");
    let nowhere = CellId(nobody());
    cloud.ada(cloud.order("server").in_cell(nowhere)).is("refused: no_such_cell");
}
