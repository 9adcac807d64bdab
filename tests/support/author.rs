//! Writes random sequences of registry requests: pushes whole and in pieces, tags that move, deletes, mounts, stars, pulls,
//! lists, and mistakes; by everybody. What was pushed before is asked for again more often than not.
//!
//! The same sequences go to gateways beside one node, to embedded nodes beside a real zot, and to real zots.

// Each test uses its own part of this.
#![allow(dead_code)]

#[path = "author_reads.rs"]
mod reads;

use super::demo_compare::{Content as Body, Request};
use onezot::demo::Content;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};

/// Names of which some are prefixes of others. `public/…` may be read by anybody, `lib` by bob; bob may write to
/// `team-b/…` and `flow/bob/…`.
pub const NAMES: [&str; 14] = [
    "a",
    "a/b",
    "a-b",
    "a.b",
    "a/b/c",
    "lib",
    "public/a",
    "public/a/b",
    "public/a-b",
    "team-b/x",
    "team-b/x/y",
    "flow/bob/r",
    "flow/bob/r-2",
    "zot-test",
];
const TAGS: [&str; 6] = ["1", "1.0", "b", "latest", "LATEST", "v1"];
const NEVER: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000000";

/// In a path: where the last answer said that its upload goes on.
pub const SESSION: &str = "SESSION";
/// The step at which everything is looked at.
pub const LOOK: &str = "look";

/// Requests that belong together.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Step {
    pub what: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requests: Vec<Request>,
}

/// A request of a user, or of nobody, with a body or without.
pub fn request(method: &str, path: String, user: &str, content_type: &str, body: &[u8]) -> Request {
    use base64::Engine;
    let text = || String::from_utf8(body.to_vec()).map(Body::Text);
    let bytes = || Body::Bytes { base64: base64::engine::general_purpose::STANDARD.encode(body) };
    Request {
        kind: "push".to_owned(),
        user: Some(user.to_owned()).filter(|user| !user.is_empty()),
        method: method.to_owned(),
        path,
        headers: BTreeMap::from([("Content-Type".to_owned(), content_type.to_owned())]),
        body: text().unwrap_or_else(|_| bytes()),
        ..Request::default()
    }
}

/// What bytes are called.
pub fn digest_of(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold("sha256:".to_owned(), |hex, byte| hex + &format!("{byte:02x}"))
}

/// Chooses what happens next.
pub struct Author {
    random: fastrand::Rng,
    content: Content,
    names: Vec<String>,
    /// The manifests that are pushed.
    digests: Vec<String>,
    /// Name, reference and digest of what was pushed, or was meant to be.
    pushed: Vec<(String, String, String)>,
    made: usize,
}

impl Author {
    /// An author who pushes some manifests of some content to some of [`NAMES`]. Few meet often: those that refer to
    /// something, and some others.
    pub fn new(seed: u64, content: &Content) -> Author {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut names = NAMES.map(str::to_owned).to_vec();
        random.shuffle(&mut names);
        names.truncate(5 + random.usize(..4));
        let mut all: Vec<&String> = content.manifests.keys().collect();
        random.shuffle(&mut all);
        let is = |digest: &str, kind: &str| String::from_utf8_lossy(&content.bytes[digest]).contains(kind);
        let mut digests: BTreeSet<String> = all.iter().take(6).map(|digest| (*digest).clone()).collect();
        for (kind, count) in [("\"subject\"", 3), ("\"manifests\"", 2)] {
            for digest in all.iter().filter(|digest| is(digest, kind)).take(count) {
                digests.insert((*digest).clone());
                // What they refer to comes, too.
                let of = |other: &&&String| is(digest, other) && *other != digest;
                digests.extend(all.iter().filter(of).take(3).map(|other| (*other).clone()));
            }
        }
        let digests = digests.into_iter().collect();
        Author { random, content: content.clone(), names, digests, pushed: Vec::new(), made: 0 }
    }

