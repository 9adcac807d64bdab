//! Layers of configuration: a file, the environment and flags, merged into one checked [`Config`].
//!
//! Later layers win: flags > environment > file > default. Each key is also an environment variable: `ONEZOT_` and the
//! key's path in upper case with `_` between the parts, so `timeouts.connect` is `ONEZOT_TIMEOUTS_CONNECT`.

use super::position::position_of;
use super::{Config, NodeConfig};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

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
    /// `--seal-key-file`, each.
    pub seal_keys: Vec<String>,
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
        let mut origins = BTreeMap::new();
        if let Some(path) = file {
            let text = std::fs::read_to_string(path).map_err(|error| ConfigError {
                place: path.display().to_string(),
                position: None,
                key: String::new(),
                problem: format!("cannot be read: {error}"),
            })?;
            let place = path.display().to_string();
            let layer = parse_file(&place, &text)?;
            note_origins(&mut origins, &place, &layer);
            merge(&mut merged, layer);
            source = Some((place, text));
        }
        for (name, layer) in environment_layers(environment)? {
            check_layer(&name, &layer)?;
            note_origins(&mut origins, &name, &layer);
            merge(&mut merged, layer);
        }
        let layer = flags_layer(flags);
        check_layer(COMMAND_LINE, &layer)?;
        note_origins(&mut origins, COMMAND_LINE, &layer);
        merge(&mut merged, layer);
        let mut config: Config = typed("configuration", merged)?;
        config.check().and_then(|()| config.read_files()).map_err(|(key, problem)| {
            let file = source.as_ref().map(|(place, _)| place);
            // What nobody has set is missing: in the file, if there is one.
            let origin = origins.get(key.split('[').next().unwrap_or_default()).or(file);
            let place = origin.cloned().unwrap_or_else(|| COMMAND_LINE.to_owned());
            let text = source.as_ref().filter(|(file, _)| *file == place).map(|(_, text)| text);
            let position = text.and_then(|text| position_of(text, &key));
            ConfigError { place, position, key, problem }
        })?;
        Ok(config)
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

