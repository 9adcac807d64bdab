//! Random kills: readers and writers go on while nodes die, hang and come back, and every answer is compared with a
//! sequential model of the writes that were acknowledged.
//!
//! A write whose answer was an error may or may not have had effect: the model keeps both. A read must show one of the
//! states that the model allows, or fail; an absence is never the answer to a failure.

use super::whole::{self, Got};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::RwLock;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const TAGS: [&str; 3] = ["a", "b", "c"];

/// A number from the environment.
pub fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// How a node fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kill {
    /// It dies: connections are closed and refused.
    Die,
    /// It accepts connections and says nothing.
    Hang,
    /// Its answers break off, or are errors.
    Break,
}

/// Nodes that can be made to fail.
pub trait Victims: Send + Sync + 'static {
    /// Makes a node fail.
    fn kill(&self, node: usize, kill: Kill) -> impl Future<Output = ()> + Send;
    /// Lets it work again; it does when this is over.
    fn mend(&self, node: usize) -> impl Future<Output = ()> + Send;
}

/// What is known of a tag: the digests that it may have, `None` for absent.
type May = BTreeSet<Option<String>>;

/// A repository, its node if that is not its owner, and what its tags may be. Who writes it holds the lock.
struct Repository {
    name: String,
    is_elsewhere: bool,
    tags: RwLock<BTreeMap<&'static str, May>>,
}

/// How often what happened.
#[derive(Debug, Default)]
pub struct Tally {
    pub reads: AtomicUsize,
    pub lists: AtomicUsize,
    pub writes: AtomicUsize,
    pub elsewhere: AtomicUsize,
    pub failed: AtomicUsize,
    pub kills: AtomicUsize,
}

/// The run.
pub struct Run {
    to: SocketAddr,
    more: String,
    repositories: Vec<Repository>,
    /// The bytes of what was pushed, by digest.
    blobs: Mutex<BTreeMap<String, Vec<u8>>>,
    over: AtomicBool,
    pub tally: Tally,
    pub wrong: Mutex<Vec<String>>,
}

pub fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold("sha256:".to_owned(), |hex, byte| hex + &format!("{byte:02x}"))
}

/// Sends a request with more lines in its header.
pub async fn call(
    to: SocketAddr,
    more: &str,
    method: &str,
    target: &str,
    kind: &str,
    body: &[u8],
) -> Result<Got, String> {
    let length =
        if matches!(method, "GET" | "HEAD") { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    let header = format!(
        "{method} {target} HTTP/1.1\r\nHost: r\r\nConnection: close\r\n{more}Content-Type: {kind}\r\n{length}\r\n"
    );
    whole::send(to, [header.as_bytes(), body].concat()).await
}

/// Uploads a blob; whether that was acknowledged.
async fn upload(to: SocketAddr, more: &str, name: &str, bytes: &[u8]) -> bool {
    let kind = "application/octet-stream";
    let Ok(opened) = call(to, more, "POST", &format!("/v2/{name}/blobs/uploads/"), kind, b"").await else {
        return false;
    };
    let Some(session) = opened.header("location").filter(|_| opened.status == 202) else { return false };
    let path = session.find("/v2/").map_or(session, |at| &session[at..]);
    let target = format!("{path}{}digest={}", if path.contains('?') { '&' } else { '?' }, digest(bytes));
    matches!(call(to, more, "PUT", &target, kind, bytes).await, Ok(got) if got.status == 201 && got.is_whole)
}

/// An image that nobody else has: its manifest, its config and its layer.
fn image(random: &mut fastrand::Rng) -> (Vec<u8>, [Vec<u8>; 2]) {
    let layer: Vec<u8> = (0..random.usize(10..2000)).map(|_| random.u8(..)).collect();
    let config = format!(
        r#"{{"architecture":"amd64","os":"linux","config":{{}},"rootfs":{{"type":"layers","diff_ids":["{}"]}},"created":"2026-01-01T00:00:00Z"}}"#,
        digest(&layer)
    );
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{}","size":{}}},"layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"{}","size":{}}}]}}"#,
        digest(config.as_bytes()),
        config.len(),
        digest(&layer),
        layer.len()
    );
    (manifest.into_bytes(), [config.into_bytes(), layer])
}

