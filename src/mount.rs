//! Mounting blobs over nodes: a blob that the owner of a repository is to mount and lacks is brought from another node,
//! so that the client gets the 201 that one zot with everything gives.
//!
//! ```text
//!  POST …?mount=D ─▶ owner ─┬─ anything but 202: the client's answer
//!                           └─ 202 and a session ─▶ who has D? ─┬─ nobody: the 202 is the client's answer
//!                                                               └─ GET there ═ checked ═▶ PUT to the session ─▶ 201
//! ```
//!
//! One zot looks for the blob in all that it has (zot `pkg/api/routes.go`, `CreateBlobUpload` and `canMount`): where the
//! client says it is does not matter, only that the client may read a repository that has it. Here the nodes decide that:
//! they are asked with the client's credentials. They are asked by a plain GET, because a HEAD of a blob, and a GET of a
//! part of one, makes a zot link the blob, and create the repository for it (`CheckBlob`).

use crate::answer::{self, Answer};
use crate::digest::BlobDigest;
use crate::document::Upstream;
use crate::fleet::{Fleet, Node, Pass};
use crate::graphql::ask_for;
use crate::graphql::response::data_of;
use crate::path::{self, Target};
use crate::pieces::Pieces;
use crate::plan::Mount;
use crate::room::{Room, Seat};
use crate::scatter::{Ask, Failure, FailureKind, NodeAnswer, Reply, Scatter};
use bytes::Bytes;
use futures::future::join_all;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::{Map, json};
use std::collections::HashSet;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// How long a node is waited for that is searched for repositories that have a blob: the client can also upload it.
const SEARCH: Duration = Duration::from_secs(5);
/// How long is looked for a node that sends the blob, all in all.
const FIND: Duration = Duration::from_secs(15);
/// How many of them are tried. An image may name a layer that its repository does not have.
const TRIED: usize = 8;
/// How long the owner gets to drop a session that is of no use any more.
const CLEAN_UP: Duration = Duration::from_secs(5);

/// Answers a request for a mount. `gone` is ready when the client does not wait any more, and says why.
///
/// # Errors
///
/// Why the client does not wait.
pub async fn answer<E>(
    scatter: &Scatter,
    copies: &Copies,
    mount: &Mount,
    ask: &Ask,
    gone: impl Future<Output = E>,
) -> Result<Answer, E> {
    let Some(owner) = scatter.fleet().nodes().get(mount.owner.node) else { return Ok(answer::internal_error()) };
    let begun = match scatter.write(owner, ask).await {
        Ok(begun) => begun,
        Err(failure) => return Ok(failed(&failure)),
    };
    let session = session_of(&begun, &mount.repository).filter(|_| begun.status == StatusCode::ACCEPTED);
    let Some(session) = session else { return Ok(answer::relay(begun)) };
    // Without room for a copy, or while another request brings the blob, the client uploads it.
    let Some(_turn) = copies.turn(mount) else { return Ok(answer::relay(begun)) };
    let copy = Copy { scatter, mount, ask, owner, session };
    let copied = tokio::select! {
        copied = copy.make() => copied,
        reason = gone => {
            copy.cancel().await;
            return Err(reason);
        }
    };
    Ok(match copied {
        Ok(Some(headers)) => answer::mounted(headers, &format!("/v2/{}/blobs/{}", mount.repository, mount.digest)),
        Ok(None) => answer::relay(begun),
        Err(Failure { node, kind, cause }) => {
            tracing::warn!(node, %kind, cause, repository = mount.repository, digest = %mount.digest, "a mount failed");
            // The session may hold a part of the blob. A new one may even find that all of it has arrived.
            copy.cancel().await;
            match scatter.write(owner, ask).await {
                Ok(again) => answer::relay(again),
                Err(failure) => failed(&failure),
            }
        }
    })
}

fn failed(failure: &Failure) -> Answer {
    failure.tell();
    answer::node_failed(failure)
}

