//! Manifests that are pushed to a repository that lies on several nodes: what they are made of may be on another one.
//!
//! A manifest goes to the first node of the repository, or to where it is already, or what it refers to: one zot tells of an
//! image how often it was pulled, what refers to it and what signs it, and a node does so of its own. What that node lacks of it is brought there. When the push was
//! accepted, its tag is taken away from the other nodes, where it is an older image: one zot has a tag once, and forgets
//! what no tag leads to any more.

use crate::answer::{self, Answer};
use crate::digest::{self, BlobDigest};
use crate::fleet::{Owner, Why};
use crate::locate::{Locator, Sought};
use crate::mount::{self, Copies};
use crate::page::query_values;
use crate::plan::Mount;
use crate::scatter::{Ask, Failure, NodeAnswer, Scatter};
use http::header::{CONTENT_TYPE, HeaderName};
use http::{HeaderValue, Method, StatusCode};
use serde::Deserialize;
use std::borrow::Cow;
use std::future::pending;

/// The largest manifest (bytes): what zot takes (zot `pkg/api/constants`, `MaxManifestBodySize`).
pub const MOST_BYTES: u64 = 4 << 20;
/// How many parts of a manifest are looked at.
const MOST_PARTS: usize = 512;
/// How deep indexes are within indexes.
const DEEPEST: usize = 4;
const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// A push.
pub struct Push<'a> {
    /// The fan-out client.
    pub scatter: &'a Scatter,
    /// The copies that are under way.
    pub copies: &'a Copies,
    /// The repository.
    pub repository: &'a str,
    /// The nodes that have it, ranked.
    pub holders: &'a [usize],
    /// The tag or digest.
    pub reference: &'a str,
    /// The client's request, with its body.
    pub ask: &'a Ask,
}

/// A manifest or index, as far as it names others.
#[derive(Debug, Default, Deserialize)]
struct Manifest {
    config: Option<Part>,
    #[serde(default)]
    layers: Vec<Part>,
    #[serde(default)]
    manifests: Vec<Part>,
    subject: Option<Part>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Part {
    #[serde(default)]
    digest: String,
    #[serde(default)]
    media_type: String,
}

impl Push<'_> {
    /// Carries it out.
    pub async fn answer(&self) -> Answer {
        match self.carried_out().await {
            Ok(answer) => answer::relay(answer),
            Err(failure) => {
                let Failure { node, kind, cause } = &failure;
                tracing::warn!(node, %kind, cause, repository = self.repository, "a node failed a push");
                answer::node_failed(&failure)
            }
        }
    }

    async fn carried_out(&self) -> Result<NodeAnswer, Failure> {
        // What is none is refused by the node.
        let manifest: Manifest = serde_json::from_slice(&self.ask.body).unwrap_or_default();
        let target = self.target(&manifest).await?;
        self.bring_parts(target, &manifest, 0).await?;
        let Some(node) = self.scatter.fleet().nodes().get(target) else {
            return self.scatter.at(target, self.ask).await;
        };
        let pushed = self.scatter.write(node, self.ask).await?;
        if pushed.status == StatusCode::CREATED {
            for &other in self.holders.iter().filter(|&&holder| holder != target) {
                for tag in self.tags() {
                    self.untag(other, &tag, &pushed).await;
                }
            }
        }
        Ok(pushed)
    }

    /// The tags that are pushed: with a digest, zot takes them from the query (zot `pkg/api/routes.go`, `UpdateManifest`).
    fn tags(&self) -> Vec<String> {
        let query = self.ask.target.split_once('?').map_or("", |(_, query)| query);
        match Sought::reference(self.reference) {
            Sought::Tag(tag) => vec![tag],
            _ => query_values(query, "tag").map(Cow::into_owned).take(MOST_PARTS).collect(),
        }
    }

