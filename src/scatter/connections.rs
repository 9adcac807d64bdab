//! The connections of a fan-out: how names are resolved, and which clients there are.

use crate::config::Config;
use crate::fleet::Fleet;
use crate::pieces::Outgoing;
use crate::tls::NodeConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use parking_lot::Mutex;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

/// An idle connection is dropped before a registry drops it: 60 s and more are usual there.
const POOL_IDLE: Duration = Duration::from_secs(30);

/// One of them.
type NodeClient = Client<NodeConnector<HttpConnector<FleetNames>>, Outgoing>;

/// The connections to nodes.
#[derive(Clone)]
pub struct Clients {
    /// From a pool.
    pub pooled: NodeClient,
    /// A new one for each request: of a node that has closed one connection of the pool, all may be dead.
    pub fresh: NodeClient,
}

/// Clients for the nodes of `fleet`, which resolve names in this way, with a pool of connections of their own.
pub fn clients(config: &Config, fleet: &Fleet, names: FleetNames) -> Clients {
    let mut connector = HttpConnector::new_with_resolver(names);
    connector.set_connect_timeout(Some(config.timeouts.connect));
    connector.set_nodelay(true);
    // What is not plain is left to the connector around it.
    connector.enforce_http(false);
    let connector = NodeConnector::new(connector, fleet, config.timeouts.connect);
    let mut builder = Client::builder(TokioExecutor::new());
    let fresh = builder.pool_max_idle_per_host(0).build(connector.clone());
    let mut builder = Client::builder(TokioExecutor::new());
    let pooled = builder.pool_idle_timeout(POOL_IDLE).pool_timer(TokioTimer::new()).build(connector);
    Clients { pooled, fresh }
}

/// Resolves names by what the fleet already knows, so that both ways to a node go to the same address first. The client
/// goes on to the next by itself.
///
/// The addresses have no port: a client that gets one keeps it for a URL without a port, and nodes may share a host.
///
/// One client may serve one fleet after another, and two at a time while requests end on the older one.
#[derive(Clone, Default)]
pub struct FleetNames(Arc<Mutex<Vec<Weak<Fleet>>>>);

impl FleetNames {
    /// Resolves by this fleet first.
    pub fn add(&self, fleet: &Arc<Fleet>) {
        let mut fleets = self.0.lock();
        fleets.retain(|fleet| fleet.strong_count() > 0);
        fleets.insert(0, Arc::downgrade(fleet));
    }

    fn addresses(&self, name: &str) -> Option<Vec<SocketAddr>> {
        let fleets: Vec<_> = self.0.lock().iter().filter_map(Weak::upgrade).collect();
        let nodes = fleets.iter().flat_map(|fleet| fleet.nodes()).filter(|node| node.url.is_at(name));
        nodes.map(|node| node.addresses()).find(|addresses| !addresses.is_empty())
    }
}

impl tower_service::Service<Name> for FleetNames {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = std::io::Error;
    type Future = std::future::Ready<Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        std::future::ready(match self.addresses(name.as_str()) {
            Some(addresses) => {
                let without_port: Vec<_> = addresses.iter().map(|address| SocketAddr::new(address.ip(), 0)).collect();
                Ok(without_port.into_iter())
            }
            None => Err(std::io::Error::other("the name of the node has not been resolved")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::{Node, Placement};
    use tower_service::Service as _;

    /// What `zot` resolves to in a fleet of these nodes.
    async fn found(nodes: Vec<Node>) -> Vec<String> {
        let fleet = Arc::new(Fleet::new(nodes, Placement::default()));
        let mut names = FleetNames::default();
        names.add(&fleet);
        let found = names.call("zot".parse().unwrap()).await.unwrap();
        found.map(|address| address.to_string()).collect()
    }

    fn addresses(port: u16) -> Vec<SocketAddr> {
        vec![SocketAddr::from(([192, 0, 2, 1], port)), SocketAddr::from(([192, 0, 2, 2], port))]
    }

    #[tokio::test]
    async fn nodes_on_one_host_are_told_apart_by_the_port_of_their_url() {
        let nodes = vec![Node::at("http://zot:5001", addresses(5001)), Node::at("http://zot", addresses(80))];
        assert_eq!(found(nodes).await, ["192.0.2.1:0", "192.0.2.2:0"]);
    }

    #[tokio::test]
    async fn both_ways_to_a_node_go_to_the_same_address_first() {
        let node = Node::at("http://zot:5001", addresses(5001));
        node.address_failed(addresses(5001)[0]);
        assert_eq!(found(vec![node]).await, ["192.0.2.2:0", "192.0.2.1:0"]);
    }
}
