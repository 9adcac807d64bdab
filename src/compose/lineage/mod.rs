//! `DerivedImageList` and `BaseImageList`: images on all nodes that are built from an image, or that it is built from.
//!
//! Images are related when the layers of one begin with those of the other. No node sees that of images on other nodes,
//! and a node that lacks the named image answers an error. So its owner is asked for what it knows, for its errors and
//! for the layers of the image; the others for images that have one of its first layers, which all relations have; and
//! which of these are related is decided here. The number of requests depends on the number of nodes only.

mod annotations;
mod related;
mod subject;
mod update_time;

use super::{Asker, Composed, Recipe, nodes_named};
use crate::answer;
use crate::document::{Field, Operation, Root, Spread, Unplannable, Upstream, Value, selected};
use crate::fleet::Fleet;
use crate::graphql::Outcome;
use crate::graphql::response::{Body, Error, member};
use crate::items::{self, Item, NodePart};
use crate::page::ListPage;
use crate::plan::To;
use crate::query::{self, FanOut, Planned, RESERVED, hidden_field};
use crate::rules::{Direction, Query};
use crate::scatter::{Failure, FailureKind, NodeAnswer};
use annotations::{Bytes, MOST_READ};
use http::HeaderMap;
use related::{Annotations, Known, Lacks, Partial, sort_out};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use subject::Subjects;

/// What every list of images is.
const IMAGES: &str = "PaginatedImagesResult";
/// An id that no digest contains.
const NO_DIGEST: &str = "-";
/// The most first layers that an image may have, in all its manifests: each is looked for on every node.
const MOST_FIRST_LAYERS: usize = 256;

/// What is asked.
#[derive(Debug)]
pub struct Lineage {
    direction: Direction,
    owner: To,
    operation: Arc<Operation>,
    /// The digest that is meant, if the client names one that can be one.
    digest: Option<String>,
    /// What its owner is asked in the end to say in a zot's words that the page is none.
    bad_page: Option<Upstream>,
    /// What its owner is asked, and how the result is put together.
    fan_out: FanOut,
    /// What is selected of an image, for each alias of the list: the client's keys and their names in the schema.
    names: Vec<Vec<(String, String)>>,
}

/// Plans the field.
///
/// # Errors
///
/// The document is out of bounds.
pub fn plan(
    operation: &Arc<Operation>,
    field: &Field,
    row: &'static Query,
    owner: &To,
    direction: Direction,
) -> Result<Composed, Unplannable> {
    let must_fail = |what: &str| Composed::MustFail(format!("the {what} of {:?} is none that a zot accepts", row.name));
    let image = field.arguments.iter().find(|(name, _)| Some(name.as_str()) == row.names.argument());
    let (Some(merged), Some(image)) = (row.merged, image) else { return Ok(must_fail("image")) };
    let digest = match operation.argument(field, "digest") {
        None | Some(serde_json::Value::Null) => None,
        Some(serde_json::Value::String(digest)) if subject::is_digest(&digest) => Some(digest),
        // No image has such a digest: what its owner says does not depend on the node.
        Some(_) => return Ok(Composed::OneNode),
    };
    let argument = operation.argument(field, "requestedPage");
    let (page, bad_page) = match (ListPage::from_argument(argument.as_ref(), merged.order), &digest) {
        (Ok(page), _) => (page, None),
        (Err(_), None) => return Ok(must_fail("page")),
        // The digest comes before the page, and may be on another node.
        (Err(_), Some(_)) => {
            let mut asked = field.clone();
            asked.arguments.retain(|(name, _)| name != "digest");
            (ListPage::all(merged.order), Some(operation.print(&[asked])))
        }
    };
    let (list, items) = merged.lists[0];
    let layer = selected("Layers", vec![selected("Digest", vec![]), selected("Size", vec![])]);
    let of_manifest = ["Digest", "ConfigDigest", "Size", "LastUpdated"].map(|name| selected(name, vec![]));
    let more = [
        hidden_field("LastUpdated", vec![]),
        hidden_field("Digest", vec![]),
        hidden_field("Manifests", of_manifest.into_iter().chain([layer]).collect()),
    ];
    let mut fan_out = query::fan_out(operation, field, list, items, page, &more)?;
    let mut names = Vec::new();
    for member in fan_out.members.iter().filter(|member| member.name == list) {
        let fields = operation.fields_of(member)?;
        names.push(fields.into_iter().map(|field| (field.key, field.name)).collect());
    }
    let mut asked = field.clone();
    asked.arguments.retain(|(name, _)| name != "requestedPage");
    let own = Root { key: &asked.key, name: &asked.name, arguments: &asked.arguments, members: &fan_out.members };
    fan_out.upstream = subject::printed(operation, Some((own, image)), digest.as_deref());
    Ok(Composed::Recipe(Recipe::Lineage(Lineage {
        direction,
        owner: owner.clone(),
        operation: operation.clone(),
        digest,
        bad_page,
        fan_out,
        names,
    })))
}

