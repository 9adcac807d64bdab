//! CVE queries, answered from reports: what scanning each manifest would find (`pkg/extensions/search/cve`).
//!
//! A node with reports behaves as a zot that has scanned everything it holds. What has no report, and could be scanned,
//! counts as scanned and free of CVEs when it is asked for by name, and as not scanned yet in the summaries of lists.

mod diff;
mod fixed;
mod list;

use super::content::ContentError;
use super::meta::{Image, ManifestMeta, Meta};
use super::oci::{self, Index};
use super::search::{Answered, Arguments, Call, Remarks};
use serde::Deserialize;
use std::collections::BTreeMap;

/// Severities, from that of what was not scanned upwards.
const SEVERITIES: [&str; 7] = ["", "NONE", "UNKNOWN", "LOW", "MEDIUM", "HIGH", "CRITICAL"];

/// Layers that can be looked into.
const SCANNABLE: [&str; 4] = [
    "application/vnd.oci.image.layer.v1.tar+gzip",
    "application/vnd.oci.image.layer.v1.tar+zstd",
    "application/vnd.oci.image.layer.v1.tar",
    "application/vnd.docker.image.rootfs.diff.tar.gzip",
];

/// How bad a severity is. Words that nobody knows count as `UNKNOWN`.
fn badness(severity: &str) -> usize {
    SEVERITIES.iter().position(|known| *known == severity).unwrap_or(2)
}

/// A CVE in an image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[allow(missing_docs, reason = "the names are those of the schema")]
pub struct Cve {
    pub id: String,
    pub title: String,
    pub description: String,
    pub reference: String,
    pub severity: String,
    pub package_list: Vec<Package>,
}

/// A package that has a CVE.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[allow(missing_docs, reason = "the names are those of the schema")]
pub struct Package {
    pub name: String,
    pub package_path: String,
    pub installed_version: String,
    pub fixed_version: String,
}

/// How many CVEs of which severity.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are those of the schema")]
pub struct Summary {
    pub max_severity: String,
    pub count: i64,
    pub unknown_count: i64,
    pub low_count: i64,
    pub medium_count: i64,
    pub high_count: i64,
    pub critical_count: i64,
}

impl Summary {
    /// Counts some CVEs; without any the severity is the given one.
    fn of<'a>(cves: impl Iterator<Item = &'a Cve>, least: &str) -> Self {
        let mut summary = Self { max_severity: least.to_owned(), ..Self::default() };
        for cve in cves {
            summary.count += 1;
            match &*cve.severity {
                "UNKNOWN" => summary.unknown_count += 1,
                "LOW" => summary.low_count += 1,
                "MEDIUM" => summary.medium_count += 1,
                "HIGH" => summary.high_count += 1,
                "CRITICAL" => summary.critical_count += 1,
                _ => {}
            }
            if badness(&cve.severity) > badness(&summary.max_severity) {
                summary.max_severity.clone_from(&cve.severity);
            }
        }
        summary
    }
}

/// What scanning a manifest finds.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Report {
    cves: Vec<Cve>,
    error: String,
}

/// CVEs by their identifiers.
type Cves = BTreeMap<String, Cve>;

/// What scanning finds, by the digests of manifests and indexes.
#[derive(Clone, Debug, Default)]
pub struct Reports(BTreeMap<String, Report>);

impl Reports {
    /// Reads reports: an object whose keys are digests.
    pub fn read(text: &[u8]) -> Result<Self, ContentError> {
        Ok(Self(serde_json::from_slice(text)?))
    }

    /// How many manifests have CVEs.
    #[cfg(test)]
    pub(super) fn affected(&self) -> usize {
        self.0.values().filter(|report| !report.cves.is_empty()).count()
    }

    /// The short summary of an image that everything knows at once, or why there is none: looked up, not scanned for.
    pub(super) fn summary(&self, meta: &Meta, name: &str, digest: &str) -> Result<Summary, String> {
        let Some(image) = meta.images.get(digest) else { return Ok(Summary::default()) };
        if !is_scannable(meta, name, image)? {
            return Ok(Summary::default());
        }
        let known = self.0.contains_key(digest) || matches!(image, Image::Index(_));
        match self.scan(meta, image) {
            Ok(cves) if known => Ok(Summary::of(cves.values(), "NONE")),
            _ => Ok(Summary::default()),
        }
    }

    /// Scans an image.
    fn scan(&self, meta: &Meta, image: &Image) -> Result<Cves, String> {
        if let Some(report) = self.0.get(image.digest()) {
            return report.cves();
        }
        let Image::Index(index) = image else { return Ok(Cves::new()) };
        let mut cves = Cves::new();
        for manifest in meta.contained(&index.index).iter().filter(|manifest| unscannable_layer(manifest).is_none()) {
            if let Some(report) = self.0.get(&manifest.digest) {
                // Of what several manifests have, the last one's word is kept.
                cves.extend(report.cves()?);
            }
        }
        Ok(cves)
    }
}

impl Report {
    fn cves(&self) -> Result<Cves, String> {
        // That an image cannot be scanned shows in its layers; only a scan that fails has to be told.
        if self.error.starts_with("scan error") {
            return Err(self.error.clone());
        }
        Ok(self.cves.iter().map(|cve| (cve.id.clone(), cve.clone())).collect())
    }
}

fn unscannable_layer(manifest: &ManifestMeta) -> Option<&str> {
    let mut layers = manifest.manifest.layers.iter().map(|layer| &*layer.media_type);
    layers.find(|kind| !SCANNABLE.contains(kind))
}

/// Whether an image can be scanned. Why a manifest cannot is told, why an index cannot is not.
fn is_scannable(meta: &Meta, name: &str, image: &Image) -> Result<bool, String> {
    match image {
        Image::Manifest(manifest) => match unscannable_layer(manifest) {
            None => Ok(true),
            Some(kind) => Err(format!(
                "image '{name}@{}' scanning is not supported for given media type: layer media type '{kind}'",
                manifest.digest
            )),
        },
        Image::Index(index) => {
            let Index { manifests, .. } = &index.index;
            let contained = meta.contained(&index.index);
            Ok(manifests.is_empty() || contained.iter().any(|manifest| unscannable_layer(manifest).is_none()))
        }
    }
}

/// Whether a manifest has the configuration of an image.
fn is_image(manifest: &ManifestMeta) -> bool {
    oci::is_config(&manifest.manifest.config.media_type)
}

/// Answers a CVE query.
pub fn answer(call: &Call<'_>, query: &str, arguments: &Arguments, remarks: &mut Remarks) -> Answered {
    let Some(reports) = call.cve else { return Err("cve search is disabled".into()) };
    match query {
        "CVEListForImage" => list::for_image(call, reports, arguments),
        "CVEDiffListForImages" => diff::for_images(call, reports, arguments),
        "ImageListForCVE" => fixed::with_cve(call, reports, arguments, remarks),
        "ImageListWithCVEFixed" => fixed::without_cve(call, reports, arguments, remarks),
        _ => Err(format!("there is no query {query}").into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn severities_are_counted_and_compared() {
        let cve = |severity: &str| Cve { severity: severity.to_owned(), ..Cve::default() };
        let cves = [cve("LOW"), cve("CRITICAL"), cve("LOW"), cve("UNKNOWN")];
        let summary = Summary::of(cves.iter(), "NONE");
        assert_eq!((summary.max_severity.as_str(), summary.count, summary.low_count), ("CRITICAL", 4, 2));
        assert_eq!(Summary::of([].iter(), "NONE").max_severity, "NONE");
        assert_eq!(badness("high"), badness("UNKNOWN"));
    }
}