    fn locator(&self) -> Locator<'_> {
        Locator { scatter: self.scatter, ask: self.ask }
    }

    /// The node that has the manifest already, or what it refers to, or a part of an index: what is known of these there
    /// is known of one image. Else the first.
    async fn target(&self, manifest: &Manifest) -> Result<usize, Failure> {
        let hash = digest::sha256(&self.ask.body);
        let signed = self.reference.strip_prefix("sha256-").and_then(|rest| rest.split('.').next());
        let known = [Some(format!("sha256:{hash}")), signed.map(|hash| format!("sha256:{hash}"))].into_iter().flatten();
        let named = manifest.subject.iter().chain(manifest.manifests.first()).map(|part| part.digest.clone());
        for digest in known.chain(named).filter(|digest| BlobDigest::parse(digest).is_some()) {
            if let Some(holder) = self.holder_of(&digest, None).await? {
                return Ok(holder);
            }
        }
        Ok(self.holders.first().copied().unwrap_or_default())
    }

    /// The first node, but one, that has a blob or manifest of the repository.
    async fn holder_of(&self, digest: &str, but: Option<usize>) -> Result<Option<usize>, Failure> {
        let sought = Sought::Digest(digest.to_owned());
        for &holder in self.holders.iter().filter(|&&holder| Some(holder) != but) {
            if self.locator().has(holder, self.repository, &sought).await? == Some(true) {
                return Ok(Some(holder));
            }
        }
        Ok(None)
    }

    /// Brings to a node what it lacks of a manifest.
    async fn bring_parts(&self, target: usize, manifest: &Manifest, depth: usize) -> Result<(), Failure> {
        for part in manifest.config.iter().chain(&manifest.layers).take(MOST_PARTS) {
            if let Some((digest, holder)) = self.lacks(target, part).await? {
                self.bring_blob(target, holder, digest).await?;
            }
        }
        for part in manifest.manifests.iter().take(MOST_PARTS) {
            if let Some((_, holder)) = self.lacks(target, part).await?.filter(|_| depth < DEEPEST) {
                Box::pin(self.bring_manifest(target, holder, part, depth)).await?;
            }
        }
        Ok(())
    }

    /// A part of a manifest that a node lacks, and the node that has it. What nobody has, the node will refuse.
    async fn lacks(&self, target: usize, part: &Part) -> Result<Option<(BlobDigest, usize)>, Failure> {
        let Some(digest) = BlobDigest::parse(&part.digest) else { return Ok(None) };
        let sought = Sought::Digest(part.digest.clone());
        if self.locator().has(target, self.repository, &sought).await? != Some(false) {
            return Ok(None);
        }
        Ok(self.holder_of(&part.digest, Some(target)).await?.map(|holder| (digest, holder)))
    }

    /// Has a node mount a blob of the same repository on another node.
    async fn bring_blob(&self, target: usize, holder: usize, digest: BlobDigest) -> Result<(), Failure> {
        let repository = self.repository.to_owned();
        let target = Owner { node: target, why: Why::Found };
        let ask = self.own(Method::POST, format!("/v2/{repository}/blobs/uploads/?mount={digest}&from={repository}"));
        let from = Some((repository.clone(), Owner { node: holder, why: Why::Found }));
        let mount = Mount { repository, owner: target, digest, from };
        // A client that goes away is not waited for by the proxy either.
        let Ok(mounted) = mount::answer(self.scatter, self.copies, &mount, &ask, pending::<()>()).await else {
            return Ok(());
        };
        if mounted.status != StatusCode::CREATED {
            let (digest, status) = (&mount.digest, mounted.status);
            tracing::warn!(repository = self.repository, %digest, %status, "a blob of a pushed manifest was not brought");
        }
        Ok(())
    }

    /// Pushes a manifest of another node, by its digest.
    async fn bring_manifest(&self, target: usize, holder: usize, part: &Part, depth: usize) -> Result<(), Failure> {
        let Part { digest, media_type } = part;
        // As a blob: to read it is not to pull it.
        let path = format!("/v2/{}/blobs/{digest}", self.repository);
        let found = self.scatter.at(holder, &self.own(Method::GET, path)).await?;
        let Some(node) = self.scatter.fleet().nodes().get(target).filter(|_| found.status == StatusCode::OK) else {
            return Ok(());
        };
        let manifest: Manifest = serde_json::from_slice(&found.body).unwrap_or_default();
        self.bring_parts(target, &manifest, depth + 1).await?;
        let path = format!("/v2/{}/manifests/{digest}", self.repository);
        let mut ask = Ask { body: found.body, is_read: false, ..self.own(Method::PUT, path) };
        if let Ok(kind) = HeaderValue::from_str(media_type) {
            ask.headers.insert(CONTENT_TYPE, kind);
        }
        let pushed = self.scatter.write(node, &ask).await?;
        tracing::debug!(repository = self.repository, digest, status = %pushed.status, "a manifest was brought");
        Ok(())
    }

    /// Takes the tag away from a node where it is another image. A node that fails keeps it: it does not count there.
    async fn untag(&self, node: usize, tag: &str, pushed: &NodeAnswer) {
        let fleet = self.scatter.fleet();
        let taken = async {
            if self.locator().has_tag(node, self.repository, tag).await? != Some(true) {
                return Ok(None);
            }
            let path = format!("/v2/{}/manifests/{tag}", self.repository);
            let there = self.scatter.at(node, &self.own(Method::HEAD, path.clone())).await?;
            if there.headers.get(CONTENT_DIGEST) == pushed.headers.get(CONTENT_DIGEST) {
                return Ok(None);
            }
            match fleet.nodes().get(node) {
                Some(node) => self.scatter.write(node, &self.own(Method::DELETE, path)).await.map(Some),
                None => Ok(None),
            }
        };
        let repository = self.repository;
        match taken.await {
            Ok(None) => {}
            Ok(Some(answer)) if answer.status.is_success() => {
                tracing::info!(repository, tag, node = fleet.name(node), "a tag was moved away from this node");
            }
            Ok(Some(answer)) => {
                tracing::warn!(repository, tag, node = answer.name, status = %answer.status, "an old copy of a tag stays");
                fleet.conflicts().note(repository, tag, &answer.name);
            }
            Err(Failure { node, kind, cause }) => {
                tracing::warn!(repository, tag, node, %kind, cause, "an old copy of a tag may stay");
            }
        }
    }

    /// Another request of the client, with a deadline of its own.
    fn own(&self, method: Method, target: String) -> Ask {
        Ask { terms: self.scatter.terms(self.ask.terms.partial), ..self.ask.without_body(method, target) }
    }
}
