//! `/v2/<name>/manifests/<reference>`.

use crate::demo::digest;
use crate::demo::exchange::{Asked, Reply};
use crate::demo::meta::{Change, Unfit};
use crate::demo::refusal::{Code, refusal};
use crate::demo::registry::{Registry, State};
use crate::demo::store::Trouble;
use http::StatusCode;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName, LOCATION};
use std::collections::BTreeSet;

/// The digest of what is answered or was taken.
pub const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
/// What a pushed manifest refers to.
const SUBJECT: HeaderName = HeaderName::from_static("oci-subject");
/// A tag that was set besides a digest.
const TAG: HeaderName = HeaderName::from_static("oci-tag");
/// How many tags can be set at once: as many of the longest as fit the target that proxies let pass.
const MOST_TAGS: usize = 46;

/// Answers a request for a manifest.
pub fn answer(registry: &Registry, asked: &Asked, user: &str, name: &str, reference: &str) -> Reply {
    match asked.method.as_str() {
        "PUT" => put(registry, asked, user, name, reference),
        "DELETE" => delete(registry, user, name, reference),
        method => get(registry, method == "GET", name, reference),
    }
}

/// GET counts as a pull; HEAD does not, and complains with the reference even where GET names the repository.
fn get(registry: &Registry, pulls: bool, name: &str, reference: &str) -> Reply {
    registry.with(|state| {
        let (media_type, digest, body) = match state.store.manifest(name, reference) {
            Ok((entry, body)) => (entry.media_type.clone(), entry.digest.clone(), body.clone()),
            Err(Trouble::RepoNotFound) => {
                let detail = if pulls { ("name", name) } else { ("reference", reference) };
                return refusal(StatusCode::NOT_FOUND, Code::NameUnknown, &[detail]);
            }
            Err(_) => return refusal(StatusCode::NOT_FOUND, Code::ManifestUnknown, &[("reference", reference)]),
        };
        if pulls {
            let now = state.tick();
            let change = Change { repository: name, reference, media_type: &media_type, digest: &digest, body: &body };
            state.meta.pulled(change, now);
        }
        let length = body.len().to_string();
        Reply::data(StatusCode::OK, &media_type, body).with(CONTENT_DIGEST, &digest).with(CONTENT_LENGTH, &length)
    })
}

fn put(registry: &Registry, asked: &Asked, user: &str, name: &str, reference: &str) -> Reply {
    if digest::looks_like_one(reference) {
        return refusal(StatusCode::BAD_REQUEST, Code::DigestInvalid, &[("reference", reference)]);
    }
    let media_type = asked.header(&CONTENT_TYPE);
    if !registry.with(|state| state.store.takes(media_type)) {
        let details = [("mediaType", media_type)];
        return refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, Code::ManifestInvalid, &details);
    }
    let tags = match further_tags(asked, reference) {
        Ok(tags) => tags,
        Err(reply) => return *reply,
    };
    registry.with(|state| {
        let put = match state.store.put_manifest(name, reference, media_type, &asked.body, &tags) {
            Ok(put) => put,
            Err(Trouble::BadManifest(complaint)) => {
                let mut details = vec![("reference", reference)];
                details.extend(complaint.as_deref().map(|complaint| ("jsonSchemaValidation", complaint)));
                return refusal(StatusCode::BAD_REQUEST, Code::ManifestInvalid, &details);
            }
            Err(_) => return Reply::empty(StatusCode::INTERNAL_SERVER_ERROR),
        };
        let references: Vec<&str> =
            if tags.is_empty() { vec![reference] } else { tags.iter().map(String::as_str).collect() };
        for reference in references {
            let change = Change { repository: name, reference, media_type, digest: &put.digest, body: &asked.body };
            if describe(state, change, user).is_err() {
                let _ = state.store.delete_manifest(name, reference, false);
                return Reply::empty(StatusCode::INTERNAL_SERVER_ERROR);
            }
        }
        let mut reply = Reply::empty(StatusCode::CREATED)
            .with(LOCATION, &format!("/v2/{name}/manifests/{}", put.digest))
            .with(CONTENT_DIGEST, &put.digest);
        if let Some(subject) = &put.subject {
            reply.set(SUBJECT, subject);
        }
        for tag in &tags {
            if let Ok(tag) = tag.parse() {
                reply.headers.append(TAG, tag);
            }
        }
        reply
    })
}

/// Takes a pushed manifest into the metadata.
fn describe(state: &mut State, change: Change<'_>, user: &str) -> Result<(), Unfit> {
    let now = state.tick();
    let repository = state.store.repository(change.repository).ok_or(Unfit)?;
    state.meta.pushed(change, repository, user, now)
}

/// The tags in the query of a push by digest.
fn further_tags(asked: &Asked, reference: &str) -> Result<Vec<String>, Box<Reply>> {
    let invalid = |status, reason: &str| Box::new(refusal(status, Code::ManifestInvalid, &[("reason", reason)]));
    let asked_for = asked.parameters("tag");
    if asked_for.len() > MOST_TAGS {
        let reason = format!("too many tag query parameters (max {MOST_TAGS})");
        return Err(invalid(StatusCode::URI_TOO_LONG, &reason));
    }
    let mut seen = BTreeSet::new();
    let mut tags = Vec::new();
    for tag in asked_for.iter().map(|tag| tag.trim()) {
        if tag.is_empty() {
            return Err(invalid(StatusCode::BAD_REQUEST, "empty tag query parameter"));
        }
        if !is_tag(tag) {
            let reason = "invalid tag query parameter: not a valid OCI/Docker tag";
            return Err(invalid(StatusCode::BAD_REQUEST, reason));
        }
        if seen.insert(tag) {
            tags.push(tag.to_owned());
        }
    }
    if !tags.is_empty() && !digest::is_digest(reference) {
        let reason = "tag query parameters are only valid when pushing a manifest by digest";
        return Err(invalid(StatusCode::BAD_REQUEST, reason));
    }
    Ok(tags)
}

fn is_tag(tag: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    (1..=128).contains(&tag.len()) && tag.bytes().all(fits) && !tag.starts_with(['.', '-'])
}

fn delete(registry: &Registry, user: &str, name: &str, reference: &str) -> Reply {
    let one_tag_only = registry.access.allows(user, "detectManifestCollision", name);
    registry.with(|state| {
        let details = [("reference", reference)];
        let refused = |trouble| match trouble {
            // Unlike GET, a DELETE in an unknown repository is a bad request.
            Trouble::RepoNotFound => refusal(StatusCode::BAD_REQUEST, Code::NameUnknown, &[("name", name)]),
            Trouble::ManifestNotFound => refusal(StatusCode::NOT_FOUND, Code::ManifestUnknown, &details),
            Trouble::ManifestConflict => refusal(StatusCode::CONFLICT, Code::ManifestInvalid, &details),
            Trouble::ManifestReferenced => refusal(StatusCode::METHOD_NOT_ALLOWED, Code::Denied, &details),
            _ => Reply::empty(StatusCode::INTERNAL_SERVER_ERROR),
        };
        let (media_type, digest, body) = match state.store.manifest(name, reference) {
            Ok((entry, body)) => (entry.media_type.clone(), entry.digest.clone(), body.clone()),
            Err(trouble) => return refused(trouble),
        };
        if let Err(trouble) = state.store.delete_manifest(name, reference, one_tag_only) {
            return refused(trouble);
        }
        state.meta.deleted(Change {
            repository: name,
            reference,
            media_type: &media_type,
            digest: &digest,
            body: &body,
        });
        Reply::empty(StatusCode::ACCEPTED)
    })
}
