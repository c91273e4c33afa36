//! Where an answer stands in history, and where a list goes on: opaque, authenticated tokens.
//!
//! A [`Positions`] holds one position a partition, of those partitions that its holder has seen. Every answer carries it as a token;
//! a read that is given the token waits until the read models have come that far, so that a caller reads its own writes through any
//! process. A page token says where a list goes on; see [`page`].
//!
//! A token is base64url without padding over `version, kind, journal id, content, tag`. Numbers are LEB128, the tag is HMAC-SHA-256 cut to
//! 16 bytes, over everything before it. Tokens are not secret: they are authenticated so that nobody can make one that asks for a
//! position which will never come, or for a page of somebody else's list.

pub mod page;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use schemas::record::Position;
use sha2::Sha256;
use std::collections::BTreeMap;
use uuid::Uuid;
use zeroize::Zeroizing;

/// The version that is written; the only one that is read.
const VERSION: u8 = 1;
/// Bytes of HMAC-SHA-256 that are kept (RFC 2104, section 5: not less than half).
const TAG: usize = 16;
/// Version, kind, journal id.
const HEADER: usize = 2 + 16;
/// No token that was issued is longer, in characters: 1,024 partitions and then some. Longer ones are refused unread.
pub const LONGEST: usize = 16 * 1024;

/// What a token is for; the tag covers it, so that a token of one kind is never taken for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Positions = 1,
    Page = 2,
}

/// Why a token was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is not base64url, too short, too long, or of another kind or version.
    #[error("it is not a token of this kind")]
    Malformed,
    /// No key of the configuration made its tag: it was altered, cut, invented, or its key was retired.
    #[error("it was not issued here, or was altered")]
    Forged,
    /// It was issued here, for another journal: this platform was begun anew since.
    #[error("it belongs to another journal")]
    ForeignJournal,
}

/// The greatest position of each partition that was seen. Empty means: nothing was seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Positions(BTreeMap<u32, Reached>);

/// How far one partition was seen. A later generation goes on where its base ended, so it is the greater one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Reached {
    generation: u32,
    seq: u64,
}

impl Positions {
    /// Notes a position; of two positions of one partition the greater counts.
    pub fn observe(&mut self, position: Position) {
        let reached = Reached { generation: position.generation, seq: position.seq };
        let held = self.0.entry(position.partition).or_insert(reached);
        *held = (*held).max(reached);
    }

    /// Notes all positions of another.
    ///
    /// A position that a change of generation has cut off is to be found before merging: the greater one of its partition hides it.
    pub fn merge(&mut self, other: &Positions) {
        for position in other.iter() {
            self.observe(position);
        }
    }

    /// True when every position of the other is reached here.
    pub fn covers(&self, other: &Positions) -> bool {
        other.0.iter().all(|(partition, reached)| self.0.get(partition).is_some_and(|held| held >= reached))
    }

    /// The position of a partition, if any was seen.
    pub fn get(&self, partition: u32) -> Option<Position> {
        self.0.get(&partition).map(|reached| position(partition, *reached))
    }

    /// All positions, in order of the partitions.
    pub fn iter(&self) -> impl Iterator<Item = Position> + '_ {
        self.0.iter().map(|(partition, reached)| position(*partition, *reached))
    }
}

impl FromIterator<Position> for Positions {
    fn from_iter<I: IntoIterator<Item = Position>>(positions: I) -> Self {
        let mut seen = Self::default();
        positions.into_iter().for_each(|position| seen.observe(position));
        seen
    }
}

fn position(partition: u32, reached: Reached) -> Position {
    Position { generation: reached.generation, partition, seq: reached.seq }
}

/// Why the keys of the configuration cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeysError {
    /// There is none.
    #[error("at least one key for tokens is needed")]
    None,
    /// One is shorter than the tag's security.
    #[error("a key for tokens has {0} bytes, at least 32 are needed")]
    Short(usize),
}

/// Issues and reads the tokens of one journal.
#[derive(Clone)]
pub struct Tokens {
    journal: Uuid,
    keys: Vec<Zeroizing<Vec<u8>>>,
}

impl Tokens {
    /// Tokens are signed with the first key and accepted with any. To change keys without refusing tokens that are about: add the new
    /// one at the end everywhere, then move it to the front, then remove the old one.
    ///
    /// # Errors
    /// [`KeysError`] when there is no key, or one of less than 32 bytes.
    pub fn new(journal: Uuid, keys: Vec<Zeroizing<Vec<u8>>>) -> Result<Self, KeysError> {
        if keys.is_empty() {
            return Err(KeysError::None);
        }
        match keys.iter().find(|key| key.len() < 32) {
            Some(short) => Err(KeysError::Short(short.len())),
            None => Ok(Self { journal, keys }),
        }
    }

