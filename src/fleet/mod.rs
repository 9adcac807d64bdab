//! The nodes in their order, and which of them is asked.

mod node;
mod placement;

pub use node::{Node, NodeUrl};
pub use placement::{Fallback, HashKey, Mapped, Owner, Placement, Strategy, Why};

use futures::future::join_all;
use std::sync::Arc;
use std::time::Duration;
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
    /// Wakes [`Fleet::keep_resolved`] before its time.
    stale: Notify,
}

impl Fleet {
    /// A fleet of `nodes`, which are not none.
    pub fn new(nodes: Vec<Node>, placement: Placement) -> Fleet {
        debug_assert!(!nodes.is_empty(), "a configuration without nodes is refused");
        Fleet { nodes: nodes.into_iter().map(Arc::new).collect(), placement, stale: Notify::new() }
    }

    /// The nodes in order.
    pub fn nodes(&self) -> &[Arc<Node>] {
        &self.nodes
    }

    /// The placement.
    pub fn placement(&self) -> &Placement {
        &self.placement
    }

    /// The owner of `repository`.
    pub fn owner(&self, repository: &str) -> Owner {
        self.placement.place(repository, self.nodes.iter().map(|node| node.name.as_str()))
    }

    /// The nodes in the order in which they are tried where any would do: as configured, those that failed a
    /// short while ago last.
    pub fn any_order(&self) -> impl Iterator<Item = usize> {
        let (suspect, healthy): (Vec<usize>, Vec<usize>) =
            (0..self.nodes.len()).partition(|&index| self.nodes[index].is_suspect());
        healthy.into_iter().chain(suspect)
    }

    /// The node at `authority` (`host:port`), if one is there.
    pub fn node_at(&self, authority: &str) -> Option<&Arc<Node>> {
        self.nodes.iter().find(|node| node.url.authority().eq_ignore_ascii_case(authority))
    }

    /// Notes that a node could not be reached or was late, and looks up its name again soon.
    pub fn was_unreachable(&self, node: &Node) {
        node.was_unreachable();
        if node.has_name() {
            self.stale.notify_one();
        }
    }

    /// Looks up the names of the nodes once, all at the same time.
    ///
    /// Returns whether every name has been found.
    pub async fn resolve(&self) -> bool {
        let lookups = self.nodes.iter().map(|node| async {
            let found = node.resolve().await;
            if let Err(error) = &found {
                tracing::warn!(node = node.name, url = %node.url, %error, "the name of a node cannot be resolved");
            }
            found.is_ok()
        });
        join_all(lookups).await.into_iter().all(|found| found)
    }

    /// Keeps the addresses of names fresh, for ever. Resolving happens here and never on the way of a request.
    pub async fn keep_resolved(&self, mut all_found: bool) {
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
