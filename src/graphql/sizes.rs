//! How much a repository takes that lies on several nodes: each blob that its tags lead to once (zot
//! `pkg/meta/common`, `AddImageMetaToRepoMeta`). Nodes tell the layers of an image, and what it takes with its manifest and
//! configuration; what is shared or stands above them is looked at as a blob.

use crate::compose::{Asker, Settled, failed};
use crate::document::Upstream;
use crate::items::Manifest;
use crate::query::RESERVED;
use crate::scatter::{Failure, NodeAnswer};
use futures::stream::{self, StreamExt};
use http::Method;
use http::header::CONTENT_LENGTH;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write;

/// How many repositories a document asks for.
const IN_A_DOCUMENT: usize = 16;
/// How many blobs of a repository are looked at.
const MOST_BLOBS: usize = 64;
/// How many of them at the same time.
const AT_A_TIME: usize = 8;
/// The empty object, which artifacts have as their configuration (OCI image specification, `DescriptorEmptyJSON`).
const EMPTY: (&str, u64) = ("sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a", 2);
/// The media types of indexes; zot shows the first of every index.
const INDEXES: [&str; 2] =
    ["application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json"];

#[derive(Deserialize)]
struct Images<'a> {
    #[serde(borrow, rename = "Images", default)]
    images: Vec<Image<'a>>,
}

#[derive(Deserialize)]
struct Image<'a> {
    #[serde(borrow, rename = "Tag", default)]
    tag: Cow<'a, str>,
    #[serde(borrow, rename = "Digest", default)]
    digest: Cow<'a, str>,
    #[serde(borrow, rename = "MediaType", default)]
    media_type: Cow<'a, str>,
    #[serde(borrow, rename = "Manifests", default)]
    manifests: Vec<Manifest<'a>>,
}

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    data: Option<HashMap<Cow<'a, str>, Images<'a>>>,
}

/// The sizes of repositories (bytes), each with the nodes that have it, ranked.
///
/// # Errors
///
/// Nodes failed.
pub async fn of(
    asker: &Asker<'_>,
    repositories: &[(&str, Vec<usize>)],
    failures: &mut Vec<Failure>,
) -> Settled<HashMap<String, u64>> {
    let mut sizes = HashMap::new();
    for some in repositories.chunks(IN_A_DOCUMENT) {
        let mut wanted: BTreeMap<usize, Vec<&str>> = BTreeMap::new();
        for (name, nodes) in some {
            nodes.iter().for_each(|node| wanted.entry(*node).or_default().push(name));
        }
        let documents: Vec<_> = wanted.iter().map(|(node, names)| (*node, document(names))).collect();
        let (answers, _) = asker.parts(&documents, None, failures).await?;
        let mut read: HashMap<(&str, usize), Images> = HashMap::new();
        for answer in &answers {
            let Body { data } = bodies_of(answer)?;
            let mut data = data.unwrap_or_default();
            for (index, name) in wanted.get(&answer.node).into_iter().flatten().enumerate() {
                if let Some(images) = data.remove(&*format!("{RESERVED}{index}")) {
                    read.insert((name, answer.node), images);
                }
            }
        }
        for (name, nodes) in some {
            let images = nodes.iter().filter_map(|&node| Some((node, read.get(&(*name, node))?)));
            let blobs = Blobs::of(images);
            let lengths = blobs.lengths(asker, name).await?;
            sizes.insert((*name).to_owned(), blobs.total(&lengths));
        }
    }
    Ok(sizes)
}

fn bodies_of(answer: &NodeAnswer) -> Settled<Body<'_>> {
    serde_json::from_slice(&answer.body).map_err(|error| failed(answer.unusable(&format!("no images: {error}"))))
}

/// What asks for the images of repositories.
fn document(names: &[&str]) -> Upstream {
    let (mut head, mut body, mut variables) = (String::new(), String::new(), Map::new());
    for (index, name) in names.iter().enumerate() {
        // Writing to a string does not fail.
        let _ = write!(head, "$r{index}:String!");
        let _ = write!(
            body,
            "{RESERVED}{index}:GlobalSearch(query:$r{index}){{Images{{Tag Digest MediaType Manifests{{Digest ConfigDigest \
             Size Layers{{Digest Size}}}}}}}}"
        );
        // All tags; a list of images lacks indexes without manifests.
        variables.insert(format!("r{index}"), Value::from(format!("{name}:")));
    }
    Upstream { text: format!("query({head}){{{body}}}"), variables }
}

/// The blobs of a repository.
#[derive(Debug, Default)]
struct Blobs<'a> {
    layers: BTreeMap<&'a str, u64>,
    /// By the configuration: what each manifest takes with it.
    manifests: BTreeMap<&'a str, Vec<u64>>,
    /// Indexes, and the node that has each.
    indexes: BTreeMap<&'a str, usize>,
    /// The node of a manifest with a configuration.
    nodes: BTreeMap<&'a str, usize>,
}

