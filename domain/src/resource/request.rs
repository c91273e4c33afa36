//! Deciding what people ask of resources.

use super::{Opened, Phase, Remains, Requested, Resource, ResourceEvent as E, Terms};
use crate::{
    Timestamp,
    catalogue::{Action, Service, Spec},
    command::{Command, Origin, Request},
    event::{CommandEvent, Event},
    id::{CellId, FlavorName, ResourceId, ServiceName, TenantId, ZoneName},
    people::Permission,
    platform::{Platform, ServiceState, ZoneState},
    refusal::Refusal,
    tenant::{Clock, Facts, Tenant, check_labels, check_text},
};
use chrono::{SubsecRound, TimeDelta};

/// `at` may be this far ahead of the chain's time.
pub(super) const AHEAD: TimeDelta = TimeDelta::minutes(5);

impl Tenant {
    /// Decides a command about a resource: people's here, workers' in `report`.
    pub(crate) fn decide_resource(
        &self,
        tenant: TenantId,
        request: &Request,
        origin: Origin,
        facts: Facts<'_>,
    ) -> Result<Vec<Event>, Refusal> {
        match &request.command {
            Command::CreateResource { .. } => self.decide_create(tenant, request, facts),
            Command::ChangeResource { resource, .. }
            | Command::ActOnResource { resource, .. }
            | Command::AttachResource { resource, .. }
            | Command::DetachResource { resource, .. }
            | Command::DeleteResource { resource, .. } => {
                let r = self.operable(*resource, request, origin)?;
                let event = self.decide_on(*resource, r, request, facts)?;
                Ok(vec![match event {
                    Some(event) => Event::Resource { tenant, resource: *resource, event },
                    None => Event::Command(CommandEvent::NothingToDo { generation: Some(r.generation) }),
                }])
            }
            _ => self.decide_report(tenant, request, origin, facts),
        }
    }

    /// The resource, if the actor may operate it and `If-Match` holds.
    fn operable(&self, id: ResourceId, request: &Request, origin: Origin) -> Result<&Resource, Refusal> {
        let resource = self.resources.get(&id).ok_or(Refusal::NoSuchResource { resource: id });
        if !(self.drains(origin) && matches!(request.command, Command::DeleteResource { .. })) {
            let cell = resource.as_ref().ok().and_then(|r| r.cell);
            let may = |p| self.permits(&request.actor, p, cell);
            if !may(Permission::ReadResources) {
                return Err(Refusal::NoSuchResource { resource: id });
            }
            if !may(Permission::OperateResources) {
                return Err(Refusal::Forbidden { permission: Permission::OperateResources });
            }
        }
        let resource = resource?;
        match request.command.if_generation() {
            Some(expected) if expected != resource.generation => {
                Err(Refusal::GenerationMismatch { expected, current: resource.generation })
            }
            _ => Ok(resource),
        }
    }

    fn decide_create(&self, tenant: TenantId, request: &Request, facts: Facts<'_>) -> Result<Vec<Event>, Refusal> {
        let Command::CreateResource { cell, kind, version, name, zone, labels, subscriber, flavor, spec } = &request.command else {
            return Err(Refusal::WrongChain);
        };
        if let Some(cell) = cell
            && !self.permits(&request.actor, Permission::Read, Some(*cell))
        {
            return Err(Refusal::NoSuchCell { cell: *cell });
        }
        self.authorise(&request.actor, Permission::OperateResources, *cell)?;
        self.check_accepts_new()?;
        if let Some(Remains { step, .. }) = self.remains.get(&ResourceId::from(request.id)) {
            // The clean-up deletes what bears this name.
            return Err(Refusal::Busy { step: step.work.name().to_owned(), intent: step.intent });
        }
        if facts.stale {
            return Err(Refusal::PlatformStale);
        }
        check_text("#/name", name)?;
        check_labels(labels)?;
        if let Some(subscriber) = subscriber {
            check_text("#/subscriber", subscriber)?;
        }
        let service = orderable(facts.platform, kind, *version)?;
        match cell {
            Some(_) if !service.levels.cell => {
                return Err(Refusal::WrongLevel { service: kind.clone(), cell: true });
            }
            None if !service.levels.tenant => {
                return Err(Refusal::WrongLevel { service: kind.clone(), cell: false });
            }
            Some(cell) => drop(self.open_cell(*cell)?),
            None => {}
        }
        check_zone(facts.platform, service, zone.as_ref())?;
        let spec = with_flavor(facts.platform, service, spec, flavor.as_ref())?;
        let terms = self.terms(service, spec, *cell, zone.as_ref(), &[])?;
        self.check_claim(*cell, &terms.claim)?;
        let at = self.at(request, facts, None)?;
        let requested = Requested {
            cell: *cell,
            kind: kind.clone(),
            version: *version,
            name: name.clone(),
            labels: labels.clone(),
            subscriber: subscriber.clone(),
            zone: zone.clone(),
            terms,
            power: service.power,
            step: opened(request, facts.now, service.deadlines.create_s),
            at,
        };
        Ok(vec![Event::Resource { tenant, resource: request.id.into(), event: E::Requested(Box::new(requested)) }])
    }

