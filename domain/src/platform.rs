//! What all tenants share, on the platform's own chain: regions, zones, the catalogue, flavors, default quotas, operators, and the external
//! references of tenants, which must be unique.
//!
//! Platform changes act on tenants within seconds, not at an instant: a tenant's decision names the platform position it was made at.

use crate::{
    Labels,
    catalogue::{Flavor, Service},
    command::{Command, Origin, Request},
    event::{CommandEvent, Event, Impossible},
    id::{Dimension, FlavorName, RegionName, ServiceName, TenantId, ZoneName},
    people::{Actor, Principal},
    quota::Limits,
    refusal::Refusal,
    tenant::{Clock, check_labels, check_principal, check_text},
};
use imbl::{OrdMap, OrdSet};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use uuid::Uuid;

/// The highest event format that this program reads, and writes once an operator has raised it. A journal begins with format 0.
pub const FORMAT: u32 = 1;

/// A process that has reported lately that it is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RunningRole {
    /// Which role, e.g. `decider`.
    pub role: String,
    /// Drawn by the process when it started.
    pub process: Uuid,
    /// The highest event format that it reads.
    pub reads: u32,
}

/// Whether a zone takes anything new.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ZoneState {
    /// Takes everything.
    Open,
    /// Takes nothing new; what is there can be operated.
    Draining,
    /// Takes nothing new; announced as gone.
    Closed,
}

/// Whether a service can be ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServiceState {
    /// Can be ordered.
    Published,
    /// Cannot be ordered at the moment.
    Paused,
    /// Will never be ordered again. What exists can be operated and deleted.
    Retired,
}

impl ServiceState {
    /// The name shown to people.
    pub fn name(self) -> &'static str {
        match self {
            ServiceState::Published => "published",
            ServiceState::Paused => "paused",
            ServiceState::Retired => "retired",
        }
    }
}

/// Facts of the platform. Only its operators write them, but for `OperatorAppointed`, which a console may write, too.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
#[allow(missing_docs, reason = "the sentence above a variant speaks of its fields")]
pub enum PlatformEvent {
    /// A region exists.
    RegionDeclared { region: RegionName, title: String },
    /// A zone exists and is open.
    ZoneDeclared { zone: ZoneName, region: RegionName },
    /// The zone is open, draining or closed from here on.
    ZoneStateSet { zone: ZoneName, state: ZoneState },
    /// The service can be ordered in this version. The whole definition is here, so that a replay needs no file.
    ServicePublished { service: Box<Service> },
    /// No new orders until it is published again.
    ServicePaused { service: ServiceName },
    /// No new orders ever.
    ServiceRetired { service: ServiceName },
    /// A flavor exists. Its sizes never change.
    FlavorDefined { flavor: Flavor },
    /// What a tenant gets when it is opened from here on.
    DefaultQuotaSet { tenant: Limits, cell: Limits },
    /// The principal is an operator.
    OperatorAppointed { operator: Principal },
    /// The principal is no operator any more.
    OperatorDismissed { operator: Principal },
    /// New event versions up to this format may be written from here on.
    FormatRaised { format: u32 },
    /// The reference belongs to this tenant for ever. The tenant is not open yet; its own chain says when.
    TenantReserved {
        tenant: TenantId,
        #[serde(flatten)]
        reservation: Box<Reservation>,
    },
}

/// All that a new tenant begins with. What was looked up (default quotas) is part of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Reservation {
    /// The party of the BSS; unique over all tenants.
    pub reference: String,
    /// For people.
    pub name: String,
    /// The first Tenant Super Administrator.
    pub administrator: Principal,
    /// By which clock its events happen.
    pub clock: Clock,
    /// For people and billing.
    pub labels: Labels,
    /// The tenant's limits.
    pub limits: Limits,
    /// The default limits of its cells.
    pub cell_default: Limits,
}

/// A zone of a region.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Zone {
    /// Where it is.
    pub region: RegionName,
    /// What it takes.
    pub state: ZoneState,
}

/// A service as the catalogue has it now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Its definition.
    pub service: Arc<Service>,
    /// Whether it can be ordered.
    pub state: ServiceState,
}

/// The platform as of a position of its chain. Cloning is cheap.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Platform {
    /// Regions and their titles.
    pub regions: OrdMap<RegionName, String>,
    /// Zones.
    pub zones: OrdMap<ZoneName, Zone>,
    /// The catalogue.
    pub services: OrdMap<ServiceName, Entry>,
    /// Flavors.
    pub flavors: OrdMap<FlavorName, Flavor>,
    /// Default limits of tenants and of their cells.
    pub default_quota: (Limits, Limits),
    /// Who runs the platform.
    pub operators: OrdSet<Principal>,
    /// External references and whose they are.
    pub references: OrdMap<Arc<str>, TenantId>,
    /// What tenants begin with.
    pub reservations: OrdMap<TenantId, Arc<Reservation>>,
    /// The format that may be written.
    pub format: u32,
}