impl<'a> Blobs<'a> {
    /// Those that tags lead to, the tag of the first node first.
    fn of(nodes: impl Iterator<Item = (usize, &'a Images<'a>)>) -> Blobs<'a> {
        let (mut blobs, mut tags, mut seen) = (Blobs::default(), HashMap::new(), HashSet::new());
        let size = |text: &str| text.parse::<u64>().unwrap_or_default();
        for (node, images) in nodes {
            for image in &images.images {
                if *tags.entry(&*image.tag).or_insert(node) != node {
                    continue;
                }
                if image.media_type == INDEXES[0] {
                    blobs.indexes.entry(&*image.digest).or_insert(node);
                }
                for manifest in &image.manifests {
                    if !seen.insert(&*manifest.digest) {
                        continue;
                    }
                    let layers = manifest.layers.as_deref().unwrap_or_default();
                    let own =
                        layers.iter().fold(size(&manifest.size), |left, layer| left.saturating_sub(size(&layer.size)));
                    blobs.layers.extend(layers.iter().map(|layer| (&*layer.digest, size(&layer.size))));
                    blobs.manifests.entry(&*manifest.config).or_default().push(own);
                    blobs.nodes.entry(&*manifest.config).or_insert(node);
                }
            }
        }
        blobs
    }

    /// The lengths of blobs that have to be looked at: indexes, those in them, and configurations of several manifests.
    async fn lengths(&self, asker: &Asker<'_>, repository: &str) -> Settled<HashMap<String, u64>> {
        let is_unknown = |config: &&str| *config != EMPTY.0 && !self.layers.contains_key(config);
        let shared = self.manifests.iter().filter(|(_, sizes)| sizes.len() > 1).map(|(config, _)| *config);
        let shared = shared.filter(is_unknown).filter_map(|config| Some((config, *self.nodes.get(config)?, false)));
        let indexes = self.indexes.iter().map(|(index, node)| (*index, *node, true));
        let mut wanted: Vec<(String, usize, bool)> =
            indexes.chain(shared).map(|(digest, node, is_index)| (digest.to_owned(), node, is_index)).collect();
        let mut lengths = HashMap::new();
        while !wanted.is_empty() && lengths.len() < MOST_BLOBS {
            let asked: Vec<_> = std::mem::take(&mut wanted)
                .into_iter()
                .take(MOST_BLOBS)
                .map(|(digest, node, is_index)| async move {
                    let blob = blob(asker, node, &format!("/v2/{repository}/blobs/{digest}"), is_index).await;
                    (digest, node, blob)
                })
                .collect();
            for (digest, node, blob) in stream::iter(asked).buffer_unordered(AT_A_TIME).collect::<Vec<_>>().await {
                let (length, nested) = blob.map_err(failed)?;
                lengths.insert(digest, length);
                let new = nested.into_iter().filter(|digest| !lengths.contains_key(digest));
                wanted.extend(new.map(|digest| (digest, node, true)));
            }
        }
        Ok(lengths)
    }

    /// All of them, each once.
    fn total(&self, lengths: &HashMap<String, u64>) -> u64 {
        let manifests = self.manifests.iter().map(|(config, sizes)| {
            let whole: u64 = sizes.iter().sum();
            let known = self.layers.get(config).copied();
            let length = lengths.get(*config).copied().or(known);
            let length = length.or((*config == EMPTY.0).then_some(EMPTY.1)).unwrap_or_default();
            let more = sizes.len() as u64 - u64::from(known.is_none());
            whole.saturating_sub(length * more)
        });
        let indexes = lengths.iter().filter(|(digest, _)| !self.manifests.contains_key(digest.as_str()));
        let indexes = indexes.map(|(_, length)| length).sum::<u64>();
        self.layers.values().sum::<u64>() + manifests.sum::<u64>() + indexes
    }
}

/// How long a blob is, and of an index the indexes in it.
async fn blob(asker: &Asker<'_>, node: usize, path: &str, is_index: bool) -> Result<(u64, Vec<String>), Failure> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Descriptor {
        #[serde(default)]
        media_type: String,
        digest: String,
    }
    #[derive(Deserialize)]
    struct Index {
        #[serde(default)]
        manifests: Vec<Descriptor>,
    }
    let ask = asker.ask.without_body(Method::GET, path.to_owned());
    if is_index {
        let answer = asker.scatter.sound(node, &ask).await?;
        let index = serde_json::from_slice(&answer.body).ok().filter(|_| answer.status.is_success());
        let nested = index.map(|Index { manifests }| manifests).unwrap_or_default();
        let nested = nested.into_iter().filter(|of| INDEXES.contains(&&*of.media_type)).map(|of| of.digest);
        let length = if answer.status.is_success() { answer.body.len() as u64 } else { 0 };
        return Ok((length, nested.collect()));
    }
    // What it sends of the blob is dropped with the connection.
    let Some(node) = asker.scatter.fleet().nodes().get(node) else { return Ok((0, Vec::new())) };
    let response = asker.scatter.open(node, &ask).await?;
    let length = response.headers().get(CONTENT_LENGTH).filter(|_| response.status().is_success());
    Ok((length.and_then(|length| length.to_str().ok()?.parse().ok()).unwrap_or_default(), Vec::new()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_blob_counts_once_and_the_first_nodes_tag() {
        let image = |tag: &str, digest: &str, config: &str, size: u64, layer: &str| {
            format!(
                r#"{{"Tag":"{tag}","Digest":"{digest}","MediaType":"m","Manifests":[{{"Digest":"{digest}","ConfigDigest":"{config}","Size":"{size}","Layers":[{{"Digest":"{layer}","Size":"100"}}]}}]}}"#
            )
        };
        let images = |list: &[String]| format!(r#"{{"Images":[{}]}}"#, list.join(","));
        // Manifests of 10 bytes, configurations of 5.
        let first = images(&[image("1", "m1", "c1", 115, "l1"), image("2", "m2", "c1", 115, "l2")]);
        let second = images(&[image("1", "m9", "c9", 999, "l9"), image("3", "m3", "c3", 115, "l1")]);
        let read = [&first, &second].map(|text| serde_json::from_str::<Images>(text).unwrap());
        let blobs = Blobs::of(read.iter().enumerate());
        let lengths = HashMap::from([("c1".to_owned(), 5)]);
        assert_eq!(blobs.total(&lengths), 3 * 10 + 2 * 5 + 2 * 100);
    }
}
