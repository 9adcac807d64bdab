//! `ImageSummary` and `ManifestSummary` (`pkg/extensions/search/convert`).

use super::find::{Candidate, Found, is_signed};
use super::{Call, Remarks, object};
use crate::demo::meta::{Image, ManifestMeta, Repo, oci_value};
use crate::demo::oci::{Labels, Platform};
use crate::demo::time::{self, Time};
use async_graphql::Value;
use async_graphql::indexmap::IndexMap;

/// A time, or null for the zero one.
pub fn moment(time: Time) -> Value {
    time::write(time).map_or(Value::Null, Value::String)
}

/// Operating system and architecture.
pub fn platform(platform: &Platform) -> Value {
    object([("Os", Value::from(platform.os.as_str())), ("Arch", Value::String(platform.arch()))])
}

/// What annotations say of an image.
#[derive(Clone, Debug, Default)]
struct Said {
    created: Option<Time>,
    texts: [String; 8],
}

/// The fields of an image that annotations fill, and the names of those, of today and of yesterday.
const SAID: [(&str, &str, &str); 8] = [
    ("Description", "org.opencontainers.image.description", "org.label-schema.description"),
    ("Licenses", "org.opencontainers.image.licenses", "org.label-schema.license"),
    ("Labels", "org.label-schema.labels", ""),
    ("Title", "org.opencontainers.image.title", "org.label-schema.name"),
    ("Source", "org.opencontainers.image.source", "org.label-schema.vcs-url"),
    ("Documentation", "org.opencontainers.image.documentation", "org.label-schema.usage"),
    ("Vendor", "org.opencontainers.image.vendor", "org.label-schema.vendor"),
    ("Authors", "org.opencontainers.image.authors", ""),
];
const AUTHORS: usize = 7;

impl Said {
    fn by(labels: &Labels) -> Self {
        let created = oci_value(labels, "org.opencontainers.image.created", "org.label-schema.build-date");
        Self {
            created: time::parse(created),
            texts: SAID.map(|(_, name, former)| oci_value(labels, name, former).to_owned()),
        }
    }

    /// What another one says where this one is silent.
    fn or(self, other: Self) -> Self {
        let mut others = other.texts.into_iter();
        Self {
            created: self.created.or(other.created),
            texts: self.texts.map(|text| {
                let other = others.next().unwrap_or_default();
                if text.is_empty() { other } else { text }
            }),
        }
    }

    fn of_manifest(manifest: &ManifestMeta) -> Self {
        Self::by(&manifest.manifest.annotations).or(Self::by(&manifest.config.config.labels))
    }
}

/// When a manifest was last changed: what annotations say, else what the configuration says.
fn manifest_updated(manifest: &ManifestMeta) -> Time {
    Said::of_manifest(manifest).created.unwrap_or_else(|| manifest.config.kept_last_updated())
}

/// What is said of an image as a whole; an index takes from its first manifest what it does not say itself.
fn said(found: &Found<'_>) -> Said {
    let of_first = || found.manifests.first().map(|first| Said::of_manifest(first)).unwrap_or_default();
    match found.image {
        Image::Index(index) => Said::by(&index.index.annotations).or(of_first()),
        Image::Manifest(manifest) => {
            let mut said = of_first();
            if said.texts[AUTHORS].is_empty() {
                said.texts[AUTHORS].clone_from(&manifest.config.author);
            }
            said
        }
    }
}

/// When an image was last changed. Of an index, the first of its newest manifests says so (`ImageIndex2ImageSummary`):
/// the same time may be written in several zones.
fn updated(found: &Found<'_>) -> Time {
    said(found).created.unwrap_or_else(|| {
        let times = found.manifests.iter().map(|manifest| manifest_updated(manifest));
        times.fold(time::zero(), |newest, time| if newest < time { time } else { newest })
    })
}

/// Makes images ready for sorting. Histories that do not fit their layers are remarked on even if their image is not on
/// the page in the end.
pub fn candidates<'a>(found: Vec<Found<'a>>, remarks: &mut Remarks) -> Vec<Candidate<'a>> {
    let mut candidates = Vec::new();
    for found in found {
        for manifest in &found.manifests {
            if history(manifest).1 {
                remarks.push(format!(
                    "error generating history on tag {} in repo {}: manifest digest: {}, error: manifest layers count \
                     doesn't correspond to config history",
                    found.tag, found.name, manifest.digest
                ));
            }
        }
        let updated = updated(&found);
        candidates.push(Candidate { found, updated });
    }
    candidates
}

/// An image, as a page shows it.
pub fn image(call: &Call<'_>, candidate: &Candidate<'_>) -> Value {
    let found = &candidate.found;
    let (repo, digest) = (found.repo, found.image.digest());
    let statistics = repo.statistics.get(digest);
    let pushed = statistics.map_or_else(time::zero, |statistics| statistics.pushed);
    let said = said(found);
    let manifests = found.manifests.iter().map(|part| manifest(call, found, part)).collect();
    let size: i64 = match found.image {
        Image::Manifest(manifest) => manifest_size(manifest),
        // Of an index each blob counts once a manifest, however often it is among the layers.
        Image::Index(_) => found.manifests.iter().map(|manifest| distinct_size(manifest)).sum(),
    };
    let kind = match found.image {
        Image::Manifest(manifest) => manifest.manifest.kind(),
        Image::Index(index) => &index.index.artifact_type,
    };
    let Value::Object(mut fields) = object([
        ("RepoName", Value::from(found.name)),
        ("Tag", Value::from(found.tag)),
        ("Digest", Value::from(digest)),
        ("MediaType", Value::from(found.image.media_type())),
        ("Manifests", Value::List(manifests)),
        ("Size", Value::String(size.to_string())),
        ("DownloadCount", Value::from(statistics.map_or(0, |statistics| statistics.downloads))),
        ("LastPullTimestamp", moment(statistics.map_or_else(time::zero, |statistics| statistics.last_pull))),
        ("PushTimestamp", moment(pushed)),
        ("PushedBy", Value::from(statistics.map_or("", |statistics| statistics.pushed_by.as_str()))),
        ("TaggedTimestamp", moment(found.tagged.unwrap_or(pushed))),
        ("LastUpdated", moment(candidate.updated)),
        ("IsSigned", Value::from(found.is_signed())),
        ("SignatureInfo", signatures(call, repo, digest)),
        ("Referrers", referrers(call, repo, digest)),
        ("ArtifactType", Value::from(kind)),
    ]) else {
        return Value::Null;
    };
    for ((name, _, _), text) in SAID.iter().zip(said.texts) {
        fields.insert(async_graphql::Name::new(name), Value::String(text));
    }
    Value::Object(fields)
}

