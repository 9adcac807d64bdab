//! Merging lists of GraphQL answers: what the nodes' unpaged parts come to on one zot. Pure.
//!
//! Items stay the bytes that the nodes wrote. Only the hidden fields are decoded, which onezot asked for in front of
//! the client's, and cutting them off again is cutting off the front of the item.

mod read;
pub mod summary;

pub use read::{Item, Keys, Manifest, Members, NewestImage, NodePart, Platform, time_of};

use crate::query::{FanOut, PartKind};
use crate::rules::{Items, Sort};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::cmp::{Ordering, Reverse};
use std::collections::HashMap;
use std::fmt::Write;
use std::ops::Range;

/// Why a node's part cannot be merged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadPart(String);

impl From<serde_json::Error> for BadPart {
    fn from(error: serde_json::Error) -> BadPart {
        BadPart(format!("its result is none: {error}"))
    }
}

/// A merged result.
#[derive(Debug)]
pub struct Merged {
    /// The result, as JSON.
    pub value: String,
    /// The items that are on the page.
    pub shown: Vec<Named>,
    /// The items that are not.
    pub hidden: Vec<Named>,
}

/// An item, as far as texts of errors name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    repository: String,
    tag: Option<String>,
    manifests: Vec<String>,
}

impl From<&Keys<'_>> for Named {
    fn from(keys: &Keys) -> Named {
        Named {
            repository: keys.repository.to_string(),
            tag: keys.tag.as_ref().map(ToString::to_string),
            manifests: keys.manifests.iter().map(|manifest| manifest.digest.to_string()).collect(),
        }
    }
}

impl Named {
    /// Whether the text of an error beside data speaks of this item. zot names the tag, or a manifest by its digest
    /// (zot `pkg/extensions/search/convert/metadb.go`).
    fn is_named_in(&self, message: &str) -> bool {
        let Named { repository, tag, manifests } = self;
        let by_tag = tag.as_ref().is_some_and(|tag| message.contains(&format!("on tag {tag} in repo {repository}:")));
        let in_repository = message.contains(&format!("in repo {repository}:"));
        let by_manifest = manifests.iter().any(|digest| message.contains(digest.as_str()));
        by_tag || in_repository && (by_manifest || tag.is_none())
    }

    /// Whether an error of the conversion speaks of a manifest of this item.
    fn is_converted_in(&self, message: &str) -> bool {
        let name = format!("{} in repo {}", self.tag.as_deref().unwrap_or_default(), self.repository);
        let manifest = converted(message).filter(|(of, _)| *of == name).and_then(|(_, rest)| rest.split(',').next());
        manifest.is_some_and(|manifest| self.manifests.iter().any(|digest| digest == manifest))
    }
}

/// How the errors begin that a zot adds while it converts what a list is of, before filters and the page apply (zot
/// `pkg/extensions/search/convert/metadb.go`, `ImageManifest2ImageSummary`). Scans come after the page.
const OF_CONVERSION: &str = "error generating history on tag ";

/// How the errors of scans begin (the same file, `updateImageSummaryVulnerabilities` and what it calls).
const OF_SCAN: &str = "unable to run vulnerability scan ";

/// What an error of the conversion says before and behind `: manifest digest: `; `None` if it is none. Such errors are of
/// whatever a list is of, on the page or not.
pub fn converted(message: &str) -> Option<(&str, &str)> {
    message.strip_prefix(OF_CONVERSION)?.split_once(": manifest digest: ")
}

impl Merged {
    /// Whether an error beside data belongs to the answer: it is of the conversion, it names an item that is on the page,
    /// or none at all.
    pub fn shows_error(&self, message: &str) -> bool {
        converted(message).is_some()
            || self.shown.iter().any(|item| item.is_named_in(message))
            || !self.hidden.iter().any(|item| item.is_named_in(message))
    }

    /// Whether an error that was met on the way belongs to the answer: of a scan, only if it is of an item on the page.
    pub fn shows_error_on_the_way(&self, message: &str) -> bool {
        !message.starts_with(OF_SCAN) || self.shown.iter().any(|item| item.is_named_in(message))
    }

