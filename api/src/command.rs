//! The one way of every write, from the request to the answer.
//!
//! 1. *Admit*: the caller is not slowed down, belongs to the tenant (or runs the platform), and there is room for the request.
//! 2. *Replay*: what was decided before is answered from the read model, whatever has changed since.
//! 3. *Check*: the spec against its published schema; marked fields are sealed.
//! 4. *Send*: unless the partition takes no more. From here on nobody knows the outcome but the journal.
//! 5. *Answer*: from the commit alone, by [`answer`]. Who does not wait long enough gets an operation to ask for.
//!
//! What may be done is decided by the decider. Here a stranger is turned away before anything is written for ever.

use crate::{
    answer::{Done, Outcome, POSITION, REPLAYED, answer, by_clock, header},
    asked::Asked,
    idempotency::{CommandOrigin, command_id},
    limits::Permit,
    position::Positions,
    problem::{Problem, ProblemType},
    refusals,
    seal::Subjects,
    spec::Compiled,
    standing::{self, Standing},
    state::Api,
};
use axum::{
    Json,
    http::{
        HeaderName, HeaderValue, StatusCode,
        header::{LOCATION, RETRY_AFTER},
    },
    response::{IntoResponse, Response},
};
use domain::{
    Timestamp,
    catalogue::{Service, Spec},
    command::Command,
    event::Event,
    id::{CommandId, TenantId},
    people::Actor,
    refusal::Refusal,
    tenant::Clock,
};
use journal::caller::NotSent;
use projections::{
    operations::{self, OperationRow},
    snapshot::{ReadError, Shown, Snapshot},
};
use schemas::{
    command::CommandRecord,
    record::{Digest, Position},
};
use serde::Serialize;
use serde_json::{Value, value::RawValue};
use std::time::{Duration, SystemTime};
use utoipa::ToSchema;

/// A command that nobody has decided by then is not decided any more.
const EXPIRES: Duration = Duration::from_secs(60);
/// The same for a caller who does not wait.
const EXPIRES_ASYNC: Duration = Duration::from_secs(3600);
/// How long a request that seems to be a stranger's waits for read models that have not shown all of this process' own writes.
const CATCH_UP: Duration = Duration::from_secs(2);

const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// A request that was admitted.
pub struct Admission {
    /// What is to become of it.
    pub admitted: Admitted,
    /// By which clock the tenant's events happen.
    pub clock: Clock,
    /// Its place among the requests under way.
    pub permit: Permit,
}

/// What is to become of an admitted request.
pub enum Admitted {
    /// It was decided before.
    Before(Box<OperationRow>),
    /// It can be sent.
    Ready(Box<CommandRecord>),
}

/// What a commit brought.
#[derive(Debug)]
pub struct Decided {
    /// Where it is.
    pub position: Position,
    /// What happened.
    pub events: Vec<Event>,
}

/// What the read models know of a request before it is sent.
#[derive(Default)]
struct Known {
    standing: Standing,
    before: Option<OperationRow>,
    service: Option<Service>,
    spec: Option<Spec>,
}

impl Api {
    /// Does what was asked and answers: the whole way.
    ///
    /// # Errors
    /// Whatever stands in the way, as the caller is to see it.
    pub async fn write(&self, asked: Asked, tenant: Option<TenantId>, command: Command) -> Result<Response, Problem> {
        let id = self.command_id(&asked, tenant);
        let Admission { admitted, clock, permit: _permit } = self.admit(&asked, tenant, id, command).await?;
        let response = match admitted {
            Admitted::Before(row) => self.replay(&asked, *row),
            Admitted::Ready(record) if asked.validate_only => self.advise(&record).await,
            Admitted::Ready(record) => match self.send(&asked, &record).await? {
                Some(decided) => self.conclude(&asked, &record, decided).await,
                None => Ok(under_way(&asked, tenant, id)),
            },
        };
        Ok(by_clock(clock, response?))
    }

    /// The command that this request means.
    pub fn command_id(&self, asked: &Asked, tenant: Option<TenantId>) -> CommandId {
        let (issuer, subject) = (&asked.caller.issuer, &asked.caller.subject);
        CommandId(command_id(CommandOrigin { tenant: tenant.map(|t| t.0), issuer, subject, route: &asked.route }, &asked.key))
    }

