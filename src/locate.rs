//! Finding repositories that are not where the placement says: fleets are older than their gateway, and get resized.
//!
//! Who is asked first is always the node where a repository was found last, or else its owner by the placement. Only when
//! that one does not have it, all others are asked, at once, and with reads that change nothing (`tags/list`, and a plain
//! GET of a blob; a HEAD of a blob, or a GET of a part of one, makes a zot link the blob, and a GET of a manifest may make
//! it fetch one). A node that cannot be asked may have it: that is a failure, and no absence.

use crate::config::Partial;
use crate::digest::BlobDigest;
use crate::fleet::{Place, Survey, ranked};
use crate::path::is_repository_name;
use crate::scatter::{Ask, Failure, FailureKind, NodeAnswer, Reply, Scatter};
use futures::future::{join_all, try_join_all};
use http::header::LINK;
use http::{Method, StatusCode};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// The path of a catalog.
const CATALOG: &str = "/v2/_catalog";
/// How many pages of tags are looked through on one node.
const MOST_PAGES: usize = 1000;

/// What is looked for in a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sought {
    /// The repository itself.
    Repository,
    /// A tag of it.
    Tag(String),
    /// A manifest or blob of it.
    Digest(String),
}

impl Sought {
    /// What a reference is: a digest has a colon, which no tag has.
    pub fn reference(reference: &str) -> Sought {
        if reference.contains(':') { Sought::Digest(reference.to_owned()) } else { Sought::Tag(reference.to_owned()) }
    }
}

/// Finds repositories on behalf of one client.
pub struct Locator<'a> {
    /// The fan-out client.
    pub scatter: &'a Scatter,
    /// The client's request; what it proves itself with goes to the nodes.
    pub ask: &'a Ask,
}

