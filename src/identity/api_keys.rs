//! API keys over nodes that share nothing: made at every node, handed out as one that seals theirs, listed once, revoked
//! everywhere.
//!
//! Each node gives a key an id of its own. So that any onezot knows which of them belong together, the label that the nodes
//! keep ends with an id of onezot's, which is what clients see as the id of the key.

use super::seal::{Bundle, Purpose};
use super::{Identity, SEALED_KEY, to_each};
use crate::answer::{self, Answer};
use crate::config::Partial;
use crate::page::query_values;
use crate::plan::To;
use crate::scatter::{Ask, Failure, FailureKind, NodeAnswer, Outcome, Reply, Scatter, Verdict};
use bytes::Bytes;
use chacha20poly1305::aead::OsRng;
use chacha20poly1305::aead::rand_core::RngCore as _;
use http::header::AUTHORIZATION;
use http::{Method, StatusCode};
use jiff::Timestamp;
use serde_json::{Map, Value};
use uuid::{Builder, Uuid};

/// What stands between a label and the id behind it.
const MARK: &str = " [onezot ";

/// A key as a node tells of it: its fields, in their order.
type Told = Map<String, Value>;

/// The times of a key, which are Go's: the year 1 says that there is none.
const LAST_USED: &str = "lastUsed";
const CREATED: &str = "createdAt";
const EXPIRES: &str = "expirationDate";

impl Identity {
    /// Answers a request for API keys.
    pub async fn api_keys(&self, scatter: &Scatter, ask: Ask) -> Answer {
        if !self.is_lasting {
            return unsealed(scatter, &ask).await;
        }
        // Who says nothing of himself has no keys anywhere.
        if !ask.headers.contains_key(AUTHORIZATION) && ask.sender.presented.session().is_none() {
            return one(scatter, &ask).await;
        }
        match ask.method {
            Method::POST => self.create(scatter, ask).await,
            Method::DELETE => self.revoke(scatter, ask).await,
            _ => list(scatter, &ask).await,
        }
    }

    /// Makes a key at every node, the first one first. Where not all of them make one, none is left.
    async fn create(&self, scatter: &Scatter, ask: Ask) -> Answer {
        let mut random = [0; 16];
        OsRng.fill_bytes(&mut random);
        let id = Builder::from_random_bytes(random).into_uuid().to_string();
        let Some((label, body)) = marked(&ask.body, &id) else {
            // A zot takes a list for no request, too; what it says of that is the client's.
            return one(scatter, &Ask { body: Bytes::from_static(b"[]"), ..ask }).await;
        };
        let ask = Ask { body, is_read: false, ..ask };
        let first = match scatter.at(0, &ask).await {
            Ok(answer) if answer.status == StatusCode::CREATED => answer,
            Ok(answer) => return answer::relay(answer),
            Err(failure) => return self.undo(scatter, &ask, &id, vec![failure]).await,
        };
        let mut others = to_each(scatter, &ask);
        others.retain(|(node, _)| *node != first.node);
        let (mut made, mut failures) = (vec![first], Vec::new());
        for reply in scatter.each(&others, created).await.into_replies() {
            match reply {
                Ok(Reply::Part(answer, _)) => made.push(answer),
                Ok(Reply::Refusal(answer)) => failures.push(refused(&answer)),
                Err(failure) => failures.push(failure),
            }
        }
        let (mut bundle, mut expires) = (Bundle::default(), 0);
        for answer in &made {
            match key(answer) {
                Some((secret, until)) => {
                    bundle.insert(&answer.name, &secret);
                    expires = expires.max(until);
                }
                None => failures.push(answer.unusable("it made a key and does not say which")),
            }
        }
        if !failures.is_empty() {
            return self.undo(scatter, &ask, &id, failures).await;
        }
        bundle.expires = expires;
        let sealed = self.seal.seal(Purpose::ApiKey, &bundle);
        let first = made.swap_remove(0);
        let fields = serde_json::from_slice::<Told>(&first.body);
        let (Some(sealed), Ok(mut fields)) = (sealed, fields) else { return answer::internal_error() };
        fields.insert("label".to_owned(), Value::String(label));
        fields.insert("uuid".to_owned(), Value::String(id));
        fields.insert("apiKey".to_owned(), Value::String(format!("{SEALED_KEY}{sealed}")));
        answer::of_json(first, &Value::Object(fields))
    }