    /// Turns strangers away, finds what was decided before, checks and seals.
    ///
    /// # Errors
    /// 404 for a stranger, 403 for somebody who does not run the platform, 422 for a spec that does not fit, 429 and 503 with `Retry-After`.
    pub async fn admit(&self, asked: &Asked, tenant: Option<TenantId>, id: CommandId, mut command: Command) -> Result<Admission, Problem> {
        let principal = standing::principal(&asked.caller);
        self.refusals.admit(&principal)?;
        asked.finish_query()?;
        self.wait_for(&asked.at_least).await?;
        let partition = self.deciders.partition_of(tenant);
        let mut known = self.look(asked, tenant, partition, id, &command).await?;
        if known.standing.is_stranger() || (concerns_spec(&command) && known.service.is_none()) {
            // What this process has acknowledged may be what is missing.
            self.catch_up(&[partition, self.deciders.partition_of(None)]).await;
            known = self.look(asked, tenant, partition, id, &command).await?;
        }
        self.turn_away(&known.standing, tenant, &principal)?;
        let permit = self.in_flight.enter(tenant.map_or(uuid::Uuid::nil(), |t| t.0))?;
        let clock = known.standing.clock;

        let compiled = known.service.as_ref().map(|service| self.specs.of(service)).transpose()?;
        let (digest, person) = self.digest(asked, tenant, compiled.as_deref()).await?;
        // Advice is about now, whatever the key was used for.
        if let Some(row) = known.before.take().filter(|row| !asked.validate_only && stands(row)) {
            if row.digest != digest {
                self.refusals.refused(&principal);
                return Err(refusals::problem(&Refusal::KeyReused));
            }
            return Ok(Admission { admitted: Admitted::Before(Box::new(row)), clock, permit });
        }
        self.check(tenant, Subjects { person, intent: Some(id.0) }, &mut command, compiled.as_deref(), known.spec.as_ref()).await?;
        let record = self.record(asked, tenant, id, digest, command);
        Ok(Admission { admitted: Admitted::Ready(Box::new(record)), clock, permit })
    }

    async fn look(
        &self,
        asked: &Asked,
        tenant: Option<TenantId>,
        partition: u32,
        id: CommandId,
        command: &Command,
    ) -> Result<Known, Problem> {
        let snapshot = self.database.snapshot(Shown::Partitions(&[partition])).await?;
        let standing = self.standing(&snapshot, &asked.caller, tenant).await?;
        if standing.is_stranger() {
            return Ok(Known::default());
        }
        let (before, (service, spec)) = futures::try_join!(snapshot.operation(partition, id), concerned(&snapshot, tenant, command))?;
        Ok(Known { standing, before, service, spec })
    }

    /// The digest of what is asked, which never covers a secret, and the person whom it names.
    async fn digest(
        &self,
        asked: &Asked,
        tenant: Option<TenantId>,
        compiled: Option<&Compiled>,
    ) -> Result<(Digest, Option<uuid::Uuid>), Problem> {
        let mut content = asked.content.clone();
        let mut person = None;
        if let (Some(tenant), Some(compiled), Some(body)) = (tenant, compiled, content.body.take_if(|_| compiled.is_some())) {
            let (blinded, named) = self.blind(tenant, compiled, body).await?;
            (content.body, person) = (Some(blinded), named);
        }
        if let Some(at) = asked.at {
            content = content.with_query([("Cirrus-Effective-At", at.to_rfc3339().as_str())]);
        }
        Ok((Digest(content.fingerprint()?.0), person))
    }

    /// Checks the spec that a command brings, seals it, and notes the version that it was checked against.
    async fn check(
        &self,
        tenant: Option<TenantId>,
        subjects: Subjects,
        command: &mut Command,
        compiled: Option<&Compiled>,
        before: Option<&Spec>,
    ) -> Result<(), Problem> {
        let Some(tenant) = tenant else { return Ok(()) };
        match (command, compiled) {
            (Command::CreateResource { kind, .. }, None) => Err(refusals::problem(&Refusal::NoSuchService { service: kind.clone() })),
            (Command::CreateResource { spec, flavor, version, .. }, Some(compiled)) => {
                compiled.check(spec, flavor.is_some())?;
                *version = compiled.version;
                self.seal(tenant, subjects, compiled, spec).await
            }
            (Command::ChangeResource { resource, spec: Some(_), .. }, None) => {
                Err(refusals::problem(&Refusal::NoSuchResource { resource: *resource }))
            }
            (Command::ChangeResource { spec: Some(spec), version, .. }, Some(compiled)) => {
                compiled.check_change(before.unwrap_or(&Value::Null), spec)?;
                *version = compiled.version;
                self.seal(tenant, subjects, compiled, spec).await
            }
            _ => Ok(()),
        }
    }

