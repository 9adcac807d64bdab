//! Finding images in the metadata: tags with what they point to.

use super::page::Sortable;
use super::{Call, Filter};
use crate::demo::meta::{Image, ManifestMeta, Repo};
use crate::demo::oci::Platform;
use crate::demo::time::Time;
use std::sync::Arc;

/// A tag, and the manifests of it that are asked for.
#[derive(Clone, Debug)]
pub struct Found<'a> {
    /// The repository.
    pub name: &'a str,
    /// What is known of it.
    pub repo: &'a Repo,
    /// The tag.
    pub tag: &'a str,
    /// When it came into being, if that is known.
    pub tagged: Option<Time>,
    /// What it points to.
    pub image: &'a Image,
    /// The manifest itself, or those of an index.
    pub manifests: Vec<Arc<ManifestMeta>>,
}

impl<'a> Found<'a> {
    /// A tag with all its manifests.
    pub fn whole(call: &Call<'a>, name: &'a str, repo: &'a Repo, tag: &'a str) -> Option<Self> {
        let target = repo.tags.get(tag)?;
        Self::of(call, name, repo, tag, target.tagged, &target.digest)
    }

    /// A tag as if it pointed somewhere.
    pub fn of(
        call: &Call<'a>,
        name: &'a str,
        repo: &'a Repo,
        tag: &'a str,
        tagged: Option<Time>,
        digest: &str,
    ) -> Option<Self> {
        let image = call.meta.images.get(digest)?;
        let manifests = match image {
            Image::Manifest(manifest) => vec![Arc::clone(manifest)],
            Image::Index(index) => call.meta.contained(&index.index),
        };
        Some(Self { name, repo, tag, tagged, image, manifests })
    }

    /// The platforms of an index, by the digests of its manifests.
    pub fn platform(&self, manifest: &ManifestMeta) -> Platform {
        let own = &manifest.config.platform;
        let Image::Index(index) = self.image else { return own.clone() };
        if !own.is_empty() {
            return own.clone();
        }
        let listed = index.index.manifests.iter().rev().filter(|child| child.digest == manifest.digest);
        listed.filter_map(|child| child.platform.clone()).next().unwrap_or_else(|| own.clone())
    }

    /// Whether the image as a whole is signed.
    pub fn is_signed(&self) -> bool {
        is_signed(self.repo, self.image.digest())
    }
}

/// Whether there is a signature of something.
pub fn is_signed(repo: &Repo, digest: &str) -> bool {
    repo.signatures.get(digest).is_some_and(|tools| tools.values().any(|list| !list.is_empty()))
}

/// The tags that may be read, are asked for, and have a manifest that is asked for: of indexes those manifests only
/// (`FilterTags`).
pub fn find_images<'a>(
    call: &Call<'a>,
    asked_for: impl Fn(&str, &str) -> bool,
    fits: impl Fn(&str, &Image, &ManifestMeta) -> bool,
) -> Vec<Found<'a>> {
    let mut found = Vec::new();
    for (name, repo) in call.meta.repos.iter().filter(|(name, _)| call.may_read(name)) {
        for tag in repo.tags.keys().filter(|tag| asked_for(name, tag)) {
            let Some(mut image) = Found::whole(call, name, repo, tag) else { continue };
            image.manifests.retain(|manifest| fits(name, image.image, manifest));
            if !image.manifests.is_empty() {
                found.push(image);
            }
        }
    }
    found
}

/// An image on its way to a page: what it is sorted and filtered by.
#[derive(Clone, Debug)]
pub struct Candidate<'a> {
    /// The image.
    pub found: Found<'a>,
    /// When it was last changed.
    pub updated: Time,
}

impl Sortable for Candidate<'_> {
    fn name(&self) -> (&str, &str) {
        (self.found.name, self.found.tag)
    }

    fn updated(&self) -> Time {
        self.updated
    }

    fn downloads(&self) -> i64 {
        self.found.repo.statistics.get(self.found.image.digest()).map_or(0, |statistics| statistics.downloads)
    }

    fn rank(&self) -> Option<i64> {
        None
    }
}

impl Candidate<'_> {
    /// Whether a filter takes the image. Stars and bookmarks of its repository are not looked at.
    pub fn passes(&self, filter: &Filter) -> bool {
        if filter.signed && !self.found.is_signed() {
            return false;
        }
        let platforms: Vec<(String, String)> = self
            .found
            .manifests
            .iter()
            .map(|manifest| self.found.platform(manifest))
            .map(|platform| (platform.os.clone(), platform.arch()))
            .collect();
        filter.takes(&platforms)
    }
}
