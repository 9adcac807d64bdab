//! Manifests, indexes and configurations of images, as far as zot looks into them.

use super::time::{self, Time};
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;

/// An image manifest.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// An index of manifests.
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// The configuration of an image.
pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// The empty object, in the place of a configuration.
pub const EMPTY: &str = "application/vnd.oci.empty.v1+json";
/// Docker's image manifest.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Docker's index.
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// Docker's configuration of an image.
pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";

/// Whether a media type is that of an image manifest.
pub fn is_manifest(media_type: &str) -> bool {
    matches!(media_type, MANIFEST | DOCKER_MANIFEST)
}

/// Whether a media type is that of an index.
pub fn is_index(media_type: &str) -> bool {
    matches!(media_type, INDEX | DOCKER_LIST)
}

/// Whether a media type is that of an image's configuration.
pub fn is_config(media_type: &str) -> bool {
    matches!(media_type, CONFIG | DOCKER_CONFIG)
}

/// Go reads `null` as the zero value; so does this.
fn null_or<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Labels and annotations.
pub type Labels = BTreeMap<String, String>;

/// What a manifest says of a blob, or an index of a manifest.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Descriptor {
    /// The media type.
    #[serde(deserialize_with = "null_or")]
    pub media_type: String,
    /// The digest.
    #[serde(deserialize_with = "null_or")]
    pub digest: String,
    /// The size.
    #[serde(deserialize_with = "null_or")]
    pub size: i64,
    /// The platform, in an index.
    pub platform: Option<Platform>,
}

/// Operating system and architecture.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Platform {
    /// The operating system.
    #[serde(deserialize_with = "null_or")]
    pub os: String,
    /// The architecture.
    #[serde(deserialize_with = "null_or")]
    pub architecture: String,
    /// Its variant.
    #[serde(deserialize_with = "null_or")]
    pub variant: String,
}

impl Platform {
    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        self.os.is_empty() && self.architecture.is_empty()
    }

    /// Architecture and variant in one.
    pub fn arch(&self) -> String {
        if self.variant.is_empty() {
            self.architecture.clone()
        } else {
            format!("{}/{}", self.architecture, self.variant)
        }
    }
}

/// An image manifest.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Manifest {
    /// What kind of artifact it is.
    #[serde(deserialize_with = "null_or")]
    pub artifact_type: String,
    /// The configuration.
    #[serde(deserialize_with = "null_or")]
    pub config: Descriptor,
    /// The layers.
    #[serde(deserialize_with = "null_or")]
    pub layers: Vec<Descriptor>,
    /// What it refers to.
    pub subject: Option<Descriptor>,
    /// Annotations.
    #[serde(deserialize_with = "null_or")]
    pub annotations: Labels,
}

impl Manifest {
    /// The artifact type, for which the configuration's media type stands in.
    pub fn kind(&self) -> &str {
        if self.artifact_type.is_empty() { &self.config.media_type } else { &self.artifact_type }
    }
}

/// An index of manifests.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Index {
    /// What kind of artifact it is.
    #[serde(deserialize_with = "null_or")]
    pub artifact_type: String,
    /// The manifests, and indexes.
    #[serde(deserialize_with = "null_or")]
    pub manifests: Vec<Descriptor>,
    /// What it refers to.
    pub subject: Option<Descriptor>,
    /// Annotations.
    #[serde(deserialize_with = "null_or")]
    pub annotations: Labels,
}

/// The configuration of an image.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Config {
    /// When it was made.
    #[serde(deserialize_with = "moment")]
    pub created: Option<Time>,
    /// By whom.
    #[serde(deserialize_with = "null_or")]
    pub author: String,
    /// For what.
    #[serde(flatten)]
    pub platform: Platform,
    /// How it runs; only the labels matter.
    #[serde(deserialize_with = "null_or")]
    pub config: Running,
    /// How it came about.
    #[serde(deserialize_with = "null_or")]
    pub history: Vec<History>,
}

/// How an image runs.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Running {
    /// Labels.
    #[serde(rename = "Labels", deserialize_with = "null_or")]
    pub labels: Labels,
}

/// One step in the making of an image.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct History {
    /// When.
    #[serde(deserialize_with = "moment")]
    pub created: Option<Time>,
    /// By what.
    #[serde(deserialize_with = "null_or")]
    pub created_by: String,
    /// By whom.
    #[serde(deserialize_with = "null_or")]
    pub author: String,
    /// Why.
    #[serde(deserialize_with = "null_or")]
    pub comment: String,
    /// Whether it left no layer.
    #[serde(deserialize_with = "null_or")]
    pub empty_layer: bool,
}

/// A time as zot's database keeps it: in UTC.
fn moment<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Time>, D::Error> {
    let text: Option<String> = Option::deserialize(deserializer)?;
    text.map(|text| time::parse(&text).map(time::in_utc).ok_or_else(|| serde::de::Error::custom("not a time")))
        .transpose()
}

impl History {
    /// When, as zot's database says: a step without a time was made in 1970 (zot `pkg/meta/convert`, `GetHistory`).
    pub fn kept(&self) -> Time {
        self.created.unwrap_or_else(time::epoch)
    }
}

impl Config {
    /// When the image was last changed: its creation, else that of the last step in its making (`GetImageLastUpdated`).
    pub fn last_updated(&self) -> Time {
        self.updated(|step| step.created.unwrap_or_else(time::zero))
    }

    /// The same of an image that comes out of zot's database.
    pub fn kept_last_updated(&self) -> Time {
        self.updated(History::kept)
    }

    fn updated(&self, when: impl Fn(&History) -> Time) -> Time {
        match self.created {
            Some(created) if !time::is_zero(created) => created,
            created => self.history.last().map_or_else(|| created.unwrap_or_else(time::zero), when),
        }
    }
}
