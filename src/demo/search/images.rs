//! The queries about images: lists, single ones, what is built on what, what refers to what.

use super::arguments::texts;
use super::find::{Candidate, Found, find_images};
use super::{Answered, Arguments, Call, Failure, Filter, Page, Remarks, object, page_info, summary, text};
use super::{page, vulnerabilities};
use crate::demo::digest;
use crate::demo::meta::{Image, ManifestMeta};
use async_graphql::Value;

const UNKNOWN_REPO: &str = "repo metadata not found for given repo name";

/// A page of images.
pub fn listed(
    call: &Call<'_>,
    page: &Page,
    filter: &Filter,
    found: Vec<Found<'_>>,
    vulnerable: bool,
    remarks: &mut Remarks,
) -> Result<(Vec<Value>, Value), Failure> {
    page::check_common(page)?;
    let mut candidates: Vec<Candidate<'_>> = summary::candidates(found, remarks);
    candidates.retain(|candidate| candidate.passes(filter));
    let (on_page, total) = page::of(page, candidates, call.ties.fresh())?;
    let items: Vec<Value> =
        on_page.iter().map(|candidate| vulnerabilities::image(call, candidate, vulnerable, remarks)).collect();
    let info = page_info(total, items.len());
    Ok((items, info))
}

/// `PaginatedImagesResult`.
pub fn paginated(
    call: &Call<'_>,
    page: &Page,
    filter: &Filter,
    found: Vec<Found<'_>>,
    vulnerable: bool,
    remarks: &mut Remarks,
) -> Answered {
    let (items, info) = listed(call, page, filter, found, vulnerable, remarks)?;
    Ok(object([("Page", info), ("Results", Value::List(items))]))
}

/// `ImageList`.
pub fn list(call: &Call<'_>, arguments: &Arguments, remarks: &mut Remarks) -> Answered {
    let page = Page::read(arguments, "RELEVANCE");
    let repo = text(arguments, "repo");
    let found = find_images(call, |name, _| repo.is_empty() || name == repo, |_, _, _| true);
    paginated(call, &page, &Filter::default(), found, call.wants("Results.Vulnerabilities"), remarks)
}

/// Whether an image has to do with a digest: as a whole, or by a part of the digests of a manifest, a configuration or a
/// layer (`FilterByDigest`).
pub fn has_digest(image: &Image, manifest: &ManifestMeta, digest: &str) -> bool {
    image.digest() == digest
        || manifest.digest.contains(digest)
        || manifest.manifest.config.digest.contains(digest)
        || manifest.manifest.layers.iter().any(|layer| layer.digest.contains(digest))
}

/// `ImageListForDigest`.
pub fn for_digest(call: &Call<'_>, arguments: &Arguments, remarks: &mut Remarks) -> Answered {
    let page = Page::read(arguments, "RELEVANCE");
    let id = text(arguments, "id");
    let found = find_images(call, |_, _| true, |_, image, manifest| has_digest(image, manifest, id));
    paginated(call, &page, &Filter::default(), found, call.wants("Results.Vulnerabilities"), remarks)
}

/// Which way a relation between images goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// What is built on the named image.
    Derived,
    /// What the named image is built on.
    Base,
}

/// `DerivedImageList` and `BaseImageList`: all layers of the one are the first ones of the other.
pub fn related(call: &Call<'_>, arguments: &Arguments, remarks: &mut Remarks, relation: Relation) -> Answered {
    let page = Page::read(arguments, "UPDATE_TIME");
    let (name, tag) = split(text(arguments, "image"));
    if tag.is_empty() {
        return Err("no reference provided".into());
    }
    let digest = match arguments.get("digest") {
        Some(Value::String(digest)) => Some(digest.as_str()),
        _ => None,
    };
    let named = single(call, name, tag, digest).map_err(|failure| match failure {
        Failure::Said(said) if said == UNKNOWN_REPO => "repository not found".into(),
        other => other,
    })?;
    if let Some(named) = &named {
        // The named image is looked at as a whole too.
        summary::candidates(vec![named.clone()], remarks);
    }
    let manifests = named.map(|named| named.manifests).unwrap_or_default();
    let found = find_images(
        call,
        |_, _| true,
        |_, _, candidate| {
            manifests.iter().any(|named| {
                let (base, derived) = match relation {
                    Relation::Derived => (&**named, candidate),
                    Relation::Base => (candidate, &**named),
                };
                named.digest != candidate.digest && is_base(base, derived)
            })
        },
    );
    paginated(call, &page, &Filter::default(), found, call.wants("Results.Vulnerabilities"), remarks)
}

fn is_base(base: &ManifestMeta, derived: &ManifestMeta) -> bool {
    let (base, derived) = (&base.manifest.layers, &derived.manifest.layers);
    !base.is_empty()
        && base.len() <= derived.len()
        && base.iter().zip(derived).all(|(one, other)| one.digest == other.digest)
}

/// A repository and a tag, at the first colon.
pub fn split(image: &str) -> (&str, &str) {
    image.split_once(':').unwrap_or((image, ""))
}

/// One image; nothing if it may not be seen. A digest is looked up in the whole registry.
fn single<'a>(
    call: &Call<'a>,
    name: &'a str,
    tag: &'a str,
    digest: Option<&str>,
) -> Result<Option<Found<'a>>, Failure> {
    if !call.may_read(name) {
        return Ok(None);
    }
    let (name, repo) = call.meta.repos.get_key_value(name).ok_or(UNKNOWN_REPO)?;
    let Some((tag, target)) = repo.tags.get_key_value(tag) else {
        return Err(format!("can't find image: {name}:{tag}").into());
    };
    let (tagged, digest) = match digest {
        Some(digest) => (None, digest),
        None => (target.tagged, target.digest.as_str()),
    };
    let found = Found::of(call, name, repo, tag, tagged, digest);
    found.map(Some).ok_or_else(|| format!("image meta not found for digest {digest}").into())
}

/// `Image`. What may not be seen has fields without values.
pub fn image(call: &Call<'_>, arguments: &Arguments, remarks: &mut Remarks) -> Answered {
    let (name, tag) = split(text(arguments, "image"));
    if tag.is_empty() {
        return Err("no reference provided".into());
    }
    let Some(found) = single(call, name, tag, None)? else { return Ok(object([])) };
    let candidates = summary::candidates(vec![found], remarks);
    let images =
        candidates.iter().map(|found| vulnerabilities::image(call, found, call.wants("Vulnerabilities"), remarks));
    Ok(images.collect::<Vec<_>>().pop().unwrap_or_else(|| object([])))
}

/// `Referrers`.
pub fn referrers(call: &Call<'_>, arguments: &Arguments) -> Answered {
    let name = text(arguments, "repo");
    if !call.may_read(name) {
        return Ok(Value::List(Vec::new()));
    }
    let subject = text(arguments, "digest");
    digest::check(subject).map_err(|malformed| format!("bad digest string from request '{subject}' {malformed}"))?;
    let repo = call.meta.repos.get(name).ok_or(UNKNOWN_REPO)?;
    let kinds = texts(arguments, "type");
    let fits = |kind: &String| kinds.is_empty() || kinds.iter().any(|wanted| wanted.is_empty() || wanted == kind);
    let list = repo.referrers.get(subject).map(Vec::as_slice).unwrap_or_default();
    let fitting = list.iter().filter(|referrer| fits(&referrer.artifact_type));
    Ok(Value::List(fitting.map(|referrer| summary::referrer(call, referrer)).collect()))
}