    /// The token of these positions: about 50 characters for one partition, 5 to 8 more for each further one.
    pub fn issue(&self, positions: &Positions) -> String {
        let mut content = Vec::with_capacity(positions.0.len() * 8);
        for position in positions.iter() {
            put(&mut content, position.partition.into());
            put(&mut content, position.generation.into());
            put(&mut content, position.seq);
        }
        self.seal(Kind::Positions, &content)
    }

    /// The positions of a token.
    ///
    /// # Errors
    /// Any [`TokenError`].
    pub fn read(&self, token: &str) -> Result<Positions, TokenError> {
        let content = self.open(Kind::Positions, token)?;
        let mut rest = content.as_slice();
        let mut positions = Positions::default();
        while !rest.is_empty() {
            positions.observe(Position { partition: take_u32(&mut rest)?, generation: take_u32(&mut rest)?, seq: take(&mut rest)? });
        }
        Ok(positions)
    }

    fn seal(&self, kind: Kind, content: &[u8]) -> String {
        let mut token = Vec::with_capacity(HEADER + content.len() + TAG);
        token.extend_from_slice(&[VERSION, kind as u8]);
        token.extend_from_slice(self.journal.as_bytes());
        token.extend_from_slice(content);
        let tag = mac(&self.keys[0], &token).finalize().into_bytes();
        token.extend_from_slice(&tag[..TAG]);
        URL_SAFE_NO_PAD.encode(token)
    }

    /// The content of a token, once it is known to be whole, of this kind and of this journal.
    fn open(&self, kind: Kind, token: &str) -> Result<Vec<u8>, TokenError> {
        if token.len() > LONGEST {
            return Err(TokenError::Malformed);
        }
        let mut bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| TokenError::Malformed)?;
        if bytes.len() < HEADER + TAG || bytes[0] != VERSION || bytes[1] != kind as u8 {
            return Err(TokenError::Malformed);
        }
        let (signed, tag) = bytes.split_at(bytes.len() - TAG);
        if !self.keys.iter().any(|key| mac(key, signed).verify_truncated_left(tag).is_ok()) {
            return Err(TokenError::Forged);
        }
        if signed[2..HEADER] != *self.journal.as_bytes() {
            return Err(TokenError::ForeignJournal);
        }
        bytes.truncate(bytes.len() - TAG);
        bytes.drain(..HEADER);
        Ok(bytes)
    }
}

/// The purpose goes first, so that a key which is by mistake also used elsewhere signs nothing that is valid here.
fn mac(key: &[u8], signed: &[u8]) -> Hmac<Sha256> {
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(b"cirrus token\0");
    mac.update(signed);
    mac
}

/// Appends a number as LEB128.
fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Takes a number off the front. Fails only on content that this version did not write.
fn take(rest: &mut &[u8]) -> Result<u64, TokenError> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let (&byte, tail) = rest.split_first().ok_or(TokenError::Malformed)?;
        *rest = tail;
        let bits = u64::from(byte & 0x7f);
        if bits << shift >> shift != bits {
            return Err(TokenError::Malformed);
        }
        number |= bits << shift;
        if byte < 0x80 {
            return Ok(number);
        }
    }
    Err(TokenError::Malformed)
}

