//! What a node holds: repositories with their manifests and blobs, as zot's image store has them on a disk.
//!
//! A repository is what zot's directory would hold: the entries of `index.json`, the blobs, and the uploads under way.
//! zot deduplicates: it remembers which repositories have a blob, and links it into others that ask for it by HEAD, by a
//! range or by mounting (`CheckBlob` in `pkg/storage/imagestore`).

mod cache;
mod manifests;
mod schema;
mod uploads;

use super::digest;
use super::oci::{self, Index, Manifest};
use bytes::Bytes;
use cache::Cache;
use std::collections::{BTreeMap, BTreeSet};

/// Why the store cannot do something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// No such repository.
    RepoNotFound,
    /// No such manifest.
    ManifestNotFound,
    /// A manifest that cannot be taken, and what its parser said of it.
    BadManifest(Option<String>),
    /// A manifest that several tags point to, and somebody who may not delete those at once.
    ManifestConflict,
    /// A manifest that an index needs.
    ManifestReferenced,
    /// No such blob.
    BlobNotFound,
    /// A blob that a manifest needs.
    BlobReferenced,
    /// A blob that is not what its digest says.
    BadBlobDigest,
    /// No such upload.
    UploadNotFound,
    /// A chunk that does not follow what has arrived.
    BadUploadRange,
}

/// An entry of a repository's `index.json`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The media type it was pushed with.
    pub media_type: String,
    /// The digest.
    pub digest: String,
    /// The size.
    pub size: i64,
    /// The tag, if this entry is for one.
    pub tag: Option<String>,
}

/// A repository.
#[derive(Clone, Debug, Default)]
pub struct Repository {
    index: Vec<Entry>,
    blobs: BTreeMap<String, Bytes>,
    uploads: BTreeMap<String, Vec<u8>>,
}

impl Repository {
    /// The entries, in the order in which they came.
    pub fn entries(&self) -> &[Entry] {
        &self.index
    }

    /// The tags, sorted by their bytes.
    pub fn tags(&self) -> Vec<String> {
        let mut tags: Vec<String> = self.index.iter().filter_map(|entry| entry.tag.clone()).collect();
        tags.sort();
        tags
    }

    /// A blob or manifest.
    pub fn blob(&self, digest: &str) -> Option<&Bytes> {
        self.blobs.get(digest)
    }

    /// The entry of a tag or digest.
    pub fn entry(&self, reference: &str) -> Option<&Entry> {
        self.index.iter().find(|entry| entry.tag.as_deref() == Some(reference) || entry.digest == reference)
    }

    /// The manifest with a digest.
    pub fn manifest(&self, digest: &str) -> Option<Manifest> {
        serde_json::from_slice(self.blob(digest)?).ok()
    }

    /// The index with a digest.
    pub fn index(&self, digest: &str) -> Option<Index> {
        serde_json::from_slice(self.blob(digest)?).ok()
    }

    /// What this repository's manifests call a blob: its media type.
    pub fn media_type(&self, digest: &str) -> Option<String> {
        let tops = self.index.iter().map(|entry| (entry.media_type.clone(), entry.digest.clone())).collect();
        self.find(digest, tops, &mut BTreeSet::new())
    }

    /// Whether any manifest needs a blob.
    fn needs(&self, digest: &str) -> bool {
        self.media_type(digest).is_some()
    }

    /// Looks for a digest among descriptors and what they stand for; each is read once.
    fn find(&self, digest: &str, descriptors: Vec<(String, String)>, seen: &mut BTreeSet<String>) -> Option<String> {
        for (media_type, candidate) in descriptors {
            if candidate == digest {
                return Some(media_type);
            }
            if !seen.insert(candidate.clone()) {
                continue;
            }
            let found = if oci::is_manifest(&media_type) {
                self.manifest(&candidate).and_then(|manifest| {
                    std::iter::once(&manifest.config)
                        .chain(&manifest.layers)
                        .find(|blob| blob.digest == digest)
                        .map(|blob| blob.media_type.clone())
                })
            } else if oci::is_index(&media_type) {
                self.index(&candidate).and_then(|index| {
                    let children =
                        index.manifests.into_iter().map(|child| (child.media_type, child.digest)).collect::<Vec<_>>();
                    self.find(digest, children, seen)
                })
            } else {
                None
            };
            if found.is_some() {
                return found;
            }
        }
        None
    }
}

/// All repositories of a node.
#[derive(Clone, Debug, Default)]
pub struct Store {
    repositories: BTreeMap<String, Repository>,
    /// Where blobs can be linked from. Manifests are not in it.
    cache: Cache,
    /// Whether Docker's media types are taken.
    docker: bool,
}

impl Store {
    /// An empty store. `docker`: whether Docker's media types are taken.
    pub fn new(docker: bool) -> Self {
        Self { docker, ..Self::default() }
    }

