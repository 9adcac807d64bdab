//! Where in a YAML text a key is, for errors that concern more than one value.

use serde::Deserialize;
use std::fmt;

/// The place of a key in a YAML text; of its nearest parent when it is not there.
pub(super) fn position_of(text: &str, key: &str) -> Option<(u64, u64)> {
    let tree: serde_saphyr::Spanned<Tree> = serde_saphyr::from_str(text).ok()?;
    let mut at = None;
    let mut here = &tree;
    for part in key.split(['.', '[']).map(|part| part.trim_end_matches(']')) {
        let next = match &here.value {
            Tree::Map(entries) => entries.iter().find(|(name, _)| name == part).map(|(_, value)| value),
            Tree::List(items) => part.parse().ok().and_then(|index: usize| items.get(index)),
            Tree::Leaf => None,
        };
        let Some(next) = next else { break };
        at = Some((next.referenced.line(), next.referenced.column()));
        here = next;
    }
    at
}

/// The shape of a YAML document, with positions.
enum Tree {
    Map(Vec<(String, serde_saphyr::Spanned<Tree>)>),
    List(Vec<serde_saphyr::Spanned<Tree>>),
    Leaf,
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Tree, D::Error> {
        struct Shape;

        impl<'de> serde::de::Visitor<'de> for Shape {
            type Value = Tree;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a YAML value")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Tree, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Tree::Map(entries))
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut list: A) -> Result<Tree, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = list.next_element()? {
                    items.push(item);
                }
                Ok(Tree::List(items))
            }

            fn visit_bool<E>(self, _: bool) -> Result<Tree, E> {
                Ok(Tree::Leaf)
            }

            fn visit_i64<E>(self, _: i64) -> Result<Tree, E> {
                Ok(Tree::Leaf)
            }

            fn visit_u64<E>(self, _: u64) -> Result<Tree, E> {
                Ok(Tree::Leaf)
            }

            fn visit_f64<E>(self, _: f64) -> Result<Tree, E> {
                Ok(Tree::Leaf)
            }

            fn visit_str<E>(self, _: &str) -> Result<Tree, E> {
                Ok(Tree::Leaf)
            }

            fn visit_unit<E>(self) -> Result<Tree, E> {
                Ok(Tree::Leaf)
            }
        }

        deserializer.deserialize_any(Shape)
    }
}