impl Locator<'_> {
    /// Makes sure that the fleet knows where a repository is, as far as anybody has it: a new one is its owner's.
    ///
    /// # Errors
    ///
    /// A node failed that may have it.
    pub async fn place(&self, repository: &str) -> Result<(), Failure> {
        let fleet = self.scatter.fleet();
        if !fleet.locates() || !is_repository_name(repository) || fleet.place(repository).is_some() {
            return Ok(());
        }
        let owner = fleet.owner(repository).node;
        match self.has(owner, repository, &Sought::Repository).await? {
            Some(true) => fleet.remember(repository, Place::at(owner)),
            Some(false) => drop(self.whole(repository, owner, Some(false)).await?),
            // This client may not know, as the owner will say; others may.
            None => {}
        }
        Ok(())
    }

    /// Makes sure that the fleet knows all nodes that have a repository: of one that lies on several, each has a part in
    /// its lists.
    ///
    /// # Errors
    ///
    /// A node failed that may have it.
    pub async fn places(&self, repository: &str) -> Result<(), Failure> {
        if self.is_to_be_found(repository) {
            self.whole(repository, self.scatter.fleet().placed(repository).node, None).await?;
        }
        Ok(())
    }

    /// The same for several. Credentials that no node has accepted lately are tried at one node: when that one refuses
    /// them, nobody else is asked.
    ///
    /// # Errors
    ///
    /// A node failed that may have one of them.
    pub async fn all_places(&self, repositories: &BTreeSet<String>) -> Result<(), Failure> {
        let mut wanted = repositories.iter().filter(|repository| self.is_to_be_found(repository));
        if !self.scatter.accepts(&self.ask.headers)
            && let Some(first) = wanted.next()
        {
            self.places(first).await?;
            if !self.scatter.accepts(&self.ask.headers) {
                return Ok(());
            }
        }
        try_join_all(wanted.map(|repository| self.places(repository))).await.map(drop)
    }

    /// Whether it is not known which nodes have a repository.
    fn is_to_be_found(&self, repository: &str) -> bool {
        let fleet = self.scatter.fleet();
        let is_known = || fleet.place(repository).is_some_and(|place| place.holders.is_some());
        fleet.locates() && is_repository_name(repository) && !is_known()
    }

    /// All places of a repository, which the fleet remembers if this client may know them all. The owner may have said
    /// whether it has it.
    async fn whole(&self, repository: &str, owner: usize, said: Option<bool>) -> Result<Arc<[usize]>, Failure> {
        let sought = &Sought::Repository;
        // Credentials that no node has accepted lately are tried at one.
        let owner_has = match said.is_some() || self.scatter.accepts(&self.ask.headers) {
            true => said,
            false => match self.has(owner, repository, sought).await? {
                None => return Ok(Arc::default()),
                has => {
                    self.scatter.accept(&self.ask.headers);
                    has
                }
            },
        };
        let nodes = 0..self.scatter.fleet().nodes().len();
        let found = join_all(nodes.map(|node| async move {
            match owner_has {
                Some(has) if node == owner => Ok(Some(has)),
                _ => self.has(node, repository, sought).await,
            }
        }));
        let found = found.await.into_iter().collect::<Result<Vec<_>, _>>()?;
        let holders = (0..found.len()).filter(|&node| found[node] == Some(true)).collect();
        let place = Place::of(holders, owner);
        let holders = place.holders.clone().unwrap_or_default();
        if found.iter().all(Option::is_some) {
            self.scatter.fleet().remember(repository, place);
        }
        Ok(holders)
    }

    /// Where it is, if not on `node`, which does not have it; or who has the word on what is missing.
    ///
    /// # Errors
    ///
    /// A node failed that may have it.
    pub async fn elsewhere(&self, repository: &str, sought: &Sought, node: usize) -> Result<Option<usize>, Failure> {
        let fleet = self.scatter.fleet();
        // Where it was found, it is no more; that nobody has it was asked a moment ago.
        let is_gone = |place: &Place| {
            *sought == Sought::Repository
                && place.first == node
                && place.holders.as_ref().is_none_or(|of| !of.is_empty())
        };
        let known = fleet.place(repository).filter(|place| !is_gone(place));
        let holders = match known.and_then(|place| place.holders_now()) {
            Some(holders) => holders,
            None => self.whole(repository, fleet.placed(repository).node, None).await?,
        };
        let others: Vec<usize> = holders.iter().copied().filter(|&holder| holder != node).collect();
        if *sought == Sought::Repository {
            return Ok(others.first().copied());
        }
        // What is no digest is nowhere.
        let is_none = matches!(sought, Sought::Digest(digest) if BlobDigest::parse(digest).is_none());
        let asked: &[usize] = if is_none { &[] } else { &others };
        let found = join_all(asked.iter().map(|&other| self.has(other, repository, sought))).await;
        let mut failure = None;
        for (&other, found) in asked.iter().zip(found) {
            match found {
                Ok(Some(true)) => {
                    tracing::debug!(repository, ?sought, node = fleet.name(other), "found elsewhere");
                    return Ok(Some(other));
                }
                Ok(_) => {}
                Err(error) => drop(failure.get_or_insert(error)),
            }
        }
        // That it is nowhere is said by a node that has the repository, in other words than by one that does not.
        let speaks = if holders.contains(&node) { None } else { others.first().copied() };
        failure.map_or(Ok(speaks), Err)
    }

    /// What lies on several nodes, by their catalogs. Of nodes that may be missing, nothing is known.
    ///
    /// # Errors
    ///
    /// Nodes failed that may not.
    pub async fn survey(&self, partial: Partial) -> Result<Arc<Survey>, Vec<Failure>> {
        let fleet = self.scatter.fleet();
        let credentials = self.scatter.credentials(&self.ask.headers);
        if let Some(survey) = fleet.survey(credentials) {
            return Ok(survey);
        }
        let (mut holders, mut failures) = (HashMap::<String, Vec<usize>>::new(), Vec::new());
        let replies = self.scatter.catalogs(&self.read(CATALOG.to_owned())).await.into_replies();
        for (node, reply) in replies.enumerate() {
            match reply {
                Ok(Reply::Part(names, _)) => {
                    names.into_iter().for_each(|name| holders.entry(name).or_default().push(node));
                }
                Ok(Reply::Refusal(answer)) => failures.push(answer.unusable("no catalog")),
                Err(failure) => failures.push(failure),
            }
        }
        holders.retain(|_, nodes| nodes.len() > 1);
        for (name, nodes) in &mut holders {
            *nodes = ranked(std::mem::take(nodes), fleet.placed(name).node);
        }
        let survey = Arc::new(Survey(holders));
        if failures.is_empty() {
            fleet.surveyed(credentials, survey.clone());
        } else if partial == Partial::Fail {
            return Err(failures);
        }
        Ok(survey)
    }

    /// All nodes that have the repository, in order.
    ///
    /// # Errors
    ///
    /// A node failed that may have it.
    pub async fn holders(&self, repository: &str) -> Result<Arc<[usize]>, Failure> {
        self.whole(repository, self.scatter.fleet().placed(repository).node, None).await
    }

    /// All tags of a repository on a node; none if it does not have it.
    ///
    /// # Errors
    ///
    /// The node's failure.
    pub async fn tags(&self, node: usize, repository: &str) -> Result<HashSet<String>, Failure> {
        let ask = self.read(format!("/v2/{repository}/tags/list"));
        match self.scatter.tags(&ask, &[node]).await.into_replies().next() {
            Some(Ok(Reply::Part(tags, _))) => Ok(tags.into_iter().collect()),
            Some(Ok(Reply::Refusal(answer))) => verdict(&answer).map(|_| HashSet::new()),
            Some(Err(failure)) => Err(failure),
            None => Ok(HashSet::new()),
        }
    }

    /// Whether a node has it; `None` if it does not tell this client.
    ///
    /// # Errors
    ///
    /// The node's failure.
    pub async fn has(&self, node: usize, repository: &str, sought: &Sought) -> Result<Option<bool>, Failure> {
        match sought {
            Sought::Repository => {
                let target = format!("/v2/{repository}/tags/list?n=1");
                let answer = self.scatter.at(node, &self.read(target)).await?;
                verdict(&answer)
            }
            Sought::Tag(tag) => self.has_tag(node, repository, tag).await,
            Sought::Digest(digest) => {
                let nodes = self.scatter.fleet().nodes();
                let Some(node) = nodes.get(node) else { return Ok(Some(false)) };
                let ask = self.read(format!("/v2/{repository}/blobs/{digest}"));
                // What it sends of the blob is dropped with the connection.
                let response = self.scatter.open(node, &ask).await?;
                verdict_of(&node.name, response.status())
            }
        }
    }

    /// Whether a node has a tag; `None` if it does not tell this client.
    ///
    /// # Errors
    ///
    /// The node's failure.
    pub async fn has_tag(&self, node: usize, repository: &str, tag: &str) -> Result<Option<bool>, Failure> {
        let path = format!("/v2/{repository}/tags/list");
        let mut target = path.clone();
        for _ in 0..MOST_PAGES {
            let answer = self.scatter.at(node, &self.read(target)).await?;
            if answer.status != StatusCode::OK {
                return verdict(&answer);
            }
            let listed: Tags = serde_json::from_slice(&answer.body)
                .map_err(|error| answer.unusable(&format!("its list of tags is none: {error}")))?;
            if listed.tags.iter().flatten().any(|listed| listed == tag) {
                return Ok(Some(true));
            }
            let link = answer.headers.get(LINK).and_then(|link| link.to_str().ok()).and_then(crate::page::next_link);
            match link.and_then(|link| link.split_once('?')) {
                Some((_, query)) if listed.tags.is_some_and(|tags| !tags.is_empty()) => {
                    target = format!("{path}?{query}")
                }
                _ => return Ok(Some(false)),
            }
        }
        Err(Failure {
            node: self.scatter.fleet().name(node).to_owned(),
            kind: FailureKind::TooLarge,
            cause: format!("more than {MOST_PAGES} pages of tags"),
        })
    }

    /// A read on behalf of the client.
    fn read(&self, target: String) -> Ask {
        self.ask.without_body(Method::GET, target)
    }
}

#[derive(Deserialize)]
struct Tags {
    tags: Option<Vec<String>>,
}

fn verdict(answer: &NodeAnswer) -> Result<Option<bool>, Failure> {
    verdict_of(&answer.name, answer.status)
}

/// What a status says of whether something is there.
fn verdict_of(node: &str, status: StatusCode) -> Result<Option<bool>, Failure> {
    match status {
        StatusCode::NOT_FOUND => Ok(Some(false)),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Ok(None),
        // A redirection to where the blob is: it is there.
        status if status.is_success() || status.is_redirection() => Ok(Some(true)),
        status => Err(Failure {
            node: node.to_owned(),
            kind: FailureKind::Refused(status),
            cause: format!("status {status} to a look for a repository"),
        }),
    }
}
