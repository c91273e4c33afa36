//! How far the read models have read, followed rather than asked for.
//!
//! The live runner notifies in the transaction that moves the checkpoints. One connection a process listens; whoever waits for a position
//! waits on a channel in memory. A notification carries the positions themselves, unless they do not fit in one or another release's runner
//! speaks of its own versions; then, and after each new connection, they are read once.

use crate::model::{ALL, EDITION};
use domain::id::ZoneName;
use futures::{StreamExt, stream};
use postgres_native_tls::MakeTlsConnector;
use schemas::record::Position;
use std::{collections::BTreeMap, sync::Arc, sync::OnceLock, time::Duration};
use tokio::{
    sync::{broadcast, mpsc, watch},
    time::Instant,
};
use tokio_postgres::{AsyncMessage, Client};

/// Told when checkpoints have moved; the payload is the positions, if they fit.
pub(crate) const MOVED: &str = "cirrus_checkpoints";
/// Told when work was opened; the payload is the zone, or nothing for work that belongs to no zone.
pub(crate) const OPEN_WORK: &str = "cirrus_open_work";

/// PostgreSQL takes less than 8,000 bytes.
const MOST_PAYLOAD: usize = 7_900;

/// The longest that anybody waits for a position.
pub const LONGEST_WAIT: Duration = Duration::from_secs(5);

type Positions = Arc<BTreeMap<u32, Position>>;

/// A wake-up for workers: look again there. Wake-ups can be lost, so workers also look from time to time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OpenWork {
    /// In this zone.
    In(ZoneName),
    /// Where work belongs to no zone.
    Regional,
    /// Anywhere: notifications may have been missed.
    Anywhere,
}

/// The wanted positions were not reached in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the read models have not reached {0} yet")]
pub struct NotReached(pub Position);

/// Follows the checkpoints; see the module.
pub struct Follow {
    config: tokio_postgres::Config,
    tls: MakeTlsConnector,
    listener: OnceLock<Listener>,
}

struct Listener {
    positions: watch::Receiver<Positions>,
    open_work: broadcast::Sender<OpenWork>,
    task: tokio::task::AbortHandle,
}

impl Follow {
    pub(crate) fn new(config: tokio_postgres::Config, tls: MakeTlsConnector) -> Self {
        Self { config, tls, listener: OnceLock::new() }
    }

    /// The positions that all current read models have reached, as they move. Empty until they are known.
    ///
    /// The first call begins to listen, and has to be made within a tokio runtime.
    pub fn positions(&self) -> watch::Receiver<Positions> {
        self.listener().positions.clone()
    }

    /// Wake-ups for workers, from now on.
    pub fn open_work(&self) -> broadcast::Receiver<OpenWork> {
        self.listener().open_work.subscribe()
    }

    /// Waits until the read models have reached all of `wanted`; until `deadline`, and [`LONGEST_WAIT`] at most.
    ///
    /// # Errors
    ///
    /// With a position that was not reached in time. One of an earlier generation than the read models' counts as reached only where they began.
    pub async fn wait_for(&self, wanted: &[Position], deadline: Instant) -> Result<(), NotReached> {
        let mut positions = self.positions();
        let missing = |reached: &Positions| wanted.iter().copied().find(|w| !reached.get(&w.partition).is_some_and(|r| covers(r, w)));
        let reached = positions.wait_for(|reached| missing(reached).is_none());
        let deadline = deadline.min(Instant::now() + LONGEST_WAIT);
        let in_time = matches!(tokio::time::timeout_at(deadline, reached).await, Ok(Ok(_)));
        match missing(&positions.borrow()) {
            Some(position) if !in_time => Err(NotReached(position)),
            _ => Ok(()),
        }
    }

    fn listener(&self) -> &Listener {
        self.listener.get_or_init(|| {
            let (send, positions) = watch::channel(Positions::default());
            let (open_work, _) = broadcast::channel(256);
            let task = tokio::spawn(listen(self.config.clone(), self.tls.clone(), send, open_work.clone()));
            Listener { positions, open_work, task: task.abort_handle() }
        })
    }
}

impl Drop for Follow {
    fn drop(&mut self) {
        if let Some(listener) = self.listener.get() {
            listener.task.abort();
        }
    }
}

/// The seq of two generations is not compared: a later generation has all of the earlier ones up to where it began.
fn covers(reached: &Position, wanted: &Position) -> bool {
    match reached.generation.cmp(&wanted.generation) {
        std::cmp::Ordering::Less => false,
        std::cmp::Ordering::Equal => reached.seq >= wanted.seq,
        std::cmp::Ordering::Greater => true,
    }
}

