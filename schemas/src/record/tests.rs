use super::*;

fn genesis() -> Genesis {
    Genesis { base: None, generation: 1, journal: Uuid::from_u128(1), partition: 3, partitions: 64 }
}

fn takeover(epoch: u64, genesis: Option<Genesis>) -> Takeover {
    Takeover { epoch, writer: WriterId([7; 16]), seen: Seen { seq: 0, head: Digest([0; 32]) }, genesis }
}

fn commit(events: &[&str]) -> Commit {
    Commit {
        epoch: 1,
        writer: WriterId([7; 16]),
        seq: 2,
        prev: Digest::of(b"past"),
        platform: PlatformPosition { generation: 1, seq: 9 },
        command: Some(CommandRef {
            id: Uuid::from_u128(2),
            kind: "tenant.open".into(),
            origin: Origin::Commands,
            generation: 1,
            offset: 41,
            request: "r-1".into(),
            digest: Digest::of(b"body"),
            traceparent: None,
        }),
        actor: Some(raw(r#"{"subject":"ada"}"#)),
        time: DateTime::from_timestamp_micros(1_763_726_400_000_001).unwrap(),
        events: events.iter().map(|event| raw(event)).collect(),
    }
}

fn raw(json: &str) -> Box<RawValue> {
    RawValue::from_string(json.to_owned()).unwrap()
}

fn text(value: Vec<u8>) -> String {
    String::from_utf8(value).unwrap()
}

/// Production logs hold these bytes for ever.
const FIRST_TAKEOVER: &str = r#"{"takeover":{"epoch":1,"writer":"07070707070707070707070707070707","seen":{"seq":0,"head":"0000000000000000000000000000000000000000000000000000000000000000"},"genesis":{"generation":1,"journal":"00000000-0000-0000-0000-000000000001","partition":3,"partitions":64}}}"#;
const COMMIT: &str = r#"{"commit":{"epoch":1,"writer":"07070707070707070707070707070707","seq":2,"prev":"84ccdf8a849ffbc98d3a8a4bfb0999eda9254015f75a1c6cc7f68338d61c00b0","platform":{"generation":1,"seq":9},"command":{"id":"00000000-0000-0000-0000-000000000002","kind":"tenant.open","origin":"commands","generation":1,"offset":41,"request":"r-1","digest":"230d8358dc8e8890b4c58deeb62912ee2f20357ae92a5cc861b98e68fe31acb5"},"actor":{"subject":"ada"},"time":"2025-11-21T12:00:00.000001Z","events":[{"opened":{}}]}}"#;

#[test]
fn the_bytes_of_both_kinds_are_those_that_logs_already_hold() {
    assert_eq!(text(takeover(1, Some(genesis())).encode().unwrap()), FIRST_TAKEOVER);
    assert_eq!(text(commit(&[r#"{"opened":{}}"#]).encode().unwrap()), COMMIT);
}

#[test]
fn a_record_that_was_read_is_the_record_that_was_written_owned_or_borrowed() {
    for written in [FIRST_TAKEOVER, COMMIT] {
        let owned: Record = Record::decode(written.as_bytes()).unwrap();
        assert_eq!(text(owned.encode().unwrap()), written);
        let borrowed: Header<'_> = Record::decode(written.as_bytes()).unwrap();
        assert_eq!(text(borrowed.into_owned().encode().unwrap()), written);
    }
}

#[test]
fn white_space_and_the_order_of_fields_do_not_matter_to_the_shape() {
    let spaced = FIRST_TAKEOVER.replace(":", " : ").replace(r#""epoch" : 1,"#, "").replace(r#"}}}"#, r#"}, "epoch": 1}}"#);
    assert!(Record::<Box<RawValue>>::decode(spaced.as_bytes()).is_ok(), "{spaced}");
}

#[test]
fn bytes_that_are_not_exactly_one_record_are_unreadable_to_every_reader() {
    let cases = [
        ("nothing", String::new()),
        ("no JSON", "takeover".into()),
        ("cut off", COMMIT[..COMMIT.len() - 1].into()),
        ("bytes after the end", format!("{COMMIT}x")),
        ("two records", format!("{COMMIT}{COMMIT}")),
        ("an unknown kind", COMMIT.replace(r#"{"commit":"#, r#"{"commut":"#)),
        ("both kinds", FIRST_TAKEOVER.replace("}}}", "}},") + &COMMIT[1..]),
        ("an unknown field", COMMIT.replace(r#""seq":2,"#, r#""seq":2,"size":3,"#)),
        ("a field twice", COMMIT.replace(r#""seq":2,"#, r#""seq":2,"seq":2,"#)),
        ("a field of the command twice", COMMIT.replace(r#""offset":41,"#, r#""offset":41,"offset":41,"#)),
        ("a missing field", COMMIT.replace(r#""seq":2,"#, "")),
        ("a digest that is too short", COMMIT.replace(r#""prev":"84"#, r#""prev":""#)),
        ("a writer that is no hexadecimal", COMMIT.replace(r#""writer":"07"#, r#""writer":"zz"#)),
        ("a negative seq", COMMIT.replace(r#""seq":2,"#, r#""seq":-2,"#)),
        ("a fractional seq", COMMIT.replace(r#""seq":2,"#, r#""seq":2.0,"#)),
        ("a time that is none", COMMIT.replace("T12:00", "T25:00")),
        ("an answer without events", COMMIT.replace(r#"[{"opened":{}}]"#, "[]")),
        ("a first takeover without genesis", FIRST_TAKEOVER.replace(&FIRST_TAKEOVER[FIRST_TAKEOVER.find(r#","genesis"#).unwrap()..], "}}")),
        ("a later takeover with one", FIRST_TAKEOVER.replace(r#""epoch":1"#, r#""epoch":2"#)),
    ];
    for (what, value) in cases {
        assert!(Record::<Box<RawValue>>::decode(value.as_bytes()).is_err(), "owned: {what}: {value}");
        assert!(Header::decode(value.as_bytes()).is_err(), "borrowed: {what}: {value}");
    }
}

#[test]
fn a_commit_that_only_confirms_a_takeover_may_be_empty() {
    let confirmation = Commit { command: None, actor: None, ..commit(&[]) };
    let value = confirmation.encode().unwrap();
    assert!(matches!(Header::decode(&value), Ok(Record::Commit(commit)) if commit.events.is_empty()));
}

#[test]
fn what_no_reader_would_accept_is_not_written() {
    assert!(matches!(commit(&[]).encode(), Err(EncodeError::NoEvents)));
    assert!(matches!(takeover(1, None).encode(), Err(EncodeError::Genesis)));
    assert!(matches!(takeover(2, Some(genesis())).encode(), Err(EncodeError::Genesis)));
}

#[test]
fn a_commit_of_512_kib_is_written_and_one_byte_more_is_refused() {
    let empty = commit(&[r#""""#]).encode().unwrap().len();
    let of = |bytes: usize| commit(&[&format!("\"{}\"", "x".repeat(bytes - empty))]).encode();
    assert_eq!(of(MAX_COMMIT_BYTES).unwrap().len(), MAX_COMMIT_BYTES);
    assert!(matches!(of(MAX_COMMIT_BYTES + 1), Err(EncodeError::TooLarge { bytes }) if bytes == MAX_COMMIT_BYTES + 1));
}

#[test]
fn the_head_of_an_empty_chain_is_the_digest_of_the_canonical_genesis() {
    let canonical = r#"{"generation":1,"journal":"00000000-0000-0000-0000-000000000001","partition":3,"partitions":64}"#;
    assert_eq!(genesis().head(), Digest::of(canonical.as_bytes()));
    let base = Base { generation: 1, head: Digest([1; 32]), seq: 17 };
    let later = Genesis { base: Some(base), generation: 2, ..genesis() };
    let base = format!(r#"{{"base":{{"generation":1,"head":"{}","seq":17}},"#, "01".repeat(32));
    let canonical = canonical.replace('{', &base).replace(r#""generation":1,"journal"#, r#""generation":2,"journal"#);
    assert_eq!(later.head(), Digest::of(canonical.as_bytes()));
    assert_eq!(later.seq(), 17);
}

#[test]
fn every_part_of_the_genesis_changes_the_head() {
    let base = Base { generation: 1, head: Digest([1; 32]), seq: 17 };
    let all = [
        genesis(),
        Genesis { journal: Uuid::from_u128(2), ..genesis() },
        Genesis { partition: 4, ..genesis() },
        Genesis { partitions: 8, ..genesis() },
        Genesis { generation: 2, ..genesis() },
        Genesis { base: Some(base), ..genesis() },
        Genesis { base: Some(Base { seq: 18, ..base }), ..genesis() },
        Genesis { base: Some(Base { head: Digest([2; 32]), ..base }), ..genesis() },
    ];
    let heads: std::collections::BTreeSet<Digest> = all.iter().map(Genesis::head).collect();
    assert_eq!(heads.len(), all.len());
}

#[test]
fn a_position_reads_as_it_is_written() {
    let position = Position { generation: 1, partition: 3, seq: 48_113 };
    assert_eq!(position.to_string(), "g1.p3.48113");
    assert_eq!("g1.p3.48113".parse(), Ok(position));
    for wrong in ["", "g1.p3", "1.3.48113", "g1.p3.48113.1", "g1.p3.-1", "g1.p3.x"] {
        assert_eq!(wrong.parse::<Position>(), Err(NotAPosition(wrong.into())));
    }
}