/// A list of images that a node is asked for.
struct Lookup {
    query: &'static str,
    argument: &'static str,
    value: String,
}

impl Lookup {
    /// Images that have a digest in them.
    fn by_digest(digest: &str) -> Lookup {
        Lookup { query: subject::BY_DIGEST, argument: "id", value: digest.to_owned() }
    }

    /// Images of a repository: an empty list, and no error, when it is gone.
    fn of_repository(name: &str) -> Lookup {
        Lookup { query: "ImageList", argument: "repo", value: name.to_owned() }
    }
}

/// What the nodes are asked for, by their index.
type Lookups = BTreeMap<usize, Vec<Lookup>>;

/// The lists that a node answered, in the order of what it was asked for.
type Lists<'a> = Vec<(NodePart<'a>, Vec<Item<'a>>)>;

impl Lineage {
    /// Asks the nodes, and puts together what they say.
    pub async fn answer(&self, asker: &Asker<'_>, planned: &Planned) -> Outcome {
        self.composed(asker, &planned.field).await.unwrap_or_else(|outcome| outcome)
    }

    /// The outcome; an `Err` is one as well, where there is nothing to compose.
    async fn composed(&self, asker: &Asker<'_>, field: &Field) -> Result<Outcome, Outcome> {
        let fleet = asker.scatter.fleet();
        let mut failures = Vec::new();
        let asked = asker.one(&self.owner, &self.fan_out.upstream).await;
        let owner = asked.map_err(|failure| Outcome::failed(vec![failure]))?;
        let Subjects { manifests, owner_knows } = self.subjects(asker, field, &owner, &mut failures).await?;
        if let Some(document) = &self.bad_page {
            let said = asker.one(&self.owner, document).await.map_err(|failure| Outcome::failed(vec![failure]))?;
            return Err(refused(field, &said, &read(&said)?));
        }
        let mut layers: BTreeSet<&str> =
            manifests.iter().filter_map(|manifest| manifest.layers.first()).map(String::as_str).collect();
        if layers.len() > MOST_FIRST_LAYERS {
            let message = format!(
                "the image begins with more than {MOST_FIRST_LAYERS} layers, which is more than this gateway looks for"
            );
            return Err(error(field, &message, &owner.headers));
        }

        // The owner has answered for its own images, unless it lacks the digest that the client names.
        if !owner_knows && layers.is_empty() {
            layers.insert(NO_DIGEST);
        }
        let lookups = || layers.iter().map(|layer| Lookup::by_digest(layer)).collect::<Vec<_>>();
        let nodes = (0..fleet.nodes().len()).filter(|&node| !layers.is_empty() && !(owner_knows && node == owner.node));
        let wanted: Lookups = nodes.map(|node| (node, lookups())).collect();
        let own = owner_knows.then(|| owner.clone());
        let (answers, headers) = self.ask(asker, &wanted, own, &mut failures).await?;
        let answers = read_all(&answers)?;
        let (mut parts, mut items, mut hidden) = (Vec::new(), Vec::new(), Vec::new());
        let mut partial: Vec<Partial> = Vec::new();
        for (answer, body) in &answers {
            let Some(lookups) = wanted.get(&answer.node) else {
                let (part, own) = self.list(answer, body, &field.key)?;
                parts.push(part);
                items.extend(own);
                continue;
            };
            let (found, candidates): (Vec<_>, Vec<_>) = self.lists(answer, body, lookups)?.into_iter().unzip();
            parts.extend(found);
            let sorted = sort_out(self.direction, &manifests, candidates.into_iter().flatten());
            items.extend(sorted.whole);
            partial.extend(sorted.partial);
            hidden.extend(sorted.hidden);
        }

        // Of an index with some related manifests, more has to be known than what was found of it: the whole …
        let mut wanted = Lookups::new();
        for index in &partial {
            let lookups = wanted.entry(index.node()).or_default();
            if lookups.iter().all(|lookup| lookup.value != index.repository()) {
                lookups.push(Lookup::of_repository(index.repository()));
            }
        }
        let (whole, _) = self.ask(asker, &wanted, None, &mut failures).await?;
        let whole = read_all(&whole)?;
        let mut indexes: BTreeMap<(usize, String), Item> = BTreeMap::new();
        for (answer, body) in &whole {
            let lists = self.lists(answer, body, wanted.get(&answer.node).map_or(&[], Vec::as_slice))?;
            let found = lists.into_iter().flat_map(|(_, items)| items);
            indexes.extend(found.map(|item| ((answer.node, item.name()), item)));
        }
        // … sometimes what it is with the first of them alone …
        let mut wanted = Lookups::new();
        let mut lacking: BTreeMap<usize, Vec<(&Partial, &Item)>> = BTreeMap::new();
        let mut unsure: Vec<(&Partial, &Item, Option<&Item>, Bytes)> = Vec::new();
        for index in &partial {
            let Some(all) = indexes.get(&(index.node(), index.name())) else { continue };
            match self.shown(fleet, index, all, Known::default())? {
                Ok(item) => items.push(item),
                Err(Lacks::Image) => {}
                Err(Lacks::Annotations(bytes)) => unsure.push((index, all, None, bytes)),
                Err(Lacks::First(digest)) => {
                    wanted.entry(index.node()).or_default().push(Lookup::by_digest(&digest));
                    lacking.entry(index.node()).or_default().push((index, all));
                }
            }
        }
        let (alone, _) = self.ask(asker, &wanted, None, &mut failures).await?;
        let alone = read_all(&alone)?;
        let mut firsts: Vec<(&Partial, &Item, Item)> = Vec::new();
        for (answer, body) in &alone {
            let lists = self.lists(answer, body, wanted.get(&answer.node).map_or(&[], Vec::as_slice))?;
            for ((index, all), (_, found)) in lacking.remove(&answer.node).into_iter().flatten().zip(lists) {
                let first = found.into_iter().find(|item| item.name() == index.name());
                firsts.extend(first.map(|first| (index, all, first)));
            }
        }
        for (index, all, first) in &firsts {
            let known = Known { alone: Some(first), ..Known::default() };
            match self.shown(fleet, index, all, known)? {
                Ok(item) => items.push(item),
                Err(Lacks::Annotations(bytes)) => unsure.push((index, all, Some(first), bytes)),
                Err(Lacks::Image | Lacks::First(_)) => {}
            }
        }
        // … and now and then what is said in its bytes.
        let bytes: Vec<Bytes> = unsure.iter().take(MOST_READ).map(|(.., bytes)| bytes.clone()).collect();
        let annotations = annotations::read(asker, &bytes).await?;
        let annotations = annotations.into_iter().map(Annotations::Known);
        for ((index, all, alone, _), annotated) in
            unsure.iter().zip(annotations.chain(std::iter::repeat(Annotations::NotToBeHad)))
        {
            items.extend(self.shown(fleet, index, all, Known { alone: *alone, annotated })?.ok());
        }

        let mut merged = items::put_together(&self.fan_out, |repository| fleet.owner(repository).node, &parts, items);
        merged.hidden.extend(hidden);
        // What is asked for twice fails twice.
        let mut said = BTreeSet::new();
        let errors = answers.iter().chain(&whole).chain(&alone).flat_map(|(_, body)| body.errors.iter().flatten());
        let errors = errors
            .filter(|error| merged.shows_error(&error.message()) && said.insert(error.message().into_owned()))
            .map(|error| error.at_root(&field.key, field.location))
            .collect();
        Ok(Outcome { value: Some(merged.value), errors, headers: Some(headers), refusal: None, failures })
    }

