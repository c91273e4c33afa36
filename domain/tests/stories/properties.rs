//! What holds in every history: random commands and reports of all kinds, many of them refused, checked after each against a naive model.

use crate::cloud::*;
use chrono::TimeDelta;
use domain::{
    catalogue::Action,
    command::{Command, LifecycleFact, Origin, Request, Verdict},
    event::{CommandEvent, Event},
    id::{CellId, Dimension, ResourceId},
    partition::Partition,
    people::{Actor, Role},
    platform::ZoneState,
    quota::{Amounts, Level, Limit, check_room},
    refusal::Refusal,
    resource::{Phase, Resource, ResourceEvent, Work},
    tenant::{Clock, Tenant, TenantEvent},
};
use proptest::prelude::*;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

/// A draw: what to do and to what; numbers are taken modulo what there is when it is played.
#[derive(Debug, Clone)]
struct Move {
    what: u8,
    which: u8,
    other: u8,
    amount: u8,
    who: u8,
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = any::<(u8, u8, u8, u8, u8)>().prop_map(|(what, which, other, amount, who)| Move { what, which, other, amount, who });
    prop::collection::vec(one, 1..150)
}

const KINDS: [&str; 8] = ["server", "server", "volume", "network", "public_ip", "security_group", "bucket", "pool"];
const PEOPLE: [&str; 8] = ["ada", "ada", "ada", "ada", "tom", "carl", "uma", "stranger"];
const QUOTED: [&str; 4] = ["units", "vcpus", "servers", "volume_gib"];

struct World {
    cloud: Cloud,
    /// Every resource that ever was, gone ones included, with the intents that its steps had.
    known: Vec<ResourceId>,
    intents: BTreeMap<ResourceId, Vec<domain::id::IntentId>>,
    cells: Vec<CellId>,
}

impl World {
    fn new(effective: bool) -> Self {
        let mut cloud = Cloud::opened(if effective { Clock::Effective } else { Clock::Journal });
        cloud.gives("tom", Role::TenantAdministrator).gives("carl", Role::CellAdministrator).gives("uma", Role::CellUser);
        let tight = limits([("units", Limit::At(20)), ("vcpus", Limit::At(16)), ("servers", Limit::At(6))]);
        cloud.asks("olga", Command::SetTenantQuota { limits: tight, cell_default: changes([("units", Some(Limit::At(10)))]) }).accepted();
        let cells = vec![cloud.b, cloud.c];
        Self { cloud, known: Vec::new(), intents: BTreeMap::new(), cells }
    }

    fn pick<T: Copy>(of: &[T], n: u8) -> Option<T> {
        (!of.is_empty()).then(|| of[usize::from(n) % of.len()])
    }

    /// Mostly what lives; sometimes what is gone.
    fn resource(&self, n: u8) -> ResourceId {
        let living: Vec<ResourceId> = self.cloud.acme().resources.keys().copied().collect();
        let from_all = n.is_multiple_of(16) || living.is_empty();
        Self::pick(if from_all { &self.known } else { &living }, n).unwrap_or(ResourceId(nobody()))
    }

    /// One that lives and for which something is so; any where there is none.
    fn one_that(&self, n: u8, is: impl Fn(&Resource) -> bool) -> ResourceId {
        let fit: Vec<ResourceId> = self.cloud.acme().resources.iter().filter(|(_, r)| is(r)).map(|(id, _)| *id).collect();
        Self::pick(&fit, n).filter(|_| !n.is_multiple_of(16)).unwrap_or_else(|| self.resource(n))
    }

    /// What a worker has to do with: an open step, mostly.
    fn worked_on(&self, n: u8) -> ResourceId {
        let remains: Vec<ResourceId> = self.cloud.acme().remains.keys().copied().collect();
        match Self::pick(&remains, n) {
            Some(id) if n.is_multiple_of(4) => id,
            _ => self.one_that(n, |r| r.step.is_some()),
        }
    }

    fn cell(&self, n: u8) -> CellId {
        Self::pick(&self.cells, n).expect("there are two from the start")
    }

