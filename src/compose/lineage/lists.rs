//! The lists of images that nodes are asked for: one document for a node, however many lists.

use super::super::{Asker, Settled, failed};
use super::Lineage;
use crate::document::{Spread, Upstream, Value};
use crate::graphql::Outcome;
use crate::graphql::response::{Body, member};
use crate::items::{Item, Members, NodePart};
use crate::query::RESERVED;
use crate::scatter::{Failure, NodeAnswer};
use http::HeaderMap;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

/// What every list of images is.
const IMAGES: &str = "PaginatedImagesResult";
/// The query that finds images by a digest in them.
pub const BY_DIGEST: &str = "ImageListForDigest";

/// A list of images that a node is asked for.
#[derive(Debug, PartialEq, Eq)]
pub struct Lookup {
    query: &'static str,
    argument: &'static str,
    value: String,
}

impl Lookup {
    /// Images that have a digest in them.
    pub fn by_digest(digest: &str) -> Lookup {
        Lookup { query: BY_DIGEST, argument: "id", value: digest.to_owned() }
    }

    /// Images of a repository: an empty list, and no error, when it is gone.
    pub fn of_repository(name: &str) -> Lookup {
        Lookup { query: "ImageList", argument: "repo", value: name.to_owned() }
    }

    /// All images, which are asked for once where there would be very many lists.
    pub fn all() -> Lookup {
        Lookup::of_repository("")
    }
}

/// The most lists that a node is asked for: it goes through all its images for each.
pub const MOST_LISTS: usize = 32;

/// What the nodes are asked for, by their index.
#[derive(Debug, Default)]
pub struct Lookups(BTreeMap<usize, Vec<Lookup>>);

impl Lookups {
    /// Adds what one node is asked for, once.
    pub fn add(&mut self, node: usize, lookup: Lookup) {
        let lookups = self.0.entry(node).or_default();
        if !lookups.contains(&lookup) {
            lookups.push(lookup);
        }
    }

    /// How many lists a node is asked for.
    pub fn count(&self, node: usize) -> usize {
        self.0.get(&node).map_or(0, Vec::len)
    }

    /// The same with one list of everything for each node that would be asked for very many.
    pub fn bounded(mut self) -> Lookups {
        for lookups in self.0.values_mut().filter(|lookups| lookups.len() > MOST_LISTS) {
            *lookups = vec![Lookup::all()];
        }
        self
    }

    /// What a node is asked for; `None` if it is not asked.
    pub fn of(&self, node: usize) -> Option<&[Lookup]> {
        self.0.get(&node).map(Vec::as_slice)
    }
}

/// A node's answer, read.
pub type Read<'a> = (&'a NodeAnswer, Body<'a>);

/// A list of images.
type List<'a> = (NodePart<'a>, Vec<Item<'a>>);

/// The node, what it was asked for, and the name of an image in that list.
pub type Place = (usize, String, String);

impl Lineage {
    /// Asks nodes for lists; `own` is what the owner has answered already. What nodes may be missing is in `failures`.
    pub(super) async fn ask(
        &self,
        asker: &Asker<'_>,
        wanted: &Lookups,
        own: Option<NodeAnswer>,
        failures: &mut Vec<Failure>,
    ) -> Settled<(Vec<NodeAnswer>, HeaderMap)> {
        let documents: Vec<_> = wanted.0.iter().map(|(node, lookups)| (*node, self.document(lookups))).collect();
        asker.parts(&documents, own, failures).await
    }

    /// The document that asks for lists.
    pub(super) fn document(&self, lookups: &[Lookup]) -> Upstream {
        let roots: Vec<Spread> = lookups
            .iter()
            .enumerate()
            .map(|(index, Lookup { query, argument, value })| Spread {
                key: format!("{RESERVED}{index}"),
                name: query,
                arguments: vec![((*argument).to_owned(), Value::String(value.clone()))],
                fragment: 0,
            })
            .collect();
        self.operation.print_spreads(&roots, &[(IMAGES, &self.fan_out.members)])
    }

    /// The lists in the answer to such a document.
    pub(super) fn lists<'a>(&self, answer: &NodeAnswer, body: &Body<'a>, lookups: &[Lookup]) -> Settled<Vec<List<'a>>> {
        let data = body.data.map_or("{}", RawValue::get);
        let Members(members) = serde_json::from_str(data).map_err(|error| unusable(answer, &error.to_string()))?;
        let mut members: HashMap<Cow<str>, &RawValue> = members.into_iter().collect();
        let keys = (0..lookups.len()).map(|index| format!("{RESERVED}{index}"));
        keys.map(|key| self.read(answer, members.remove(key.as_str()))).collect()
    }

    /// The list under a key.
    pub(super) fn list<'a>(&self, answer: &NodeAnswer, body: &Body<'a>, key: &str) -> Settled<List<'a>> {
        self.read(answer, body.data.and_then(|data| member(data, key)))
    }

    fn read<'a>(&self, answer: &NodeAnswer, result: Option<&'a RawValue>) -> Settled<List<'a>> {
        let result = result.ok_or_else(|| unusable(answer, "a list is missing"))?;
        NodePart::read(&self.fan_out, answer.node, result).map_err(|bad| unusable(answer, &bad.to_string()))
    }

    /// The images of all lists, by where they are.
    pub(super) fn named<'a>(&self, wanted: &Lookups, answers: &[Read<'a>]) -> Settled<HashMap<Place, Item<'a>>> {
        let mut named = HashMap::new();
        for (answer, body) in answers {
            let lookups = wanted.of(answer.node).unwrap_or_default();
            for (lookup, (_, items)) in lookups.iter().zip(self.lists(answer, body, lookups)?) {
                named.extend(items.into_iter().map(|item| ((answer.node, lookup.value.clone(), item.name()), item)));
            }
        }
        Ok(named)
    }
}

/// The answers, read.
pub fn read_all(answers: &[NodeAnswer]) -> Settled<Vec<Read<'_>>> {
    answers.iter().map(|answer| Ok((answer, read(answer)?))).collect()
}

/// An answer, read.
pub fn read(answer: &NodeAnswer) -> Settled<Body<'_>> {
    Body::read(answer).map_err(|error| unusable(answer, &format!("not GraphQL: {error}")))
}

/// The outcome when an answer cannot be used.
pub fn unusable(answer: &NodeAnswer, why: &str) -> Box<Outcome> {
    failed(answer.unusable(why))
}
