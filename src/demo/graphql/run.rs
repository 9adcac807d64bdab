//! One document under execution: who asks, and what went wrong so far.

use crate::demo::registry::Registry;
use crate::demo::search::{self, Arguments, Call, Failure};
use async_graphql::{Pos, SelectionField, Value};
use parking_lot::Mutex;
use serde::Serialize;
use std::collections::BTreeSet;
use std::sync::Arc;

/// An error as zot writes it: its keys in this order.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Problem {
    /// The text.
    pub message: String,
    /// Where in the answer.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub path: Vec<String>,
    /// Where in the document.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub locations: Vec<Location>,
    /// What kind it is, for errors of requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extensions: Option<Kind>,
}

/// A place in a document.
#[derive(Clone, Debug, Serialize)]
pub struct Location {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

impl From<Pos> for Location {
    fn from(place: Pos) -> Self {
        Self { line: place.line, column: place.column }
    }
}

/// The kind of an error.
#[derive(Clone, Debug, Serialize)]
pub struct Kind {
    /// Its name.
    pub code: &'static str,
}

#[derive(Debug, Default)]
struct Noted {
    problems: Vec<Problem>,
    fatal: bool,
}

/// A document under execution.
#[derive(Debug)]
pub struct Run {
    registry: Arc<Registry>,
    user: String,
    noted: Arc<Mutex<Noted>>,
}

impl Run {
    /// Begins.
    pub fn new(registry: Arc<Registry>, user: &str) -> Self {
        Self { registry, user: user.to_owned(), noted: Arc::default() }
    }

    /// What will have been noted when all is done: the errors, and whether one of them leaves no data at all.
    pub fn ledger(&self) -> impl FnOnce() -> (Vec<Problem>, bool) + Send + 'static {
        let noted = Arc::clone(&self.noted);
        move || {
            let noted = std::mem::take(&mut *noted.lock());
            (noted.problems, noted.fatal)
        }
    }

    /// Answers one query of the document.
    pub fn resolve(
        &self,
        query: &str,
        arguments: Arguments,
        key: &str,
        place: Pos,
        wanted: &BTreeSet<String>,
    ) -> Value {
        let mut remarks = Vec::new();
        let answered = self.registry.with(|state| {
            let call = Call {
                meta: &state.meta,
                access: &self.registry.access,
                cve: self.registry.cve.as_ref(),
                ties: &self.registry.ties,
                user: &self.user,
                wanted,
            };
            search::answer(&call, query, &arguments, &mut remarks)
        });
        let mut noted = self.noted.lock();
        for message in remarks {
            noted.problems.push(Problem { message, path: vec![key.to_owned()], ..Problem::default() });
        }
        match answered {
            Ok(value) => value,
            Err(failure) => {
                let (message, locations) = match failure {
                    Failure::Said(message) => (message, vec![place.into()]),
                    Failure::Panic => ("internal system error".to_owned(), Vec::new()),
                };
                let path = vec![key.to_owned()];
                noted.problems.push(Problem { message, path, locations, ..Problem::default() });
                noted.fatal = true;
                Value::Null
            }
        }
    }

    /// Notes a field without a value although its type demands one. Below a failure that is only its consequence.
    pub fn null_where_none_may_be(&self, path: Vec<String>) {
        let mut noted = self.noted.lock();
        let below = |problem: &Problem| path.starts_with(&problem.path);
        if !noted.problems.iter().any(below) {
            let message = "the requested element is null which the schema does not allow".to_owned();
            noted.problems.push(Problem { message, path, ..Problem::default() });
            noted.fatal = true;
        }
    }
}

/// The paths of all fields below a query, by their names: zot computes some things only if they are asked for
/// (`GetPreloads`).
pub fn wanted(field: SelectionField<'_>) -> BTreeSet<String> {
    let mut paths = BTreeSet::new();
    collect(field, "", &mut paths);
    paths
}

fn collect(field: SelectionField<'_>, above: &str, paths: &mut BTreeSet<String>) {
    for below in field.selection_set() {
        let path = if above.is_empty() { below.name().to_owned() } else { format!("{above}.{}", below.name()) };
        collect(below, &path, paths);
        paths.insert(path);
    }
}
