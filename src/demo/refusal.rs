//! The error bodies of the distribution specification, as zot fills them.

use super::exchange::{Asked, Reply};
use http::StatusCode;
use http::header::WWW_AUTHENTICATE;
use serde::Serialize;
use std::collections::BTreeMap;

/// The codes that zot answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are those of the distribution specification")]
pub enum Code {
    BlobUnknown,
    BlobUploadInvalid,
    BlobUploadUnknown,
    Denied,
    DigestInvalid,
    ManifestInvalid,
    ManifestUnknown,
    NameUnknown,
    Unauthorized,
}

impl Code {
    /// Code, message and description: zot's words, since clients and tests compare them (`pkg/api/errors/errors.go`).
    fn words(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::BlobUnknown => (
                "BLOB_UNKNOWN",
                "blob unknown to registry",
                "blob unknown to registry \tThis error MAY be returned when a blob is unknown  to the registry in a \
                 specified repository. This can be returned with a standard get or if a manifest references an unknown \
                 layer during upload.",
            ),
            Self::BlobUploadInvalid => (
                "BLOB_UPLOAD_INVALID",
                "blob upload invalid",
                "The blob upload encountered an error and can no longer proceed.",
            ),
            Self::BlobUploadUnknown => (
                "BLOB_UPLOAD_UNKNOWN",
                "blob upload unknown to registry",
                "If a blob upload has been cancelled or was never started, this error code MAY be returned.",
            ),
            Self::Denied => (
                "DENIED",
                "requested access to the resource is denied",
                "The access controller denied access for the operation on a resource.",
            ),
            Self::DigestInvalid => (
                "DIGEST_INVALID",
                "provided digest did not match uploaded content",
                "When a blob is uploaded, the registry will check that the content matches the digest provided by the \
                 client. The error MAY include a detail structure with the key \"digest\", including the invalid \
                 digest string. This error MAY also be returned when a manifest includes an invalid layer digest.",
            ),
            Self::ManifestInvalid => (
                "MANIFEST_INVALID",
                "manifest invalid",
                "During upload, manifests undergo several checks ensuring validity. If those checks fail, this error \
                 MAY be returned, unless a more specific error is included. The detail will contain information the \
                 failed validation.",
            ),
            Self::ManifestUnknown => (
                "MANIFEST_UNKNOWN",
                "manifest unknown",
                "This error is returned when the manifest, identified by name and tag is unknown to the repository.",
            ),
            Self::NameUnknown => (
                "NAME_UNKNOWN",
                "repository name not known to registry",
                "This is returned if the name used during an operation is unknown to the registry.",
            ),
            Self::Unauthorized => (
                "UNAUTHORIZED",
                "authentication required",
                "The access controller was unable to authenticate the client. Often this will be accompanied by a \
                 WWW-Authenticate HTTP response header indicating how to authenticate.",
            ),
        }
    }
}

#[derive(Serialize)]
struct Entry<'a> {
    code: &'static str,
    message: &'static str,
    detail: BTreeMap<&'a str, &'a str>,
}

#[derive(Serialize)]
struct List<'a> {
    errors: [Entry<'a>; 1],
}

fn entry<'a>(code: Code, details: &[(&'a str, &'a str)]) -> Entry<'a> {
    let (code, message, description) = code.words();
    let mut detail = BTreeMap::from([("description", description)]);
    detail.extend(details.iter().copied());
    Entry { code, message, detail }
}

/// An error with details besides its description.
pub fn refusal(status: StatusCode, code: Code, details: &[(&str, &str)]) -> Reply {
    Reply::json(status, &List { errors: [entry(code, details)] })
}

/// The answer to credentials that are wrong. It lacks the `errors` around it (`authFail` in `pkg/api/authn.go`).
pub fn unauthenticated(asked: &Asked, realm: &str) -> Reply {
    challenge(asked, realm, Reply::json(StatusCode::UNAUTHORIZED, &entry(Code::Unauthorized, &[])))
}

/// The answer to somebody who may not: 401 to nobody in particular, 403 to a user (`AuthzFail`).
pub fn forbidden(asked: &Asked, realm: &str, user: &str) -> Reply {
    let reply = if user.is_empty() {
        refusal(StatusCode::UNAUTHORIZED, Code::Unauthorized, &[])
    } else {
        refusal(StatusCode::FORBIDDEN, Code::Denied, &[])
    };
    challenge(asked, realm, reply)
}

/// Adds the challenge, which the web UI is spared: the browser would open its own window.
fn challenge(asked: &Asked, realm: &str, reply: Reply) -> Reply {
    if asked.by_ui() { reply } else { reply.with(WWW_AUTHENTICATE, &format!("Basic realm=\"{realm}\"")) }
}
