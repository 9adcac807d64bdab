//! Who asks, over nodes that share nothing.
//!
//! Each node knows its own sessions and API keys and no other's. What the nodes gave a client is sealed into one cookie or
//! one key that the client holds (`seal`), so that onezot keeps nothing: any onezot with the same seal key opens it, and
//! each node gets its own part back. What a request brings is opened once ([`Presented`]) and travels with it to every node
//! ([`crate::onward`]).
//!
//! A single node's sessions and keys pass as they are.

pub mod api_keys;
mod seal;
mod session;
pub mod sign_in;

pub use seal::SealKey;

use crate::config::{Config, Metadata};
use crate::fleet::Fleet;
use crate::onward::Edit;
use crate::scatter::{Ask, Failure, FailureKind, Scatter};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::future::join_all;
use http::header::{AUTHORIZATION, COOKIE, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use seal::{Bundle, Purpose, Seal};
use std::fmt;
use std::sync::Arc;
use tokio::sync::OnceCell;

/// The header of zot's web UI, without which zot looks at no session (zot `pkg/api/authn.go`, `hasSessionHeader`).
const UI_CLIENT: HeaderName = HeaderName::from_static("x-zot-api-client");
const UI: HeaderValue = HeaderValue::from_static("zot-ui");
/// What a sealed API key begins with: as a zot's own does, and then as none of them can.
const SEALED_KEY: &str = "zak_oz1_";
/// A well-formed key that nobody has: what a node gets that has no part in a sealed one. Without any, it would answer as to
/// anybody, and a part of a fan-out would be missing unnoticed.
const NOBODYS_KEY: &str = "zak_00000000000000000000000000000000";

/// Opens what clients bring, and seals what nodes give them.
#[derive(Debug)]
pub struct Identity {
    seal: Seal,
    /// Whether the keys are configured, so that what is sealed outlives the process.
    is_lasting: bool,
    /// Whether there is but one node.
    is_alone: bool,
    /// Whether the nodes share their database of users and their sessions.
    shares_users: bool,
}

impl Identity {
    /// For a fleet, with the keys of a configuration; without any, with one of this process.
    pub fn new(config: &Config, fleet: &Fleet) -> Identity {
        let configured = Seal::new(&config.identity.keys);
        let is_lasting = configured.is_some();
        let own = || Seal::of(SealKey::of_this_process());
        Identity {
            seal: configured.unwrap_or_else(own),
            is_lasting,
            is_alone: fleet.nodes().len() < 2,
            shares_users: config.metadata == Metadata::Shared,
        }
    }

    /// Whether what is sealed is of use to this process only.
    pub fn is_of_this_process(&self) -> bool {
        !self.is_lasting && !self.is_alone
    }

    /// Opens what a request brings.
    pub fn presented(&self, headers: &HeaderMap) -> Arc<Presented> {
        // One zot takes its own cookies; what onezot sealed when there were more, it does not know.
        let cookies = if session::is_sealed(headers) || (session::is_there(headers) && !self.is_alone) {
            Cookies::Replaced(session::open(&self.seal, headers))
        } else {
            Cookies::AsTheyCame
        };
        let key =
            sealed_key(headers).map(|(user, sealed)| Key { user, parts: self.seal.open(Purpose::ApiKey, &sealed) });
        Arc::new(Presented { cookies, key, lives: OnceCell::new() })
    }
}

/// The user and the sealed part of an API key that a request brings as a password.
fn sealed_key(headers: &HeaderMap) -> Option<(String, String)> {
    let mut lines = headers.get_all(AUTHORIZATION).iter();
    // A zot refuses several.
    let line = lines.next().filter(|_| lines.next().is_none())?.to_str().ok()?;
    let (scheme, encoded) = line.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (user, password) = decoded.split_once(':')?;
    Some((user.to_owned(), password.strip_prefix(SEALED_KEY)?.to_owned()))
}

/// What one request brings, opened.
#[derive(Default)]
pub struct Presented {
    cookies: Cookies,
    key: Option<Key>,
    /// Whether any node knows the session, once that has been asked.
    lives: OnceCell<bool>,
}

#[derive(Default)]
enum Cookies {
    #[default]
    AsTheyCame,
    /// Each node gets its part of the session, if there is one, in place of what came.
    Replaced(Option<Bundle>),
}

struct Key {
    user: String,
    /// `None`: it cannot be opened.
    parts: Option<Bundle>,
}

impl fmt::Debug for Presented {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Presented")
            .field("session", &self.session().is_some())
            .field("key", &self.key.is_some())
            .finish()
    }
}

impl Presented {
    fn session(&self) -> Option<&Bundle> {
        match &self.cookies {
            Cookies::Replaced(session) => session.as_ref(),
            Cookies::AsTheyCame => None,
        }
    }

