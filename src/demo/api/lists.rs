//! Lists: the catalogue, tags, referrers.

use crate::demo::digest;
use crate::demo::exchange::{Asked, Reply};
use crate::demo::oci::{self, Labels};
use crate::demo::registry::Registry;
use http::StatusCode;
use http::header::{HeaderName, LINK};
use serde::Serialize;
use std::collections::BTreeSet;

use crate::demo::refusal::{Code, refusal};

#[derive(Serialize)]
struct Repositories<'a> {
    repositories: Vec<&'a str>,
}

/// `/v2/_catalog`.
///
/// A `last` that is no repository leaves nothing, whether or not it may be read. The walk stops as soon as the page is
/// full, before it can know whether anything follows; so a full page always has a link (`GetNextRepositories`).
pub fn catalog(registry: &Registry, asked: &Asked, user: &str) -> Reply {
    let limit: Option<usize> = asked.parameter("n").parse::<i64>().ok().and_then(|limit| limit.try_into().ok());
    let last = asked.parameter("last");
    registry.with(|state| {
        let mut found = last.is_empty();
        let mut repositories = Vec::new();
        for name in state.store.walk() {
            if Some(repositories.len()) == limit {
                break;
            }
            if name == last {
                found = true;
            } else if found && registry.access.allows(user, "read", name) {
                repositories.push(name);
            }
        }
        let link = match (limit, repositories.last()) {
            (Some(limit), Some(last)) if repositories.len() == limit => {
                Some(format!("</v2/_catalog?n={limit}&last={last}>; rel=\"next\""))
            }
            _ => None,
        };
        let reply = Reply::json(StatusCode::OK, &Repositories { repositories });
        match link {
            Some(link) => reply.with(LINK, &link),
            None => reply,
        }
    })
}

#[derive(Serialize)]
struct Tags<'a> {
    name: &'a str,
    tags: &'a [String],
}

/// `/v2/<name>/tags/list`. Stricter than the catalogue: parameters that make no sense are refused, and a link means that
/// something follows.
pub fn tags(registry: &Registry, asked: &Asked, name: &str) -> Reply {
    let limit = match asked.parameters("n").as_slice() {
        [] => None,
        [limit] => match limit.parse::<i64>().map(usize::try_from) {
            Ok(Ok(limit)) => Some(limit),
            _ => return Reply::empty(StatusCode::BAD_REQUEST),
        },
        _ => return Reply::empty(StatusCode::BAD_REQUEST),
    };
    let last = asked.parameters("last");
    if last.len() > 1 {
        return Reply::empty(StatusCode::BAD_REQUEST);
    }
    let Some(tags) = registry.with(|state| Some(state.store.repository(name)?.tags())) else {
        return refusal(StatusCode::NOT_FOUND, Code::NameUnknown, &[("name", name)]);
    };
    let start = match last.first().map(String::as_str) {
        None | Some("") => 0,
        Some(last) => match tags.iter().position(|tag| tag == last) {
            Some(position) => position + 1,
            None => return Reply::empty(StatusCode::NOT_FOUND),
        },
    };
    let rest = &tags[start..];
    let page = &rest[..limit.map_or(rest.len(), |limit| limit.min(rest.len()))];
    let reply = Reply::json(StatusCode::OK, &Tags { name, tags: page });
    match (limit, page.last()) {
        (Some(limit), Some(last)) if limit < rest.len() => {
            reply.with(LINK, &format!("</v2/{name}/tags/list?n={limit}&last={last}>; rel=\"next\""))
        }
        _ => reply,
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Referrers<'a> {
    schema_version: u8,
    media_type: &'a str,
    manifests: Vec<Referrer>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Referrer {
    media_type: String,
    digest: String,
    size: i64,
    #[serde(skip_serializing_if = "Labels::is_empty")]
    annotations: Labels,
    #[serde(skip_serializing_if = "String::is_empty")]
    artifact_type: String,
}

/// `/v2/<name>/referrers/<digest>`. A name that is only a directory gets a 500: zot finds no `index.json` in it.
pub fn referrers(registry: &Registry, asked: &Asked, name: &str, subject: &str) -> Reply {
    if !digest::is_digest(subject) {
        return Reply::empty(StatusCode::BAD_REQUEST);
    }
    let kinds = asked.parameters("artifactType");
    let found = registry.with(|state| {
        if state.store.is_mere_directory(name) {
            return None;
        }
        let mut manifests = Vec::new();
        let mut seen = BTreeSet::new();
        let Some(repository) = state.store.repository(name) else { return Some(manifests) };
        for entry in repository.entries() {
            if entry.digest == subject || !seen.insert(&entry.digest) {
                continue;
            }
            let (of, kind, annotations) = match &*entry.media_type {
                oci::MANIFEST => match repository.manifest(&entry.digest) {
                    Some(manifest) => {
                        let kind = manifest.kind().to_owned();
                        (manifest.subject, kind, manifest.annotations)
                    }
                    None => continue,
                },
                oci::INDEX => match repository.index(&entry.digest) {
                    Some(index) => (index.subject, index.artifact_type, index.annotations),
                    None => continue,
                },
                _ => continue,
            };
            if of.is_some_and(|of| of.digest == subject) && (kinds.is_empty() || kinds.contains(&kind)) {
                manifests.push(Referrer {
                    media_type: entry.media_type.clone(),
                    digest: entry.digest.clone(),
                    size: entry.size,
                    annotations,
                    artifact_type: kind,
                });
            }
        }
        Some(manifests)
    });
    let Some(manifests) = found else { return Reply::empty(StatusCode::INTERNAL_SERVER_ERROR) };
    let list = Referrers { schema_version: 2, media_type: oci::INDEX, manifests };
    let mut reply = Reply::json(StatusCode::OK, &list);
    reply.set(http::header::CONTENT_TYPE, oci::INDEX);
    if !kinds.is_empty() {
        reply.set(HeaderName::from_static("oci-filters-applied"), "artifactType");
    }
    reply
}