    /// Takes back what has been made of a key that not every node could make.
    async fn undo(&self, scatter: &Scatter, ask: &Ask, id: &str, failures: Vec<Failure>) -> Answer {
        failures.iter().for_each(told);
        let query = format!("id={id}");
        let path = ask.target.split('?').next().unwrap_or_default();
        let ask = Ask { method: Method::DELETE, target: format!("{path}?{query}"), body: Bytes::new(), ..ask.clone() };
        let left = match revoke_everywhere(scatter, &ask, id).await {
            Revoked::Refused(_) => Vec::new(),
            Revoked::Everywhere(_) | Revoked::Nowhere => Vec::new(),
            Revoked::Failed(left) => left,
        };
        answer::no_key_made(&failures, &left)
    }

    /// Revokes a key wherever it is.
    async fn revoke(&self, scatter: &Scatter, ask: Ask) -> Answer {
        let ids: Vec<String> = ask
            .target
            .split_once('?')
            .map(|(_, query)| query_values(query, "id").map(|id| id.into_owned()).collect())
            .unwrap_or_default();
        let [id] = ids.as_slice() else { return one(scatter, &ask).await };
        match revoke_everywhere(scatter, &ask, id).await {
            Revoked::Everywhere(answer) => answer::relay(answer),
            Revoked::Refused(refusal) => answer::relay(refusal),
            // A zot says of a key that is not there that it is gone.
            Revoked::Nowhere => one(scatter, &ask).await,
            Revoked::Failed(failures) => answer::not_revoked(&failures),
        }
    }
}

/// What is answered where keys cannot be sealed: nodes without API keys say so themselves. `OPTIONS` makes none.
async fn unsealed(scatter: &Scatter, ask: &Ask) -> Answer {
    let has_keys = Ask { method: Method::OPTIONS, body: Bytes::new(), is_read: true, ..ask.clone() };
    match scatter.one(&To::Any, &has_keys).await {
        Ok(answer) if !answer.status.is_success() => {
            let answer = scatter.at(answer.node, ask).await;
            answer.map_or_else(|failure| answer::node_failed(&failure), answer::relay)
        }
        Ok(_) => answer::no_seal_key(),
        Err(failure) => answer::node_failed(&failure),
    }
}

/// What the first node says.
async fn one(scatter: &Scatter, ask: &Ask) -> Answer {
    match scatter.at(0, ask).await {
        Ok(answer) => answer::relay(answer),
        Err(failure) => answer::node_failed(&failure),
    }
}

/// Every key once, the oldest first. A zot has them in no order.
async fn list(scatter: &Scatter, ask: &Ask) -> Answer {
    match scatter.documents(ask, listed).await.judge(ask.terms.partial) {
        Verdict::Parts { mut parts, failures, .. } => {
            let mut keys: Vec<Told> = Vec::new();
            for key in parts.iter().flat_map(keys_of) {
                match keys.iter_mut().find(|known| known.get("uuid") == key.get("uuid")) {
                    Some(known) => add_use(known, &key),
                    None => keys.push(key),
                }
            }
            keys.sort_by_cached_key(|key| (time(key, CREATED), text(key, "uuid").to_owned()));
            let keys = Value::Array(keys.into_iter().map(Value::Object).collect());
            let first = parts.swap_remove(0);
            let mut answer = answer::of_json(first, &serde_json::json!({"apiKeys": keys}));
            answer::incomplete(&mut answer.headers, scatter.fleet().nodes().len(), &failures);
            answer
        }
        Verdict::Refused(refusal) => answer::relay(refusal),
        Verdict::Failed(failures) => answer::fan_out_failed("the list of API keys would be incomplete", &failures),
    }
}

/// What became of a key that is revoked.
enum Revoked {
    /// Every node that had it has revoked it: the answer of the first of them.
    Everywhere(NodeAnswer),
    /// No node has it.
    Nowhere,
    /// The credentials were refused.
    Refused(NodeAnswer),
    /// These may still have it.
    Failed(Vec<Failure>),
}

