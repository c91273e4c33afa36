//! Page tokens: where a list goes on, for this caller and this list only.
//!
//! A token carries the key of the last row that was shown, never an offset, so that it survives rows that come and go and a rebuild of
//! the read model. It also carries digests of who asked, of the filter and of the order; a token that is used with another list would
//! give a page that looks right and is not, and is therefore refused.

use super::{Kind, TokenError, Tokens, put, take, take_u32};
use crate::problem::{Problem, ProblemType};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// Bytes of each digest that are kept. They tell lists apart; the tag is what keeps forgers out.
const DIGEST: usize = 8;

/// The list that is being walked. Two requests walk the same list exactly when these are equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Walk<'a> {
    /// Who asks: issuer and subject.
    pub caller: (&'a str, &'a str),
    /// The route and its filters in a canonical form, for example the canonical JSON of the query without token and page size.
    pub filter: &'a [u8],
    /// The order, such as `created` or `name`.
    pub order: &'a str,
}

/// The key of the last row of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PageKey {
    /// Of a list by creation: what matches during the whole walk appears exactly once.
    Created {
        /// The seq of the commit that created the row.
        seq: u64,
        /// The partition of that commit.
        partition: u32,
        /// The row's id.
        id: Uuid,
    },
    /// Of a list by name: a row that is renamed meanwhile may appear twice or never.
    Named {
        /// The row's name.
        name: String,
        /// The partition of the row.
        partition: u32,
        /// The row's id.
        id: Uuid,
    },
}

/// Why a page token was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PageError {
    /// It is not a page token of this platform.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// It was given to somebody else.
    #[error("it belongs to another caller")]
    OtherCaller,
    /// It belongs to a list with another route or other filters.
    #[error("it belongs to a list with other filters")]
    OtherFilter,
    /// It belongs to a list in another order.
    #[error("it belongs to a list in another order")]
    OtherOrder,
}

impl From<PageError> for Problem {
    fn from(error: PageError) -> Self {
        Problem::new(ProblemType::InvalidPageToken).detail(format!("The page token cannot be used: {error}. Start the list again."))
    }
}

impl From<TokenError> for Problem {
    fn from(error: TokenError) -> Self {
        Problem::new(ProblemType::InvalidPositionToken).detail(format!("The position token cannot be used: {error}."))
    }
}

impl Walk<'_> {
    fn digests(&self) -> [[u8; DIGEST]; 3] {
        let caller = crate::idempotency::length_prefixed(&[self.caller.0.as_bytes(), self.caller.1.as_bytes()]);
        [caller.as_slice(), self.filter, self.order.as_bytes()].map(|part| {
            let mut short = [0; DIGEST];
            short.copy_from_slice(&Sha256::digest(part)[..DIGEST]);
            short
        })
    }
}

impl Tokens {
    /// The token with which this walk goes on after `last`.
    pub fn issue_page(&self, walk: Walk<'_>, last: &PageKey) -> String {
        let mut content = walk.digests().concat();
        match last {
            PageKey::Created { seq, partition, id } => {
                put(&mut content, 0);
                put(&mut content, *seq);
                put(&mut content, (*partition).into());
                content.extend_from_slice(id.as_bytes());
            }
            PageKey::Named { name, partition, id } => {
                put(&mut content, 1);
                put(&mut content, (*partition).into());
                content.extend_from_slice(id.as_bytes());
                content.extend_from_slice(name.as_bytes());
            }
        }
        self.seal(Kind::Page, &content)
    }

    /// Where this walk goes on.
    ///
    /// # Errors
    /// Any [`PageError`].
    pub fn read_page(&self, walk: Walk<'_>, token: &str) -> Result<PageKey, PageError> {
        let content = self.open(Kind::Page, token)?;
        let (digests, mut rest) = content.split_at_checked(3 * DIGEST).ok_or(TokenError::Malformed)?;
        let errors = [PageError::OtherCaller, PageError::OtherFilter, PageError::OtherOrder];
        for ((held, wanted), error) in digests.chunks(DIGEST).zip(walk.digests()).zip(errors) {
            if held != wanted {
                return Err(error);
            }
        }
        let key = match take(&mut rest)? {
            0 => PageKey::Created { seq: take(&mut rest)?, partition: take_u32(&mut rest)?, id: take_id(&mut rest)? },
            1 => {
                let (partition, id) = (take_u32(&mut rest)?, take_id(&mut rest)?);
                let name = std::str::from_utf8(std::mem::take(&mut rest)).map_err(|_| TokenError::Malformed)?;
                PageKey::Named { name: name.to_owned(), partition, id }
            }
            _ => return Err(TokenError::Malformed.into()),
        };
        if rest.is_empty() { Ok(key) } else { Err(TokenError::Malformed.into()) }
    }
}

fn take_id(rest: &mut &[u8]) -> Result<Uuid, TokenError> {
    let (id, tail) = rest.split_first_chunk().ok_or(TokenError::Malformed)?;
    *rest = tail;
    Ok(Uuid::from_bytes(*id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::position::Positions;
    use zeroize::Zeroizing;

    const WALK: Walk<'_> = Walk { caller: ("https://id.example", "ada"), filter: b"{\"kind\":\"server\"}", order: "created" };

    fn tokens() -> Tokens {
        Tokens::new(Uuid::from_u128(1), vec![Zeroizing::new(vec![1; 32])]).unwrap()
    }

    fn keys() -> [PageKey; 3] {
        let id = Uuid::from_u128(9);
        [
            PageKey::Created { seq: u64::MAX, partition: 63, id },
            PageKey::Named { name: "web-1 ä".into(), partition: 0, id },
            PageKey::Named { name: String::new(), partition: u32::MAX, id },
        ]
    }

    #[test]
    fn a_walk_goes_on_after_the_row_that_was_shown_last() {
        for key in keys() {
            assert_eq!(tokens().read_page(WALK, &tokens().issue_page(WALK, &key)), Ok(key));
        }
    }

    #[test]
    fn a_token_of_another_walk_is_refused_with_the_difference() {
        let token = tokens().issue_page(WALK, &keys()[0]);
        for (walk, error) in [
            (Walk { caller: ("https://id.example", "bob"), ..WALK }, PageError::OtherCaller),
            (Walk { caller: ("https://id.examplea", "da"), ..WALK }, PageError::OtherCaller),
            (Walk { filter: b"{}", ..WALK }, PageError::OtherFilter),
            (Walk { order: "name", ..WALK }, PageError::OtherOrder),
        ] {
            assert_eq!(tokens().read_page(walk, &token), Err(error));
        }
    }

    #[test]
    fn a_forged_token_or_a_position_token_is_no_page_token() {
        let position = tokens().issue(&Positions::default());
        assert_eq!(tokens().read_page(WALK, &position), Err(PageError::Token(TokenError::Malformed)));

        let page = tokens().issue_page(WALK, &keys()[0]);
        assert_eq!(tokens().read(&page), Err(TokenError::Malformed));

        let stranger = Tokens::new(Uuid::from_u128(1), vec![Zeroizing::new(vec![2; 32])]).unwrap();
        assert_eq!(stranger.read_page(WALK, &page), Err(PageError::Token(TokenError::Forged)));
    }
}