    fn spec(&self, kind: &str, m: &Move) -> serde_json::Value {
        let named = |n: u8| self.resource(n).to_string();
        match kind {
            "server" if m.other.is_multiple_of(4) => json!({ "vcpus": m.amount % 9, "memory_mib": 512, "networks": [named(m.other)] }),
            "server" if m.other % 4 == 1 => json!({ "vcpus": m.amount % 9, "memory_mib": 512, "disk": named(m.which) }),
            "server" => json!({ "vcpus": m.amount % 9, "memory_mib": 512 }),
            "volume" => json!({ "size_gib": m.amount }),
            "pool" => json!({ "units": m.amount % 12 }),
            "security_group" if m.other.is_multiple_of(2) => json!({ "peers": [named(m.other)] }),
            _ => json!({}),
        }
    }

    /// The request that a move stands for, here and now.
    fn request(&mut self, m: &Move) -> (Request, Origin) {
        let free = |r: &Resource| r.step.is_none();
        let resource = match m.what % 64 {
            14..=18 | 26..=29 => self.resource(m.which),
            19..=21 => self.one_that(m.which, |r| free(r) && r.power),
            22..=24 => self.one_that(m.which, |r| free(r) && matches!(r.kind.as_str(), "volume" | "public_ip")),
            25 => self.one_that(m.which, |r| free(r) && r.attached_to.is_some()),
            30..=47 | 50..=52 => self.worked_on(m.which),
            _ => self.one_that(m.which, free),
        };
        let intents = self.intents.get(&resource).map_or(&[][..], Vec::as_slice);
        // Mostly the open step, sometimes one that was.
        let tenant = self.cloud.acme();
        let open = tenant.resources.get(&resource).and_then(|r| r.step.as_ref()).or(tenant.remains.get(&resource).map(|r| &r.step));
        let open = open.map(|s| s.intent);
        let past = Self::pick(intents, m.other).unwrap_or(domain::id::IntentId(nobody()));
        let intent = open.filter(|_| !m.other.is_multiple_of(8)).unwrap_or(past);
        let kind_here = self.cloud.acme().resources.get(&resource).map_or(kind("server"), |r| r.kind.clone());
        let cell_here = self.cell(m.other);
        let person_asks = |command: Command| (person(PEOPLE[usize::from(m.who) % PEOPLE.len()]), Origin::Commands, command);
        let operator = |command: Command| (person("olga"), Origin::Commands, command);
        let worker = |command: Command| (Actor::Service("worker".to_owned()), Origin::Reports, command);
        let problem = || "no".to_owned();
        let verdict = [Verdict::Done, Verdict::Failed, Verdict::Retry][usize::from(m.other % 3)];
        let (actor, origin, command) = match m.what % 64 {
            0..=13 => {
                let name = KINDS[usize::from(m.who) % KINDS.len()];
                let order = self.cloud.order(name).spec(self.spec(name, m));
                let order = if m.which.is_multiple_of(5) { order.at_tenant() } else { order.in_cell(cell_here) };
                person_asks(order.into())
            }
            14..=17 => person_asks(change(resource, self.spec(kind_here.as_str(), m))),
            18 => person_asks(rename(resource, if m.other.is_multiple_of(2) { "one" } else { "two" })),
            19..=21 => {
                let stopped = self.cloud.acme().resources.get(&resource).is_some_and(|r| r.phase == Phase::Stopped);
                let likely = if stopped { Action::Start } else { Action::Stop };
                person_asks(act(resource, [likely, likely, Action::Reboot, Action::Start][usize::from(m.other % 4)]))
            }
            22..=24 => {
                let of_cell = self.cloud.acme().resources.get(&resource).and_then(|r| r.cell);
                person_asks(attach(resource, self.one_that(m.other, |r| free(r) && r.power && r.cell == of_cell)))
            }
            25 => person_asks(detach(resource)),
            26..=29 => person_asks(delete(resource)),
            30..=42 => worker(Command::ReportDone {
                resource,
                intent,
                external: (!m.amount.is_multiple_of(4)).then(|| "ext".to_owned()),
                kind: kind_here,
                zone: None,
            }),
            43..=45 => worker(Command::ReportFailed { resource, intent, problem: problem(), remains: m.amount.is_multiple_of(2) }),
            46 => worker(Command::ReportAttempt { resource, intent, attempts: u32::from(m.amount), problem: problem() }),
            47 => {
                let call_deadline = self.cloud.now + TimeDelta::seconds(i64::from(m.amount));
                worker(Command::ReportPending { resource, intent, worker: format!("w{}", m.who % 2), epoch: 1, call_deadline })
            }
            48..=49 => worker(vanished(resource)),
            50..=51 => worker(Command::DeadlinePassed { resource, intent }),
            52 => operator(Command::ResolveStep { resource, intent, verdict, reason: problem() }),
            53 => {
                let fact = [LifecycleFact::Provisioned, LifecycleFact::DeleteRequested, LifecycleFact::Vanished][usize::from(m.other % 3)];
                operator(correct(resource, fact, self.cloud.now))
            }
            54..=55 => {
                let limit = if m.amount == 0 { Limit::Unlimited } else { Limit::At(u64::from(m.amount % 30)) };
                let name = QUOTED[usize::from(m.who) % QUOTED.len()];
                operator(Command::SetTenantQuota { limits: limits([(name, limit)]), cell_default: changes([]) })
            }
            56..=57 => {
                let limit = (!m.which.is_multiple_of(3)).then(|| Limit::At(u64::from(m.amount % 20)));
                let name = QUOTED[usize::from(m.who) % QUOTED.len()];
                person_asks(Command::SetCellQuota { cell: cell_here, limits: changes([(name, limit)]) })
            }
            58 if m.amount.is_multiple_of(4) => operator(suspend()),
            58 | 59 => operator(Command::ResumeTenant {}),
            60 => person_asks(if m.amount.is_multiple_of(2) { cell("more") } else { Command::CloseCell { cell: cell_here } }),
            61 => {
                let role = Role::ALL[usize::from(m.other) % 7];
                let of_cell = role.is_of_cell().then_some(cell_here);
                let who = PEOPLE[usize::from(m.which) % PEOPLE.len()];
                person_asks(if m.amount.is_multiple_of(2) { grant(who, role, of_cell) } else { revoke(who, role, of_cell) })
            }
            62 if m.amount < 24 => person_asks(close(m.amount.is_multiple_of(2))),
            _ => worker(delete(resource)),
        };
        let request = self.cloud.request(actor, Some(self.cloud.tenant), command);
        let at = (self.cloud.acme().clock == Clock::Effective && origin == Origin::Commands && m.amount.is_multiple_of(3))
            .then(|| self.cloud.now - TimeDelta::seconds(i64::from(m.who)));
        (Request { at, ..request }, origin)
    }

