//! Tags that are one image on one node and another one on another: the owner's counts. They are counted, and each is told
//! once in the log: somebody pushed past the gateway, or a copy was left behind.

use parking_lot::Mutex;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// How many are told apart.
const MOST_TAGS: usize = 10_000;
/// How many of them `/status` names.
const MOST_SHOWN: usize = 20;

/// The tags, and how often one was met.
#[derive(Debug, Default)]
pub struct Conflicts(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    tags: BTreeSet<String>,
    met: u64,
}

impl Conflicts {
    /// Notes a tag that is another image on the node of this name than on the one whose word counts.
    pub fn note(&self, repository: &str, tag: &str, node: &str) {
        let mut seen = self.0.lock();
        seen.met += 1;
        if seen.tags.len() < MOST_TAGS && seen.tags.insert(format!("{repository}:{tag}")) {
            tracing::warn!(repository, tag, node, "a tag is another image on this node; that of the owner counts");
        }
    }

    /// What `/status` shows.
    pub fn status(&self) -> Value {
        let seen = self.0.lock();
        let shown: Vec<&String> = seen.tags.iter().take(MOST_SHOWN).collect();
        json!({"met": seen.met, "tags": seen.tags.len(), "such_as": shown})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_told_apart_and_bounded() {
        let conflicts = Conflicts::default();
        (0..3).for_each(|_| conflicts.note("lib", "1", "zot-1"));
        (0..20_000).for_each(|tag| conflicts.note("lib", &format!("t{tag}"), "zot-1"));
        let status = conflicts.status();
        assert_eq!((&status["met"], &status["tags"]), (&json!(20_003), &json!(MOST_TAGS)));
        assert_eq!(status["such_as"].as_array().unwrap().len(), MOST_SHOWN);
    }
}
