//! The nodes in their order, and which of them is asked.

mod health;
mod node;
mod placement;
mod places;

pub use health::{Breaker, By, Health, Shown};
pub use node::{Credentials, Denied, Node, NodeUrl, Pass};
pub use placement::{Fallback, HashKey, Mapped, Owner, Placement, Strategy, Why};
pub use places::Place;
use places::Places;

use futures::future::join_all;
use jiff::Timestamp;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// How often the addresses of names are looked up again.
const RESOLVE_EVERY: Duration = Duration::from_secs(30);
/// How soon when a look-up failed or a node could not be reached.
const RESOLVE_SOON: Duration = Duration::from_secs(1);

/// The nodes, in the configured order, which is part of the placement.
#[derive(Debug)]
pub struct Fleet {
    nodes: Vec<Arc<Node>>,
    placement: Placement,
    /// Where repositories were found; `None` where nobody looks.
    places: Option<Places>,
    /// Since when these are the nodes.
    since: Timestamp,
    /// Wakes whoever looks up where nodes are ([`Fleet::keep_resolved`], discovery) before its time.
    stale: Arc<Notify>,
}

impl Fleet {
    /// A fleet of `nodes`: none as long as none has been found.
    pub fn new(nodes: Vec<Node>, placement: Placement) -> Fleet {
        Fleet {
            nodes: nodes.into_iter().map(Arc::new).collect(),
            placement,
            places: None,
            since: Timestamp::now(),
            stale: Arc::default(),
        }
    }

    /// The same fleet, whose repositories are looked for where the placement does not have them.
    pub fn locating(self) -> Fleet {
        Fleet { places: Some(Places::default()), ..self }
    }

    /// The same fleet, which tells `stale` of nodes that could not be reached.
    pub fn telling(self, stale: Arc<Notify>) -> Fleet {
        Fleet { stale, ..self }
    }

    /// The same fleet, with what another one knows: of nodes that it has, too, their addresses and their health; and, if
    /// both have the same nodes and place alike, where repositories were found.
    pub fn succeeding(mut self, before: &Fleet) -> Fleet {
        for node in &mut self.nodes {
            if let Some(known) = before.nodes.iter().find(|known| known.is_same(node)) {
                known.moves_to(node);
                known.bounded_as(node);
                *node = known.clone();
            }
        }
        if self.has_the_nodes_of(before) {
            self.since = before.since;
        }
        // A place is an index.
        if self.places.is_some() && self.has_the_nodes_of(before) && self.placement == before.placement {
            self.places = before.places.clone().or(self.places);
        }
        self
    }

    /// Since when these are the nodes, as RFC 3339 writes it.
    pub fn since(&self) -> String {
        self.since.to_string()
    }

    /// Whether the nodes are the very same, in the same order.
    pub fn has_the_nodes_of(&self, other: &Fleet) -> bool {
        self.nodes.len() == other.nodes.len() && self.nodes.iter().zip(&other.nodes).all(|(a, b)| Arc::ptr_eq(a, b))
    }

    /// Whether each node that is spoken to in TLS is one of the other fleet's, so that what connects to those serves here.
    pub fn is_secured_by(&self, other: &Fleet) -> bool {
        let mut secured = self.nodes.iter().filter(|node| node.trust().is_some());
        secured.all(|node| other.nodes.iter().any(|known| Arc::ptr_eq(node, known)))
    }

    /// Whether repositories are looked for.
    pub fn locates(&self) -> bool {
        self.places.is_some() && self.nodes.len() > 1
    }

    /// Where a repository was found a short while ago.
    pub fn place(&self, repository: &str) -> Option<Place> {
        self.places.as_ref()?.get(repository)
    }

    /// Remembers where a repository is, for a while.
    pub fn remember(&self, repository: &str, place: Place) {
        if let Some(places) = &self.places {
            places.insert(repository, place);
        }
    }