/// The session that the owner's 202 opens, as a target at the owner: that of an upload to this repository.
fn session_of(begun: &NodeAnswer, repository: &str) -> Option<String> {
    let location = begun.headers.get(LOCATION)?.to_str().ok()?;
    // Registries write their own address, or that which the client asked for, or none.
    let target = path::origin_form(location).unwrap_or_else(|| location.to_owned());
    let session = match path::inspect(target.as_bytes()) {
        Target::Clean { path, .. } => path.strip_prefix(&format!("/v2/{repository}/blobs/uploads/"))?,
        _ => return None,
    };
    (!session.is_empty()).then_some(target)
}

/// The index of the owner, the repository and the digest of a copy.
type Key = (usize, String, String);

/// The copies that are under way: a bounded number, and one at a time of each blob to each repository.
#[derive(Debug)]
pub struct Copies {
    room: Room,
    under_way: Mutex<HashSet<Key>>,
}

/// A copy's turn; the next one's comes when this is dropped.
struct Turn<'a> {
    copies: &'a Copies,
    key: Key,
    _seat: Seat,
}

impl Copies {
    /// Room for so many at a time.
    pub fn new(most: usize) -> Copies {
        Copies { room: Room::new(most, Duration::ZERO), under_way: Mutex::default() }
    }

    /// Room for so many from now on.
    pub fn resize(&self, most: usize) {
        self.room.resize(most, Duration::ZERO);
    }

    fn turn(&self, mount: &Mount) -> Option<Turn<'_>> {
        let key = (mount.owner.node, mount.repository.clone(), mount.digest.as_str().to_owned());
        let seat = self.room.try_enter()?;
        let is_first = self.under_way.lock().insert(key.clone());
        is_first.then(|| Turn { copies: self, key, _seat: seat })
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.copies.under_way.lock().remove(&self.key);
    }
}

/// A blob on its way from one node to another.
struct Copy<'a> {
    scatter: &'a Scatter,
    mount: &'a Mount,
    ask: &'a Ask,
    owner: &'a Arc<Node>,
    /// The target of the upload.
    session: String,
}

/// A blob that a node has begun to send.
struct Found<'a> {
    node: &'a Arc<Node>,
    body: Incoming,
    length: u64,
    /// The blob counts at its node until it has been read.
    pass: Option<Arc<Pass>>,
}

