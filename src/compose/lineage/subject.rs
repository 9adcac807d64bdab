//! The manifests whose relations are looked for: those of the named image, as its owner knows them, or those of a digest
//! that the client names beside it.
//!
//! zot looks the digest up in the whole registry (zot `pkg/extensions/search/resolver.go`, `getImageSummary`). Here it is
//! found where the client may read an image with it.

use super::super::{Asker, Settled, failed_all};
use super::lists::{BY_DIGEST, read, unusable};
use super::related::Subject;
use super::{Lineage, error, refused};
use crate::document::{Field, Operation, Root, Upstream, Value, selected};
use crate::graphql::Outcome;
use crate::graphql::response::{Body, member};
use crate::items::Manifest;
use crate::query::RESERVED;
use crate::scatter::{Failure, NodeAnswer};
use http::StatusCode;
use serde::Deserialize;
use std::borrow::Cow;

/// The reserved keys of the image and of what has the digest.
const IMAGE: &str = "image";
const DIGEST: &str = "digest";
/// How a zot begins to say that it has no image with the digest.
const NO_SUCH_DIGEST: &str = "image meta not found for digest";

/// The manifests, and whether the owner of the image has answered for its own relations to them.
pub struct Subjects {
    /// The manifests.
    pub manifests: Vec<Subject>,
    /// Whether the owner knows them.
    pub owner_knows: bool,
}

/// A document that asks the owner of the image for `own` and for the image, and whoever is asked for the digest, if there
/// is one.
pub fn printed(operation: &Operation, own: Option<(Root, &(String, Value))>, digest: Option<&str>) -> Upstream {
    let of_manifest = vec![selected("Digest", vec![]), selected("Layers", vec![selected("Digest", vec![])])];
    let image_members = [Field::new("Tag", vec![]), Field::new("Manifests", of_manifest.clone())];
    let found = vec![selected("Digest", vec![]), selected("Manifests", of_manifest)];
    let found_members = [Field::new("Results", found)];
    let (image_key, digest_key) = (format!("{RESERVED}{IMAGE}"), format!("{RESERVED}{DIGEST}"));
    let id = [("id".to_owned(), Value::String(digest.unwrap_or_default().to_owned()))];
    let mut roots = Vec::new();
    let image_argument;
    if let Some((own, image)) = own {
        image_argument = [image.clone()];
        roots.push(own);
        roots.push(Root { key: &image_key, name: "Image", arguments: &image_argument, members: &image_members });
    }
    if digest.is_some() {
        roots.push(Root { key: &digest_key, name: BY_DIGEST, arguments: &id, members: &found_members });
    }
    operation.print_roots(&roots)
}

/// Whether a text is a digest as a whole; a part of one would find others, too.
pub fn is_digest(text: &str) -> bool {
    text.split_once(':').is_some_and(|(algorithm, hash)| {
        !algorithm.is_empty() && hash.len() >= 32 && hash.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}

/// An image, as far as its layers matter.
#[derive(Default, Deserialize)]
struct Image<'a> {
    /// None if the client may not read the image.
    #[serde(borrow, rename = "Tag", default)]
    tag: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "Digest", default)]
    digest: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "Manifests", default)]
    manifests: Option<Vec<Manifest<'a>>>,
}

#[derive(Default, Deserialize)]
struct Found<'a> {
    #[serde(borrow, rename = "Results", default)]
    results: Option<Vec<Image<'a>>>,
}

impl Lineage {
    /// The manifests, by the answer of the owner, or of other nodes when it lacks the digest.
    pub(super) async fn subjects(
        &self,
        asker: &Asker<'_>,
        field: &Field,
        owner: &NodeAnswer,
        failures: &mut Vec<Failure>,
    ) -> Settled<Subjects> {
        if owner.status != StatusCode::OK {
            return Err(Box::new(Outcome { refusal: Some(owner.clone()), ..Outcome::default() }));
        }
        let body = read(owner)?;
        let owner_knows = body.data.is_some();
        let image: Image = found(owner, &body, IMAGE)?;
        let Some(digest) = self.digest.as_deref().filter(|_| !owner_knows || image.tag.is_some()) else {
            if !owner_knows {
                return Err(refused(field, owner, &body));
            }
            // Of an image that the client may not read there are none.
            let manifests = image.manifests.iter().flatten().map(Subject::from).collect();
            return Ok(Subjects { manifests, owner_knows });
        };
        if !owner_knows && !body.errors.iter().flatten().any(|error| error.message().starts_with(NO_SUCH_DIGEST)) {
            return Err(refused(field, owner, &body));
        }
        let manifests = with_digest(found(owner, &body, DIGEST)?, digest);
        if !manifests.is_empty() {
            return Ok(Subjects { manifests, owner_knows });
        }
        let document = printed(&self.operation, None, Some(digest));
        let others = (0..asker.scatter.fleet().nodes().len()).filter(|&node| node != owner.node);
        let documents: Vec<_> = others.map(|node| (node, document.clone())).collect();
        let (answers, headers) = asker.parts(&documents, owner_knows.then(|| owner.clone()), failures).await?;
        for answer in answers.iter().filter(|answer| answer.node != owner.node) {
            let manifests = with_digest(found(answer, &read(answer)?, DIGEST)?, digest);
            if !manifests.is_empty() {
                return Ok(Subjects { manifests, owner_knows });
            }
        }
        if !failures.is_empty() {
            return Err(failed_all(std::mem::take(failures)));
        }
        if owner_knows {
            let message = format!(
                "no image that you may read has a tag and the digest {digest}: what is related to it on other nodes cannot be told"
            );
            return Err(error(field, &message, &headers));
        }
        Err(refused(field, owner, &body))
    }
}

/// What was found under one of onezot's own keys.
fn found<'a, T: Default + Deserialize<'a>>(answer: &NodeAnswer, body: &Body<'a>, key: &str) -> Settled<T> {
    let Some(found) = body.data.and_then(|data| member(data, &format!("{RESERVED}{key}"))) else {
        return Ok(T::default());
    };
    serde_json::from_str(found.get()).map_err(|error| unusable(answer, &format!("no image: {error}")))
}

/// The manifests of an image or index with a digest.
fn with_digest(found: Found, digest: &str) -> Vec<Subject> {
    let subjects = |image: Image| -> Vec<Subject> {
        let is_it = image.digest.as_deref() == Some(digest);
        let manifests = image.manifests.iter().flatten();
        manifests.filter(|manifest| is_it || manifest.digest == digest).map(Subject::from).collect()
    };
    let each = found.results.into_iter().flatten().map(subjects);
    each.into_iter().find(|subjects| !subjects.is_empty()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_digest_is_none() {
        let hash = "0123456789abcdef".repeat(4);
        assert!(is_digest(&format!("sha256:{hash}")) && is_digest(&format!("sha512:{hash}{hash}")));
        for text in [
            "",
            "sha256",
            "sha256:",
            "sha256:0123",
            &hash,
            &format!(":{hash}"),
            "sha256:not hex, but long enough to be some",
        ] {
            assert!(!is_digest(text), "{text}");
        }
    }
}
