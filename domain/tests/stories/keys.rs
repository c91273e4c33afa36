//! Idempotency: the same command again decides nothing.

use crate::cloud::*;
use chrono::TimeDelta;
use domain::{
    catalogue::Action,
    command::{Command, Origin, Request},
    event::{CommandEvent, Event},
    quota::Limit,
    refusal::Refusal,
};

impl Cloud {
    /// A request of *ada*'s that can be sent again.
    pub fn kept(&mut self, command: impl Into<Command>) -> Request {
        self.request(person("ada"), Some(self.tenant), command)
    }

    pub fn again(&mut self, request: &Request) -> Answer {
        let expires = self.now + TimeDelta::seconds(60);
        self.send(&Request { expires, ..request.clone() }, Origin::Commands)
    }

    fn seq(&self) -> u64 {
        self.chain.log.len() as u64
    }
}

#[track_caller]
fn is_repeated(answer: &Answer, of: u64) {
    assert_eq!(answer.events, [Event::Command(CommandEvent::Repeated { of })]);
}

#[test]
fn a_create_sent_five_times_is_one_resource_and_five_times_the_first_answer() {
    let mut cloud = Cloud::open();
    let request = cloud.kept(cloud.order("server"));
    cloud.again(&request).is("resource.requested");
    let first = cloud.seq();
    for _ in 0..4 {
        is_repeated(&cloud.again(&request), first);
    }
    assert_eq!(cloud.acme().resources.len(), 1);
}

#[test]
fn the_same_key_with_another_request_is_refused_and_stays_the_firsts() {
    let mut cloud = Cloud::open();
    let request = cloud.kept(cloud.order("server"));
    cloud.again(&request).accepted();
    let first = cloud.seq();
    let other = Request { fingerprint: 99, ..request.clone() };
    cloud.again(&other).refused_with(Refusal::KeyReused);
    is_repeated(&cloud.again(&request), first);
}

#[test]
fn a_refusal_that_stands_is_repeated_and_one_worth_retrying_frees_the_key() {
    let mut cloud = Cloud::open();
    let stands = cloud.kept(cloud.order("server").in_no_zone());
    cloud.again(&stands).is("refused: zone_mismatch");
    let first = cloud.seq();
    is_repeated(&cloud.again(&stands), first);

    let limit = |n| Command::SetTenantQuota { limits: limits([("servers", Limit::At(n))]), cell_default: changes([]) };
    cloud.asks("olga", limit(0)).accepted();
    let full = cloud.kept(cloud.order("server"));
    cloud.again(&full).is("refused: quota_exceeded");
    cloud.again(&full).is("refused: quota_exceeded");
    cloud.asks("olga", limit(1)).accepted();
    cloud.again(&full).is("resource.requested");
}

#[test]
fn what_came_too_late_is_expired_and_can_be_sent_again() {
    let mut cloud = Cloud::open();
    let request = cloud.kept(cloud.order("server"));
    cloud.waits(61);
    cloud.send(&request, Origin::Commands).is("command.expired");
    cloud.again(&request).is("resource.requested");
    let first = cloud.seq();
    // Once decided it is not too late to hear the answer.
    cloud.waits(61);
    is_repeated(&cloud.send(&request, Origin::Commands), first);
}

#[test]
fn what_created_something_is_found_for_ever_and_the_rest_for_thirty_days_of_the_chain() {
    let mut cloud = Cloud::open();
    let created = cloud.kept(cloud.order("server"));
    let id = cloud.again(&created).resource();
    let created_seq = cloud.seq();
    cloud.done(id).accepted();
    let made_cell = cloud.kept(cell("d"));
    cloud.again(&made_cell).is("cell.created");
    let cell_seq = cloud.seq();
    let stopped = cloud.kept(act(id, Action::Stop));
    cloud.again(&stopped).is("resource.stop_requested");
    let stopped_seq = cloud.seq();
    cloud.done(id).accepted();

    cloud.waits(30 * 86_400);
    is_repeated(&cloud.again(&stopped), stopped_seq);
    cloud.waits(1);
    cloud.ada(cell("e")).accepted();
    cloud.again(&stopped).is("command.nothing_to_do");
    cloud.removes(id);
    cloud.waits(10 * 365 * 86_400);
    is_repeated(&cloud.again(&created), created_seq);
    is_repeated(&cloud.again(&made_cell), cell_seq);
}

#[test]
fn what_is_gone_is_found_for_ever_though_the_fold_has_shed_it() {
    let mut cloud = Cloud::open();
    let orders: Vec<Request> = (0..3).map(|_| cloud.kept(cloud.order("server"))).collect();
    let seqs: Vec<u64> = orders
        .iter()
        .map(|order| {
            cloud.again(order).accepted();
            cloud.seq()
        })
        .collect();
    for order in &orders {
        cloud.done(order.id.into()).accepted();
        cloud.removes(order.id.into());
    }
    let (_, gone) = cloud.chain.state.gone();
    cloud.tombstones = Kept(gone.collect());
    cloud.chain.state.shed(3, 2);
    assert_eq!((cloud.chain.state.gone().0, cloud.chain.state.gone().1.count()), (2, 1));
    cloud.chain.state.shed(3, 2);
    assert_eq!((cloud.chain.state.gone().0, cloud.chain.state.gone().1.count()), (3, 0));

    for (order, seq) in orders.iter().zip(seqs) {
        is_repeated(&cloud.again(order), seq);
        cloud.again(&Request { fingerprint: 99, ..order.clone() }).refused_with(Refusal::KeyReused);
    }
    let another = cloud.kept(cloud.order("server"));
    cloud.again(&another).is("resource.requested");
}

#[test]
fn advice_is_the_same_decision_without_memory() {
    let mut cloud = Cloud::open();
    let request = cloud.kept(cloud.order("server"));
    let advice = |cloud: &Cloud| {
        let facts = domain::tenant::Facts { now: cloud.now, platform: &cloud.platform.state.platform, stale: cloud.stale, tombstones: &() };
        cloud.chain.state.decide(&request, Origin::Commands, facts)
    };
    let before = advice(&cloud).unwrap();
    assert_eq!(cloud.again(&request).events, before);
}

#[test]
fn a_refusal_keeps_the_body_that_was_asked_for_up_to_8_kib() {
    let mut cloud = Cloud::open();
    for (length, kept) in [(10, true), (9000, false)] {
        let answer = cloud.ada(cloud.order("server").named(&"n".repeat(length)).in_no_zone());
        let [Event::Command(CommandEvent::Refused { body, .. })] = &answer.events[..] else { unreachable!() };
        assert_eq!(body.is_some(), kept);
    }
}

#[test]
fn a_snapshot_reads_back_as_the_same_state() {
    let mut cloud = Cloud::open();
    let server = cloud.server();
    cloud.volume_on(server);
    cloud.ada(cloud.order("server").named("x").subscribed("sub-1")).accepted();
    for chain in [&cloud.chain, &cloud.platform] {
        let text = serde_json::to_string(&chain.state).unwrap();
        let back: domain::partition::Partition = serde_json::from_str(&text).unwrap();
        assert!(back == chain.state);
        assert_eq!(serde_json::to_string(&back).unwrap(), text, "in one order on every machine");
    }
}
