//! Quota on two levels, tenant and cell: limits, claims, and the one question whether a claim fits.
//!
//! A claim is part of the commit that accepts a request, so usage is a fold of the log and cannot drift. A claim needs room in its cell *and* in
//! its tenant. Children may add up to more than their parent. A cell without a limit of its own inherits: the smaller of the tenant's default
//! for cells and the tenant's own limit, computed when asked, so that it rises again when the tenant's does. A limit of its own that was
//! clamped stays clamped.

use crate::{id::Dimension, refusal::Refusal};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::{collections::BTreeMap, fmt};

/// The largest amount and limit: read models keep them as signed 64-bit integers.
const LARGEST: u64 = i64::MAX as u64;

/// How much of a dimension may be used. `Unlimited` is greater than any number. On the wire a whole number or `"unlimited"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Limit {
    /// At most this many units of the dimension.
    At(u64),
    /// No limit.
    Unlimited,
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Limit::At(n) => n.fmt(f),
            Limit::Unlimited => "unlimited".fmt(f),
        }
    }
}

impl Serialize for Limit {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            Limit::At(n) => s.serialize_u64(*n),
            Limit::Unlimited => s.serialize_str("unlimited"),
        }
    }
}

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Limit;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number or \"unlimited\"")
            }
            fn visit_u64<E: serde::de::Error>(self, n: u64) -> Result<Limit, E> {
                if n <= LARGEST { Ok(Limit::At(n)) } else { Err(E::custom("a limit is at most 9223372036854775807")) }
            }
            fn visit_str<E: serde::de::Error>(self, s: &str) -> Result<Limit, E> {
                if s == "unlimited" { Ok(Limit::Unlimited) } else { Err(E::invalid_value(serde::de::Unexpected::Str(s), &self)) }
            }
        }
        d.deserialize_any(Visitor)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Limit {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Limit".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "How much of a dimension may be used.",
            "anyOf": [{ "type": "integer", "minimum": 0, "maximum": i64::MAX }, { "const": "unlimited" }]
        })
    }
}

/// Limits a dimension. What an absent dimension means depends on the level: nothing granted for a tenant, inherited for a cell.
pub type Limits = BTreeMap<Dimension, Limit>;

/// A change of limits; `None` takes a limit of one's own away.
pub type LimitChanges = BTreeMap<Dimension, Option<Limit>>;

/// Whole units a dimension: a claim, or what is in use. Zero is never stored.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct Amounts(
    /// In the order of dimensions. They are few and every resource in memory has a claim: a list is a quarter of a tree's size.
    #[serde(with = "as_map")]
    #[cfg_attr(feature = "schema", schemars(with = "BTreeMap<Dimension, u64>"))]
    Vec<(Dimension, u64)>,
);

mod as_map {
    use super::{Amounts, BTreeMap, Deserialize, Deserializer, Dimension, Serializer};

    pub fn serialize<S: Serializer>(amounts: &[(Dimension, u64)], s: S) -> Result<S::Ok, S::Error> {
        s.collect_map(amounts.iter().map(|(d, n)| (d, n)))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<(Dimension, u64)>, D::Error> {
        Ok(BTreeMap::deserialize(d)?.into_iter().collect::<Amounts>().0)
    }
}

/// An amount went below zero or beyond 64 bits: the log contradicts itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{dimension}: {had} {sign} {by} is not an amount")]
pub struct AmountOverflow {
    dimension: Dimension,
    had: u64,
    sign: char,
    by: u64,
}

impl Amounts {
    /// The amount of one dimension, zero when absent.
    pub fn get(&self, dimension: &Dimension) -> u64 {
        self.place(dimension).map_or(0, |i| self.0[i].1)
    }

    /// All dimensions that are not zero, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&Dimension, u64)> {
        self.0.iter().map(|(d, n)| (d, *n))
    }

    fn place(&self, dimension: &Dimension) -> Result<usize, usize> {
        self.0.binary_search_by(|(d, _)| d.cmp(dimension))
    }

    fn set(&mut self, dimension: &Dimension, n: u64) {
        match (self.place(dimension), n) {
            (Ok(i), 0) => drop(self.0.remove(i)),
            (Ok(i), n) => self.0[i].1 = n,
            (Err(_), 0) => {}
            (Err(i), n) => self.0.insert(i, (dimension.clone(), n)),
        }
    }