    /// Whether an error of the conversion is of a manifest of what the list is of.
    pub fn converts(&self, message: &str) -> bool {
        self.shown.iter().chain(&self.hidden).any(|item| item.is_converted_in(message))
    }
}

/// Merges the results of a field, one for each node that answered (with its index). `owner` is the index of the node
/// that owns a repository: of an item that several nodes have, its copy counts.
///
/// # Errors
///
/// The index of the node whose result cannot be merged, and why.
pub fn merge(
    fan_out: &FanOut,
    owner: impl Fn(&str) -> usize,
    results: &[(usize, &RawValue)],
) -> Result<Merged, (usize, BadPart)> {
    let mut parts = Vec::with_capacity(results.len());
    let mut items: Vec<Item> = Vec::new();
    for &(node, result) in results {
        let (part, more) = NodePart::read(fan_out, node, result).map_err(|bad| (node, bad))?;
        items.extend(more);
        parts.push(part);
    }
    Ok(put_together(fan_out, owner, &parts, items, None))
}

/// The items that a page shows, of which there are no copies.
pub fn on_page<'i, 'a>(fan_out: &FanOut, items: &'i mut [Item<'a>]) -> &'i mut [Item<'a>] {
    items.sort_by(|a, b| in_order(fan_out.page.order, fan_out.items, &a.keys, &b.keys));
    let range = fan_out.page.range(items.len());
    &mut items[range]
}

/// Puts items together into a result: each once, sorted, and the page cut out. What else the result has is in `parts`;
/// of a repository that lies on several nodes, `summary` is what one zot would say.
pub fn put_together(
    fan_out: &FanOut,
    owner: impl Fn(&str) -> usize,
    parts: &[NodePart],
    items: Vec<Item>,
    summary: Option<&Summaries>,
) -> Merged {
    let mut items = without_copies(items, |item| owner(&item.keys.repository) == item.node);
    items.sort_by(|a, b| in_order(fan_out.page.order, fan_out.items, &a.keys, &b.keys));
    let range = fan_out.page.range(items.len());
    let value = write(fan_out, parts, &items, range.clone(), summary);
    let (mut shown, mut hidden) = (Vec::new(), Vec::new());
    for (index, item) in items.iter().enumerate() {
        let named = Named::from(&item.keys);
        if range.contains(&index) { shown.push(named) } else { hidden.push(named) }
    }
    Merged { value, shown, hidden }
}

/// Each item once: the owner's copy, or else the first node's.
fn without_copies<'a>(items: Vec<Item<'a>>, is_owners: impl Fn(&Item) -> bool) -> Vec<Item<'a>> {
    let mut kept: Vec<Item> = Vec::with_capacity(items.len());
    let mut places: HashMap<(Cow<'a, str>, Option<Cow<'a, str>>), usize> = HashMap::with_capacity(items.len());
    for item in items {
        let identity = (item.keys.repository.clone(), item.keys.tag.clone());
        match places.get(&identity) {
            // One node does not list an item twice; if it does, one zot would, too.
            Some(&place) if kept[place].node != item.node => {
                if is_owners(&item) {
                    kept[place] = item;
                }
            }
            Some(_) => kept.push(item),
            None => {
                places.insert(identity, kept.len());
                kept.push(item);
            }
        }
    }
    kept
}

/// The summaries of a repository, by the client's key.
pub type Summaries = HashMap<String, String>;

/// Tags that are one image in the first of these items with its tag, and another one in a later one on another node.
pub fn conflicts<'i>(items: &'i [Item]) -> Vec<&'i Item<'i>> {
    let mut first: HashMap<(&str, Option<&str>), &Item> = HashMap::new();
    let differs = |item: &&'i Item<'i>| {
        let known = first.entry((&item.keys.repository, item.keys.tag.as_deref())).or_insert(item);
        known.node != item.node && known.keys.digest != item.keys.digest
    };
    items.iter().filter(differs).collect()
}

