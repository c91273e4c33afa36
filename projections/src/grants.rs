//! Who may do what: the roles of every principal in every tenant.
//!
//! Asked before anything is answered: in the same snapshot as the rows that an answer is made from. Also answers who the members of a tenant
//! are, and in which tenants somebody has a role at all.

use crate::{
    columns::{int, text, variant},
    commit::Applied,
    model::{ApplyError, Effects, On, ReadModel, Table},
    snapshot::{ReadError, Snapshot},
};
use domain::{
    event::Event,
    id::TenantId,
    people::{Grant, Principal, Role},
    tenant::{Clock, MemberEvent, TenantEvent},
};
use futures::future::BoxFuture;
use std::collections::{BTreeMap, BTreeSet};
use tokio_postgres::types::Json;
use uuid::Uuid;

/// The read model.
pub struct Grants;

const TABLES: &[Table] = &[Table {
    name: "grants",
    key: "tenant, issuer, subject, partition",
    ddl: r#"
    CREATE TABLE {grants} (
        partition integer NOT NULL,
        tenant    uuid    NOT NULL,
        issuer    text    NOT NULL COLLATE "C",
        subject   text    NOT NULL COLLATE "C",
        -- [{"role": .., "cell": ..}, ..], never empty.
        roles     jsonb   NOT NULL,
        since_seq bigint  NOT NULL,
        PRIMARY KEY (tenant, issuer, subject, partition)
    );
    CREATE INDEX {grants}_principal ON {grants} (issuer, subject, tenant);
    "#,
}];

impl ReadModel for Grants {
    fn name(&self) -> &'static str {
        "grants"
    }

    fn version(&self) -> i32 {
        1
    }

    fn tables(&self) -> &'static [Table] {
        TABLES
    }

    fn apply<'a>(&'a self, on: On<'a>, commits: &'a [Applied]) -> BoxFuture<'a, Result<Effects, ApplyError>> {
        Box::pin(async move {
            let mut effects = Effects::default();
            let changes: Vec<_> = effects.events(commits).filter_map(|(commit, event)| Some((commit, change(event)?))).collect();
            if changes.is_empty() {
                return Ok(effects);
            }
            let keys: BTreeSet<Key> = changes.iter().map(|(_, change)| change.key()).collect();
            let mut held = load(&on, &keys).await?;
            for (commit, change) in &changes {
                let entry = held.entry(change.key());
                if change.granted {
                    entry.or_insert_with(|| Member { roles: BTreeSet::new(), since: commit.seq() }).roles.insert(change.grant);
                } else if !entry.or_insert_with(|| Member { roles: BTreeSet::new(), since: 0 }).roles.remove(&change.grant) {
                    effects.pass_over(commit, &format!("{} does not hold {:?}", change.principal, change.grant.role));
                }
                held.retain(|_, member| !member.roles.is_empty());
            }
            write(&on, keys, held).await?;
            Ok(effects)
        })
    }
}

/// Tenant, issuer, subject.
type Key = (Uuid, String, String);

struct Member {
    roles: BTreeSet<Grant>,
    since: u64,
}

struct Change<'a> {
    tenant: TenantId,
    principal: &'a Principal,
    grant: Grant,
    granted: bool,
}

impl Change<'_> {
    fn key(&self) -> Key {
        (self.tenant.0, text(&self.principal.issuer).into_owned(), text(&self.principal.subject).into_owned())
    }
}

fn change(event: &Event) -> Option<Change<'_>> {
    match event {
        Event::Tenant { tenant, event: TenantEvent::Opened(reservation) } => {
            let grant = Grant { role: Role::TenantSuperAdministrator, cell: None };
            Some(Change { tenant: *tenant, principal: &reservation.administrator, grant, granted: true })
        }
        Event::Member { tenant, event: MemberEvent::RoleGranted { principal, grant } } => {
            Some(Change { tenant: *tenant, principal, grant: *grant, granted: true })
        }
        Event::Member { tenant, event: MemberEvent::RoleRevoked { principal, grant } } => {
            Some(Change { tenant: *tenant, principal, grant: *grant, granted: false })
        }
        Event::Command(_) | Event::Platform(_) | Event::Tenant { .. } | Event::Cell { .. } | Event::Resource { .. } => None,
    }
}

async fn load(on: &On<'_>, keys: &BTreeSet<Key>) -> Result<BTreeMap<Key, Member>, ApplyError> {
    let (tenants, issuers, subjects) = columns(keys);
    let rows = on
        .query(
            "SELECT g.tenant, g.issuer, g.subject, g.roles, g.since_seq
             FROM {grants} g JOIN unnest($2::uuid[], $3::text[], $4::text[]) AS k (tenant, issuer, subject) USING (tenant, issuer, subject)
             WHERE g.partition = $1",
            &[&on.partition, &tenants, &issuers, &subjects],
        )
        .await?;
    rows.iter()
        .map(|row| {
            let Json(roles) = row.try_get(3)?;
            let since: i64 = row.try_get(4)?;
            Ok(((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?), Member { roles, since: since as u64 }))
        })
        .collect()
}