    /// True when every dimension is zero.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds all of `other`.
    pub fn add(&mut self, other: &Amounts) -> Result<(), AmountOverflow> {
        for (dimension, by) in other.iter() {
            let had = self.get(dimension);
            let sum = had.checked_add(by).filter(|n| *n <= LARGEST);
            let sum = sum.ok_or_else(|| AmountOverflow { dimension: dimension.clone(), had, sign: '+', by })?;
            self.set(dimension, sum);
        }
        Ok(())
    }

    /// Takes all of `other` away.
    pub fn subtract(&mut self, other: &Amounts) -> Result<(), AmountOverflow> {
        for (dimension, by) in other.iter() {
            let had = self.get(dimension);
            let left = had.checked_sub(by);
            self.set(dimension, left.ok_or_else(|| AmountOverflow { dimension: dimension.clone(), had, sign: '-', by })?);
        }
        Ok(())
    }

    /// The greater of both, a dimension at a time: what a change claims until it is done.
    pub fn greatest(&self, other: &Amounts) -> Amounts {
        let mut all = self.clone();
        for (dimension, n) in other.iter() {
            all.set(dimension, n.max(self.get(dimension)));
        }
        all
    }

    /// What `self` has above `other`, a dimension at a time.
    pub fn above(&self, other: &Amounts) -> Amounts {
        self.iter().map(|(d, n)| (d.clone(), n.saturating_sub(other.get(d)))).collect()
    }
}

impl FromIterator<(Dimension, u64)> for Amounts {
    /// Amounts of the same dimension add up, saturating; a claim that large fits nowhere.
    fn from_iter<I: IntoIterator<Item = (Dimension, u64)>>(pairs: I) -> Self {
        let mut all: BTreeMap<Dimension, u64> = BTreeMap::new();
        for (dimension, n) in pairs.into_iter().filter(|(_, n)| *n > 0) {
            let had = all.entry(dimension).or_default();
            *had = had.saturating_add(n);
        }
        let mut list: Vec<_> = all.into_iter().collect();
        list.shrink_to_fit();
        Amounts(list)
    }
}

/// Which of the two levels a limit belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// The whole tenant.
    Tenant,
    /// One cell.
    Cell,
}

/// Where a limit comes from, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// Set on this tenant or cell.
    Own,
    /// The tenant's default for its cells.
    Default,
    /// The tenant's own limit, which is the smaller one.
    Tenant,
    /// Nobody granted this dimension.
    None,
}

/// The limit of a tenant in one dimension: what was not granted is zero.
pub fn tenant_limit(limits: &Limits, dimension: &Dimension) -> (Limit, Source) {
    limits.get(dimension).map_or((Limit::At(0), Source::None), |l| (*l, Source::Own))
}

/// The limit of a cell in one dimension: its own or else the default, never above the tenant's.
pub fn cell_limit(tenant: &Limits, default: &Limits, own: &Limits, dimension: &Dimension) -> (Limit, Source) {
    let (ceiling, _) = tenant_limit(tenant, dimension);
    let (limit, source) = match (own.get(dimension), default.get(dimension)) {
        (Some(own), _) => (*own, Source::Own),
        (None, Some(default)) => (*default, Source::Default),
        (None, None) => (ceiling, Source::Tenant),
    };
    if ceiling < limit { (ceiling, Source::Tenant) } else { (limit, source) }
}

/// Refuses the first dimension, in order, in which `asked` more than `used` would pass the limit.
pub fn check_room(level: Level, used: &Amounts, asked: &Amounts, limit: impl Fn(&Dimension) -> Limit) -> Result<(), Refusal> {
    for (dimension, asked) in asked.iter() {
        let (used, limit) = (used.get(dimension), limit(dimension));
        let most = match limit {
            Limit::Unlimited => LARGEST,
            Limit::At(n) => n.min(LARGEST),
        };
        if used.checked_add(asked).is_none_or(|sum| sum > most) {
            return Err(Refusal::QuotaExceeded { level, dimension: dimension.clone(), limit, used, asked });
        }
    }
    Ok(())
}
