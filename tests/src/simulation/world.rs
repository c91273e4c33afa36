//! One seed: everything there is, what goes wrong, and when.

use super::{
    checker::{Checker, Violated},
    clients::{Client, Moment, principal},
    deciders::{DeciderHost, Disk},
    hosts::Host,
    network::{JOURNAL, Network},
    provider::{Far, LAG_S},
    shown::Shown,
    time::{Time, drawn},
};
use chrono::{DateTime, TimeDelta, Utc};
use domain::{
    command::Command,
    id::{CommandId, TenantId},
    quota::Limit,
};
use journal::twin::TwinGroup;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use schemas::record::Origin;
use std::collections::{BTreeMap, BTreeSet};
use workers::decider::snapshot::Snapshots;
use workers::provider::{Behaviour, Filter, Rule, Verb};

const DECIDERS: usize = 2;
const WORKERS: usize = 2;
const APIS: usize = 2;
/// Turns with faults, about a tenth of a second each.
const STORMY: u32 = 400;
/// Virtual time in which everything must have converged once faults are off.
const CALM: TimeDelta = TimeDelta::minutes(30);

pub struct World {
    random: StdRng,
    time: Time,
    network: Network,
    group: TwinGroup,
    /// Slots; an empty one starts again at its time.
    deciders: Vec<Result<DeciderHost, DateTime<Utc>>>,
    disks: Vec<Disk>,
    apis: Vec<Option<Host>>,
    workers: Vec<Option<Host>>,
    down_until: BTreeMap<(char, usize), DateTime<Utc>>,
    started: u32,
    pub far: Far,
    shown: Shown,
    pub checker: Checker,
    clients: Vec<Client>,
    faults: bool,
    /// Names that vanished at the provider.
    pub vanished: BTreeSet<String>,
    pub told: Vec<String>,
}

impl World {
    pub fn new(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let time = Time::new(DateTime::from_timestamp(1_800_000_000, 0).unwrap());
        let network = Network::new();
        let checker = Checker::new(&network);
        let far = Far::new(&time, random.random());
        let tenants = [TenantId(drawn(&mut random)), TenantId(drawn(&mut random))];
        let mut world = Self {
            group: TwinGroup::new(JOURNAL.all_partitions()),
            deciders: (0..DECIDERS).map(|_| Err(time.now())).collect(),
            disks: vec![Disk::default(); DECIDERS],
            apis: (0..APIS).map(|_| None).collect(),
            workers: (0..WORKERS).map(|_| None).collect(),
            down_until: BTreeMap::new(),
            started: 0,
            shown: Shown::default(),
            clients: vec![Client::operator(opening(&tenants))],
            faults: false,
            vanished: BTreeSet::new(),
            told: vec![format!("seed {seed}")],
            random,
            time,
            network,
            far,
            checker,
        };
        world.clients.extend((0..4).map(|n| Client::of_tenant(&format!("client {n}"), tenants[n % 2], "ada", 0)));
        world
    }

    /// The whole story of a seed.
    pub fn run(&mut self) -> Result<(), Violated> {
        self.calm(|world| world.clients[0].is_done() && world.tenants_open())?;
        for client in &mut self.clients[1..] {
            client.left(8);
        }
        self.faults = true;
        self.bad_weather();
        for _ in 0..STORMY {
            self.something_goes_wrong()?;
            self.turn()?;
        }
        self.faults = false;
        self.recover();
        self.calm(Self::has_converged)?;
        self.check_end()
    }

    /// Turns without faults until something holds.
    fn calm(&mut self, holds: impl Fn(&Self) -> bool) -> Result<(), Violated> {
        let until = self.time.now() + CALM;
        while !holds(self) {
            if self.time.now() > until {
                return Err(format!("nothing converges: {}", self.what_is_open()));
            }
            self.turn()?;
        }
        Ok(())
    }

    /// A moment in which everybody may do something.
    fn turn(&mut self) -> Result<(), Violated> {
        let faults = self.faults;
        let step = if faults { self.random.random_range(1..200) } else { 250 };
        self.time.advance(TimeDelta::milliseconds(step));
        let now = self.time.now();
        self.network.events.set_clock(Some(now.timestamp_millis()));
        self.start_what_is_down();
        self.far.advance(&mut self.told);
        self.network.deliver(&mut self.random, faults, now);
        for slot in 0..DECIDERS {
            if let Ok(decider) = &mut self.deciders[slot]
                && decider.paused_until <= now
            {
                decider.turn(now, faults);
                if let Some(problem) = decider.problem() {
                    return Err(format!("{} stopped: {problem}", decider.name));
                }
            }
        }
        self.checker.step(&mut self.told)?;
        for (p, chain) in self.checker.chains.iter().enumerate() {
            if !faults || self.random.random_bool(0.5) {
                self.shown.show(p, chain.seq, &chain.fold);
            }
        }
        for host in self.apis.iter_mut().chain(&mut self.workers).flatten().filter(|host| host.paused_until <= now) {
            host.turn(&mut self.random, faults);
        }
        for client in &mut self.clients {
            let mut moment = Moment { now, random: &mut self.random, hosts: &self.apis, faults };
            client.step(&mut moment, &mut self.checker, &mut self.told)?;
        }
        Ok(())
    }

