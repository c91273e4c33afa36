//! Logs to be read: decided by the domain, chained by the rule, in memory.

use domain::{
    command::Command,
    id::{CellId, ResourceId, TenantId},
    tenant::Clock,
};
use journal::{log::Stored, twin::Twin};
use replay::source::Source;
use tests::cloud::Cloud;

/// Resources of one tenant.
const OF_A_TENANT: usize = 500;

/// A log on which so many servers were ordered and made, in tenants of [`OF_A_TENANT`], all in one partition.
pub fn of_servers(servers: usize) -> Source {
    let mut cloud = Cloud::with_partitions(1);
    each_server(&mut cloud, servers, |cloud, _, _| cloud.records.clear());
    source(&cloud)
}

/// The same, and each server deleted again.
pub fn of_gone_servers(servers: usize) -> Source {
    let mut cloud = Cloud::with_partitions(1);
    each_server(&mut cloud, servers, |cloud, tenant, resource| {
        cloud.ask(tenant, Command::DeleteResource { resource, if_generation: None });
        cloud.finish(tenant, resource);
        cloud.records.clear();
    });
    source(&cloud)
}

/// Orders servers and reports each as made at once, so that a batch that holds the order mostly holds the report, too.
pub fn each_server(cloud: &mut Cloud, servers: usize, mut then: impl FnMut(&mut Cloud, TenantId, ResourceId)) {
    for first in (0..servers).step_by(OF_A_TENANT) {
        let tenant = cloud.open_tenant(&format!("tenant-{first}"), Clock::Journal);
        let cell = cloud.create_cell(tenant, "cell");
        for number in first..servers.min(first + OF_A_TENANT) {
            let server = order(cloud, tenant, cell, number);
            then(cloud, tenant, server);
        }
    }
}

/// Orders a server, every second one in the other zone, and reports it as made.
pub fn order(cloud: &mut Cloud, tenant: TenantId, cell: CellId, number: usize) -> ResourceId {
    let mut order = Cloud::server(&format!("server-{number}"), Some(cell));
    if let Command::CreateResource { zone, .. } = &mut order
        && number % 2 == 1
    {
        *zone = Some("north-b".parse().expect("a zone's name"));
    }
    let server = cloud.ask(tenant, order).created();
    cloud.finish(tenant, server);
    server
}

/// The records of each partition.
pub fn records(source: &Source) -> anyhow::Result<Vec<Vec<Stored>>> {
    let mut records = vec![Vec::new(); source.journal().all_partitions() as usize];
    source.read(|partition, stored| {
        records[partition as usize].push(stored.clone());
        Ok(())
    })?;
    Ok(records)
}

fn source(cloud: &Cloud) -> Source {
    let log: Twin = cloud.twin.clone();
    Source::Broker { log: Box::new(log), journal: cloud.journal }
}
