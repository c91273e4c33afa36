//! Customers: each orders one thing after another, gives up waiting, asks again under the same key, and sometimes with another body.

use super::{
    checker::{Checker, Violated},
    hosts::{Answer, Host},
    time::drawn,
};
use chrono::{DateTime, TimeDelta, Utc};
use domain::{
    catalogue::Action,
    command::Command,
    event::{CommandEvent, Event},
    id::{CommandId, ResourceId, TenantId},
    people::{Actor, Principal},
    resource::ResourceEvent,
};
use rand::{RngExt, rngs::StdRng};
use schemas::{
    command::CommandRecord,
    event::decode,
    record::{Digest, Origin},
};
use tokio::task::JoinHandle;

/// How long a caller's word counts.
const EXPIRES: TimeDelta = TimeDelta::seconds(60);

pub fn principal(subject: &str) -> Principal {
    Principal { issuer: "https://issuer.test".into(), subject: subject.into() }
}

/// One customer of one tenant.
pub struct Client {
    pub name: String,
    tenant: Option<TenantId>,
    who: Principal,
    /// What it will ask for, last first; then what comes to its mind.
    script: Vec<(Origin, CommandId, Command)>,
    left: u32,
    mine: Vec<ResourceId>,
    asking: Option<Asking>,
}

struct Asking {
    origin: Origin,
    id: CommandId,
    command: Command,
    attempts: u32,
    state: State,
}

enum State {
    /// Asks at this time.
    At(DateTime<Utc>),
    /// Waits until then for an answer of this process.
    Waiting(Answer, JoinHandle<()>, DateTime<Utc>),
}

/// Where a client finds who takes its commands.
pub struct Moment<'a> {
    pub now: DateTime<Utc>,
    pub random: &'a mut StdRng,
    pub hosts: &'a [Option<Host>],
    pub faults: bool,
}

impl Client {
    /// A customer with so many wishes.
    pub fn of_tenant(name: &str, tenant: TenantId, who: &str, left: u32) -> Self {
        Self { name: name.to_owned(), tenant: Some(tenant), who: principal(who), script: Vec::new(), left, mine: Vec::new(), asking: None }
    }

    /// The operator, who does what is written down.
    pub fn operator(mut script: Vec<(Origin, CommandId, Command)>) -> Self {
        script.reverse();
        Self { name: "operator".into(), tenant: None, who: principal("olga"), script, left: 0, mine: Vec::new(), asking: None }
    }

    /// It has so many wishes.
    pub fn left(&mut self, left: u32) {
        self.left = left;
    }

    pub fn is_done(&self) -> bool {
        self.script.is_empty() && self.left == 0 && self.asking.is_none()
    }

    /// Asks, waits, hears or gives up.
    pub fn step(&mut self, moment: &mut Moment<'_>, checker: &mut Checker, told: &mut Vec<String>) -> Result<(), Violated> {
        let Some(asking) = &mut self.asking else {
            self.asking = self.wish(moment);
            return Ok(());
        };
        match &asking.state {
            State::At(at) if *at > moment.now => {}
            State::At(_) => self.ask(moment, told),
            State::Waiting(answer, task, until) => {
                let answer = answer.lock().unwrap().take();
                match answer {
                    Some(Ok(outcome)) => {
                        let events: Vec<Event> = outcome.commit.events.iter().map(|raw| decode(raw).unwrap()).collect();
                        told.push(format!("{} is told {} {}", self.name, outcome.position, outcome.commit.events.len()));
                        checker.acknowledge(outcome)?;
                        self.answered(&events, moment);
                    }
                    Some(Err(problem)) => {
                        told.push(format!("{}: {problem}", self.name));
                        asking.state = State::At(moment.now + TimeDelta::milliseconds(500));
                    }
                    None if task.is_finished() || *until <= moment.now => {
                        told.push(format!("{} waits no longer for {}", self.name, asking.id));
                        task.abort();
                        asking.state = State::At(moment.now + TimeDelta::milliseconds(moment.random.random_range(0..3_000)));
                    }
                    None => {}
                }
            }
        }
        Ok(())
    }

