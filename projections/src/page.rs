//! Where a page of a list begins: keys, never offsets, so that a page costs the same wherever it lies.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A place in the order of creation. It never changes, whatever happens to the thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ByCreation {
    /// Seq of the commit that created it.
    pub seq: u64,
    /// Its partition.
    pub partition: u32,
    /// Its id.
    pub id: Uuid,
}

/// A place in the order of names, which changes with the name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ByName {
    /// The name.
    pub name: String,
    /// The partition.
    pub partition: u32,
    /// The id.
    pub id: Uuid,
}

/// A place in the history of a tenant or resource, which is listed newest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ByEvent {
    /// Seq of the commit.
    pub seq: u64,
    /// Index of the event in it.
    pub index: u32,
}

/// The least text above all that begin with `prefix`, bytewise; none when there is no such text.
pub(crate) fn after_prefix(prefix: &str) -> Option<String> {
    let mut chars: Vec<char> = prefix.chars().collect();
    while let Some(last) = chars.pop() {
        // Between the two ranges of characters lie the surrogates, which are none.
        let next = if last == '\u{d7ff}' { Some('\u{e000}') } else { char::from_u32(last as u32 + 1) };
        if let Some(next) = next {
            chars.push(next);
            return Some(chars.into_iter().collect());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_where_nothing_begins_with_it_any_more() {
        assert_eq!(after_prefix("web-"), Some("web.".to_owned()));
        assert_eq!(after_prefix("a\u{d7ff}"), Some("a\u{e000}".to_owned()));
        assert_eq!(after_prefix("a\u{10ffff}"), Some("b".to_owned()));
        assert_eq!(after_prefix("\u{10ffff}"), None);
        assert_eq!(after_prefix(""), None);
    }
}
