//! The way to the brokers that the test owns: a proxy on each broker's detour, which cuts, delays and loses what is said, in one direction or both.

use crate::servers::Detour;
use anyhow::Context;
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinSet,
};

/// What the way is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Open.
    Pass,
    /// Connections end, and new ones too.
    Cut,
    /// Nothing that the client sends arrives; what the broker says does.
    Mute,
    /// Nothing that the broker says arrives; what the client sends does.
    Deaf,
    /// What the broker says arrives so much later.
    Late(Duration),
}

/// A proxy before each broker. It ends when it is dropped.
pub struct Proxy {
    modes: Vec<watch::Sender<Mode>>,
    detours: Vec<Detour>,
    _listening: JoinSet<()>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    ToBroker,
    ToClient,
}

impl Proxy {
    /// Listens at every detour.
    pub async fn start(detours: Vec<Detour>) -> anyhow::Result<Self> {
        let mut listening = JoinSet::new();
        let mut modes = Vec::new();
        for detour in &detours {
            let listener = TcpListener::bind(("127.0.0.1", detour.advertised)).await.context("a detour's port is taken")?;
            let mode = watch::Sender::new(Mode::Pass);
            listening.spawn(listen(listener, detour.broker, mode.subscribe()));
            modes.push(mode);
        }
        Ok(Self { modes, detours, _listening: listening })
    }

    /// `bootstrap.servers` of a client that is to come this way.
    pub fn bootstrap(&self) -> String {
        let ports: Vec<String> = self.detours.iter().map(|detour| format!("127.0.0.1:{}", detour.advertised)).collect();
        ports.join(",")
    }

    /// Changes the way to one broker, from 0, or to all.
    pub fn set(&self, broker: Option<usize>, mode: Mode) {
        for (n, sender) in self.modes.iter().enumerate() {
            if broker.is_none_or(|broker| broker == n) {
                sender.send_replace(mode);
            }
        }
    }
}

async fn listen(listener: TcpListener, broker: u16, mode: watch::Receiver<Mode>) {
    // Ends the connections with itself.
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        if *mode.borrow() == Mode::Cut {
            continue;
        }
        if let Ok(broker) = TcpStream::connect(("127.0.0.1", broker)).await {
            connections.spawn(connect(client, broker, mode.clone()));
        }
    }
}

async fn connect(client: TcpStream, broker: TcpStream, mut mode: watch::Receiver<Mode>) {
    let (from_client, to_client) = client.into_split();
    let (from_broker, to_broker) = broker.into_split();
    let watched = mode.clone();
    tokio::select! {
        () = pump(from_client, to_broker, Direction::ToBroker, mode.clone()) => {}
        () = pump(from_broker, to_client, Direction::ToClient, watched) => {}
        () = async { drop(mode.wait_for(|mode| *mode == Mode::Cut).await) } => {}
    }
}

/// Passes on what is said in one direction, in order, as the mode wants it. What is said while nothing arrives is not lost but late: TCP would repeat it.
async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, direction: Direction, mut mode: watch::Receiver<Mode>) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let Ok(read @ 1..) = from.read(&mut buffer).await else { return };
        let now = *mode.borrow();
        if let (Mode::Late(late), Direction::ToClient) = (now, direction) {
            tokio::time::sleep(late).await;
        }
        let blocked = |mode: &Mode| matches!((mode, direction), (Mode::Mute, Direction::ToBroker) | (Mode::Deaf, Direction::ToClient));
        let open = mode.wait_for(|mode| !blocked(mode)).await.is_ok();
        if !open || to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