    /// An author who knows that all the content is there already.
    pub fn who_knows(seed: u64, content: &Content) -> Author {
        let names: BTreeSet<String> = content.pushes.iter().map(|push| push.repository.clone()).collect();
        let known =
            |push: &onezot::demo::content::Push| (push.repository.clone(), push.reference.clone(), push.digest.clone());
        let mut author = Author::new(seed, content);
        author.names.extend(names);
        author.names.extend(["made/r", "made/deep/er-r", "team-b/new.r"].map(str::to_owned));
        author.digests = content.manifests.keys().cloned().collect();
        author.pushed = content.pushes.iter().map(known).collect();
        author
    }

    /// A sequence of so many steps, with a look at everything now and then and at the end.
    pub fn sequence(&mut self, steps: usize) -> Vec<Step> {
        let mut sequence = Vec::new();
        for number in 0..steps {
            sequence.push(if number < 3 { self.push() } else { self.step() });
            if number % 8 == 7 {
                sequence.push(Step { what: LOOK.to_owned(), requests: Vec::new() });
            }
        }
        sequence.push(Step { what: LOOK.to_owned(), requests: Vec::new() });
        sequence
    }

    /// The next step.
    pub fn step(&mut self) -> Step {
        match self.random.u8(..30) {
            0..8 => self.push(),
            8 | 9 => self.moved(),
            10..13 => self.deleted(),
            13 => self.mount(),
            14 => self.upload(),
            15 => self.mark(),
            16..19 => self.pull(),
            19..22 => self.blob(),
            22..24 => self.catalog(),
            24 => self.tags(),
            25 | 26 => self.referrers(),
            27 => self.route(),
            28 => self.invalid(),
            _ => self.chunks(),
        }
    }

