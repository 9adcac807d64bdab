//! What pushing, pulling and deleting do to the metadata (`pkg/meta/hooks.go`, `pkg/meta/boltdb`).

use super::{Blob, Image, IndexMeta, ManifestMeta, Meta, Newest, Referrer, Repo, Signature, Statistics, Tag};
use crate::demo::oci::{self, Config, Index, Manifest};
use crate::demo::store::Repository;
use crate::demo::{digest, time, time::Time};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

const NOTATION: &str = "application/vnd.cncf.notary.signature";
const COSIGN: [&str; 2] =
    ["application/vnd.dev.cosign.artifact.sig.v1+json", "application/vnd.dev.sigstore.bundle.v0.3+json"];

/// A manifest that was pushed or deleted.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    /// Its repository.
    pub repository: &'a str,
    /// The tag or digest that was named.
    pub reference: &'a str,
    /// The media type.
    pub media_type: &'a str,
    /// The digest.
    pub digest: &'a str,
    /// The manifest.
    pub body: &'a Bytes,
}

/// A manifest that does not go into the metadata: zot takes it out of the store again and answers 500.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unfit;

/// Tags by which registries without the referrers API list referrers (`IsReferrersTag`).
fn is_referrers_tag(reference: &str) -> bool {
    reference.rsplit_once("sha256-").is_some_and(|(_, rest)| rest.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

/// Tags of cosign signatures (`IsCosignSignature`).
fn is_cosign_tag(reference: &str) -> bool {
    reference.split_once("sha256-").is_some_and(|(_, rest)| rest.rfind(".sig").is_some_and(|at| at > 0))
}

/// With what a manifest signs, and what.
fn signs(reference: &str, manifest: &Manifest) -> Option<(&'static str, String)> {
    if let Some(subject) = &manifest.subject {
        if manifest.kind() == NOTATION {
            return Some(("notation", subject.digest.clone()));
        }
        if COSIGN.contains(&manifest.kind()) {
            return Some(("cosign", subject.digest.clone()));
        }
    }
    if !is_cosign_tag(reference) {
        return None;
    }
    let signed = reference.strip_prefix("sha256-")?.strip_suffix(".sig").map(|hex| format!("sha256:{hex}"))?;
    digest::is_digest(&signed).then_some(("cosign", signed))
}

impl Meta {
    /// A manifest was pushed.
    pub fn pushed(&mut self, change: Change<'_>, store: &Repository, user: &str, now: Time) -> Result<(), Unfit> {
        if is_referrers_tag(change.reference) {
            return Ok(());
        }
        let size = i64::try_from(change.body.len()).unwrap_or(i64::MAX);
        let image = if oci::is_manifest(change.media_type) {
            let manifest: Manifest = serde_json::from_slice(change.body).map_err(|_| Unfit)?;
            let config = if oci::is_config(&manifest.config.media_type) {
                let blob = store.blob(&manifest.config.digest).ok_or(Unfit)?;
                serde_json::from_slice(blob).map_err(|_| Unfit)?
            } else {
                Config::default()
            };
            if let Some((tool, signed)) = signs(change.reference, &manifest) {
                return self.signed(change, tool, &signed, &manifest, store);
            }
            Image::Manifest(Arc::new(ManifestMeta { digest: change.digest.to_owned(), size, manifest, config }))
        } else if oci::is_index(change.media_type) {
            let index: Index = serde_json::from_slice(change.body).map_err(|_| Unfit)?;
            Image::Index(Arc::new(IndexMeta { digest: change.digest.to_owned(), size, index }))
        } else {
            return Ok(());
        };
        self.images.insert(change.digest.to_owned(), image.clone());
        let repo = self.repos.entry(change.repository.to_owned()).or_default();
        repo.refer(&image);
        if !digest::is_digest(change.reference) {
            let tagged = repo.tags.get(change.reference).map_or(Some(now), |tag| tag.tagged);
            let tag = Tag { digest: change.digest.to_owned(), tagged };
            repo.tags.insert(change.reference.to_owned(), tag);
        }
        let statistics = repo.statistics.entry(change.digest.to_owned()).or_insert_with(|| Statistics {
            downloads: 0,
            last_pull: time::epoch(),
            pushed: now,
            pushed_by: user.to_owned(),
        });
        if statistics.pushed_by.is_empty() {
            user.clone_into(&mut statistics.pushed_by);
        }
        repo.count(&image, change.reference);
        Ok(())
    }

    /// A signature was pushed: it is noted at what it signs, and is no image.
    fn signed(
        &mut self,
        change: Change<'_>,
        tool: &'static str,
        signed: &str,
        manifest: &Manifest,
        store: &Repository,
    ) -> Result<(), Unfit> {
        if manifest.layers.iter().any(|layer| store.blob(&layer.digest).is_none())
            || (tool == "notation" && manifest.layers.len() != 1)
        {
            return Err(Unfit);
        }
        let signature = Signature { digest: change.digest.to_owned(), layers: manifest.layers.len() };
        let repo = self.repos.entry(change.repository.to_owned()).or_default();
        let list = repo.signatures.entry(signed.to_owned()).or_default().entry(tool).or_default();
        if list.iter().any(|known| known.digest == signature.digest) {
            return Ok(());
        }
        if tool == "notation" {
            list.push(signature);
            return Ok(());
        }
        // The first place is for the signature under cosign's tag.
        if list.is_empty() {
            list.push(Signature { digest: String::new(), layers: 0 });
        }
        if is_cosign_tag(change.reference) {
            list[0] = signature;
        } else {
            list.push(signature);
        }
        Ok(())
    }

    /// A manifest was pulled.
    pub fn pulled(&mut self, change: Change<'_>, now: Time) {
        let manifest: Manifest = serde_json::from_slice(change.body).unwrap_or_default();
        if signs(change.reference, &manifest).is_some() || is_referrers_tag(change.reference) {
            return;
        }
        let Some(repo) = self.repos.get_mut(change.repository) else { return };
        let known = if digest::is_digest(change.reference) {
            Some(change.reference)
        } else {
            repo.tags.get(change.reference).map(|tag| &*tag.digest)
        };
        if let Some(statistics) = known.and_then(|digest| repo.statistics.get_mut(digest)) {
            statistics.downloads += 1;
            statistics.last_pull = now;
        }
    }

    /// A manifest was deleted.
    pub fn deleted(&mut self, change: Change<'_>) {
        if is_referrers_tag(change.reference) {
            return;
        }
        let manifest: Manifest = serde_json::from_slice(change.body).unwrap_or_default();
        let Some(repo) = self.repos.get_mut(change.repository) else { return };
        if let Some((tool, signed)) = signs(change.reference, &manifest) {
            if let Some(list) = repo.signatures.get_mut(&signed).and_then(|tools| tools.get_mut(tool)) {
                list.retain(|signature| signature.digest != change.digest);
            }
            return;
        }
        let Some(image) = self.images.get(change.digest) else { return };
        let by_digest = digest::is_digest(change.reference);
        if let Some(list) = image.subject().and_then(|subject| repo.referrers.get_mut(subject)) {
            for referrer in list.iter_mut().filter(|referrer| referrer.digest == change.digest) {
                referrer.count -= 1;
            }
            list.retain(|referrer| referrer.digest != change.digest || (referrer.count > 0 && !by_digest));
        }
        if by_digest {
            repo.tags.retain(|_, tag| tag.digest != change.reference);
        } else {
            repo.tags.remove(change.reference);
        }
        if !repo.tags.values().any(|tag| tag.digest == change.digest) {
            repo.statistics.remove(change.digest);
            repo.signatures.remove(change.digest);
            repo.referrers.remove(change.digest);
        }
        repo.recount(&self.images);
    }
}

impl Repo {
    /// Notes an image at what it refers to.
    fn refer(&mut self, image: &Image) {
        let Some(subject) = image.subject() else { return };
        let list = self.referrers.entry(subject.to_owned()).or_default();
        if let Some(known) = list.iter_mut().find(|known| known.digest == image.digest()) {
            known.count += 1;
            return;
        }
        list.push(Referrer {
            digest: image.digest().to_owned(),
            media_type: image.media_type(),
            artifact_type: image.kind().to_owned(),
            size: image.size(),
            annotations: image.annotations().clone(),
            count: 1,
        });
    }

    /// Takes an image into the totals (`AddImageMetaToRepoMeta`). A push by digest changes what is known of the blobs,
    /// but not the totals.
    fn count(&mut self, image: &Image, reference: &str) {
        let blob = match image {
            Image::Manifest(meta) => {
                let manifest = &meta.manifest;
                for part in std::iter::once(&manifest.config).chain(&manifest.layers) {
                    self.blobs.insert(part.digest.clone(), Blob { size: part.size, ..Blob::default() });
                }
                let platform = (!meta.config.platform.is_empty()).then(|| meta.config.platform.clone());
                let vendor =
                    oci_value(&manifest.annotations, "org.opencontainers.image.vendor", "org.label-schema.vendor");
                Blob {
                    size: meta.size,
                    vendors: Some(vendor).filter(|vendor| !vendor.is_empty()).map(str::to_owned).into_iter().collect(),
                    platforms: platform.into_iter().collect(),
                    parts: std::iter::once(&manifest.config)
                        .chain(&manifest.layers)
                        .map(|part| part.digest.clone())
                        .collect(),
                    updated: Some(meta.config.last_updated()),
                }
            }
            Image::Index(meta) => {
                let parts: Vec<String> = meta.index.manifests.iter().map(|child| child.digest.clone()).collect();
                let updated = parts.iter().filter_map(|part| self.blobs.get(part)?.updated).max();
                Blob { size: meta.size, updated: Some(updated.unwrap_or_else(time::zero)), parts, ..Blob::default() }
            }
        };
        let updated = blob.updated;
        self.blobs.insert(image.digest().to_owned(), blob);
        if digest::is_digest(reference) {
            return;
        }
        self.total(None);
        let newest = Newest { tag: reference.to_owned(), digest: image.digest().to_owned(), updated };
        self.newest = newer(self.newest.take(), newest);
    }

    /// Sums the totals up again after something was deleted (`RemoveImageFromRepoMeta`).
    fn recount(&mut self, images: &BTreeMap<String, Image>) {
        let mut kept = BTreeMap::new();
        self.total(Some(&mut kept));
        self.newest = None;
        for (tag, target) in &self.tags {
            let (Some(blob), true) = (self.blobs.get(&target.digest), images.contains_key(&target.digest)) else {
                continue;
            };
            let candidate = Newest { tag: tag.clone(), digest: target.digest.clone(), updated: blob.updated };
            self.newest = newer(self.newest.take(), candidate);
        }
        self.blobs = kept;
    }

    /// Sums up what the tags lead to, and keeps it in `kept` if that is asked for.
    fn total(&mut self, mut kept: Option<&mut BTreeMap<String, Blob>>) {
        let mut seen = BTreeSet::new();
        let mut queue: VecDeque<&String> = self.tags.values().map(|tag| &tag.digest).collect();
        let (mut size, mut platforms, mut vendors) = (0, Vec::new(), Vec::new());
        while let Some(digest) = queue.pop_front() {
            let Some(blob) = self.blobs.get(digest) else { continue };
            if !seen.insert(digest) {
                continue;
            }
            size += blob.size;
            for platform in &blob.platforms {
                if !platforms.contains(platform) {
                    platforms.push(platform.clone());
                }
            }
            for vendor in &blob.vendors {
                if !vendors.contains(vendor) {
                    vendors.push(vendor.clone());
                }
            }
            queue.extend(&blob.parts);
            if let Some(kept) = &mut kept {
                kept.insert(digest.clone(), blob.clone());
            }
        }
        (self.size, self.platforms, self.vendors) = (size, platforms, vendors);
    }
}

/// The newer of two images; the first one if they are of the same time.
fn newer(known: Option<Newest>, candidate: Newest) -> Option<Newest> {
    match known {
        Some(known) if known.updated >= candidate.updated => Some(known),
        _ => Some(candidate),
    }
}

/// A value under its name of today, or under that of yesterday.
pub fn oci_value<'a>(labels: &'a oci::Labels, name: &str, former: &str) -> &'a str {
    labels.get(name).filter(|value| !value.is_empty()).or_else(|| labels.get(former)).map_or("", String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_with_a_meaning() {
        let hex = "0".repeat(64);
        assert!(is_referrers_tag(&format!("sha256-{hex}")) && !is_referrers_tag("latest"));
        assert!(is_cosign_tag(&format!("sha256-{hex}.sig")) && !is_cosign_tag("sha256-.sig"));
        let manifest = Manifest::default();
        assert_eq!(signs(&format!("sha256-{hex}.sig"), &manifest), Some(("cosign", format!("sha256:{hex}"))));
        assert_eq!(signs("sha256-12.sig", &manifest), None);
    }
}