    /// The record of a command, for this one attempt.
    pub fn record(&self, asked: &Asked, tenant: Option<TenantId>, id: CommandId, digest: Digest, command: Command) -> CommandRecord {
        let lives = if asked.patience.respond_async { EXPIRES_ASYNC } else { EXPIRES };
        CommandRecord {
            id,
            tenant,
            actor: Actor::Principal(standing::principal(&asked.caller)),
            digest,
            // The request's id finds it in logs; the rest makes it this attempt's alone, whatever the caller sends as its id.
            request: format!("{}.{:016x}", asked.request_id, rand::random::<u64>()),
            traceparent: asked.traceparent.clone(),
            at: asked.at,
            expires: Timestamp::from(SystemTime::now() + lives),
            after_platform: 0,
            command,
        }
    }

    /// Sends a command and waits as long as the caller wants to. None: not known yet.
    ///
    /// # Errors
    /// 503 with `Retry-After` while the partition takes no more. Once the command is sent there are none: its outcome is on the journal.
    pub async fn send(&self, asked: &Asked, record: &CommandRecord) -> Result<Option<Decided>, Problem> {
        let partition = self.deciders.partition_of(record.tenant);
        self.deciders.pressure(partition).map_err(pressure)?;
        let outcome = self.deciders.call(record);
        match tokio::time::timeout(asked.patience.wait, outcome).await {
            Ok(Ok(outcome)) => {
                let events = decode(&outcome.commit.events)?;
                Ok(Some(Decided { position: outcome.position, events }))
            }
            Ok(Err(problem)) => {
                tracing::warn!(request = record.request, %problem, "the outcome of {} is not known: {problem}", record.request);
                Ok(None)
            }
            Err(_) => Ok(None),
        }
    }

    /// Answers from a commit.
    ///
    /// # Errors
    /// The refusal, if it was refused.
    pub async fn conclude(&self, asked: &Asked, record: &CommandRecord, decided: Decided) -> Result<Response, Problem> {
        match self.judge(asked, decided.position, &decided.events)? {
            Ok(done) => Ok(done.respond(decided.position, &self.tokens)),
            Err(of) => match self.first(record, Position { seq: of, ..decided.position }).await? {
                Some(row) => self.replay(asked, row),
                None => Ok(under_way(asked, record.tenant, record.id)),
            },
        }
    }

    /// A success, or the seq of the commit that decided it before.
    ///
    /// # Errors
    /// The refusal, with the position of its commit.
    pub fn judge(&self, asked: &Asked, position: Position, events: &[Event]) -> Result<Result<Done, u64>, Problem> {
        match answer(events) {
            Outcome::Done(done) => Ok(Ok(*done)),
            Outcome::Repeated { of } => Ok(Err(of)),
            Outcome::Refused(problem) => {
                if problem.kind().status().is_client_error() {
                    self.refusals.refused(&standing::principal(&asked.caller));
                }
                let token = self.tokens.issue(&Positions::from_iter([position]));
                Err(problem.header(POSITION, header(&token)))
            }
        }
    }

    /// The first outcome of a command that was repeated, once the read models show it.
    ///
    /// # Errors
    /// When they cannot be asked.
    pub async fn first(&self, record: &CommandRecord, at: Position) -> Result<Option<OperationRow>, Problem> {
        let deadline = tokio::time::Instant::now() + projections::positions::LONGEST_WAIT;
        if self.database.follow().wait_for(&[at], deadline).await.is_err() {
            return Ok(None);
        }
        let snapshot = self.database.snapshot(Shown::Partitions(&[at.partition])).await?;
        Ok(snapshot.operation(at.partition, record.id).await?)
    }

    /// Gives the first answer again.
    fn replay(&self, asked: &Asked, row: OperationRow) -> Result<Response, Problem> {
        let replayed = |problem: Problem| problem.header(REPLAYED, HeaderValue::from_static("true"));
        match self.judge(asked, row.position, &decode(&row.events)?).map_err(replayed)? {
            Ok(done) => {
                let mut response = done.respond(row.position, &self.tokens);
                response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
                Ok(response)
            }
            Err(_) => Err(Problem::new(ProblemType::Internal)),
        }
    }