    /// What an order on an existing resource leads to; nothing when it is so already.
    fn decide_on(&self, id: ResourceId, r: &Resource, request: &Request, facts: Facts<'_>) -> Result<Option<E>, Refusal> {
        let at = || self.at(request, facts, Some(r.last_at));
        let generation = r.generation + 1;
        let service = facts.platform.services.get(&r.kind).map(|e| e.service.as_ref());
        let service = service.ok_or(Refusal::PlatformStale)?;
        let step = opened(request, facts.now, service.deadlines.change_s);
        match &request.command {
            Command::DeleteResource { .. } => {
                if r.phase == Phase::Deleting {
                    return Ok(None);
                }
                // What vanished hangs on nothing any more, whatever is written about it.
                let holder = r.attached_to.filter(|_| r.phase != Phase::Lost);
                let users = self.users_of(id).filter(|user| *user != id && !self.goes_with(*user, id));
                let by: Vec<ResourceId> = holder.into_iter().chain(users).take(100).collect();
                if !by.is_empty() {
                    return Err(Refusal::InUse { by });
                }
                let step = opened(request, facts.now, service.deadlines.delete_s);
                Ok(Some(E::DeleteRequested { generation, step, at: at()? }))
            }
            Command::ChangeResource { name, labels, spec, version, .. } => {
                self.check_accepts_new()?;
                let spec = spec.as_ref().filter(|s| **s != r.terms.spec);
                if let Some(spec) = spec {
                    // Renaming at the same time would be two changes of which one can fail.
                    if name.is_some() || labels.is_some() {
                        return Err(Refusal::field("#/spec", "change the spec in a request of its own"));
                    }
                    settled(r)?;
                    if facts.stale {
                        return Err(Refusal::PlatformStale);
                    }
                    if *version != service.version {
                        return Err(Refusal::CatalogueMoved { service: r.kind.clone(), checked: *version, current: service.version });
                    }
                    service.check_change(&r.terms.spec, spec)?;
                    let terms = self.terms(service, spec.clone(), r.cell, r.zone.as_ref(), &r.terms.uses)?;
                    self.check_claim(r.cell, &terms.claim.above(&r.terms.claim))?;
                    return Ok(Some(E::ChangeRequested { generation, terms: Box::new(terms), step, at: at()? }));
                }
                let (name, labels) = (name.as_ref().unwrap_or(&r.name), labels.as_ref().unwrap_or(&r.labels));
                check_text("#/name", name)?;
                check_labels(labels)?;
                if (name, labels) == (&r.name, &r.labels) {
                    return Ok(None);
                }
                Ok(Some(E::Renamed { generation, name: name.clone(), labels: labels.clone() }))
            }
            Command::ActOnResource { action, .. } => {
                if !service.actions.contains(action) {
                    return Err(Refusal::NoSuchAction { service: r.kind.clone(), action: action.name().to_owned() });
                }
                if *action != Action::Stop {
                    self.check_accepts_new()?;
                }
                settled(r)?;
                match (action, r.phase) {
                    (Action::Start, Phase::Active) | (Action::Stop, Phase::Stopped) => Ok(None),
                    (Action::Start, _) => Ok(Some(E::StartRequested { generation, step, at: at()? })),
                    (Action::Stop, _) => Ok(Some(E::StopRequested { generation, step, at: at()? })),
                    (Action::Reboot, Phase::Stopped) => Err(Refusal::WrongPhase { phase: r.phase.name().to_owned() }),
                    (Action::Reboot, _) => Ok(Some(E::RebootRequested { generation, step, at: at()? })),
                }
            }
            Command::AttachResource { to, .. } => {
                self.check_accepts_new()?;
                settled(r)?;
                let kind = service.attaches_to.as_ref();
                let kind = kind.ok_or_else(|| Refusal::NoSuchAction { service: r.kind.clone(), action: "attach".to_owned() })?;
                match r.attached_to {
                    Some(now) if now == *to => return Ok(None),
                    Some(now) => return Err(Refusal::InUse { by: vec![now] }),
                    None => {}
                }
                if *to == id {
                    return Err(Refusal::field("#/to", "nothing is attached to itself"));
                }
                settled(self.check_reference("#/to", kind, *to, r.cell, r.zone.as_ref(), &[])?)?;
                Ok(Some(E::AttachRequested { generation, to: *to, step, at: at()? }))
            }
            Command::DetachResource { .. } => {
                let Some(from) = r.attached_to else {
                    return Ok(None);
                };
                settled(r)?;
                Ok(Some(E::DetachRequested { generation, from, step, at: at()? }))
            }
            _ => Err(Refusal::WrongChain),
        }
    }

