//! What the API says about itself: positions, ids of requests, and what lies on the topics.

use crate::cloud::{cloud, network};
use journal::{
    inbox::{Capacity, Inbox},
    kafka::{KafkaLog, KafkaSettings},
    log::{Log, ReadFrom, Source, What},
};
use reqwest::{Method, StatusCode};
use serde_json::json;
use std::time::{Duration, Instant};
use tests::servers::Kafka;

/// The values of all records of a partition, joined.
pub fn everything_on(topic: &str, partition: u32) -> String {
    let settings = KafkaSettings::plaintext(Kafka::shared().bootstrap());
    let log = KafkaLog::new(&settings, topic, cloud().journal.all_partitions()).unwrap();
    let high = log.watermarks(partition).unwrap().high;
    let inbox = Inbox::new(Capacity::default(), 1);
    let consumer = log.open_consumer(Source(0), &inbox).unwrap();
    consumer.assign(partition, ReadFrom::Beginning);
    let (mut text, mut next, deadline) = (String::new(), 0, Instant::now() + Duration::from_secs(30));
    while next < high {
        assert!(Instant::now() < deadline, "read to {next} of {high} in {topic}");
        for arrival in inbox.receive(0, 1_000, Duration::from_millis(100)) {
            if let What::Stored(record) = arrival.what {
                next = record.offset + 1;
                text.push_str(&String::from_utf8_lossy(&record.value));
            }
        }
    }
    text
}

#[test]
fn a_position_that_was_never_issued_is_refused_and_one_not_reached_is_waited_for() {
    cloud().run(async {
        let acme = cloud().acme().await;
        let forged = cloud().get(&acme.admin, &acme.path()).header("Cirrus-At-Least", "AQEAAA").answer().await;
        assert_eq!((forged.status, forged.problem()), (StatusCode::BAD_REQUEST, "invalid-position-token"));

        let mut answers = Vec::new();
        for n in 0..3 {
            answers.push(cloud().post(&acme.admin, &acme.resources(), network(&format!("n-{n}"))).fresh().answer().await.ok());
        }
        let tokens: Vec<&str> = answers.iter().map(|answer| answer.position()).collect();
        let other = cloud().ask_at(1, &acme.admin, Method::GET, &acme.resources()).header("Cirrus-At-Least", &tokens.join(", "));
        assert_eq!(other.answer().await.ok().body["items"].as_array().unwrap().len(), 3);
    });
}

#[test]
fn a_request_is_found_by_its_id_and_its_trace_on_the_journal() {
    cloud().run(async {
        let acme = cloud().acme().await;
        let (id, trace) = ("0d5f6d0c-0000-4000-8000-00000000abcd", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
        let order = cloud().post(&acme.admin, &acme.resources(), network("traced")).header("X-Request-Id", id).header("traceparent", trace);

        let ordered = order.fresh().answer().await.ok();

        assert_eq!(ordered.header("x-request-id"), id);
        let partition = cloud().journal.partition_of(Some(acme.tenant.parse().unwrap()));
        let journal = everything_on(&cloud().journal.events(), partition);
        assert!(journal.contains(&format!("\"request\":\"{id}.")) && journal.contains(trace));
        let missing = cloud().get(&acme.admin, "/v1/nowhere").header("X-Request-Id", id).answer().await;
        assert_eq!(missing.body["instance"], json!(format!("urn:uuid:{id}")));
    });
}

#[test]
fn the_history_of_a_resource_tells_who_did_what() {
    cloud().run(async {
        let acme = cloud().acme().await;
        let ordered = cloud().post(&acme.admin, &acme.resources(), network("told")).fresh().answer().await.ok();
        let path = ordered.header("location").to_owned();
        let renamed = cloud().ask(&acme.admin, Method::PATCH, &path).json(json!({ "name": "again" })).fresh().answer().await.ok();
        let deleted = cloud().ask(&acme.admin, Method::DELETE, &path).fresh().answer().await.ok();
        assert_eq!((&deleted.body["phase"], &renamed.body["generation"]), (&json!("deleting"), &json!(2)));

        let history = cloud().get(&acme.admin, &format!("{path}/history?limit=2")).at_least(&deleted).answer().await.ok();

        let types: Vec<&str> =
            history.body["items"].as_array().unwrap().iter().map(|item| item["event"]["type"].as_str().unwrap()).collect();
        assert_eq!(types, ["resource.delete_requested", "resource.renamed"]);
        assert_eq!(history.body["items"][0]["actor"]["principal"]["subject"], acme.admin);
        let next = history.body["next"].as_str().unwrap();
        let rest = cloud().get(&acme.admin, &format!("{path}/history?limit=2&page={next}")).answer().await.ok();
        assert_eq!(rest.body["items"][0]["event"]["type"], "resource.requested");
        assert!(rest.body.get("next").is_none());
    });
}
