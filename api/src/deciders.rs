//! The way to the deciders: commands over the journal, advice over HTTP.

use domain::id::TenantId;
use futures::future::BoxFuture;
use journal::caller::{Caller, NotSent, Outcome};
use reqwest::Client;
use schemas::{advice::Advice, command::CommandRecord, record::Origin};
use std::time::Duration;

/// Sends commands and hands out their outcomes: [`Caller`] in production, a few lines in tests.
pub trait Deciders: Send + Sync {
    /// The partition of a tenant's chain, or of the platform's own.
    fn partition_of(&self, tenant: Option<TenantId>) -> u32;

    /// Refuses while a partition takes no more.
    ///
    /// # Errors
    /// [`NotSent`].
    fn pressure(&self, partition: u32) -> Result<(), NotSent>;

    /// Sends a command and waits for its outcome. Dropping the future forgets the wait, not the command.
    fn call(&self, record: &CommandRecord) -> BoxFuture<'static, Result<Outcome, NotSent>>;
}

/// A [`Caller`] with the journal whose partitions it knows.
pub struct OnJournal {
    /// Sends and follows.
    pub caller: Caller,
    /// Which journal.
    pub journal: journal::topics::Journal,
}

impl Deciders for OnJournal {
    fn partition_of(&self, tenant: Option<TenantId>) -> u32 {
        self.journal.partition_of(tenant)
    }

    fn pressure(&self, partition: u32) -> Result<(), NotSent> {
        self.caller.pressure(partition)
    }

    fn call(&self, record: &CommandRecord) -> BoxFuture<'static, Result<Outcome, NotSent>> {
        let awaiting = self.caller.call(Origin::Commands, record);
        Box::pin(awaiting.outcome())
    }
}

/// No decider gave advice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no decider gives advice at the moment")]
pub struct NoAdvice;

/// Asks deciders what would become of a command.
pub struct Advisers {
    http: Client,
    urls: Vec<String>,
}

impl Advisers {
    /// The deciders at these base URLs; any of them can answer for any chain.
    pub fn new(http: Client, urls: Vec<String>) -> Self {
        Self { http, urls }
    }

    /// The advice of the first that gives it.
    ///
    /// # Errors
    /// When none does.
    pub async fn ask(&self, record: &CommandRecord) -> Result<Advice, NoAdvice> {
        for url in &self.urls {
            match self.ask_one(url, record).await {
                Ok(advice) => return Ok(advice),
                Err(problem) => tracing::warn!(url, %problem, "the decider at {url} gave no advice: {problem}"),
            }
        }
        Err(NoAdvice)
    }

    async fn ask_one(&self, url: &str, record: &CommandRecord) -> Result<Advice, reqwest::Error> {
        let url = format!("{}/advice", url.trim_end_matches('/'));
        let answer = self.http.post(url).timeout(Duration::from_secs(2)).json(record).send().await?;
        answer.error_for_status()?.json().await
    }
}
