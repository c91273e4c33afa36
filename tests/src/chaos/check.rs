//! The rules. Each looks at the evidence alone and says, in sentences, what contradicts it; nothing said is nothing found.
//!
//! | rule | |
//! |---|---|
//! | `whole` | the chains verify, and every command has one commit, in order |
//! | `acknowledged` | what a client was told is in the log, at the position that it was told, and says the same |
//! | `asked` | what the log says was asked by a client of these tenants was asked by one, in these words |
//! | `decided` | every commit is what the domain decides on the fold before it |
//! | `one outcome` | a key has at most one outcome that stands, and every answer to it is that one |
//! | `in order` | a request that ended before another began has the lower seq: the log is a linearisation of each tenant's history |
//! | `reads` | a read is not older than its token, and shows exactly the fold at the position that it names |
//! | `machines` | each machine at the provider belongs to exactly one resource that is there, and the other way round |
//! | `quota` | no limit is exceeded at any position, and nothing that fitted was refused |
//!
//! Read models are held against the log by `cirrus-replay rebuild --compare`.

mod machines;
mod outcomes;
mod reads;
mod said;
#[cfg(test)]
mod tests;

use super::evidence::{Entry, Evidence};
use crate::quota::Count;

/// A rule: what contradicts it, in sentences.
pub type Rule = fn(&Evidence) -> Vec<String>;

/// All rules by name.
pub const RULES: [(&str, Rule); 9] = [
    ("whole", |evidence| evidence.problems.clone()),
    ("acknowledged", said::acknowledged),
    ("asked", said::asked),
    ("decided", said::decided),
    ("one outcome", outcomes::one_outcome),
    ("in order", outcomes::in_order),
    ("reads", reads::reads),
    ("machines", machines::machines),
    ("quota", quota),
];

/// So many sentences of one rule are shown; where there is one, there are often thousands.
const SHOWN: usize = 20;

/// Everything that contradicts a rule.
pub fn violations(evidence: &Evidence) -> Vec<String> {
    let mut all = Vec::new();
    for (name, rule) in RULES {
        let found = rule(evidence);
        let more = found.len().saturating_sub(SHOWN);
        all.extend(found.into_iter().take(SHOWN).map(|problem| format!("{name}: {problem}")));
        if more > 0 {
            all.push(format!("{name}: and {more} more"));
        }
    }
    all
}

/// The first of each chain: what comes after it is counted on.
fn quota(evidence: &Evidence) -> Vec<String> {
    let first = |chain: &Vec<Entry>| {
        let mut count = Count::default();
        chain.iter().find_map(|entry| count.judge(entry.position, &entry.events).err())
    };
    evidence.log.iter().filter_map(first).map(|problem| problem.to_string()).collect()
}

/// True when nothing is being done any more, and what is at the provider is what the log says.
pub fn is_settled(evidence: &Evidence) -> bool {
    machines::machines(evidence).is_empty()
}
