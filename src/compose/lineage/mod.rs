//! `DerivedImageList` and `BaseImageList`: images on all nodes that are built from an image, or that it is built from.
//!
//! Images are related when the layers of one begin with those of the other. No node sees that of images on other nodes,
//! and a node that lacks the named image answers an error. So its owner is asked for what it knows, for its errors and
//! for the layers of the image; the others for images that have one of its first layers, which all relations have; and
//! which of these are related is decided here. The number of requests depends on the number of nodes only.

mod annotations;
mod errors;
mod lists;
mod related;
mod subject;
mod update_time;

use super::{Asker, Composed, Recipe, Settled, failed, failed_all, nodes_named};
use crate::answer;
use crate::document::{Field, Operation, Root, Unplannable, Upstream, selected};
use crate::fleet::Fleet;
use crate::graphql::response::{Body, Error};
use crate::graphql::{Outcome, copies};
use crate::items::{self, Item, Named, NodePart};
use crate::page::ListPage;
use crate::plan::To;
use crate::query::{self, FanOut, Planned, hidden_field};
use crate::rules::{Direction, Query};
use crate::scatter::{Failure, FailureKind, NodeAnswer};
use annotations::{Bytes, MOST_READ};
use http::HeaderMap;
use lists::{Lookup, Lookups, MOST_LISTS, Read, read, read_all, unusable};
use related::{Annotations, Lacks, Partial, Sorted, sort_out};
use serde_json::json;
use std::collections::BTreeSet;
use std::fmt;
use std::iter::repeat;
use std::sync::Arc;
use subject::Subjects;

/// An id that no digest contains.
const NO_DIGEST: &str = "-";

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
    Ok(Composed::Recipe(Recipe::Lineage(Box::new(Lineage {
        direction,
        owner: owner.clone(),
        operation: operation.clone(),
        digest,
        bad_page,
        fan_out,
        names,
    }))))
}

/// An index, the whole of it, and what it is with the first of the related manifests alone, if that had to be asked.
type Seen<'k, 'a> = (&'k Partial<'a>, &'k Item<'a>, Option<&'k Item<'a>>);

/// What the nodes have of the relations.
#[derive(Default)]
struct Relations<'a> {
    /// The results that were read, for what they have beside their lists.
    parts: Vec<NodePart<'a>>,
    /// Related images, as they are shown.
    items: Vec<Item<'a>>,
    /// Indexes of which more has to be known.
    partial: Vec<Partial<'a>>,
    /// What is not shown, as far as errors may speak of it.
    hidden: Vec<Named>,
}

impl Lineage {
    /// Asks the nodes, and puts together what they say.
    pub async fn answer(&self, asker: &Asker<'_>, planned: &Planned) -> Outcome {
        self.composed(asker, &planned.field).await.unwrap_or_else(|outcome| *outcome)
    }

    async fn composed(&self, asker: &Asker<'_>, field: &Field) -> Settled<Outcome> {
        let fleet = asker.scatter.fleet();
        let mut failures = Vec::new();
        let owner = asker.one(&self.owner, &self.fan_out.upstream).await.map_err(failed)?;
        let subjects = self.subjects(asker, field, &owner, &mut failures).await?;
        if let Some(document) = &self.bad_page {
            let said = asker.one(&self.owner, document).await.map_err(failed)?;
            return Err(refused(field, &said, &read(&said)?));
        }
        let wanted = by_first_layer(&subjects, owner.node, fleet.nodes().len());
        let own = subjects.owner_knows.then(|| owner.clone());
        let (answers, headers) = self.ask(asker, &wanted, own, &mut failures).await?;
        if answers.is_empty() {
            return Err(failed_all(failures));
        }
        let answers = read_all(&answers)?;
        let mut relations = self.relations(field, &subjects, &wanted, &answers)?;

        // Of an index with some related manifests, more has to be known than what was found of it: the whole …
        let partial = std::mem::take(&mut relations.partial);
        let mut wanted = Lookups::default();
        for index in &partial {
            wanted.add(index.node(), Lookup::of_repository(index.repository()));
        }
        let wanted = wanted.bounded();
        let (whole, _) = self.ask(asker, &wanted, None, &mut failures).await?;
        let whole = read_all(&whole)?;
        let indexes = self.named(&wanted, &whole)?;
        let mut firsts_wanted = Lookups::default();
        let mut unsure: Vec<(Seen, Bytes)> = Vec::new();
        let mut lacking: Vec<(&Partial, &Item, String)> = Vec::new();
        for index in &partial {
            let whole = indexes.get(&index.found_by(index.repository()));
            let Some(whole) = whole.or_else(|| indexes.get(&index.found_by(""))) else { continue };
            match self.shown(fleet, (index, whole, None), Annotations::Unknown)? {
                Ok(item) => relations.items.push(item),
                Err(Lacks::Image) => {}
                Err(Lacks::First(digest)) if firsts_wanted.count(index.node()) < MOST_LISTS => {
                    firsts_wanted.add(index.node(), Lookup::by_digest(&digest));
                    lacking.push((index, whole, digest));
                }
                Err(Lacks::First(_)) => {
                    let annotated = Annotations::NotToBeHad;
                    relations.items.extend(self.shown(fleet, (index, whole, None), annotated)?.ok());
                }
                Err(Lacks::Annotations(bytes)) => unsure.push(((index, whole, None), bytes)),
            }
        }
        // … sometimes what it is with the first of them alone …
        let (alone, _) = self.ask(asker, &firsts_wanted, None, &mut failures).await?;
        let alone = read_all(&alone)?;
        let firsts = self.named(&firsts_wanted, &alone)?;
        for (index, whole, digest) in &lacking {
            let Some(first) = firsts.get(&index.found_by(digest)) else { continue };
            match self.shown(fleet, (index, whole, Some(first)), Annotations::Unknown)? {
                Ok(item) => relations.items.push(item),
                Err(Lacks::Annotations(bytes)) => unsure.push(((index, whole, Some(first)), bytes)),
                Err(Lacks::Image | Lacks::First(_)) => {}
            }
        }
        // … and now and then what is said in its bytes.
        let bytes = unsure.iter().take(MOST_READ).map(|(_, bytes)| bytes);
        let annotations = annotations::read(asker, bytes).await.into_iter();
        let annotations = annotations.map(|said| said.map_or(Annotations::NotToBeHad, Annotations::Known));
        for ((seen, _), annotated) in unsure.iter().zip(annotations.chain(repeat(Annotations::NotToBeHad))) {
            relations.items.extend(self.shown(fleet, *seen, annotated)?.ok());
        }

        let Relations { parts, items, hidden, .. } = relations;
        let items = copies::without_stale(asker, items).await.map_err(failed_all)?;
        let owner = |repository: &str| fleet.owner(repository).node;
        let mut merged = items::put_together(&self.fan_out, owner, &parts, items, None);
        let value = Some(std::mem::take(&mut merged.value));
        let errors = self.errors(field, &subjects, &[&answers, &whole, &alone], merged, hidden);
        Ok(Outcome { value, errors, headers: Some(headers), refusal: None, failures })
    }

