//! A node without its socket: what it holds, and the way of a request through it.

use super::access::{Access, Settings};
use super::api;
use super::cve::Reports;
use super::exchange::{Asked, Cors, Reply};
use super::graphql::{Persisted, Search};
use super::keys::{self, Keys};
use super::meta::Meta;
use super::refusal;
use super::router::{self, Route, Routed};
use super::signin;
use super::store::Store;
use super::ties::Ties;
use super::time::{self, Time};
use http::header::LOCATION;
use http::{Method, StatusCode};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What changes while a node runs.
#[derive(Debug)]
pub struct State {
    /// Manifests and blobs.
    pub store: Store,
    /// What is known of them.
    pub meta: Meta,
    /// Sessions of the web UI: their users.
    pub sessions: BTreeMap<String, String>,
    /// API keys.
    pub keys: Keys,
    last: Time,
}

impl State {
    /// The present, later than any time that was told before: the order of pushes decides the order of answers.
    pub fn tick(&mut self) -> Time {
        self.last = time::now().max(time::just_after(self.last));
        self.last
    }

    /// Notes a time that was decided elsewhere.
    pub fn told(&mut self, time: Time) {
        self.last = self.last.max(time);
    }
}

/// A registry in memory.
#[derive(Debug)]
pub struct Registry {
    /// Who may do what.
    pub access: Access,
    /// The realm of challenges.
    pub realm: String,
    /// Arbitrary order.
    pub ties: Ties,
    /// What scanning every image would find, if images are scanned.
    pub cve: Option<Reports>,
    /// Persisted queries.
    pub persisted: Persisted,
    search: Search,
    state: Mutex<State>,
}

impl Registry {
    /// An empty registry.
    pub fn new(settings: &Settings, users: BTreeMap<String, String>, cve: Option<Reports>, seed: u64) -> Self {
        let docker = settings.http.compat.iter().any(|compat| compat == "docker2s2");
        let state = State {
            store: Store::new(docker),
            meta: Meta::default(),
            sessions: BTreeMap::new(),
            keys: Keys::default(),
            last: time::epoch(),
        };
        Self {
            access: Access { users, has_keys: settings.http.auth.apikey, rules: settings.http.access_control.clone() },
            realm: settings.http.realm.clone(),
            ties: Ties::new(seed),
            cve,
            persisted: Persisted::default(),
            search: Search::new(),
            state: Mutex::new(state),
        }
    }

    /// Does something with what the registry holds. Requests do not overlap here.
    pub fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock())
    }

    /// Answers a request.
    pub async fn answer(self: &Arc<Self>, asked: &Asked) -> Reply {
        let mut reply = match router::route(&asked.method, &asked.path) {
            Routed::To(Route::Keys) | Routed::WrongMethod if self.lacks_keys(&asked.path) => Reply::not_found(),
            Routed::To(route) => self.on_route(&route, asked).await,
            Routed::Moved(path) => {
                let query = if asked.query.is_empty() { String::new() } else { format!("?{}", asked.query) };
                Reply::empty(StatusCode::MOVED_PERMANENTLY).with(LOCATION, &format!("{path}{query}"))
            }
            Routed::WrongMethod => Reply::empty(StatusCode::METHOD_NOT_ALLOWED),
            Routed::Nowhere => Reply::not_found(),
        };
        if asked.method == Method::HEAD {
            reply = reply.headed();
        }
        reply
    }

    async fn on_route(self: &Arc<Self>, route: &Route, asked: &Asked) -> Reply {
        match route {
            Route::Health => return Reply::data(StatusCode::OK, "text/plain; charset=utf-8", "ok"),
            Route::Logout => return api::extensions::logout(self, asked),
            _ => {}
        }
        let cors = cors(route, &asked.method);
        if asked.method == Method::OPTIONS {
            let mut reply = Reply::empty(StatusCode::NO_CONTENT);
            cors.apply(&mut reply);
            if matches!(route, Route::Management | Route::Preferences) {
                reply.set(http::header::X_CONTENT_TYPE_OPTIONS, "nosniff");
            }
            return reply;
        }
        let identified = self.with(|state| signin::identify(asked, &self.access, &self.realm, state, &self.ties));
        let caller = match identified {
            Ok(caller) => caller,
            Err(refused) => return *refused,
        };
        if !self.may(route, asked, &caller.user) {
            let mut refused = refusal::forbidden(asked, &self.realm, &caller.user);
            caller.mark(&mut refused);
            return refused;
        }
        let mut reply = match route {
            Route::Search => self.search.answer(self, asked, &caller.user).await,
            Route::Keys => keys::answer(self, asked, &caller.user),
            _ => api::answer(self, route, asked, &caller.user),
        };
        cors.apply(&mut reply);
        caller.mark(&mut reply);
        reply
    }

    /// Whether a user may do what the method does with the repository of a route (`DistSpecAuthzHandler`).
    fn may(&self, route: &Route, asked: &Asked, user: &str) -> bool {
        let Some(name) = route.repository() else { return true };
        let action = match asked.method.as_str() {
            "GET" | "HEAD" => "read",
            "DELETE" => "delete",
            _ => match route {
                // Moving a tag needs another permission than making one.
                Route::Manifest(_, reference) if self.has_tag(name, reference) => "update",
                _ => "create",
            },
        };
        self.access.allows(user, action, name)
    }

    /// Whether a path is that of API keys, and this node has none.
    fn lacks_keys(&self, path: &str) -> bool {
        !self.access.has_keys && path.starts_with("/zot/auth/apikey")
    }

    fn has_tag(&self, name: &str, tag: &str) -> bool {
        self.with(|state| {
            let repository = state.store.repository(name);
            repository
                .is_some_and(|repository| repository.entries().iter().any(|entry| entry.tag.as_deref() == Some(tag)))
        })
    }
}

/// The CORS headers of a route and method.
fn cors(route: &Route, method: &Method) -> Cors {
    match route {
        Route::Base | Route::Catalog | Route::Discover | Route::Tags(_) | Route::Referrers(..) | Route::Management => {
            Cors::Methods("GET,OPTIONS")
        }
        Route::Manifest(..) => match method.as_str() {
            "HEAD" | "OPTIONS" => Cors::Methods("HEAD,GET,DELETE,OPTIONS"),
            "PUT" => Cors::None,
            _ => Cors::Origin,
        },
        Route::Search => Cors::Methods("GET,POST,OPTIONS"),
        Route::Preferences => Cors::Methods("PUT,OPTIONS"),
        Route::Logout => Cors::Methods("POST,OPTIONS"),
        Route::Keys => Cors::Methods("GET,POST,DELETE,OPTIONS"),
        Route::Blob(..) | Route::Uploads(_) | Route::Upload(..) | Route::Health => Cors::None,
    }
}