    /// Plays a move and checks everything that must hold after it.
    fn play(&mut self, m: &Move) -> Result<(), TestCaseError> {
        self.cloud.waits(i64::from(m.amount) * i64::from(m.who % 4));
        if m.what == 255 {
            let state = if m.amount.is_multiple_of(2) { ZoneState::Draining } else { ZoneState::Open };
            self.cloud.runs(Command::SetZoneState { zone: "az1".parse().unwrap(), state });
        }
        let before = self.cloud.acme().clone();
        let (request, origin) = self.request(m);
        let answer = self.cloud.send(&request, origin);
        self.notice(&answer);
        self.the_claim_was_decided_rightly(&before, &request, &answer)?;
        the_tenant_adds_up(self.cloud.acme())?;
        self.again_changes_nothing(&request, origin, &answer)
    }

    /// Remembers ids for later moves.
    fn notice(&mut self, answer: &Answer) {
        for event in &answer.events {
            match event {
                Event::Resource { resource, event: ResourceEvent::Requested(_), .. } => self.known.push(*resource),
                Event::Cell { cell, event: domain::tenant::CellEvent::Created { .. }, .. } => self.cells.push(*cell),
                _ => {}
            }
            if let Event::Resource { resource, .. } = event
                && let Some(step) = self.cloud.acme().resources.get(resource).and_then(|r| r.step.as_ref())
            {
                let all = self.intents.entry(*resource).or_default();
                if all.last() != Some(&step.intent) {
                    all.push(step.intent);
                }
            }
        }
    }