    fn start_what_is_down(&mut self) {
        let now = self.time.now();
        let skew = |world: &mut Self, rarely: i64, often: i64| {
            let most = if world.random.random_ratio(1, 8) { rarely } else { often };
            if world.faults { TimeDelta::milliseconds(world.random.random_range(-most..=most)) } else { TimeDelta::zero() }
        };
        for slot in 0..DECIDERS {
            if matches!(&self.deciders[slot], Err(at) if *at <= now) {
                self.started += 1;
                let name = format!("decider {slot}/{}", self.started);
                let skew = skew(self, 300_000, 2_000);
                self.told.push(format!("{name} starts, {skew} ahead"));
                let view = self.network.view();
                let seed = self.random.random();
                self.deciders[slot] = Ok(DeciderHost::start(name, view, &self.group, &self.disks[slot], now, skew, seed));
            }
        }
        for (kind, slot) in (0..APIS).map(|n| ('a', n)).chain((0..WORKERS).map(|n| ('w', n))) {
            let host = if kind == 'a' { &self.apis[slot] } else { &self.workers[slot] };
            if host.is_some() || self.down_until.get(&(kind, slot)).is_some_and(|until| *until > now) {
                continue;
            }
            self.started += 1;
            let skew = if kind == 'a' { skew(self, 300_000, 2_000) } else { skew(self, 1_500, 1_500) };
            let seed = self.random.random();
            let mut host = Host::start(&self.network, &self.checker.stored(), &self.time, skew, seed);
            let name = format!("{kind}{slot}-{}", self.started);
            self.told.push(format!("{name} starts, {skew} ahead"));
            if kind == 'a' {
                self.apis[slot] = Some(host);
            } else {
                host.work(&name, &self.shown, &self.far);
                self.workers[slot] = Some(host);
            }
        }
    }

    fn bad_weather(&mut self) {
        let mut rules = vec![Rule::new(Behaviour::Lag { seconds: LAG_S })];
        let mut rule = |rule: Rule, probability: f64| {
            if self.random.random_bool(0.4) {
                rules.push(rule.with_probability(probability));
            }
        };
        rule(Rule::new(Behaviour::ErrorAfterDoing), 0.1);
        rule(Rule::new(Behaviour::ErrorBeforeDoing), 0.1);
        rule(Rule::new(Behaviour::TimeoutAfterDoing), 0.1);
        rule(Rule::new(Behaviour::TimeoutBeforeDoing), 0.1);
        rule(Rule::new(Behaviour::CutAfterDoing), 0.1);
        rule(Rule::new(Behaviour::LateAnswer { seconds: 40.0 }), 0.05);
        rule(Rule::new(Behaviour::Refuse { status: 400, text: "no such image".into() }).on(Verb::Create), 0.1);
        rule(Rule::new(Behaviour::Refuse { status: 403, text: "Quota exceeded for cores".into() }), 0.05);
        rule(Rule::new(Behaviour::Unavailable { retry_after_seconds: 3 }), 0.1);
        rule(Rule::new(Behaviour::EndsInError { text: "No valid host was found.".into() }), 0.1);
        rule(Rule::new(Behaviour::NeverEnds).on(Verb::Create), 0.1);
        rule(Rule::new(Behaviour::Slow { factor: 10.0 }), 0.1);
        let now = self.time.now();
        self.far.cloud.cloud(|cloud, _| cloud.set_rules(rules, now));
    }

    fn something_goes_wrong(&mut self) -> Result<(), Violated> {
        let now = self.time.now();
        let later = |random: &mut StdRng| now + TimeDelta::milliseconds(random.random_range(0..15_000));
        match self.random.random_range(0..300) {
            0..4 => {
                let slot = self.random.random_range(0..DECIDERS);
                let Ok(decider) = &self.deciders[slot] else { return Ok(()) };
                let mut disk = self.disks[slot].clone();
                for (partition, (stored, observed)) in decider.snapshots() {
                    self.checker.agrees(&decider.name, partition, &stored, &observed)?;
                    disk.save(partition, stored, observed);
                }
                let kept = self.random.random_range(0..3);
                self.told.push(format!("{} crashes, {kept}", decider.name));
                match kept {
                    0 => self.disks[slot] = disk,
                    1 => self.disks[slot] = Disk::default(),
                    _ => {}
                }
                self.deciders[slot] = Err(later(&mut self.random));
            }
            4..8 => {
                let slot = self.random.random_range(0..DECIDERS);
                if let Ok(decider) = &mut self.deciders[slot] {
                    decider.paused_until = later(&mut self.random);
                    self.told.push(format!("{} stands still until {}", decider.name, decider.paused_until));
                }
            }
            8..12 => {
                let slot = self.random.random_range(0..DECIDERS);
                if let Ok(decider) = &mut self.deciders[slot] {
                    decider.told_to_lead();
                    self.told.push(format!("{} is told to lead", decider.name));
                }
            }
            12..15 => self.told.extend(self.network.cut(&mut self.random)),
            15..18 => {
                let answers = self.random.random_bool(0.7);
                self.network.events.answer(answers);
                self.told.push(format!("the broker answers questions: {answers}"));
            }
            18..22 => {
                let slot = self.random.random_range(0..WORKERS);
                if self.workers[slot].take().is_some() {
                    self.down_until.insert(('w', slot), later(&mut self.random));
                    self.told.push(format!("worker {slot} crashes"));
                }
            }
            22..25 => {
                let slot = self.random.random_range(0..APIS);
                if self.apis[slot].take().is_some() {
                    self.down_until.insert(('a', slot), later(&mut self.random));
                    self.told.push(format!("api {slot} crashes"));
                }
            }
            25..29 => {
                let slot = self.random.random_range(0..WORKERS + APIS);
                let host = if slot < WORKERS { &mut self.workers[slot] } else { &mut self.apis[slot - WORKERS] };
                if let Some(host) = host {
                    host.paused_until = later(&mut self.random);
                    self.told.push(format!("host {slot} stands still until {}", host.paused_until));
                }
            }
            29..31 => self.vanish(),
            31..33 => {
                self.time.advance(TimeDelta::milliseconds(self.random.random_range(1_000..40_000)));
                self.told.push("time leaps".to_owned());
            }
            _ => {}
        }
        Ok(())
    }

