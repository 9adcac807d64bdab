//! The configuration: defaults, a file, the environment and flags, made into one validated [`Config`].
//!
//! Later layers win: flags > environment > file > default. Each key is also an environment variable: `ONEZOT_` and the
//! key's path in upper case with `_` between the parts, so `timeouts.connect` is `ONEZOT_TIMEOUTS_CONNECT`. Nothing else
//! in onezot reads files or the environment.

use crate::fleet::{Fleet, Node, NodeUrl, Placement};
use bytesize::ByteSize;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::Path;
use std::time::Duration;

/// The whole configuration. Every key has a default but `nodes`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Public addresses, `HOST:PORT`; port 0 takes a free one.
    pub listen: Vec<String>,
    /// Address of the admin listener (status, explain, health); none by default, never meant to be public.
    pub admin: Option<String>,
    /// The nodes; their order is part of the placement.
    pub nodes: Vec<NodeConfig>,
    /// Which node owns a repository.
    pub placement: Placement,
    /// What becomes of a fan-out when a node fails.
    pub partial: Partial,
    /// Deadlines.
    pub timeouts: Timeouts,
    /// Bounds.
    pub limits: Limits,
    /// The log, on standard error.
    pub log: Log,
}

/// One node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeConfig {
    /// The name that errors and logs use; without one, the node's `HOST:PORT`.
    #[serde(default)]
    pub name: Option<String>,
    /// `http://HOST:PORT`.
    pub url: NodeUrl,
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
    /// For all that one node is asked in a fan-out.
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
    /// For the requests in flight to finish after SIGTERM.
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
    /// All that one node answers in one fan-out.
    pub answer_bytes: ByteSize,
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
            listen: vec!["127.0.0.1:5000".to_owned()],
            admin: None,
            nodes: Vec::new(),
            placement: Placement::default(),
            partial: Partial::default(),
            timeouts: Timeouts::default(),
            limits: Limits::default(),
            log: Log::default(),
        }
    }
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        Timeouts {
            connect: Duration::from_secs(2),
            headers: Duration::from_secs(30),
            total: Duration::from_secs(60),
            idle: Duration::from_secs(60),
            client_headers: Duration::from_secs(30),
            keepalive: Duration::from_secs(60),
            drain: Duration::from_secs(10),
        }
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            header_bytes: ByteSize::kib(64),
            header_count: 200,
            answer_bytes: ByteSize::mib(256),
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

/// What is wrong with a configuration, where, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The file, the environment variable, or `command line`.
    pub place: String,
    /// Line and column in the file, from 1.
    pub position: Option<(u64, u64)>,
    /// The path of the key, such as `nodes[1].url`; empty when it is not about one key.
    pub key: String,
    /// What is wrong, and what would be right.
    pub problem: String,
}

impl std::error::Error for ConfigError {}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.place)?;
        if let Some((line, column)) = self.position {
            write!(f, ":{line}:{column}")?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        write!(f, ": {}", self.problem)
    }
}

/// What the command line says. Empty and `None`: nothing.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    /// `--listen`, each.
    pub listen: Vec<String>,
    /// `--admin`.
    pub admin: Option<String>,
    /// `--node [NAME=]URL`, each.
    pub nodes: Vec<String>,
    /// `--hash-key`.
    pub hash_key: Option<String>,
}

const COMMAND_LINE: &str = "command line";

impl Config {
    /// Reads the file, if there is one, the environment (`(name, value)` pairs) and the flags.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong, with its place. A configuration without nodes is wrong.
    pub fn load(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
        flags: &Flags,
    ) -> Result<Config, ConfigError> {
        let mut merged = Value::Object(Map::new());
        let mut source = None;
        if let Some(path) = file {
            let text = std::fs::read_to_string(path).map_err(|error| ConfigError {
                place: path.display().to_string(),
                position: None,
                key: String::new(),
                problem: format!("cannot be read: {error}"),
            })?;
            let place = path.display().to_string();
            merge(&mut merged, parse_file(&place, &text)?);
            source = Some((place, text));
        }
        for (name, layer) in environment_layers(environment)? {
            check_layer(&name, &layer)?;
            merge(&mut merged, layer);
        }
        let layer = flags_layer(flags);
        check_layer(COMMAND_LINE, &layer)?;
        merge(&mut merged, layer);
        let config: Config = typed("configuration", merged)?;
        config.check().map_err(|(key, problem)| {
            let position = source.as_ref().and_then(|(_, text)| position_of(text, &key));
            let place = match (&source, position) {
                (Some((place, _)), Some(_)) => place.clone(),
                (Some((place, _)), None) if flags.nodes.is_empty() => place.clone(),
                _ => COMMAND_LINE.to_owned(),
            };
            ConfigError { place, position, key, problem }
        })?;
        Ok(config)
    }

