//! Lists: every filter, and walks that miss nothing.

use super::database::shown;
use domain::{
    Labels,
    command::Command,
    id::{CellId, ResourceId, TenantId},
    tenant::Clock,
};
use projections::resources::{Filter, InCell, Named, Order, ResourceRow};
use std::collections::BTreeSet;
use tests::cloud::Cloud;

struct Shop {
    cloud: Cloud,
    tenant: TenantId,
    cell: CellId,
}

/// Servers `web-0` to `web-4` in a cell, even ones labelled; a network `net` at the tenant; a volume `data`.
fn shop() -> Shop {
    let mut cloud = Cloud::new();
    let tenant = cloud.open_tenant("shop", Clock::Journal);
    let neighbour = cloud.open_tenant("neighbour", Clock::Journal);
    let cell = cloud.create_cell(tenant, "cell");
    cloud.ask(neighbour, Cloud::network("theirs", None));
    for n in [3, 1, 4, 0, 2] {
        let Command::CreateResource { kind, zone, spec, .. } = Cloud::server("", None) else { unreachable!() };
        let labels: Labels =
            if n % 2 == 0 { [("parity".to_owned(), "even".to_owned()), ("n".to_owned(), n.to_string())].into() } else { [].into() };
        let name = format!("web-{n}");
        let order =
            Command::CreateResource { cell: Some(cell), kind, version: 1, name, zone, labels, subscriber: None, flavor: None, spec };
        let server: ResourceId = cloud.ask(tenant, order).created();
        if n == 4 {
            cloud.finish(tenant, server);
        }
    }
    cloud.ask(tenant, Cloud::network("net", None));
    cloud.ask(tenant, Cloud::volume("data", Some(cell)));
    Shop { cloud, tenant, cell }
}

fn names(rows: &[ResourceRow]) -> Vec<&str> {
    rows.iter().map(|row| row.name.as_str()).collect()
}

#[tokio::test]
async fn each_filter_shows_what_it_says_and_nothing_of_another_tenant() {
    let Shop { cloud, tenant, cell } = shop();
    let shows = shown(&cloud).await;
    let snapshot = shows.snapshot().await;
    let created = ["web-3", "web-1", "web-4", "web-0", "web-2", "net", "data"];
    let even = || [("parity".to_owned(), "even".to_owned())].into();
    let cases: [(Filter, &[&str]); 11] = [
        (Filter::default(), &created),
        (Filter { kind: Some("server".parse().unwrap()), ..Filter::default() }, &created[..5]),
        (Filter { phase: Some("active".into()), ..Filter::default() }, &["web-4"]),
        (Filter { cell: Some(InCell::Tenant), ..Filter::default() }, &["net"]),
        (Filter { cell: Some(InCell::Of(cell)), kind: Some("volume".parse().unwrap()), ..Filter::default() }, &["data"]),
        (Filter { zone: Some("north-b".parse().unwrap()), ..Filter::default() }, &[]),
        (Filter { labels: even(), ..Filter::default() }, &["web-4", "web-0", "web-2"]),
        (Filter { labels: even(), phase: Some("creating".into()), ..Filter::default() }, &["web-0", "web-2"]),
        (Filter { name: Some(Named::Is("web-1".into())), ..Filter::default() }, &["web-1"]),
        (Filter { name: Some(Named::StartsWith("web-".into())), ..Filter::default() }, &created[..5]),
        (Filter { visible: Some(vec![]), ..Filter::default() }, &[]),
    ];
    for (filter, expected) in cases {
        let rows = snapshot.resources(tenant, &filter, &Order::Creation(None), 100).await.unwrap();
        assert_eq!(names(&rows), expected, "{filter:?}");
    }
    let by_name = snapshot.resources(tenant, &Filter::default(), &Order::Name(None), 100).await.unwrap();
    assert_eq!(names(&by_name), ["data", "net", "web-0", "web-1", "web-2", "web-3", "web-4"]);
}

#[tokio::test]
async fn what_matches_during_the_whole_walk_appears_exactly_once() {
    let Shop { mut cloud, tenant, .. } = shop();
    let mut shows = shown(&cloud).await;
    let mut seen = Vec::new();
    let mut after = None;
    for round in 0.. {
        let page = shows.snapshot().await.resources(tenant, &Filter::default(), &Order::Creation(after), 2).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.by_creation());
        seen.extend(page.iter().map(|row| row.id));
        // The world goes on between the pages: what was seen is renamed, and something new is ordered.
        let change = Command::ChangeResource {
            resource: page[0].id,
            if_generation: None,
            name: Some(format!("aaa-{round}")),
            labels: None,
            spec: None,
            version: 1,
        };
        cloud.ask(tenant, change);
        if round < 2 {
            cloud.ask(tenant, Cloud::network(&format!("new-{round}"), None));
        }
        shows.follow(&cloud).await;
    }
    let ids: BTreeSet<ResourceId> = seen.iter().copied().collect();
    assert_eq!((seen.len(), ids.len()), (9, 9));

    let mut by_name = Vec::new();
    let mut after = None;
    loop {
        let page = shows.snapshot().await.resources(tenant, &Filter::default(), &Order::Name(after), 4).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.by_name());
        by_name.extend(page.into_iter().map(|row| row.name));
    }
    assert_eq!(by_name.len(), 9);
    assert!(by_name.is_sorted());
}
