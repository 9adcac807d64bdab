//! Tier 5: three real zots behind onezot beside one real zot that holds everything, when `ONEZOT_ZOT` names a binary.
//!
//! The same content is pushed to both sides, and the same requests are sent to both: first the recorded ones, live, then
//! random ones (`ONEZOT_CASES`, default 2000; `ONEZOT_SEED`), reads and writes, whose answers must be alike.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
// What other tests use of what is shared.
#![allow(dead_code)]

#[path = "support/demo_compare.rs"]
mod demo_compare;
#[path = "support/demo_replay.rs"]
mod demo_replay;
#[path = "support/oracle.rs"]
mod oracle;
#[path = "support/wire.rs"]
mod wire;
#[path = "support/writer.rs"]
mod writer;
#[path = "support/zots.rs"]
mod zots;

use demo_compare::queries;
use demo_replay::{Sender, Set, read};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use wire::Got;
use writer::Writer;
use zots::{Call, Content, Zot};

/// Headers that differ between any two servers.
const FREE: [&str; 3] = ["date", "connection", "transfer-encoding"];

/// What is not alike in two answers to one request.
fn differences(call: &Call, one: &Got, fleet: &Got) -> Vec<String> {
    let mut found = Vec::new();
    if one.status != fleet.status {
        found.push(format!("status {} became {}", one.status, fleet.status));
    }
    let lines = |got: &Got| {
        let mut lines: Vec<String> = got
            .headers
            .iter()
            .map(|(name, value)| (name.to_ascii_lowercase(), value))
            .filter(|(name, _)| !FREE.contains(&name.as_str()))
            // A session, and the length of what is chunked on one side, are each server's own.
            .filter(|(name, _)| call.method == "HEAD" || name != "content-length")
            .map(|(name, value)| format!("{name}: {}", masked(value)))
            .collect();
        lines.sort();
        lines
    };
    let (expected, actual) = (lines(one), lines(fleet));
    if expected != actual {
        found.push(format!("headers {expected:?} became {actual:?}"));
    }
    if masked(&String::from_utf8_lossy(&one.body)) != masked(&String::from_utf8_lossy(&fleet.body)) {
        let text = |got: &Got| String::from_utf8_lossy(&got.body[..got.body.len().min(400)]).into_owned();
        found.push(format!("body {:?} became {:?}", text(one), text(fleet)));
    }
    found
}

/// A text in which the identifiers of upload sessions and multipart boundaries are blanked.
fn masked(text: &str) -> String {
    let uuid = regex::Regex::new("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}").unwrap();
    let boundary = regex::Regex::new("[0-9a-f]{60}").unwrap();
    let session = regex::Regex::new("session=[^;]*|Expires=[^;]*").unwrap();
    let text = uuid.replace_all(text, "UUID");
    // A digest has 64 digits, a boundary of Go 60: only the latter stands alone.
    let text = if text.contains("multipart/byteranges") || text.contains("Content-Range: bytes") {
        boundary.replace_all(&text, "BOUNDARY").into_owned()
    } else {
        text.into_owned()
    };
    session.replace_all(&text, "SESSION").into_owned()
}

struct Sides {
    one: Zot,
    _nodes: Vec<Zot>,
    running: onezot::server::Running,
}

impl Sides {
    async fn start(binary: &std::path::Path) -> Sides {
        let one = Zot::start(binary).await;
        let mut nodes = Vec::new();
        for _ in 0..3 {
            nodes.push(Zot::start(binary).await);
        }
        let addresses: Vec<SocketAddr> = nodes.iter().map(|node| node.address).collect();
        let running = wire::gateway(&addresses, "").await;
        Sides { one, _nodes: nodes, running }
    }

    async fn both(&self, call: &Call) -> (Got, Got) {
        let one = call.send(self.one.address).await;
        (one, call.send(self.running.addresses[0]).await)
    }
}

