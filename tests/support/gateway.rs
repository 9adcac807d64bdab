//! A gateway in this process, over nodes that the test has started.

use super::client::Client;
use onezot::config::{Config, NodeConfig};
use onezot::fleet::{NodeUrl, Placement};
use onezot::server::{self, Running};
use std::net::SocketAddr;

/// The configuration of a gateway over these nodes, on a free port of the loopback.
pub fn config(nodes: &[SocketAddr]) -> Config {
    let node = |(index, address): (usize, &SocketAddr)| NodeConfig {
        name: Some(format!("node-{index}")),
        url: NodeUrl::try_from(format!("http://{address}")).expect("an address makes a URL"),
        tls: None,
    };
    Config {
        listen: vec!["127.0.0.1:0".into()],
        nodes: nodes.iter().enumerate().map(node).collect(),
        ..Config::default()
    }
}

/// Starts a gateway, and a client of it.
pub async fn start(nodes: &[SocketAddr], placement: Placement) -> (Running, Client) {
    let running = server::start(Config { placement, ..config(nodes) }).await.expect("the gateway starts");
    let client = Client::new(running.addresses[0]);
    (running, client)
}