    fn wish(&mut self, moment: &mut Moment<'_>) -> Option<Asking> {
        let (origin, id, command) = match self.script.pop() {
            Some(next) => next,
            None if self.left == 0 => return None,
            None => {
                self.left -= 1;
                let id = CommandId(drawn(moment.random));
                (Origin::Commands, id, self.thought(id, moment.random))
            }
        };
        let pause = if self.tenant.is_none() { 0 } else { moment.random.random_range(0..6_000) };
        Some(Asking { origin, id, command, attempts: 0, state: State::At(moment.now + TimeDelta::milliseconds(pause)) })
    }

    fn thought(&mut self, id: CommandId, random: &mut StdRng) -> Command {
        let which = (!self.mine.is_empty()).then(|| self.mine[random.random_range(0..self.mine.len())]);
        let (Some(resource), 4..) = (which, random.random_range(0..12)) else {
            self.mine.push(ResourceId(id.0));
            return order(random.random_range(1..4));
        };
        match random.random_range(0..8) {
            0..4 => Command::DeleteResource { resource, if_generation: None },
            4 => Command::ActOnResource { resource, if_generation: None, action: Action::Stop },
            5 => Command::ActOnResource { resource, if_generation: None, action: Action::Start },
            _ => {
                let spec = Some(serde_json::json!({ "vcpus": random.random_range(1..5) }));
                Command::ChangeResource { resource, if_generation: None, name: None, labels: None, spec, version: 1 }
            }
        }
    }

    fn ask(&mut self, moment: &mut Moment<'_>, told: &mut Vec<String>) {
        let asking = self.asking.as_mut().expect("it asks");
        let alive: Vec<&Host> = moment.hosts.iter().flatten().collect();
        if alive.is_empty() {
            return;
        }
        let host = alive[moment.random.random_range(0..alive.len())];
        asking.attempts += 1;
        let mut command = asking.command.clone();
        if asking.attempts > 1
            && moment.faults
            && moment.random.random_ratio(1, 8)
            && let Command::CreateResource { spec, .. } = &mut command
        {
            *spec = serde_json::json!({ "vcpus": 1, "again": true });
        }
        let record = CommandRecord {
            id: asking.id,
            tenant: self.tenant,
            actor: Actor::Principal(self.who.clone()),
            digest: Digest::of(&serde_json::to_vec(&command).unwrap()),
            request: drawn(moment.random).to_string(),
            traceparent: None,
            at: None,
            expires: moment.now + EXPIRES,
            after_platform: 0,
            command,
        };
        told.push(format!("{} asks for {} {} ({})", self.name, record.command.kind(), asking.id, asking.attempts));
        let (answer, task) = host.call(asking.origin, &record);
        if moment.faults && moment.random.random_ratio(1, 10) {
            // A proxy that knows better sends it twice, by another process.
            let other = alive[moment.random.random_range(0..alive.len())];
            drop(other.call(asking.origin, &CommandRecord { request: drawn(moment.random).to_string(), ..record }));
        }
        let patience = TimeDelta::milliseconds(moment.random.random_range(1_000..15_000));
        asking.state = State::Waiting(answer, task, moment.now + patience);
    }

    /// What was answered is the end of it, but for what is worth another try.
    fn answered(&mut self, events: &[Event], moment: &mut Moment<'_>) {
        let asking = self.asking.as_mut().expect("it asked");
        let retry = match events {
            [Event::Command(CommandEvent::Refused { refusal, .. })] => refusal.is_worth_retrying() && asking.attempts < 4,
            [Event::Command(CommandEvent::Expired | CommandEvent::Failed { .. })] => true,
            _ => false,
        };
        if retry {
            asking.state = State::At(moment.now + TimeDelta::milliseconds(moment.random.random_range(500..4_000)));
            return;
        }
        let made = matches!(events, [Event::Resource { event: ResourceEvent::Requested(_), .. }, ..]);
        let found = matches!(events, [Event::Command(CommandEvent::Repeated { .. })]);
        if matches!(asking.command, Command::CreateResource { .. }) && !made && !found {
            let id = asking.id;
            self.mine.retain(|mine| mine.0 != id.0);
        }
        self.asking = None;
    }
}

/// An order for a server.
fn order(vcpus: u64) -> Command {
    Command::CreateResource {
        cell: None,
        kind: "server".parse().unwrap(),
        version: 1,
        name: "a server".into(),
        zone: Some("az1".parse().unwrap()),
        labels: Default::default(),
        subscriber: None,
        flavor: None,
        spec: serde_json::json!({ "vcpus": vcpus }),
    }
}
