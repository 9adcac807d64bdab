//! Content made up at random for what recorded content has little of: layers that images on several nodes share, indexes
//! of which some manifests are related and others are not, annotated or not, equal times and counts, missing and future
//! times, one digest in several repositories, names that are prefixes of others, artifacts, referrers and signatures.

use base64::Engine;
use bytes::Bytes;
use onezot::demo::Content;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";

/// Names of which some are prefixes of others; `public/…` may be read by anybody, `lib` by bob.
const NAMES: [&str; 16] = [
    "a",
    "a/b",
    "a-b",
    "a.b",
    "a/b/c",
    "lib",
    "lib/core",
    "lib.x",
    "public/a",
    "public/a/b",
    "public/a-b",
    "team-b/app",
    "team-b/app/x",
    "zot-test",
    "z",
    "flow/bob/app",
];
const TAGS: [&str; 8] = ["1", "1.0", "1.0.1", "2", "latest", "LATEST", "edge", "v1"];
/// Few, so that they are equal often; none, and one that has not come yet.
const TIMES: [Option<&str>; 8] = [
    None,
    Some("2024-01-01T00:00:00Z"),
    Some("2024-01-01T01:30:00+02:00"),
    Some("2024-05-05T05:05:05.5Z"),
    Some("2025-03-01T12:00:00Z"),
    Some("2099-01-01T00:00:00Z"),
    Some("2099-01-01T01:00:00+01:00"),
    Some("2098-02-03T04:05:06Z"),
];
const EMPTY: &str = "application/vnd.oci.empty.v1+json";
const COSIGN: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
const PLATFORMS: [(&str, &str, &str); 5] =
    [("linux", "amd64", ""), ("linux", "arm64", "v8"), ("linux", "arm", "v7"), ("windows", "amd64", ""), ("", "", "")];