    pub fn one<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.random.usize(..of.len())].clone()
    }

    /// One time out of so many.
    fn now_and_then(&mut self, times: usize) -> bool {
        self.random.usize(..times) == 0
    }

    pub fn name(&mut self) -> String {
        let names = self.names.clone();
        match self.random.u8(..20) {
            0 => self.one(&["nope", "Upper", "a_", "a..b", "public", "team-b", "flow"]).to_owned(),
            _ => self.one(&names),
        }
    }

    pub fn digest(&mut self) -> String {
        let digests = self.digests.clone();
        if self.now_and_then(20) { NEVER.to_owned() } else { self.one(&digests) }
    }

    /// Something that was pushed, mostly.
    fn known(&mut self) -> (String, String, String) {
        if self.pushed.is_empty() || self.now_and_then(6) {
            return (self.name(), self.one(&TAGS).to_owned(), self.digest());
        }
        let pushed = self.pushed.clone();
        self.one(&pushed)
    }

    /// A blob or manifest of what was pushed, and a name under which it was.
    fn known_blob(&mut self) -> (String, String) {
        let (name, _, digest) = self.known();
        let blobs = self.content.manifests.get(&digest).map(|known| known.blobs.clone()).unwrap_or_default();
        (name, if blobs.is_empty() || self.now_and_then(8) { digest } else { self.one(&blobs) })
    }

    fn user(&mut self) -> &'static str {
        self.one(&["alice", "alice", "alice", "alice", "alice", "bob", "bob", "", "badpass", "baduser"])
    }

    /// Who may write there, mostly.
    fn writer(&mut self, name: &str) -> &'static str {
        let bobs = name.starts_with("team-b/") || name.starts_with("flow/bob/");
        match self.random.u8(..14) {
            0 => self.user(),
            1..8 if bobs => "bob",
            _ => "alice",
        }
    }

    fn single(&mut self, what: &str, method: &str, path: String) -> Step {
        let user = self.user();
        Step { what: what.to_owned(), requests: vec![request(method, path, user, "", b"")] }
    }

    /// A manifest with all that it needs; or now and then without.
    fn push(&mut self) -> Step {
        let names = self.names.clone();
        let (name, digest) = (self.one(&names), self.one(&self.digests.clone()));
        let user = self.writer(&name);
        let is_complete = !self.now_and_then(10);
        let reference = match self.random.u8(..8) {
            0 => digest.clone(),
            // What is an image elsewhere is not known where it is a signature: an exception of the README for indexes.
            1 if !self.is_child(&digest) => format!("sha256-{}.sig", &self.digest()["sha256:".len()..]),
            _ => self.one(&TAGS).to_owned(),
        };
        let mut requests = Vec::new();
        self.put(&name, &reference, &digest, user, is_complete, &mut requests);
        self.pushed.push((name, reference, digest));
        Step { what: "push".to_owned(), requests }
    }

    fn is_child(&self, digest: &str) -> bool {
        self.content.manifests.values().any(|known| known.children.iter().any(|child| child == digest))
    }

    fn put(&mut self, name: &str, reference: &str, digest: &str, user: &str, whole: bool, into: &mut Vec<Request>) {
        let known = self.content.manifests[digest].clone();
        if whole {
            for child in &known.children {
                self.put(name, child, child, user, whole, into);
            }
            for blob in &known.blobs {
                self.put_blob(name, blob, user, into);
            }
        }
        let kind = if self.now_and_then(30) { "text/plain" } else { &known.media_type };
        let path = format!("/v2/{name}/manifests/{reference}");
        into.push(request("PUT", path, user, kind, &self.content.bytes[digest]));
    }

    /// A blob in one piece, in several, or mounted from anywhere, and sent if that fails.
    fn put_blob(&mut self, name: &str, blob: &str, user: &str, into: &mut Vec<Request>) {
        const BYTES: &str = "application/octet-stream";
        let base = format!("/v2/{name}/blobs/uploads/");
        let bytes = self.content.bytes[blob].clone();
        let whole = request("POST", format!("{base}?digest={blob}"), user, BYTES, &bytes);
        match self.random.u8(..8) {
            0 => {
                into.push(request("POST", base, user, "", b""));
                let (first, second) = bytes.split_at(bytes.len() / 2);
                for (piece, from) in [(first, 0), (second, first.len())] {
                    if !piece.is_empty() {
                        let mut patch = request("PATCH", SESSION.to_owned(), user, BYTES, piece);
                        patch.headers.insert("Content-Range".to_owned(), format!("{from}-{}", from + piece.len() - 1));
                        into.push(patch);
                    }
                }
                into.push(request("PUT", format!("{SESSION}?digest={blob}"), user, "", b""));
            }
            1 => {
                into.push(request("POST", base, user, "", b""));
                into.push(request("PUT", format!("{SESSION}?digest={blob}"), user, BYTES, &bytes));
            }
            2 => {
                let from = self.from();
                into.push(request("POST", format!("{base}?mount={blob}{from}"), user, "", b""));
                into.push(whole);
            }
            _ => into.push(whole),
        }
    }

    /// A right, wrong or absent source.
    fn from(&mut self) -> String {
        match self.random.u8(..4) {
            0 => String::new(),
            1 => format!("&from={}", self.one(&["nope", "..%2Fx", "Upper", "lib", ""])),
            _ => format!("&from={}", self.name()),
        }
    }

    /// A tag that moves to something else that its repository has, or has not.
    fn moved(&mut self) -> Step {
        let (name, _, digest) = self.known();
        let Some(known) = self.content.manifests.get(&digest).cloned() else { return self.pull() };
        let tag = self.one(&TAGS).to_owned();
        let user = self.writer(&name);
        let path = match self.random.u8(..4) {
            0 => format!("/v2/{name}/manifests/{digest}?tag={tag}&tag={}", self.one(&TAGS)),
            _ => format!("/v2/{name}/manifests/{tag}"),
        };
        let put = request("PUT", path, user, &known.media_type, &self.content.bytes[&digest]);
        self.pushed.push((name, tag, digest));
        Step { what: "moved".to_owned(), requests: vec![put] }
    }

    fn deleted(&mut self) -> Step {
        let (name, reference, digest) = self.known();
        let user = self.writer(&name);
        let path = match self.random.u8(..6) {
            0 => format!("/v2/{name}/blobs/{}", self.known_blob().1),
            1 | 2 => format!("/v2/{name}/manifests/{digest}"),
            _ => format!("/v2/{name}/manifests/{reference}"),
        };
        Step { what: "deleted".to_owned(), requests: vec![request("DELETE", path, user, "", b"")] }
    }

    fn mount(&mut self) -> Step {
        let (source, blob) = self.known_blob();
        let name = self.name();
        let user = self.writer(&name);
        let from = if self.random.bool() { format!("&from={source}") } else { self.from() };
        let escaped = if self.random.bool() { blob.replace(':', "%3A") } else { blob.clone() };
        let path = format!("/v2/{name}/blobs/uploads/?mount={escaped}{from}");
        let get = request("GET", format!("/v2/{name}/blobs/{blob}"), user, "", b"");
        Step { what: "mount".to_owned(), requests: vec![request("POST", path, user, "", b""), get] }
    }

    /// A new blob in pieces, with mistakes.
    fn upload(&mut self) -> Step {
        self.made += 1;
        let name = self.name();
        let user = self.writer(&name);
        let text = format!("blob {} {}", self.made, self.random.u32(..));
        let mut requests = vec![request("POST", format!("/v2/{name}/blobs/uploads/"), user, "", b"")];
        let piece = |range: &str, text: &str| {
            let mut patch = request("PATCH", SESSION.to_owned(), user, "application/octet-stream", text.as_bytes());
            patch.headers.insert("Content-Range".to_owned(), range.to_owned());
            patch
        };
        requests.push(piece("0-3", &text[..4]));
        if self.random.bool() {
            requests.push(request("GET", SESSION.to_owned(), user, "", b""));
        }
        if self.now_and_then(4) {
            requests.push(piece("90-99", "0123456789"));
        }
        requests.push(piece(&format!("4-{}", text.len() - 1), &text[4..]));
        let right = digest_of(text.as_bytes());
        let promised = if self.now_and_then(4) { digest_of(b"another") } else { right.clone() };
        requests.push(if self.now_and_then(4) {
            request("DELETE", SESSION.to_owned(), user, "", b"")
        } else {
            request("PUT", format!("{SESSION}?digest={promised}"), user, "", b"")
        });
        requests.push(request("GET", format!("/v2/{name}/blobs/{right}"), user, "", b""));
        Step { what: "upload".to_owned(), requests }
    }

    /// A session that is opened, looked at, and left or given up.
    fn chunks(&mut self) -> Step {
        let name = self.name();
        let user = self.writer(&name);
        let mut requests = vec![request("POST", format!("/v2/{name}/blobs/uploads/"), user, "", b"")];
        let method = self.one(&["GET", "DELETE", "HEAD", "PUT"]);
        requests.push(request(method, SESSION.to_owned(), user, "", b""));
        Step { what: "session".to_owned(), requests }
    }

    fn mark(&mut self) -> Step {
        let action = self.one(&["toggleStar", "toggleBookmark", "toggleStar", "toggleBookmark", "x", ""]);
        let name = self.name();
        self.single("mark", "PUT", format!("/v2/_zot/ext/userprefs?action={action}&repo={name}"))
    }

    /// What a registry refuses.
    fn invalid(&mut self) -> Step {
        const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
        const INDEX: &str = "application/vnd.oci.image.index.v1+json";
        let name = self.name();
        let user = self.writer(&name);
        let at = |rest: &str| format!("/v2/{name}/{rest}");
        let asked = match self.random.u8(..8) {
            0 => request("PUT", at("manifests/1"), user, IMAGE, b"{}"),
            1 => request("PUT", at("manifests/1"), user, IMAGE, b"{\"schemaVersion\":2"),
            2 => request("PUT", at("manifests/1"), user, INDEX, b"{\"schemaVersion\":2,\"manifests\":[]}"),
            3 => request("PUT", at("manifests/sha256:00"), user, IMAGE, b"{}"),
            4 => request("POST", at(&format!("blobs/uploads/?digest={NEVER}")), user, "application/octet-stream", b"x"),
            5 => request("POST", at("blobs/uploads/?digest=x"), user, "text/plain", b"x"),
            6 => request("PATCH", at("blobs/uploads/x"), user, "application/octet-stream", b"x"),
            _ => request("POST", at("blobs/uploads/?from=lib"), user, "", b""),
        };
        Step { what: "invalid".to_owned(), requests: vec![asked] }
    }
}