fn manifest(call: &Call<'_>, found: &Found<'_>, manifest: &ManifestMeta) -> Value {
    let repo = found.repo;
    let digest = &manifest.digest;
    let layers = manifest.manifest.layers.iter().map(layer).collect();
    object([
        ("Digest", Value::from(digest.as_str())),
        ("ConfigDigest", Value::from(manifest.manifest.config.digest.as_str())),
        ("LastUpdated", moment(manifest_updated(manifest))),
        ("Size", Value::String(manifest_size(manifest).to_string())),
        ("IsSigned", Value::from(is_signed(repo, digest))),
        ("SignatureInfo", signatures(call, repo, digest)),
        ("Platform", platform(&found.platform(manifest))),
        ("DownloadCount", Value::from(repo.statistics.get(digest).map_or(0, |statistics| statistics.downloads))),
        ("Layers", Value::List(layers)),
        ("History", Value::List(history(manifest).0)),
        ("Referrers", referrers(call, repo, digest)),
        ("ArtifactType", Value::from(manifest.manifest.kind())),
    ])
}

fn layer(layer: &crate::demo::oci::Descriptor) -> Value {
    object([("Size", Value::String(layer.size.to_string())), ("Digest", Value::from(layer.digest.as_str()))])
}

/// Manifest, configuration and layers; a layer that is there twice counts twice.
fn manifest_size(manifest: &ManifestMeta) -> i64 {
    let layers: i64 = manifest.manifest.layers.iter().map(|layer| layer.size).sum();
    manifest.size + manifest.manifest.config.size + layers
}

fn distinct_size(manifest: &ManifestMeta) -> i64 {
    let parts = std::iter::once(&manifest.manifest.config)
        .map(|config| (&*config.digest, config.size))
        .chain([(&*manifest.digest, manifest.size)])
        .chain(manifest.manifest.layers.iter().map(|layer| (&*layer.digest, layer.size)));
    parts.collect::<IndexMap<&str, i64>>().values().sum()
}

/// The steps in the making of an image beside its layers, and whether there are more steps with a layer than layers.
fn history(manifest: &ManifestMeta) -> (Vec<Value>, bool) {
    let mut layers = manifest.manifest.layers.iter();
    if manifest.config.history.is_empty() {
        let nothing = || object([("EmptyLayer", Value::Null)]);
        return (layers.map(|of| object([("Layer", layer(of)), ("HistoryDescription", nothing())])).collect(), false);
    }
    let mut steps = Vec::new();
    for step in &manifest.config.history {
        let description = object([
            ("Created", moment(step.kept())),
            ("CreatedBy", Value::from(step.created_by.as_str())),
            ("Author", Value::from(step.author.as_str())),
            ("Comment", Value::from(step.comment.as_str())),
            ("EmptyLayer", Value::from(step.empty_layer)),
        ]);
        if step.empty_layer {
            steps.push(object([("HistoryDescription", description)]));
            continue;
        }
        let Some(of) = layers.next() else {
            steps.push(object([("HistoryDescription", description)]));
            return (steps, true);
        };
        steps.push(object([("Layer", layer(of)), ("HistoryDescription", description)]));
    }
    (steps, false)
}

/// One entry a signature. Nobody here verifies them.
fn signatures(call: &Call<'_>, repo: &Repo, digest: &str) -> Value {
    let mut entries = Vec::new();
    for (tool, list) in repo.signatures.get(digest).into_iter().flatten() {
        let count: usize = list.iter().map(|signature| signature.layers).sum();
        let entry =
            || object([("Tool", Value::from(*tool)), ("IsTrusted", Value::from(false)), ("Author", Value::from(""))]);
        entries.extend((0..count).map(|_| entry()));
    }
    call.ties.fresh().order(&mut entries);
    Value::List(entries)
}

/// What refers to something, in the order of pushing.
fn referrers(call: &Call<'_>, repo: &Repo, digest: &str) -> Value {
    let list = repo.referrers.get(digest).map(Vec::as_slice).unwrap_or_default();
    Value::List(list.iter().map(|of| referrer(call, of)).collect())
}

/// Something that refers to something else.
pub fn referrer(call: &Call<'_>, referrer: &crate::demo::meta::Referrer) -> Value {
    let pair = |(key, value): (&String, &String)| {
        object([("Key", Value::from(key.as_str())), ("Value", Value::from(value.as_str()))])
    };
    let mut annotations: Vec<Value> = referrer.annotations.iter().map(pair).collect();
    call.ties.fresh().order(&mut annotations);
    object([
        ("MediaType", Value::from(referrer.media_type)),
        ("ArtifactType", Value::from(referrer.artifact_type.as_str())),
        ("Size", Value::from(referrer.size)),
        ("Digest", Value::from(referrer.digest.as_str())),
        ("Annotations", Value::List(annotations)),
    ])
}
