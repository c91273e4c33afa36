//! Claims through Cirrus without HTTP: a decider on a real broker and a caller as the API has it, in this process.

use super::Claims;
use crate::journals;
use anyhow::{Context, bail, ensure};
use chrono::{TimeDelta, Utc};
use domain::{
    command::Command,
    event::Event,
    id::{CellId, CommandId, TenantId},
    people::Actor,
    quota::{Limit, Limits},
    resource::ResourceEvent,
    tenant::Clock,
};
use futures::{StreamExt, TryStreamExt, stream};
use journal::{
    caller::{Caller, Outcome},
    inbox::Capacity,
    kafka::{KafkaLog, KafkaMembership},
    tail::Tail,
};
use schemas::{
    command::CommandRecord,
    event::decode,
    record::{Digest, Origin},
};
use std::time::Duration;
use tests::{
    cloud::{Cloud, person},
    servers::Kafka,
};
use uuid::Uuid;
use workers::decider::{
    shell::{Decider, Topics},
    snapshot::NoSnapshots,
};

/// Partitions that hold tenants.
const PARTITIONS: u32 = 8;

/// How long an outcome may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Tenants of a running decider.
pub struct Cirrus {
    caller: Caller,
    tenants: Vec<(TenantId, CellId)>,
    _decider: Decider,
}

impl Cirrus {
    /// A platform with so many tenants.
    pub async fn open(kafka: &Kafka, tenants: usize) -> anyhow::Result<Self> {
        let (settings, journal) = tokio::task::block_in_place(|| journals::born(kafka, PARTITIONS))?;
        let log = |topic: String| KafkaLog::new(&settings, &topic, journal.all_partitions());
        let (events, commands, reports) = (log(journal.events())?, log(journal.commands())?, log(journal.reports())?);
        let tail = Tail::open(&events, &journal, &[], Capacity::default())?;
        let caller = Caller::start(journal, &commands, Some(&reports), tail, |_| {})?;
        let topics = Topics { events: Box::new(events), commands: Box::new(commands), reports: Box::new(reports) };
        let membership = KafkaMembership::join(&settings, &journal.commands(), &format!("deciders-{}", journal.id))?;
        let decider = Decider::start(journal, topics, Box::new(membership), Box::new(NoSnapshots))?;
        let mut cirrus = Self { caller, tenants: Vec::new(), _decider: decider };
        cirrus.furnish().await?;
        cirrus.tenants = stream::iter(0..tenants).map(|number| cirrus.open_tenant(number)).buffered(64).try_collect().await?;
        Ok(cirrus)
    }

    async fn furnish(&self) -> anyhow::Result<()> {
        self.report(None, 0, Command::AppointOperator { operator: person("operator") }).await?;
        let (region, zone) = ("north".parse()?, "north-a".parse()?);
        self.ask(None, "operator", Command::DeclareRegion { region, title: "The north".to_owned() }).await?;
        self.ask(None, "operator", Command::DeclareZone { zone, region: "north".parse()? }).await?;
        for service in schemas::catalogue::bundled() {
            self.ask(None, "operator", Command::PublishService { service: Box::new(service) }).await?;
        }
        Ok(())
    }

    async fn open_tenant(&self, number: usize) -> anyhow::Result<(TenantId, CellId)> {
        let limits: Limits = ["servers", "vcpus", "memory_mib"].map(|name| (name.parse().expect("a name"), Limit::At(1 << 50))).into();
        let reserve = Command::ReserveTenant {
            reference: format!("tenant-{number}"),
            name: format!("Tenant {number}"),
            administrator: person("olga"),
            clock: Clock::Journal,
            labels: Default::default(),
            limits: limits.clone(),
            cell_default: Limits::new(),
        };
        let (id, reserved) = self.ask(None, "operator", reserve).await?;
        let tenant = TenantId::from(id);
        self.report(Some(tenant), reserved.position.seq, Command::OpenTenant {}).await?;
        let cell = Command::CreateCell { name: "cell".to_owned(), billing_account: None, limits, parent: None };
        let (cell, _) = self.ask(Some(tenant), "olga", cell).await?;
        Ok((tenant, cell.into()))
    }

    async fn report(&self, tenant: Option<TenantId>, after_platform: u64, command: Command) -> anyhow::Result<()> {
        let mut record = record(tenant, Actor::Service("console".to_owned()), command);
        record.after_platform = after_platform;
        self.send(Origin::Reports, &record).await.map(|_| ())
    }

    async fn ask(&self, tenant: Option<TenantId>, who: &str, command: Command) -> anyhow::Result<(CommandId, Outcome)> {
        let record = record(tenant, Actor::Principal(person(who)), command);
        let (outcome, events) = self.send(Origin::Commands, &record).await?;
        if let [Event::Command(refused)] = events.as_slice() {
            bail!("{}: {refused:?}", record.command.kind());
        }
        Ok((record.id, outcome))
    }

    async fn send(&self, origin: Origin, record: &CommandRecord) -> anyhow::Result<(Outcome, Vec<Event>)> {
        let outcome = tokio::time::timeout(PATIENCE, self.caller.call(origin, record).outcome()).await;
        let outcome = outcome.with_context(|| format!("no outcome of {}", record.command.kind()))??;
        let events = outcome.commit.events.iter().map(|raw| decode(raw)).collect::<Result<_, _>>()?;
        Ok((outcome, events))
    }
}

impl Claims for Cirrus {
    async fn claim(&self, tenant: usize) -> anyhow::Result<()> {
        let (tenant, cell) = self.tenants[tenant];
        let record = record(Some(tenant), Actor::Principal(person("olga")), Cloud::server("server", Some(cell)));
        let (_, events) = self.send(Origin::Commands, &record).await?;
        ensure!(matches!(events.as_slice(), [Event::Resource { event: ResourceEvent::Requested(_), .. }]), "{events:?}");
        Ok(())
    }
}

fn record(tenant: Option<TenantId>, actor: Actor, command: Command) -> CommandRecord {
    CommandRecord {
        id: CommandId(Uuid::new_v4()),
        tenant,
        actor,
        digest: Digest::of(&serde_json::to_vec(&command).expect("a command is always JSON")),
        request: Uuid::new_v4().to_string(),
        traceparent: None,
        at: None,
        expires: Utc::now() + TimeDelta::seconds(60),
        after_platform: 0,
        command,
    }
}
