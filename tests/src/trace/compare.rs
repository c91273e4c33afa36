//! The comparison at the end: what the platform shows against what `dev/trace-expect` computes from the table alone.

use super::{client::Client, play::Tenant};
use anyhow::{Context, bail, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::Value;
use std::{
    fmt,
    iter::Sum,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

/// Longest that the workers may take to finish what is under way when the last command is acknowledged.
const SETTLED_WITHIN: Duration = Duration::from_secs(600);
/// Between two questions whether they have.
const ASK_AGAIN: Duration = Duration::from_millis(500);
/// Tenants that are read at once.
const AT_ONCE: usize = 8;

/// Machines alive and what they use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Use {
    /// Machines.
    pub machines: u64,
    /// Their virtual processors.
    pub vcpus: u64,
    /// Their memory in MiB.
    pub memory_mib: u64,
}

impl Sum for Use {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |a, b| Self {
            machines: a.machines + b.machines,
            vcpus: a.vcpus + b.vcpus,
            memory_mib: a.memory_mib + b.memory_mib,
        })
    }
}

impl fmt::Display for Use {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} machines, {} vCPUs, {} MiB", self.machines, self.vcpus, self.memory_mib)
    }
}

/// What the platform shows of a tenant, by two read models.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shown {
    /// Its quota in use.
    pub quota: Use,
    /// Its list of resources, but for those that are deleted or being deleted, and their claims.
    pub list: Use,
}

/// What has to be there at second `stop_s`: each tenant, and all.
///
/// # Errors
/// When the oracle cannot be run or says something else than figures of so many tenants.
pub fn expect(oracle: &Path, table: &Path, stop_s: u64, tenants: usize) -> anyhow::Result<(Vec<Use>, Use)> {
    let output = Command::new(oracle).arg(table).arg(stop_s.to_string()).arg(tenants.to_string()).output();
    let output = output.with_context(|| format!("cannot run {}", oracle.display()))?;
    ensure!(output.status.success(), "{}: {}: {}", oracle.display(), output.status, String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout)?;
    let mut lines = text.lines().collect::<Vec<_>>();
    let all = lines.pop().and_then(|line| line.strip_prefix("all ")).context("the last line is not that of all tenants")?;
    ensure!(lines.len() == tenants, "{} has figures of {} tenants, not {tenants}", oracle.display(), lines.len());
    let each = lines.iter().enumerate().map(|(number, line)| {
        let figures = line.strip_prefix(&format!("{number} ")).with_context(|| format!("not the line of tenant {number}: {line}"))?;
        parse(figures)
    });
    Ok((each.collect::<anyhow::Result<_>>()?, parse(all)?))
}

fn parse(figures: &str) -> anyhow::Result<Use> {
    let numbers: Vec<u64> =
        figures.split(' ').map(str::parse).collect::<Result<_, _>>().with_context(|| format!("no figures: {figures}"))?;
    let [machines, vcpus, memory_mib] = numbers[..] else { bail!("not three figures: {figures}") };
    Ok(Use { machines, vcpus, memory_mib })
}

/// Waits until nothing is under way any more in any tenant, then reads what is there; in the order of the tenants.
///
/// # Errors
/// When something is still under way after ten minutes, or cannot be read.
pub async fn observe(client: &Client, tenants: &[Tenant]) -> anyhow::Result<Vec<Shown>> {
    let deadline = Instant::now() + SETTLED_WITHIN;
    let shown = stream::iter(tenants).map(|tenant| async move {
        settle(client, tenant, deadline).await?;
        Ok(Shown { quota: quota(client, tenant).await?, list: list(client, tenant).await? })
    });
    shown.buffered(AT_ONCE).try_collect().await
}

async fn settle(client: &Client, tenant: &Tenant, deadline: Instant) -> anyhow::Result<()> {
    for phase in ["creating", "deleting"] {
        loop {
            let path = format!("/v1/tenants/{}/resources?phase={phase}&limit=1", tenant.id);
            let under_way = client.read(&path, tenant.position.as_deref()).await?.body;
            let Some(first) = items(&under_way)?.first() else { break };
            ensure!(Instant::now() < deadline, "tenant {}: still {phase} after {} s: {first}", tenant.id, SETTLED_WITHIN.as_secs());
            tokio::time::sleep(ASK_AGAIN).await;
        }
    }
    Ok(())
}

async fn quota(client: &Client, tenant: &Tenant) -> anyhow::Result<Use> {
    let body = client.read(&format!("/v1/tenants/{}/quota", tenant.id), tenant.position.as_deref()).await?.body;
    let lines = body["quota"].as_array().with_context(|| format!("no quota: {body}"))?;
    let used = |dimension: &str| match lines.iter().find(|line| line["dimension"] == dimension) {
        None => Ok(0),
        Some(line) => line["used"].as_u64().with_context(|| format!("no use: {line}")),
    };
    Ok(Use { machines: used("servers")?, vcpus: used("vcpus")?, memory_mib: used("memory_mib")? })
}

async fn list(client: &Client, tenant: &Tenant) -> anyhow::Result<Use> {
    let first = format!("/v1/tenants/{}/resources?kind=server&limit=1000", tenant.id);
    let mut path = first.clone();
    let mut alive = Vec::new();
    loop {
        let page = client.read(&path, tenant.position.as_deref()).await?.body;
        for item in items(&page)? {
            if !matches!(item["phase"].as_str(), Some("deleting" | "deleted")) {
                let claim = |dimension: &str| item["claim"][dimension].as_u64().with_context(|| format!("no claim: {item}"));
                alive.push(Use { machines: 1, vcpus: claim("vcpus")?, memory_mib: claim("memory_mib")? });
            }
        }
        match page["next"].as_str() {
            Some(next) => path = format!("{first}&page={next}"),
            None => return Ok(alive.into_iter().sum()),
        }
    }
}

fn items(page: &Value) -> anyhow::Result<&Vec<Value>> {
    page["items"].as_array().with_context(|| format!("not a page: {page}"))
}

/// What differs: the first tenant that is not as expected, a line for each read model, and all tenants together. Nothing when all is equal.
pub fn differences(expected: &[Use], expected_in_all: Use, tenants: &[Tenant], shown: &[Shown]) -> Vec<String> {
    let check = |whose: &str, expected: Use, shown: Shown| -> Vec<String> {
        [("quota", shown.quota), ("list", shown.list)]
            .into_iter()
            .filter(|(_, found)| *found != expected)
            .map(|(model, found)| format!("{whose}: {model} shows {found}; the table has {expected}"))
            .collect()
    };
    let each = tenants.iter().zip(expected).zip(shown).enumerate();
    let first = each
        .map(|(number, ((tenant, expected), shown))| check(&format!("tenant {number} ({})", tenant.id), *expected, *shown))
        .find(|lines| !lines.is_empty());
    let all = Shown { quota: shown.iter().map(|s| s.quota).sum(), list: shown.iter().map(|s| s.list).sum() };
    first.unwrap_or_default().into_iter().chain(check("all tenants", expected_in_all, all)).collect()
}

#[cfg(test)]
mod tests;
