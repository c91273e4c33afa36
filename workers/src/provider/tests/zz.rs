use super::*;
use futures::StreamExt;
use std::time::Instant;

#[tokio::test]
async fn speed() {
    let directory = tempfile::tempdir().unwrap();
    let simulator = Simulator::open(directory.path(), false, Latencies::none(), 7).unwrap();
    let t = Instant::now();
    for n in 0..100_000 {
        let new = Request::Create { zone: ZONE.to_owned(), kind: "server".to_owned(), new: named(&format!("cirrus-{n}")) };
        simulator.with(|cloud, now, rng| cloud.handle("w", &new, now, rng)).unwrap();
    }
    println!("100k creates {:?}, file {}", t.elapsed(), std::fs::metadata(directory.path().join("provider.jsonl")).unwrap().len());
    drop(simulator);
    let t = Instant::now();
    let simulator = Simulator::open(directory.path(), false, Latencies::none(), 7).unwrap();
    println!("reopen {:?} file {}", t.elapsed(), std::fs::metadata(directory.path().join("provider.jsonl")).unwrap().len());
    println!(
        "{}",
        std::fs::read_to_string("/proc/self/status")
            .unwrap()
            .lines()
            .filter(|l| l.starts_with("VmRSS") || l.starts_with("VmHWM"))
            .collect::<Vec<_>>()
            .join(" ")
    );
    let served = serve(simulator).await;
    let t = Instant::now();
    let done: usize = futures::stream::iter(0..16_000)
        .map(|n| {
            let c = served.client.clone();
            async move { usize::from(c.create(ZONE, "server", named(&format!("trace-{n}")), late()).await.done().is_some()) }
        })
        .buffer_unordered(32)
        .fold(0, |a, b| async move { a + b })
        .await;
    println!("{done} creates over HTTP {:?}", t.elapsed());
    let t = Instant::now();
    let done: usize = futures::stream::iter(0..16_000)
        .map(|n| {
            let c = served.client.clone();
            async move { c.find(ZONE, Filter::by_name(format!("trace-{n}")), late()).await.done().unwrap().len() }
        })
        .buffer_unordered(32)
        .fold(0, |a, b| async move { a + b })
        .await;
    println!("{done} finds over HTTP {:?}", t.elapsed());
    let t = Instant::now();
    println!("{} listed {:?}", served.client.find(ZONE, Filter::default(), late()).await.done().unwrap().len(), t.elapsed());
}