    /// True for what a provider detaches by itself when `of` is deleted: attachments, not references in a spec.
    fn goes_with(&self, user: ResourceId, of: ResourceId) -> bool {
        self.resources.get(&user).is_some_and(|u| u.attached_to == Some(of) && !u.terms.uses.contains(&of))
    }

    /// A spec with what it claims and names. What it named before (`had`) may be named again in whatever state it is by now.
    fn terms(
        &self,
        service: &Service,
        spec: Spec,
        cell: Option<CellId>,
        zone: Option<&ZoneName>,
        had: &[ResourceId],
    ) -> Result<Terms, Refusal> {
        let claim = service.claim(&spec)?;
        let mut uses = Vec::new();
        for (pointer, kind, id) in service.references(&spec)? {
            self.check_reference(&pointer, &kind, id, cell, zone, had)?;
            uses.push(id);
        }
        uses.sort();
        uses.dedup();
        Ok(Terms { spec, claim, uses })
    }

    /// A reference goes to the same cell or to the tenant's own level, to the same zone where both have one, and to something that lives.
    fn check_reference(
        &self,
        pointer: &str,
        kind: &ServiceName,
        id: ResourceId,
        cell: Option<CellId>,
        zone: Option<&ZoneName>,
        had: &[ResourceId],
    ) -> Result<&Resource, Refusal> {
        let bad = |problem: String| Refusal::BadReference { pointer: pointer.to_owned(), resource: id, problem };
        let Some(named) = self.resources.get(&id).filter(|r| r.cell.is_none() || r.cell == cell) else {
            return Err(bad("there is none in this cell or at the tenant's level".to_owned()));
        };
        if named.kind != *kind {
            return Err(bad(format!("it is a {}, not a {kind}", named.kind)));
        }
        if matches!(named.phase, Phase::Deleting | Phase::Failing | Phase::Failed | Phase::Lost) && !had.contains(&id) {
            return Err(bad(format!("it is {}", named.phase.name())));
        }
        match (named.zone.as_ref(), zone) {
            (Some(theirs), Some(ours)) if theirs != ours => Err(bad(format!("it is in the zone {theirs}"))),
            _ => Ok(named),
        }
    }

