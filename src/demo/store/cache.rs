//! zot's deduplication cache: where a blob can be linked from (`pkg/storage/cache/boltdb.go`).
//!
//! It is not told when a blob is deleted: zot looks the blob up by its whole path there, and the cache has relative ones.
//! So a deleted blob is found missing by whoever asks for it next, and only then forgotten; that one gets nothing, although
//! another repository may have the blob.

use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Debug)]
struct Record {
    /// Where it is linked from.
    origin: String,
    /// Where else it is, or was: the paths, since their order decides who is next.
    places: BTreeSet<String>,
}

/// Where blobs are, or were when they were last seen, by digest.
#[derive(Clone, Debug, Default)]
pub struct Cache(BTreeMap<String, Record>);

fn place(repository: &str) -> String {
    format!("{repository}/blobs")
}

fn repository(place: &str) -> &str {
    place.strip_suffix("/blobs").unwrap_or(place)
}

impl Cache {
    /// The repository from which a blob is linked.
    pub fn origin(&self, digest: &str) -> Option<&str> {
        self.0.get(digest).map(|record| repository(&record.origin))
    }

    /// All repositories that have a blob, or had it.
    pub fn holders(&self, digest: &str) -> impl Iterator<Item = &str> {
        self.0.get(digest).into_iter().flat_map(|record| record.places.iter().map(|place| repository(place)))
    }

    /// Notes that a repository has a blob.
    pub fn note(&mut self, digest: &str, name: &str) {
        let place = place(name);
        let new = || Record { origin: place.clone(), places: BTreeSet::new() };
        self.0.entry(digest.to_owned()).or_insert_with(new).places.insert(place);
    }

    /// Forgets that a repository has a blob; if it was linked from there, another place is next.
    pub fn forget(&mut self, digest: &str, name: &str) {
        let Some(record) = self.0.get_mut(digest) else { return };
        let place = place(name);
        record.places.remove(&place);
        if record.origin != place {
            return;
        }
        match record.places.first() {
            Some(next) => record.origin.clone_from(next),
            None => drop(self.0.remove(digest)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_place_is_the_first_by_path() {
        let mut cache = Cache::default();
        for name in ["one-more", "one/two", "one"] {
            cache.note("d", name);
        }
        assert_eq!(cache.origin("d"), Some("one-more"));
        assert_eq!(cache.holders("d").count(), 3);
        cache.forget("d", "one-more");
        assert_eq!(cache.origin("d"), Some("one"));
        cache.forget("d", "one");
        cache.forget("d", "one/two");
        assert_eq!(cache.origin("d"), None);
    }
}
