//! People with browsers and machines with keys, before gateways over embedded nodes that have users.

use crate::wire::{self, Got};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use onezot::demo::{Fault, Node, Seen, Settings, Setup};
use onezot::fleet::Placement;
use onezot::server::Running;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// The header of zot's web UI.
pub const UI: &str = "X-ZOT-API-CLIENT: zot-ui\r\n";

/// Settings of nodes that let nobody in without a name.
pub const CLOSED: &str = r#"{"http": {"realm": "one realm", "auth": {"apikey": true}, "accessControl": {"repositories": {
    "**": {"defaultPolicy": ["read", "create", "update", "delete"]}}}}}"#;
/// Settings of nodes where some is for everybody.
pub const MIXED: &str = r#"{"http": {"realm": "one realm", "auth": {"apikey": true}, "accessControl": {"repositories": {
    "**": {"defaultPolicy": ["read", "create", "update", "delete"]},
    "public/**": {"defaultPolicy": ["read", "create"], "anonymousPolicy": ["read"]}}}}}"#;

/// Users and their passwords.
pub fn users() -> BTreeMap<String, String> {
    [("alice", "alice-pw"), ("bob", "bob-pw")].map(|(name, password)| (name.to_owned(), password.to_owned())).into()
}

/// A file with a seal key that is made of a text. It stays until the test process ends.
pub fn key_file(text: &str) -> String {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), format!("{}\n", text.repeat(16))).unwrap();
    file.into_temp_path().keep().unwrap().display().to_string()
}

/// The configuration of these seal keys.
pub fn sealed(files: &[&String]) -> String {
    format!("identity: {{seal_keys: {files:?}}}\n")
}

/// Nodes with users and a few repositories each, and the gateways before them.
pub struct Fleet {
    nodes: Vec<Option<Node>>,
    setups: Vec<Setup>,
    starts: u64,
}

impl Fleet {
    /// Starts nodes with these settings.
    pub async fn start(count: usize, settings: &'static str) -> Fleet {
        Fleet::start_with(count, |_| (settings, users())).await
    }

    /// Starts nodes with settings and users of their own.
    pub async fn start_with(count: usize, of: impl Fn(usize) -> (&'static str, BTreeMap<String, String>)) -> Fleet {
        let mut fleet = Fleet { nodes: Vec::new(), setups: Vec::new(), starts: 0 };
        for number in 0..count {
            let (settings, users) = of(number);
            let settings: Settings = serde_json::from_str(settings).unwrap();
            fleet.setups.push(Setup { settings, users, ..Setup::default() });
            fleet.nodes.push(None);
        }
        for number in 0..count {
            fleet.restart(number).await;
        }
        fleet
    }

    /// Starts a node again where it was, with its repositories. It remembers no session and no key.
    pub async fn restart(&mut self, number: usize) {
        if let Some(node) = self.nodes[number].take() {
            self.setups[number].listen = Some(node.address());
            node.stop().await;
        }
        self.starts += 1;
        // Its sessions and keys are no other node's.
        let setup = Setup { seed: self.starts << 20, ..self.setups[number].clone() };
        let node = Node::start(setup).await.unwrap();
        for name in self.repositories().iter().filter(|name| self.owner(name) == number) {
            push(node.address(), name).await;
        }
        self.nodes[number] = Some(node);
    }

    /// A node.
    pub fn node(&self, number: usize) -> &Node {
        self.nodes[number].as_ref().unwrap()
    }

    /// Takes a node down.
    pub async fn take_down(&self, number: usize) {
        self.node(number).faults().set(Fault::Down);
        while tokio::net::TcpStream::connect(self.node(number).address()).await.is_ok() {
            tokio::task::yield_now().await;
        }
    }

    /// Takes all faults from a node, and waits until it answers.
    pub async fn put_right(&self, number: usize) {
        self.node(number).faults().clear();
        while tokio::net::TcpStream::connect(self.node(number).address()).await.is_err() {
            tokio::task::yield_now().await;
        }
    }

    /// The names of all repositories, in the order of a catalog: at least two at each node, one of them public.
    pub fn repositories(&self) -> Vec<String> {
        let count = self.setups.len();
        let mut names: Vec<String> = Vec::new();
        for prefix in ["public/", ""] {
            for node in 0..count.max(1) {
                let name = (0..)
                    .map(|number| format!("{prefix}r{number}"))
                    .find(|name| Placement::default().owner(name, count).node == node && !names.contains(name));
                names.extend(name);
            }
        }
        names.sort();
        names
    }

    /// The node of a repository.
    pub fn owner(&self, name: &str) -> usize {
        Placement::default().owner(name, self.setups.len()).node
    }

    /// A repository of a node that is not public.
    pub fn of_node(&self, node: usize) -> String {
        self.repositories().into_iter().find(|name| self.owner(name) == node && !name.contains('/')).unwrap()
    }

    /// A gateway before all of them.
    pub async fn gateway(&self, yaml: &str) -> Running {
        self.gateway_over(self.nodes.len(), yaml).await
    }

    /// A gateway before the first of them.
    pub async fn gateway_over(&self, count: usize, yaml: &str) -> Running {
        let addresses: Vec<SocketAddr> = (0..count).map(|number| self.node(number).address()).collect();
        wire::gateway(&addresses, yaml).await
    }

    /// What a node got.
    pub fn seen(&self, number: usize) -> Vec<Seen> {
        self.node(number).take_seen()
    }

    /// Forgets what the nodes got.
    pub fn forget_requests(&self) {
        for number in 0..self.nodes.len() {
            self.seen(number);
        }
    }

    /// How many requests with this header each node got.
    pub fn told(&self, header: &str) -> Vec<usize> {
        let with = |number| self.seen(number).iter().filter(|seen| seen.headers.contains_key(header)).count();
        (0..self.nodes.len()).map(with).collect()
    }

    /// Stops the nodes.
    pub async fn stop(&mut self) {
        for node in self.nodes.iter_mut().filter_map(Option::take) {
            node.stop().await;
        }
    }
}

/// The digest of some bytes.
pub fn digest(bytes: &[u8]) -> String {
    let digits: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{digits}")
}

async fn push(to: SocketAddr, name: &str) {
    let blob = digest(b"{}");
    let upload = format!("/v2/{name}/blobs/uploads/?digest={blob}");
    let octets = "Content-Type: application/octet-stream\r\n";
    let got = wire::send(to, with_body("POST", &upload, octets, "alice", "alice-pw", "{}")).await;
    assert_eq!(got.status, 201, "{}", got.text());
    let descriptor = json!({"mediaType": "application/vnd.oci.image.config.v1+json", "digest": blob, "size": 2});
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor,
        "layers": [],
    });
    let media_type = "Content-Type: application/vnd.oci.image.manifest.v1+json\r\n";
    let target = format!("/v2/{name}/manifests/1.0");
    let got = wire::send(to, with_body("PUT", &target, media_type, "alice", "alice-pw", &manifest.to_string())).await;
    assert_eq!(got.status, 201, "{}", got.text());
}

