//! Lists of the resources of a tenant: pages by key set, each filter on an index.

use super::{COLUMNS, ResourceRow, label, read};
use crate::{
    columns::int,
    page::{ByCreation, ByName, after_prefix},
    snapshot::{ReadError, Snapshot},
};
use domain::{
    Labels,
    id::{CellId, ServiceName, TenantId, ZoneName},
};
use tokio_postgres::types::ToSql;

/// Which resources of a tenant. The default is all of them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Filter {
    /// Only what sits in one of these cells: for somebody with roles in cells alone.
    pub visible: Option<Vec<CellId>>,
    /// Only what sits there.
    pub cell: Option<InCell>,
    /// Only of this kind.
    pub kind: Option<ServiceName>,
    /// Only in this phase.
    pub phase: Option<String>,
    /// Only in this zone.
    pub zone: Option<ZoneName>,
    /// Only with all of these labels.
    pub labels: Labels,
    /// Only of this name.
    pub name: Option<Named>,
}

/// Where a resource sits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InCell {
    /// In this cell.
    Of(CellId),
    /// At the tenant itself.
    Tenant,
}

/// How a name is matched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Named {
    /// Exactly.
    Is(String),
    /// By how it begins.
    StartsWith(String),
}

/// The order of a list, and where the page begins: after this key, or at the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// As they were created. The keys never change: what matches during the whole walk appears exactly once.
    Creation(Option<ByCreation>),
    /// By name, bytewise. A resource that is renamed during the walk may be missed or seen twice.
    Name(Option<ByName>),
}

/// A statement under construction.
struct Query<'a> {
    sql: String,
    params: Vec<&'a (dyn ToSql + Sync)>,
}

impl<'a> Query<'a> {
    /// Appends a condition in which each `?` stands for the next of `params`.
    fn push(&mut self, condition: &str, params: &[&'a (dyn ToSql + Sync)]) {
        let mut params = params.iter();
        for c in condition.chars() {
            match c {
                '?' => {
                    self.params.push(*params.next().expect("a parameter for each question mark"));
                    self.sql.push_str(&format!("${}", self.params.len()));
                }
                c => self.sql.push(c),
            }
        }
    }
}

impl Snapshot {
    /// A page of the living resources of a tenant, `limit` at most.
    ///
    /// # Errors
    ///
    /// When PostgreSQL does not answer in time.
    pub async fn resources(&self, tenant: TenantId, filter: &Filter, order: &Order, limit: u32) -> Result<Vec<ResourceRow>, ReadError> {
        let limit = i64::from(limit);
        let visible: Option<Vec<_>> = filter.visible.as_ref().map(|cells| cells.iter().map(|cell| cell.0).collect());
        let (cell, kind) = (filter.cell, filter.kind.as_ref().map(ServiceName::as_str));
        let in_cell = match cell {
            Some(InCell::Of(cell)) => Some(cell.0),
            _ => None,
        };
        let zone = filter.zone.as_ref().map(ZoneName::as_str);
        let labels: Vec<String> = filter.labels.iter().map(|(key, value)| label(tenant, key, value)).collect();
        let (name, end) = match &filter.name {
            Some(Named::Is(name)) => (name.as_str(), None),
            Some(Named::StartsWith(prefix)) => (prefix.as_str(), after_prefix(prefix)),
            None => ("", None),
        };
        let created = match order {
            Order::Creation(Some(key)) => Some((int(key.seq), key.partition as i32, key.id)),
            _ => None,
        };
        let named = match order {
            Order::Name(Some(key)) => Some((key.name.as_str(), key.partition as i32, key.id)),
            _ => None,
        };

        let mut q = Query { sql: format!("SELECT {COLUMNS} FROM {{resources}} r WHERE r.state IS NOT NULL"), params: Vec::new() };
        q.push(" AND r.tenant = ?", &[&tenant.0]);
        if let Some(visible) = &visible {
            q.push(" AND r.cell = ANY (?)", &[visible]);
        }
        match &in_cell {
            Some(cell) => q.push(" AND r.cell = ?", &[cell]),
            None if cell.is_some() => q.push(" AND r.cell IS NULL", &[]),
            None => {}
        }
        if let Some(kind) = &kind {
            q.push(" AND r.kind = ?", &[kind]);
        }
        if let Some(phase) = &filter.phase {
            q.push(" AND r.phase = ?", &[phase]);
        }
        if let Some(zone) = &zone {
            q.push(" AND r.zone = ?", &[zone]);
        }
        if !labels.is_empty() {
            q.push(" AND r.labels @> ?", &[&labels]);
        }
        match (&filter.name, &end) {
            (None, _) => {}
            (Some(Named::Is(_)), _) => q.push(" AND r.name = ?", &[&name]),
            (Some(Named::StartsWith(_)), None) => q.push(" AND r.name >= ?", &[&name]),
            (Some(Named::StartsWith(_)), Some(end)) => q.push(" AND r.name >= ? AND r.name < ?", &[&name, end]),
        }
        if let Some((seq, partition, id)) = &created {
            q.push(" AND (r.created_seq, r.partition, r.id) > (?, ?, ?)", &[seq, partition, id]);
        }
        if let Some((name, partition, id)) = &named {
            q.push(" AND (r.name, r.partition, r.id) > (?, ?, ?)", &[name, partition, id]);
        }
        match order {
            Order::Creation(_) => q.push(" ORDER BY r.created_seq, r.partition, r.id LIMIT ?", &[&limit]),
            Order::Name(_) => q.push(" ORDER BY r.name, r.partition, r.id LIMIT ?", &[&limit]),
        }
        // What is rare in one tenant is common in another: a plan that is to fit all of them would walk a million rows for some.
        let ((), rows) = futures::try_join!(self.plan_for_values(), self.query(&q.sql, &q.params))?;
        rows.iter().map(read).collect()
    }
}

impl ResourceRow {
    /// Its place in a list by creation.
    pub fn by_creation(&self) -> ByCreation {
        ByCreation { seq: self.created_seq, partition: self.partition, id: self.id.0 }
    }

    /// Its place in a list by name.
    pub fn by_name(&self) -> ByName {
        ByName { name: self.name.clone(), partition: self.partition, id: self.id.0 }
    }
}
