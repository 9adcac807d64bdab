//! `/v2/<name>/blobs/<digest>`.

use super::manifests::CONTENT_DIGEST;
use super::ranges;
use crate::demo::digest;
use crate::demo::exchange::{Asked, Reply};
use crate::demo::refusal::{Code, refusal};
use crate::demo::registry::{Registry, State};
use crate::demo::store::Trouble;
use http::StatusCode;
use http::header::{ACCEPT_RANGES, CONTENT_LENGTH, RANGE};

const UNKNOWN_TYPE: &str = "application/octet-stream";

/// Answers a request for a blob.
pub fn answer(registry: &Registry, asked: &Asked, user: &str, name: &str, digest: &str) -> Reply {
    match asked.method.as_str() {
        "DELETE" => delete(registry, name, digest),
        "HEAD" => head(registry, user, name, digest),
        _ => get(registry, asked, name, digest),
    }
}

/// Whether a user may read any repository that a blob could be linked from (`canMount`).
pub fn may_link(registry: &Registry, state: &State, user: &str, digest: &str) -> bool {
    registry.access.rules.is_none()
        || state.store.holders(digest).any(|holder| registry.access.allows(user, "read", holder))
}

fn unknown(digest: &str) -> Reply {
    refusal(StatusCode::NOT_FOUND, Code::BlobUnknown, &[("digest", digest)])
}

fn media_type(state: &State, name: &str, digest: &str) -> String {
    let named = state.store.repository(name).and_then(|repository| repository.media_type(digest));
    let named = named.map(|named| named.split(';').next().unwrap_or_default().trim().to_lowercase());
    named.filter(|named| named.contains('/')).unwrap_or_else(|| UNKNOWN_TYPE.to_owned())
}

/// HEAD writes: a blob that any readable repository has is linked into this one, which is made if there is none.
fn head(registry: &Registry, user: &str, name: &str, digest: &str) -> Reply {
    if !digest::is_digest(digest) {
        return Reply::empty(StatusCode::INTERNAL_SERVER_ERROR);
    }
    registry.with(|state| {
        let found = if may_link(registry, state, user, digest) {
            state.store.link_blob(name, digest)
        } else {
            state.store.blob(name, digest).cloned()
        };
        let Ok(blob) = found else { return unknown(digest) };
        Reply::data(StatusCode::OK, &media_type(state, name, digest), "")
            .with(CONTENT_LENGTH, &blob.len().to_string())
            .with(ACCEPT_RANGES, "bytes")
            .with(CONTENT_DIGEST, digest)
    })
}

/// A plain GET looks only into its own repository; one with a range links the blob as HEAD does, whoever may read it.
fn get(registry: &Registry, asked: &Asked, name: &str, digest: &str) -> Reply {
    if !digest::is_digest(digest) {
        return refusal(StatusCode::BAD_REQUEST, Code::DigestInvalid, &[("digest", digest)]);
    }
    registry.with(|state| {
        if asked.headers.contains_key(RANGE) {
            let Ok(blob) = state.store.link_blob(name, digest) else { return unknown(digest) };
            let reply = ranges::answer(asked.header(&RANGE), &blob, &media_type(state, name, digest), &registry.ties);
            let satisfied = reply.status == StatusCode::PARTIAL_CONTENT;
            return if satisfied { reply.with(CONTENT_DIGEST, digest) } else { reply };
        }
        let Ok(blob) = state.store.blob(name, digest).cloned() else { return unknown(digest) };
        Reply::data(StatusCode::OK, &media_type(state, name, digest), blob).with(CONTENT_DIGEST, digest)
    })
}

fn delete(registry: &Registry, name: &str, digest: &str) -> Reply {
    if !digest::is_digest(digest) {
        return Reply::empty(StatusCode::NOT_FOUND);
    }
    match registry.with(|state| state.store.delete_blob(name, digest)) {
        Ok(()) => Reply::empty(StatusCode::ACCEPTED),
        Err(Trouble::BlobReferenced) => refusal(StatusCode::METHOD_NOT_ALLOWED, Code::Denied, &[("digest", digest)]),
        Err(_) => unknown(digest),
    }
}
