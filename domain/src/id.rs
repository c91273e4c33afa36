//! Typed ids and names.
//!
//! An id of one kind cannot be passed for another. Ids are never drawn here: what a command creates carries the command's own id, so that the
//! same create sent twice names the same thing.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{fmt, str::FromStr, sync::Arc};
use uuid::Uuid;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { self.0.fmt(f) }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { write!(f, concat!(stringify!($name), "({})"), self.0) }
        }
        impl FromStr for $name {
            type Err = uuid::Error;
            fn from_str(s: &str) -> Result<Self, Self::Err> { Uuid::parse_str(s).map(Self) }
        }
        impl From<CommandId> for $name {
            fn from(id: CommandId) -> Self { Self(id.0) }
        }
    )*};
}

/// The id of a command: UUIDv5 of what makes it the same command again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct CommandId(pub Uuid);

impl CommandId {
    /// A command that follows from this one, the same at every attempt: UUIDv5 of this id and `purpose`.
    pub fn derive(self, purpose: &str) -> Self {
        Self(Uuid::new_v5(&self.0, purpose.as_bytes()))
    }
}

impl fmt::Display for CommandId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for CommandId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CommandId({})", self.0)
    }
}

ids! {
    /// A customer of the provider: the consistency boundary.
    TenantId,
    /// A division of a tenant. Cells do not nest.
    CellId,
    /// Anything ordered from the catalogue.
    ResourceId,
    /// One piece of work at a provider; the key under which a provider must treat repeated calls as one.
    IntentId,
}

/// Tenants are spread over this many slices, a number that never changes, so that a later generation may have more partitions.
pub const SLICES: u64 = 1024;

impl TenantId {
    /// The slice of this tenant: the first 8 bytes, big-endian, of SHA-256 of the id's 16 bytes, modulo [`SLICES`].
    pub fn slice(self) -> u64 {
        let digest = Sha256::digest(self.0.as_bytes());
        let mut first = [0; 8];
        first.copy_from_slice(&digest[..8]);
        u64::from_be_bytes(first) % SLICES
    }

    /// The partition of this tenant's chain among `partitions` tenant partitions (the platform's own chain is one beyond them).
    pub fn partition(self, partitions: u32) -> u32 {
        (self.slice() * u64::from(partitions) / SLICES) as u32
    }
}

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a name: 1 to 63 of a-z, 0-9, '.', '_' and '-', beginning with a letter or digit")]
pub struct BadName(pub String);

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(extend("pattern" = "^[a-z0-9][a-z0-9._-]{0,62}$")))]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str { &self.0 }
        }
        impl TryFrom<String> for $name {
            type Error = BadName;
            fn try_from(s: String) -> Result<Self, BadName> { s.parse() }
        }
        impl From<$name> for String {
            fn from(n: $name) -> String { n.0.as_ref().to_owned() }
        }
        impl FromStr for $name {
            type Err = BadName;
            fn from_str(s: &str) -> Result<Self, BadName> {
                let body = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, b'.' | b'_' | b'-');
                let first = s.bytes().next().is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
                if first && s.len() <= 63 && s.bytes().all(body) { Ok(Self(s.into())) } else { Err(BadName(s.chars().take(80).collect())) }
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { self.0.fmt(f) }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { write!(f, "{:?}", self.0) }
        }
    )*};
}

names! {
    /// A region: one place from which the cloud is run, with one or more zones.
    RegionName,
    /// An availability zone: fails on its own.
    ZoneName,
    /// A service of the catalogue, the kind of a resource: `server`, `volume`.
    ServiceName,
    /// A flavor: a named size of machine.
    FlavorName,
    /// A quota dimension: `vcpus`, `memory_mib`.
    Dimension,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_keeps_its_neighbours_when_partitions_double() {
        for n in 0..2000u128 {
            let tenant = TenantId(Uuid::from_u128(n * 7919));
            assert!(tenant.partition(8) < 8);
            assert_eq!(tenant.partition(8), tenant.partition(16) / 2);
        }
    }

    #[test]
    fn the_slice_is_the_published_rule() {
        // printf '\0%.0s' {1..16} | sha256sum  gives 374708fff7719dd5..., and 0x374708fff7719dd5 mod 1024 is 0x1d5.
        assert_eq!(TenantId(Uuid::nil()).slice(), 0x1d5);
    }

    #[test]
    fn a_name_with_capitals_or_a_leading_dash_is_refused() {
        for bad in ["", "-a", "A", "a b", "ä", &"a".repeat(64)] {
            assert!(bad.parse::<ZoneName>().is_err(), "{bad}");
        }
        assert_eq!("eu-west.1_a".parse::<ZoneName>().unwrap().as_str(), "eu-west.1_a");
    }
}