    /// Nothing passes a limit, and nothing that fits is refused for want of room.
    fn the_claim_was_decided_rightly(&self, before: &Tenant, request: &Request, answer: &Answer) -> Result<(), TestCaseError> {
        let after = self.cloud.acme();
        if answer.refusal().is_none() {
            let grown = after.used.above(&before.used);
            for (dimension, _) in grown.iter() {
                prop_assert!(Limit::At(after.used.get(dimension)) <= naive_limit(after, None, dimension), "{dimension} of the tenant");
            }
            for (id, cell) in &after.cells {
                let had = before.cells.get(id).map(|c| c.used.clone()).unwrap_or_default();
                for (dimension, _) in cell.used.above(&had).iter() {
                    prop_assert!(Limit::At(cell.used.get(dimension)) <= naive_limit(after, Some(*id), dimension), "{dimension} of a cell");
                }
            }
        }
        if let Some(Refusal::QuotaExceeded { level, dimension, limit, used, asked }) = answer.refusal() {
            let cell = match &request.command {
                Command::CreateResource { cell, .. } => *cell,
                Command::ChangeResource { resource, .. } => before.resources[resource].cell,
                other => panic!("{other:?} claims nothing"),
            };
            let at = match level {
                Level::Tenant => None,
                Level::Cell => cell,
            };
            let naive_used: u64 = sum(before, at).get(dimension);
            prop_assert_eq!((*limit, *used), (naive_limit(before, at, dimension), naive_used));
            prop_assert!(Limit::At(used + asked) > *limit, "it fits: {:?}", answer.refusal());
        }
        Ok(())
    }

    /// The same request again is repeated, or, where the key is free, refused again; and the state is the same but for what counts records.
    fn again_changes_nothing(&mut self, request: &Request, origin: Origin, first: &Answer) -> Result<(), TestCaseError> {
        let tenant = self.cloud.acme().clone();
        let of = self.cloud.chain.log.len() as u64;
        let second = self.cloud.send(request, origin);
        match first.refusal() {
            Some(refusal) if refusal.is_worth_retrying() => prop_assert_eq!(&second.events, &first.events),
            _ => prop_assert_eq!(&second.events, &vec![Event::Command(CommandEvent::Repeated { of })]),
        }
        prop_assert_eq!(&tenant, self.cloud.acme());
        Ok(())
    }

    /// Workers do all that is open, and rounds go on until nothing is: bounded, or something waits for ever.
    fn workers_finish(&mut self, m: &[Move]) -> Result<(), TestCaseError> {
        let mut draw = m.iter().cycle();
        for _ in 0..6 {
            let tenant = self.cloud.acme();
            let open = tenant.resources.iter().filter(|(_, r)| r.step.is_some()).map(|(id, _)| *id);
            let open: Vec<ResourceId> = open.chain(tenant.remains.keys().copied()).collect();
            for id in open {
                // A step may have ended with another one.
                if self.cloud.acme().resources.get(&id).is_some_and(|r| r.step.is_none()) {
                    continue;
                }
                let m = draw.next().expect("a cycle of at least one");
                let answer = match m.what % 4 {
                    0 => self.cloud.done(id),
                    1 => self.cloud.fails(id, m.amount.is_multiple_of(2)),
                    // The worker is dead.
                    _ => {
                        self.cloud.waits(900);
                        self.cloud.deadline(id)
                    }
                };
                self.notice(&answer);
                the_tenant_adds_up(self.cloud.acme())?;
            }
        }
        for (id, resource) in self.cloud.acme().resources.clone() {
            if let Some(step) = &resource.step {
                let removes = matches!(step.work, Work::Delete | Work::CleanUp);
                prop_assert!(removes, "{id} waits for {}", step.work.name());
                prop_assert!(
                    self.cloud.waits(900).deadline(id).brief() == "resource.overdue" || step.overdue,
                    "nobody sees that {id} waits"
                );
                self.cloud.done(id).accepted();
            }
        }
        for id in self.cloud.acme().remains.keys().copied().collect::<Vec<_>>() {
            self.cloud.done(id).is("resource.remains_removed");
        }
        let left = self.cloud.acme().resources.values().filter(|r| r.step.is_some()).count();
        prop_assert_eq!(left, 0);
        Ok(())
    }