    /// An index as it is shown, or what that lacks.
    fn shown<'a>(
        &self,
        fleet: &Fleet,
        index: &Partial<'a>,
        all: &Item<'a>,
        known: Known<'_, 'a>,
    ) -> Result<Result<Item<'a>, Lacks>, Outcome> {
        index.shown(all, &known, &self.names).map_err(|bad| {
            let node = fleet.nodes().get(index.node()).map(|node| node.name.clone()).unwrap_or_default();
            Outcome::failed(vec![Failure { node, kind: FailureKind::Unusable, cause: bad.to_string() }])
        })
    }

    /// Asks nodes for lists; `own` is what the owner has answered already. What nodes may be missing is in `failures`.
    async fn ask(
        &self,
        asker: &Asker<'_>,
        wanted: &Lookups,
        own: Option<NodeAnswer>,
        failures: &mut Vec<Failure>,
    ) -> Result<(Vec<NodeAnswer>, HeaderMap), Outcome> {
        let documents: Vec<_> = wanted.iter().map(|(node, lookups)| (*node, self.document(lookups))).collect();
        asker.parts(&documents, own, failures).await
    }

    /// The document that asks for lists.
    fn document(&self, lookups: &[Lookup]) -> Upstream {
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
    fn lists<'a>(&self, answer: &NodeAnswer, body: &Body<'a>, lookups: &[Lookup]) -> Result<Lists<'a>, Outcome> {
        (0..lookups.len()).map(|index| self.list(answer, body, &format!("{RESERVED}{index}"))).collect()
    }

    fn list<'a>(
        &self,
        answer: &NodeAnswer,
        body: &Body<'a>,
        key: &str,
    ) -> Result<(NodePart<'a>, Vec<Item<'a>>), Outcome> {
        let result =
            body.data.and_then(|data| member(data, key)).ok_or_else(|| unusable(answer, "a list is missing"))?;
        NodePart::read(&self.fan_out, answer.node, result).map_err(|bad| unusable(answer, &bad.to_string()))
    }

    /// What `onezot explain` prints.
    pub fn explain(&self, f: &mut fmt::Formatter<'_>, fleet: &Fleet) -> fmt::Result {
        let owner = self.owner.candidates(fleet);
        writeln!(f, "  asks:  {}, which has the image", nodes_named(fleet, owner.iter().copied()))?;
        query::explain_upstream(f, &self.fan_out.upstream)?;
        let others = (0..fleet.nodes().len()).filter(|node| !owner.contains(node));
        writeln!(
            f,
            "  asks:  {}, for each layer that a manifest of the image begins with",
            nodes_named(fleet, others)
        )?;
        query::explain_upstream(f, &self.document(&[Lookup::by_digest("<first layer>")]))?;
        writeln!(
            f,
            "  then:  the same nodes for the repositories of indexes of which only some manifests are related"
        )?;
        let which = match self.direction {
            Direction::Derived => "begin with all layers of the image",
            Direction::Base => "are what the layers of the image begin with",
        };
        writeln!(f, "  keeps: images whose layers {which}; of an index the manifests whose layers do")?;
        writeln!(f, "  page:  {}, cut here", self.fan_out.page)
    }
}

