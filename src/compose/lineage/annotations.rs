//! Whether an index or a manifest says itself when it was made: read in its own bytes, where what the nodes tell of it
//! leaves that open. That is rare, and there is a bound on it.

use super::super::Asker;
use crate::scatter::Failure;
use futures::future::join_all;
use http::StatusCode;
use jiff::Timestamp;
use serde::Deserialize;
use std::borrow::Cow;
use std::collections::HashMap;

/// The most indexes whose bytes are read for one field. Of more, what is most likely is shown.
pub const MOST_READ: usize = 32;

/// The annotations and labels that say when something was made (zot `pkg/extensions/search/convert/annotations.go`,
/// `GetCreated`). The second counts where the first is not there, or empty.
const CREATED: [&str; 2] = ["org.opencontainers.image.created", "org.label-schema.build-date"];

/// What says when it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Annotated {
    /// The index.
    pub index: bool,
    /// The first of the manifests that are shown, or its configuration.
    pub first: bool,
}

/// Where the bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bytes {
    /// The index of the node.
    pub node: usize,
    /// The repository.
    pub repository: String,
    /// The digests of the index, of the first manifest that is shown, and of its configuration.
    pub digests: [String; 3],
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Annotations<'a> {
    #[serde(borrow)]
    annotations: Option<HashMap<Cow<'a, str>, Cow<'a, str>>>,
    /// Of a configuration.
    #[serde(borrow)]
    config: Option<Config<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Config<'a> {
    #[serde(borrow, rename = "Labels")]
    labels: Option<HashMap<Cow<'a, str>, Cow<'a, str>>>,
}

/// Reads the bytes of each; `None` where they are not to be had: a node redirects, or they are gone.
pub async fn read(asker: &Asker<'_>, wanted: impl Iterator<Item = &Bytes>) -> Vec<Option<Annotated>> {
    let each = wanted.map(|Bytes { node, repository, digests }| async move {
        let blobs = digests.iter().map(|digest| blob(asker, *node, repository, digest));
        let said = join_all(blobs).await.into_iter().collect::<Option<Vec<bool>>>()?;
        let is_created = |which: usize| said.get(which).copied().unwrap_or_default();
        Some(Annotated { index: is_created(0), first: is_created(1) || is_created(2) })
    });
    join_all(each).await
}

/// Whether a blob says when it was made. A GET of a blob changes nothing, unlike that of a manifest, which is counted.
async fn blob(asker: &Asker<'_>, node: usize, repository: &str, digest: &str) -> Option<bool> {
    let answer = match asker.get(node, &format!("/v2/{repository}/blobs/{digest}")).await {
        Ok(answer) => answer,
        Err(Failure { node, kind, cause }) => {
            tracing::warn!(node, %kind, cause, repository, digest, "a manifest could not be read");
            return None;
        }
    };
    (answer.status == StatusCode::OK).then(|| is_created(&answer.body))
}

fn is_created(bytes: &[u8]) -> bool {
    let Ok(Annotations { annotations, config }) = serde_json::from_slice(bytes) else { return false };
    let labels = config.and_then(|config| config.labels);
    [annotations, labels].into_iter().flatten().any(|annotations| {
        let value = CREATED.iter().filter_map(|key| annotations.get(*key)).find(|value| !value.is_empty());
        value.is_some_and(|value| is_rfc_3339(value))
    })
}

/// Whether Go's `time.Parse(time.RFC3339, …)` takes a text, which is stricter than others.
fn is_rfc_3339(text: &str) -> bool {
    let shape = |at: usize| text.as_bytes().get(at).copied();
    let is_whole =
        [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')].iter().all(|&(at, c)| shape(at) == Some(c));
    is_whole && text.len() >= 20 && !text.contains(['z', ' ']) && text.parse::<Timestamp>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn annotations_and_labels_say_when_something_was_made() {
        for (bytes, expected) in [
            (r#"{"annotations":{"org.opencontainers.image.created":"2024-01-01T00:00:00Z"}}"#, true),
            (
                r#"{"annotations":{"org.opencontainers.image.created":"","org.label-schema.build-date":"2024-01-01T00:00:00.5+02:00"}}"#,
                true,
            ),
            (
                r#"{"annotations":{"org.opencontainers.image.created":"yesterday","org.label-schema.build-date":"2024-01-01T00:00:00Z"}}"#,
                false,
            ),
            (
                r#"{"created":"2024-01-01T00:00:00Z","config":{"Labels":{"org.opencontainers.image.created":"2024-01-01T00:00:00Z"}}}"#,
                true,
            ),
            (r#"{"created":"2024-01-01T00:00:00Z","config":{"Labels":null}}"#, false),
            (r#"{"config":{"mediaType":"x","digest":"sha256:00","size":1},"annotations":{"a":"b"}}"#, false),
            ("no JSON", false),
        ] {
            assert_eq!(is_created(bytes.as_bytes()), expected, "{bytes}");
        }
    }

    #[test]
    fn times_are_read_as_strictly_as_by_go() {
        for text in ["2024-01-01T00:00:00Z", "2024-01-01T00:00:00.123456789-07:00"] {
            assert!(is_rfc_3339(text), "{text}");
        }
        for text in [
            "2024-01-01",
            "2024-01-01 00:00:00Z",
            "2024-01-01T00:00Z",
            "2024-01-01T00:00:00",
            "2024-13-01T00:00:00Z",
            "20240101T000000Z",
        ] {
            assert!(!is_rfc_3339(text), "{text}");
        }
    }
}
