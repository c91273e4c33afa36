//! Which processes run, as they say themselves: asked before a new event format is raised, which all of them have to read.
//!
//! This is no fold of the journal and proves nothing. A process that cannot report is not asked; it stops when it meets the format.

use crate::{database::Database, snapshot::ReadError};
use chrono::{DateTime, Utc};
use domain::platform::RunningRole;
use std::time::Duration;
use uuid::Uuid;

/// How often a process reports.
pub const REPORT_EVERY: Duration = Duration::from_secs(15);

/// For how long a report counts.
pub const COUNTS_FOR: Duration = Duration::from_secs(60);

impl Database {
    /// Notes that a process runs, and forgets those that have not said so for a day.
    ///
    /// # Errors
    ///
    /// When PostgreSQL does not answer.
    pub async fn report(&self, running: &RunningRole) -> Result<(), ReadError> {
        let client = self.client().await?;
        client.execute("DELETE FROM running_roles WHERE reported < now() - interval '1 day'", &[]).await?;
        let sql =
            "INSERT INTO running_roles (process, role, reads) VALUES ($1, $2, $3) ON CONFLICT (process) DO UPDATE SET reported = now()";
        client.execute(sql, &[&running.process, &running.role, &(running.reads as i32)]).await?;
        Ok(())
    }

    /// Notes that a process has ended.
    ///
    /// # Errors
    ///
    /// When PostgreSQL does not answer.
    pub async fn forget(&self, process: Uuid) -> Result<(), ReadError> {
        self.client().await?.execute("DELETE FROM running_roles WHERE process = $1", &[&process]).await?;
        Ok(())
    }

    /// The processes whose last report counts, and when each made it, by role.
    ///
    /// # Errors
    ///
    /// When PostgreSQL does not answer.
    pub async fn running(&self) -> Result<Vec<(RunningRole, DateTime<Utc>)>, ReadError> {
        let sql = "SELECT role, process, reads, reported FROM running_roles
                   WHERE reported > now() - make_interval(secs => $1) ORDER BY role, process";
        let rows = self.client().await?.query(sql, &[&COUNTS_FOR.as_secs_f64()]).await?;
        let running = |row: &tokio_postgres::Row| -> Result<_, tokio_postgres::Error> {
            let role = RunningRole { role: row.try_get(0)?, process: row.try_get(1)?, reads: row.try_get::<_, i32>(2)? as u32 };
            Ok((role, row.try_get(3)?))
        };
        Ok(rows.iter().map(running).collect::<Result<_, _>>()?)
    }
}
