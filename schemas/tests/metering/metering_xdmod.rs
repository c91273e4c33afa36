//! Open XDMoD's account of a production cloud, by day, made again from the cloud's notifications.

use crate::data;
use chrono::{NaiveDate, TimeDelta};
use domain::{
    Timestamp,
    metering::openstack::{Session, sessions},
};
use schemas::notification;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Sessions of the cloud, and the names of its projects.
fn cloud() -> (Vec<Session>, BTreeMap<String, String>) {
    let (mut told, mut names) = (Vec::new(), BTreeMap::new());
    for file in ["xdmod_openstack_events_2018-04.json.gz", "xdmod_openstack_error_sessions_2018-04-18.json.gz"] {
        let events: Vec<Value> = serde_json::from_str(&data(file)).unwrap();
        for event in &events {
            if let Some(notification) = notification::decode(event).unwrap() {
                names.insert(notification.project.clone(), event["project_name"].as_str().unwrap().to_owned());
                told.push(notification);
            }
        }
    }
    let until = "2018-05-01T00:00:00Z".parse().unwrap();
    (sessions(&told, &BTreeSet::new(), until), names)
}

/// What was there on a day, in seconds.
struct Day {
    begin: Timestamp,
}

impl Day {
    fn of(day: &str) -> Self {
        Self { begin: day.parse::<NaiveDate>().unwrap().and_time(chrono::NaiveTime::MIN).and_utc() }
    }

    fn seconds(&self, session: &Session) -> i64 {
        (session.end.min(self.begin + TimeDelta::days(1)) - session.start.max(self.begin)).num_seconds().max(0)
    }

    fn has(&self, time: Timestamp) -> bool {
        self.begin <= time && time < self.begin + TimeDelta::days(1)
    }
}

/// `numerator / denominator` to four decimals, half up, as SQL does.
fn four_decimals(numerator: i128, denominator: i128) -> String {
    let scaled = if denominator == 0 { 0 } else { (2 * numerator * 10_000 + denominator) / (2 * denominator) };
    plain(&format!("{}.{:04}", scaled / 10_000, scaled % 10_000)).to_owned()
}

/// Without zeros at the end of the decimals.
fn plain(number: &str) -> &str {
    if number.contains('.') { number.trim_end_matches('0').trim_end_matches('.') } else { number }
}

fn value(statistic: &str, sessions: &[&Session], day: &Day) -> Option<String> {
    let weighted =
        |amount: &dyn Fn(&Session) -> u64| -> i128 { sessions.iter().map(|s| i128::from(day.seconds(s)) * i128::from(amount(s))).sum() };
    let wall = weighted(&|_| 1);
    let count = |counts: &dyn Fn(&Session) -> bool| Some(sessions.iter().filter(|s| s.active && counts(s)).count().to_string());
    match statistic {
        "cloud_wall_time" => Some(four_decimals(wall, 3600)),
        "cloud_core_time" => Some(four_decimals(weighted(&|s| s.size.vcpus), 3600)),
        "cloud_num_sessions_started" => count(&|s| day.has(s.start)),
        "cloud_num_sessions_ended" => count(&|s| day.has(s.end)),
        "cloud_num_sessions_running" => count(&|s| day.seconds(s) > 0),
        "cloud_avg_cores_reserved" => Some(four_decimals(weighted(&|s| s.size.vcpus), wall)),
        "cloud_avg_memory_reserved" => Some(four_decimals(weighted(&|s| s.size.memory_mib << 20), wall)),
        "cloud_avg_rv_storage_reserved" => Some(four_decimals(weighted(&|s| s.size.root_gib << 30), wall)),
        // People and utilization need what no notification says; wall hours per session follow from two of these.
        _ => None,
    }
}

/// First and last of a class of sizes as XDMoD names it: `1`, `2 - 3`, `< 2 GB`, `4 - 8 GB`.
fn class(name: &str) -> (u64, u64) {
    let name = name.trim_end_matches(" GB");
    let bound = |text: &str| text.trim().parse::<u64>().unwrap();
    match (name.strip_prefix('<'), name.split_once('-')) {
        (Some(last), _) => (0, bound(last)),
        (None, Some((first, last))) => (bound(first), bound(last)),
        (None, None) => (bound(name), bound(name)),
    }
}

#[test]
fn metering_a_real_cloud_from_its_notifications_gives_what_open_xdmod_computed() {
    let (sessions, projects) = cloud();
    let table = data("xdmod_cloud_expected_metering_to_2018-04-23.csv.gz");
    let (mut compared, mut wrong) = (BTreeMap::<String, usize>::new(), Vec::new());
    for row in csv::Reader::from_reader(table.as_bytes()).deserialize::<BTreeMap<String, String>>() {
        let row = row.unwrap();
        let name = row["dimension"].strip_prefix('[').and_then(|d| d.split_once(']')).unwrap().0;
        let of: Box<dyn Fn(&Session) -> bool> = match row["group_by"].as_str() {
            "none" | "domain" | "provider" | "resource" => Box::new(|_| true),
            "configuration" => Box::new(|s| s.size.flavor == name),
            "instance_state" => Box::new(|s| s.active == (name == "Active")),
            "project" => Box::new(|s| projects[&s.project] == name),
            "vm_size" => Box::new(|s| (class(name).0..=class(name).1).contains(&s.size.vcpus)),
            // A class of memory holds the size by which it ends, whatever its name says.
            "vm_size_memory" => Box::new(|s| s.size.memory_mib > class(name).0 * 1024 && s.size.memory_mib <= class(name).1 * 1024),
            // By people and fields of science, which XDMoD adds from a directory of its own.
            _ => continue,
        };
        let sessions: Vec<&Session> = sessions.iter().filter(|s| of(s)).collect();
        let Some(ours) = value(&row["statistic"], &sessions, &Day::of(&row["period"])) else { continue };
        *compared.entry(row["statistic"].clone()).or_default() += 1;
        if ours != plain(&row["value"]) {
            wrong.push(format!("{} {} {} {}: {ours}, not {}", row["group_by"], row["statistic"], row["period"], name, row["value"]));
        }
    }
    let cells: usize = compared.values().sum();
    assert!(wrong.is_empty(), "{} of {cells} cells:\n{}", wrong.len(), wrong.join("\n"));
    // Hours and sessions: 5 statistics, and 3 averages, by 126 each.
    assert_eq!((compared.len(), cells), (8, 8 * 126));
}

#[test]
fn metering_in_whole_seconds_leaves_no_session_that_overlaps_another_of_its_instance() {
    let (sessions, _) = cloud();
    let mut last: BTreeMap<&str, Timestamp> = BTreeMap::new();
    for session in &sessions {
        let before = last.insert(&session.instance, session.end);
        assert!(before.is_none_or(|end| end <= session.start) && session.start <= session.end, "{session:?}");
    }
    assert_eq!(last.len(), sessions.iter().map(|s| &s.instance).collect::<BTreeSet<_>>().len());
}