fn authorization(user: &str, password: &str) -> String {
    format!("Authorization: Basic {}\r\n", BASE64_STANDARD.encode(format!("{user}:{password}")))
}

/// A request with a password.
pub fn basic(method: &str, target: &str, user: &str, password: &str, lines: &str) -> String {
    with_body(method, target, lines, user, password, "")
}

fn with_body(method: &str, target: &str, lines: &str, user: &str, password: &str, body: &str) -> String {
    let authorization = authorization(user, password);
    format!(
        "{method} {target} HTTP/1.1\r\nHost: registry.example\r\nConnection: close\r\nContent-Length: {}\r\n\
         {authorization}{lines}\r\n{body}",
        body.len()
    )
}

/// A request for an API key.
pub fn posted(user: &str, password: &str, body: &str) -> String {
    with_body("POST", "/zot/auth/apikey", "Content-Type: application/json\r\n", user, password, body)
}

/// Makes an API key.
pub async fn create_key(gateway: &impl At, user: &str, password: &str, label: &str) -> Value {
    let body = json!({"label": label}).to_string();
    let got = wire::send(gateway.at(), posted(user, password, &body)).await;
    assert_eq!(got.status, 201, "{}", got.text());
    serde_json::from_slice(&got.body).unwrap()
}

/// What is answered to a key.
pub async fn with_key(gateway: &impl At, target: &str, user: &str, key: &Value) -> Got {
    wire::send(gateway.at(), basic("GET", target, user, key["apiKey"].as_str().unwrap(), "")).await
}

/// The keys of a user.
pub async fn keys(gateway: &impl At, user: &str, password: &str) -> Vec<Value> {
    let got = wire::send(gateway.at(), basic("GET", "/zot/auth/apikey", user, password, "")).await;
    assert_eq!(got.status, 200, "{}", got.text());
    let body: Value = serde_json::from_slice(&got.body).unwrap();
    body["apiKeys"].as_array().unwrap().clone()
}

/// What can be asked.
pub trait At {
    /// Where it is.
    fn at(&self) -> SocketAddr;
}

impl At for Running {
    fn at(&self) -> SocketAddr {
        self.addresses[0]
    }
}

impl At for SocketAddr {
    fn at(&self) -> SocketAddr {
        *self
    }
}

/// A browser with zot's web UI: it sends the header of the UI and keeps cookies.
#[derive(Debug, Clone, Default)]
pub struct Browser {
    /// What it keeps.
    pub cookies: BTreeMap<String, String>,
}

impl Browser {
    /// Logs in as the UI does.
    pub async fn log_in(&mut self, gateway: &impl At, user: &str, password: &str) -> Got {
        self.with_password(gateway, "/v2/", user, password).await
    }

    /// Asks with a password.
    pub async fn with_password(&mut self, gateway: &impl At, target: &str, user: &str, password: &str) -> Got {
        let lines = authorization(user, password);
        self.ask(gateway, "GET", target, &lines, "").await
    }

    /// Asks.
    pub async fn get(&mut self, gateway: &impl At, target: &str) -> Got {
        self.send(gateway, "GET", target, "").await
    }

    /// Sends something.
    pub async fn send(&mut self, gateway: &impl At, method: &str, target: &str, body: &str) -> Got {
        self.ask(gateway, method, target, "", body).await
    }

    /// The same with further lines.
    pub async fn ask(&mut self, to: &impl At, method: &str, target: &str, lines: &str, body: &str) -> Got {
        let pairs: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let cookies = if pairs.is_empty() { String::new() } else { format!("Cookie: {}\r\n", pairs.join("; ")) };
        let request = format!(
            "{method} {target} HTTP/1.1\r\nHost: registry.example\r\nConnection: close\r\nContent-Length: {}\r\n\
             {UI}{lines}{cookies}\r\n{body}",
            body.len()
        );
        let got = wire::send(to.at(), request).await;
        for (_, line) in got.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie")) {
            let (name, value) = line.split(';').next().unwrap().split_once('=').unwrap();
            if line.contains("Expires=Thu, 01 Jan 1970") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        got
    }
}