impl Copy<'_> {
    /// Brings the blob to the owner, if another node has it. Returns the header of the owner's answer; `None` if there is
    /// nothing to bring, and the session has not been used.
    async fn make(&self) -> Result<Option<HeaderMap>, Failure> {
        let Ok(Some(found)) = timeout(FIND, self.find()).await else { return Ok(None) };
        let holder = found.node.clone();
        let (owner, bytes) = (self.owner, found.length);
        let response = self.transfer(found).await?;
        if response.status() != StatusCode::CREATED {
            let status = response.status();
            let (kind, cause) = (FailureKind::Refused(status), format!("status {status} to the bytes of a blob"));
            return Err(Failure { node: owner.name.clone(), kind, cause });
        }
        let Mount { repository, digest, .. } = self.mount;
        tracing::debug!(from = holder.name, to = owner.name, repository, %digest, bytes, "a blob was brought");
        Ok(Some(response.into_parts().0.headers))
    }

    /// The blob, from where the client says it is, or else from where a search finds it.
    async fn find(&self) -> Option<Found<'_>> {
        let hint = self.mount.hint();
        if let Some((node, name)) = hint
            && let Some(found) = self.look(node, name).await
        {
            return Some(found);
        }
        let named = self.search().await;
        for (node, name) in named.iter().filter(|(node, name)| hint != Some((*node, name.as_str()))).take(TRIED) {
            if let Some(found) = self.look(*node, name).await {
                return Some(found);
            }
        }
        None
    }

    /// The blob, if a repository on a node has it and this client may read it. A node that sends the client elsewhere
    /// for it is not followed.
    async fn look(&self, node: usize, repository: &str) -> Option<Found<'_>> {
        let node = self.fleet().nodes().get(node)?;
        let target = format!("/v2/{repository}/blobs/{}", self.mount.digest);
        let mut response = match self.scatter.open(node, &self.request(Method::GET, target)).await {
            Ok(response) if response.status() == StatusCode::OK => response,
            Ok(response) => {
                tracing::debug!(node = node.name, repository, status = %response.status(), "no blob to mount here");
                return None;
            }
            Err(Failure { node, kind, cause }) => {
                tracing::warn!(node, %kind, cause, repository, "a node failed to send a blob that is to be mounted");
                return None;
            }
        };
        let headers = response.headers();
        // A zot takes no upload without a length (`UpdateBlobUpload`).
        let length: u64 = headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()?;
        // Of nothing, no last piece can be held back.
        if length == 0 && !self.mount.digest.check().is_right() {
            return None;
        }
        if headers.contains_key(CONTENT_ENCODING) || headers.get(CONTENT_TYPE).is_some_and(is_of_manifest) {
            return None;
        }
        let pass = response.extensions_mut().remove();
        Some(Found { node, body: response.into_body(), length, pass })
    }

    /// Repositories with images that name the blob, on other nodes than the owner: GraphQL says so, where nodes have it.
    async fn search(&self) -> Vec<(usize, String)> {
        let text =
            "query($id:String!){ImageListForDigest(id:$id,requestedPage:{limit:10}){Results{RepoName}}}".to_owned();
        let variables = Map::from_iter([("id".to_owned(), json!(self.mount.digest.as_str()))]);
        let ask = ask_for(&self.request(Method::POST, String::new()), &Upstream { text, variables });
        let others = (0..self.fleet().nodes().len()).filter(|index| *index != self.mount.owner.node);
        // Each by itself: what one does not say in time is no reason to forget what another says.
        let answers = join_all(others.map(|index| {
            let ask = (index, ask.clone());
            async move { timeout(SEARCH, self.scatter.each(std::slice::from_ref(&ask), data_of)).await }
        }));
        let mut named: Vec<(usize, String)> = Vec::new();
        for reply in answers.await.into_iter().filter_map(Result::ok).flat_map(|gathered| gathered.into_replies()) {
            match reply {
                Ok(Reply::Part(answered, _)) => {
                    named.extend(repositories(&answered).into_iter().map(|name| (answered.node, name)));
                }
                Ok(Reply::Refusal(answered)) => {
                    tracing::debug!(node = answered.name, status = %answered.status, "no search for a blob here");
                }
                Err(Failure { node, kind, cause }) => {
                    tracing::warn!(node, %kind, cause, "a node failed in a search for a blob that is to be mounted");
                }
            }
        }
        named
    }

    /// Sends the owner what the holder sends.
    async fn transfer(&self, found: Found<'_>) -> Result<Response<()>, Failure> {
        let Found { node: holder, body, length, pass: _pass } = found;
        let (idle, write_answer) = self.scatter.patience();
        let separator = if self.session.contains('?') { '&' } else { '?' };
        let target = format!("{}{separator}digest={}", self.session, self.mount.digest);
        let mut ask = self.request(Method::PUT, target);
        ask.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        let (sender, pieces) = Pieces::new(length);
        let mut answered = pin!(self.scatter.send(self.owner, &ask, pieces));
        let passing = Passing { holder, owner: self.owner, idle, sender };
        tokio::select! {
            biased;
            // Before it has all of it, the owner can only refuse; or it has failed.
            answered = &mut answered => {
                let status = answered?.status();
                let cause = format!("status {status} before the end of a blob");
                return Err(Failure { node: self.owner.name.clone(), kind: FailureKind::Refused(status), cause });
            }
            passed = passing.pass(body, &self.mount.digest, length) => passed?,
        }
        match timeout(write_answer, answered).await {
            Ok(answered) => Ok(answered?.map(|_| ())),
            Err(_) => Err(late(self.owner, "no answer to a blob in time")),
        }
    }

    /// Tells the owner to drop the session, if it still knows it.
    async fn cancel(&self) {
        let ask = self.request(Method::DELETE, self.session.clone());
        match timeout(CLEAN_UP, self.scatter.write(self.owner, &ask)).await {
            Ok(Ok(_)) => {}
            Ok(Err(Failure { node, kind, cause })) => tracing::debug!(node, %kind, cause, "a session is left behind"),
            Err(_) => tracing::debug!(node = self.owner.name, "a session is left behind: no answer in time"),
        }
    }

    /// A request on behalf of the client, with a deadline of its own.
    fn request(&self, method: Method, target: String) -> Ask {
        Ask { terms: self.scatter.terms(self.ask.terms.partial), ..self.ask.without_body(method, target) }
    }

    fn fleet(&self) -> &Fleet {
        self.scatter.fleet()
    }
}