    /// What the header of a request to a node has instead. `client` is the header that came.
    pub fn edits(&self, node: &str, client: &HeaderMap) -> Vec<Edit> {
        let mut edits = Vec::new();
        if let Cookies::Replaced(session) = &self.cookies {
            let part = session.as_ref().and_then(|session| session.part(node));
            edits.push((COOKIE, session::replaced(client, part)));
        }
        if let Some(Key { user, parts }) = &self.key {
            let part = parts.as_ref().and_then(|parts| parts.part(node)).unwrap_or(NOBODYS_KEY);
            let line = HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(format!("{user}:{part}"))));
            edits.push((
                AUTHORIZATION,
                line.ok().map(|mut line| {
                    line.set_sensitive(true);
                    line
                }),
            ));
        }
        edits
    }

    /// The failure that an answer is whose node does not know the session, as long as another node knows it: what such a
    /// node answers to anybody is no part of what the person may see, and its 401 would log the person out.
    pub async fn forgotten(&self, scatter: &Scatter, ask: &Ask, node: &str, answer: &HeaderMap) -> Option<Failure> {
        if self.session().is_none() || !session::is_ended(answer) || !self.lives(scatter, ask).await {
            return None;
        }
        let kind = FailureKind::Refused(StatusCode::UNAUTHORIZED);
        Some(Failure { node: node.to_owned(), kind, cause: "it does not know the session".to_owned() })
    }

    /// Whether a node knows the session. One that cannot be asked may.
    async fn lives(&self, scatter: &Scatter, ask: &Ask) -> bool {
        let Some(session) = self.session() else { return false };
        let asked = async {
            let mut probe = to_base(ask);
            probe.headers.remove(AUTHORIZATION);
            probe.headers.insert(UI_CLIENT, UI);
            let holders = scatter.fleet().nodes().iter().filter(|node| session.part(&node.name).is_some());
            let answers = join_all(holders.map(|node| scatter.open(node, &probe))).await;
            answers.iter().any(|answer| answer.as_ref().map_or(true, |answer| !session::is_ended(answer.headers())))
        };
        *self.lives.get_or_init(|| asked).await
    }

    /// Notes that the session is over, so that nobody is asked.
    fn is_over(&self) {
        // Somebody has been asked already, and the answer stands.
        let _ = self.lives.set(false);
    }
}

/// The request for the base of the registry, where a zot says who it takes the client for.
fn to_base(ask: &Ask) -> Ask {
    Ask { method: Method::GET, target: "/v2/".to_owned(), body: Bytes::new(), is_read: true, ..ask.clone() }
}

/// A request to each of the nodes.
fn to_each(scatter: &Scatter, ask: &Ask) -> Vec<(usize, Ask)> {
    (0..scatter.fleet().nodes().len()).map(|node| (node, ask.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(nodes: usize) -> Identity {
        let seal = Seal::of(SealKey::from_file(&[7; 40]).unwrap());
        Identity { seal, is_lasting: true, is_alone: nodes < 2, shares_users: false }
    }

    fn basic(user: &str, password: &str) -> HeaderValue {
        HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))).unwrap()
    }

    /// The header that a node gets.
    fn sent(identity: &Identity, node: &str, client: &HeaderMap) -> HeaderMap {
        let mut headers = client.clone();
        for (name, value) in identity.presented(client).edits(node, client) {
            match value {
                Some(value) => drop(headers.insert(name, value)),
                None => drop(headers.remove(name)),
            }
        }
        headers
    }

    #[test]
    fn each_node_gets_its_own_key() {
        let identity = identity(2);
        let mut bundle = Bundle::default();
        bundle.insert("a", "zak_a");
        bundle.insert("b", "zak_b");
        let key = format!("{SEALED_KEY}{}", identity.seal.seal(Purpose::ApiKey, &bundle).unwrap());
        let client = HeaderMap::from_iter([(AUTHORIZATION, basic("alice", &key))]);
        assert_eq!(sent(&identity, "a", &client)[AUTHORIZATION], basic("alice", "zak_a"));
        assert_eq!(sent(&identity, "b", &client)[AUTHORIZATION], basic("alice", "zak_b"));
        // A node that has no part, and a key that cannot be opened: nobody's, and not nobody.
        assert_eq!(sent(&identity, "c", &client)[AUTHORIZATION], basic("alice", NOBODYS_KEY));
        let client = HeaderMap::from_iter([(AUTHORIZATION, basic("alice", &format!("{key}A")))]);
        assert_eq!(sent(&identity, "a", &client)[AUTHORIZATION], basic("alice", NOBODYS_KEY));
        let session = format!("{SEALED_KEY}{}", identity.seal.seal(Purpose::Session, &bundle).unwrap());
        let client = HeaderMap::from_iter([(AUTHORIZATION, basic("alice", &session))]);
        assert_eq!(sent(&identity, "a", &client)[AUTHORIZATION], basic("alice", NOBODYS_KEY));
    }

    #[test]
    fn what_is_not_sealed_here_passes_but_for_sessions_of_single_nodes() {
        for password in ["alice-pw", "zak_00112233445566778899aabbccddeeff", ""] {
            let client = HeaderMap::from_iter([(AUTHORIZATION, basic("alice", password))]);
            assert_eq!(sent(&identity(2), "a", &client), client);
        }
        let token = HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_static("Bearer zak_oz1_x"))]);
        assert_eq!(sent(&identity(2), "a", &token), token);
        let client = HeaderMap::from_iter([(COOKIE, HeaderValue::from_static("session=abc; user=alice"))]);
        assert_eq!(sent(&identity(2), "a", &client)[COOKIE], "user=alice");
        assert_eq!(sent(&identity(1), "a", &client)[COOKIE], "session=abc; user=alice");
        let client = HeaderMap::from_iter([(COOKIE, HeaderValue::from_static("session=oz1-1.abc; user=alice"))]);
        assert_eq!(sent(&identity(1), "a", &client)[COOKIE], "user=alice");
    }

    #[test]
    fn nothing_is_printed_of_what_is_secret() {
        let client = HeaderMap::from_iter([(AUTHORIZATION, basic("alice", "zak_oz1_s3cr3t"))]);
        let identity = identity(2);
        let presented = identity.presented(&client);
        let printed = format!("{identity:?} {presented:?} {:?}", presented.edits("a", &client));
        assert!(!printed.contains("s3cr3t") && printed.contains("Sensitive"), "{printed}");
    }
}