/// Reads the list of nodes in the file of `discovery.file`, YAML or JSON.
///
/// # Errors
///
/// It cannot be read, or is no list of nodes, with the place. A list without nodes is none.
pub fn nodes_file(file: &Path) -> Result<Vec<NodeConfig>, ConfigError> {
    let place = file.display().to_string();
    let failed = |position, key, problem| ConfigError { place: place.clone(), position, key, problem };
    let text = std::fs::read_to_string(file)
        .map_err(|error| failed(None, String::new(), format!("cannot be read: {error}")))?;
    let mut key = String::new();
    let nodes = serde_saphyr::with_deserializer_from_str(&text, |deserializer| {
        serde_path_to_error::deserialize::<_, Option<Vec<NodeConfig>>>(deserializer).map_err(|error| {
            key = key_path(error.path());
            error.into_inner()
        })
    });
    let nodes = nodes.map_err(|error| {
        let position = error.location().map(|at| (at.line(), at.column()));
        failed(position, std::mem::take(&mut key), with_suggestion(&plain(&error)))
    })?;
    let nodes = nodes.unwrap_or_default();
    if nodes.is_empty() {
        return Err(failed(None, String::new(), "there are no nodes in it".to_owned()));
    }
    let config = Config { nodes, ..Config::default() };
    config
        .check_nodes()
        .map_err(|(key, problem)| failed(position_of(&text, key.trim_start_matches("nodes[")), key, problem))?;
    Ok(config.nodes)
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

/// Adds to serde's message what was probably meant, or what a value looks like.
fn with_suggestion(message: &str) -> String {
    if message.ends_with("a duration") {
        return format!("{message}, such as 500ms, 30s or 2m");
    }
    let Some((problem, expected)) = message.split_once("expected one of ") else { return message.to_owned() };
    let unknown = problem.split('`').nth(1).unwrap_or_default();
    let known = expected.split(", ").map(|name| name.trim_matches('`'));
    let nearest = known.map(|name| (strsim::jaro_winkler(unknown, name), name)).max_by(|a, b| a.0.total_cmp(&b.0));
    match nearest {
        Some((likeness, name)) if likeness > 0.7 => format!("{message}; did you mean `{name}`?"),
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
            Some("listen" | "trusted_proxies" | "seal_keys") => {
                Value::Array(split_list(&text).map(Value::from).collect())
            }
            // With more than names and URLs: as in a file.
            Some("nodes") if !text.trim_start().starts_with('[') => {
                Value::Array(split_list(&text).map(node_from_text).collect())
            }
            Some("map") => Value::Array(split_list(&text).map(mapped_from_text).collect()),
            // A key of 16 digits is a string all the same.
            Some("admin" | "client_subject_header") if text.is_empty() => Value::Null,
            Some("file" | "dns" | "dns_server" | "kubernetes" | "kubeconfig") if text.is_empty() => Value::Null,
            // YAML would read [::1]:9100 as a list.
            Some("admin" | "hash_key" | "level" | "file" | "dns" | "dns_server" | "kubernetes" | "kubeconfig") => {
                Value::from(text)
            }
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
    // Serialising plain structs of strings and numbers cannot fail; were it to, no variable would be known.
    let defaults = serde_json::to_value(Config::default()).unwrap_or_default();
    let named = |path: Vec<String>| (format!("ONEZOT_{}", path.join("_").to_uppercase()), path);
    leaves(&defaults).into_iter().map(named).collect()
}

/// The paths of all that is no object.
fn leaves(value: &Value) -> Vec<Vec<String>> {
    let Value::Object(map) = value else { return vec![Vec::new()] };
    let below = |(key, value): (&String, &Value)| {
        let key = key.clone();
        leaves(value).into_iter().map(move |path| [vec![key.clone()], path].concat()).collect::<Vec<_>>()
    };
    map.iter().flat_map(below).collect()
}

/// Remembers where the keys of a layer come from.
fn note_origins(origins: &mut BTreeMap<String, String>, place: &str, layer: &Value) {
    origins.extend(leaves(layer).into_iter().map(|path| (path.join("."), place.to_owned())));
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

/// `PREFIX=NODE`.
fn mapped_from_text(text: &str) -> Value {
    let (prefix, node) = text.split_once('=').unwrap_or((text, ""));
    serde_json::json!({"prefix": prefix, "node": node})
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
    if !flags.seal_keys.is_empty() {
        let keys = Map::from_iter([("seal_keys".to_owned(), Value::from(flags.seal_keys.clone()))]);
        layer.insert("identity".to_owned(), Value::Object(keys));
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

#[cfg(test)]
mod tests {
    use super::super::{Listener, NodeConfig, Timeouts};
    use super::*;
    use bytesize::ByteSize;
    use std::time::Duration;

    const TWO: &str = "nodes:\n  - {name: a, url: \"http://a:5000\"}\n  - {name: b, url: \"http://b:5000\"}\n";

    fn load(yaml: &str, environment: &[(&str, &str)], flags: &Flags) -> Result<Config, ConfigError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), yaml).unwrap();
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Config::load(Some(file.path()), environment, flags).map_err(|mut error| {
            error.place = error.place.replace(&file.path().display().to_string(), "FILE");
            error
        })
    }

    fn names(config: &Config) -> Vec<String> {
        config.nodes.iter().map(NodeConfig::name).collect()
    }

    #[test]
    fn flags_beat_the_environment_which_beats_the_file_which_beats_defaults() {
        let yaml = format!("{TWO}timeouts: {{connect: 3s, idle: 4s}}\nplacement: {{hash_key: aaaaaaaaaaaaaaaa}}\n");
        let environment = [
            ("ONEZOT_TIMEOUTS_CONNECT", "5s"),
            ("ONEZOT_PLACEMENT_HASH_KEY", "1234567890123456"),
            ("ONEZOT_NODES", "x=http://x:1, http://y:2"),
            ("ONEZOT_LISTEN", "127.0.0.1:1,127.0.0.1:2"),
            ("ONEZOT_LIMITS_ANSWER_BYTES", "2MiB"),
            ("ONEZOT_ADMIN", "[::1]:3"),
            ("ONEZOT_SERVICE_HOST", "10.0.0.1"),
            ("ONEZOT_PORT", "tcp://10.0.0.1:5000"),
        ];
        let flags = Flags { nodes: vec!["z=http://z:3".to_owned()], ..Flags::default() };
        let config = load(&yaml, &environment, &flags).unwrap();
        assert_eq!(names(&config), ["z"]);
        assert_eq!(config.timeouts.connect, Duration::from_secs(5));
        assert_eq!(config.timeouts.idle, Duration::from_secs(4));
        assert_eq!(config.timeouts.headers, Timeouts::default().headers);
        assert_eq!(config.placement.hash_key.to_string(), "1234567890123456");
        assert_eq!(config.listen, ["127.0.0.1:1", "127.0.0.1:2"].map(Listener::from));
        assert_eq!(config.limits.answer_bytes, ByteSize::mib(2));
        assert_eq!(config.admin.as_deref(), Some("[::1]:3"));
        assert_eq!(names(&load(&yaml, &environment[..3], &Flags::default()).unwrap()), ["x", "y:2"]);
    }

    #[test]
    fn every_key_is_a_variable() {
        let keys = environment_keys();
        assert!(keys.len() > 18, "{keys:?}");
        let seal_key = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(seal_key.path(), "k".repeat(40)).unwrap();
        let seal_key = seal_key.path().display().to_string();
        for (name, path) in keys {
            let value = match path.last().map(String::as_str) {
                Some("nodes") => "http://n:1",
                Some("trusted_proxies") => "10.0.0.0/8, ::1",
                Some("listen" | "admin") => "127.0.0.1:1",
                Some("client_subject_header") => "X-Client-Subject",
                Some("hash_key") => "bbbbbbbbbbbbbbbb",
                Some("seal_keys") => seal_key.as_str(),
                Some("strategy") => "rendezvous",
                Some("fallback") => "rendezvous",
                // A map counts with its strategy only.
                Some("map") => "",
                Some("locate") => "search",
                Some("metadata") => "shared",
                Some("partial") => "warn",
                Some("unknown_queries") => "any-node",
                Some("file" | "kubeconfig") => "/somewhere",
                Some("dns") => "_http._tcp.zot.test",
                Some("dns_server") => "[::1]:53",
                Some("at_least") => "2",
                Some("tls") => "{dangerously_skip_verification: true}",
                Some("reload") => "signal",
                Some("format") => "json",
                Some("level") => "debug",
                Some("graphql_depth") => "37",
                Some("graphql_tokens" | "graphql_root_fields" | "graphql_selections") => "777",
                Some("connections" | "requests" | "client_requests") => "77",
                Some("header_count" | "in_flight" | "node_in_flight" | "mounts") => "77",
                Some("allow_partial") => "true",
                Some("queue") => "7s",
                Some(name) if name.ends_with("_bytes") => "77KiB",
                _ => "77s",
            };
            let nodes =
                if ["ONEZOT_DISCOVERY_FILE", "ONEZOT_DISCOVERY_DNS"].contains(&name.as_str()) { "" } else { TWO };
            if name == "ONEZOT_DISCOVERY_KUBERNETES" {
                // Whether it is one depends on how onezot is built.
                let error = load(TWO, &[(name.as_str(), "registry/zot")], &Flags::default()).unwrap_err();
                assert!(
                    error.to_string().starts_with("ONEZOT_DISCOVERY_KUBERNETES: discovery.kubernetes: "),
                    "{error}"
                );
                continue;
            }
            let config = load(nodes, &[(name.as_str(), value)], &Flags::default()).unwrap();
            let plain = load(TWO, &[], &Flags::default()).unwrap();
            assert!(config != plain || name == "ONEZOT_PLACEMENT_MAP", "{name} changes nothing");
        }
        let environment = [("ONEZOT_PLACEMENT_STRATEGY", "map"), ("ONEZOT_PLACEMENT_MAP", "team-a=a, team-b/x=b")];
        let map = load(TWO, &environment, &Flags::default()).unwrap().placement.map;
        assert_eq!(
            map.iter().map(|entry| (&*entry.prefix, &*entry.node)).collect::<Vec<_>>(),
            [("team-a", "a"), ("team-b/x", "b")]
        );
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line_its_key_and_a_way_out() {
        for (yaml, expected) in [
            (
                "nodez: []\n",
                "FILE:1:1: nodez: unknown field `nodez`, expected one of listen, admin, trusted_proxies, \
                            client_subject_header, nodes, discovery, reload, placement, locate, metadata, partial, unknown_queries, allow_partial, identity, health, timeouts, limits, log; did you mean `nodes`?",
            ),
            (
                "unknown_queries: any\n",
                "FILE:1:18: unknown_queries: unknown variant `any`, expected one of refuse, any-node; did you mean `any-node`?",
            ),
            (
                "nodes:\n- {name: a, url: 'ftp://a'}\n",
                "FILE:2:18: nodes[0].url: \"ftp://a\" is not the URL of a node: \
                            \"ftp\" is no scheme of a registry; write http://HOST:PORT or https://HOST:PORT",
            ),
            (
                "nodes:\n- url: http://a\n  weight: 1\n",
                "FILE:3:3: nodes[0].weight: unknown field `weight`, expected \
                            one of name, url, tls, credentials_file",
            ),
            (
                "nodes:\n- name: a\n  url: http://a\n- name: a\n  url: http://b\n",
                "FILE:4:9: nodes[1].name: the name \
                            \"a\" is that of nodes[0], too; give each node its own",
            ),
            (
                "nodes:\n- name: a\n  url: http://a\n- name: b\n  url: http://a:80\n",
                "FILE:5:8: nodes[1].url: http://a \
                            is the URL of nodes[0], too; a node that counts twice would own two shares: leave one out",
            ),
            (
                "nodes: [{url: http://a}]\nplacement:\n  hash_key: short\n",
                "FILE:3:13: placement.hash_key: the hash key \
                            must be exactly 16 ASCII characters, this one has 5 bytes; use the cluster.hashKey of your \
                            zots, or leave it out",
            ),
            (
                "nodes: [{url: http://a}]\ntimeouts: {connect: soon}\n",
                "FILE:2:12: timeouts.connect: invalid value: \
                            string \"soon\", expected a duration, such as 500ms, 30s or 2m",
            ),
            (
                "nodes: [{url: http://a}]\ntimeouts: {connect: 0s}\n",
                "FILE:2:21: timeouts.connect: must be between 1ms \
                            and 24h, such as 30s",
            ),
            (
                "nodes: [{url: http://a}]\npartial: warm\n",
                "FILE:2:10: partial: unknown variant `warm`, expected one of \
                            fail, warn; did you mean `warn`?",
            ),
            (
                "nodes: [{url: http://a}]\nlog: {level: 'onezot=nope'}\n",
                "FILE:2:14: log.level: is no log level (error parsing \
                            level filter: expected one of \"off\", \"error\", \"warn\", \"info\", \"debug\", \"trace\", or a \
                            number 0-5); use error, warn, info, debug or trace",
            ),
            (
                "nodes: [{url: http://a}]\nlisten: ['5000']\n",
                "FILE:2:10: listen[0]: \"5000\" is no address to listen on; \
                            write HOST:PORT, such as 0.0.0.0:5000",
            ),
            (
                "nodes: [{url: http://a}]\nlimits: {header_bytes: 3}\n",
                "FILE:2:24: limits.header_bytes: 3 is too little to \
                            work with; at least 1024",
            ),
            (
                "nodes: [{url: http://a}]\nlimits: {header_count: 251}\n",
                "FILE:2:24: limits.header_count: 251 is more than can \
                            be kept; at most 250",
            ),
            (
                "nodes: [{url: http://a}]\nlimits: {header_bytes: 2MiB}\n",
                "FILE:2:24: limits.header_bytes: 2097152 is more than \
                            can be kept; at most 1048576",
            ),
            (
                "nodes: [{url: http://a}]\ntrusted_proxies: [10.0.0.0/8, proxy]\n",
                "FILE:2:31: trusted_proxies[1]: \"proxy\" is no \
                            range of addresses; write one such as 10.0.0.0/8",
            ),
            (
                "nodes: [{url: http://a}]\nidentity: {seal_keys: [/nonexistent]}\n",
                "FILE:2:24: identity.seal_keys[0]: /nonexistent: No such file or directory (os error 2)",
            ),
            (
                "nodes: [{url: http://a}]\nidentity: {seal_keys: [/dev/null]}\n",
                "FILE:2:24: identity.seal_keys[0]: /dev/null: it holds 0 bytes, and a key has 32 to 4096; make one \
                            with: openssl rand -base64 48",
            ),
            (
                "nodes:\n- url: http://a\n  credentials_file: /nonexistent/x\n",
                "FILE:3:21: nodes[0].credentials_file: /nonexistent/x: No such file or directory (os error 2)",
            ),
            (
                "nodes: [{url: http://a}]\nhealth: {interval: 1ms}\n",
                "FILE:2:20: health.interval: must be between 10ms and 1h, or 0s for no checks",
            ),
            (
                "nodes: [{url: http://a}]\nlimits: {queue: 2m}\n",
                "FILE:2:17: limits.queue: is longer than clients should wait for nothing; at most 60s",
            ),
            ("", "FILE: nodes: there are no nodes; name at least one, such as --node zot-0=http://127.0.0.1:5001"),
        ] {
            assert_eq!(load(yaml, &[], &Flags::default()).unwrap_err().to_string(), expected, "{yaml}");
        }
        let environment = [("ONEZOT_TIMEOUTS_CONNECT", "x")];
        let error = load(TWO, &environment, &Flags::default()).unwrap_err().to_string();
        assert!(error.starts_with("ONEZOT_TIMEOUTS_CONNECT: timeouts.connect: "), "{error}");
        for (name, value, expected) in [
            ("ONEZOT_NODES", "http://a:1,http://a:1", "ONEZOT_NODES: nodes[1].url: the name \"a:1\" is that of"),
            ("ONEZOT_LISTEN", "5000", "ONEZOT_LISTEN: listen[0]: \"5000\" is no address"),
            ("ONEZOT_LIMITS_HEADER_COUNT", "1", "ONEZOT_LIMITS_HEADER_COUNT: limits.header_count: 1 is too little"),
        ] {
            let yaml = format!("{TWO}listen: ['127.0.0.1:1']\nlimits: {{header_count: 100}}\n");
            let error = load(&yaml, &[(name, value)], &Flags::default()).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        }
        let environment = [("ONEZOT_TIMEOUTS_IDLE", "9s")];
        let error = load(&format!("{TWO}timeouts: {{total: 0s}}\n"), &environment, &Flags::default()).unwrap_err();
        assert!(error.to_string().starts_with("FILE:4:19: timeouts.total: "), "{error}");
        let flags = Flags { listen: vec!["x".to_owned()], ..Flags::default() };
        let error = load(TWO, &[], &flags).unwrap_err().to_string();
        assert!(error.starts_with("command line: listen[0]: "), "{error}");
        let flags = Flags { hash_key: Some("x".to_owned()), ..Flags::default() };
        let error = load(TWO, &[], &flags).unwrap_err().to_string();
        assert!(error.starts_with("command line: placement.hash_key: "), "{error}");
        let missing = Config::load(Some(Path::new("/nonexistent.yaml")), [], &Flags::default()).unwrap_err();
        assert!(missing.to_string().starts_with("/nonexistent.yaml: cannot be read: "));
    }

    #[test]
    fn credentials_are_read_from_their_file_and_never_shown() {
        let secret = tempfile::NamedTempFile::new().unwrap();
        let path = secret.path().display();
        let nodes = format!("[{{name: a, url: \"http://a:1\", credentials_file: {path}}}]");
        for (text, is_right) in
            [("me:s3cret\n", true), ("me:s3cret", true), ("s3cret\n", false), ("a:b\ns3cret\n", false)]
        {
            std::fs::write(secret.path(), text).unwrap();
            // In a file, and in a variable in the same form.
            for (yaml, environment) in [(format!("nodes: {nodes}\n"), None), (String::new(), Some(nodes.as_str()))] {
                let environment: Vec<_> = environment.map(|nodes| ("ONEZOT_NODES", nodes)).into_iter().collect();
                let loaded = load(&yaml, &environment, &Flags::default());
                assert!(!format!("{loaded:?}").contains("s3cret"), "{loaded:?}");
                match loaded {
                    Ok(config) => assert!(is_right && config.fleet().nodes()[0].credentials().is_some()),
                    Err(error) => {
                        assert!(!is_right && error.problem.ends_with("it is not one line user:password"), "{error}");
                    }
                }
            }
        }
    }

    #[test]
    fn no_text_makes_it_panic() {
        proptest::proptest!(|(yaml in "[a-z:{}\\[\\],'\"&*! \\n-]{0,60}")| {
            let _ = load(&yaml, &[], &Flags::default());
        });
    }
}
