//! Answers that come too late, and what turns up when nothing should be left.

use crate::{catalogue::*, cloud::*};
use domain::{
    command::{Command, Verdict},
    id::ResourceId,
    refusal::Refusal,
    resource::Phase,
};

/// A server that was deleted while its create was under way, and the intent of that create.
fn deleted_while_created(cloud: &mut Cloud) -> (ResourceId, domain::id::IntentId) {
    let id = cloud.ada(cloud.order("server")).resource();
    let create = cloud.intent(id);
    cloud.ada(delete(id)).accepted();
    cloud.done(id).is("resource.deleted");
    (id, create)
}

#[test]
fn a_machine_that_turns_up_after_its_deletion_is_removed_and_claims_nothing() {
    let mut cloud = Cloud::open();
    let (id, create) = deleted_while_created(&mut cloud);
    cloud.reports_done(id, create, Some("ext-7")).is("resource.observed_late resource.remains_found");
    let remains = &cloud.acme().remains[&id];
    assert_eq!((remains.made_by, cloud.acme().used.is_empty()), (create, true));
    cloud.calls("w1", id, 30).is("resource.pending");
    cloud.fails(id, true).is("resource.attempt_failed");
    assert!(cloud.acme().remains.contains_key(&id), "it is still there");
    cloud.waits(DELETE_S).deadline(id).is("resource.overdue");
    // The same news again opens nothing a second time.
    cloud.reports_done(id, create, Some("ext-7")).is("resource.observed_late");
    cloud.reports(vanished(id)).is("refused: busy");
    cloud.done(id).is("resource.remains_removed");
    assert!(cloud.acme().remains.is_empty());
}

#[test]
fn an_operator_can_end_the_removal_of_remains() {
    for (verdict, after) in [
        (Verdict::Done, "resource.resolved resource.remains_removed"),
        (Verdict::Failed, "resource.resolved resource.remains_removed"),
        (Verdict::Retry, "resource.resolved resource.reopened"),
    ] {
        let mut cloud = Cloud::open();
        let (id, create) = deleted_while_created(&mut cloud);
        cloud.reports_done(id, create, Some("ext-7")).accepted();
        cloud.resolves(id, verdict).is(after);
    }
}

#[test]
fn late_news_about_the_gone_that_says_nothing_exists_is_only_noted() {
    let mut cloud = Cloud::open();
    let (id, create) = deleted_while_created(&mut cloud);
    cloud.reports_done(id, create, None).is("resource.observed_late");
    cloud
        .reports(Command::ReportFailed { resource: id, intent: create, problem: "no".to_owned(), remains: true })
        .is("resource.observed_late");
    let gone = Refusal::NoSuchResource { resource: id };
    cloud.reports(vanished(id)).refused_with(gone.clone());
    cloud.reports(Command::DeadlinePassed { resource: id, intent: create }).refused_with(gone);
    assert!(cloud.acme().remains.is_empty());
}

#[test]
fn news_of_a_create_that_was_given_up_does_not_bring_it_back() {
    let mut cloud = Cloud::open();
    let id = cloud.ada(cloud.order("server")).resource();
    let create = cloud.intent(id);
    cloud.waits(CREATE_S).deadline(id).accepted();
    cloud.reports_done(id, create, Some("ext-1")).is("resource.observed_late");
    cloud.done(id).is("resource.cleaned");
    assert_eq!(cloud.phase(id), Phase::Failed);
    cloud.reports_done(id, create, None).is("resource.observed_late");
    assert_eq!((cloud.phase(id), cloud.used("servers")), (Phase::Failed, 0));
}

#[test]
fn a_machine_that_turns_up_after_its_create_failed_is_removed_and_claims_nothing() {
    let mut cloud = Cloud::open();
    let id = cloud.ada(cloud.order("server")).resource();
    let create = cloud.intent(id);
    cloud.fails(id, false).is("resource.provisioning_failed");
    cloud.reports_done(id, create, Some("ext-1")).is("resource.observed_late resource.remains_found");
    assert_eq!((cloud.phase(id), cloud.used("servers")), (Phase::Failing, 0));
    cloud.reports_done(id, create, Some("ext-1")).is("resource.observed_late");
    cloud.fails(id, true).is("resource.attempt_failed");
    cloud.done(id).is("resource.cleaned");
    assert_eq!((cloud.phase(id), cloud.used("servers")), (Phase::Failed, 0));
    cloud.removes(id);
}

#[test]
fn nothing_is_made_under_a_name_while_what_bears_it_is_being_removed() {
    let mut cloud = Cloud::open();
    let order = cloud.kept(cloud.order("server"));
    let id = ResourceId(order.id.0);
    cloud.reports_done(id, order.id.into(), Some("ext-1")).is("resource.observed_late resource.remains_found");
    cloud.again(&order).is("refused: busy");
    cloud.done(id).is("resource.remains_removed");
    cloud.again(&order).is("resource.requested");
}

#[test]
fn a_late_answer_to_a_change_that_went_back_changes_nothing() {
    let mut cloud = Cloud::open();
    let id = cloud.server();
    cloud.ada(change(id, serde_json::json!({ "vcpus": 4, "memory_mib": 2048 }))).accepted();
    let intent = cloud.intent(id);
    cloud.waits(CHANGE_S).deadline(id).is("resource.overdue resource.step_failed");
    let before = cloud.resource(id).clone();
    cloud.reports_done(id, intent, None).is("resource.observed_late");
    assert_eq!(*cloud.resource(id), before);
    cloud.reports(Command::DeadlinePassed { resource: id, intent }).refused_with(Refusal::StepNotOpen { intent });
}

#[test]
fn a_volume_being_attached_when_its_server_goes_is_free_again() {
    let mut cloud = Cloud::open();
    let server = cloud.server();
    let volume = cloud.has(cloud.order("volume"));
    cloud.ada(attach(volume, server)).accepted();
    let attaching = cloud.intent(volume);
    cloud.ada(delete(server)).is("resource.delete_requested");
    cloud.done(server).is("resource.released resource.deleted");
    assert_eq!((cloud.resource(volume).attached_to, &cloud.resource(volume).step), (None, &None));
    cloud.reports_done(volume, attaching, None).is("resource.observed_late");
}
