//! Which journal this database was folded from, and the few tables that cannot be folded again.

use crate::{database::Database, snapshot::ReadError};
use deadpool_postgres::Object;
use journal::topics::Journal;

mod migrations {
    refinery::embed_migrations!("migrations");
}

/// The database does not belong to this journal, or cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// Nothing was ever folded here.
    #[error("PostgreSQL knows no journal yet; `cirrus journal create` makes one")]
    NoJournal,
    /// The rows here were folded from another journal.
    #[error(
        "PostgreSQL belongs to journal {} (generation {}, {} partitions), this is journal {} (generation {}, {} partitions)",
        remembered.id, remembered.generation, remembered.partitions, found.id, found.generation, found.partitions
    )]
    OtherJournal {
        /// What PostgreSQL remembers.
        remembered: Journal,
        /// What was found.
        found: Journal,
    },
    /// A migration failed.
    #[error("cannot migrate the tables of PostgreSQL")]
    Migration(#[from] refinery::Error),
    /// PostgreSQL did not answer.
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl From<tokio_postgres::Error> for IdentityError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Read(error.into())
    }
}

/// Serialises migrations of several roles that start at once.
const MIGRATING: i64 = 0x0063_6972_7275_7301;

impl Database {
    /// Brings the tables that cannot be rebuilt to this program's version. Roles may call it at the same time.
    ///
    /// # Errors
    ///
    /// When a migration fails or was changed after it had been applied.
    pub async fn migrate(&self) -> Result<(), IdentityError> {
        // Not given back to the pool: the lock belongs to the connection and ends with it.
        let mut client = Object::take(self.client().await?);
        client.batch_execute("SET statement_timeout = 0").await?;
        client.execute("SELECT pg_advisory_lock($1)", &[&MIGRATING]).await?;
        let mut runner = migrations::migrations::runner();
        runner.set_migration_table_name("projections_migrations");
        // A later release may have been here. Its tables stand beside these, so the step back from it is allowed.
        let runner = runner.set_abort_missing(false);
        runner.run_async(&mut *client).await?;
        Ok(())
    }

    /// The journal that this database belongs to.
    ///
    /// # Errors
    ///
    /// [`IdentityError::NoJournal`] before one was remembered.
    pub async fn journal(&self) -> Result<Journal, IdentityError> {
        let client = self.client().await?;
        let row = client.query_opt("SELECT journal, generation, partitions FROM journal_identity", &[]).await?;
        let row = row.ok_or(IdentityError::NoJournal)?;
        let (generation, partitions): (i32, i32) = (row.try_get(1)?, row.try_get(2)?);
        Ok(Journal { id: row.try_get(0)?, generation: generation as u32, partitions: partitions as u32 })
    }

    /// Remembers the journal that this database belongs to from now on; the same one again changes nothing.
    ///
    /// # Errors
    ///
    /// [`IdentityError::OtherJournal`] when it belongs to one already.
    pub async fn remember(&self, journal: &Journal) -> Result<(), IdentityError> {
        let client = self.client().await?;
        let (generation, partitions) = (journal.generation as i32, journal.partitions as i32);
        let sql = "INSERT INTO journal_identity (journal, generation, partitions) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
        client.execute(sql, &[&journal.id, &generation, &partitions]).await?;
        drop(client);
        self.check(journal).await
    }

    /// Refuses a journal that is not the one this database belongs to.
    ///
    /// # Errors
    ///
    /// [`IdentityError::OtherJournal`] and [`IdentityError::NoJournal`].
    pub async fn check(&self, found: &Journal) -> Result<(), IdentityError> {
        let remembered = self.journal().await?;
        if remembered == *found { Ok(()) } else { Err(IdentityError::OtherJournal { remembered, found: *found }) }
    }
}