/// Asks every node for its own id of a key, and has it revoked there: where it can be, whoever cannot be asked.
async fn revoke_everywhere(scatter: &Scatter, ask: &Ask, id: &str) -> Revoked {
    let path = ask.target.split('?').next().unwrap_or_default();
    // Who cannot be asked keeps nobody from being asked.
    let terms = scatter.terms(Partial::Warn);
    let ask = &Ask { terms, body: Bytes::new(), is_read: false, ..ask.clone() };
    let lists = Ask { method: Method::GET, target: path.to_owned(), is_read: true, ..ask.clone() };
    let (mut deletes, mut failures) = (Vec::new(), Vec::new());
    for reply in scatter.documents(&lists, listed).await.into_replies() {
        match reply {
            Ok(Reply::Part(part, _)) => {
                for own in own_ids(&part, id) {
                    let query = form_urlencoded::Serializer::new(String::new()).append_pair("id", &own).finish();
                    let target = format!("{path}?{query}");
                    deletes.push((part.node, Ask { target, ..ask.clone() }));
                }
            }
            Ok(Reply::Refusal(refusal)) if deletes.is_empty() && failures.is_empty() => {
                return Revoked::Refused(refusal);
            }
            Ok(Reply::Refusal(refusal)) => failures.push(refused(&refusal)),
            Err(failure) => failures.push(failure),
        }
    }
    let mut revoked = None;
    for reply in scatter.each(&deletes, deleted).await.into_replies() {
        match reply {
            Ok(Reply::Part(answer, _)) => drop(revoked.get_or_insert(answer)),
            Ok(Reply::Refusal(answer)) => failures.push(refused(&answer)),
            Err(failure) => failures.push(failure),
        }
    }
    failures.iter().for_each(told);
    match revoked {
        _ if !failures.is_empty() => Revoked::Failed(failures),
        Some(answer) => Revoked::Everywhere(answer),
        None => Revoked::Nowhere,
    }
}

/// The label of a request for a key, and the request with an id behind the label; `None` if it is no request for a key.
///
/// Field names count in any case, and of several the last one (Go `encoding/json`).
fn marked(body: &[u8], id: &str) -> Option<(String, Bytes)> {
    let mut fields = match serde_json::from_slice(body).ok()? {
        Value::Object(fields) => fields,
        Value::Null => Map::new(),
        _ => return None,
    };
    let mut label = String::new();
    let names: Vec<String> = fields.keys().filter(|name| name.eq_ignore_ascii_case("label")).cloned().collect();
    for name in names {
        match fields.remove(&name)? {
            Value::String(text) => label = text,
            Value::Null => {}
            _ => return None,
        }
    }
    fields.insert("label".to_owned(), Value::String(format!("{label}{MARK}{id}]")));
    Some((label, Value::Object(fields).to_string().into()))
}

/// The label and the id of a label that nodes keep; `None` if it was not made here.
fn unmarked(label: &str) -> Option<(&str, &str)> {
    let (label, id) = label.rsplit_once(MARK)?;
    let id = id.strip_suffix(']')?;
    Uuid::try_parse(id).is_ok().then_some((label, id))
}

/// The keys that a node lists, as clients see them.
fn keys_of(answer: &NodeAnswer) -> Vec<Told> {
    let mut keys = raw_keys(answer).unwrap_or_default();
    for key in &mut keys {
        if let Some((label, id)) = unmarked(text(key, "label")).map(|(label, id)| (label.to_owned(), id.to_owned())) {
            key.insert("label".to_owned(), Value::String(label));
            key.insert("uuid".to_owned(), Value::String(id));
        }
    }
    keys
}

/// The node's own ids of what clients see under an id.
fn own_ids(answer: &NodeAnswer, id: &str) -> Vec<String> {
    let keys = raw_keys(answer).unwrap_or_default();
    let is_it = |key: &&Told| unmarked(text(key, "label")).map_or_else(|| text(key, "uuid"), |(_, id)| id) == id;
    keys.iter().filter(is_it).map(|key| text(key, "uuid").to_owned()).collect()
}

fn raw_keys(answer: &NodeAnswer) -> Option<Vec<Told>> {
    let mut whole: Told = serde_json::from_slice(&answer.body).ok()?;
    serde_json::from_value(whole.remove("apiKeys")?).ok()
}

