//! `ImageListForCVE` and `ImageListWithCVEFixed`: images with a CVE, and without it any more.

use super::{Reports, is_image, is_scannable};
use crate::demo::meta::{Image, ManifestMeta, Meta, Repo};
use crate::demo::search::{Answered, Arguments, Call, Filter, Page, Remarks, find_images, paginated, text};
use crate::demo::time::Time;
use std::collections::BTreeSet;

/// Whether an image has a CVE; nothing if it cannot be scanned.
fn has(call: &Call<'_>, reports: &Reports, name: &str, image: &Image, id: &str) -> Option<bool> {
    match is_scannable(call.meta, name, image) {
        Ok(true) => Some(reports.scan(call.meta, image).ok()?.contains_key(id)),
        _ => None,
    }
}

/// `ImageListForCVE`. Only tags of single manifests say which manifests have the CVE: an index is listed only if one of
/// its manifests has a tag of its own, somewhere.
pub fn with_cve(call: &Call<'_>, reports: &Reports, arguments: &Arguments, remarks: &mut Remarks) -> Answered {
    let filter = Filter::read(arguments)?.cleaned();
    let id = text(arguments, "id");
    let mut affected = BTreeSet::new();
    for (name, repo) in call.meta.repos.iter().filter(|(name, _)| call.may_read(name)) {
        for tag in repo.tags.values() {
            if let Some(image @ Image::Manifest(_)) = call.meta.images.get(&tag.digest)
                && has(call, reports, name, image, id) == Some(true)
            {
                affected.insert(tag.digest.as_str());
            }
        }
    }
    let found = find_images(call, |_, _| true, |_, _, manifest| affected.contains(&*manifest.digest));
    paginated(call, &Page::read(arguments, "UPDATE_TIME"), &filter, found, false, remarks)
}

/// `ImageListWithCVEFixed`.
pub fn without_cve(call: &Call<'_>, reports: &Reports, arguments: &Arguments, remarks: &mut Remarks) -> Answered {
    let filter = Filter::read(arguments)?.cleaned();
    let (id, sought) = (text(arguments, "id"), text(arguments, "image"));
    let unknown = "repo metadata not found for given repo name";
    let (name, repo) = call.meta.repos.get_key_value(sought).ok_or(unknown)?;
    let fixed = fixed_manifests(call, reports, name, repo, id);
    let found = find_images(call, |of, _| of == name, |_, _, manifest| fixed.contains(&manifest.digest));
    paginated(call, &Page::read(arguments, "UPDATE_TIME"), &filter, found, false, remarks)
}

/// A manifest of a tag.
#[derive(Clone, Debug)]
struct Part {
    digest: String,
    made: Time,
    vulnerable: bool,
}

/// A tag with its manifests: those that are images.
#[derive(Clone, Debug)]
struct Tagged {
    parts: Vec<Part>,
}

impl Tagged {
    /// When the latest of some manifests was made.
    fn latest(&self, which: impl Fn(&Part) -> bool) -> Option<Time> {
        self.parts.iter().filter(|part| which(part)).map(|part| part.made).max()
    }
}

/// The manifests of a repository without a CVE, none of them older than the first that has it: what is older may not have
/// had the package yet. If nothing has it, all (`GetImageListWithCVEFixed`).
fn fixed_manifests(call: &Call<'_>, reports: &Reports, name: &str, repo: &Repo, id: &str) -> BTreeSet<String> {
    let tags: Vec<Tagged> = repo
        .tags
        .values()
        .filter_map(|tag| {
            let parts: Vec<Part> = match call.meta.images.get(&tag.digest)? {
                Image::Manifest(manifest) => part(call, reports, name, manifest, id).into_iter().collect(),
                Image::Index(index) => {
                    let children = index.index.manifests.iter().filter_map(|child| first_of(call.meta, &child.digest));
                    children.filter_map(|manifest| part(call, reports, name, &manifest, id)).collect()
                }
            };
            (!parts.is_empty()).then_some(Tagged { parts })
        })
        .collect();
    let vulnerable = tags.iter().filter_map(|tag| tag.latest(|part| part.vulnerable));
    // What cannot be scanned counts as vulnerable here.
    let first = vulnerable.min();
    let is_fixed = |tag: &Tagged, part: &Part| match first {
        None => true,
        Some(first) => {
            !part.vulnerable && part.made >= first && tag.latest(|_| true).is_some_and(|latest| latest >= first)
        }
    };
    tags.iter()
        .flat_map(|tag| tag.parts.iter().filter(|part| is_fixed(tag, part)).map(|part| part.digest.clone()))
        .collect()
}

/// A manifest, or the first one of an index within an index.
fn first_of(meta: &Meta, digest: &str) -> Option<std::sync::Arc<ManifestMeta>> {
    match meta.images.get(digest)? {
        Image::Manifest(manifest) => Some(std::sync::Arc::clone(manifest)),
        Image::Index(index) => meta.contained(&index.index).into_iter().next(),
    }
}

fn part(call: &Call<'_>, reports: &Reports, name: &str, manifest: &ManifestMeta, id: &str) -> Option<Part> {
    if !is_image(manifest) {
        return None;
    }
    let image = call.meta.images.get(&manifest.digest)?;
    let vulnerable = has(call, reports, name, image, id).unwrap_or(true);
    Some(Part { digest: manifest.digest.clone(), made: manifest.config.kept_last_updated(), vulnerable })
}
