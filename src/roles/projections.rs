//! `cirrus projections`: read models as an operator sees them, while everything runs.

use crate::config::Config;
use clap::Subcommand;
use comfy_table::{Table, presets::NOTHING};
use projections::builds;

#[derive(Subcommand)]
pub enum Command {
    /// All builds of all read models.
    List,
    /// Fills a new build from the beginning and makes it current. Ctrl-C stops it; the same again goes on.
    Rebuild {
        /// The read model.
        name: String,
    },
    /// Drops a build that does not answer.
    Drop {
        /// The read model.
        name: String,
        /// The build.
        build: i32,
        /// The version that it is of, after an upgrade: no process of a release with that version may run any more.
        #[arg(long)]
        version: Option<i32>,
    },
}

pub async fn run(config: Config, command: Command) -> anyhow::Result<()> {
    let super::Ground { database, journal, .. } = super::ground(&config).await?;
    match command {
        Command::List => {
            let mut table = Table::new();
            table.load_style(NOTHING).set_header(["read model", "version", "build", "state", "records", "made at"]);
            for build in builds::list(&database).await? {
                let state = match (build.current, build.incomplete.is_empty(), build.known) {
                    (_, _, false) => "of another program",
                    (true, true, _) => "current",
                    (true, false, _) => "current, incomplete: rebuild it",
                    (false, _, _) => "being filled",
                };
                let made_at = build.created_at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
                let (version, number, records) = (build.version.to_string(), build.build.to_string(), build.records.to_string());
                table.add_row([build.model.as_str(), &version, &number, state, &records, &made_at]);
            }
            println!("{table}");
        }
        Command::Rebuild { name } => {
            let stop = super::stop_signal()?;
            let log = super::events(&config, &journal)?;
            let bar = indicatif::ProgressBar::new_spinner();
            let progress = |p: builds::Progress| bar.set_message(format!("{} records to go", p.behind));
            let build = builds::rebuild(&database, &log, &journal, &name, stop, progress).await?;
            bar.finish_and_clear();
            println!("{name}: build {build} is current");
        }
        Command::Drop { name, build, version } => {
            builds::drop_build(&database, &name, version, build).await?;
            println!("{name}: build {build} is dropped");
        }
    }
    Ok(())
}
