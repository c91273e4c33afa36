//! What all tenants share: regions, zones, the catalogue, flavors, default quotas, operators, and which external reference belongs to which tenant.
//!
//! Asked by everybody who orders, and by the process that opens what was reserved. Its rows come from the platform's own chain.

use crate::{
    columns::{int, text},
    commit::Applied,
    model::{ApplyError, Effects, On, ReadModel, Table},
    snapshot::{ReadError, Snapshot, value},
};
use domain::{
    catalogue::{Flavor, Service},
    event::Event,
    id::{RegionName, ServiceName, TenantId, ZoneName},
    people::Principal,
    platform::{PlatformEvent as E, Reservation, ServiceState, ZoneState},
    quota::Limits,
};
use futures::future::BoxFuture;
use std::collections::BTreeMap;
use tokio_postgres::types::Json;
use uuid::Uuid;

/// The read model.
pub struct Platform;

const TABLES: &[Table] = &[
    Table {
        name: "regions",
        key: "name, partition",
        ddl: r#"CREATE TABLE {regions} (
            partition integer NOT NULL,
            name      text    NOT NULL COLLATE "C",
            title     text    NOT NULL,
            PRIMARY KEY (name, partition)
        );"#,
    },
    Table {
        name: "zones",
        key: "name, partition",
        ddl: r#"CREATE TABLE {zones} (
            partition integer NOT NULL,
            name      text    NOT NULL COLLATE "C",
            region    text    NOT NULL,
            state     text    NOT NULL,
            PRIMARY KEY (name, partition)
        );"#,
    },
    Table {
        name: "services",
        key: "name, partition",
        ddl: r#"CREATE TABLE {services} (
            partition  integer NOT NULL,
            name       text    NOT NULL COLLATE "C",
            state      text    NOT NULL,
            definition json    NOT NULL,
            PRIMARY KEY (name, partition)
        );"#,
    },
    Table {
        name: "flavors",
        key: "name, partition",
        ddl: r#"CREATE TABLE {flavors} (
            partition  integer NOT NULL,
            name       text    NOT NULL COLLATE "C",
            vcpus      integer NOT NULL,
            memory_mib bigint  NOT NULL,
            PRIMARY KEY (name, partition)
        );"#,
    },
    Table {
        name: "platform_settings",
        key: "partition",
        ddl: r#"CREATE TABLE {platform_settings} (
            partition    integer PRIMARY KEY,
            -- Default limits of tenants and of their cells.
            tenant_quota jsonb,
            cell_quota   jsonb,
            format       integer
        );"#,
    },
    Table {
        name: "operators",
        key: "issuer, subject, partition",
        ddl: r#"CREATE TABLE {operators} (
            partition integer NOT NULL,
            issuer    text    NOT NULL COLLATE "C",
            subject   text    NOT NULL COLLATE "C",
            PRIMARY KEY (issuer, subject, partition)
        );"#,
    },
    Table {
        name: "reservations",
        key: "tenant, partition",
        ddl: r#"CREATE TABLE {reservations} (
            partition   integer NOT NULL,
            tenant      uuid    NOT NULL,
            reference   text    NOT NULL,
            seq         bigint  NOT NULL,
            reservation json    NOT NULL,
            PRIMARY KEY (tenant, partition)
        );
        CREATE INDEX {reservations}_reference ON {reservations} (reference);
        CREATE INDEX {reservations}_seq ON {reservations} (seq);"#,
    },
];

impl ReadModel for Platform {
    fn name(&self) -> &'static str {
        "platform"
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
            let mut changes = Changes::default();
            for (commit, event) in effects.events(commits) {
                if let Event::Platform(event) = event {
                    changes.note(commit.seq(), event);
                }
            }
            changes.write(&on).await?;
            Ok(effects)
        })
    }
}

/// What a batch does to the rows: no row depends on another, so for each key the last word counts.
#[derive(Default)]
struct Changes<'a> {
    regions: BTreeMap<&'a RegionName, &'a str>,
    zones: BTreeMap<&'a ZoneName, &'a RegionName>,
    zone_states: BTreeMap<&'a ZoneName, ZoneState>,
    services: BTreeMap<&'a ServiceName, &'a Service>,
    service_states: BTreeMap<&'a ServiceName, ServiceState>,
    flavors: Vec<&'a Flavor>,
    default_quota: Option<(&'a Limits, &'a Limits)>,
    format: Option<u32>,
    operators: BTreeMap<&'a Principal, bool>,
    reservations: Vec<(u64, TenantId, &'a Reservation)>,
}