async fn listen(config: tokio_postgres::Config, tls: MakeTlsConnector, send: watch::Sender<Positions>, wake: broadcast::Sender<OpenWork>) {
    loop {
        if let Err(problem) = listen_once(&config, &tls, &send, &wake).await {
            tracing::warn!(%problem, "lost the connection that follows the read models: {problem}");
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

async fn listen_once(
    config: &tokio_postgres::Config,
    tls: &MakeTlsConnector,
    send: &watch::Sender<Positions>,
    wake: &broadcast::Sender<OpenWork>,
) -> Result<(), tokio_postgres::Error> {
    let (client, mut connection) = config.connect(tls.clone()).await?;
    let (told, mut hear) = mpsc::channel(64);
    let pump = async move {
        let mut messages = stream::poll_fn(move |cx| connection.poll_message(cx));
        while let Some(message) = messages.next().await {
            if let AsyncMessage::Notification(notification) = message? {
                // Whoever hears is gone only when this whole function has ended.
                let _ = told.send(notification).await;
            }
        }
        Ok(())
    };
    let follow = async {
        client.batch_execute(&format!("LISTEN {MOVED}; LISTEN {OPEN_WORK}")).await?;
        let _ = wake.send(OpenWork::Anywhere);
        publish(send, read(&client).await?);
        while let Some(notification) = hear.recv().await {
            match (notification.channel(), notification.payload()) {
                (MOVED, payload) => {
                    let positions = match parse(payload) {
                        Some(positions) => positions,
                        None => read(&client).await?,
                    };
                    publish(send, positions);
                }
                (_, "") => drop(wake.send(OpenWork::Regional)),
                (_, zone) => drop(wake.send(zone.parse().map_or(OpenWork::Anywhere, OpenWork::In))),
            }
        }
        Ok(())
    };
    futures::try_join!(pump, follow).map(drop)
}

fn publish(send: &watch::Sender<Positions>, positions: Vec<Position>) {
    send.send_modify(|now| {
        let now = Arc::make_mut(now);
        now.extend(positions.into_iter().map(|position| (position.partition, position)));
    });
}

/// The positions as the payload of a notification, behind the edition of read models that has reached them; empty when they are too many.
pub(crate) fn payload(positions: impl Iterator<Item = Position>) -> String {
    let text = positions.fold(EDITION.to_string(), |text, position| format!("{text} {position}"));
    if text.len() <= MOST_PAYLOAD { text } else { String::new() }
}

fn parse(payload: &str) -> Option<Vec<Position>> {
    let (edition, positions) = payload.split_once(' ')?;
    (edition == EDITION.to_string()).then(|| positions.split(' ').map(|p| p.parse().ok()).collect())?
}

/// The position of the read model that is furthest behind, a partition.
async fn read(client: &Client) -> Result<Vec<Position>, tokio_postgres::Error> {
    let (models, versions): (Vec<&str>, Vec<i32>) = ALL.iter().map(|model| (model.name(), model.version())).unzip();
    let rows = client
        .query(
            "SELECT DISTINCT ON (c.partition) c.generation, c.partition, c.seq
             FROM read_model_builds b JOIN read_model_checkpoints c USING (model, version, build)
             JOIN unnest($1::text[], $2::integer[]) AS known (model, version) USING (model, version)
             WHERE b.current ORDER BY c.partition, c.generation, c.seq",
            &[&models, &versions],
        )
        .await?;
    rows.iter()
        .map(|row| {
            let (generation, partition, seq): (i32, i32, i64) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
            Ok(Position { generation: generation as u32, partition: partition as u32, seq: seq as u64 })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_travel_in_a_notification_while_they_fit() {
        let at = |partition| Position { generation: 1, partition, seq: 10_000_000_000 };
        let few: Vec<Position> = (0..65).map(at).collect();
        assert_eq!(parse(&payload(few.iter().copied())), Some(few));
        assert_eq!(payload((0..1025).map(at)), "");
        assert_eq!(parse(""), None);
        assert_eq!(parse("1 g1.p3.7"), None, "what another release has reached says nothing of these read models");
    }

    #[test]
    fn a_position_of_a_generation_not_read_yet_is_not_covered() {
        let p = |generation, seq| Position { generation, partition: 3, seq };
        assert!(covers(&p(1, 7), &p(1, 7)) && covers(&p(2, 1), &p(1, 7)));
        assert!(!covers(&p(1, 9), &p(2, 1)) && !covers(&p(1, 6), &p(1, 7)));
    }
}