    /// What the owner says of its own images, and what of the images with the layers elsewhere is related.
    fn relations<'a>(
        &self,
        field: &Field,
        subjects: &Subjects,
        wanted: &Lookups,
        answers: &[Read<'a>],
    ) -> Settled<Relations<'a>> {
        let mut relations = Relations::default();
        for (answer, body) in answers {
            let Some(lookups) = wanted.of(answer.node) else {
                let (part, own) = self.list(answer, body, &field.key)?;
                relations.parts.push(part);
                relations.items.extend(own);
                continue;
            };
            let (parts, candidates): (Vec<_>, Vec<_>) = self.lists(answer, body, lookups)?.into_iter().unzip();
            let Sorted { whole, partial, hidden } =
                sort_out(self.direction, &subjects.manifests, candidates.into_iter().flatten());
            relations.parts.extend(parts);
            relations.items.extend(whole);
            relations.partial.extend(partial);
            relations.hidden.extend(hidden);
        }
        Ok(relations)
    }

    /// An index as it is shown, or what that lacks.
    fn shown<'a>(
        &self,
        fleet: &Fleet,
        (index, whole, alone): Seen<'_, 'a>,
        annotated: Annotations,
    ) -> Settled<Result<Item<'a>, Lacks>> {
        index.shown(whole, alone, annotated, &self.names).map_err(|bad| {
            let node = fleet.nodes().get(index.node()).map(|node| node.name.clone()).unwrap_or_default();
            failed(Failure { node, kind: FailureKind::Unusable, cause: bad.to_string() })
        })
    }

    /// The owner of the named image.
    pub fn owner(&self) -> &To {
        &self.owner
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

/// What the nodes are asked for: images with the layers that the manifests of the image begin with. The owner has answered
/// for its own images, unless it lacks the digest that the client names.
fn by_first_layer(subjects: &Subjects, owner: usize, nodes: usize) -> Lookups {
    let first = subjects.manifests.iter().filter_map(|manifest| manifest.layers.first());
    let mut layers: BTreeSet<&str> = first.map(String::as_str).collect();
    if layers.is_empty() && !subjects.owner_knows {
        layers.insert(NO_DIGEST);
    }
    let mut wanted = Lookups::default();
    for node in (0..nodes).filter(|&node| node != owner || !subjects.owner_knows) {
        for layer in &layers {
            wanted.add(node, Lookup::by_digest(layer));
        }
    }
    wanted.bounded()
}

/// A node's errors, as the client's answer.
fn refused(field: &Field, answer: &NodeAnswer, body: &Body) -> Box<Outcome> {
    // What onezot asked for besides may have failed, too.
    let of_field = |error: &&Error| error.root().is_none_or(|root| root == field.key);
    let errors = body.errors.iter().flatten().filter(of_field);
    let errors: Vec<String> = errors.map(|error| error.at(field.location)).collect();
    if errors.is_empty() || body.data.is_some() {
        return unusable(answer, "no error");
    }
    Box::new(Outcome { errors, headers: Some(answer.headers.clone()), ..Outcome::default() })
}

/// An error of onezot's own.
fn error(field: &Field, message: &str, headers: &HeaderMap) -> Box<Outcome> {
    let error = json!({"message": message, "path": [field.key], "locations": [field.location]});
    Box::new(Outcome { errors: vec![answer::go_json(&error)], headers: Some(headers.clone()), ..Outcome::default() })
}
