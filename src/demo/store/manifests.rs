//! Manifests of the store: pushing, reading and deleting them, and what that does to `index.json`.

use super::{Entry, Repository, Store, Trouble, schema};
use crate::demo::oci::{self, Descriptor, Index, Manifest};
use crate::demo::{digest, go_json};
use bytes::Bytes;
use std::collections::BTreeMap;

/// A manifest that was pushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Put {
    /// Its digest.
    pub digest: String,
    /// The digest that it refers to.
    pub subject: Option<String>,
}

impl Store {
    /// A manifest by tag or digest.
    pub fn manifest(&self, name: &str, reference: &str) -> Result<(&Entry, &Bytes), Trouble> {
        let repository = self.repository(name).ok_or(Trouble::RepoNotFound)?;
        let entry = repository.entry(reference).ok_or(Trouble::ManifestNotFound)?;
        let blob = repository.blob(&entry.digest).ok_or(Trouble::ManifestNotFound)?;
        Ok((entry, blob))
    }

    /// Whether a manifest of a media type may be pushed.
    pub fn takes(&self, media_type: &str) -> bool {
        matches!(media_type, oci::MANIFEST | oci::INDEX)
            || (self.docker && matches!(media_type, oci::DOCKER_MANIFEST | oci::DOCKER_LIST))
    }

    /// Takes a manifest under a reference, or under several tags if the reference is a digest.
    ///
    /// The repository is made before anything is looked at.
    pub fn put_manifest(
        &mut self,
        name: &str,
        reference: &str,
        media_type: &str,
        body: &Bytes,
        tags: &[String],
    ) -> Result<Put, Trouble> {
        let repository = self.init(name);
        let by_digest = digest::is_digest(reference);
        let digest = digest::alike(if by_digest { reference } else { "" }, body);
        if by_digest && digest != reference {
            return Err(Trouble::BadManifest(None));
        }
        let subject = repository.validate(media_type, body)?;
        repository.blobs.insert(digest.clone(), body.clone());
        let size = i64::try_from(body.len()).unwrap_or(i64::MAX);
        let entry = |tag: Option<&str>| Entry {
            media_type: media_type.to_owned(),
            digest: digest.clone(),
            size,
            tag: tag.map(str::to_owned),
        };
        if !tags.is_empty() {
            repository.index.retain(|other| other.tag.is_some() || other.digest != digest);
            for tag in tags {
                repository.add(entry(Some(tag)));
            }
        } else {
            repository.add(entry((!by_digest).then_some(reference)));
        }
        Ok(Put { digest, subject })
    }

    /// Deletes a tag, or a manifest with all its tags.
    pub fn delete_manifest(&mut self, name: &str, reference: &str, one_tag_only: bool) -> Result<(), Trouble> {
        let repository = self.repositories.get_mut(name).ok_or(Trouble::RepoNotFound)?;
        let gone = |entry: &Entry| entry.tag.as_deref() == Some(reference) || entry.digest == reference;
        let removed: Vec<Entry> = repository.index.iter().filter(|entry| gone(entry)).cloned().collect();
        let Some(last) = removed.last() else { return Err(Trouble::ManifestNotFound) };
        if removed.len() > 1 && one_tag_only {
            return Err(Trouble::ManifestConflict);
        }
        let with_digest = repository.index.iter().filter(|entry| entry.digest == last.digest).count();
        let mut left: Vec<Entry> = repository.index.iter().filter(|entry| !gone(entry)).cloned().collect();
        if last.tag.as_deref() == Some(reference) && with_digest == 1 {
            // The last tag is gone; the manifest can still be had by its digest.
            left.push(Entry { tag: None, ..last.clone() });
        }
        if digest::is_digest(reference) && repository.is_part_of_an_index(&last.digest, &left) {
            return Err(Trouble::ManifestReferenced);
        }
        let still_there = left.iter().any(|entry| entry.digest == last.digest);
        repository.index = left;
        if !still_there {
            repository.blobs.remove(&last.digest);
        }
        Ok(())
    }
}

