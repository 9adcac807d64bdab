//! `/v2/<name>/blobs/uploads/` and the uploads themselves.

use super::blobs::may_link;
use super::manifests::CONTENT_DIGEST;
use crate::demo::digest;
use crate::demo::exchange::{Asked, Reply};
use crate::demo::refusal::{Code, refusal};
use crate::demo::registry::Registry;
use crate::demo::store::Trouble;
use http::StatusCode;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderName, LOCATION, RANGE};

const UPLOAD: HeaderName = HeaderName::from_static("blob-upload-uuid");

/// A new name, in the form of a random UUID.
fn new_name(registry: &Registry) -> String {
    let name = registry.ties.fresh().name();
    let (parts, _) = name.as_bytes().as_chunks::<4>();
    let part = |range: std::ops::Range<usize>| -> String {
        parts[range].iter().flatten().map(|&byte| char::from(byte)).collect()
    };
    format!("{}-{}-4{}-a{}-{}", part(0..2), part(2..3), &part(3..4)[1..], &part(4..5)[1..], part(5..8))
}

fn of_blob(name: &str, digest: &str) -> String {
    format!("/v2/{name}/blobs/{digest}")
}

/// Begins an upload, mounts a blob, or takes a whole one.
pub fn begin(registry: &Registry, asked: &Asked, user: &str, name: &str) -> Reply {
    match asked.parameters("mount").as_slice() {
        [] => {}
        [mounted] => return mount(registry, user, name, mounted),
        _ => return Reply::empty(StatusCode::BAD_REQUEST),
    }
    if !asked.parameters("from").is_empty() {
        return Reply::empty(StatusCode::METHOD_NOT_ALLOWED);
    }
    match asked.parameters("digest").as_slice() {
        [] => started(registry, name),
        [whole] => take(registry, asked, name, whole),
        _ => Reply::empty(StatusCode::BAD_REQUEST),
    }
}

fn started(registry: &Registry, name: &str) -> Reply {
    let upload = new_name(registry);
    registry.with(|state| state.store.begin_upload(name, upload.clone()));
    Reply::empty(StatusCode::ACCEPTED).with(LOCATION, &format!("/v2/{name}/blobs/uploads/{upload}")).with(RANGE, "0-0")
}

/// Mounts from wherever the blob is: where the client says it is, is not looked at.
fn mount(registry: &Registry, user: &str, name: &str, mounted: &str) -> Reply {
    let linked = registry.with(|state| {
        digest::is_digest(mounted)
            && may_link(registry, state, user, mounted)
            && state.store.link_blob(name, mounted).is_ok()
    });
    if !linked {
        return started(registry, name);
    }
    Reply::empty(StatusCode::CREATED).with(LOCATION, &of_blob(name, mounted))
}

/// Takes a blob in one request.
fn take(registry: &Registry, asked: &Asked, name: &str, expected: &str) -> Reply {
    if asked.header(&CONTENT_TYPE) != "application/octet-stream" {
        return Reply::empty(StatusCode::UNSUPPORTED_MEDIA_TYPE);
    }
    let wrong = || refusal(StatusCode::BAD_REQUEST, Code::DigestInvalid, &[("digest", expected)]);
    if !digest::is_digest(expected) {
        return wrong();
    }
    if registry.with(|state| state.store.put_blob(name, expected, asked.body.clone())).is_err() {
        return wrong();
    }
    Reply::empty(StatusCode::CREATED).with(LOCATION, &of_blob(name, expected)).with(UPLOAD, &new_name(registry))
}

/// Answers a request about an upload.
pub fn answer(registry: &Registry, asked: &Asked, name: &str, upload: &str) -> Reply {
    match asked.method.as_str() {
        "PATCH" => patch(registry, asked, name, upload),
        "PUT" => put(registry, asked, name, upload),
        "DELETE" => match registry.with(|state| state.store.cancel_upload(name, upload)) {
            Ok(()) => Reply::empty(StatusCode::NO_CONTENT),
            Err(trouble) => refused(&trouble, upload, ""),
        },
        _ => match registry.with(|state| state.store.uploaded(name, upload)) {
            Ok(size) => Reply::empty(StatusCode::NO_CONTENT)
                .with(LOCATION, &asked.path)
                .with(RANGE, &format!("0-{}", size.saturating_sub(1))),
            Err(trouble) => refused(&trouble, upload, ""),
        },
    }
}

fn refused(trouble: &Trouble, upload: &str, digest: &str) -> Reply {
    let details = [("session_id", upload)];
    match trouble {
        Trouble::BadUploadRange => refusal(StatusCode::RANGE_NOT_SATISFIABLE, Code::BlobUploadInvalid, &details),
        Trouble::UploadNotFound => refusal(StatusCode::NOT_FOUND, Code::BlobUploadUnknown, &details),
        Trouble::BadBlobDigest => refusal(StatusCode::BAD_REQUEST, Code::DigestInvalid, &[("digest", digest)]),
        _ => Reply::empty(StatusCode::INTERNAL_SERVER_ERROR),
    }
}

/// `from-to`, without unit and total.
fn content_range(header: &str) -> Option<(usize, usize)> {
    let (from, to) = header.trim().split_once('-')?;
    let (from, to): (usize, usize) = (from.trim().parse().ok()?, to.trim().parse().ok()?);
    (from <= to).then_some((from, to))
}

fn patch(registry: &Registry, asked: &Asked, name: &str, upload: &str) -> Reply {
    let from = if asked.headers.contains_key(CONTENT_LENGTH) && !asked.header(&CONTENT_RANGE).is_empty() {
        match content_range(asked.header(&CONTENT_RANGE)) {
            Some((from, to)) if to - from + 1 == asked.body.len() => Some(from),
            _ => return Reply::empty(StatusCode::RANGE_NOT_SATISFIABLE),
        }
    } else {
        None
    };
    match registry.with(|state| state.store.continue_upload(name, upload, from, &asked.body)) {
        Ok(size) => Reply::empty(StatusCode::ACCEPTED)
            .with(LOCATION, &asked.path)
            // An empty upload is told with a range that ends before it begins.
            .with(RANGE, &size.checked_sub(1).map_or("0--1".to_owned(), |last| format!("0-{last}")))
            .with(UPLOAD, upload),
        Err(trouble) => refused(&trouble, upload, ""),
    }
}

/// Ends an upload. A body without a range must be all of it; chunks without end are ignored, as is a body that has
/// neither length nor range.
fn put(registry: &Registry, asked: &Asked, name: &str, upload: &str) -> Reply {
    let digests = asked.parameters("digest");
    let [expected] = digests.as_slice() else { return Reply::empty(StatusCode::BAD_REQUEST) };
    if !digest::is_digest(expected) {
        return Reply::empty(StatusCode::BAD_REQUEST);
    }
    let range = asked.header(&CONTENT_RANGE);
    let from = if !range.is_empty() {
        match content_range(range) {
            Some((from, _)) => Some(from),
            None => return refused(&Trouble::BadUploadRange, upload, expected),
        }
    } else if asked.headers.contains_key(CONTENT_LENGTH) && !asked.body.is_empty() {
        Some(0)
    } else {
        None
    };
    let ended = registry.with(|state| {
        if from.is_some() {
            state.store.continue_upload(name, upload, from, &asked.body)?;
        }
        state.store.end_upload(name, upload, expected)
    });
    match ended {
        Ok(()) => {
            Reply::empty(StatusCode::CREATED).with(LOCATION, &of_blob(name, expected)).with(CONTENT_DIGEST, expected)
        }
        Err(trouble) => refused(&trouble, upload, expected),
    }
}
