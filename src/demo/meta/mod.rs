//! What a node knows of its images beside their bytes: zot's metadata database (`pkg/meta`).
//!
//! All GraphQL answers come from here, not from the store. The two can differ, and in zot they do: the metadata of a
//! manifest outlives it, a signature is metadata of what it signs and no image, and stars can be given to what is only here.

mod update;

pub use update::{Change, Unfit, oci_value};

use super::oci::{Config, Index, Labels, Manifest, Platform};
use super::time::Time;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// An image manifest with its configuration.
#[derive(Clone, Debug)]
pub struct ManifestMeta {
    /// The digest.
    pub digest: String,
    /// The size of the manifest itself.
    pub size: i64,
    /// The manifest.
    pub manifest: Manifest,
    /// The configuration; empty for artifacts that have none of a known kind.
    pub config: Config,
}

/// An index.
#[derive(Clone, Debug)]
pub struct IndexMeta {
    /// The digest.
    pub digest: String,
    /// The size of the index itself.
    pub size: i64,
    /// The index.
    pub index: Index,
}

/// A manifest or an index. Docker's types count as OCI's.
#[derive(Clone, Debug)]
pub enum Image {
    /// A manifest.
    Manifest(Arc<ManifestMeta>),
    /// An index.
    Index(Arc<IndexMeta>),
}

impl Image {
    /// Its digest.
    pub fn digest(&self) -> &str {
        match self {
            Self::Manifest(manifest) => &manifest.digest,
            Self::Index(index) => &index.digest,
        }
    }

    /// Its size.
    pub fn size(&self) -> i64 {
        match self {
            Self::Manifest(manifest) => manifest.size,
            Self::Index(index) => index.size,
        }
    }

    /// Its media type, as GraphQL shows it.
    pub fn media_type(&self) -> &'static str {
        match self {
            Self::Manifest(_) => super::oci::MANIFEST,
            Self::Index(_) => super::oci::INDEX,
        }
    }

    fn kind(&self) -> &str {
        match self {
            Self::Manifest(manifest) => manifest.manifest.kind(),
            Self::Index(index) => &index.index.artifact_type,
        }
    }

    fn subject(&self) -> Option<&str> {
        let subject = match self {
            Self::Manifest(manifest) => &manifest.manifest.subject,
            Self::Index(index) => &index.index.subject,
        };
        subject.as_ref().map(|subject| &*subject.digest)
    }

    fn annotations(&self) -> &Labels {
        match self {
            Self::Manifest(manifest) => &manifest.manifest.annotations,
            Self::Index(index) => &index.index.annotations,
        }
    }
}

/// What a tag points to.
#[derive(Clone, Debug)]
pub struct Tag {
    /// The digest.
    pub digest: String,
    /// When the tag came into being; moving it does not change that.
    pub tagged: Option<Time>,
}

/// The history of a manifest in a repository.
#[derive(Clone, Debug)]
pub struct Statistics {
    /// How often it was pulled.
    pub downloads: i64,
    /// When it was last pulled.
    pub last_pull: Time,
    /// When it was pushed.
    pub pushed: Time,
    /// By whom.
    pub pushed_by: String,
}

/// A signature of an image.
#[derive(Clone, Debug)]
pub struct Signature {
    /// The digest of the manifest that holds it; empty for a place kept free.
    pub digest: String,
    /// How many signatures are in it: one a layer.
    pub layers: usize,
}

/// Something that refers to an image.
#[derive(Clone, Debug)]
pub struct Referrer {
    /// The digest.
    pub digest: String,
    /// The media type.
    pub media_type: &'static str,
    /// The artifact type.
    pub artifact_type: String,
    /// The size.
    pub size: i64,
    /// Annotations.
    pub annotations: Labels,
    /// Under how many references it was pushed.
    count: i64,
}