impl<'a> Changes<'a> {
    fn note(&mut self, seq: u64, event: &'a E) {
        match event {
            E::RegionDeclared { region, title } => drop(self.regions.insert(region, title)),
            E::ZoneDeclared { zone, region } => {
                self.zones.insert(zone, region);
                self.zone_states.insert(zone, ZoneState::Open);
            }
            E::ZoneStateSet { zone, state } => drop(self.zone_states.insert(zone, *state)),
            E::ServicePublished { service } => {
                self.services.insert(&service.name, service);
                self.service_states.insert(&service.name, ServiceState::Published);
            }
            E::ServicePaused { service } => drop(self.service_states.insert(service, ServiceState::Paused)),
            E::ServiceRetired { service } => drop(self.service_states.insert(service, ServiceState::Retired)),
            E::FlavorDefined { flavor } => self.flavors.push(flavor),
            E::DefaultQuotaSet { tenant, cell } => self.default_quota = Some((tenant, cell)),
            E::OperatorAppointed { operator } => drop(self.operators.insert(operator, true)),
            E::OperatorDismissed { operator } => drop(self.operators.insert(operator, false)),
            E::FormatRaised { format } => self.format = Some(*format),
            E::TenantReserved { tenant, reservation } => self.reservations.push((seq, *tenant, reservation)),
        }
    }

    async fn write(self, on: &On<'_>) -> Result<(), ApplyError> {
        if !self.regions.is_empty() {
            let (names, titles): (Vec<&str>, Vec<_>) = self.regions.iter().map(|(name, title)| (name.as_str(), text(title))).unzip();
            on.execute(
                "INSERT INTO {regions} (partition, name, title) SELECT $1, * FROM unnest($2::text[], $3::text[])
                 ON CONFLICT (name, partition) DO UPDATE SET title = EXCLUDED.title",
                &[&on.partition, &names, &titles],
            )
            .await?;
        }
        if !self.zones.is_empty() {
            let (names, regions): (Vec<&str>, Vec<&str>) = self.zones.iter().map(|(name, region)| (name.as_str(), region.as_str())).unzip();
            on.execute(
                "INSERT INTO {zones} (partition, name, region, state) SELECT $1, name, region, 'open' FROM unnest($2::text[], $3::text[]) n (name, region)
                 ON CONFLICT (name, partition) DO UPDATE SET region = EXCLUDED.region",
                &[&on.partition, &names, &regions],
            )
            .await?;
        }
        if !self.zone_states.is_empty() {
            let (names, states): (Vec<&str>, Vec<&str>) =
                self.zone_states.iter().map(|(name, state)| (name.as_str(), zone_state(*state))).unzip();
            on.execute(
                "UPDATE {zones} z SET state = n.state FROM unnest($2::text[], $3::text[]) n (name, state) WHERE z.partition = $1 AND z.name = n.name",
                &[&on.partition, &names, &states],
            )
            .await?;
        }
        if !self.services.is_empty() {
            let (names, definitions): (Vec<&str>, Vec<_>) =
                self.services.iter().map(|(name, service)| (name.as_str(), Json(*service))).unzip();
            on.execute(
                "INSERT INTO {services} (partition, name, state, definition)
                 SELECT $1, name, 'published', definition FROM unnest($2::text[], $3::json[]) n (name, definition)
                 ON CONFLICT (name, partition) DO UPDATE SET definition = EXCLUDED.definition",
                &[&on.partition, &names, &definitions],
            )
            .await?;
        }
        if !self.service_states.is_empty() {
            let (names, states): (Vec<&str>, Vec<&str>) =
                self.service_states.iter().map(|(name, state)| (name.as_str(), state.name())).unzip();
            on.execute(
                "UPDATE {services} s SET state = n.state FROM unnest($2::text[], $3::text[]) n (name, state) WHERE s.partition = $1 AND s.name = n.name",
                &[&on.partition, &names, &states],
            )
            .await?;
        }
        if !self.flavors.is_empty() {
            let names: Vec<&str> = self.flavors.iter().map(|f| f.name.as_str()).collect();
            let vcpus: Vec<i32> = self.flavors.iter().map(|f| f.vcpus as i32).collect();
            let memory: Vec<i64> = self.flavors.iter().map(|f| int(f.memory_mib)).collect();
            on.execute(
                "INSERT INTO {flavors} (partition, name, vcpus, memory_mib) SELECT $1, * FROM unnest($2::text[], $3::integer[], $4::bigint[])
                 ON CONFLICT (name, partition) DO NOTHING",
                &[&on.partition, &names, &vcpus, &memory],
            )
            .await?;
        }
        if self.default_quota.is_some() || self.format.is_some() {
            let (tenant, cell) = self.default_quota.unzip();
            on.execute(
                "INSERT INTO {platform_settings} AS s (partition, tenant_quota, cell_quota, format) VALUES ($1, $2, $3, $4)
                 ON CONFLICT (partition) DO UPDATE SET tenant_quota = coalesce(EXCLUDED.tenant_quota, s.tenant_quota),
                     cell_quota = coalesce(EXCLUDED.cell_quota, s.cell_quota), format = coalesce(EXCLUDED.format, s.format)",
                &[&on.partition, &tenant.map(Json), &cell.map(Json), &self.format.map(|f| f as i32)],
            )
            .await?;
        }
        for appointed in [true, false] {
            let (issuers, subjects): (Vec<_>, Vec<_>) =
                self.operators.iter().filter(|(_, now)| **now == appointed).map(|(p, _)| (text(&p.issuer), text(&p.subject))).unzip();
            if !issuers.is_empty() {
                let sql = if appointed {
                    "INSERT INTO {operators} (partition, issuer, subject) SELECT $1, * FROM unnest($2::text[], $3::text[]) ON CONFLICT DO NOTHING"
                } else {
                    "DELETE FROM {operators} o USING unnest($2::text[], $3::text[]) n (issuer, subject)
                     WHERE o.partition = $1 AND (o.issuer, o.subject) = (n.issuer, n.subject)"
                };
                on.execute(sql, &[&on.partition, &issuers, &subjects]).await?;
            }
        }
        if !self.reservations.is_empty() {
            on.execute(
                "INSERT INTO {reservations} (partition, tenant, reference, seq, reservation)
                 SELECT $1, * FROM unnest($2::uuid[], $3::text[], $4::bigint[], $5::json[]) ON CONFLICT (tenant, partition) DO NOTHING",
                &[
                    &on.partition,
                    &self.reservations.iter().map(|(_, tenant, _)| tenant.0).collect::<Vec<_>>(),
                    &self.reservations.iter().map(|(_, _, r)| text(&r.reference)).collect::<Vec<_>>(),
                    &self.reservations.iter().map(|(seq, _, _)| int(*seq)).collect::<Vec<_>>(),
                    &self.reservations.iter().map(|(_, _, r)| Json(*r)).collect::<Vec<_>>(),
                ],
            )
            .await?;
        }
        Ok(())
    }
}

