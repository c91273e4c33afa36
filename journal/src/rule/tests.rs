use proptest::prelude::*;
use schemas::record::{Commit, PlatformPosition, Seen, Takeover};
use uuid::Uuid;

use super::*;

const A: WriterId = WriterId([0xa; 16]);
const B: WriterId = WriterId([0xb; 16]);

fn genesis() -> Genesis {
    Genesis { base: None, generation: 1, journal: Uuid::from_u128(1), partition: 3, partitions: 64 }
}

/// A reader in epoch 2 of writer A, whose takeover was the 5th record; the 8th was the last.
fn state() -> ReaderState {
    ReaderState { generation: 1, partition: 3, epoch: 2, writer: Some(A), since: 5, seq: 8, head: Digest::of(b"head") }
}

fn takeover(epoch: u64, writer: WriterId) -> Record {
    let genesis = (epoch == 1).then(genesis);
    Record::Takeover(Takeover { epoch, writer, seen: Seen { seq: 0, head: Digest([0; 32]) }, genesis })
}

fn commit(epoch: u64, writer: WriterId, seq: u64, prev: Digest) -> Record {
    Record::Commit(Commit {
        epoch,
        writer,
        seq,
        prev,
        platform: PlatformPosition::default(),
        command: None,
        actor: None,
        time: chrono::DateTime::UNIX_EPOCH,
        events: Vec::new(),
    })
}

/// The table of the rule, a case or more for each line and for each order in which conditions could be mistaken.
#[test]
fn each_line_of_the_table_gives_its_verdict() {
    use Verdict::{Accepted, Broken, Void};
    use VoidReason::{DeposedWriter, LateTakeover, Repeated};
    let head = state().head;
    let other = Digest::of(b"other");
    let missing = |epoch, writer| Broken(Break::TakeoverMissing { epoch, writer });
    let below = |seq| Broken(Break::BelowTakeover { seq, since: 5 });
    let cases = [
        ("a takeover of an epoch long gone", takeover(1, B), Void(LateTakeover)),
        ("a takeover that lost the race", takeover(2, B), Void(LateTakeover)),
        ("the current takeover again", takeover(2, A), Void(LateTakeover)),
        ("the next takeover, by somebody else", takeover(3, B), Accepted),
        ("the next takeover, by the same", takeover(3, A), Accepted),
        ("a takeover that skips an epoch", takeover(4, B), Broken(Break::EpochSkipped { current: 2, found: 4 })),
        ("a commit of a deposed writer", commit(1, B, 9, head), Void(DeposedWriter)),
        ("a commit of a deposed writer at any seq", commit(1, B, 100, other), Void(DeposedWriter)),
        ("a commit of an epoch without takeover", commit(3, B, 9, head), missing(3, B)),
        ("a commit of the epoch by another writer", commit(2, B, 9, head), missing(2, B)),
        ("a commit of the epoch by another writer, below", commit(2, B, 1, head), missing(2, B)),
        ("a commit in the place of its own takeover", commit(2, A, 5, head), below(5)),
        ("a commit below its own takeover", commit(2, A, 0, head), below(0)),
        ("the last commit again", commit(2, A, 8, other), Void(Repeated)),
        ("the first commit again", commit(2, A, 6, other), Void(Repeated)),
        ("the next commit", commit(2, A, 9, head), Accepted),
        ("the next commit on another past", commit(2, A, 9, other), Broken(Break::OtherPast { head, found: other })),
        ("a commit after a missing one", commit(2, A, 10, head), Broken(Break::SeqSkipped { current: 8, found: 10 })),
    ];
    for (what, record, expected) in cases {
        assert_eq!(verdict(&state(), &record), expected, "{what}");
    }
}

#[test]
fn before_the_first_takeover_only_that_of_this_journal_is_accepted() {
    let empty = ReaderState::empty(&genesis());
    assert_eq!(verdict(&empty, &takeover(1, A)), Verdict::Accepted);
    assert_eq!(verdict(&empty, &takeover(2, A)), Verdict::Broken(Break::EpochSkipped { current: 0, found: 2 }));
    assert_eq!(verdict(&empty, &commit(1, A, 2, empty.head)), Verdict::Broken(Break::TakeoverMissing { epoch: 1, writer: A }));
    let foreign = [
        Genesis { journal: Uuid::from_u128(2), ..genesis() },
        Genesis { partition: 4, ..genesis() },
        Genesis { partitions: 8, ..genesis() },
    ];
    for foreign in foreign {
        let Record::Takeover(first) = takeover(1, A) else { unreachable!() };
        let record: Record = Record::Takeover(Takeover { genesis: Some(foreign), ..first });
        assert_eq!(verdict(&empty, &record), Verdict::Broken(Break::OtherGenesis), "{foreign:?}");
    }
}

#[test]
fn an_accepted_takeover_moves_the_whole_state_and_a_commit_only_seq_and_head() {
    let mut reader = Reader::new(ReaderState::empty(&genesis()));
    let first = takeover(1, A).encode().unwrap();
    assert!(matches!(reader.read(0, &first), Read::Accepted(_)));
    let led =
        ReaderState { epoch: 1, writer: Some(A), since: 1, seq: 1, head: genesis().head().then(&first), ..ReaderState::empty(&genesis()) };
    assert_eq!(*reader.state(), led);
    let second = commit(1, A, 2, led.head).encode().unwrap();
    assert!(matches!(reader.read(1, &second), Read::Accepted(_)));
    assert_eq!(*reader.state(), ReaderState { seq: 2, head: led.head.then(&second), ..led });
}

#[test]
fn a_broken_reader_stays_broken_where_it_broke_and_says_where() {
    let mut reader = Reader::new(state());
    assert!(matches!(reader.read(11, b"{}"), Read::Broken(_)));
    let next = commit(2, A, 9, state().head).encode().unwrap();
    assert!(matches!(reader.read(12, &next), Read::Broken(_)), "what would have been accepted is not any more");
    assert_eq!(*reader.state(), state());
    let said = reader.broken().unwrap().to_string();
    assert!(said.starts_with("g1.p3.8: broken after this position at offset 11: unreadable"), "{said}");
}

#[test]
fn a_chain_of_a_later_generation_begins_where_its_base_ended() {
    let base = schemas::record::Base { generation: 1, head: Digest::of(b"end"), seq: 40 };
    let second = Genesis { base: Some(base), generation: 2, ..genesis() };
    let empty = ReaderState::empty(&second);
    assert_eq!((empty.epoch, empty.writer, empty.since, empty.seq), (0, None, 40, 40));
    let mut reader = Reader::new(empty);
    let Record::Takeover(first) = takeover(1, A) else { unreachable!() };
    let first: Record = Record::Takeover(Takeover { genesis: Some(second), ..first });
    assert!(matches!(reader.read(0, &first.encode().unwrap()), Read::Accepted(_)));
    assert_eq!(reader.state().position().to_string(), "g2.p3.41");
}

proptest! {
    #[test]
    fn no_bytes_whatever_move_or_panic_a_reader_that_does_not_accept_them(value in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut reader = Reader::new(state());
        let broken = matches!(reader.read(0, &value), Read::Broken(_));
        prop_assert!(broken);
        prop_assert_eq!(reader.state(), &state());
    }
}
