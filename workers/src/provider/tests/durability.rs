//! What outlives the process.

use std::{fs, path::Path};

use super::*;

fn open(directory: &Path, latencies: Latencies) -> Result<Simulator, StoreError> {
    Simulator::open(directory, false, latencies, 7)
}

/// A call at a time of the test's choosing; over HTTP the time would be the clock's.
fn call(simulator: &Simulator, request: &Request, now: DateTime<Utc>) -> Answer {
    simulator.with(|cloud, _, rng| cloud.handle("worker-1", request, now, rng)).unwrap()
}

fn create_request(name: &str) -> Request {
    Request::Create { zone: ZONE.to_owned(), kind: "server".to_owned(), new: named(name) }
}

fn seen(simulator: &Simulator, now: DateTime<Utc>) -> Vec<(String, Status)> {
    let page = simulator.with(|cloud, _, _| cloud.inventory(&Filter::default(), 100, None, now)).unwrap();
    page.objects.into_iter().map(|object| (object.name, object.status)).collect()
}

#[test]
fn a_build_goes_on_after_a_restart_and_ends_when_it_would_have() {
    let directory = tempfile::tempdir().unwrap();
    let simulator = open(directory.path(), even_durations()).unwrap();
    call(&simulator, &create_request("web"), morning());
    drop(simulator);

    let simulator = open(directory.path(), even_durations()).unwrap();
    assert_eq!(seen(&simulator, after(9)), [("web".to_owned(), Status::Build)]);
    drop(simulator);
    let simulator = open(directory.path(), even_durations()).unwrap();
    assert_eq!(seen(&simulator, after(11)), [("web".to_owned(), Status::Active)]);
}

#[test]
fn wherever_the_last_line_is_torn_everything_before_it_is_there() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("provider.jsonl");
    let simulator = open(directory.path(), Latencies::none()).unwrap();
    call(&simulator, &create_request("kept"), morning());
    let whole = fs::read(&file).unwrap();
    call(&simulator, &create_request("torn"), morning());
    let longer = fs::read(&file).unwrap();
    drop(simulator);
    assert_eq!(longer[..whole.len()], whole, "history is only appended to");

    for length in whole.len()..longer.len() {
        fs::write(&file, &longer[..length]).unwrap();
        let simulator = open(directory.path(), Latencies::none()).unwrap();
        assert_eq!(seen(&simulator, morning()), [("kept".to_owned(), Status::Active)], "torn after {length} bytes");
        call(&simulator, &create_request("next"), morning());
        drop(simulator);
        let simulator = open(directory.path(), Latencies::none()).unwrap();
        assert_eq!(seen(&simulator, morning()).len(), 2, "what is appended after a torn line is not lost with it");
    }
}

#[test]
fn a_damaged_line_in_the_middle_is_refused_with_its_number() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("provider.jsonl");
    fs::write(&file, "[]\n[{\"gone\":\n[]\n").unwrap();
    let error = open(directory.path(), Latencies::none()).unwrap_err().to_string();
    assert!(error.starts_with(&format!("line 2 of {} is damaged: ", file.display())), "{error}");
}

#[test]
fn two_processes_cannot_share_a_state() {
    let directory = tempfile::tempdir().unwrap();
    let first = open(directory.path(), Latencies::none()).unwrap();
    assert!(matches!(open(directory.path(), Latencies::none()), Err(StoreError::InUse(_))));
    drop(first);
    assert!(open(directory.path(), Latencies::none()).is_ok());
}

#[test]
fn rules_journal_and_counts_outlive_the_process_and_the_history_of_objects_does_not() {
    let directory = tempfile::tempdir().unwrap();
    let simulator = open(directory.path(), Latencies::none()).unwrap();
    let rule = Rule::new(Behaviour::ErrorAfterDoing).named("bad").times(5);
    simulator.with(|cloud, _, _| cloud.set_rules(vec![rule.clone()], morning())).unwrap();
    call(&simulator, &create_request("bad"), morning());
    let id = simulator.with(|cloud, _, _| cloud.inventory(&Filter::default(), 1, None, morning())).unwrap().objects[0].id.clone();
    let address = Address { zone: ZONE.to_owned(), kind: "server".to_owned(), id };
    for round in 0..100 {
        let vcpus = json!({ "vcpus": round }).as_object().unwrap().clone();
        let change = Request::Change { address: address.clone(), properties: vcpus };
        call(&simulator, &change, morning());
    }
    let report = simulator.with(|cloud, _, _| cloud.calls(&CallQuery::default())).unwrap();
    let length = fs::metadata(directory.path().join("provider.jsonl")).unwrap().len();
    drop(simulator);

    let simulator = open(directory.path(), Latencies::none()).unwrap();
    assert!(fs::metadata(directory.path().join("provider.jsonl")).unwrap().len() < length / 2);
    assert_eq!(simulator.with(|cloud, _, _| cloud.calls(&CallQuery::default())).unwrap(), report);
    assert_eq!((report.counts["server.create"], report.counts["server.change"]), (1, 100));
    assert_eq!(simulator.with(|cloud, _, _| cloud.rules().to_vec()).unwrap(), [Rule { count: Some(0), ..rule }]);
}

#[test]
fn ids_are_not_given_again_after_a_restart_with_the_same_seed() {
    let directory = tempfile::tempdir().unwrap();
    let mut ids = std::collections::BTreeSet::new();
    for round in 0..20 {
        let simulator = open(directory.path(), Latencies::none()).unwrap();
        call(&simulator, &create_request("web"), after(round));
        let page = simulator.with(|cloud, _, _| cloud.inventory(&Filter::default(), 100, None, after(round))).unwrap();
        let newest = page.objects.last().unwrap().id.clone();
        assert!(ids.insert(newest.clone()));
        if round % 2 == 0 {
            assert!(simulator.with(|cloud, _, _| cloud.vanish(&newest, after(round))).unwrap());
        }
    }
}