fn take_u32(rest: &mut &[u8]) -> Result<u32, TokenError> {
    u32::try_from(take(rest)?).map_err(|_| TokenError::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(generation: u32, partition: u32, seq: u64) -> Position {
        Position { generation, partition, seq }
    }

    fn tokens(journal: u128, keys: &[u8]) -> Tokens {
        Tokens::new(Uuid::from_u128(journal), keys.iter().map(|byte| Zeroizing::new(vec![*byte; 32])).collect()).unwrap()
    }

    #[test]
    fn a_token_is_opaque_and_short() {
        let tokens = tokens(1, &[1]);
        let one = tokens.issue(&[at(1, 3, 48_113)].into_iter().collect());
        assert!(one.len() <= 60, "{one}");
        let all: Positions = (0..64).map(|partition| at(1, partition, 1_000_000)).collect();
        assert!(tokens.issue(&all).len() <= 500);
    }

    #[test]
    fn a_token_that_was_altered_cut_or_lengthened_is_refused() {
        let tokens = tokens(1, &[1]);
        let token = tokens.issue(&[at(1, 3, 48_113), at(1, 7, 2)].into_iter().collect());
        let bytes = URL_SAFE_NO_PAD.decode(&token).unwrap();

        for index in 0..bytes.len() {
            let mut altered = bytes.clone();
            altered[index] ^= 1;
            assert!(tokens.read(&URL_SAFE_NO_PAD.encode(&altered)).is_err(), "byte {index}");
            assert!(tokens.read(&URL_SAFE_NO_PAD.encode(&bytes[..index])).is_err(), "cut at {index}");
        }
        let mut altered = bytes.clone();
        altered[HEADER] ^= 1;
        assert_eq!(tokens.read(&URL_SAFE_NO_PAD.encode(&altered)), Err(TokenError::Forged));
        altered = [bytes.as_slice(), &[0]].concat();
        assert_eq!(tokens.read(&URL_SAFE_NO_PAD.encode(&altered)), Err(TokenError::Forged));
        for malformed in ["", "!", "AQ", &format!("{token}="), &"A".repeat(LONGEST + 1)] {
            assert_eq!(tokens.read(malformed), Err(TokenError::Malformed), "{malformed:.20}");
        }
    }

    #[test]
    fn a_token_of_another_journal_or_another_key_is_told_apart() {
        let positions = [at(1, 0, 1)].into_iter().collect();
        let token = tokens(1, &[1]).issue(&positions);
        assert_eq!(tokens(2, &[1]).read(&token), Err(TokenError::ForeignJournal));
        assert_eq!(tokens(1, &[2]).read(&token), Err(TokenError::Forged));
    }

    #[test]
    fn keys_change_without_refusing_the_tokens_that_are_about() {
        let positions: Positions = [at(1, 0, 1)].into_iter().collect();
        let (before, adding, changed, after) = (tokens(1, &[1]), tokens(1, &[1, 2]), tokens(1, &[2, 1]), tokens(1, &[2]));
        for (issuer, readers) in
            [(&before, [&before, &adding, &changed]), (&adding, [&before, &adding, &changed]), (&changed, [&adding, &changed, &after])]
        {
            for reader in readers {
                assert_eq!(reader.read(&issuer.issue(&positions)).as_ref(), Ok(&positions));
            }
        }
        assert_eq!(after.read(&before.issue(&positions)), Err(TokenError::Forged));
    }

    #[test]
    fn weak_keys_are_refused_at_the_start() {
        assert_eq!(Tokens::new(Uuid::nil(), vec![]).err(), Some(KeysError::None));
        assert_eq!(Tokens::new(Uuid::nil(), vec![Zeroizing::new(vec![0; 31])]).err(), Some(KeysError::Short(31)));
    }

    #[test]
    fn of_two_positions_the_greater_counts_and_a_later_generation_is_greater() {
        let mut one: Positions = [at(1, 0, 5), at(1, 1, 9), at(1, 2, 900)].into_iter().collect();
        let other: Positions = [at(1, 0, 7), at(1, 1, 3), at(2, 2, 800), at(1, 3, 1)].into_iter().collect();
        assert!(!one.covers(&other));

        one.merge(&other);

        assert_eq!(one.iter().collect::<Vec<_>>(), [at(1, 0, 7), at(1, 1, 9), at(2, 2, 800), at(1, 3, 1)]);
        assert!(one.covers(&other) && one.covers(&Positions::default()) && !Positions::default().covers(&one));
        assert_eq!((one.get(1), one.get(4)), (Some(at(1, 1, 9)), None));
    }

    prop_compose! {
        fn any_positions()(all in prop::collection::vec((any::<u32>(), any::<u32>(), any::<u64>()), 0..80)) -> Positions {
            all.into_iter().map(|(generation, partition, seq)| at(generation, partition, seq)).collect()
        }
    }

    proptest! {
        #[test]
        fn a_token_gives_back_what_it_was_issued_for(positions in any_positions()) {
            let tokens = tokens(1, &[1]);
            prop_assert_eq!(tokens.read(&tokens.issue(&positions)), Ok(positions));
        }

        #[test]
        fn merging_covers_both_in_any_order(one in any_positions(), other in any_positions()) {
            let (mut merged, mut reversed) = (one.clone(), other.clone());
            merged.merge(&other);
            reversed.merge(&one);
            prop_assert!(merged.covers(&one) && merged.covers(&other));
            prop_assert_eq!(merged, reversed);
        }

        #[test]
        fn no_text_makes_a_reader_panic(text in "\\PC{0,200}", bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let tokens = tokens(1, &[1]);
            prop_assert!(tokens.read(&text).is_err());
            let mut token = vec![VERSION, Kind::Positions as u8];
            token.extend(bytes);
            prop_assert!(tokens.read(&URL_SAFE_NO_PAD.encode(token)).is_err());
        }
    }
}