/// zot's order, made total: what ties is in the order of its name.
fn in_order(order: Sort, items: Items, a: &Keys, b: &Keys) -> Ordering {
    let by_name = |a: &Keys, b: &Keys| (&a.repository, &a.tag).cmp(&(&b.repository, &b.tag));
    let by_key = match (order, items) {
        (Sort::AlphabeticDsc, _) => return by_name(b, a),
        // The newest first; none at all is the oldest.
        (Sort::UpdateTime, _) => Reverse(a.updated).cmp(&Reverse(b.updated)),
        (Sort::Downloads, _) => Reverse(a.downloads).cmp(&Reverse(b.downloads)),
        (Sort::Relevance, Items::Repositories) => a.rank.cmp(&b.rank),
        _ => Ordering::Equal,
    };
    by_key.then_with(|| by_name(a, b))
}

/// Writes the result: the client's members, in the client's order.
fn write(
    fan_out: &FanOut,
    parts: &[NodePart],
    items: &[Item],
    range: Range<usize>,
    summary: Option<&Summaries>,
) -> String {
    let shown = &items[range.clone()];
    let mut lists = 0;
    let mut text = String::from("{");
    for part in &fan_out.parts {
        if text.len() > 1 {
            text.push(',');
        }
        // Writing to a string does not fail.
        let _ = write!(text, "{}:", serde_json::Value::from(part.key.as_str()));
        match &part.kind {
            PartKind::Page(counts) => {
                text.push('{');
                for (index, (key, name)) in counts.iter().enumerate() {
                    let comma = if index == 0 { "" } else { "," };
                    let _ = write!(text, "{comma}{}:", serde_json::Value::from(key.as_str()));
                    let _ = match name.as_str() {
                        "TotalCount" => write!(text, "{}", items.len()),
                        "ItemCount" => write!(text, "{}", range.len()),
                        _ => write!(text, "\"PageInfo\""),
                    };
                }
                text.push('}');
            }
            PartKind::List if parts.iter().all(|node| node.raw(&part.key) == "null") => text.push_str("null"),
            PartKind::List => {
                text.push('[');
                for (index, item) in shown.iter().enumerate() {
                    if index > 0 {
                        text.push(',');
                    }
                    text.push_str(item.texts.get(lists).map_or("null", |text| text));
                }
                text.push(']');
                lists += 1;
            }
            PartKind::Summary(_) => {
                let whole = summary.and_then(|summary| summary.get(&part.key));
                text.push_str(whole.map_or("null", String::as_str));
            }
            PartKind::Alike => text.push_str(parts.first().map_or("null", |node| node.raw(&part.key))),
        }
    }
    text.push('}');
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::Upstream;
    use crate::page::ListPage;
    use crate::query::Part;
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};

    fn part(key: &str, kind: PartKind) -> Part {
        Part { key: key.to_owned(), kind }
    }

    fn fan_out(items: Items, order: Sort, limit: u64, offset: u64) -> FanOut {
        let counts = [("t", "TotalCount"), ("i", "ItemCount")].map(|(k, n)| (k.to_owned(), n.to_owned()));
        FanOut {
            upstream: Upstream { text: String::new(), variables: Map::new() },
            parts: vec![part("Page", PartKind::Page(counts.to_vec())), part("r", PartKind::List)],
            members: Vec::new(),
            list: "r".to_owned(),
            holders: None,
            is_whole: false,
            again: None,
            items,
            page: ListPage { limit, offset, order },
        }
    }

    /// A node's result with images of `(repository, tag, time, downloads)`.
    fn images(items: &[(String, String, Option<u8>, i64)]) -> String {
        let item = |(repository, tag, time, downloads): &(String, String, Option<u8>, i64)| {
            let time = time.map(|day| format!("2024-01-{:02}T00:00:00Z", day % 28 + 1));
            json!({"_oz_RepoName": repository, "_oz_Tag": tag, "_oz_LastUpdated": time, "_oz_DownloadCount": downloads,
                   "n": format!("{repository}:{tag}"), "t": time, "d": downloads})
        };
        json!({"Page": {"t": 0, "i": 0}, "r": items.iter().map(item).collect::<Vec<_>>()}).to_string()
    }

    fn merged(fan_out: &FanOut, parts: &[String]) -> Value {
        let raws: Vec<Box<RawValue>> = parts.iter().map(|part| RawValue::from_string(part.clone()).unwrap()).collect();
        let results: Vec<(usize, &RawValue)> = raws.iter().enumerate().map(|(i, raw)| (i, &**raw)).collect();
        serde_json::from_str(&merge(fan_out, |_| 0, &results).unwrap().value).unwrap()
    }

    #[test]
    fn bytes_of_items_stay_and_hidden_fields_go() {
        let mut plan = fan_out(Items::Images, Sort::Relevance, 0, 0);
        plan.parts.push(part("again", PartKind::List));
        let raw = r#"{"Page":null,"r":[{"_oz_RepoName":"b\u003c","_oz_Tag":"1","a":"\u003cé","x":{"y":[1.0, 2]}},{"_oz_RepoName":"a","_oz_Tag":"1"}],"again":[{"z":1},{"z":2}]}"#;
        let raw = RawValue::from_string(raw.to_owned()).unwrap();
        let merged = merge(&plan, |_| 0, &[(0, &raw)]).unwrap();
        assert_eq!(
            merged.value,
            r#"{"Page":{"t":2,"i":2},"r":[{},{"a":"\u003cé","x":{"y":[1.0, 2]}}],"again":[{"z":2},{"z":1}]}"#
        );
    }

    #[test]
    fn null_lists_stay_null_and_empty_ones_empty() {
        let plan = fan_out(Items::Images, Sort::Relevance, 0, 0);
        let value = |parts: &[&str]| {
            let parts: Vec<String> = parts.iter().map(|list| format!(r#"{{"Page":null,"r":{list}}}"#)).collect();
            merged(&plan, &parts)["r"].clone()
        };
        assert_eq!(value(&["null", "null"]), json!(null));
        assert_eq!(value(&["null", "[]"]), json!([]));
        assert_eq!(value(&["[]", "[]"]), json!([]));
    }

    #[test]
    fn of_copies_the_owners_counts() {
        let plan = fan_out(Items::Images, Sort::Relevance, 0, 0);
        let copy = |downloads| images(&[("lib".to_owned(), "1".to_owned(), None, downloads)]);
        let raws = [copy(1), copy(2), copy(3)].map(|text| RawValue::from_string(text).unwrap());
        let results: Vec<(usize, &RawValue)> = raws.iter().enumerate().map(|(i, raw)| (i, &**raw)).collect();
        for owner in 0..3 {
            let merged: Value = serde_json::from_str(&merge(&plan, |_| owner, &results).unwrap().value).unwrap();
            assert_eq!(merged["r"][0]["d"], json!(owner + 1));
            assert_eq!(merged["Page"]["t"], json!(1));
        }
    }

    #[test]
    fn errors_of_items_that_are_not_on_the_page_are_left_out() {
        let image = |repository: &str, tag: &str, digest: &str| Named {
            repository: repository.to_owned(),
            tag: Some(tag.to_owned()),
            manifests: vec![digest.to_owned()],
        };
        let merged = Merged {
            value: String::new(),
            shown: vec![image("a/chart", "1.0", "sha256:aa")],
            hidden: vec![image("a/chart", "1.1", "sha256:bb"), image("b", "1.0", "sha256:cc")],
        };
        for (message, is_shown) in [
            ("unable to run vulnerability scan on tag 1.0 in repo a/chart: error: x", true),
            ("unable to run vulnerability scan on tag 1.1 in repo a/chart: error: x", false),
            ("unable to run vulnerability scan in repo a/chart: manifest digest: sha256:aa, error: x", true),
            ("unable to run vulnerability scan in repo a/chart: manifest digest: sha256:bb, error: x", false),
            ("unable to run vulnerability scan on tag 1.0 in repo b: error: x", false),
            ("something else", true),
        ] {
            assert_eq!(merged.shows_error(message), is_shown, "{message}");
        }
    }

    #[test]
    fn what_is_no_part_names_its_node() {
        let plan = fan_out(Items::Images, Sort::Relevance, 0, 0);
        for text in ["[]", r#"{"r":{}}"#, r#"{"r":[1]}"#, r#"{"r":[{"_oz_Tag":1}]}"#] {
            let good = RawValue::from_string(r#"{"r":[]}"#.to_owned()).unwrap();
            let bad = RawValue::from_string(text.to_owned()).unwrap();
            assert_eq!(merge(&plan, |_| 0, &[(3, &good), (7, &bad)]).unwrap_err().0, 7, "{text}");
        }
    }

    fn any_images() -> impl Strategy<Value = Vec<(String, String, Option<u8>, i64)>> {
        let item = ("[ab]{1,2}(/[ab])?", "[0-2]", prop::option::of(0..4u8), 0..3i64);
        prop::collection::vec(item, 0..30).prop_map(|items| {
            // One registry has a tag once.
            let unique: std::collections::BTreeMap<_, _> = items
                .into_iter()
                .map(|(repository, tag, time, downloads)| ((repository, tag), (time, downloads)))
                .collect();
            unique
                .into_iter()
                .map(|((repository, tag), (time, downloads))| (repository, tag, time, downloads))
                .collect()
        })
    }

    fn any_order() -> impl Strategy<Value = Sort> {
        prop::sample::select(crate::rules::LIST_ORDERS)
    }

    proptest! {
        #[test]
        fn any_split_merges_to_the_unsplit_list(
            items in any_images(), order in any_order(), places in prop::collection::vec(0..4usize, 30),
            limit in 0..5u64, offset in 0..5u64,
        ) {
            let mut parts = vec![Vec::new(); 4];
            for (item, place) in items.iter().zip(&places) {
                parts[*place].push(item.clone());
                // Copies on another node count once.
                if place % 2 == 0 {
                    parts[(place + 1) % 4].push(item.clone());
                }
            }
            let parts: Vec<String> = parts.iter().map(|part| images(part)).collect();
            let plan = fan_out(Items::Images, order, limit, offset);
            prop_assert_eq!(merged(&plan, &parts), merged(&plan, &[images(&items)]));
        }

        #[test]
        fn pages_joined_are_the_unpaged_list(items in any_images(), order in any_order(), limit in 1..5u64) {
            let part = [images(&items)];
            let unpaged = merged(&fan_out(Items::Images, order, 0, 0), &part);
            let mut joined = Vec::new();
            for offset in (0..=items.len() as u64).step_by(limit as usize) {
                let page = merged(&fan_out(Items::Images, order, limit, offset), &part);
                prop_assert_eq!(&page["Page"]["t"], &json!(items.len()));
                joined.extend(page["r"].as_array().unwrap().clone());
            }
            prop_assert_eq!(Value::Array(joined), unpaged["r"].clone());
        }

        #[test]
        fn lists_are_in_zots_order(items in any_images(), order in any_order()) {
            let list = merged(&fan_out(Items::Images, order, 0, 0), &[images(&items)]);
            for pair in list["r"].as_array().unwrap().windows(2) {
                let (a, b) = (&pair[0], &pair[1]);
                let holds = match order {
                    Sort::UpdateTime => a["t"].as_str() >= b["t"].as_str(),
                    Sort::Downloads => a["d"].as_i64() >= b["d"].as_i64(),
                    Sort::AlphabeticDsc => a["n"].as_str().map(split) > b["n"].as_str().map(split),
                    _ => a["n"].as_str().map(split) < b["n"].as_str().map(split),
                };
                prop_assert!(holds, "{:?}: {} {}", order, a, b);
            }
        }
    }

    fn split(name: &str) -> (&str, &str) {
        name.split_once(':').unwrap()
    }
}
