//! What is left behind: the journal and the command topics read to their ends, the provider's own inventory, and what the clients wrote down.
//!
//! Every accepted commit comes with the state that the domain's fold has after it, so that a rule can ask what was true at any position.

use super::history::{Asked, Record};
use anyhow::{Context, ensure};
use api::{
    idempotency::{CommandOrigin, IdempotencyKey, RequestContent, command_id},
    key_file,
    position::Tokens,
};
use domain::{
    Timestamp,
    event::Event,
    id::{CommandId, TenantId},
    partition::Partition,
    people::Actor,
    platform::Platform,
};
use journal::{
    kafka::{KafkaLog, KafkaSettings},
    topics::Journal,
};
use replay::{chain::Chain, source::Source};
use schemas::{
    command::{CommandRecord, NotACommand},
    record::{CommandRef, Digest, Origin, Position},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};
use workers::provider::Object;

/// An accepted commit.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Where it is.
    pub position: Position,
    /// Its time.
    pub time: Timestamp,
    /// The seq of the platform's chain that it was decided at.
    pub platform: u64,
    /// The command that it answers.
    pub command: Option<CommandRef>,
    /// Who asked.
    pub actor: Option<Actor>,
    /// What happened.
    pub events: Vec<Event>,
    /// The state with it.
    pub after: Partition,
}

/// Everything that the rules look at.
pub struct Evidence {
    /// Which journal.
    pub journal: Journal,
    /// Reads position tokens.
    pub tokens: Tokens,
    /// The tenants whose clients wrote everything down.
    pub tenants: BTreeSet<TenantId>,
    /// The chain of each partition, in order; the platform's is the last.
    pub log: Vec<Vec<Entry>>,
    /// What is wrong with the chains themselves.
    pub problems: Vec<String>,
    /// The records of the commands and the reports topic, by partition and offset.
    pub commands: BTreeMap<(Origin, u32), Vec<Result<CommandRecord, NotACommand>>>,
    /// Commands whose decision was made to panic.
    pub failing: BTreeSet<CommandId>,
    /// What clients asked and were told.
    pub history: Vec<Record>,
    /// What exists at the provider.
    pub objects: Vec<Object>,
}

impl Evidence {
    /// Reads the journal from a dump, and the command topics from the brokers.
    pub fn gather(
        settings: &KafkaSettings,
        dump: &Path,
        position_key: &Path,
        tenants: BTreeSet<TenantId>,
        history: Vec<Record>,
        objects: Vec<Object>,
    ) -> anyhow::Result<Self> {
        let source = Source::directory(dump)?;
        let journal = source.journal();
        let tokens = Tokens::new(journal.id, vec![key_file::read_key(position_key)?.to_vec().into()])?;
        let mut commands = BTreeMap::new();
        for origin in [Origin::Commands, Origin::Reports] {
            let log = KafkaLog::new(settings, &journal.topic_of(origin), journal.all_partitions())?;
            Source::Broker { log: Box::new(log), journal }.read(|partition, stored| {
                let records: &mut Vec<_> = commands.entry((origin, partition)).or_default();
                ensure!(stored.offset == i64::try_from(records.len())?, "{origin:?} {partition} has a hole before {}", stored.offset);
                records.push(CommandRecord::decode(&stored.value));
                Ok(())
            })?;
        }
        let (log, problems) = read(&source)?;
        Ok(Self { journal, tokens, tenants, log, problems, commands, failing: BTreeSet::new(), history, objects })
    }

    /// The commit at a position.
    pub fn entry(&self, at: Position) -> Option<&Entry> {
        let chain = self.log.get(at.partition as usize)?;
        let found = chain.binary_search_by_key(&at.seq, |entry| entry.position.seq).ok()?;
        chain.get(found).filter(|entry| entry.position == at)
    }

    /// The state of a partition as of a seq; none before its first commit.
    pub fn state(&self, partition: u32, seq: u64) -> Option<&Partition> {
        let chain = self.log.get(partition as usize)?;
        let after = chain.partition_point(|entry| entry.position.seq <= seq);
        chain[..after].last().map(|entry| &entry.after)
    }

    /// The platform as of a seq of its chain.
    pub fn platform(&self, seq: u64) -> Platform {
        self.state(self.journal.platform(), seq).map(|state| state.platform.clone()).unwrap_or_default()
    }

    /// All commits with the state before them, chain by chain.
    pub fn commits(&self) -> impl Iterator<Item = (&Entry, Partition)> {
        self.log.iter().flat_map(|chain| {
            let before = std::iter::once(Partition::default()).chain(chain.iter().map(|entry| entry.after.clone()));
            chain.iter().zip(before)
        })
    }

    /// The states at the end of the tenants' chains.
    pub fn ends(&self) -> impl Iterator<Item = &Partition> {
        self.log.iter().filter_map(|chain| chain.last()).map(|entry| &entry.after)
    }

    /// The positions of a token.
    pub fn positions(&self, token: &str) -> anyhow::Result<Vec<Position>> {
        Ok(self.tokens.read(token)?.iter().collect())
    }
}

impl Asked {
    /// The command that a write means.
    pub fn command(&self, issuer: &str) -> anyhow::Result<CommandId> {
        let key = IdempotencyKey::parse(self.key.as_deref().context("a read means no command")?.as_bytes())?;
        let tenant = Some(self.tenant.0);
        Ok(CommandId(command_id(CommandOrigin { tenant, issuer, subject: &self.person, route: &self.route }, &key)))
    }

    /// The digest of what is asked, as it must stand in the commit. Bodies hold nothing that is sealed.
    pub fn digest(&self) -> anyhow::Result<Digest> {
        let mut path = BTreeMap::from([("tenant".to_owned(), self.tenant.to_string())]);
        path.extend(self.resource.map(|id| ("resource".to_owned(), id.to_string())));
        path.extend(self.action.clone().map(|action| ("action".to_owned(), action)));
        let body = Some(self.body.clone()).filter(|body| !body.is_null());
        Ok(Digest(RequestContent { path, body, ..RequestContent::default() }.fingerprint()?.0))
    }
}

fn read(source: &Source) -> anyhow::Result<(Vec<Vec<Entry>>, Vec<String>)> {
    let mut chains = Chain::all(&source.journal())?;
    let mut log: Vec<Vec<Entry>> = chains.iter().map(|_| Vec::new()).collect();
    source.read(|partition, stored| {
        let chain = &mut chains[partition as usize];
        let Some(read) = chain.read(stored) else { return Ok(()) };
        let actor = read.commit.actor.as_ref().map(|raw| serde_json::from_str(raw.get())).transpose()?;
        log[partition as usize].push(Entry {
            position: read.position,
            time: read.commit.time,
            platform: read.commit.platform.seq,
            command: read.commit.command,
            actor,
            events: read.events,
            after: chain.state.clone(),
        });
        Ok(())
    })?;
    Ok((log, chains.into_iter().flat_map(|chain| chain.problems).collect()))
}
