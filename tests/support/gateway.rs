//! A gateway in this process, over nodes that the test has started.

use super::client::Client;
use onezot::config::{Config, Flags, Health, Locate, NodeConfig};
use onezot::fleet::{NodeUrl, Placement};
use onezot::server::{self, Running};
use std::net::SocketAddr;
use std::time::Duration;

/// The configuration of a gateway over these nodes, on a free port of the loopback. Nodes that replay recordings have no
/// answers to looks for repositories, and have them where the placement says.
pub fn config(nodes: &[SocketAddr]) -> Config {
    let node = |(index, address): (usize, &SocketAddr)| {
        let url = NodeUrl::try_from(format!("http://{address}")).expect("an address makes a URL");
        NodeConfig::at(Some(format!("node-{index}")), url)
    };
    Config {
        listen: vec!["127.0.0.1:0".into()],
        nodes: nodes.iter().enumerate().map(node).collect(),
        locate: Locate::Owner,
        // Nodes are asked what a test asks.
        health: Health { interval: Duration::ZERO, ..Health::default() },
        ..Config::default()
    }
}

/// Starts a gateway, and a client of it.
pub async fn start(nodes: &[SocketAddr], placement: Placement) -> (Running, Client) {
    let running = server::start(Config { placement, ..config(nodes) }).await.expect("the gateway starts");
    let client = Client::new(running.addresses[0]);
    (running, client)
}

/// Loads a configuration; an error calls its file `FILE`.
pub fn load(yaml: &str) -> Result<Config, String> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), yaml).unwrap();
    let loaded = Config::load(Some(file.path()), [], &Flags::default());
    loaded.map_err(|error| error.to_string().replace(&file.path().display().to_string(), "FILE"))
}