/// A manifest or index that was made.
#[derive(Clone)]
struct Made {
    digest: String,
    media_type: String,
    size: usize,
    platform: (&'static str, &'static str, &'static str),
    layers: Vec<Value>,
}

struct Maker {
    random: fastrand::Rng,
    manifests: BTreeMap<String, Value>,
    bytes: BTreeMap<String, Bytes>,
}

/// Content of about so many images; the same for the same seed.
pub fn content(seed: u64, images: usize) -> Content {
    let (facts, bytes) = parts(seed, images);
    Content::read(facts.to_string().as_bytes(), Value::Object(bytes).to_string().as_bytes()).unwrap()
}

/// The same in the form of the recordings: what there is and what happened, and the bytes.
pub fn parts(seed: u64, images: usize) -> (Value, Map<String, Value>) {
    let mut maker =
        Maker { random: fastrand::Rng::with_seed(seed), manifests: BTreeMap::new(), bytes: BTreeMap::new() };
    let mut plain: Vec<Made> = Vec::new();
    let mut indexes: Vec<Made> = Vec::new();
    for _ in 0..images {
        let made = maker.image(&plain);
        plain.push(made);
    }
    for _ in 0..images / 2 {
        let made = maker.index(&plain, &indexes);
        indexes.push(made);
    }
    let mut pushes = Vec::new();
    let all: Vec<Made> = plain.into_iter().chain(indexes).collect();
    for made in &all {
        // Some stand in several repositories, some under several tags.
        for _ in 0..1 + maker.random.usize(..3) / 2 {
            let repository = maker.one(&NAMES);
            let reference = match maker.random.usize(..12) {
                0 => made.digest.clone(),
                1..6 => format!("b{}", maker.random.usize(..images)),
                _ => maker.one(&TAGS).to_owned(),
            };
            let bobs = repository.starts_with("team-b/") || repository.starts_with("flow/bob/");
            let user = if bobs && maker.random.bool() { "bob" } else { "alice" };
            pushes.push(json!({"repository": repository, "reference": reference, "digest": made.digest, "user": user}));
        }
    }
    for _ in 0..images / 2 {
        let subject = maker.one(&all.iter().collect::<Vec<_>>()).clone();
        let (made, tag) = maker.referrer(&subject);
        // It is mostly where its subject is.
        let there = pushes.iter().find(|push| push["digest"] == *subject.digest);
        let there = there.map(|push| push["repository"].as_str().unwrap().to_owned());
        let repository = there.filter(|_| maker.random.usize(..5) > 0).unwrap_or_else(|| maker.one(&NAMES).to_owned());
        let reference = tag.unwrap_or_else(|| made.digest.clone());
        pushes.push(json!({"repository": repository, "reference": reference, "digest": made.digest, "user": "alice"}));
    }
    maker.random.shuffle(&mut pushes);
    let mut last: BTreeMap<(String, String), Value> = BTreeMap::new();
    for push in &pushes {
        let name = |key: &str| push[key].as_str().unwrap().to_owned();
        last.insert((name("repository"), name("reference")), push.clone());
    }
    // A tag that moves takes what nothing else refers to with it: each is pushed once.
    let pushes: Vec<Value> =
        pushes.into_iter().filter(|push| last.values().any(|kept| kept == push)).fold(Vec::new(), |mut kept, push| {
            if !kept.contains(&push) {
                kept.push(push);
            }
            kept
        });
    let mut pulls = Vec::new();
    for push in &pushes {
        let times = maker.random.usize(..6);
        if times < 3 {
            let (repository, reference) = (&push["repository"], &push["reference"]);
            pulls.push(json!({"repository": repository, "reference": reference, "times": 1 + times, "user": "alice"}));
        }
    }
    let marks: Vec<Value> = NAMES
        .iter()
        .filter(|name| pushes.iter().any(|push| push["repository"] == **name))
        .filter(|_| maker.random.usize(..3) == 0)
        .map(|name| json!({"user": "alice", "repository": name}))
        .collect();
    let facts =
        json!({"manifests": maker.manifests, "pushes": pushes, "pulls": pulls, "stars": marks, "bookmarks": marks});
    let bytes = maker
        .bytes
        .iter()
        .map(|(digest, bytes)| (digest.clone(), json!(base64::prelude::BASE64_STANDARD.encode(bytes))))
        .collect();
    (facts, bytes)
}

impl Maker {
    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.random.usize(..of.len())]
    }

    fn blob(&mut self, media_type: &str, bytes: impl Into<Bytes>) -> Value {
        let bytes = bytes.into();
        let hash: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        let digest = format!("sha256:{hash}");
        let descriptor = json!({"mediaType": media_type, "digest": digest, "size": bytes.len()});
        self.bytes.insert(digest, bytes);
        descriptor
    }

    fn annotations(&mut self) -> Option<Value> {
        let mut annotations = Map::new();
        if self.random.usize(..4) == 0 {
            let key = self.one(&["org.opencontainers.image.created", "org.label-schema.build-date"]);
            let time = self.one(&TIMES[1..]);
            annotations.insert(key.to_owned(), json!(time));
        }
        for key in ["title", "description", "vendor", "source", "licenses"] {
            if self.random.usize(..5) == 0 {
                let value = format!("{key} <{}>", self.random.usize(..4));
                annotations.insert(format!("org.opencontainers.image.{key}"), json!(value));
            }
        }
        (!annotations.is_empty()).then_some(Value::Object(annotations))
    }

    /// An image whose layers begin, mostly, with those of an earlier one.
    fn image(&mut self, earlier: &[Made]) -> Made {
        let is_docker = self.random.usize(..10) == 0;
        let (kind, config_kind, layer_kind) = if is_docker {
            (DOCKER_MANIFEST, DOCKER_CONFIG, DOCKER_LAYER)
        } else {
            (OCI_MANIFEST, OCI_CONFIG, OCI_LAYER)
        };
        let mut layers = match self.random.usize(..8) {
            0 => Vec::new(),
            1 | 2 => vec![self.layer(layer_kind, 3)],
            _ if earlier.is_empty() => vec![self.layer(layer_kind, 3)],
            _ => {
                let parent = self.random.usize(..earlier.len());
                let mut layers = earlier[parent].layers.clone();
                layers.truncate(1 + self.random.usize(..4));
                layers
            }
        };
        for _ in 0..self.random.usize(..3) {
            let layer = self.layer(layer_kind, 9);
            layers.push(layer);
        }
        if self.random.usize(..10) == 0
            && let Some(first) = layers.first().cloned()
        {
            layers.push(first);
        }
        let platform = self.one(&PLATFORMS);
        let mut config =
            json!({"os": platform.0, "architecture": platform.1, "rootfs": {"type": "layers", "diff_ids": []}});
        if !platform.2.is_empty() {
            config["variant"] = json!(platform.2);
        }
        let created = self.one(&TIMES);
        if let Some(created) = created {
            config["created"] = json!(created);
        }
        if let Some(labels) = self.annotations().filter(|_| self.random.bool()) {
            config["config"] = json!({"Labels": labels});
        }
        if self.random.usize(..3) == 0 {
            let history: Vec<Value> =
                layers.iter().map(|_| json!({"created": created, "created_by": "COPY . ."})).collect();
            config["history"] = json!(history);
        }
        config["author"] = json!(format!("author {}", self.random.usize(..3)));
        let config = self.blob(config_kind, config.to_string());
        let mut manifest = json!({"schemaVersion": 2, "mediaType": kind, "config": config, "layers": layers});
        if let Some(annotations) = self.annotations().filter(|_| !is_docker) {
            manifest["annotations"] = annotations;
        }
        let blobs: Vec<Value> = std::iter::once(&config).chain(&layers).map(|blob| blob["digest"].clone()).collect();
        self.manifest(kind, &manifest, json!({"mediaType": kind, "blobs": blobs, "children": []}), platform, layers)
    }

    fn layer(&mut self, kind: &str, different: usize) -> Value {
        let which = self.random.usize(..different);
        self.blob(kind, format!("layer {which} of {different}, {}", "x".repeat(which * 7)))
    }

    /// Something that refers to something: an artifact, a signature, and the tag that an old signature has.
    fn referrer(&mut self, subject: &Made) -> (Made, Option<String>) {
        let of = json!({"mediaType": subject.media_type, "digest": subject.digest, "size": subject.size});
        let which = self.random.usize(..4);
        let (config, kind, mut layer) = match self.random.usize(..4) {
            0 => {
                let config = self.blob(EMPTY, "{}");
                (config, Some("application/spdx+json"), self.blob("text/spdx", format!("sbom {which}")))
            }
            1 => {
                let config = self.blob("application/vnd.cncf.notary.signature", "{\"notation\":1}");
                (config, None, self.blob("application/jose+json", format!("{{\"jose\":{which}}}")))
            }
            2 => {
                let config = self.blob(EMPTY, "{}");
                let kind = "application/vnd.dev.cosign.artifact.sig.v1+json";
                (config, Some(kind), self.blob(COSIGN, format!("{{\"payload\":{which}}}")))
            }
            _ => {
                let config = json!({"os": "", "architecture": "", "rootfs": {"type": "layers", "diff_ids": []}});
                (
                    self.blob(OCI_CONFIG, config.to_string()),
                    None,
                    self.blob(COSIGN, format!("{{\"critical\":{which}}}")),
                )
            }
        };
        let is_old = config["mediaType"] == OCI_CONFIG;
        if layer["mediaType"] == COSIGN {
            layer["annotations"] = json!({"dev.cosignproject.cosign/signature": "c2lnbmF0dXJl"});
        }
        let mut manifest = json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": [layer]});
        if let Some(kind) = kind {
            manifest["artifactType"] = json!(kind);
        }
        if !is_old {
            manifest["subject"] = of;
            if let Some(annotations) = self.annotations() {
                manifest["annotations"] = annotations;
            }
        }
        let known = json!({"mediaType": OCI_MANIFEST, "blobs": [config["digest"], layer["digest"]], "children": []});
        let made = self.manifest(OCI_MANIFEST, &manifest, known, ("", "", ""), vec![layer]);
        let tag = match self.random.usize(..5) {
            _ if is_old => Some(format!("{}.sig", subject.digest.replace(':', "-"))),
            0 => Some(self.one(&TAGS).to_owned()),
            _ => None,
        };
        (made, tag)
    }

    fn index(&mut self, plain: &[Made], indexes: &[Made]) -> Made {
        let mut children: Vec<Made> = Vec::new();
        for _ in 0..1 + self.random.usize(..5) {
            let child = &plain[self.random.usize(..plain.len())];
            if children.iter().all(|known| known.digest != child.digest) {
                children.push(child.clone());
            }
        }
        if self.random.usize(..8) == 0
            && let Some(nested) = indexes.last()
        {
            children.push(nested.clone());
        }
        let kind = if self.random.usize(..10) == 0 { DOCKER_LIST } else { OCI_INDEX };
        let manifests: Vec<Value> = children
            .iter()
            .map(|Made { digest, media_type, size, platform, .. }| {
                let mut descriptor = json!({"mediaType": media_type, "digest": digest, "size": size});
                if self.random.bool() {
                    descriptor["platform"] = json!({"os": platform.0, "architecture": platform.1});
                }
                descriptor
            })
            .collect();
        let mut index = json!({"schemaVersion": 2, "mediaType": kind, "manifests": manifests});
        if let Some(annotations) = self.annotations().filter(|_| kind == OCI_INDEX) {
            index["annotations"] = annotations;
        }
        let digests: Vec<&str> = children.iter().map(|child| child.digest.as_str()).collect();
        let known = json!({"mediaType": kind, "blobs": [], "children": digests});
        self.manifest(kind, &index, known, ("", "", ""), Vec::new())
    }

    fn manifest(
        &mut self,
        media_type: &str,
        body: &Value,
        known: Value,
        platform: (&'static str, &'static str, &'static str),
        layers: Vec<Value>,
    ) -> Made {
        let descriptor = self.blob(media_type, body.to_string());
        let digest = descriptor["digest"].as_str().unwrap().to_owned();
        let size = usize::try_from(descriptor["size"].as_u64().unwrap()).unwrap();
        self.manifests.insert(digest.clone(), known);
        Made { digest, media_type: media_type.to_owned(), size, platform, layers }
    }
}