    /// A repository.
    pub fn repository(&self, name: &str) -> Option<&Repository> {
        self.repositories.get(name)
    }

    /// The repository of a name, made if there is none.
    fn init(&mut self, name: &str) -> &mut Repository {
        self.repositories.entry(name.to_owned()).or_default()
    }

    /// Whether zot would have a directory of a name that is no repository: that of repositories below it.
    pub fn is_mere_directory(&self, name: &str) -> bool {
        let below = format!("{name}/");
        !self.repositories.contains_key(name)
            && self.repositories.range(below.clone()..).next().is_some_and(|(next, _)| next.starts_with(&below))
    }

    /// All names in the order of a walk through the directories: what is below `alpine` comes before `alpine-extra`.
    ///
    /// The walk does not enter directories whose names end in `blobs` (`GetNextRepositories`).
    pub fn walk(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self
            .repositories
            .keys()
            .map(String::as_str)
            .filter(|name| !name.split('/').any(|component| component.ends_with("blobs")))
            .collect();
        names.sort_by(|one, other| one.split('/').cmp(other.split('/')));
        names
    }

    /// The repositories that a blob could be linked from, as far as zot knows.
    pub fn holders(&self, digest: &str) -> impl Iterator<Item = &str> {
        self.cache.holders(digest)
    }

    /// A blob of a repository.
    pub fn blob(&self, name: &str, digest: &str) -> Result<&Bytes, Trouble> {
        self.repository(name).and_then(|repository| repository.blob(digest)).ok_or(Trouble::BlobNotFound)
    }

    /// A blob of a repository, linked into it if any other one has it: the repository is made if there is none.
    pub fn link_blob(&mut self, name: &str, digest: &str) -> Result<Bytes, Trouble> {
        if let Ok(blob) = self.blob(name, digest) {
            return Ok(blob.clone());
        }
        let origin = self.cache.origin(digest).ok_or(Trouble::BlobNotFound)?.to_owned();
        let Ok(blob) = self.blob(&origin, digest).cloned() else {
            self.cache.forget(digest, &origin);
            return Err(Trouble::BlobNotFound);
        };
        self.init(name).blobs.insert(digest.to_owned(), blob.clone());
        self.cache.note(digest, name);
        Ok(blob)
    }

    /// Takes a blob that was uploaded (`DedupeBlob`): places that do not have it any more are forgotten on the way.
    fn add_blob(&mut self, name: &str, digest: &str, blob: Bytes) {
        while let Some(origin) = self.cache.origin(digest).map(str::to_owned) {
            if self.blob(&origin, digest).is_ok() {
                break;
            }
            self.cache.forget(digest, &origin);
        }
        self.init(name).blobs.insert(digest.to_owned(), blob);
        self.cache.note(digest, name);
    }

    /// Takes a whole blob.
    pub fn put_blob(&mut self, name: &str, expected: &str, content: Bytes) -> Result<(), Trouble> {
        self.init(name);
        if digest::alike(expected, &content) != expected {
            return Err(Trouble::BadBlobDigest);
        }
        self.add_blob(name, expected, content);
        Ok(())
    }

    /// Deletes a blob that no manifest needs.
    pub fn delete_blob(&mut self, name: &str, digest: &str) -> Result<(), Trouble> {
        let repository = self.repositories.get_mut(name).ok_or(Trouble::BlobNotFound)?;
        if !repository.blobs.contains_key(digest) {
            return Err(Trouble::BlobNotFound);
        }
        if repository.needs(digest) {
            return Err(Trouble::BlobReferenced);
        }
        repository.blobs.remove(digest);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_walk_goes_directory_by_directory() {
        let mut store = Store::default();
        for name in ["alpine-extra", "alpine/edge", "alpine", "lib.x", "lib/core", "lib", "my/blobs"] {
            store.init(name);
        }
        assert_eq!(store.walk(), ["alpine", "alpine/edge", "alpine-extra", "lib", "lib/core", "lib.x"]);
        assert!(store.is_mere_directory("my") && !store.is_mere_directory("lib") && !store.is_mere_directory("al"));
    }

    #[test]
    fn a_blob_is_linked_from_whoever_has_it() {
        let mut store = Store::default();
        let digest = digest::of(b"layer");
        assert_eq!(store.link_blob("b", &digest), Err(Trouble::BlobNotFound));
        assert!(store.repository("b").is_none());
        store.put_blob("a", &digest, Bytes::from_static(b"layer")).unwrap();
        assert_eq!(store.blob("b", &digest), Err(Trouble::BlobNotFound));
        assert!(store.link_blob("b", &digest).is_ok() && store.blob("b", &digest).is_ok());
        store.delete_blob("a", &digest).unwrap();
        assert_eq!(store.link_blob("c", &digest), Err(Trouble::BlobNotFound), "it is looked for where it was");
        assert!(store.link_blob("c", &digest).is_ok(), "and then where else it is");
    }
}
