//! The configuration: what can be set, its defaults, and what makes sense together.
//!
//! `layers` reads it from a file, the environment and flags, `position` knows where in the file a key is, and `changes` what
//! is new in another one. `discovery` is the part about where nodes are found.
//! Nothing else in onezot reads configuration.

mod changes;
mod discovery;
mod layers;
mod position;
mod tls;

pub use changes::Changes;
pub use discovery::{Discovery, Service, Source};
pub use layers::{ConfigError, Flags, nodes_file};
pub use tls::{CertificateAndKey, ClientCertificate, Listener, ListenerTls, NodeTls};

use crate::discovery::Member;
use crate::fleet::{Credentials, Fleet, Node, NodeUrl, Placement};
use crate::identity::SealKey;
use crate::scan::Bounds;
use crate::tls::Trust;
use bytesize::ByteSize;
use http::HeaderName;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;
use zeroize::Zeroizing;

/// The whole configuration. Every key has a default but `nodes`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Public addresses, and what is spoken there.
    pub listen: Vec<Listener>,
    /// Address of the admin listener (status, explain, health); none by default, never meant to be public.
    pub admin: Option<String>,
    /// Where proxies in front of onezot are: what they say of the client in `X-Forwarded-…` and `Forwarded` is passed on.
    pub trusted_proxies: Vec<AddressRange>,
    /// The header in which nodes are told whom a client's certificate is for; none without. Nobody else may set it.
    pub client_subject_header: Option<FieldName>,
    /// The nodes; their order is part of the placement.
    pub nodes: Vec<NodeConfig>,
    /// Where the nodes come from when they are not written down.
    pub discovery: Discovery,
    /// When a changed configuration is read again.
    pub reload: Reload,
    /// Which node owns a repository.
    pub placement: Placement,
    /// Whether repositories are looked for where the placement does not have them.
    pub locate: Locate,
    /// Whether each node keeps its own stars and bookmarks.
    pub metadata: Metadata,
    /// What becomes of a fan-out when a node fails.
    pub partial: Partial,
    /// What becomes of a GraphQL query that the nodes know and this gateway does not.
    pub unknown_queries: UnknownQueries,
    /// Whether clients may ask for answers that lack nodes, by `X-Onezot-Partial: warn`. They may always ask for none.
    pub allow_partial: bool,
    /// Checks of the nodes.
    pub health: Health,
    /// Sessions and API keys over several nodes.
    pub identity: Identity,
    /// Deadlines.
    pub timeouts: Timeouts,
    /// Bounds.
    pub limits: Limits,
    /// The log, on standard error.
    pub log: Log,
}

/// A range of addresses, such as `10.0.0.0/8`, or one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AddressRange(IpNet);

impl AddressRange {
    /// Whether the address is in it. An IPv4 address stays one when it comes in the guise of IPv6.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }
}

impl TryFrom<String> for AddressRange {
    type Error = String;

    fn try_from(text: String) -> Result<AddressRange, String> {
        let range = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        range.map(AddressRange).map_err(|_| format!("{text:?} is no range of addresses; write one such as 10.0.0.0/8"))
    }
}

impl From<AddressRange> for String {
    fn from(range: AddressRange) -> String {
        range.0.to_string()
    }
}

/// The name of a header that onezot sets on its way to the nodes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FieldName(pub HeaderName);

impl TryFrom<String> for FieldName {
    type Error = String;

    fn try_from(text: String) -> Result<FieldName, String> {
        let own = text.get(..2).is_some_and(|start| start.eq_ignore_ascii_case("x-"));
        let forwarded = text.to_ascii_lowercase().starts_with("x-forwarded-");
        match text.parse() {
            Ok(name) if own && !forwarded => Ok(FieldName(name)),
            _ => Err(format!(
                "{text:?} cannot be the name of a header of onezot's own; write one such as X-Client-Subject"
            )),
        }
    }
}

impl From<FieldName> for String {
    fn from(name: FieldName) -> String {
        name.0.to_string()
    }
}

/// One node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeConfig {
    /// The name that errors and logs use; without one, the node's `HOST:PORT`.
    #[serde(default)]
    pub name: Option<String>,
    /// `http://HOST:PORT` or `https://HOST:PORT`.
    pub url: NodeUrl,
    /// TLS to a node at `https://`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<NodeTls>,
    /// A file with `user:password`, for what onezot asks this node in its own name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_file: Option<PathBuf>,
}

