//! Specs at the door: checked against the published schema of their service, and sealed where the schema says so.
//!
//! Nothing reaches a topic unchecked: what the catalogue does not know is refused here, because nobody could say which of its fields are
//! secret.

use crate::{
    problem::{Problem, ProblemType},
    refusals::sentence,
    seal::{
        SealError, Sealer, Subjects, redact,
        schema::{Mark, SensitiveSchema},
    },
    state::Api,
};
use domain::{
    catalogue::{Service, Spec},
    id::{ServiceName, TenantId},
};
use projections::platform::ServiceRow;
use schemas::catalogue::{SEALED, Sensitivity, SpecCheck, Violation, sensitive};
use serde_json::{Value, json};
use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
};
use tokio_postgres::GenericClient;
use uuid::Uuid;

/// The compiled schemas of one version of a service.
pub struct Compiled {
    /// The version.
    pub version: u32,
    check: SpecCheck,
    sensitive: SensitiveSchema,
}

/// Compiled schemas by service; of each the version that was asked for last.
#[derive(Default)]
pub struct SpecChecks(Mutex<HashMap<ServiceName, Arc<Compiled>>>);

impl SpecChecks {
    /// The compiled schemas of this version, compiled now if they are not there.
    ///
    /// # Errors
    /// 500 for a schema that should not have been published.
    pub fn of(&self, service: &Service) -> Result<Arc<Compiled>, Problem> {
        let lock = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = lock().get(&service.name).filter(|known| known.version == service.version) {
            return Ok(Arc::clone(known));
        }
        let unusable = |problem: String| {
            tracing::error!(service = %service.name, version = service.version, problem, "a published schema cannot be used: {problem}");
            Problem::new(ProblemType::Internal)
        };
        let check = SpecCheck::new(service).map_err(|e| unusable(e.to_string()))?;
        let sensitive = SensitiveSchema::new(service.spec.clone()).map_err(|e| unusable(e.to_string()))?;
        let compiled = Arc::new(Compiled { version: service.version, check, sensitive });
        lock().insert(service.name.clone(), Arc::clone(&compiled));
        Ok(compiled)
    }
}

impl Compiled {
    /// Checks the spec of an order.
    ///
    /// # Errors
    /// 422 with every violation.
    pub fn check(&self, spec: &Spec, flavor_named: bool) -> Result<(), Problem> {
        self.check.check(spec, flavor_named).map_err(violations)
    }

    /// Checks the new spec of a resource that has the spec `before`. Sealed values that were sent back as they were read stand for
    /// themselves: `after` holds them as they are stored when this returns.
    ///
    /// # Errors
    /// 422 with every violation.
    pub fn check_change(&self, before: &Spec, after: &mut Spec) -> Result<(), Problem> {
        for name in self.check.sensitive().keys() {
            if let (Some(stored), Some(sent)) = (before.get(name), after.get_mut(name))
                && *sent == redact(stored)
            {
                sent.clone_from(stored);
            }
        }
        self.check.check_change(before, after).map_err(violations)
    }

    /// What has to be sealed in a spec: what is marked and not sealed already. The check has let through only sealed values that are stored.
    fn marks(&self, spec: &Spec) -> Vec<Mark> {
        let plain = |mark: &Mark| !spec.pointer(&mark.pointer).is_some_and(is_sealed);
        self.sensitive.marks(spec).into_iter().filter(plain).collect()
    }
}