    /// A drain comes to its end whatever there was: each round deletes what nobody uses.
    fn the_tenant_can_be_closed(&mut self) -> Result<(), TestCaseError> {
        self.cloud.asks("olga", close(true)).accepted();
        for _ in 0..self.known.len() + 1 {
            for id in self.cloud.acme().resources.keys().copied().collect::<Vec<_>>() {
                if self.cloud.reports(delete(id)).brief() == "resource.delete_requested" {
                    self.cloud.done(id).accepted();
                }
            }
        }
        let left = self.cloud.acme().resources.clone();
        // Two that name each other can only be parted by a person.
        let ring = left.keys().all(|id| self.cloud.acme().users_of(*id).any(|user| user != *id));
        prop_assert!(left.is_empty() || ring, "{left:?}");
        if left.is_empty() {
            self.cloud.reports(close(true));
            prop_assert_eq!(self.cloud.acme().status, domain::tenant::TenantStatus::Closed);
            prop_assert!(self.cloud.acme().used.is_empty());
        }
        Ok(())
    }
}

fn naive_limit(tenant: &Tenant, cell: Option<CellId>, dimension: &Dimension) -> Limit {
    let of_tenant = tenant.limits.get(dimension).copied().unwrap_or(Limit::At(0));
    match cell {
        None => of_tenant,
        Some(cell) => {
            let own = tenant.cells[&cell].limits.get(dimension).or(tenant.cell_default.get(dimension));
            own.copied().unwrap_or(Limit::Unlimited).min(of_tenant)
        }
    }
}

/// What a resource counts, told from its phase, spec and step alone.
fn naive_claim(resource: &Resource) -> Amounts {
    if resource.phase == Phase::Failed || resource.phase == Phase::Failing && resource.terms.claim.is_empty() {
        return Amounts::default();
    }
    let of = |spec: &serde_json::Value| -> Amounts {
        let service = crate::catalogue::services().into_iter().find(|s| s.name == resource.kind).expect("of the catalogue");
        let amount = |m: &domain::catalogue::Measure| m.field.as_ref().map_or(1, |f| spec[f].as_u64().unwrap_or(0));
        service.dimensions.iter().map(|m| (m.dimension.clone(), amount(m))).collect()
    };
    match resource.step.as_ref().map(|s| &s.work) {
        Some(Work::Change { before, after }) => of(&before.spec).greatest(&of(&after.spec)),
        // A delete that came in the middle of a change keeps what was claimed for both.
        Some(Work::Delete) => resource.terms.claim.clone(),
        _ => of(&resource.terms.spec),
    }
}

fn sum(tenant: &Tenant, cell: Option<CellId>) -> Amounts {
    let claims = tenant.resources.values().filter(|r| cell.is_none() || r.cell == cell).map(|r| &r.terms.claim);
    claims.flat_map(|claim| claim.iter().map(|(d, n)| (d.clone(), n))).collect()
}

/// Usage is the sum of claims on both levels, cells count what they hold, and `users` is what resources name.
fn the_tenant_adds_up(tenant: &Tenant) -> Result<(), TestCaseError> {
    prop_assert_eq!(&tenant.used, &sum(tenant, None));
    for (id, cell) in &tenant.cells {
        prop_assert_eq!(&cell.used, &sum(tenant, Some(*id)));
        prop_assert_eq!(cell.resources, tenant.resources.values().filter(|r| r.cell == Some(*id)).count() as u64);
        prop_assert!(!cell.closed || cell.resources == 0);
    }
    let users: BTreeSet<_> = tenant.resources.iter().flat_map(|(id, r)| r.named().map(|named| (named, *id))).collect();
    prop_assert_eq!(&tenant.users.iter().copied().collect::<BTreeSet<_>>(), &users);
    for (id, resource) in &tenant.resources {
        prop_assert_eq!(&resource.terms.claim, &naive_claim(resource), "{} {:?}", id, resource);
        prop_assert!(resource.named().all(|named| tenant.resources.contains_key(&named)), "{id} names what is gone");
        prop_assert!(resource.observed_generation <= resource.generation);
        let working = matches!(resource.phase, Phase::Creating | Phase::Failing | Phase::Deleting);
        prop_assert!(resource.step.is_some() || !working, "{id} waits for nothing: {resource:?}");
        prop_assert!(!tenant.remains.contains_key(id));
    }
    let supers = |grants: &BTreeSet<domain::people::Grant>| grants.iter().any(|g| g.role == Role::TenantSuperAdministrator);
    prop_assert!(tenant.members.values().any(supers), "nobody governs the tenant");
    Ok(())
}

