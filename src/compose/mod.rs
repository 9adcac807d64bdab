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
use crate::graphql::response::data_of;
use crate::graphql::{Outcome, ask_for};
use crate::plan::To;
use crate::query::Planned;
use crate::rules::{Composition, Query, QueryClass};
use crate::scatter::{Ask, Failure, Gathered, NodeAnswer, Scatter};
use std::fmt;
use std::sync::Arc;

/// What is asked for a composed query, and how the answers are put together.
#[derive(Debug)]
pub enum Recipe {
    /// `DerivedImageList`, `BaseImageList`.
    Lineage(Lineage),
    /// `CVEDiffListForImages` of images on two nodes.
    CveDiff(Box<CveDiff>),
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
    /// Whether nodes may be missing.
    pub partial: Partial,
}

impl Asker<'_> {
    /// One node's answer to a document.
    ///
    /// # Errors
    ///
    /// The node's failure.
    pub async fn one(&self, to: &To, document: &Upstream) -> Result<NodeAnswer, Failure> {
        self.scatter.one(to, &ask_for(self.ask, document)).await
    }

    /// The answers of several nodes (by their index), each to a document of its own.
    pub async fn each(&self, documents: &[(usize, Upstream)]) -> Gathered<NodeAnswer> {
        let asks: Vec<(usize, Ask)> =
            documents.iter().map(|(node, document)| (*node, ask_for(self.ask, document))).collect();
        self.scatter.each(&asks, data_of).await
    }
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