    /// Something is gone from the provider though nobody asked for it.
    fn vanish(&mut self) {
        let objects = self.objects();
        if objects.is_empty() {
            return;
        }
        let object = &objects[self.random.random_range(0..objects.len())];
        self.far.cloud.cloud(|cloud, now| cloud.vanish(&object.1, now));
        self.told.push(format!("{} vanishes", object.0));
        self.vanished.insert(object.0.clone());
    }

    /// Names and ids of all that is at the provider.
    pub fn objects(&self) -> Vec<(String, String)> {
        let page = self.far.cloud.cloud(|cloud, now| cloud.inventory(&Filter::default(), 10_000, None, now));
        page.objects.into_iter().map(|object| (object.name, object.id)).collect()
    }

    fn recover(&mut self) {
        let now = self.time.now();
        self.told.push("faults end".to_owned());
        self.far.hurry();
        self.far.cloud.cloud(|cloud, _| cloud.set_rules(Vec::new(), now));
        self.network.events.answer(true);
        self.down_until.clear();
        for decider in &mut self.deciders {
            match decider {
                Ok(decider) => {
                    decider.paused_until = now;
                    decider.correct_clock();
                }
                Err(at) => *at = now,
            }
        }
        for host in self.apis.iter_mut().chain(&mut self.workers).flatten() {
            host.paused_until = now;
        }
    }

    fn tenants_open(&self) -> bool {
        self.checker.chains.iter().map(|chain| chain.fold.tenants.len()).sum::<usize>() == 2
    }

    pub fn deciders(&self) -> impl Iterator<Item = &DeciderHost> {
        self.deciders.iter().flatten()
    }

    pub fn network(&self) -> &Network {
        &self.network
    }

    pub fn clients(&self) -> &[Client] {
        &self.clients
    }
}

/// What makes a platform with two tenants.
fn opening(tenants: &[TenantId]) -> Vec<(Origin, CommandId, Command)> {
    let service = serde_json::json!({
        "name": "server", "version": 1, "title": "Server", "driver": "simulated", "levels": {"cell": true, "tenant": true}, "zonal": true,
        "power": true, "actions": ["start", "stop", "reboot"],
        "dimensions": [{"dimension": "servers", "unit": "1", "meaning": "machines"},
                       {"dimension": "vcpus", "unit": "1", "meaning": "processors", "field": "vcpus"}],
        "changes": [{"field": "vcpus"}],
        "deadlines": {"create_s": 60, "change_s": 60, "delete_s": 60}, "spec": {}
    });
    let mut commands = vec![
        (Origin::Reports, Command::AppointOperator { operator: principal("olga") }),
        (Origin::Commands, Command::PublishService { service: serde_json::from_value(service).unwrap() }),
        (Origin::Commands, Command::DeclareRegion { region: "r".parse().unwrap(), title: "Region".into() }),
        (Origin::Commands, Command::DeclareZone { zone: "az1".parse().unwrap(), region: "r".parse().unwrap() }),
    ];
    let limits = [("servers", 4), ("vcpus", 9)].map(|(dimension, limit)| (dimension.parse().unwrap(), Limit::At(limit)));
    commands.extend(tenants.iter().map(|tenant| {
        let reserve = Command::ReserveTenant {
            reference: format!("party {tenant}"),
            name: "A tenant".into(),
            administrator: principal("ada"),
            clock: Default::default(),
            labels: Default::default(),
            limits: BTreeMap::from(limits.clone()),
            cell_default: Default::default(),
        };
        (Origin::Commands, reserve)
    }));
    let first = CommandId(tenants[0].0);
    let ids = (0..4).map(|n| first.derive(&n.to_string())).chain(tenants.iter().map(|tenant| CommandId(tenant.0)));
    ids.zip(commands).map(|(id, (origin, command))| (origin, id, command)).collect()
}