/// What a repository's totals are made of.
#[derive(Clone, Debug, Default)]
struct Blob {
    size: i64,
    vendors: Vec<String>,
    platforms: Vec<Platform>,
    parts: Vec<String>,
    updated: Option<Time>,
}

/// The newest image of a repository.
#[derive(Clone, Debug)]
pub struct Newest {
    /// Its tag.
    pub tag: String,
    /// Its digest.
    pub digest: String,
    /// When it was made.
    pub updated: Option<Time>,
}

/// A repository.
#[derive(Clone, Debug, Default)]
pub struct Repo {
    /// The tags. Those of cosign signatures are not among them.
    pub tags: BTreeMap<String, Tag>,
    /// By digest.
    pub statistics: BTreeMap<String, Statistics>,
    /// By digest of what is signed, then by tool.
    pub signatures: BTreeMap<String, BTreeMap<&'static str, Vec<Signature>>>,
    /// By digest of what is referred to, in the order of pushing.
    pub referrers: BTreeMap<String, Vec<Referrer>>,
    /// The sum of all its blobs.
    pub size: i64,
    /// The platforms of its images.
    pub platforms: Vec<Platform>,
    /// The vendors of its images.
    pub vendors: Vec<String>,
    /// The newest image.
    pub newest: Option<Newest>,
    /// How many users have starred it.
    pub stars: i64,
    blobs: BTreeMap<String, Blob>,
}

impl Repo {
    /// Pulls of everything that has a tag, once a tag.
    pub fn downloads(&self) -> i64 {
        self.tags.values().filter_map(|tag| self.statistics.get(&tag.digest)).map(|count| count.downloads).sum()
    }
}

/// What a user marked.
#[derive(Clone, Debug, Default)]
pub struct Marks {
    /// Repositories that the user starred.
    pub stars: BTreeSet<String>,
    /// Repositories that the user bookmarked; they need not exist.
    pub bookmarks: BTreeSet<String>,
}

/// The database.
#[derive(Clone, Debug, Default)]
pub struct Meta {
    /// Manifests and indexes of all repositories, by digest. They stay when the last tag goes.
    pub images: BTreeMap<String, Image>,
    /// The repositories.
    pub repos: BTreeMap<String, Repo>,
    /// What users marked.
    pub users: BTreeMap<String, Marks>,
}

impl Meta {
    /// The manifests of an index, those of indexes within it too, in their order; what is not known is left out.
    pub fn contained(&self, index: &Index) -> Vec<Arc<ManifestMeta>> {
        let mut manifests = Vec::new();
        for child in &index.manifests {
            if !super::oci::is_manifest(&child.media_type) && !super::oci::is_index(&child.media_type) {
                continue;
            }
            match self.images.get(&child.digest) {
                Some(Image::Manifest(manifest)) => manifests.push(Arc::clone(manifest)),
                Some(Image::Index(nested)) => manifests.extend(self.contained(&nested.index)),
                None => {}
            }
        }
        manifests
    }

    /// The marks of a user.
    pub fn marks(&self, user: &str) -> Marks {
        self.users.get(user).cloned().unwrap_or_default()
    }

    /// Stars a repository, or takes the star back. Tells whether there is such a repository; nothing changes if not.
    pub fn toggle_star(&mut self, user: &str, name: &str) -> bool {
        let Some(repo) = self.repos.get_mut(name) else { return false };
        let stars = &mut self.users.entry(user.to_owned()).or_default().stars;
        if stars.remove(name) {
            repo.stars -= 1;
        } else {
            stars.insert(name.to_owned());
            repo.stars += 1;
        }
        true
    }

    /// Bookmarks a name, or takes the bookmark back. Nobody asks whether there is such a repository.
    pub fn toggle_bookmark(&mut self, user: &str, name: &str) {
        let bookmarks = &mut self.users.entry(user.to_owned()).or_default().bookmarks;
        if !bookmarks.remove(name) {
            bookmarks.insert(name.to_owned());
        }
    }
}
