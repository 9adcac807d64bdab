//! Queries that no fan-out answers: several requests, whose answers are put together by rules of the query's own.
//!
//! Each file has one query, or two that are one: what is asked is planned without I/O, what comes of the answers is
//! computed without I/O, and one function in between asks the nodes.

mod cve_diff;
mod lineage;

pub use cve_diff::CveDiff;
pub use lineage::Lineage;

use crate::config::Partial;
use crate::document::{Field, Operation, Unplannable, Upstream};
use crate::fleet::Fleet;
use crate::graphql::response::{data_of, is_absence};
use crate::graphql::{Outcome, ask_for};
use crate::plan::To;
use crate::query::Planned;
use crate::rules::{Composition, Query, QueryClass};
use crate::scatter::{Ask, Failure, NodeAnswer, Scatter, Verdict};
use http::{HeaderMap, Method};
use std::fmt;
use std::sync::Arc;

/// What is asked for a composed query, and how the answers are put together.
#[derive(Debug)]
pub enum Recipe {
    /// `DerivedImageList`, `BaseImageList`.
    Lineage(Box<Lineage>),
    /// `CVEDiffListForImages` of images on two nodes.
    CveDiff(Box<CveDiff>),
}

impl Recipe {
    /// The owners of the repositories that the field names.
    pub fn owners(&self) -> Vec<&To> {
        match self {
            Recipe::Lineage(lineage) => vec![lineage.owner()],
            Recipe::CveDiff(diff) => diff.owners().to_vec(),
        }
    }
}

/// What a field that names a repository comes to.
pub enum Composed {
    /// One node knows all of it.
    OneNode,
    /// Only an error can be the answer, and the one node words it; why onezot thinks so.
    MustFail(String),
    /// Several nodes have a part in it.
    Recipe(Recipe),
}

/// Plans a field that names a repository, whose owner is `owner`.
///
/// # Errors
///
/// The document is out of bounds.
pub fn plan(
    fleet: &Fleet,
    operation: &Arc<Operation>,
    field: &Field,
    row: &'static Query,
    owner: &To,
) -> Result<Composed, Unplannable> {
    let QueryClass::Composed(composition) = row.class else { return Ok(Composed::OneNode) };
    if fleet.nodes().len() == 1 {
        return Ok(Composed::OneNode);
    }
    match composition {
        Composition::Lineage(direction) => lineage::plan(operation, field, row, owner, direction),
        Composition::CveDiff { subtrahend } => cve_diff::plan(fleet, operation, field, owner, subtrahend),
    }
}

/// Asks the nodes, and puts together what they say.
pub async fn answer(asker: &Asker<'_>, planned: &Planned, recipe: &Recipe) -> Outcome {
    match recipe {
        Recipe::Lineage(lineage) => lineage.answer(asker, planned).await,
        Recipe::CveDiff(diff) => diff.answer(asker, planned).await,
    }
}

/// Asks nodes on behalf of one client.
pub struct Asker<'a> {
    /// The fan-out client.
    pub scatter: &'a Scatter,
    /// The client's request.
    pub ask: &'a Ask,
}

impl Asker<'_> {
    /// One node's answer to a document. Of those that have a repository, it is the first that has what is asked for.
    ///
    /// # Errors
    ///
    /// The node's failure.
    pub async fn one(&self, to: &To, document: &Upstream) -> Result<NodeAnswer, Failure> {
        let ask = ask_for(self.ask, document);
        let holders = match to {
            To::Owner { repository, .. } => self.scatter.fleet().split(repository),
            To::Any => None,
        };
        let Some(holders) = holders else { return self.scatter.one(to, &ask).await };
        let mut lacking = None;
        for &node in holders.iter() {
            let answer = self.scatter.sound(node, &ask).await?;
            if !is_absence(&answer) {
                return Ok(answer);
            }
            lacking.get_or_insert(answer);
        }
        match lacking {
            Some(answer) => Ok(answer),
            None => self.scatter.one(to, &ask).await,
        }
    }

    /// What a node has at a path, read as the client.
    ///
    /// # Errors
    ///
    /// The node's failure.
    pub async fn get(&self, node: usize, path: &str) -> Result<NodeAnswer, Failure> {
        self.scatter.at(node, &self.ask.without_body(Method::GET, path.to_owned())).await
    }

    /// The answers of several nodes (by their index), each to a document of its own, and the header of the first. `known`
    /// is what another node has answered before. Nodes that may be missing are added to `failures`.
    ///
    /// # Errors
    ///
    /// What is missing may not be.
    pub async fn parts(
        &self,
        documents: &[(usize, Upstream)],
        known: Option<NodeAnswer>,
        failures: &mut Vec<Failure>,
    ) -> Settled<(Vec<NodeAnswer>, HeaderMap)> {
        if documents.is_empty() && known.is_none() {
            return Ok((Vec::new(), HeaderMap::new()));
        }
        let asks: Vec<(usize, Ask)> =
            documents.iter().map(|(node, document)| (*node, ask_for(self.ask, document))).collect();
        let known_is_none = known.is_none();
        let mut gathered = self.scatter.each(&asks, data_of).await;
        if let Some(known) = known {
            gathered = gathered.with(self.scatter.fleet(), known);
        }
        let is_later = known_is_none && self.ask.terms.partial == Partial::Warn;
        match gathered.judge(self.ask.terms.partial) {
            // What was answered in earlier steps is there.
            Verdict::Failed(missing) if is_later && !missing.iter().any(|failure| failure.kind.is_want_of_room()) => {
                failures.extend(missing);
                Ok((Vec::new(), HeaderMap::new()))
            }
            Verdict::Parts { parts, headers, failures: missing } => {
                let is_new = |failure: &Failure| failures.iter().all(|known| known.node != failure.node);
                let missing: Vec<Failure> = missing.into_iter().filter(is_new).collect();
                failures.extend(missing);
                Ok((parts, headers))
            }
            Verdict::Refused(refusal) => Err(Box::new(Outcome { refusal: Some(refusal), ..Outcome::default() })),
            Verdict::Failed(missing) => Err(failed_all(missing)),
        }
    }
}

/// What a step comes to, or the outcome that settles the field before all steps are made.
pub type Settled<T> = Result<T, Box<Outcome>>;

/// The outcome when a node fails.
pub fn failed(failure: Failure) -> Box<Outcome> {
    failed_all(vec![failure])
}

/// The outcome when nodes fail.
pub fn failed_all(failures: Vec<Failure>) -> Box<Outcome> {
    Box::new(Outcome::failed(failures))
}

/// The names of nodes, as `onezot explain` prints them.
fn nodes_named(fleet: &Fleet, nodes: impl Iterator<Item = usize>) -> String {
    let names = nodes.filter_map(|node| fleet.nodes().get(node)).map(|node| node.name.as_str());
    names.collect::<Vec<_>>().join(", ")
}

/// A recipe with all that its text needs.
pub struct Explained<'a> {
    /// The recipe.
    pub recipe: &'a Recipe,
    /// The fleet that it was made for.
    pub fleet: &'a Fleet,
}

impl fmt::Display for Explained<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.recipe {
            Recipe::Lineage(lineage) => lineage.explain(f, self.fleet),
            Recipe::CveDiff(diff) => diff.explain(f, self.fleet),
        }
    }
}