fn zone_state(state: ZoneState) -> &'static str {
    match state {
        ZoneState::Open => "open",
        ZoneState::Draining => "draining",
        ZoneState::Closed => "closed",
    }
}

/// A zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZoneRow {
    /// Its name.
    pub name: ZoneName,
    /// Where it is.
    pub region: RegionName,
    /// What it takes.
    pub state: ZoneState,
}

/// A service of the catalogue.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceRow {
    /// Its definition.
    pub service: Service,
    /// Whether it can be ordered.
    pub state: ServiceState,
}

/// A tenant that was reserved and whose own chain does not know it yet.
#[derive(Debug, Clone, PartialEq)]
pub struct ReservedRow {
    /// The tenant.
    pub tenant: TenantId,
    /// Seq of the reservation on the platform's chain.
    pub seq: u64,
    /// What it begins with.
    pub reservation: Reservation,
}

fn zone_from(name: &str) -> Result<ZoneState, String> {
    let all = [ZoneState::Open, ZoneState::Draining, ZoneState::Closed];
    all.into_iter().find(|s| zone_state(*s) == name).ok_or_else(|| format!("unknown state {name}"))
}

fn service_from(name: &str) -> Result<ServiceState, String> {
    let all = [ServiceState::Published, ServiceState::Paused, ServiceState::Retired];
    all.into_iter().find(|s| s.name() == name).ok_or_else(|| format!("unknown state {name}"))
}

impl Snapshot {
    /// All regions by name, with their titles.
    ///
    /// # Errors
    ///
    /// When PostgreSQL does not answer.
    pub async fn regions(&self) -> Result<Vec<(RegionName, String)>, ReadError> {
        let rows = self.query("SELECT name, title FROM {regions} ORDER BY name", &[]).await?;
        rows.iter().map(|row| Ok((value("name", row.try_get::<_, &str>(0)?.parse())?, row.try_get(1)?))).collect()
    }

    /// All zones by name.
    ///
    /// # Errors
    ///
    /// When PostgreSQL does not answer.
    pub async fn zones(&self) -> Result<Vec<ZoneRow>, ReadError> {
        let rows = self.query("SELECT name, region, state FROM {zones} ORDER BY name", &[]).await?;
        rows.iter()
            .map(|row| {
                Ok(ZoneRow {
                    name: value("name", row.try_get::<_, &str>(0)?.parse())?,
                    region: value("region", row.try_get::<_, &str>(1)?.parse())?,
                    state: value("state", zone_from(row.try_get(2)?))?,
                })
            })
            .collect()
    }

    /// The whole catalogue by name, retired services included.
    ///
    /// # Errors
    ///
    /// When PostgreSQL does not answer.
    pub async fn services(&self) -> Result<Vec<ServiceRow>, ReadError> {
        self.services_named(None).await
    }

