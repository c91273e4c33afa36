//! What was sealed can be opened, until somebody asks to be forgotten; then it is gone, for ever and everywhere.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use api::seal::cipher::Key;
use api::seal::schema::{Mark, SensitiveSchema};
use api::seal::table::erase;
use api::seal::{MIGRATION, MasterKeys, SealError, Sealer, Subject, Subjects};
use serde_json::{Value, json};
use tests::servers::Postgres;
use tokio_postgres::{Client, NoTls};
use uuid::Uuid;

const TENANT: Uuid = Uuid::from_u128(0xA);
const OTHER: Uuid = Uuid::from_u128(0xB);
const ADA: Uuid = Uuid::from_u128(1);
const INTENT: Uuid = Uuid::from_u128(2);
const BOTH: Subjects = Subjects { person: Some(ADA), intent: Some(INTENT) };

fn key(byte: u8) -> Key {
    Key::new(vec![byte; 32].try_into().map(|bytes: [u8; 32]| bytes.into()).unwrap())
}

fn sealer() -> Sealer {
    Sealer::new(MasterKeys::new(key(1), vec![]))
}

/// A database with the table, and how to reach it.
async fn database() -> (String, Client) {
    let url = Postgres::shared().database();
    let client = connect(&url).await;
    client.batch_execute(MIGRATION).await.unwrap();
    (url, client)
}

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

fn spec() -> Value {
    json!({ "flavor": "SCS-2V-4", "password": "pa55word", "contact": { "name": "Ada L." }, "keys": ["k-1", "k-2"] })
}

fn marks() -> Vec<Mark> {
    let schema = json!({
        "properties": {
            "flavor": { "type": "string" },
            "password": { "x-cirrus-sensitivity": "secret" },
            "contact": { "$ref": "#/$defs/person" },
            "keys": { "items": { "x-cirrus-sensitivity": "secret" } },
        },
        "$defs": { "person": { "properties": { "name": { "x-cirrus-sensitivity": "personal" } } } },
    });
    let marks = SensitiveSchema::new(schema).unwrap().marks(&spec());
    assert_eq!(marks.len(), 4);
    marks
}

async fn sealed(client: &Client, tenant: Uuid) -> Value {
    let mut document = spec();
    sealer().seal(client, tenant, BOTH, &marks(), &mut document).await.unwrap();
    document
}

#[tokio::test]
async fn nothing_marked_leaves_in_the_clear_and_everything_comes_back() {
    let (_, client) = database().await;

    let document = sealed(&client, TENANT).await;

    let text = document.to_string();
    for marked in ["pa55word", "Ada", "k-1", "k-2"] {
        assert!(!text.contains(marked), "{text}");
    }
    assert_eq!(document["flavor"], "SCS-2V-4");
    assert_eq!(sealer().open(&client, TENANT, &document).await.unwrap().complete().unwrap(), spec());
}

#[tokio::test]
async fn a_secret_whose_step_is_done_is_gone_and_the_person_stays() {
    let (_, client) = database().await;
    let document = sealed(&client, TENANT).await;

    assert!(erase(&client, TENANT, Subject::Intent(INTENT)).await.unwrap());

    let opened = sealer().open(&client, TENANT, &document).await.unwrap();
    assert_eq!(opened.document["contact"]["name"], "Ada L.");
    assert_eq!(opened.document["password"], document["password"], "still sealed");
    let gone: Vec<&str> = opened.erased.iter().map(|(pointer, _)| pointer.as_str()).collect();
    assert_eq!(gone, ["/keys/0", "/keys/1", "/password"]);
    assert!(matches!(opened.complete(), Err(SealError::Erased(Subject::Intent(INTENT)))));

    assert!(!erase(&client, TENANT, Subject::Intent(INTENT)).await.unwrap(), "there was nothing left");
}

#[tokio::test]
async fn a_person_who_was_forgotten_is_not_written_down_again() {
    let (_, client) = database().await;
    assert!(!erase(&client, TENANT, Subject::Person(ADA)).await.unwrap(), "nothing was known of her");

    let mut document = spec();
    let refused = sealer().seal(&client, TENANT, BOTH, &marks(), &mut document).await.unwrap_err();

    assert!(matches!(refused, SealError::Erased(Subject::Person(ADA))), "{refused}");
    assert_eq!(document, spec(), "and nothing was changed");
    sealed(&client, OTHER).await;
}

#[tokio::test]
async fn a_tenant_that_is_gone_takes_its_people_and_secrets_along() {
    let (_, client) = database().await;
    let (document, others) = (sealed(&client, TENANT).await, sealed(&client, OTHER).await);

    erase(&client, TENANT, Subject::Tenant).await.unwrap();

    assert_eq!(sealer().open(&client, TENANT, &document).await.unwrap().erased.len(), 4);
    let new = Subjects { person: Some(Uuid::from_u128(77)), intent: Some(Uuid::from_u128(78)) };
    let refused = sealer().seal(&client, TENANT, new, &marks(), &mut spec()).await.unwrap_err();
    assert!(matches!(refused, SealError::Erased(Subject::Tenant)), "{refused}");
    let left: i64 =
        client.query_one("SELECT count(*) FROM sealed_keys WHERE tenant = $1 AND wrapped IS NOT NULL", &[&TENANT]).await.unwrap().get(0);
    assert_eq!(left, 0);
    assert_eq!(sealer().open(&client, OTHER, &others).await.unwrap().complete().unwrap(), spec());
}

