//! The version check, and zot's own routes: discovery, management, user preferences, logging out.

use crate::demo::exchange::{Asked, Cors, Reply};
use crate::demo::registry::Registry;
use crate::demo::signin;
use http::header::{HeaderName, SET_COOKIE, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS};
use http::{Method, StatusCode};
use serde_json::json;

/// `/v2/`: the only route that tells the version, and that challenges whom it lets in.
pub fn base(registry: &Registry, asked: &Asked) -> Reply {
    let mut reply = Reply::data(StatusCode::OK, "application/json", "");
    reply.set(HeaderName::from_static("docker-distribution-api-version"), "registry/2.0");
    if !registry.access.users.is_empty() && !asked.by_ui() {
        // Lower case and without quotes, unlike the challenge of a refusal.
        reply.set(WWW_AUTHENTICATE, &format!("basic realm={}", registry.realm));
    }
    reply
}

/// `/v2/_oci/ext/discover`.
pub fn discover() -> Reply {
    let text = concat!(
        r#"{"extensions":[{"name":"_zot","url":"https://github.com/project-zot/zot/blob//pkg/extensions/_zot.md","#,
        r#""description":"zot registry extensions","endpoints":["/v2/_zot/ext/search","/v2/_zot/ext/userprefs","#,
        r#""/v2/_zot/ext/mgmt"]}]}"#
    );
    Reply::data(StatusCode::OK, "application/json", text)
}

/// `/v2/_zot/ext/mgmt`: JSON that nobody calls so.
pub fn management(registry: &Registry) -> Reply {
    let mut text = concat!(
        r#"{"distSpecVersion":"1.1.1","commit":"","releaseTag":"","binaryType":"","#,
        r#""http":{"auth":{"htpasswd":{}}}}"#
    )
    .to_owned();
    if registry.access.has_keys {
        text = text.replace(r#"{}}}}"#, r#"{},"apikey":true}}}"#);
    }
    Reply::data(StatusCode::OK, "text/plain; charset=utf-8", text).with(X_CONTENT_TYPE_OPTIONS, "nosniff")
}

/// `/v2/_zot/ext/userprefs`.
pub fn preferences(registry: &Registry, asked: &Asked, user: &str) -> Reply {
    Reply::empty(toggle(registry, asked, user)).with(X_CONTENT_TYPE_OPTIONS, "nosniff")
}

fn toggle(registry: &Registry, asked: &Asked, user: &str) -> StatusCode {
    let action = asked.parameter("action");
    if !matches!(&*action, "toggleStar" | "toggleBookmark") || asked.parameters("repo").is_empty() {
        return StatusCode::BAD_REQUEST;
    }
    let name = asked.parameter("repo");
    if name.is_empty() {
        return StatusCode::NOT_FOUND;
    }
    if user.is_empty() || !registry.access.allows(user, "read", &name) {
        return StatusCode::FORBIDDEN;
    }
    registry.with(|state| {
        if action == "toggleBookmark" {
            state.meta.toggle_bookmark(user, &name);
            return StatusCode::OK;
        }
        if state.meta.toggle_star(user, &name) { StatusCode::OK } else { StatusCode::NOT_FOUND }
    })
}

/// `/zot/auth/logout`.
pub fn logout(registry: &Registry, asked: &Asked) -> Reply {
    let mut reply = if asked.method == Method::OPTIONS {
        Reply::empty(StatusCode::OK)
    } else {
        if let Some(session) = signin::cookie(asked, "session") {
            registry.with(|state| state.sessions.remove(session));
        }
        Reply::json(StatusCode::OK, &json!({}))
            .with(SET_COOKIE, "session=; Path=/; Expires=Thu, 01 Jan 1970 00:00:01 GMT; Max-Age=0")
    };
    Cors::Methods("POST,OPTIONS").apply(&mut reply);
    reply
}