/// When a changed configuration is read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reload {
    /// On SIGHUP, and when the file changes.
    #[default]
    Watch,
    /// On SIGHUP.
    Signal,
}

/// Whether repositories are looked for where the placement does not have them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Locate {
    /// They are where the placement says: nobody looks elsewhere.
    #[default]
    Owner,
    /// Where the owner does not have one, all other nodes are asked.
    Search,
}

/// Whether each node keeps its own stars and bookmarks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Metadata {
    /// Each has its own: every node is asked for starred and bookmarked repositories.
    #[default]
    PerNode,
    /// They share one database: any node knows all of them.
    Shared,
}

/// What becomes of a fan-out when a node fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Partial {
    /// It is an error: a short list is a lie on which garbage collectors and mirrors act.
    #[default]
    Fail,
    /// It is answered with what there is, and says so in a `Warning` header.
    Warn,
}

/// What becomes of a GraphQL query that the nodes know and this gateway does not: it comes with a newer zot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UnknownQueries {
    /// It is an error: one node's answer would be its part only.
    #[default]
    Refuse,
    /// One node answers it alone.
    AnyNode,
}

/// Sessions and API keys over several nodes.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Identity {
    /// Files with the keys that seal what the nodes give clients. The first one seals, every one opens.
    pub seal_keys: Vec<PathBuf>,
    /// What is in them.
    #[serde(skip)]
    pub keys: Vec<SealKey>,
}

/// Checks whether the nodes answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Health {
    /// How often each is checked; one that failed, every second. 0s: never.
    #[serde(with = "humantime_serde")]
    pub interval: Duration,
    /// How long a check waits for an answer.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
}

/// Deadlines. A node that is late is 504, a client that is late is 408 or cut off.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Timeouts {
    /// To connect to a node.
    #[serde(with = "humantime_serde")]
    pub connect: Duration,
    /// For a node to begin its answer.
    #[serde(with = "humantime_serde")]
    pub headers: Duration,
    /// For a node to answer a request that writes, once it is sent: registries hash a whole blob before they answer.
    #[serde(with = "humantime_serde")]
    pub write_answer: Duration,
    /// For a fan-out as a whole, and for a client to send a body that is read whole.
    #[serde(with = "humantime_serde")]
    pub total: Duration,
    /// Between two pieces of a body, in either direction.
    #[serde(with = "humantime_serde")]
    pub idle: Duration,
    /// For a client to send the whole header of a request once it has begun, however slowly.
    #[serde(with = "humantime_serde")]
    pub client_headers: Duration,
    /// How long a client's connection stays open between two requests.
    #[serde(with = "humantime_serde")]
    pub keepalive: Duration,
    /// For whoever sends requests here to learn, after SIGTERM, that this gateway is not ready any more; until then, it
    /// takes them.
    #[serde(with = "humantime_serde")]
    pub linger: Duration,
    /// For the requests in flight to finish after that.
    #[serde(with = "humantime_serde")]
    pub drain: Duration,
}

/// Bounds on what clients and nodes may send. Past one: a clear error.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// The header of a request, names and values added up; more is 431.
    pub header_bytes: ByteSize,
    /// The number of header fields; more is 431.
    pub header_count: usize,
    /// The body of a GraphQL request; more is 413.
    pub graphql_bytes: ByteSize,
    /// The tokens of a GraphQL document; more is 422.
    pub graphql_tokens: usize,
    /// How deep the braces, brackets and parentheses of a GraphQL document nest; deeper is 422.
    pub graphql_depth: usize,
    /// The root fields of a GraphQL operation; more is 422.
    pub graphql_root_fields: usize,
    /// The selections of a GraphQL operation, fragments counted as often as they are spread; more is 422.
    pub graphql_selections: usize,
    /// All that one node answers in one fan-out.
    pub answer_bytes: ByteSize,
    /// All that is held of nodes' answers to be merged; past it, 503.
    pub total_answer_bytes: ByteSize,
    /// How many requests may be merged, or sent to every node, at a time; one more waits, and then is 503.
    pub in_flight: usize,
    /// How many requests may be under way at one node; one more waits, and then is 503.
    pub node_in_flight: usize,
    /// How many blobs may be brought from one node to another, to be mounted, at a time; without room, the client uploads.
    pub mounts: usize,
    /// How long a request waits for room; as many wait as may be under way.
    #[serde(with = "humantime_serde")]
    pub queue: Duration,
    /// How many connections clients may have, whether they use them or not; one more is closed.
    pub connections: usize,
    /// How many requests may be under way in all; one more is 503.
    pub requests: usize,
    /// How many of them may be one client's, told by its address; one more is 429. No bound without.
    pub client_requests: Option<usize>,
    /// The body of a request that streams, such as a blob; more is 413. No bound without.
    pub upload_bytes: Option<ByteSize>,
    /// The body of a request that goes to every node (trust uploads); more is 413. Bodies that stream have no bound.
    pub body_bytes: ByteSize,
}