    /// Forgets where a repository was.
    pub fn forget(&self, repository: &str) {
        if let Some(places) = &self.places {
            places.remove(repository);
        }
    }

    /// The name of the node at an index.
    pub fn name(&self, node: usize) -> &str {
        self.nodes.get(node).map_or("", |node| node.name.as_str())
    }

    /// The nodes in order.
    pub fn nodes(&self) -> &[Arc<Node>] {
        &self.nodes
    }

    /// The placement.
    pub fn placement(&self) -> &Placement {
        &self.placement
    }

    /// The node that a repository's requests go to: where it was found, or else its owner by the placement.
    pub fn owner(&self, repository: &str) -> Owner {
        let placed = self.placed(repository);
        match self.place(repository) {
            Some(place) if place.first != placed.node => Owner { node: place.first, why: Why::Found },
            _ => placed,
        }
    }

    /// The owner of `repository` by the placement.
    pub fn placed(&self, repository: &str) -> Owner {
        self.placement.place(repository, self.nodes.iter().map(|node| node.name.as_str()))
    }

    /// The nodes in the order in which they are tried where any would do: as configured, those that failed a
    /// short while ago last.
    pub fn any_order(&self) -> impl Iterator<Item = usize> {
        let (suspect, healthy): (Vec<usize>, Vec<usize>) =
            (0..self.nodes.len()).partition(|&index| self.nodes[index].health.is_suspect());
        healthy.into_iter().chain(suspect)
    }

    /// The node at `authority` (`host:port`), if one is there.
    pub fn node_at(&self, authority: &str) -> Option<&Arc<Node>> {
        self.nodes.iter().find(|node| node.url.authority().eq_ignore_ascii_case(authority))
    }

    /// Notes that a node could not be reached, and looks up its name again soon.
    pub fn was_unreachable(&self, node: &Node, cause: &str) {
        node.health.was_unreachable(cause);
        self.look_up_soon(node);
    }

    /// Notes that a node did not answer in time what was sent at `began`, and looks up its name again soon.
    pub fn was_late(&self, node: &Node, by: By, began: Instant, cause: &str) {
        if node.health.was_late(by, began, cause) {
            tracing::warn!(node = node.name, cause, "a node is silent: what needs it fails at once until it answers");
        }
        self.look_up_soon(node);
    }

    /// Notes that a node said something.
    pub fn was_heard(&self, node: &Node) {
        if node.health.was_heard() {
            tracing::info!(node = node.name, "a node that was silent answers again");
        }
    }

    fn look_up_soon(&self, node: &Node) {
        if node.may_move() {
            self.stale.notify_one();
        }
    }

    /// Looks up the names of the nodes once, all at the same time.
    ///
    /// Returns whether every name has been found.
    pub async fn resolve(&self) -> bool {
        self.resolve_those(|_| true).await
    }

    /// The same for the names of nodes that have no address yet.
    pub async fn resolve_new(&self) -> bool {
        self.resolve_those(|node| node.address().is_none()).await
    }

    async fn resolve_those(&self, which: impl Fn(&Node) -> bool) -> bool {
        let lookups = self.nodes.iter().filter(|node| which(node)).map(|node| async {
            let found = node.resolve().await;
            if let Err(error) = &found {
                tracing::warn!(node = node.name, url = %node.url, %error, "the name of a node cannot be resolved");
            }
            found.is_ok()
        });
        join_all(lookups).await.into_iter().all(|found| found)
    }

    /// Keeps the addresses of names fresh, for ever. Resolving happens here and never on the way of a request.
    pub async fn keep_resolved(&self) {
        let mut all_found = self.nodes.iter().all(|node| node.address().is_some());
        if !self.nodes.iter().any(|node| node.has_name()) {
            return;
        }
        loop {
            let pause = if all_found { RESOLVE_EVERY } else { RESOLVE_SOON };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.stale.notified() => tokio::time::sleep(RESOLVE_SOON).await,
            }
            all_found = self.resolve().await;
        }
    }
}
