//! API keys: a password that a user makes for a machine (`pkg/api/routes.go`, `CreateAPIKey` and its neighbours).

use super::exchange::{Asked, Cors, Reply};
use super::go_json;
use super::registry::Registry;
use super::time::{self, Time};
use http::header::USER_AGENT;
use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

/// What every key begins with.
pub const PREFIX: &str = "zak_";
/// The largest request for a key (`MaxAPIKeyBodySize`).
const LARGEST_BODY: usize = 8 << 10;

/// A key, and what is known of it.
#[derive(Debug)]
struct Key {
    secret: String,
    user: String,
    id: String,
    created: Time,
    expires: Option<Time>,
    used: Option<Time>,
    agent: String,
    label: String,
    scopes: Value,
}

impl Key {
    fn is_expired(&self) -> bool {
        self.expires.is_some_and(|expires| time::now() > expires)
    }

    fn told(&self) -> Map<String, Value> {
        // Unlike in GraphQL, the zero time is written.
        let told = |time: Option<Time>| time.and_then(time::write).unwrap_or_else(|| "0001-01-01T00:00:00Z".to_owned());
        let fields = [
            ("createdAt", json!(told(Some(self.created)))),
            ("expirationDate", json!(told(self.expires))),
            ("isExpired", json!(self.is_expired())),
            ("creatorUa", json!(self.agent)),
            ("generatedBy", json!("manual")),
            ("lastUsed", json!(told(self.used))),
            ("label", json!(self.label)),
            ("scopes", self.scopes.clone()),
            ("uuid", json!(self.id)),
        ];
        fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

/// The keys of a node.
#[derive(Debug, Default)]
pub struct Keys(Vec<Key>);

impl Keys {
    /// Whether a password is a key of this user; that it was used is noted.
    pub fn admit(&mut self, user: &str, password: &str) -> bool {
        let Some(secret) = password.strip_prefix(PREFIX) else { return false };
        let key = self.0.iter_mut().find(|key| key.secret == secret && key.user == user && !key.is_expired());
        key.is_some_and(|key| {
            key.used = Some(time::now());
            true
        })
    }
}

/// `/zot/auth/apikey…`
pub fn answer(registry: &Registry, asked: &Asked, user: &str) -> Reply {
    let mut reply = match asked.method {
        // Who is let in without a name has no keys, and zot says so in this way.
        _ if user.is_empty() => Reply::empty(StatusCode::INTERNAL_SERVER_ERROR),
        Method::POST => create(registry, asked, user),
        Method::DELETE => revoke(registry, asked, user),
        _ => list(registry, user),
    };
    Cors::Methods("GET,POST,DELETE,OPTIONS").apply(&mut reply);
    reply
}

fn create(registry: &Registry, asked: &Asked, user: &str) -> Reply {
    if asked.body.len() > LARGEST_BODY {
        return Reply::empty(StatusCode::PAYLOAD_TOO_LARGE);
    }
    let bad = || Reply::empty(StatusCode::BAD_REQUEST);
    let fields = match serde_json::from_slice(&asked.body) {
        Ok(Value::Object(fields)) => fields,
        Ok(Value::Null) => Map::new(),
        _ => return bad(),
    };
    // Go takes the names of fields in any case, and of several the last one.
    let field = |name: &str| {
        let found = fields.iter().rev().find(|(key, value)| key.eq_ignore_ascii_case(name) && !value.is_null());
        found.map_or(Value::Null, |(_, value)| value.clone())
    };
    let text = |value: Value| match value {
        Value::Null => Some(String::new()),
        Value::String(text) => Some(text),
        _ => None,
    };
    let (Some(label), Some(until), scopes) = (text(field("label")), text(field("expirationDate")), field("scopes"))
    else {
        return bad();
    };
    let expires = match (until.as_str(), time::parse(&until)) {
        ("", _) => None,
        (_, Some(expires)) if expires > time::now() => Some(expires),
        _ => return bad(),
    };
    let mut names = registry.ties.fresh();
    let id = names.name();
    let key = Key {
        secret: names.name(),
        user: user.to_owned(),
        id: [&id[..8], &id[8..12], &id[12..16], &id[16..20], &id[20..]].join("-"),
        created: time::now(),
        expires,
        used: None,
        agent: asked.header(&USER_AGENT).to_owned(),
        label,
        scopes,
    };
    let mut told = key.told();
    told.insert("apiKey".to_owned(), json!(format!("{PREFIX}{}", key.secret)));
    registry.with(|state| state.keys.0.push(key));
    Reply::data(StatusCode::CREATED, "application/json", go_json::encode(&told))
}

fn list(registry: &Registry, user: &str) -> Reply {
    let own = |keys: &Keys| keys.0.iter().filter(|key| key.user == user).map(Key::told).collect();
    let mut told: Vec<_> = registry.with(|state| own(&state.keys));
    // They come out of a map.
    registry.ties.fresh().order(&mut told);
    Reply::json(StatusCode::OK, &json!({"apiKeys": told}))
}

fn revoke(registry: &Registry, asked: &Asked, user: &str) -> Reply {
    match asked.parameters("id").as_slice() {
        [id] => {
            // Of a key that is not there it is said that it is gone.
            registry.with(|state| state.keys.0.retain(|key| key.user != user || key.id != *id));
            Reply::empty(StatusCode::OK)
        }
        _ => Reply::empty(StatusCode::BAD_REQUEST),
    }
}