impl Api {
    /// The body with keyed digests in place of marked values, for the request's fingerprint, and the person whom it names.
    ///
    /// The person of a document is whom its first personal field names: the same person for equal values of one tenant, and nobody's guess
    /// without the tenant's key. Sealed values that are sent back as they were read are no secrets any more and stay.
    ///
    /// # Errors
    /// 503 when the table of keys cannot be reached, 410 when the tenant was erased.
    pub async fn blind(&self, tenant: TenantId, compiled: &Compiled, body: Value) -> Result<(Value, Option<Uuid>), Problem> {
        let marks = body.get("spec").map(|spec| compiled.marks(spec)).unwrap_or_default();
        let marks: Vec<Mark> = marks.into_iter().map(|mark| Mark { pointer: format!("/spec{}", mark.pointer), ..mark }).collect();
        if marks.is_empty() {
            return Ok((body, None));
        }
        let client = self.database.client().await?;
        let client: &tokio_postgres::Client = &client;
        let blinded = self.sealer.blind(client, tenant.0, &marks, &body).await?;
        let person = marks.iter().find(|mark| mark.sensitivity == Sensitivity::Personal).and_then(|mark| person(&blinded, mark));
        Ok((blinded, person))
    }

    /// Seals what is marked and not sealed already.
    ///
    /// # Errors
    /// 503 when the table of keys cannot be reached, 410 when the person or the tenant was erased.
    pub async fn seal(&self, tenant: TenantId, subjects: Subjects, compiled: &Compiled, spec: &mut Spec) -> Result<(), Problem> {
        let marks = compiled.marks(spec);
        if marks.is_empty() {
            return Ok(());
        }
        // What is sealed already is put aside: in a document that is to be sealed, it would look like a forgery.
        let aside = spec.as_object_mut().map(|fields| {
            let sealed = |(name, value): (&String, &Value)| compiled.check.sensitive().contains_key(name) && is_sealed(value);
            let names: Vec<String> = fields.iter().filter(|field| sealed(*field)).map(|(name, _)| name.clone()).collect();
            names.into_iter().filter_map(|name| fields.remove_entry(&name)).collect::<Vec<_>>()
        });
        let client = self.database.client().await?;
        let client: &tokio_postgres::Client = &client;
        self.sealer.seal(client, tenant.0, subjects, &marks, spec).await?;
        if let (Some(fields), Some(aside)) = (spec.as_object_mut(), aside) {
            fields.extend(aside);
        }
        Ok(())
    }
}

/// True for what stands in place of a sealed value.
fn is_sealed(value: &Value) -> bool {
    value.as_object().is_some_and(|members| members.contains_key(SEALED))
}

/// True for what stands in place of a personal value.
pub fn is_personal(value: &Value) -> bool {
    redact(value).get(SEALED).is_some_and(|as_what| as_what == Sensitivity::Personal.as_str())
}

/// The names of the personal fields of all services.
pub fn personal_fields(services: &[ServiceRow]) -> BTreeSet<String> {
    let fields = services.iter().flat_map(|row| sensitive(&row.service.spec));
    fields.filter(|(_, as_what)| *as_what == Sensitivity::Personal).map(|(name, _)| name).collect()
}

/// The id of the person whom this value of a personal field names.
///
/// # Errors
/// When the table of keys cannot be reached, or the tenant was erased.
pub async fn person_named(
    sealer: &Sealer,
    client: &impl GenericClient,
    tenant: TenantId,
    field: &str,
    value: &str,
) -> Result<Uuid, SealError> {
    let mark = Mark { pointer: format!("/spec/{field}"), sensitivity: Sensitivity::Personal };
    let blinded = sealer.blind(client, tenant.0, std::slice::from_ref(&mark), &json!({ "spec": { field: value } })).await?;
    Ok(person(&blinded, &mark).expect("what was blinded is a digest"))
}

/// A person's id: the first half of the keyed digest of what names them.
fn person(blinded: &Value, mark: &Mark) -> Option<Uuid> {
    let digest = blinded.pointer(&mark.pointer)?.get("$blinded")?.as_str()?;
    Uuid::parse_str(digest.get(..32)?).ok()
}

fn violations(found: Vec<Violation>) -> Problem {
    let problem = Problem::new(ProblemType::InvalidBody);
    found.into_iter().fold(problem, |problem, violation| problem.field(violation.pointer, sentence(&violation.problem)))
}