/// The log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// How lines look.
    pub format: LogFormat,
    /// `error`, `warn`, `info`, `debug`, `trace`, or a filter such as `info,onezot=debug`.
    pub level: String,
}

/// How a line of the log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            listen: vec![Listener::from("127.0.0.1:5000")],
            admin: None,
            trusted_proxies: Vec::new(),
            client_subject_header: None,
            nodes: Vec::new(),
            discovery: Discovery::default(),
            reload: Reload::default(),
            placement: Placement::default(),
            locate: Locate::default(),
            metadata: Metadata::default(),
            partial: Partial::default(),
            unknown_queries: UnknownQueries::default(),
            allow_partial: false,
            health: Health::default(),
            identity: Identity::default(),
            timeouts: Timeouts::default(),
            limits: Limits::default(),
            log: Log::default(),
        }
    }
}

impl Default for Health {
    fn default() -> Health {
        Health { interval: Duration::from_secs(10), timeout: Duration::from_secs(2) }
    }
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        Timeouts {
            connect: Duration::from_secs(2),
            headers: Duration::from_secs(30),
            write_answer: Duration::from_secs(15 * 60),
            total: Duration::from_secs(60),
            idle: Duration::from_secs(60),
            client_headers: Duration::from_secs(30),
            keepalive: Duration::from_secs(60),
            linger: Duration::ZERO,
            drain: Duration::from_secs(10),
        }
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            header_bytes: ByteSize::kib(64),
            header_count: 200,
            graphql_bytes: ByteSize::kib(64),
            graphql_tokens: Bounds::default().tokens,
            graphql_depth: Bounds::default().depth,
            graphql_root_fields: Bounds::default().root_fields,
            graphql_selections: Bounds::default().selections,
            connections: 10_000,
            requests: 5_000,
            client_requests: None,
            upload_bytes: None,
            answer_bytes: ByteSize::mib(256),
            total_answer_bytes: ByteSize::gib(1),
            in_flight: 1024,
            node_in_flight: 512,
            mounts: 64,
            queue: Duration::from_secs(1),
            body_bytes: ByteSize::mib(1),
        }
    }
}

impl Default for Log {
    fn default() -> Log {
        Log { format: LogFormat::default(), level: "info".to_owned() }
    }
}

/// Bounds of a timeout that make sense; 0 would refuse everything, and days are a mistake in the unit.
const TIMEOUT: std::ops::RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(24 * 3600);

/// Bounds of the time between two checks of a node.
const INTERVAL: std::ops::RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(3600);
/// The longest wait for room.
const QUEUE_MOST: Duration = Duration::from_secs(60);

