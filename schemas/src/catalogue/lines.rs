//! YAML with the line of every value, so that an error found after reading can still be pointed at.

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_saphyr::{Options, Spanned, options};
use std::{collections::BTreeMap, fmt};

/// The line of every value of a document, by JSON pointer.
pub(super) struct Lines(BTreeMap<String, u64>);

impl Lines {
    /// The line of a value, or of the closest thing around it.
    pub(super) fn of(&self, pointer: &str) -> u64 {
        let mut pointer = pointer;
        loop {
            match (self.0.get(pointer), pointer.rfind('/')) {
                (Some(line), _) => return *line,
                (None, Some(end)) => pointer = &pointer[..end],
                (None, None) => return 1,
            }
        }
    }
}

/// Reads one document twice, as what it is and as lines. An error is a line and a reason.
pub(super) fn read<T: DeserializeOwned>(text: &str) -> Result<(T, Lines), (u64, String)> {
    let value = serde_saphyr::from_str_with_options(text, strict()).map_err(located)?;
    let root: Spanned<Node> = serde_saphyr::from_str_with_options(text, strict()).map_err(located)?;
    let mut lines = BTreeMap::new();
    collect(String::new(), root, &mut lines);
    Ok((value, Lines(lines)))
}

/// `yes` and `no` are texts; a repeated key is an error.
fn strict() -> Options {
    options! { strict_booleans: true, with_snippet: false }
}

fn located(error: serde_saphyr::Error) -> (u64, String) {
    let line = error.location().map_or(1, |location| location.line());
    let text = error.to_string();
    // The location stands in the fault.
    let reason = text.split(" at line ").next().unwrap_or(&text);
    (line, reason.to_owned())
}

fn collect(pointer: String, node: Spanned<Node>, lines: &mut BTreeMap<String, u64>) {
    lines.insert(pointer.clone(), node.referenced.line());
    match node.value {
        Node::Leaf => {}
        Node::List(items) => items.into_iter().enumerate().for_each(|(i, item)| collect(format!("{pointer}/{i}"), item, lines)),
        Node::Map(fields) => fields.into_iter().for_each(|(key, field)| collect(format!("{pointer}/{key}"), field, lines)),
    }
}

enum Node {
    Leaf,
    List(Vec<Spanned<Node>>),
    Map(Vec<(String, Spanned<Node>)>),
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct AnyNode;
        impl<'de> Visitor<'de> for AnyNode {
            type Value = Node;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any value")
            }

            fn visit_bool<E: Error>(self, _: bool) -> Result<Node, E> {
                Ok(Node::Leaf)
            }

            fn visit_i64<E: Error>(self, _: i64) -> Result<Node, E> {
                Ok(Node::Leaf)
            }

            fn visit_u64<E: Error>(self, _: u64) -> Result<Node, E> {
                Ok(Node::Leaf)
            }

            fn visit_f64<E: Error>(self, _: f64) -> Result<Node, E> {
                Ok(Node::Leaf)
            }

            fn visit_str<E: Error>(self, _: &str) -> Result<Node, E> {
                Ok(Node::Leaf)
            }

            fn visit_unit<E: Error>(self) -> Result<Node, E> {
                Ok(Node::Leaf)
            }

            fn visit_none<E: Error>(self) -> Result<Node, E> {
                Ok(Node::Leaf)
            }

            fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<Node, D::Error> {
                IgnoredAny::deserialize(from).map(|_| Node::Leaf)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
                let mut list = Vec::new();
                while let Some(item) = items.next_element()? {
                    list.push(item);
                }
                Ok(Node::List(list))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Node, A::Error> {
                let mut map = Vec::new();
                while let Some(field) = fields.next_entry()? {
                    map.push(field);
                }
                Ok(Node::Map(map))
            }
        }
        from.deserialize_any(AnyNode)
    }
}
