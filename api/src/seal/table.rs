//! The table `sealed_keys`: wrapped keys of tenants and subjects, and the traces of erased ones.
//!
//! Keys are never cached: an erased key must not go on working in some process. Whoever seals has the transaction committed before
//! anything that was sealed leaves the process; a field on the log without its key in the table is lost.

use super::cipher::{Key, KeyId};
use super::{MasterKeys, SealError};
use crate::idempotency::length_prefixed;
use std::fmt;
use std::str::FromStr;
use tokio_postgres::GenericClient;
use uuid::Uuid;

/// Whose key it is, within a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Subject {
    /// The tenant: wraps the keys of the others.
    Tenant,
    /// A person, for personal fields.
    Person(Uuid),
    /// A resource's intent, for secret fields.
    Intent(Uuid),
}

impl Subject {
    pub(super) const fn kind(self) -> &'static str {
        match self {
            Self::Tenant => "tenant",
            Self::Person(_) => "person",
            Self::Intent(_) => "intent",
        }
    }

    pub(super) const fn id(self, tenant: Uuid) -> Uuid {
        match self {
            Self::Tenant => tenant,
            Self::Person(id) | Self::Intent(id) => id,
        }
    }

    /// What a wrapped key is bound to, so that a row cannot be moved to another subject.
    fn bound(self, tenant: Uuid, wrapped_by: KeyId) -> Vec<u8> {
        let id = self.id(tenant);
        length_prefixed(&[b"cirrus wrapped key 1", tenant.as_bytes(), self.kind().as_bytes(), id.as_bytes(), &wrapped_by])
    }
}

/// As it is written in a sealed field: `person:` or `intent:` and a UUID.
impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tenant => f.write_str("tenant"),
            Self::Person(id) => write!(f, "person:{id}"),
            Self::Intent(id) => write!(f, "intent:{id}"),
        }
    }
}

/// The text names no subject of a sealed field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected person: or intent: and a UUID")]
pub struct NotASubject;

impl FromStr for Subject {
    type Err = NotASubject;

    fn from_str(text: &str) -> Result<Self, NotASubject> {
        let (kind, id) = text.split_once(':').ok_or(NotASubject)?;
        let id = Uuid::parse_str(id).map_err(|_| NotASubject)?;
        match kind {
            "person" => Ok(Self::Person(id)),
            "intent" => Ok(Self::Intent(id)),
            _ => Err(NotASubject),
        }
    }
}

/// A row: the wrapped key, unless it was erased, and which key wrapped it.
struct Row {
    wrapped: Option<Vec<u8>>,
    wrapped_by: KeyId,
}

impl MasterKeys {
    /// The key of a subject; drawn if there never was one.
    pub(super) async fn key_or_new(&self, client: &impl GenericClient, tenant: Uuid, subject: Subject) -> Result<Key, SealError> {
        if let Some(key) = self.key(client, tenant, subject).await? {
            return Ok(key);
        }
        let wrapping = match subject {
            Subject::Tenant => self.first().clone(),
            _ => Box::pin(self.key_or_new(client, tenant, Subject::Tenant)).await?,
        };
        let wrapped = wrapping.wrap(&Key::draw(), &subject.bound(tenant, wrapping.id()));
        let statement =
            "INSERT INTO sealed_keys (tenant, kind, subject, wrapped, wrapped_by) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING";
        let id = subject.id(tenant);
        client.execute(statement, &[&tenant, &subject.kind(), &id, &wrapped, &wrapping.id().as_slice()]).await?;
        // Read back what stands there: another process may have been first.
        self.key(client, tenant, subject).await?.ok_or(SealError::KeyMissing(subject))
    }

    /// The key of a subject, if there is one.
    pub(super) async fn key(&self, client: &impl GenericClient, tenant: Uuid, subject: Subject) -> Result<Option<Key>, SealError> {
        let Some(row) = read(client, tenant, subject).await? else { return Ok(None) };
        let wrapped = row.wrapped.ok_or(SealError::Erased(subject))?;
        let wrapping = match subject {
            Subject::Tenant => self.named(row.wrapped_by).ok_or(SealError::UnknownMasterKey)?.clone(),
            _ => Box::pin(self.key(client, tenant, Subject::Tenant)).await?.ok_or(SealError::KeyMissing(Subject::Tenant))?,
        };
        let key = wrapping.unwrap(&wrapped, &subject.bound(tenant, row.wrapped_by));
        key.map(Some).map_err(|_| SealError::KeyAltered(subject))
    }
}

async fn read(client: &impl GenericClient, tenant: Uuid, subject: Subject) -> Result<Option<Row>, SealError> {
    let statement = "SELECT wrapped, wrapped_by FROM sealed_keys WHERE tenant = $1 AND kind = $2 AND subject = $3";
    let Some(row) = client.query_opt(statement, &[&tenant, &subject.kind(), &subject.id(tenant)]).await? else { return Ok(None) };
    let wrapped_by = row.get::<_, &[u8]>(1).try_into().map_err(|_| SealError::KeyAltered(subject))?;
    Ok(Some(Row { wrapped: row.get(0), wrapped_by }))
}

/// Makes everything unreadable, for ever, that was or will be sealed for this subject; [`Subject::Tenant`] means all of the tenant's.
///
/// A subject that has no key yet is erased as well. Says whether there was a key. It holds when the transaction is committed; the space
/// of the old row is PostgreSQL's until it has been vacuumed, and backups keep it as long as they are kept.
///
/// # Errors
/// [`SealError::Database`].
pub async fn erase(client: &impl GenericClient, tenant: Uuid, subject: Subject) -> Result<bool, SealError> {
    let statement = "WITH before AS (SELECT wrapped FROM sealed_keys WHERE tenant = $1 AND kind = $2 AND subject = $3),
              erased AS (
                INSERT INTO sealed_keys (tenant, kind, subject, wrapped_by, erased) VALUES ($1, $2, $3, '\\x0000000000000000', now())
                ON CONFLICT (tenant, kind, subject) DO UPDATE SET wrapped = NULL, erased = coalesce(sealed_keys.erased, now())
              )
         SELECT EXISTS (SELECT FROM before WHERE wrapped IS NOT NULL)";
    let there_was = client.query_one(statement, &[&tenant, &subject.kind(), &subject.id(tenant)]).await?.get(0);
    if subject == Subject::Tenant {
        // Without the tenant's key these are noise already; a master key that leaks later must not find them.
        client.execute("UPDATE sealed_keys SET wrapped = NULL, erased = now() WHERE tenant = $1 AND erased IS NULL", &[&tenant]).await?;
    }
    Ok(there_was)
}