    /// One service of the catalogue.
    ///
    /// # Errors
    ///
    /// When PostgreSQL does not answer.
    pub async fn service(&self, name: &ServiceName) -> Result<Option<ServiceRow>, ReadError> {
        Ok(self.services_named(Some(name)).await?.pop())
    }

    async fn services_named(&self, name: Option<&ServiceName>) -> Result<Vec<ServiceRow>, ReadError> {
        let name = name.map(ServiceName::as_str);
        let sql = "SELECT definition, state FROM {services} WHERE $1::text IS NULL OR name = $1 ORDER BY name";
        let rows = self.query(sql, &[&name]).await?;
        rows.iter()
            .map(|row| {
                let Json(service) = row.try_get(0)?;
                Ok(ServiceRow { service, state: value("state", service_from(row.try_get(1)?))? })
            })
            .collect()
    }

    /// All flavors by name.
    ///
    /// # Errors
    ///
    /// When PostgreSQL does not answer.
    pub async fn flavors(&self) -> Result<Vec<Flavor>, ReadError> {
        let rows = self.query("SELECT name, vcpus, memory_mib FROM {flavors} ORDER BY name", &[]).await?;
        rows.iter()
            .map(|row| {
                Ok(Flavor {
                    name: value("name", row.try_get::<_, &str>(0)?.parse())?,
                    vcpus: row.try_get::<_, i32>(1)? as u32,
                    memory_mib: row.try_get::<_, i64>(2)? as u64,
                })
            })
            .collect()
    }

    /// Default limits of tenants and of their cells.
    ///
    /// # Errors
    ///
    /// When PostgreSQL does not answer.
    pub async fn default_quota(&self) -> Result<(Limits, Limits), ReadError> {
        let row = self.query_opt("SELECT tenant_quota, cell_quota FROM {platform_settings} WHERE tenant_quota IS NOT NULL", &[]).await?;
        let Some(row) = row else { return Ok(Default::default()) };
        let (Json(tenant), Json(cell)) = (row.try_get(0)?, row.try_get(1)?);
        Ok((tenant, cell))
    }

    /// The event format that may be written; 0 before any was raised.
    ///
    /// # Errors
    ///
    /// When PostgreSQL does not answer.
    pub async fn format(&self) -> Result<u32, ReadError> {
        let row = self.query_opt("SELECT format FROM {platform_settings} WHERE format IS NOT NULL", &[]).await?;
        Ok(row.map(|row| row.try_get::<_, i32>(0)).transpose()?.unwrap_or(0) as u32)
    }

    /// Everybody who runs the platform.
    ///
    /// # Errors
    ///
    /// When PostgreSQL does not answer.
    pub async fn operators(&self) -> Result<Vec<Principal>, ReadError> {
        let rows = self.query("SELECT issuer, subject FROM {operators} ORDER BY issuer, subject", &[]).await?;
        rows.iter()
            .map(|row| Ok(Principal { issuer: row.try_get::<_, &str>(0)?.into(), subject: row.try_get::<_, &str>(1)?.into() }))
            .collect()
    }

    /// True when the principal is an operator of the platform.
    ///
    /// # Errors
    ///
    /// When PostgreSQL does not answer.
    pub async fn is_operator(&self, principal: &Principal) -> Result<bool, ReadError> {
        let (issuer, subject) = (text(&principal.issuer), text(&principal.subject));
        let sql = "SELECT 1 FROM {operators} WHERE issuer = $1 AND subject = $2";
        Ok(self.query_opt(sql, &[&issuer, &subject]).await?.is_some())
    }

    /// The tenant to which an external reference belongs, open or not.
    ///
    /// # Errors
    ///
    /// When PostgreSQL does not answer.
    pub async fn tenant_of_reference(&self, reference: &str) -> Result<Option<TenantId>, ReadError> {
        let row = self.query_opt("SELECT tenant FROM {reservations} WHERE reference = $1", &[&reference]).await?;
        Ok(row.map(|row| row.try_get::<_, Uuid>(0)).transpose()?.map(TenantId))
    }

    /// Tenants that are reserved and not open yet, oldest first.
    ///
    /// # Errors
    ///
    /// When PostgreSQL does not answer.
    pub async fn reserved_and_not_open(&self, limit: u32) -> Result<Vec<ReservedRow>, ReadError> {
        let sql = "SELECT r.tenant, r.seq, r.reservation FROM {reservations} r
                   WHERE NOT EXISTS (SELECT 1 FROM {tenants} t WHERE t.id = r.tenant) ORDER BY r.seq LIMIT $1";
        let rows = self.query(sql, &[&i64::from(limit)]).await?;
        rows.iter()
            .map(|row| {
                let Json(reservation) = row.try_get(2)?;
                Ok(ReservedRow { tenant: TenantId(row.try_get(0)?), seq: row.try_get::<_, i64>(1)? as u64, reservation })
            })
            .collect()
    }
}