async fn write(on: &On<'_>, touched: BTreeSet<Key>, held: BTreeMap<Key, Member>) -> Result<(), ApplyError> {
    let (gone, kept): (BTreeSet<Key>, BTreeSet<Key>) = touched.into_iter().partition(|key| !held.contains_key(key));
    if !gone.is_empty() {
        let (tenants, issuers, subjects) = columns(&gone);
        on.execute(
            "DELETE FROM {grants} g USING unnest($2::uuid[], $3::text[], $4::text[]) AS k (tenant, issuer, subject)
             WHERE g.partition = $1 AND (g.tenant, g.issuer, g.subject) = (k.tenant, k.issuer, k.subject)",
            &[&on.partition, &tenants, &issuers, &subjects],
        )
        .await?;
    }
    if !kept.is_empty() {
        let (tenants, issuers, subjects) = columns(&kept);
        let roles: Vec<_> = held.values().map(|member| Json(&member.roles)).collect();
        let since: Vec<i64> = held.values().map(|member| int(member.since)).collect();
        on.execute(
            "INSERT INTO {grants} (partition, tenant, issuer, subject, roles, since_seq)
             SELECT $1, * FROM unnest($2::uuid[], $3::text[], $4::text[], $5::jsonb[], $6::bigint[])
             ON CONFLICT (tenant, issuer, subject, partition) DO UPDATE SET roles = EXCLUDED.roles, since_seq = EXCLUDED.since_seq",
            &[&on.partition, &tenants, &issuers, &subjects, &roles, &since],
        )
        .await?;
    }
    Ok(())
}

fn columns(keys: &BTreeSet<Key>) -> (Vec<Uuid>, Vec<&str>, Vec<&str>) {
    let tenants = keys.iter().map(|key| key.0).collect();
    (tenants, keys.iter().map(|key| key.1.as_str()).collect(), keys.iter().map(|key| key.2.as_str()).collect())
}

/// A member of a tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberRow {
    /// Who.
    pub principal: Principal,
    /// What they hold; never empty.
    pub grants: BTreeSet<Grant>,
}

impl Snapshot {
    /// What a principal holds in a tenant, empty for a stranger, and by which clock the tenant's events happen.
    ///
    /// # Errors
    ///
    /// When PostgreSQL does not answer.
    pub async fn grants(&self, tenant: TenantId, principal: &Principal) -> Result<(BTreeSet<Grant>, Clock), ReadError> {
        let (issuer, subject) = (text(&principal.issuer), text(&principal.subject));
        let sql = "SELECT g.roles, t.clock FROM {tenants} t
             LEFT JOIN {grants} g ON g.tenant = t.id AND g.issuer = $2 AND g.subject = $3 WHERE t.id = $1";
        let Some(row) = self.query_opt(sql, &[&tenant.0, &issuer, &subject]).await? else { return Ok(Default::default()) };
        let roles: Option<Json<BTreeSet<Grant>>> = row.try_get(0)?;
        Ok((roles.map_or_else(BTreeSet::new, |Json(roles)| roles), variant("clock", row.try_get(1)?)?))
    }

    /// What a principal holds in all tenants, by tenant.
    ///
    /// # Errors
    ///
    /// When PostgreSQL does not answer.
    pub async fn grants_anywhere(&self, principal: &Principal) -> Result<BTreeMap<TenantId, BTreeSet<Grant>>, ReadError> {
        let (issuer, subject) = (text(&principal.issuer), text(&principal.subject));
        let rows = self.query("SELECT tenant, roles FROM {grants} WHERE issuer = $1 AND subject = $2", &[&issuer, &subject]).await?;
        rows.iter()
            .map(|row| {
                let Json(roles) = row.try_get(1)?;
                Ok((TenantId(row.try_get(0)?), roles))
            })
            .collect()
    }

    /// A page of the members of a tenant, by issuer and subject, behind `after`.
    ///
    /// # Errors
    ///
    /// When PostgreSQL does not answer.
    pub async fn members(&self, tenant: TenantId, after: Option<&Principal>, limit: u32) -> Result<Vec<MemberRow>, ReadError> {
        let (issuer, subject) = after.map_or(("", ""), |p| (&p.issuer, &p.subject));
        let rows = self
            .query(
                "SELECT issuer, subject, roles FROM {grants} WHERE tenant = $1 AND (issuer, subject) > ($2, $3)
                 ORDER BY issuer, subject LIMIT $4",
                &[&tenant.0, &issuer, &subject, &i64::from(limit)],
            )
            .await?;
        rows.iter()
            .map(|row| {
                let Json(grants) = row.try_get(2)?;
                let principal = Principal { issuer: row.try_get::<_, &str>(0)?.into(), subject: row.try_get::<_, &str>(1)?.into() };
                Ok(MemberRow { principal, grants })
            })
            .collect()
    }
}