    /// Waits until the read models show everything that this process has seen of these partitions; for a while, and not for ever.
    async fn catch_up(&self, partitions: &[u32]) {
        let wanted: Vec<Position> = partitions.iter().filter_map(|partition| self.seen.newest(*partition)).collect();
        // What is still missing then is treated as missing.
        let _ = self.database.follow().wait_for(&wanted, tokio::time::Instant::now() + CATCH_UP).await;
    }
}

/// A row that answers its command for good. What may be tried again is decided anew.
fn stands(row: &OperationRow) -> bool {
    match row.outcome {
        operations::Outcome::Done => true,
        operations::Outcome::Refused => decode(&row.events).is_ok_and(|events| {
            events.iter().all(|event| match event {
                Event::Command(domain::event::CommandEvent::Refused { refusal, .. }) => !refusal.is_worth_retrying(),
                _ => false,
            })
        }),
        operations::Outcome::Expired | operations::Outcome::Failed | operations::Outcome::AnsweredBefore => false,
    }
}

/// The service whose schema a command's spec has to fit, and the spec that is to be changed.
async fn concerned(snapshot: &Snapshot, tenant: Option<TenantId>, command: &Command) -> Result<(Option<Service>, Option<Spec>), ReadError> {
    let (kind, spec) = match (command, tenant) {
        (Command::CreateResource { kind, .. }, _) => (kind.clone(), None),
        (Command::ChangeResource { resource, spec: Some(_), .. }, Some(tenant)) => {
            match snapshot.resource(tenant, *resource).await?.and_then(|row| row.state) {
                Some(state) => (state.kind, Some(state.terms.spec)),
                None => return Ok((None, None)),
            }
        }
        _ => return Ok((None, None)),
    };
    Ok((snapshot.service(&kind).await?.map(|row| row.service), spec))
}

/// True for commands whose spec can be neither checked nor sealed without their service.
fn concerns_spec(command: &Command) -> bool {
    matches!(command, Command::CreateResource { .. } | Command::ChangeResource { spec: Some(_), .. })
}

/// The facts in the JSON of a commit.
///
/// # Errors
/// 500: a commit of a later version of Cirrus.
pub fn decode(events: &[Box<RawValue>]) -> Result<Vec<Event>, Problem> {
    events.iter().map(|raw| schemas::event::decode(raw)).collect::<Result<_, _>>().map_err(|problem| {
        tracing::error!(%problem, "a commit cannot be answered from: {problem}");
        Problem::new(ProblemType::Internal)
    })
}

fn pressure(not_sent: NotSent) -> Problem {
    let problem = Problem::new(ProblemType::Overloaded).retry_after(Duration::from_secs(1));
    match not_sent {
        NotSent::Pressure { .. } => {
            problem.detail("Too many commands of this tenant's partition wait for their decision. Nothing was sent.")
        }
        NotSent::Unknown(_) | NotSent::Gone => problem.detail("The deciders cannot be reached from here. Nothing was sent."),
    }
}

/// An operation that is to be asked for.
#[derive(Debug, Serialize, ToSchema)]
pub struct UnderWay {
    /// Its id.
    #[schema(value_type = uuid::Uuid)]
    pub operation: CommandId,
    /// Always `under_way`.
    pub state: &'static str,
}

/// 202: the outcome is not known yet, and here it can be asked for.
pub fn under_way(asked: &Asked, tenant: Option<TenantId>, id: CommandId) -> Response {
    let mut response = (StatusCode::ACCEPTED, Json(UnderWay { operation: id, state: "under_way" })).into_response();
    let headers = response.headers_mut();
    headers.insert(LOCATION, header(&operation_path(tenant, id)));
    headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    if asked.patience.respond_async {
        headers.insert(PREFERENCE_APPLIED, HeaderValue::from_static("respond-async"));
    }
    response
}

/// Where an operation can be asked for.
pub fn operation_path(tenant: Option<TenantId>, id: CommandId) -> String {
    match tenant {
        Some(tenant) => format!("/v1/tenants/{tenant}/operations/{id}"),
        None => format!("/v1/operations/{id}"),
    }
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Self {
        tracing::error!(%error, "a read model cannot be asked: {error}");
        let wait = Duration::from_secs(1);
        match error {
            ReadError::Pool(_) | ReadError::Sql(_) => Problem::new(ProblemType::Overloaded).retry_after(wait),
            ReadError::NotFilled(_) => Problem::new(ProblemType::ReadsStale).retry_after(wait),
            ReadError::Value { .. } => Problem::new(ProblemType::Internal),
        }
    }
}