#[tokio::test]
async fn a_sealed_field_of_one_tenant_is_nothing_to_another() {
    let (_, client) = database().await;
    let document = sealed(&client, TENANT).await;
    sealed(&client, OTHER).await;

    let stolen = sealer().open(&client, OTHER, &document).await.unwrap_err();

    assert!(matches!(stolen, SealError::Altered(_)), "{stolen}");
}

#[tokio::test]
async fn what_looks_sealed_already_is_refused_wherever_it_stands() {
    let (_, client) = database().await;
    let stolen = sealed(&client, TENANT).await["password"].clone();
    for document in [json!({ "flavor": stolen }), json!({ "password": stolen }), json!({ "contact": [{ "$sealed": 1 }] })] {
        let mut sent = document.clone();
        let refused = sealer().seal(&client, TENANT, BOTH, &marks(), &mut sent).await.unwrap_err();
        assert!(matches!(refused, SealError::AlreadySealed(_)), "{refused}");
        assert_eq!(sent, document);
    }
}

#[tokio::test]
async fn a_marked_field_without_anybody_to_forget_it_for_is_refused() {
    let (_, client) = database().await;
    let nobody = Subjects { person: None, ..BOTH };
    let refused = sealer().seal(&client, TENANT, nobody, &marks(), &mut spec()).await.unwrap_err();
    assert!(matches!(refused, SealError::NoSubject(pointer) if pointer == "/contact/name"));
}

#[tokio::test]
async fn processes_that_seal_for_a_new_subject_at_once_agree_on_its_key() {
    let (url, client) = database().await;
    let all = (0..8).map(|_| {
        let url = url.clone();
        tokio::spawn(async move { sealed(&connect(&url).await, TENANT).await })
    });

    for document in futures::future::join_all(all).await {
        let opened = sealer().open(&client, TENANT, &document.unwrap()).await.unwrap();
        assert_eq!(opened.complete().unwrap(), spec());
    }

    let rows: i64 = client.query_one("SELECT count(*) FROM sealed_keys", &[]).await.unwrap().get(0);
    assert_eq!(rows, 3, "tenant, person, intent");
}

#[tokio::test]
async fn a_key_that_was_not_committed_opens_nothing() {
    let (_, mut client) = database().await;
    let transaction = client.transaction().await.unwrap();
    let mut document = spec();
    sealer().seal(&transaction, TENANT, BOTH, &marks(), &mut document).await.unwrap();
    assert_eq!(sealer().open(&transaction, TENANT, &document).await.unwrap().complete().unwrap(), spec());
    transaction.rollback().await.unwrap();

    let lost = sealer().open(&client, TENANT, &document).await.unwrap_err();

    assert!(matches!(lost, SealError::KeyMissing(_)), "{lost}");
}

#[tokio::test]
async fn a_new_master_key_opens_what_the_old_one_wrapped_as_long_as_both_are_configured() {
    let (_, client) = database().await;
    let document = sealed(&client, TENANT).await;

    let changed = Sealer::new(MasterKeys::new(key(2), vec![key(1)]));
    assert_eq!(changed.open(&client, TENANT, &document).await.unwrap().complete().unwrap(), spec());

    let without = Sealer::new(MasterKeys::new(key(2), vec![]));
    let unreadable = without.open(&client, TENANT, &document).await.unwrap_err();
    assert!(matches!(unreadable, SealError::UnknownMasterKey), "{unreadable}");
}

#[tokio::test]
async fn a_row_that_was_moved_to_another_subject_does_not_open() {
    let (_, client) = database().await;
    let document = sealed(&client, TENANT).await;
    let moved = "UPDATE sealed_keys SET wrapped = (SELECT wrapped FROM sealed_keys WHERE kind = 'intent') WHERE kind = 'person'";
    client.execute(moved, &[]).await.unwrap();

    let altered = sealer().open(&client, TENANT, &document).await.unwrap_err();

    assert!(matches!(altered, SealError::KeyAltered(Subject::Person(ADA))), "{altered}");
}

#[tokio::test]
async fn a_retry_blinds_alike_even_after_the_secret_is_gone() {
    let (_, client) = database().await;
    let blind = async |tenant, document: Value| sealer().blind(&client, tenant, &marks(), &document).await.unwrap();
    let before = blind(TENANT, spec()).await;
    assert!(!before.to_string().contains("pa55word"));
    sealed(&client, TENANT).await;

    erase(&client, TENANT, Subject::Intent(INTENT)).await.unwrap();

    assert_eq!(blind(TENANT, spec()).await, before);
    assert_ne!(blind(OTHER, spec()).await, before, "another tenant's digests say nothing about this one's");
    let mut changed = spec();
    changed["password"] = json!("pa55word2");
    let after = blind(TENANT, changed).await;
    assert_ne!(after["password"], before["password"]);
    assert_eq!(after["contact"], before["contact"]);
    assert_ne!(before["keys"][0], before["keys"][1]);
}
