//! Where repositories were found that are not where the placement says, for a while.

use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a place is remembered: as long as somebody else may change it without being seen.
const REMEMBERED_FOR: Duration = Duration::from_secs(60);
/// How long what nodes said counts for what is not there. A push asks for many blobs that are not.
const A_MOMENT: Duration = Duration::from_secs(2);
/// How many are.
const REMEMBERED_MOST: u64 = 100_000;

/// Where a repository is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The index of the node that is asked first.
    pub first: usize,
    /// All nodes that have it, in order; `None` if only the first was asked.
    pub holders: Option<Arc<[usize]>>,
    /// When that was.
    pub since: Instant,
}

impl Place {
    /// The place of a repository that these nodes have, all that do: its owner goes first, if it has it or nobody else.
    pub fn of(holders: Vec<usize>, owner: usize) -> Place {
        let first =
            holders.iter().copied().find(|&holder| holder == owner).or(holders.first().copied()).unwrap_or(owner);
        Place { first, holders: Some(holders.into()), since: Instant::now() }
    }

    /// The place of a repository that its owner has; nobody else has been asked.
    pub fn at(first: usize) -> Place {
        Place { first, holders: None, since: Instant::now() }
    }

    /// All nodes that have it, if they were asked a moment ago: what one of them lacks now, no other has.
    pub fn holders_now(&self) -> Option<Arc<[usize]>> {
        self.holders.clone().filter(|_| self.since.elapsed() < A_MOMENT)
    }
}

/// The places that are remembered.
#[derive(Debug, Clone)]
pub struct Places(moka::sync::Cache<String, Place>);

impl Default for Places {
    fn default() -> Places {
        Places(moka::sync::Cache::builder().max_capacity(REMEMBERED_MOST).time_to_live(REMEMBERED_FOR).build())
    }
}

impl Places {
    pub(super) fn get(&self, repository: &str) -> Option<Place> {
        self.0.get(repository)
    }

    pub(super) fn insert(&self, repository: &str, place: Place) {
        self.0.insert(repository.to_owned(), place);
    }

    pub(super) fn remove(&self, repository: &str) {
        self.0.invalidate(repository);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owner_goes_first_if_it_has_it_or_nobody_does() {
        let first = |holders: &[usize]| Place::of(holders.to_vec(), 1).first;
        assert_eq!([first(&[0, 1, 2]), first(&[0, 2]), first(&[2]), first(&[])], [1, 0, 2, 1]);
    }
}