/// Adds to a key what another node knows of its use.
fn add_use(known: &mut Told, other: &Told) {
    if time(other, LAST_USED) > time(known, LAST_USED)
        && let Some(used) = other.get(LAST_USED)
    {
        known.insert(LAST_USED.to_owned(), used.clone());
    }
}

fn text<'a>(key: &'a Told, name: &str) -> &'a str {
    key.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn time(key: &Told, name: &str) -> Option<Timestamp> {
    text(key, name).parse().ok()
}

/// The secret that an answer hands out, and when it expires (seconds of Unix time; 0: never).
fn key(answer: &NodeAnswer) -> Option<(String, u64)> {
    let fields: Told = serde_json::from_slice(&answer.body).ok()?;
    let secret = Some(text(&fields, "apiKey")).filter(|secret| !secret.is_empty())?;
    // That of the year 1 is before all others.
    let until = time(&fields, EXPIRES).and_then(|time| u64::try_from(time.as_second()).ok()).unwrap_or(0);
    Some((secret.to_owned(), until))
}

fn part(answer: NodeAnswer, is_part: bool) -> Outcome<NodeAnswer> {
    let headers = answer.headers.clone();
    Ok(if is_part { Reply::Part(answer, headers) } else { Reply::Refusal(answer) })
}

fn created(answer: NodeAnswer) -> Outcome<NodeAnswer> {
    let is_part = answer.status == StatusCode::CREATED;
    part(answer, is_part)
}

fn deleted(answer: NodeAnswer) -> Outcome<NodeAnswer> {
    let is_part = answer.status.is_success();
    part(answer, is_part)
}

fn listed(answer: NodeAnswer) -> Outcome<NodeAnswer> {
    if answer.status != StatusCode::OK {
        return part(answer, false);
    }
    match raw_keys(&answer) {
        Some(_) => part(answer, true),
        None => Err(answer.unusable("it gave no list of API keys")),
    }
}

fn refused(answer: &NodeAnswer) -> Failure {
    let kind = FailureKind::Refused(answer.status);
    Failure { node: answer.name.clone(), kind, cause: format!("status {}", answer.status) }
}

fn told(failure: &Failure) {
    let Failure { node, kind, cause } = failure;
    tracing::warn!(node, %kind, cause, "a node failed what is done with an API key");
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0a9b8c7d-6e5f-4a3b-8c2d-1e0f9a8b7c6d";

    #[test]
    fn a_label_carries_the_id_and_gives_it_back() {
        let label_of = |body: &str| marked(body.as_bytes(), ID).map(|(label, _)| label);
        assert_eq!(label_of(r#"{"label":"ci"}"#).as_deref(), Some("ci"));
        assert_eq!(label_of(r#"{"LABEL":"a","Label":"b","label":null}"#).as_deref(), Some("b"));
        assert_eq!(label_of("null").as_deref(), Some(""));
        assert_eq!(label_of("{}").as_deref(), Some(""));
        for bad in ["", "[]", "1", r#"{"label":1}"#, r#"{"label":"a""#] {
            assert_eq!(label_of(bad), None, "{bad}");
        }
        let (_, body) = marked(br#"{"scopes":["x"],"Label":"a [b]","expirationDate":"z"}"#, ID).unwrap();
        let fields: Told = serde_json::from_slice(&body).unwrap();
        assert_eq!(unmarked(text(&fields, "label")), Some(("a [b]", ID)));
        assert_eq!(fields.keys().collect::<Vec<_>>(), ["scopes", "expirationDate", "label"]);
        for foreign in ["", "ci", "ci [onezot x]", "ci [onezot"] {
            assert_eq!(unmarked(foreign), None);
        }
    }

    #[test]
    fn sizes() {
        use super::super::seal::{Seal, SealKey};
        let seal = Seal::of(SealKey::from_file(&[7; 40]).unwrap());
        let said = [3, 10, 30].map(|nodes| {
            let mut bundle = Bundle::default();
            bundle.expires = 4_102_444_800;
            for node in 0..nodes {
                bundle.insert(&format!("zot-{node}"), &format!("zak_{node:032x}"));
            }
            SEALED_KEY.len() + seal.seal(Purpose::ApiKey, &bundle).unwrap().len()
        });
        // What the README says.
        assert_eq!(said, [171, 404, 1071]);
    }
}