/// The way of a blob's bytes.
struct Passing<'a> {
    holder: &'a Arc<Node>,
    owner: &'a Arc<Node>,
    idle: Duration,
    sender: mpsc::Sender<Bytes>,
}

impl Passing<'_> {
    /// Passes the bytes on. The last piece is held back until all are known to be right: without it, the request to the
    /// owner breaks off, and nothing that is wrong is ever stored.
    async fn pass(self, mut body: Incoming, digest: &BlobDigest, length: u64) -> Result<(), Failure> {
        let mut check = digest.check();
        let (mut passed, mut last) = (0, Bytes::new());
        loop {
            let piece = match timeout(self.idle, body.frame()).await {
                Err(_) => return Err(late(self.holder, "a blob stopped")),
                Ok(None) => break,
                Ok(Some(Err(error))) => {
                    let (node, cause) = (self.holder.name.clone(), format!("a blob broke off: {error}"));
                    return Err(Failure { node, kind: FailureKind::Down, cause });
                }
                Ok(Some(Ok(frame))) => frame.into_data().unwrap_or_default(),
            };
            if !piece.is_empty() {
                check.update(&piece);
                passed += piece.len() as u64;
                self.send(std::mem::replace(&mut last, piece)).await?;
            }
        }
        if passed != length || !check.is_right() {
            let cause = format!("{passed} bytes of {length} that are not those of {digest}");
            return Err(Failure { node: self.holder.name.clone(), kind: FailureKind::Unusable, cause });
        }
        self.send(last).await
    }

    async fn send(&self, piece: Bytes) -> Result<(), Failure> {
        if piece.is_empty() {
            return Ok(());
        }
        match timeout(self.idle, self.sender.send(piece)).await {
            Ok(Ok(())) => Ok(()),
            // The answer, or the failure of the request, says why; it is there any moment.
            Ok(Err(_)) => std::future::pending().await,
            Err(_) => Err(late(self.owner, "it does not take the bytes of a blob")),
        }
    }
}

/// Whether this is the type of a manifest. A zot gives manifests as blobs, too, but mounts none: they are not in its cache
/// of blobs (zot `pkg/storage/imagestore/imagestore.go`, `CheckBlob`).
fn is_of_manifest(content_type: &HeaderValue) -> bool {
    const TYPES: [&str; 4] = [
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
    ];
    let name = content_type.to_str().unwrap_or_default().split(';').next().unwrap_or_default();
    TYPES.iter().any(|known| known.eq_ignore_ascii_case(name.trim()))
}

fn late(node: &Node, cause: &str) -> Failure {
    Failure { node: node.name.clone(), kind: FailureKind::Late, cause: cause.to_owned() }
}

#[derive(Deserialize)]
struct Answered {
    data: Data,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Data {
    image_list_for_digest: Images,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Images {
    results: Vec<Image>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Image {
    repo_name: String,
}

/// The repositories in a node's answer to the search, each once.
fn repositories(answered: &NodeAnswer) -> Vec<String> {
    let images = match serde_json::from_slice::<Answered>(&answered.body) {
        Ok(Answered { data }) => data.image_list_for_digest.results,
        Err(error) => {
            tracing::warn!(node = answered.name, %error, "an answer to a search for a blob is none");
            return Vec::new();
        }
    };
    let mut names: Vec<String> = images.into_iter().map(|image| image.repo_name).collect();
    names.retain(|name| path::is_repository_name(name));
    names.sort_unstable();
    names.dedup();
    names
}