impl Repository {
    /// Checks a manifest and what it needs (`ValidateManifest`), and tells what it refers to.
    fn validate(&self, media_type: &str, body: &Bytes) -> Result<Option<String>, Trouble> {
        if body.is_empty() {
            return Err(Trouble::BadManifest(None));
        }
        let of_oci = matches!(media_type, oci::MANIFEST | oci::INDEX);
        let bad = |complaint: String| Trouble::BadManifest(of_oci.then_some(complaint));
        if let Some(complaint) = go_json::complaint(body) {
            // Go's two ways to read JSON have two names for an early end.
            let complaint = complaint.replace("unexpected EOF", "unexpected end of JSON input");
            return Err(bad(format!("manifest format mismatch: {complaint}")));
        }
        let unreadable = |error: serde_json::Error| bad(error.to_string());
        if of_oci {
            let value = serde_json::from_slice(body).map_err(unreadable)?;
            if let Some(violation) = schema::violation(media_type, &value) {
                return Err(bad(violation));
            }
        }
        let (needed, subject): (Vec<Descriptor>, Option<Descriptor>) = if oci::is_index(media_type) {
            let index: Index = serde_json::from_slice(body).map_err(unreadable)?;
            (index.manifests, index.subject)
        } else {
            let manifest: Manifest = serde_json::from_slice(body).map_err(unreadable)?;
            if digest::check(&manifest.config.digest).is_err() {
                return Err(bad("config: digest is required".to_owned()));
            }
            let known =
                media_type == oci::DOCKER_MANIFEST || matches!(&*manifest.config.media_type, oci::CONFIG | oci::EMPTY);
            // Artifacts of other kinds are taken without a look at their blobs.
            let needed =
                if known { std::iter::once(manifest.config).chain(manifest.layers).collect() } else { Vec::new() };
            (needed, manifest.subject)
        };
        let lacking = |blob: &Descriptor| !is_foreign(&blob.media_type) && !self.blobs.contains_key(&blob.digest);
        if needed.iter().any(lacking) {
            return Err(Trouble::BadManifest(None));
        }
        // zot looks for a subject in OCI's own types only.
        Ok(subject.filter(|_| of_oci).map(|subject| subject.digest))
    }

    /// Adds an entry, in the place of the one that its tag pointed to.
    fn add(&mut self, entry: Entry) {
        let reference = entry.tag.as_deref().unwrap_or(&entry.digest);
        let mut replaced = None;
        for (at, other) in self.index.iter().enumerate() {
            if reference == other.digest || (other.tag.as_deref() == Some(reference) && other.digest == entry.digest) {
                return;
            }
            if other.tag.as_deref() == Some(reference) {
                replaced = Some((at, other.digest.clone()));
                break;
            }
        }
        if let Some((at, old)) = replaced {
            self.index.remove(at);
            if oci::is_index(&entry.media_type) {
                self.prune(&old, &entry);
            }
        }
        self.index.retain(|other| other.tag.is_some() || other.digest != entry.digest);
        self.index.push(entry);
    }

    /// Drops the untagged manifests of a replaced index that no other index needs (`PruneImageManifestsFromIndex`).
    fn prune(&mut self, old: &str, new: &Entry) {
        let Some(old) = self.index(old) else { return };
        let mut needed: BTreeMap<&str, usize> = BTreeMap::new();
        for child in &old.manifests {
            *needed.entry(&child.digest).or_default() += 1;
        }
        let others: Vec<Index> = self
            .index
            .iter()
            .filter(|entry| oci::is_index(&entry.media_type))
            .chain([new])
            .filter_map(|entry| self.index(&entry.digest))
            .collect();
        for child in others.iter().flat_map(|other| &other.manifests) {
            if let Some(count) = needed.get_mut(&*child.digest) {
                *count += 1;
            }
        }
        self.index.retain(|entry| {
            !oci::is_manifest(&entry.media_type) || entry.tag.is_some() || needed.get(&*entry.digest) != Some(&1)
        });
    }

    fn is_part_of_an_index(&self, digest: &str, entries: &[Entry]) -> bool {
        let indexes = entries
            .iter()
            .filter(|entry| oci::is_index(&entry.media_type))
            .map(|entry| (entry.media_type.clone(), entry.digest.clone()))
            .collect();
        self.find(digest, indexes, &mut std::collections::BTreeSet::new()).is_some()
    }
}

/// Layers that need not be where their manifest is.
fn is_foreign(media_type: &str) -> bool {
    media_type.starts_with("application/vnd.oci.image.layer.nondistributable.v1")
}