impl Platform {
    /// True when `actor` is an operator of the platform.
    pub fn is_operator(&self, actor: &Actor) -> bool {
        matches!(actor, Actor::Principal(p) if self.operators.contains(p))
    }

    /// True when some service of the catalogue, retired ones included, counts this dimension.
    pub fn declares(&self, dimension: &Dimension) -> bool {
        self.services.values().any(|e| e.service.dimensions.iter().any(|m| m.dimension == *dimension))
    }

    /// Refuses the first dimension that no service declares.
    pub fn check_dimensions<'a>(&self, mut dimensions: impl Iterator<Item = &'a Dimension>) -> Result<(), Refusal> {
        dimensions.find(|d| !self.declares(d)).map_or(Ok(()), |d| Err(Refusal::UnknownDimension { dimension: d.clone() }))
    }

    /// Decides a command on the platform's chain.
    pub fn decide(&self, request: &Request, origin: Origin) -> Result<Vec<Event>, Refusal> {
        let console = matches!((&request.command, origin), (Command::AppointOperator { .. }, Origin::Reports));
        if !console && !self.is_operator(&request.actor) {
            return Err(Refusal::OperatorsOnly);
        }
        let event = match &request.command {
            Command::DeclareRegion { region, title } => {
                check_text("#/title", title)?;
                if self.regions.get(region) == Some(title) {
                    return nothing();
                }
                PlatformEvent::RegionDeclared { region: region.clone(), title: title.clone() }
            }
            Command::DeclareZone { zone, region } => {
                if !self.regions.contains_key(region) {
                    return Err(Refusal::NoSuchRegion { region: region.clone() });
                }
                match self.zones.get(zone) {
                    Some(z) if z.region == *region => return nothing(),
                    Some(_) => {
                        return Err(Refusal::field("#/region", "the zone belongs to another region"));
                    }
                    None => PlatformEvent::ZoneDeclared { zone: zone.clone(), region: region.clone() },
                }
            }
            Command::SetZoneState { zone, state } => match self.zones.get(zone) {
                None => return Err(Refusal::NoSuchZone { zone: zone.clone() }),
                Some(z) if z.state == *state => return nothing(),
                Some(_) => PlatformEvent::ZoneStateSet { zone: zone.clone(), state: *state },
            },
            Command::PublishService { service } => {
                let entry = self.services.get(&service.name);
                if let Some(e) = entry
                    && *e.service == **service
                    && e.state == ServiceState::Published
                {
                    return nothing();
                }
                let expected = entry.map_or(1, |e| e.service.version + 1);
                let again = entry.is_some_and(|e| e.state == ServiceState::Paused && *e.service == **service);
                if entry.is_some_and(|e| e.state == ServiceState::Retired) {
                    return Err(Refusal::ServiceNotOrderable { service: service.name.clone(), state: "retired".into() });
                }
                if service.version != expected && !again {
                    return Err(Refusal::ServiceVersion { service: service.name.clone(), expected });
                }
                PlatformEvent::ServicePublished { service: service.clone() }
            }
            Command::PauseService { service } => match self.services.get(service).map(|e| e.state) {
                None => {
                    return Err(Refusal::NoSuchService { service: service.clone() });
                }
                Some(ServiceState::Published) => PlatformEvent::ServicePaused { service: service.clone() },
                Some(_) => return nothing(),
            },
            Command::RetireService { service } => match self.services.get(service).map(|e| e.state) {
                None => {
                    return Err(Refusal::NoSuchService { service: service.clone() });
                }
                Some(ServiceState::Retired) => return nothing(),
                Some(_) => PlatformEvent::ServiceRetired { service: service.clone() },
            },
            Command::DefineFlavor { flavor } => match self.flavors.get(&flavor.name) {
                Some(f) if f == flavor => return nothing(),
                Some(_) => {
                    return Err(Refusal::field("#/flavor/name", "a flavor's sizes never change; choose another name"));
                }
                None => PlatformEvent::FlavorDefined { flavor: flavor.clone() },
            },
            Command::SetDefaultQuota { tenant, cell } => {
                self.check_dimensions(tenant.keys().chain(cell.keys()))?;
                PlatformEvent::DefaultQuotaSet { tenant: tenant.clone(), cell: cell.clone() }
            }
            Command::AppointOperator { operator } if self.operators.contains(operator) => {
                return nothing();
            }
            Command::AppointOperator { operator } => {
                check_principal("#/operator", operator)?;
                PlatformEvent::OperatorAppointed { operator: operator.clone() }
            }
            Command::DismissOperator { operator } if !self.operators.contains(operator) => {
                return nothing();
            }
            Command::DismissOperator { .. } if self.operators.len() == 1 => {
                return Err(Refusal::LastOperator);
            }
            Command::DismissOperator { operator } => PlatformEvent::OperatorDismissed { operator: operator.clone() },
            Command::RaiseFormat { format, running } => {
                let asked = *format;
                // Not by what this program reads: programs of two releases decide alike. One that cannot read it is among those that run,
                // and would not fold it.
                if asked != self.format + 1 {
                    return Err(Refusal::FormatOutOfOrder { asked, current: self.format });
                }
                if let Some(RunningRole { role, process, reads }) = running.iter().find(|running| running.reads < asked) {
                    return Err(Refusal::FormatNotRead { asked, reads: *reads, role: role.clone(), process: *process });
                }
                PlatformEvent::FormatRaised { format: asked }
            }
            Command::ReserveTenant { reference, name, administrator, clock, labels, limits, cell_default } => {
                check_text("#/reference", reference)?;
                check_text("#/name", name)?;
                check_principal("#/administrator", administrator)?;
                check_labels(labels)?;
                self.check_dimensions(limits.keys().chain(cell_default.keys()))?;
                if self.references.contains_key(reference.as_str()) {
                    return Err(Refusal::ReferenceTaken { reference: reference.clone() });
                }
                let merged = |default: &Limits, own: &Limits| default.iter().chain(own).map(|(d, l)| (d.clone(), *l)).collect();
                let reservation = Reservation {
                    reference: reference.clone(),
                    name: name.clone(),
                    administrator: administrator.clone(),
                    clock: *clock,
                    labels: labels.clone(),
                    limits: merged(&self.default_quota.0, limits),
                    cell_default: merged(&self.default_quota.1, cell_default),
                };
                PlatformEvent::TenantReserved { tenant: request.id.into(), reservation: Box::new(reservation) }
            }
            _ => return Err(Refusal::WrongChain),
        };
        Ok(vec![Event::Platform(event)])
    }

    /// Applies a fact.
    pub fn evolve(&mut self, event: &PlatformEvent) -> Result<(), Impossible> {
        match event {
            PlatformEvent::RegionDeclared { region, title } => drop(self.regions.insert(region.clone(), title.clone())),
            PlatformEvent::ZoneDeclared { zone, region } => {
                if self.zones.insert(zone.clone(), Zone { region: region.clone(), state: ZoneState::Open }).is_some() {
                    return Err(Impossible::new("platform.zone_declared", format!("zone {zone}")));
                }
            }
            PlatformEvent::ZoneStateSet { zone, state } => match self.zones.get_mut(zone) {
                Some(z) => z.state = *state,
                None => return Err(Impossible::new("platform.zone_state_set", format!("no zone {zone}"))),
            },
            PlatformEvent::ServicePublished { service } => {
                let entry = Entry { service: Arc::new((**service).clone()), state: ServiceState::Published };
                drop(self.services.insert(service.name.clone(), entry));
            }
            PlatformEvent::ServicePaused { service } => self.set_service_state(service, ServiceState::Paused)?,
            PlatformEvent::ServiceRetired { service } => self.set_service_state(service, ServiceState::Retired)?,
            PlatformEvent::FlavorDefined { flavor } => {
                if self.flavors.insert(flavor.name.clone(), flavor.clone()).is_some() {
                    return Err(Impossible::new("platform.flavor_defined", format!("flavor {}", flavor.name)));
                }
            }
            PlatformEvent::DefaultQuotaSet { tenant, cell } => self.default_quota = (tenant.clone(), cell.clone()),
            PlatformEvent::OperatorAppointed { operator } => drop(self.operators.insert(operator.clone())),
            PlatformEvent::OperatorDismissed { operator } => drop(self.operators.remove(operator)),
            // What follows may be what this program cannot read.
            PlatformEvent::FormatRaised { format } if *format > FORMAT => {
                return Err(Impossible::new(
                    "platform.format_raised",
                    format!("format {format}; this program reads formats up to {FORMAT}"),
                ));
            }
            PlatformEvent::FormatRaised { format } => self.format = *format,
            PlatformEvent::TenantReserved { tenant, reservation } => {
                if self.references.insert(reservation.reference.as_str().into(), *tenant).is_some() {
                    return Err(Impossible::new("platform.tenant_reserved", format!("reference {:?} taken", reservation.reference)));
                }
                self.reservations.insert(*tenant, Arc::new((**reservation).clone()));
            }
        }
        Ok(())
    }

    fn set_service_state(&mut self, service: &ServiceName, state: ServiceState) -> Result<(), Impossible> {
        match self.services.get_mut(service) {
            Some(entry) => {
                entry.state = state;
                Ok(())
            }
            None => Err(Impossible::new(format!("platform.service_{}", state.name()), format!("no service {service}"))),
        }
    }
}

fn nothing() -> Result<Vec<Event>, Refusal> {
    Ok(vec![Event::Command(CommandEvent::NothingToDo { generation: None })])
}
