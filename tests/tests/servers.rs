//! The servers that other tests stand on: they start, keep what they were given, and leave nothing behind.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use journal::birth::{self, Durability};
use journal::kafka::{KafkaSettings, SaslMechanism, SecurityProtocol};
use journal::topics::Journal;
use projections::database::{Database, Settings};
use tests::servers::{Kafka, Postgres, USER};
use uuid::Uuid;

fn journal(generation: u32) -> Journal {
    Journal { id: Uuid::from_u128(7), generation, partitions: 4 }
}

#[test]
fn a_broker_that_is_killed_comes_back_with_its_topics() {
    let kafka = Kafka::start();
    let settings = KafkaSettings::plaintext(kafka.bootstrap());
    birth::create(&settings, &journal(1), Durability::SINGLE_BROKER).expect("a new broker takes a journal");

    kafka.kill();
    assert!(TcpStream::connect(kafka.bootstrap()).is_err(), "a dead broker takes no connections");
    kafka.start_again();

    birth::check(&settings, &journal(1)).expect("the journal is still there");
}

#[test]
fn tests_that_share_a_broker_have_journals_of_their_own() {
    let settings = KafkaSettings::plaintext(Kafka::shared().bootstrap());
    let (mine, yours) = (Kafka::shared().generation(), Kafka::shared().generation());
    birth::create(&settings, &journal(mine), Durability::SINGLE_BROKER).expect("a shared broker takes a journal");
    assert!(matches!(birth::check(&settings, &journal(yours)), Err(birth::BirthError::Missing(_))), "nobody has made the other one");
}

#[test]
fn a_secured_broker_speaks_only_tls_and_lets_in_who_knows_the_password() {
    let kafka = Kafka::secured();
    let settings = KafkaSettings {
        security_protocol: SecurityProtocol::SaslSsl,
        ca_file: Some(kafka.ca_file()),
        sasl_mechanism: Some(SaslMechanism::ScramSha512),
        sasl_user: Some(USER.to_owned()),
        sasl_password_file: Some(kafka.password_file()),
        ..KafkaSettings::plaintext(kafka.bootstrap())
    };
    birth::create(&settings, &journal(1), Durability::SINGLE_BROKER).expect("the right password over TLS is let in");

    assert!(answers_plainly(&Kafka::shared().bootstrap()), "an open broker answers a request as it is");
    assert!(!answers_plainly(&kafka.bootstrap()), "a secured one does not");
}

/// Whether the broker answers `ApiVersions`, the one request that needs no login, without TLS.
fn answers_plainly(bootstrap: &str) -> bool {
    // Size, API key 18, version 0, correlation id 7, no client id: Kafka protocol guide, request header v1.
    let request = [0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 7, 0xff, 0xff];
    let mut connection = TcpStream::connect(bootstrap).expect("the broker takes connections");
    connection.set_read_timeout(Some(Duration::from_secs(10))).expect("ten seconds are a time-out");
    connection.write_all(&request).expect("the broker reads");
    let mut answer = [0; 8];
    connection.read_exact(&mut answer).is_ok() && answer[4..] == [0, 0, 0, 7]
}

#[tokio::test]
async fn a_postgresql_that_is_killed_comes_back_with_what_was_committed() {
    let postgres = Postgres::start();
    let settings = Settings::new(postgres.database());
    execute(&settings, "CREATE TABLE kept (id int); INSERT INTO kept VALUES (1)").await.expect("a new server takes a table");

    postgres.kill();
    assert!(execute(&settings, "SELECT 1").await.is_err(), "a dead server takes no connections");
    postgres.start_again();

    execute(&settings, "INSERT INTO kept VALUES (2)").await.expect("the table is still there");
}

#[tokio::test]
async fn tests_that_share_a_postgresql_have_databases_of_their_own() {
    let (mine, yours) = (Settings::new(Postgres::shared().database()), Settings::new(Postgres::shared().database()));
    execute(&mine, "CREATE TABLE t (id int)").await.expect("a new database takes a table");
    execute(&yours, "CREATE TABLE t (id int)").await.expect("another one knows nothing of it");
}

#[tokio::test]
async fn a_secured_postgresql_refuses_who_comes_without_tls() {
    let postgres = Postgres::secured();
    let url = postgres.database();
    let known = Settings { ca_file: Some(postgres.ca_file()), ..Settings::new(&url) };
    execute(&known, "CREATE TABLE t (id int)").await.expect("the right password over TLS is let in and owns the database");

    let plain = Settings::new(url.replace("require", "disable"));
    assert!(execute(&plain, "SELECT 1").await.is_err(), "the same without TLS is not");
    assert!(execute(&Settings::new(&url), "SELECT 1").await.is_err(), "and nobody trusts an authority that he was not told");
}

async fn execute(settings: &Settings, statement: &str) -> anyhow::Result<()> {
    Ok(Database::connect(settings)?.client().await?.batch_execute(statement).await?)
}

/// Runs this test alone in a process of its own, kills that once it has its server, and looks for the server.
#[test]
fn servers_of_a_test_process_that_is_killed_end_with_it() {
    const VICTIM: &str = "CIRRUS_TEST_VICTIM";
    if std::env::var_os(VICTIM).is_some() {
        let kafka = Kafka::start();
        println!("\nport {}", kafka.bootstrap());
        loop {
            std::thread::park();
        }
    }
    let mut victim = Command::new(std::env::current_exe().expect("a test knows its program"))
        .args(["--exact", "--nocapture", "servers_of_a_test_process_that_is_killed_end_with_it"])
        .env(VICTIM, "1")
        .stdout(Stdio::piped())
        .spawn()
        .expect("a test can start its program");
    let said = BufReader::new(victim.stdout.take().expect("it was asked for"));
    let port =
        said.lines().map_while(Result::ok).find_map(|line| Some(line.strip_prefix("port ")?.to_owned())).expect("the victim has a broker");
    TcpStream::connect(&port).expect("the broker takes connections");

    victim.kill().expect("it runs");
    victim.wait().expect("it can be waited for");

    let deadline = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect(&port).is_ok() {
        assert!(Instant::now() < deadline, "the broker lives on without the test that started it");
        std::thread::sleep(Duration::from_millis(20));
    }
}