/// A life of the tenant from its opening to its end. When the world is dropped its log is replayed and compared.
fn history(moves: &[Move], effective: bool) -> Result<World, TestCaseError> {
    let mut world = World::new(effective);
    for m in moves {
        world.play(m)?;
    }
    let state = &world.cloud.chain.state;
    let text = serde_json::to_string(state).unwrap();
    let back: Partition = serde_json::from_str(&text).unwrap();
    prop_assert!(back == *state, "a snapshot reads back as another state");
    world.workers_finish(moves)?;
    world.the_tenant_can_be_closed()?;
    Ok(world)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 384, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn in_every_history_usage_is_the_sum_of_claims_and_no_limit_is_passed(moves in moves(), effective: bool) {
        history(&moves, effective)?;
    }

    #[test]
    fn room_is_what_the_limit_leaves(used in 0..40u64, asked in 0..40u64, limit in 0..40u64) {
        let amount = |n| [(dimension("units"), n)].into_iter().collect::<Amounts>();
        let room = check_room(Level::Cell, &amount(used), &amount(asked), |_| Limit::At(limit));
        prop_assert_eq!(room.is_ok(), asked == 0 || used + asked <= limit);
    }

    #[test]
    fn amounts_add_and_subtract_back(pairs in prop::collection::vec((0..4u8, 0..1000u64), 0..8), more in prop::collection::vec((0..4u8, 0..1000u64), 0..8)) {
        let amounts = |pairs: &[(u8, u64)]| pairs.iter().map(|(d, n)| (dimension(&format!("d{d}")), *n)).collect::<Amounts>();
        let (one, two) = (amounts(&pairs), amounts(&more));
        let mut both = one.clone();
        both.add(&two).unwrap();
        both.subtract(&two).unwrap();
        prop_assert_eq!(&both, &one);
        let most = one.greatest(&two);
        let mut built = one.clone();
        built.add(&two.above(&one)).unwrap();
        prop_assert_eq!(&most, &built);
        prop_assert_eq!(serde_json::from_str::<Amounts>(&serde_json::to_string(&most).unwrap()).unwrap(), most);
    }
}

#[test]
fn the_moves_reach_every_kind_of_fact() {
    use proptest::{strategy::ValueTree, test_runner::TestRunner};
    let mut runner = TestRunner::deterministic();
    let mut seen = BTreeSet::new();
    for n in 0..192 {
        let moves = moves().new_tree(&mut runner).unwrap().current();
        let world = history(&moves, n % 2 == 0).unwrap();
        seen.extend(world.cloud.chain.log.iter().flat_map(|c| &c.events).map(name));
    }
    let all = |family: &str, message: String| -> Vec<String> {
        message.split('`').skip(3).step_by(2).map(|name| format!("{family}.{name}")).collect()
    };
    let unknown = || json!({ "type": "?" });
    let mut expected = all("resource", serde_json::from_value::<ResourceEvent>(unknown()).unwrap_err().to_string());
    expected.extend(all("tenant", serde_json::from_value::<TenantEvent>(unknown()).unwrap_err().to_string()));
    expected.retain(|name| !matches!(name.as_str(), "tenant.renamed" | "tenant.cell_default_set"));
    let missed: Vec<&String> = expected.iter().filter(|name| !seen.contains(*name)).collect();
    assert!(missed.is_empty(), "never happened: {missed:?}");
}