impl Config {
    /// What types alone cannot say. An error is the path of a key and the problem.
    fn check(&self) -> Result<(), (String, String)> {
        let discovery = self.discovery.check(!self.nodes.is_empty());
        discovery.map_err(|(key, problem)| (format!("discovery.{key}"), problem))?;
        if self.discovery.source().is_none() {
            self.check_nodes()?;
        }
        if self.listen.is_empty() {
            return Err(("listen".to_owned(), "there is no address to listen on; give one, HOST:PORT".to_owned()));
        }
        for (index, listener) in self.listen.iter().enumerate() {
            listener.check().map_err(|(key, problem)| (format!("listen[{index}]{key}"), problem))?;
        }
        if let Some(address) = &self.admin {
            tls::check_address(address).map_err(|problem| ("admin".to_owned(), problem))?;
        }
        let timeouts = [
            ("connect", self.timeouts.connect),
            ("headers", self.timeouts.headers),
            ("write_answer", self.timeouts.write_answer),
            ("total", self.timeouts.total),
            ("idle", self.timeouts.idle),
            ("client_headers", self.timeouts.client_headers),
            ("keepalive", self.timeouts.keepalive),
        ];
        let timeouts = timeouts.map(|(name, timeout)| (format!("timeouts.{name}"), timeout));
        for (key, timeout) in timeouts.into_iter().chain([("health.timeout".to_owned(), self.health.timeout)]) {
            if !TIMEOUT.contains(&timeout) {
                return Err((key, "must be between 1ms and 24h, such as 30s".to_owned()));
            }
        }
        if !self.health.interval.is_zero() && !INTERVAL.contains(&self.health.interval) {
            return Err(("health.interval".to_owned(), "must be between 10ms and 1h, or 0s for no checks".to_owned()));
        }
        if self.limits.queue > QUEUE_MOST {
            let problem = "is longer than clients should wait for nothing; at most 60s".to_owned();
            return Err(("limits.queue".to_owned(), problem));
        }
        let minima = [
            ("header_bytes", self.limits.header_bytes.as_u64(), 1024),
            ("header_count", self.limits.header_count as u64, 16),
            ("graphql_tokens", self.limits.graphql_tokens as u64, 100),
            ("graphql_depth", self.limits.graphql_depth as u64, 10),
            ("graphql_root_fields", self.limits.graphql_root_fields as u64, 1),
            ("graphql_selections", self.limits.graphql_selections as u64, 100),
            ("connections", self.limits.connections as u64, 1),
            ("requests", self.limits.requests as u64, 1),
            ("client_requests", self.limits.client_requests.map_or(1, |most| most as u64), 1),
            ("graphql_bytes", self.limits.graphql_bytes.as_u64(), 1024),
            ("answer_bytes", self.limits.answer_bytes.as_u64(), 1024),
            ("total_answer_bytes", self.limits.total_answer_bytes.as_u64(), 1024),
            ("in_flight", self.limits.in_flight as u64, 1),
            ("node_in_flight", self.limits.node_in_flight as u64, 1),
            ("body_bytes", self.limits.body_bytes.as_u64(), 1024),
        ];
        for (name, value, least) in minima {
            if value < least {
                return Err((
                    format!("limits.{name}"),
                    format!("{value} is too little to work with; at least {least}"),
                ));
            }
        }
        // What pingora's own reader takes is bounded, too, and refused there without a word.
        let maxima = [
            ("header_bytes", self.limits.header_bytes.as_u64(), ByteSize::mib(1).as_u64()),
            ("header_count", self.limits.header_count as u64, 250),
            // Parsers recurse as deep.
            ("graphql_depth", self.limits.graphql_depth as u64, 50),
            ("graphql_tokens", self.limits.graphql_tokens as u64, 100_000),
            ("graphql_selections", self.limits.graphql_selections as u64, 1_000_000),
        ];
        for (name, value, most) in maxima {
            if value > most {
                return Err((format!("limits.{name}"), format!("{value} is more than can be kept; at most {most}")));
            }
        }
        if let Err(error) = tracing_subscriber::EnvFilter::try_new(&self.log.level) {
            let problem = format!("is no log level ({error}); use error, warn, info, debug or trace");
            return Err(("log.level".to_owned(), problem));
        }
        Ok(())
    }

    /// What is wrong with the nodes, and with what names them. Nodes that are found are checked when they are.
    pub(crate) fn check_nodes(&self) -> Result<(), (String, String)> {
        if self.nodes.is_empty() {
            let problem = "there are no nodes; name at least one, such as --node zot-0=http://127.0.0.1:5001";
            return Err(("nodes".to_owned(), problem.to_owned()));
        }
        let mut names = HashMap::new();
        let mut urls = HashMap::new();
        for (index, node) in self.nodes.iter().enumerate() {
            let name = node.name();
            if name.is_empty() || name.chars().any(|c| c.is_control() || c.is_whitespace() || matches!(c, '"' | '=')) {
                let problem = format!("{name:?} is no name of a node; use letters, digits, dots and dashes");
                return Err((format!("nodes[{index}].name"), problem));
            }
            if let Some(first) = names.insert(name.clone(), index) {
                let problem = format!("the name {name:?} is that of nodes[{first}], too; give each node its own");
                let key = if node.name.is_some() { "name" } else { "url" };
                return Err((format!("nodes[{index}].{key}"), problem));
            }
            if let Some(first) = urls.insert(node.url.place(), index) {
                let problem = format!(
                    "{} is the URL of nodes[{first}], too; a node that counts twice would own two shares: \
                     leave one out",
                    node.url
                );
                return Err((format!("nodes[{index}].url"), problem));
            }
            let check = node.credentials();
            check.map_err(|problem| (format!("nodes[{index}].credentials_file"), problem))?;
            let check = NodeTls::check(&node.url, node.tls.as_ref());
            check.map_err(|(key, problem)| (format!("nodes[{index}].{key}"), problem))?;
        }
        let names: Vec<String> = self.nodes.iter().map(NodeConfig::name).collect();
        let check = self.placement.check(names.iter().map(String::as_str));
        check.map_err(|(key, problem)| (format!("placement.{key}"), problem))?;
        Ok(())
    }