/// The answers, read.
fn read_all(answers: &[NodeAnswer]) -> Result<Vec<(&NodeAnswer, Body<'_>)>, Outcome> {
    answers.iter().map(|answer| Ok((answer, read(answer)?))).collect()
}

fn read(answer: &NodeAnswer) -> Result<Body<'_>, Outcome> {
    Body::read(answer).map_err(|error| unusable(answer, &format!("not GraphQL: {error}")))
}

/// A node's errors, as the client's answer.
fn refused(field: &Field, answer: &NodeAnswer, body: &Body) -> Outcome {
    // What onezot asked for besides may have failed, too.
    let of_field = |error: &&Error| error.root().is_none_or(|root| root == field.key);
    let errors = body.errors.iter().flatten().filter(of_field);
    let errors: Vec<String> = errors.map(|error| error.at(field.location)).collect();
    if errors.is_empty() || body.data.is_some() {
        return unusable(answer, "no error");
    }
    Outcome { errors, headers: Some(answer.headers.clone()), ..Outcome::default() }
}

/// An error of onezot's own.
fn error(field: &Field, message: &str, headers: &HeaderMap) -> Outcome {
    let error = json!({"message": message, "path": [field.key], "locations": [field.location]});
    Outcome { errors: vec![answer::go_json(&error)], headers: Some(headers.clone()), ..Outcome::default() }
}

fn unusable(answer: &NodeAnswer, why: &str) -> Outcome {
    Outcome::failed(vec![answer.unusable(why)])
}