/// The recorded requests that a real zot can be asked again.
fn recorded() -> Vec<(u64, Call)> {
    let text = std::fs::read_to_string("tests/golden/requests.jsonl").unwrap();
    let passwords = BTreeMap::from([
        ("alice", ("alice", "alice-pw")),
        ("bob", ("bob", "bob-pw")),
        ("baduser", ("mallory", "x")),
        ("badpass", ("alice", "wrong")),
    ]);
    let requests = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    requests
        .filter(|request| request["kind"] == "sent" && !request["path"].as_str().unwrap().contains("ext/search"))
        .map(|request| {
            let user = request["user"].as_str().map(|user| passwords[user]);
            let headers = request["headers"].as_object().unwrap();
            let call = Call {
                method: request["method"].as_str().unwrap().to_owned(),
                target: request["path"].as_str().unwrap().to_owned(),
                user: user.map(|(name, password)| (name.to_owned(), password.to_owned())),
                headers: headers.iter().map(|(k, v)| (k.clone(), v.as_str().unwrap().to_owned())).collect(),
                body: request["body"].as_str().unwrap_or_default().into(),
            };
            (request["n"].as_u64().unwrap(), call)
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn three_zots_behind_onezot_answer_as_one_zot() {
    let Some(binary) = zots::binary() else {
        println!("skipped: real zot: ONEZOT_ZOT names no binary");
        return;
    };
    let sides = Sides::start(&binary).await;
    let content = Content::recorded();
    content.push(sides.one.address).await;
    content.push(sides.running.addresses[0]).await;

    let mut failed = Vec::new();
    let recorded = recorded();
    for (n, call) in &recorded {
        let (one, fleet) = sides.both(call).await;
        let found = differences(call, &one, &fleet);
        let named = exception(call, &one);
        match (found.is_empty(), named) {
            (false, None) => failed.push(format!("recorded {n}: {} {}: {found:?}", call.method, call.target)),
            (false, Some(why)) => println!("exception: {} {}: {why}", call.method, call.target),
            _ => {}
        }
    }
    println!("recorded requests asked again: {} of {} alike", recorded.len() - failed.len(), recorded.len());

    recorded_documents(&sides, &mut failed).await;
    random_documents(&sides, &mut failed).await;

    let cases = std::env::var("ONEZOT_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(2000);
    let seed = std::env::var("ONEZOT_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let mut random = Random::new(seed, &content);
    let mut counts: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for case in 0..cases {
        let (kind, calls) = random.case();
        let alike = &mut counts.entry(kind.to_owned()).or_default();
        alike.1 += 1;
        let mut sessions: Option<(String, String)> = None;
        let mut is_alike = true;
        for call in calls {
            // A later step of an upload goes to the session that each side opened.
            let (to_one, to_fleet) = match &sessions {
                Some((one, fleet)) if call.target.starts_with("SESSION") => (
                    Call { target: call.target.replace("SESSION", one), ..call.clone() },
                    Call { target: call.target.replace("SESSION", fleet), ..call.clone() },
                ),
                _ => (call.clone(), call.clone()),
            };
            let one = to_one.send(sides.one.address).await;
            let fleet = to_fleet.send(sides.running.addresses[0]).await;
            let found = differences(&call, &one, &fleet);
            if !found.is_empty() && exception(&call, &one).is_none() {
                is_alike = false;
                failed.push(format!("seed {seed} case {case}: {kind}: {} {}: {found:?}", call.method, call.target));
            }
            if let (Some(one), Some(fleet)) = (one.header("location"), fleet.header("location")) {
                sessions = Some((one.to_owned(), fleet.to_owned()));
            }
        }
        alike.0 += usize::from(is_alike);
    }
    for (kind, (alike, total)) in &counts {
        println!("{kind}: {alike} of {total} alike");
    }
    sides.running.stop().await;
    assert!(failed.is_empty(), "{} differences:\n{}", failed.len(), failed[..failed.len().min(300)].join("\n"));
}

/// Sends the recorded GraphQL requests to both sides.
async fn recorded_documents(sides: &Sides, failed: &mut Vec<String>) {
    let set = Set::read("");
    set.teach();
    let one = Sender::new(format!("http://{}", sides.one.address));
    let fleet = Sender::new(format!("http://{}", sides.running.addresses[0]));
    let mut counts: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for request in set.requests.iter().filter(|r| r.kind == "sent" && r.path.starts_with("/v2/_zot/ext/search")) {
        let mut expected = one.send(request).await;
        // As in the recordings.
        expected
            .headers
            .retain(|name, _| !FREE.contains(&name.as_str()) && (name != "content-length" || request.method == "HEAD"));
        let found = demo_compare::differences(request, &expected, &fleet.send(request).await);
        for name in queries(request) {
            let alike = counts.entry(name).or_default();
            alike.1 += 1;
            alike.0 += usize::from(found.is_empty());
        }
        if !found.is_empty() && document_exception(request).is_none() {
            failed.push(format!("document {}: {found:?}", request.n));
        }
    }
    for (name, (alike, total)) in counts {
        println!("{name}: {alike} of {total} alike");
    }
}

/// Sends random documents to both sides: `ONEZOT_DOCUMENTS`, default 2000.
async fn random_documents(sides: &Sides, failed: &mut Vec<String>) {
    let number = |name: &str, default| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default);
    let content = onezot::demo::Content::read(&read("content/content.json"), &read("content/bytes.json")).unwrap();
    let mut writer = Writer::new(number("ONEZOT_SEED", 1), &content);
    let one = Sender::new(format!("http://{}", sides.one.address));
    let fleet = Sender::new(format!("http://{}", sides.running.addresses[0]));
    let (mut compared, mut alike) = (0, 0);
    while compared < number("ONEZOT_DOCUMENTS", 2000) {
        let (document, variables) = writer.request();
        let user = writer.one(&["alice", "alice", "alice", "bob", ""]).to_owned();
        let request = demo_compare::Request {
            n: 0,
            kind: "sent".to_owned(),
            user: Some(user).filter(|user| !user.is_empty()),
            method: "POST".to_owned(),
            path: "/v2/_zot/ext/search".to_owned(),
            headers: BTreeMap::from([("Content-Type".to_owned(), "application/json".to_owned())]),
            body: demo_compare::Content::Text(
                serde_json::json!({"query": document, "variables": variables}).to_string(),
            ),
        };
        if document_exception(&request).is_some() {
            continue;
        }
        compared += 1;
        let mut expected = one.send(&request).await;
        expected.headers.retain(|name, _| !FREE.contains(&name.as_str()) && name != "content-length");
        let found = demo_compare::differences(&request, &expected, &fleet.send(&request).await);
        alike += usize::from(found.is_empty());
        if !found.is_empty() {
            failed.push(format!("{:?} {document}: {found:?}", request.user));
        }
    }
    println!("random documents: {alike} of {compared} alike");
}

/// The README's exceptions among documents.
fn document_exception(request: &demo_compare::Request) -> Option<&'static str> {
    let composed = ["DerivedImageList", "BaseImageList", "CVEDiffListForImages"];
    if queries(request).iter().any(|name| composed.contains(&name.as_str())) {
        return Some("composed queries are not composed yet");
    }
    let path = percent_encoding::percent_decode_str(&request.path).decode_utf8_lossy().into_owned();
    let text = path + &String::from_utf8_lossy(&request.body.bytes());
    if text.contains("9223372036854775807") || text.contains("[null]") {
        return Some("a zot panics");
    }
    let is_handshake = request.headers.keys().any(|name| name.eq_ignore_ascii_case("upgrade"));
    is_handshake.then_some("the handshake of a WebSocket is not passed on")
}

/// The README's exceptions, as far as the requests here show them.
fn exception(call: &Call, one: &Got) -> Option<&'static str> {
    let is_catalog = call.target.starts_with("/v2/_catalog?") && call.target.contains("last=");
    let reads_all = call.user.as_ref().is_some_and(|(name, _)| name == "alice");
    if is_catalog && !reads_all {
        return Some("a last that the user may not read");
    }
    if call.target.contains("/referrers/") && one.status == 500 && one.body.is_empty() {
        return Some("a name that is a mere directory");
    }
    let inside = ["/metrics", "/swagger/", "/v2/_zot/pprof/", "/v2/_zot/debug/"]
        .iter()
        .any(|path| call.target.starts_with(path));
    inside.then_some("the inside of one node")
}

/// Random requests and sequences about the recorded content and new repositories.
struct Random {
    rng: fastrand::Rng,
    repositories: Vec<String>,
    /// Repository, tag, digest.
    tags: Vec<(String, String, String)>,
    /// Repository, digest of a blob of it.
    blobs: Vec<(String, String)>,
    /// The same of those that are part of a tagged image.
    tagged: Vec<(String, String)>,
    made: usize,
}

impl Random {
    fn new(seed: u64, content: &Content) -> Random {
        let mut random = Random {
            rng: fastrand::Rng::with_seed(seed),
            repositories: Vec::new(),
            tags: Vec::new(),
            blobs: Vec::new(),
            tagged: Vec::new(),
            made: 0,
        };
        for (repository, facts) in content.facts["repositories"].as_object().unwrap() {
            random.repositories.push(repository.clone());
            for (tag, digest) in facts["tags"].as_object().unwrap() {
                random.tags.push((repository.clone(), tag.clone(), digest.as_str().unwrap().to_owned()));
            }
            let blobs_of = |digest: &Value| {
                let blobs = content.facts["manifests"][digest.as_str().unwrap()]["blobs"].as_array();
                let blobs = blobs.into_iter().flatten().map(|blob| blob.as_str().unwrap().to_owned());
                blobs.map(|blob| (repository.clone(), blob)).collect::<Vec<_>>()
            };
            random.blobs.extend(facts["manifests"].as_array().unwrap().iter().flat_map(blobs_of));
            // A tag of a cosign signature is no image.
            let tags = facts["tags"].as_object().unwrap().iter();
            random
                .tagged
                .extend(tags.filter(|(tag, _)| !tag.starts_with("sha256-")).flat_map(|(_, digest)| blobs_of(digest)));
        }
        random
    }

    fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.rng.usize(..list.len())]
    }

    fn repository(&mut self) -> String {
        const ODD: [&str; 12] = [
            "nope",
            "team-a",
            "lib/nope",
            "Upper",
            "-a",
            "a_",
            "a__b",
            "a..b",
            "infra/base",
            "public/none",
            "team-b/none",
            "x",
        ];
        if self.rng.u8(..4) == 0 {
            (*self.pick(&ODD)).to_owned()
        } else {
            self.pick(&self.repositories.clone()).clone()
        }
    }

    /// A new repository that alice, and bob half of the time, may write to.
    fn new_repository(&mut self) -> String {
        self.made += 1;
        let prefix = *self.pick(&["flow/bob/r", "made/r", "made/deep/er-r", "team-b/new.r"]);
        format!("{prefix}{}", self.made)
    }

    fn user(&mut self) -> usize {
        *self.pick(&[0, 0, 0, 1, 2])
    }

    fn case(&mut self) -> (&'static str, Vec<Call>) {
        let user = self.user();
        match self.rng.u8(..22) {
            0..4 => ("catalog", vec![self.catalog(user)]),
            4..6 => {
                let paging =
                    *self.pick(&["", "?n=1", "?n=0", "?n=2&last=1.0", "?last=latest", "?n=-1", "?n=x", "?last=nope"]);
                let target = format!("/v2/{}/tags/list{paging}", self.repository());
                ("tags", vec![Call::by(user, "GET", target)])
            }
            6..9 => {
                let (repository, tag, digest) = self.pick(&self.tags.clone()).clone();
                let repository = if self.rng.u8(..5) == 0 { self.repository() } else { repository };
                let zeros = format!("sha256:{}", "0".repeat(64));
                let reference = self.pick(&[tag, digest, zeros, "nope".to_owned(), "sha256:x".to_owned()]).clone();
                let method = *self.pick(&["GET", "HEAD"]);
                ("manifests", vec![Call::by(user, method, format!("/v2/{repository}/manifests/{reference}"))])
            }
            9..11 => ("blobs", vec![self.blob(user)]),
            11..13 => {
                let (repository, _, digest) = self.pick(&self.tags.clone()).clone();
                let filter =
                    *self.pick(&["", "?artifactType=application/spdx%2Bjson", "?artifactType=", "?artifactType=x&n=1"]);
                ("referrers", vec![Call::by(user, "GET", format!("/v2/{repository}/referrers/{digest}{filter}"))])
            }
            13 => {
                let action = *self.pick(&["toggleStar", "toggleBookmark", "x", ""]);
                let repository = self.pick(&self.repositories.clone()).clone();
                let target = format!("/v2/_zot/ext/userprefs?action={action}&repo={repository}");
                ("preferences", vec![Call::by(user, "PUT", target)])
            }
            14 => ("routes", vec![self.route(user)]),
            15..19 => ("push", self.push(user)),
            19 => ("upload", self.upload(user)),
            _ => ("mount", self.mount(user)),
        }
    }

    fn catalog(&mut self, user: usize) -> Call {
        let mut pairs = Vec::new();
        if self.rng.bool() {
            pairs.push(format!("n={}", self.pick(&["0", "1", "2", "3", "7", "26", "100", "-1", "x", "%2B2", ""])));
        }
        if self.rng.bool() {
            // For others than alice only names that they may read, or that nobody has: the rest is an exception.
            let last =
                if user == 0 { self.repository() } else { (*self.pick(&["public/hello", "zzz", ""])).to_owned() };
            pairs.push(format!("last={last}"));
        }
        if self.rng.u8(..4) == 0 {
            pairs.push("x=1".to_owned());
        }
        let target = if pairs.is_empty() { String::new() } else { format!("?{}", pairs.join("&")) };
        let method = if self.rng.u8(..8) == 0 { "HEAD" } else { "GET" };
        Call::by(user, method, format!("/v2/_catalog{target}"))
    }

    fn blob(&mut self, user: usize) -> Call {
        let (repository, digest) = self.pick(&self.blobs.clone()).clone();
        let range = *self.pick(&[
            "",
            "",
            "bytes=0-9",
            "bytes=5-",
            "bytes=-3",
            "bytes=0-1,4-5",
            "bytes=9-5",
            "x",
            "bytes=99999-",
        ]);
        let method = *self.pick(&["GET", "HEAD"]);
        let mut call = Call::by(user, method, format!("/v2/{repository}/blobs/{digest}"));
        if !range.is_empty() {
            call.headers.push(("Range".to_owned(), range.to_owned()));
        }
        call
    }

    fn route(&mut self, user: usize) -> Call {
        let target = *self.pick(&[
            "/v2/",
            "/v2",
            "/v2//",
            "/v2/lib/../solo/tags/list",
            "/v2/lib%2Fcore/tags/list",
            "/v2/_oci/ext/discover",
            "/v2/_zot/ext/mgmt",
            "/v2/_zot/ext/nope",
            "/v2/lib",
            "/v2/lib/tags",
            "/v2/lib/blobs/uploads",
            "/healthz",
            "/livez",
            "/metrics/x",
            "/v1/",
            "/v2/_zot/ext/cosign",
        ]);
        let method = *self.pick(&["GET", "GET", "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "FOO"]);
        Call::by(user, method, target)
    }

    /// Pushes an image to a new repository, looks at it, and takes some of it away again.
    fn push(&mut self, user: usize) -> Vec<Call> {
        let repository = self.new_repository();
        let config = format!(
            r#"{{"architecture":"amd64","os":"linux","config":{{"n":{}}},"rootfs":{{"type":"layers","diff_ids":[]}}}}"#,
            self.made
        );
        let layer = format!("layer {} {}", self.made, self.rng.u64(..));
        let descriptor = |media_type: &str, text: &str| {
            format!(r#"{{"mediaType":"{media_type}","digest":"{}","size":{}}}"#, digest(text), text.len())
        };
        let media_type = "application/vnd.oci.image.manifest.v1+json";
        let manifest = format!(
            r#"{{"schemaVersion":2,"mediaType":"{media_type}","config":{},"layers":[{}]}}"#,
            descriptor("application/vnd.oci.image.config.v1+json", &config),
            descriptor("application/vnd.oci.image.layer.v1.tar", &layer),
        );
        let at = |path: &str| format!("/v2/{repository}/{path}");
        let blob = |text: &str| {
            Call::by(user, "POST", at(&format!("blobs/uploads/?digest={}", digest(text))))
                .with("application/octet-stream", text)
        };
        let tag = *self.pick(&["1", "latest", "v1.0", "bad:tag"]);
        let put = Call::by(user, "PUT", at(&format!("manifests/{tag}"))).with(media_type, manifest.clone());
        let mut calls = match self.rng.u8(..6) {
            // A manifest before its blobs, and one that is none.
            0 => vec![put],
            1 => vec![
                blob(&config),
                blob(&layer),
                Call::by(user, "PUT", at("manifests/1")).with("text/plain", manifest.clone()),
            ],
            _ => vec![blob(&config), blob(&layer), put],
        };
        let looks = [
            Call::by(user, "GET", at("tags/list")),
            Call::by(user, "HEAD", at(&format!("manifests/{}", digest(&manifest)))),
            Call::by(user, "GET", at(&format!("blobs/{}", digest(&layer)))),
            Call::by(0, "GET", "/v2/_catalog"),
            Call::by(user, "GET", at(&format!("referrers/{}", digest(&manifest)))),
        ];
        let ends = [
            Call::by(user, "DELETE", at(&format!("manifests/{tag}"))),
            Call::by(user, "DELETE", at(&format!("manifests/{}", digest(&manifest)))),
            Call::by(user, "DELETE", at(&format!("blobs/{}", digest(&layer)))),
            Call::by(user, "POST", at(&format!("blobs/uploads/?mount={}&from={repository}", digest(&layer)))),
            Call::by(user, "DELETE", at("manifests/nope")),
        ];
        calls.extend(looks.iter().filter(|_| self.rng.bool()).cloned());
        calls.extend(ends.iter().filter(|_| self.rng.u8(..3) == 0).cloned());
        calls.extend(looks.iter().filter(|_| self.rng.bool()).cloned());
        calls
    }

    /// Mounts a blob from anywhere, and looks at it. Without the right source, it must be part of an image.
    fn mount(&mut self, user: usize) -> Vec<Call> {
        let target = self.new_repository();
        let is_right = self.rng.bool();
        // What was mounted before, of which no image tells, may be where others than alice can read it.
        let readable = |name: &str| user == 0 || name == "lib" || name.starts_with("public/");
        let known = if is_right { &self.blobs } else { &self.tagged };
        let known: Vec<(String, String)> = known.iter().filter(|(name, _)| readable(name)).cloned().collect();
        let (source, blob) = self.pick(&known).clone();
        let from = if is_right { source } else { (*self.pick(&["", "nope", "..%2Fx", "lib", "Upper"])).to_owned() };
        let from = if from.is_empty() { from } else { format!("&from={from}") };
        let blob = if self.rng.u8(..8) == 0 { format!("sha256:{}", "0".repeat(64)) } else { blob };
        let escaped = if self.rng.bool() { blob.replace(':', "%3A") } else { blob.clone() };
        vec![
            Call::by(user, "POST", format!("/v2/{target}/blobs/uploads/?mount={escaped}{from}")),
            Call::by(user, "GET", format!("/v2/{target}/blobs/{blob}")),
            Call::by(user, "HEAD", format!("/v2/{target}/blobs/{blob}")),
            Call::by(0, "GET", "/v2/_catalog"),
        ]
    }

    /// An upload in pieces, with mistakes.
    fn upload(&mut self, user: usize) -> Vec<Call> {
        let repository = self.new_repository();
        let text = format!("blob {} {}", self.made, self.rng.u64(..));
        let (first, second) = text.split_at(4);
        let mut calls = vec![Call::by(user, "POST", format!("/v2/{repository}/blobs/uploads/"))];
        let piece = |range: String, text: &str| {
            let mut call = Call::by(user, "PATCH", "SESSION").with("application/octet-stream", text);
            call.headers.push(("Content-Range".to_owned(), range));
            call
        };
        calls.push(piece(format!("0-{}", first.len() - 1), first));
        if self.rng.bool() {
            calls.push(Call::by(user, "GET", "SESSION"));
        }
        if self.rng.u8(..4) == 0 {
            calls.push(piece("90-99".to_owned(), "0123456789"));
        }
        calls.push(piece(format!("{}-{}", first.len(), text.len() - 1), second));
        let promised = if self.rng.u8(..4) == 0 { digest("another") } else { digest(&text) };
        calls.push(if self.rng.u8(..4) == 0 {
            Call::by(user, "DELETE", "SESSION")
        } else {
            Call::by(user, "PUT", format!("SESSION?digest={promised}"))
        });
        calls.push(Call::by(user, "HEAD", format!("/v2/{repository}/blobs/{}", digest(&text))));
        calls
    }
}

fn digest(text: &str) -> String {
    let hash = Sha256::digest(text.as_bytes());
    hash.iter().fold("sha256:".to_owned(), |hex, byte| hex + &format!("{byte:02x}"))
}