    /// What becomes of a request when a node fails, if its client asks for something. Who asks for less than the whole must be
    /// allowed to.
    pub fn partial_for(&self, asked: Option<Partial>) -> Partial {
        match asked {
            Some(Partial::Warn) if !self.allow_partial => self.partial,
            Some(asked) => asked,
            None => self.partial,
        }
    }

    /// Reads the files that it names. An error is the path of a key and the problem, and never what is in a file.
    fn read_files(&mut self) -> Result<(), (String, String)> {
        self.identity.keys = Vec::new();
        for (index, file) in self.identity.seal_keys.iter().enumerate() {
            let read = std::fs::read(file).map_err(|error| error.to_string());
            let key = read.and_then(|bytes| SealKey::from_file(&Zeroizing::new(bytes)));
            let problem = |problem| (format!("identity.seal_keys[{index}]"), format!("{}: {problem}", file.display()));
            self.identity.keys.push(key.map_err(problem)?);
        }
        Ok(())
    }

    /// The fleet that the configuration names.
    pub fn fleet(&self) -> Fleet {
        self.fleet_of(&self.nodes.iter().cloned().map(Member::from).collect::<Vec<_>>())
    }

    /// The fleet of these members, with what the configuration says of it.
    pub fn fleet_of(&self, members: &[Member]) -> Fleet {
        let nodes = members.iter().map(|member| {
            let node = member.node.node().bounded(self.limits.node_in_flight, self.limits.queue);
            match &member.addresses {
                Some(addresses) => node.found_at(addresses.clone()),
                None => node,
            }
        });
        let fleet = Fleet::new(nodes.collect(), self.placement.clone());
        match self.locate {
            Locate::Owner => fleet,
            Locate::Search => fleet.locating(),
        }
    }
}

impl NodeConfig {
    /// The node at a URL, in plain HTTP.
    pub fn at(name: Option<String>, url: NodeUrl) -> NodeConfig {
        NodeConfig { name, url, tls: None, credentials_file: None }
    }

    /// What is in the file with the credentials. An error never says that.
    fn credentials(&self) -> Result<Option<Credentials>, String> {
        let Some(file) = &self.credentials_file else { return Ok(None) };
        let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
        let line = text.strip_suffix('\n').unwrap_or(&text);
        let credentials = Credentials::basic(line.strip_suffix('\r').unwrap_or(line));
        credentials.map(Some).ok_or_else(|| format!("{}: it is not one line user:password", file.display()))
    }

    /// The name, given or made of the URL.
    pub fn name(&self) -> String {
        self.name.clone().unwrap_or_else(|| self.url.authority())
    }

    /// The node. One whose files cannot be read, which [`Config::load`] has checked, can be connected to by nobody.
    fn node(&self) -> Node {
        let credentials = self.credentials().unwrap_or_else(|problem| {
            tracing::error!(node = self.name(), %problem, "onezot has no credentials at a node");
            None
        });
        let node = Node::new(self.name(), self.url.clone()).with_credentials(credentials);
        if !self.url.is_https() {
            return node;
        }
        match Trust::load(&self.url, self.tls.as_ref().unwrap_or(&NodeTls::default())) {
            Ok(trust) => node.trusting(trust),
            Err(problem) => {
                tracing::error!(node = node.name, %problem, "there is no TLS to a node");
                node
            }
        }
    }
}
