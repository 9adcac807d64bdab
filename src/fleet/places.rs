//! Where repositories were found that are not where the placement says, for a while.

use std::collections::HashMap;
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
    /// All nodes that have it, the first one first and then in order; `None` if only the first was asked.
    pub holders: Option<Arc<[usize]>>,
    /// When that was.
    pub since: Instant,
}

impl Place {
    /// The place of a repository that these nodes have, all that do: its owner goes first, if it has it or nobody else.
    pub fn of(holders: Vec<usize>, owner: usize) -> Place {
        let holders = ranked(holders, owner);
        Place { first: holders.first().copied().unwrap_or(owner), holders: Some(holders.into()), since: Instant::now() }
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

/// The nodes that have a repository, in the order in which their word counts: its owner's, and then in order.
pub fn ranked(mut holders: Vec<usize>, owner: usize) -> Vec<usize> {
    holders.sort_by_key(|&holder| (holder != owner, holder));
    holders
}

/// The repositories that lie on several nodes, as far as a client may read them: the nodes of each, ranked.
#[derive(Debug, Default)]
pub struct Survey(pub HashMap<String, Vec<usize>>);

/// For how many clients that is remembered.
const SURVEYS_MOST: u64 = 1000;

/// The places that are remembered.
#[derive(Debug, Clone)]
pub struct Places(moka::sync::Cache<String, Place>, moka::sync::Cache<Option<u64>, Arc<Survey>>);

impl Default for Places {
    fn default() -> Places {
        let places = moka::sync::Cache::builder().max_capacity(REMEMBERED_MOST).time_to_live(REMEMBERED_FOR).build();
        let surveys = moka::sync::Cache::builder().max_capacity(SURVEYS_MOST).time_to_live(REMEMBERED_FOR).build();
        Places(places, surveys)
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

    /// What lies on several nodes for the client with these credentials.
    pub(super) fn survey(&self, credentials: Option<u64>) -> Option<Arc<Survey>> {
        self.1.get(&credentials)
    }

    pub(super) fn surveyed(&self, credentials: Option<u64>, survey: Arc<Survey>) {
        self.1.insert(credentials, survey);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owner_goes_first_if_it_has_it_or_nobody_does() {
        let first = |holders: &[usize]| Place::of(holders.to_vec(), 1).first;
        assert_eq!([first(&[0, 1, 2]), first(&[0, 2]), first(&[2]), first(&[])], [1, 0, 2, 1]);
        assert_eq!(ranked(vec![0, 1, 2], 1), [1, 0, 2]);
    }
}
