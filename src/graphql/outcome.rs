//! What becomes of a root field of a document.

use super::response::{Body, is_invalid, member, refusal_kind};
use crate::query::Planned;
use crate::scatter::{Failure, NodeAnswer};
use http::{HeaderMap, StatusCode};
use std::collections::HashMap;

/// What became of a root field.
#[derive(Default)]
pub struct Outcome {
    /// Its value, as JSON; `None` if there is no data.
    pub value: Option<String>,
    /// Its errors, as JSON, with the client's locations.
    pub errors: Vec<String>,
    /// The header of the (first) answer.
    pub headers: Option<HeaderMap>,
    /// An answer that is the answer to the whole request.
    pub refusal: Option<NodeAnswer>,
    /// Nodes that failed.
    pub failures: Vec<Failure>,
}

impl Outcome {
    /// Nodes failed, and there is nothing to show.
    pub fn failed(failures: Vec<Failure>) -> Outcome {
        Outcome { failures, ..Outcome::default() }
    }

    /// The outcome of a field of a document that a node has found valid, variables and all. Another node that does not is of
    /// another version: it fails, and its words are not the client's answer.
    pub fn of_valid(self) -> Outcome {
        match self.refusal {
            Some(refusal) if is_invalid(refusal.status) => {
                let failure =
                    Failure { kind: refusal_kind(&refusal), ..refusal.unusable("it finds the document invalid") };
                tracing::warn!(node = failure.node, kind = %failure.kind, "a node finds invalid what another takes");
                Outcome::failed(vec![failure])
            }
            _ => self,
        }
    }
}

/// The outcome of a field that one node answered.
pub fn one_field(planned: &Planned, answered: NodeAnswer) -> Outcome {
    if answered.status != StatusCode::OK {
        return Outcome { refusal: Some(answered), ..Outcome::default() };
    }
    let Ok(body) = Body::read(&answered) else {
        return Outcome::failed(vec![answered.unusable("not GraphQL")]);
    };
    let errors = body.errors.unwrap_or_default();
    let value = body.data.and_then(|data| member(data, &planned.field.key)).map(|value| value.get().to_owned());
    if value.is_none() && errors.is_empty() {
        return Outcome::failed(vec![answered.unusable("neither data nor errors")]);
    }
    let errors = errors.iter().map(|error| error.at(planned.field.location)).collect();
    Outcome { value, errors, headers: Some(answered.headers.clone()), ..Outcome::default() }
}

/// The errors of several nodes. What two nodes say of copies of one image, one zot says of the one.
pub fn each_node_once(nodes: impl Iterator<Item = Vec<String>>) -> Vec<String> {
    let mut said: Vec<String> = Vec::new();
    for errors in nodes {
        let mut before: HashMap<&str, usize> = HashMap::new();
        said.iter().for_each(|error| *before.entry(error).or_default() += 1);
        let new = errors.iter().filter(|error| match before.get_mut(error.as_str()) {
            Some(left) if *left > 0 => {
                *left -= 1;
                false
            }
            _ => true,
        });
        let new: Vec<String> = new.cloned().collect();
        said.extend(new);
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_several_nodes_say_is_said_as_often_as_one_says_it() {
        let nodes = [vec!["a", "b", "a"], vec!["a", "c"], vec!["a", "a", "a", "c"]];
        let nodes = nodes.map(|errors| errors.into_iter().map(str::to_owned).collect());
        assert_eq!(each_node_once(nodes.into_iter()), ["a", "b", "a", "c", "a"]);
    }
}