    /// What types alone cannot say. An error is the path of a key and the problem.
    fn check(&self) -> Result<(), (String, String)> {
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
            if let Some(first) = urls.insert(node.url.authority(), index) {
                let problem = format!(
                    "{} is the URL of nodes[{first}], too; a node that counts twice would own two shares: \
                     leave one out",
                    node.url
                );
                return Err((format!("nodes[{index}].url"), problem));
            }
        }
        if self.listen.is_empty() {
            return Err(("listen".to_owned(), "there is no address to listen on; give one, HOST:PORT".to_owned()));
        }
        let listeners = self.listen.iter().enumerate().map(|(i, address)| (format!("listen[{i}]"), address));
        let admin = self.admin.iter().map(|address| ("admin".to_owned(), address));
        for (key, address) in listeners.chain(admin) {
            let port = address.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port);
            if port.and_then(|port| port.parse::<u16>().ok()).is_none() {
                let problem = format!("{address:?} is no address to listen on; write HOST:PORT, such as 0.0.0.0:5000");
                return Err((key, problem));
            }
        }
        let timeouts = [
            ("connect", self.timeouts.connect),
            ("headers", self.timeouts.headers),
            ("total", self.timeouts.total),
            ("idle", self.timeouts.idle),
            ("client_headers", self.timeouts.client_headers),
            ("keepalive", self.timeouts.keepalive),
        ];
        for (name, timeout) in timeouts {
            if !TIMEOUT.contains(&timeout) {
                return Err((format!("timeouts.{name}"), "must be between 1ms and 24h, such as 30s".to_owned()));
            }
        }
        let minima = [
            ("header_bytes", self.limits.header_bytes.as_u64(), 1024),
            ("header_count", self.limits.header_count as u64, 16),
            ("answer_bytes", self.limits.answer_bytes.as_u64(), 1024),
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
        if let Err(error) = tracing_subscriber::EnvFilter::try_new(&self.log.level) {
            let problem = format!("is no log level ({error}); use error, warn, info, debug or trace");
            return Err(("log.level".to_owned(), problem));
        }
        Ok(())
    }

    /// The fleet that the configuration names.
    pub fn fleet(&self) -> Fleet {
        let nodes = self.nodes.iter().map(|node| Node::new(node.name(), node.url.clone()));
        Fleet::new(nodes.collect(), self.placement.clone())
    }
}

impl NodeConfig {
    /// The name, given or made of the URL.
    pub fn name(&self) -> String {
        self.name.clone().unwrap_or_else(|| self.url.authority())
    }
}

/// Parses the file and checks it against the types, where the lines are known.
fn parse_file(place: &str, text: &str) -> Result<Value, ConfigError> {
    let failed = |error: serde_saphyr::Error, key: String| ConfigError {
        place: place.to_owned(),
        position: error.location().map(|at| (at.line(), at.column())),
        problem: with_suggestion(&plain(&error)),
        key,
    };
    let mut key = String::new();
    serde_saphyr::with_deserializer_from_str(text, |deserializer| {
        serde_path_to_error::deserialize::<_, Option<Config>>(deserializer).map_err(|error| {
            key = key_path(error.path());
            error.into_inner()
        })
    })
    .map_err(|error| failed(error, std::mem::take(&mut key)))?;
    // An empty file, or one with comments only, says nothing.
    let value: Option<Value> = serde_saphyr::from_str(text).map_err(|error| failed(error, String::new()))?;
    Ok(value.unwrap_or_else(|| Value::Object(Map::new())))
}

/// The message without the position and the excerpt that the YAML library adds.
fn plain(error: &serde_saphyr::Error) -> String {
    let text = error.without_snippet().to_string();
    let first = text.lines().next().unwrap_or_default();
    first.rsplit_once(" at line ").map_or(first, |(message, _)| message).to_owned()
}

fn key_path(path: &serde_path_to_error::Path) -> String {
    let text = path.to_string();
    if text == "." { String::new() } else { text }
}

/// Adds what was probably meant to serde's message on an unknown key or value.
fn with_suggestion(message: &str) -> String {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let Some(unknown) = quoted.next().filter(|_| message.starts_with("unknown ")) else { return message.to_owned() };
    let nearest = quoted.map(|known| (strsim::jaro_winkler(unknown, known), known)).max_by(|a, b| a.0.total_cmp(&b.0));
    match nearest {
        Some((likeness, known)) if likeness > 0.7 => format!("{message}; did you mean `{known}`?"),
        _ => message.to_owned(),
    }
}

/// One layer for each variable of the environment that is a key.
fn environment_layers(
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Vec<(String, Value)>, ConfigError> {
    let keys = environment_keys();
    let mut layers = Vec::new();
    for (name, text) in environment {
        // Kubernetes puts ONEZOT_SERVICE_HOST and the like there: what is no key is somebody else's.
        let Some(path) = keys.get(&name) else { continue };
        let value = match path.last().map(String::as_str) {
            Some("listen") => Value::Array(split_list(&text).map(Value::from).collect()),
            Some("nodes") => Value::Array(split_list(&text).map(node_from_text).collect()),
            // A key of 16 digits is a string all the same.
            Some("hash_key" | "level") => Value::from(text),
            _ => serde_saphyr::from_str(&text).map_err(|error| ConfigError {
                place: name.clone(),
                position: None,
                key: path.join("."),
                problem: plain(&error),
            })?,
        };
        let layer = path.iter().rev().fold(value, |value, key| Value::Object(Map::from_iter([(key.clone(), value)])));
        layers.push((name, layer));
    }
    Ok(layers)
}

/// Every key's variable and path: the leaves of the default configuration.
fn environment_keys() -> BTreeMap<String, Vec<String>> {
    fn leaves(value: &Value, path: &mut Vec<String>, keys: &mut BTreeMap<String, Vec<String>>) {
        if let Value::Object(map) = value {
            for (key, value) in map {
                path.push(key.clone());
                leaves(value, path, keys);
                path.pop();
            }
        } else {
            keys.insert(format!("ONEZOT_{}", path.join("_").to_uppercase()), path.clone());
        }
    }
    let mut keys = BTreeMap::new();
    // Serialising plain structs of strings and numbers cannot fail; were it to, no variable would be known.
    let defaults = serde_json::to_value(Config::default()).unwrap_or_default();
    leaves(&defaults, &mut Vec::new(), &mut keys);
    keys
}

fn split_list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty())
}