    /// When a request happened: the chain's time, or for a tenant with the effective clock what the request says.
    fn at(&self, request: &Request, facts: Facts<'_>, last: Option<Timestamp>) -> Result<Timestamp, Refusal> {
        let at = match (self.clock, request.at) {
            (Clock::Journal, None) => return Ok(last.map_or(facts.now, |last| last.max(facts.now))),
            (Clock::Journal, Some(_)) => return Err(Refusal::ClockIsNotEffective),
            (Clock::Effective, at) => at.unwrap_or(facts.now).trunc_subsecs(6),
        };
        if at > facts.now + AHEAD {
            return Err(Refusal::AtAhead { at });
        }
        match last {
            Some(last) if at < last => Err(Refusal::AtBeforeLast { at, last }),
            _ => Ok(at),
        }
    }
}

impl Command {
    fn if_generation(&self) -> Option<u64> {
        match self {
            Command::ChangeResource { if_generation, .. }
            | Command::ActOnResource { if_generation, .. }
            | Command::AttachResource { if_generation, .. }
            | Command::DetachResource { if_generation, .. }
            | Command::DeleteResource { if_generation, .. } => *if_generation,
            _ => None,
        }
    }
}

/// Refuses while a step is open or the resource is not one that can be changed.
fn settled(r: &Resource) -> Result<(), Refusal> {
    match (&r.step, r.phase) {
        (Some(step), Phase::Creating | Phase::Active | Phase::Stopped) => {
            Err(Refusal::Busy { step: step.work.name().to_owned(), intent: step.intent })
        }
        (None, Phase::Active | Phase::Stopped) => Ok(()),
        (_, phase) => Err(Refusal::WrongPhase { phase: phase.name().to_owned() }),
    }
}

/// The step that a request opens: its intent is the request's own id.
pub(super) fn opened(request: &Request, now: Timestamp, seconds: u32) -> Opened {
    Opened { intent: request.id.into(), deadline: now + TimeDelta::seconds(i64::from(seconds)) }
}

fn orderable<'a>(platform: &'a Platform, kind: &ServiceName, checked: u32) -> Result<&'a Service, Refusal> {
    let entry = platform.services.get(kind).ok_or_else(|| Refusal::NoSuchService { service: kind.clone() })?;
    if entry.state != ServiceState::Published {
        return Err(Refusal::ServiceNotOrderable { service: kind.clone(), state: entry.state.name().to_owned() });
    }
    let current = entry.service.version;
    if current != checked {
        return Err(Refusal::CatalogueMoved { service: kind.clone(), checked, current });
    }
    Ok(&entry.service)
}

fn check_zone(platform: &Platform, service: &Service, zone: Option<&ZoneName>) -> Result<(), Refusal> {
    match zone {
        None if service.zonal => Err(Refusal::ZoneMismatch { service: service.name.clone(), zonal: true }),
        Some(_) if !service.zonal => Err(Refusal::ZoneMismatch { service: service.name.clone(), zonal: false }),
        None => Ok(()),
        Some(zone) => match platform.zones.get(zone) {
            None => Err(Refusal::NoSuchZone { zone: zone.clone() }),
            Some(z) if z.state != ZoneState::Open => Err(Refusal::ZoneNotOpen { zone: zone.clone() }),
            Some(_) => Ok(()),
        },
    }
}

/// Writes what a flavor stands for into the spec, so that a replay never looks it up.
fn with_flavor(platform: &Platform, service: &Service, spec: &Spec, flavor: Option<&FlavorName>) -> Result<Spec, Refusal> {
    let mut spec = spec.clone();
    let Some(name) = flavor else { return Ok(spec) };
    if !service.dimensions.iter().any(|m| m.field.as_deref() == Some("vcpus")) {
        return Err(Refusal::field("#/flavor", format!("a {} has none", service.name)));
    }
    let flavor = platform.flavors.get(name).ok_or_else(|| Refusal::NoSuchFlavor { flavor: name.clone() })?;
    let fields = spec.as_object_mut().ok_or_else(|| Refusal::field("#/spec", "not an object"))?;
    for (field, value) in [("vcpus", u64::from(flavor.vcpus)), ("memory_mib", flavor.memory_mib)] {
        if fields.insert(field.to_owned(), value.into()).is_some() {
            return Err(Refusal::field(format!("#/spec/{field}"), "comes with the flavor"));
        }
    }
    fields.insert("flavor".to_owned(), name.as_str().into());
    Ok(spec)
}
