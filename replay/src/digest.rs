//! One digest of what the log says: two machines that read the same log get the same 32 bytes.

use crate::verify::Report;
use schemas::record::{Digest, Position};

/// The fold of a partition, digested.
pub struct Folded {
    /// Where it was read to.
    pub position: Position,
    /// The head of the chain there.
    pub head: Digest,
    /// SHA-256 of the fold. Its maps are ordered, so equal states are equal bytes.
    pub fold: Digest,
}

/// The folds of all partitions, and one digest over them.
pub fn digest(report: &Report) -> anyhow::Result<(Vec<Folded>, Digest)> {
    let mut all = Vec::new();
    let mut lines = String::new();
    for chain in &report.chains {
        let reader = chain.reader();
        let fold = Digest::of(&rmp_serde::to_vec_named(&chain.state)?);
        lines += &format!("{} {} {fold}\n", reader.position(), reader.head);
        all.push(Folded { position: reader.position(), head: reader.head, fold });
    }
    Ok((all, Digest::of(lines.as_bytes())))
}