impl Run {
    /// Repositories of which each has one tag that stays; the last ones are given to nodes that do not own them, by a push
    /// past the gateway.
    pub async fn begin(to: SocketAddr, nodes: &[SocketAddr], owner: impl Fn(&str) -> usize, more: &str) -> Arc<Run> {
        let mut repositories = Vec::new();
        let mut blobs = BTreeMap::new();
        let mut random = fastrand::Rng::with_seed(7);
        for number in 0..12 {
            let (name, is_elsewhere) = (format!("kills/r{number}"), number >= 6);
            let at = if is_elsewhere { nodes[(owner(&name) + 1) % nodes.len()] } else { to };
            let (manifest, parts) = image(&mut random);
            for part in &parts {
                assert!(upload(at, more, &name, part).await, "{name}");
                blobs.insert(digest(part), part.clone());
            }
            let put = call(at, more, "PUT", &format!("/v2/{name}/manifests/stays"), MANIFEST, &manifest).await;
            assert_eq!(put.unwrap().status, 201, "{name}");
            let mut tags: BTreeMap<&str, May> = TAGS.iter().map(|tag| (*tag, May::from([None]))).collect();
            tags.insert("stays", May::from([Some(digest(&manifest))]));
            blobs.insert(digest(&manifest), manifest);
            repositories.push(Repository { name, is_elsewhere, tags: RwLock::new(tags) });
        }
        let (over, tally, wrong) = Default::default();
        Arc::new(Run { to, more: more.to_owned(), repositories, blobs: Mutex::new(blobs), over, tally, wrong })
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    async fn get(&self, target: &str) -> Option<Got> {
        let got = call(self.to, &self.more, "GET", target, "text/plain", b"").await;
        match got {
            Ok(got) if got.is_whole && got.status < 500 => Some(got),
            Ok(_) => {
                self.tally.failed.fetch_add(1, Ordering::SeqCst);
                None
            }
            Err(problem) => {
                self.say(format!("{target}: {problem}"));
                None
            }
        }
    }

    fn say(&self, problem: String) {
        self.wrong.lock().unwrap().push(problem);
    }

    /// Writes to the repositories whose number is `of` modulo `all`.
    async fn write(self: Arc<Run>, seed: u64, of: usize, all: usize) {
        let mut random = fastrand::Rng::with_seed(seed);
        while !self.is_over() {
            let mine: Vec<&Repository> = self.repositories.iter().skip(of).step_by(all).collect();
            let repository = mine[random.usize(..mine.len())];
            let tag = TAGS[random.usize(..TAGS.len())];
            let target = format!("/v2/{}/manifests/{tag}", repository.name);
            let (manifest, parts) = image(&mut random);
            let deletes = random.u8(..4) == 0;
            let becomes = (!deletes).then(|| digest(&manifest));
            if !deletes {
                let mut sent = true;
                for part in &parts {
                    sent = sent && upload(self.to, &self.more, &repository.name, part).await;
                }
                if !sent {
                    self.tally.failed.fetch_add(1, Ordering::SeqCst);
                    continue;
                }
                let mut blobs = self.blobs.lock().unwrap();
                blobs.extend(parts.into_iter().map(|part| (digest(&part), part)));
                blobs.insert(digest(&manifest), manifest.clone());
            }
            let mut tags = repository.tags.write().await;
            let (method, body) = if deletes { ("DELETE", &[][..]) } else { ("PUT", manifest.as_slice()) };
            let got = call(self.to, &self.more, method, &target, MANIFEST, body).await;
            let may = tags.get_mut(tag).unwrap();
            match got {
                Ok(got) if got.is_whole && matches!(got.status, 201 | 202) => {
                    *may = May::from([becomes]);
                    self.tally.writes.fetch_add(1, Ordering::SeqCst);
                }
                // It was not there, or is not any more.
                Ok(got) if got.is_whole && deletes && got.status == 404 => {
                    if !may.contains(&None) {
                        self.say(format!("DELETE {target}: 404, and it must be there: {may:?}"));
                    }
                }
                Ok(got) if got.is_whole && got.status < 500 => {
                    self.say(format!("{method} {target}: {} {}", got.status, String::from_utf8_lossy(&got.body)));
                }
                Ok(_) => {
                    may.insert(becomes);
                    self.tally.failed.fetch_add(1, Ordering::SeqCst);
                }
                Err(problem) => self.say(format!("{method} {target}: {problem}")),
            }
        }
    }

    async fn read(self: Arc<Run>, seed: u64) {
        let mut random = fastrand::Rng::with_seed(seed);
        while !self.is_over() {
            let repository = &self.repositories[random.usize(..self.repositories.len())];
            match random.u8(..10) {
                0 => self.read_catalog().await,
                1 => self.read_images().await,
                2..5 => self.read_tags(repository).await,
                _ => self.read_tag(repository, ["a", "b", "c", "stays"][random.usize(..4)]).await,
            }
        }
    }

    fn count_read(&self, repository: &Repository) {
        self.tally.reads.fetch_add(1, Ordering::SeqCst);
        self.tally.elsewhere.fetch_add(usize::from(repository.is_elsewhere), Ordering::SeqCst);
    }

    /// A tag, and what its manifest names.
    async fn read_tag(&self, repository: &Repository, tag: &str) {
        let target = format!("/v2/{}/manifests/{tag}", repository.name);
        let tags = repository.tags.read().await;
        let Some(got) = self.get(&target).await else { return };
        let found = (got.status == 200).then(|| digest(&got.body));
        if (got.status != 200 && got.status != 404) || !tags[tag].contains(&found) {
            return self.say(format!("{target}: {} {found:?}, and it may be {:?}", got.status, tags[tag]));
        }
        self.count_read(repository);
        if found.is_none() {
            return;
        }
        for part in [&got.json()["config"]["digest"], &got.json()["layers"][0]["digest"]] {
            let part = part.as_str().unwrap_or_default();
            let target = format!("/v2/{}/blobs/{part}", repository.name);
            let Some(blob) = self.get(&target).await else { return };
            if self.blobs.lock().unwrap().get(part) != Some(&blob.body) {
                self.say(format!("{target}: {}, other bytes than were pushed", blob.status));
            }
            self.count_read(repository);
        }
    }

    async fn read_tags(&self, repository: &Repository) {
        let target = format!("/v2/{}/tags/list", repository.name);
        let tags = repository.tags.read().await;
        let Some(got) = self.get(&target).await else { return };
        let listed: BTreeSet<String> = serde_json::from_value(got.json()["tags"].clone()).unwrap_or_default();
        let must = tags.iter().filter(|(_, may)| !may.contains(&None)).map(|(tag, _)| *tag);
        let may = |tag: &String| tags.get(tag.as_str()).is_some_and(|may| may.iter().any(Option::is_some));
        if got.status != 200 || !must.clone().all(|tag| listed.contains(tag)) || !listed.iter().all(may) {
            return self.say(format!("{target}: {} {listed:?}, and they may be {tags:?}", got.status));
        }
        self.count_read(repository);
    }

    /// Every repository has been there from the beginning.
    async fn read_catalog(&self) {
        let Some(got) = self.get("/v2/_catalog").await else { return };
        let listed: BTreeSet<String> = serde_json::from_value(got.json()["repositories"].clone()).unwrap_or_default();
        let names: BTreeSet<String> = self.repositories.iter().map(|repository| repository.name.clone()).collect();
        if got.status != 200 || listed != names {
            return self.say(format!("/v2/_catalog: {} {listed:?}", got.status));
        }
        self.tally.lists.fetch_add(1, Ordering::SeqCst);
    }

    /// So has the tag of each that stays.
    async fn read_images(&self) {
        let query = "/v2/_zot/ext/search?query=%7BImageList(repo:%22%22)%7BResults%7BRepoName%20Tag%7D%7D%7D";
        let Some(got) = self.get(query).await else { return };
        if got.status == 404 {
            // Nodes without a search.
            return;
        }
        let answer = got.json();
        let images = answer["data"]["ImageList"]["Results"].as_array().cloned().unwrap_or_default();
        let stay = images.iter().filter(|image| image["Tag"] == "stays").count();
        if got.status != 200 || stay != self.repositories.len() {
            return self.say(format!("ImageList: {} {stay} of {}", got.status, self.repositories.len()));
        }
        self.tally.lists.fetch_add(1, Ordering::SeqCst);
    }

    /// Readers, writers and kills for a while; then all nodes work, and all must be right.
    pub async fn go(self: &Arc<Run>, victims: Arc<impl Victims>, seed: u64, time: Duration, kinds: &'static [Kill]) {
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..3 {
            tasks.spawn(self.clone().write(seed * 100 + number as u64, number, 3));
            tasks.spawn(self.clone().read(seed * 100 + 50 + number as u64));
        }
        let (until, mut random) = (Instant::now() + time, fastrand::Rng::with_seed(seed));
        while Instant::now() < until {
            let (node, kind) = (random.usize(..3), kinds[random.usize(..kinds.len())]);
            victims.kill(node, kind).await;
            self.tally.kills.fetch_add(1, Ordering::SeqCst);
            // Sometimes a second one meanwhile.
            let other = (random.u8(..4) == 0).then(|| (node + 1) % 3);
            if let Some(other) = other {
                victims.kill(other, kind).await;
                self.tally.kills.fetch_add(1, Ordering::SeqCst);
            }
            tokio::time::sleep(Duration::from_millis(random.u64(50..1500))).await;
            victims.mend(node).await;
            if let Some(other) = other {
                victims.mend(other).await;
            }
            tokio::time::sleep(Duration::from_millis(random.u64(50..1000))).await;
        }
        self.over.store(true, Ordering::SeqCst);
        while let Some(ended) = tasks.join_next().await {
            ended.unwrap();
        }
        // A node that was silent is known to be back with the next check.
        while self.get("/v2/_catalog").await.is_none() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let before = self.tally.failed.load(Ordering::SeqCst);
        for repository in &self.repositories {
            self.read_tags(repository).await;
            for tag in ["a", "b", "c", "stays"] {
                self.read_tag(repository, tag).await;
            }
        }
        self.read_images().await;
        assert_eq!(self.tally.failed.load(Ordering::SeqCst), before, "reads fail while all nodes work");
    }

    /// What happened, on one line; and that it was enough, and right.
    pub fn settle(&self, title: &str, least: usize) {
        let Tally { reads, lists, writes, elsewhere, failed, kills } = &self.tally;
        let [reads, lists, writes, elsewhere, failed, kills] =
            [reads, lists, writes, elsewhere, failed, kills].map(|count| count.load(Ordering::SeqCst));
        let wrong = self.wrong.lock().unwrap();
        let line = format!(
            "{title}: {kills} kills, {writes} acknowledged writes, {reads} reads ({elsewhere} of repositories on other nodes \
             than their owners), {lists} lists of all nodes, {failed} answers were errors, {} wrong",
            wrong.len()
        );
        // Not `println!`, which the test harness swallows when a test passes.
        let _ = std::io::Write::write_fmt(&mut std::io::stdout().lock(), format_args!("{line}\n"));
        assert!(wrong.is_empty(), "{line}\n{}", wrong[..wrong.len().min(20)].join("\n"));
        let enough = [(reads, 20), (writes, 4), (elsewhere, 8), (lists, 1), (kills, 1)];
        assert!(enough.iter().all(|(count, share)| *count >= share * least), "too little happened: {line}");
    }
}
