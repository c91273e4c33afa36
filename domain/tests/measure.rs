//! Temporary measurement.
#![allow(missing_docs, clippy::unwrap_used, clippy::disallowed_methods)]
#[path = "stories/catalogue.rs"]
mod catalogue;
#[path = "stories/cloud.rs"]
#[allow(dead_code)]
mod cloud;
use cloud::*;
use domain::{command::*, event::Event, partition::*, people::Actor, resource::ResourceEvent, tenant::Facts};

fn rss() -> usize {
    std::fs::read_to_string("/proc/self/statm").unwrap().split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

#[test]
fn measure() {
    const N: usize = 100_000;
    let mut cloud = Cloud::open();
    let mut state = cloud.chain.state.clone();
    let platform = cloud.platform.state.platform.clone();
    let before = rss();
    let (mut t_handle, mut t_apply) = (std::time::Duration::ZERO, std::time::Duration::ZERO);
    let now = cloud.now;
    let facts = Facts { now, platform: &platform, stale: false };
    let mut seq = 100;
    let mut ids = vec![];
    for n in 0..N * 2 {
        let (request, origin) = if n < N {
            let spec = serde_json::json!({"vcpus": 2, "memory_mib": 4096, "flavor":"m1", "image":"debian-12", "key":"k-1"});
            let order = cloud.order("server").spec(spec).named(&format!("vm-{n}")).subscribed("s-1");
            (cloud.request(person("ada"), Some(cloud.tenant), order), Origin::Commands)
        } else {
            let id: domain::id::ResourceId = ids[n - N];
            let intent = domain::id::IntentId(id.0);
            let c = Command::ReportDone { resource: id, intent, external: Some("x".into()), kind: kind("server"), zone: None };
            (cloud.request(Actor::Service("w".into()), Some(cloud.tenant), c), Origin::Reports)
        };
        let t = std::time::Instant::now();
        let events = state.handle(&request, origin, facts);
        t_handle += t.elapsed();
        let events: Vec<Event> = events
            .into_iter()
            .map(|e| match e {
                Event::Resource { tenant, resource, event } => Event::Resource {
                    tenant,
                    resource,
                    event: serde_json::from_str::<ResourceEvent>(&serde_json::to_string(&event).unwrap()).unwrap(),
                },
                e => panic!("{e:?}"),
            })
            .collect();
        if n < N {
            ids.push(request.id.into());
        }
        seq += 1;
        let t = std::time::Instant::now();
        state.apply(Committed { seq, time: now, command: Some((request.id, 7)), events: &events }).unwrap();
        t_apply += t.elapsed();
        if n == N - 1 || n == 2 * N - 1 {
            println!(
                "{n}: rss/resource {} B, handle {:?}, apply {:?}",
                (rss() - before) / N,
                t_handle / n as u32,
                t_apply / n as u32
            );
        }
    }
    let clone = state.clone();
    let t = std::time::Instant::now();
    drop(state);
    println!("drop {:?}, sizes: Resource {} Step {}", t.elapsed(), size_of::<domain::resource::Resource>(), size_of::<domain::resource::Step>());
    let t = std::time::Instant::now();
    let text = serde_json::to_vec(&clone).unwrap();
    println!("snapshot {} B a resource in {:?}", text.len() / N, t.elapsed());
}
