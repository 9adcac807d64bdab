//! Finding out who asks: basic authentication with a password or an API key, and the sessions of the web UI
//! (`pkg/api/authn.go`).

use super::access::Access;
use super::exchange::{Asked, Reply};
use super::refusal;
use super::registry::State;
use super::ties::Ties;
use super::time;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use http::HeaderValue;
use http::header::{AUTHORIZATION, COOKIE, SET_COOKIE, USER_AGENT};
use std::collections::BTreeMap;

/// How long a session lasts, in seconds.
const LIFE: i64 = 7200;

/// Who asks, and the cookies that go with the answer.
#[derive(Debug, Default)]
pub struct Caller {
    /// The name; empty for nobody in particular.
    pub user: String,
    /// Cookies to set.
    pub cookies: Vec<String>,
}

impl Caller {
    /// Adds the cookies to a reply.
    pub fn mark(&self, reply: &mut Reply) {
        for cookie in &self.cookies {
            if let Ok(cookie) = HeaderValue::from_str(cookie) {
                reply.headers.append(SET_COOKIE, cookie);
            }
        }
    }
}

/// Finds out who asks, or refuses.
pub fn identify(
    asked: &Asked,
    access: &Access,
    realm: &str,
    state: &mut State,
    ties: &Ties,
) -> Result<Caller, Box<Reply>> {
    let refused = || Box::new(refusal::unauthenticated(asked, realm));
    if access.users.is_empty() {
        return Ok(Caller::default());
    }
    if asked.headers.get_all(AUTHORIZATION).iter().count() > 1 {
        return Err(refused());
    }
    let authorization = asked.header(&AUTHORIZATION);
    // A header without name and password counts as none.
    if !authorization.is_empty() && !authorization.eq_ignore_ascii_case("basic og==") {
        let (name, password) = credentials(authorization).ok_or_else(refused)?;
        if !access.knows(&name, &password) {
            // A key begins no session.
            let admitted = access.has_keys && state.keys.admit(&name, &password);
            return if admitted { Ok(Caller { user: name, cookies: Vec::new() }) } else { Err(refused()) };
        }
        let cookies = if asked.by_ui() { begin_session(asked, &name, &mut state.sessions, ties) } else { Vec::new() };
        return Ok(Caller { user: name, cookies });
    }
    // The management route tells anybody how to log in; a query string is already too much.
    let open = access.admits_anonymous() || (asked.path == "/v2/_zot/ext/mgmt" && asked.query.is_empty());
    if asked.by_ui() {
        if let Some(user) = cookie(asked, "session").and_then(|session| state.sessions.get(session)) {
            return Ok(Caller { user: user.clone(), cookies: Vec::new() });
        }
        let expired = "session=; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT; HttpOnly".to_owned();
        let caller = Caller { user: String::new(), cookies: vec![expired] };
        if open {
            return Ok(caller);
        }
        let mut reply = refused();
        caller.mark(&mut reply);
        return Err(reply);
    }
    let agent = asked.header(&USER_AGENT);
    let docker = agent.contains("Docker-Client") || agent.starts_with("docker/");
    if !open || (docker && asked.path.trim_end_matches('/') == "/v2" && access.challenges_docker()) {
        return Err(refused());
    }
    Ok(Caller::default())
}

fn credentials(authorization: &str) -> Option<(String, String)> {
    let (scheme, encoded) = authorization.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (name, password) = decoded.split_once(':')?;
    Some((name.to_owned(), password.to_owned()))
}

/// The first cookie of a name.
pub fn cookie<'a>(asked: &'a Asked, name: &str) -> Option<&'a str> {
    asked
        .header(&COOKIE)
        .split(';')
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value)
}

/// Remembers a user of the web UI. Only this node does. A session that is there already changes its user.
fn begin_session(asked: &Asked, user: &str, sessions: &mut BTreeMap<String, String>, ties: &Ties) -> Vec<String> {
    let known = cookie(asked, "session").filter(|session| sessions.contains_key(*session)).map(str::to_owned);
    let session = known.unwrap_or_else(|| {
        // As long as those of a zot, and as theirs in Base64.
        let mut names = ties.fresh();
        let text: String = (0..4).map(|_| names.name()).collect();
        URL_SAFE.encode(&text[..120])
    });
    sessions.insert(session.clone(), user.to_owned());
    let until = time::after(time::now(), LIFE).format("%a, %d %b %Y %H:%M:%S GMT");
    vec![
        format!("session={session}; Path=/; Expires={until}; Max-Age={LIFE}; HttpOnly"),
        format!("user={user}; Path=/; Expires={until}; Max-Age={LIFE}"),
    ]
}
