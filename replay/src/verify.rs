//! Is the log whole? The rule, the fold, and one commit for each command without a hole.

use crate::{chain::Chain, source::Source};
use comfy_table::{Table, presets::NOTHING};
use std::fmt;

/// What was found in all partitions.
pub struct Report {
    /// The partitions, in order.
    pub chains: Vec<Chain>,
}

/// Reads everything.
pub fn verify(source: &Source) -> anyhow::Result<Report> {
    let mut chains = Chain::all(&source.journal())?;
    source.read(|partition, stored| {
        chains[partition as usize].read(stored);
        Ok(())
    })?;
    Ok(Report { chains })
}

impl Report {
    /// True when nothing is wrong anywhere.
    pub fn is_whole(&self) -> bool {
        self.chains.iter().all(|chain| chain.problems.is_empty())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new();
        table.load_style(NOTHING).set_header(["read to", "takeovers", "commits", "commands", "reports", "void", "verdict"]);
        for chain in &self.chains {
            let void = match chain.voids.values().sum::<u64>() {
                0 => "0".to_owned(),
                n => format!("{n}: {}", chain.voids.iter().map(|(why, n)| format!("{n} {why}")).collect::<Vec<_>>().join(", ")),
            };
            let [commands, reports] = chain.answered();
            let verdict = chain.problems.first().map_or("whole", String::as_str);
            table.add_row([
                &chain.reader().position().to_string(),
                &chain.takeovers.to_string(),
                &chain.commits.to_string(),
                &commands.to_string(),
                &reports.to_string(),
                &void,
                verdict,
            ]);
        }
        writeln!(f, "{table}")?;
        for problem in self.chains.iter().flat_map(|chain| chain.problems.iter().skip(1)) {
            writeln!(f, "{problem}")?;
        }
        let broken = self.chains.iter().filter(|chain| !chain.problems.is_empty()).count();
        let commits: u64 = self.chains.iter().map(|chain| chain.commits).sum();
        match broken {
            0 => write!(f, "{commits} commits in {} partitions: whole", self.chains.len()),
            n => write!(f, "{commits} commits in {} partitions: {n} NOT whole", self.chains.len()),
        }
    }
}