/// `[NAME=]URL`.
fn node_from_text(text: &str) -> Value {
    let (name, url) = match text.split_once('=') {
        Some((name, url)) if !name.contains('/') => (Some(name), url),
        _ => (None, text),
    };
    let mut node = Map::from_iter([("url".to_owned(), Value::from(url))]);
    if let Some(name) = name {
        node.insert("name".to_owned(), Value::from(name));
    }
    Value::Object(node)
}

fn flags_layer(flags: &Flags) -> Value {
    let mut layer = Map::new();
    if !flags.listen.is_empty() {
        layer.insert("listen".to_owned(), Value::from(flags.listen.clone()));
    }
    if let Some(admin) = &flags.admin {
        layer.insert("admin".to_owned(), Value::from(admin.clone()));
    }
    if !flags.nodes.is_empty() {
        let nodes = flags.nodes.iter().map(|node| node_from_text(node));
        layer.insert("nodes".to_owned(), Value::Array(nodes.collect()));
    }
    if let Some(key) = &flags.hash_key {
        layer.insert(
            "placement".to_owned(),
            Value::Object(Map::from_iter([("hash_key".to_owned(), Value::from(key.clone()))])),
        );
    }
    Value::Object(layer)
}

fn merge(below: &mut Value, above: Value) {
    match (below, above) {
        (Value::Object(below), Value::Object(above)) => {
            for (key, value) in above {
                merge(below.entry(key).or_insert(Value::Null), value);
            }
        }
        (below, above) => *below = above,
    }
}

fn typed(place: &str, value: Value) -> Result<Config, ConfigError> {
    serde_path_to_error::deserialize(value).map_err(|error| ConfigError {
        place: place.to_owned(),
        position: None,
        key: key_path(error.path()),
        problem: with_suggestion(&error.into_inner().to_string()),
    })
}

/// Checks one layer alone, so that an error names where it comes from.
fn check_layer(place: &str, layer: &Value) -> Result<(), ConfigError> {
    typed(place, layer.clone()).map(drop)
}

/// The place of a key in a YAML text; of its nearest parent when it is not there.
fn position_of(text: &str, key: &str) -> Option<(u64, u64)> {
    let tree: serde_saphyr::Spanned<Tree> = serde_saphyr::from_str(text).ok()?;
    let mut at = None;
    let mut here = &tree;
    for part in key.split(['.', '[']).map(|part| part.trim_end_matches(']')) {
        let next = match &here.value {
            Tree::Map(entries) => entries.iter().find(|(name, _)| name == part).map(|(_, value)| value),
            Tree::List(items) => part.parse().ok().and_then(|index: usize| items.get(index)),
            Tree::Leaf => None,
        };
        let Some(next) = next else { break };
        at = Some((next.referenced.line(), next.referenced.column()));
        here = next;
    }
    at
}

/// The shape of a YAML document, with positions.
enum Tree {
    Map(Vec<(String, serde_saphyr::Spanned<Tree>)>),
    List(Vec<serde_saphyr::Spanned<Tree>>),
    Leaf,
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Tree, D::Error> {
        struct Shape;

        impl<'de> serde::de::Visitor<'de> for Shape {
            type Value = Tree;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a YAML value")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Tree, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Tree::Map(entries))
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut list: A) -> Result<Tree, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = list.next_element()? {
                    items.push(item);
                }
                Ok(Tree::List(items))
            }

            fn visit_bool<E>(self, _: bool) -> Result<Tree, E> {
                Ok(Tree::Leaf)
            }

            fn visit_i64<E>(self, _: i64) -> Result<Tree, E> {
                Ok(Tree::Leaf)
            }

            fn visit_u64<E>(self, _: u64) -> Result<Tree, E> {
                Ok(Tree::Leaf)
            }

            fn visit_f64<E>(self, _: f64) -> Result<Tree, E> {
                Ok(Tree::Leaf)
            }

            fn visit_str<E>(self, _: &str) -> Result<Tree, E> {
                Ok(Tree::Leaf)
            }

            fn visit_unit<E>(self) -> Result<Tree, E> {
                Ok(Tree::Leaf)
            }
        }

        deserializer.deserialize_any(Shape)
    }
}
