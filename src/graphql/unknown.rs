//! Queries that the nodes know and the query table does not: those of a zot that is newer than this gateway. They are
//! counted, and each is told once in the log.

use parking_lot::Mutex;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// How many names are kept apart; a node that takes any name does not fill the memory.
const MOST_NAMES: usize = 100;
/// The longest of them (bytes).
const LONGEST_NAME: usize = 128;

/// The counts.
#[derive(Default)]
pub struct UnknownQueries(Mutex<Counts>);

#[derive(Default)]
struct Counts {
    names: BTreeMap<String, u64>,
    others: u64,
}

impl UnknownQueries {
    /// Counts a query that was asked for.
    pub fn note(&self, name: &str, passed: bool) {
        let mut counts = self.0.lock();
        if let Some(count) = counts.names.get_mut(name) {
            *count += 1;
        } else if counts.names.len() < MOST_NAMES && name.len() <= LONGEST_NAME {
            counts.names.insert(name.to_owned(), 1);
            let outcome = if passed { "one node answers it alone" } else { "it is refused" };
            tracing::warn!(query = name, outcome, "a query of the nodes is none that this gateway knows how to merge");
        } else {
            counts.others += 1;
        }
    }

    /// What `/status` shows: how often each was asked for, and those whose names are not kept.
    pub fn status(&self) -> Value {
        let counts = self.0.lock();
        json!({"asked": counts.names, "others": counts.others})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_counted_and_bounded() {
        let unknown = UnknownQueries::default();
        for _ in 0..3 {
            unknown.note("New", false);
        }
        unknown.note(&"x".repeat(1000), false);
        (0..1000).for_each(|i| unknown.note(&format!("q{i}"), true));
        let status = unknown.status();
        assert_eq!(status["asked"]["New"], 3);
        assert_eq!(status["asked"].as_object().unwrap().len(), MOST_NAMES);
        assert_eq!(status["others"], 902);
    }
}
