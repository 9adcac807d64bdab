//! An embedded node beside a real zot: the same content through the same API, then random documents to both.
//!
//! It runs when `ONEZOT_ZOT` names a zot; `ONEZOT_DOCUMENTS` says how many documents (2000), `ONEZOT_SEED` which ones.

pub use super::author::request;
use super::demo_compare::Request;
use super::demo_replay::{Sender, Tally, golden, read};
use super::made;
use super::writer::Writer;
use onezot::demo::{Content, Node, Settings, Setup};
use serde_json::{Value, json};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// The two users' passwords, hashed as zot wants them.
const HTPASSWD: &str = "alice:$2b$05$onezotonezotonezotoneesG2BLugRhGZeME9gylNRVjP7bxmsEBy\nbob:$2b$05$onezotonezotonezotoneeNtCMIEq7a0dpqmn2N3rmt.Wg/imw94m\n";

/// Ends the zot with the test.
pub struct Zot(Child);

impl Drop for Zot {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(binary: &str, directory: &std::path::Path) -> (Zot, String) {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut config: Value = serde_json::from_slice(&read("http-config.json")).unwrap();
    let htpasswd = directory.join("htpasswd");
    std::fs::write(&htpasswd, HTPASSWD).unwrap();
    config["http"]["auth"]["htpasswd"]["path"] = json!(htpasswd);
    config["http"]["address"] = json!("127.0.0.1");
    config["http"]["port"] = json!(port.to_string());
    config["distSpecVersion"] = json!("1.1.1");
    config["log"] = json!({"level": "error"});
    config["storage"] = json!({"rootDirectory": directory.join("storage"), "gc": false, "dedupe": true});
    let file = directory.join("config.json");
    std::fs::write(&file, config.to_string()).unwrap();
    let mut command = Command::new(binary);
    command.arg("serve").arg(&file).stdout(Stdio::null()).stderr(Stdio::null());
    (Zot(command.spawn().unwrap()), format!("http://127.0.0.1:{port}"))
}

pub fn content() -> Content {
    Content::read(&read("content/content.json"), &read("content/bytes.json")).unwrap()
}

/// A zot and an embedded node, both empty.
pub async fn both(binary: &str, directory: &std::path::Path) -> (Zot, Sender, Node) {
    let (zot, url) = start(binary, directory);
    let sender = Sender::new(url);
    let settings: Settings = serde_json::from_slice(&std::fs::read(golden("http-config.json")).unwrap()).unwrap();
    let users = [("alice", "alice-pw"), ("bob", "bob-pw")].map(|(name, word)| (name.to_owned(), word.to_owned()));
    let node = Node::start(Setup { settings, users: users.into(), ..Setup::default() }).await.unwrap();
    let alive = request("GET", "/livez".to_owned(), "", "", b"");
    let mut patience = 300;
    while sender.try_send(&alive).await.is_none() {
        patience -= 1;
        assert!(patience > 0, "zot does not start");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    (zot, sender, node)
}

/// What an index refers to, the innermost first.
fn below<'a>(content: &'a Content, digest: &str, into: &mut Vec<(&'a str, &'a str)>) {
    for child in &content.manifests[digest].children {
        below(content, child, into);
        into.push((child, child));
    }
}

/// Pushes, pulls, stars and bookmarks as clients do.
async fn fill(to: &Sender, content: &Content) {
    let expect = |status: u16, expected: u16, what: &str| assert_eq!(status, expected, "{what}");
    for push in &content.pushes {
        let mut manifests: Vec<(&str, &str)> = Vec::new();
        below(content, &push.digest, &mut manifests);
        manifests.push((&push.reference, &push.digest));
        for (reference, digest) in manifests {
            let known = &content.manifests[digest];
            let base = format!("/v2/{}", push.repository);
            for blob in &known.blobs {
                let path = format!("{base}/blobs/uploads/?digest={blob}");
                let upload = request("POST", path, &push.user, "application/octet-stream", &content.bytes[blob]);
                expect(to.send(&upload).await.status, 201, blob);
            }
            let path = format!("{base}/manifests/{reference}");
            let put = request("PUT", path.clone(), &push.user, &known.media_type, &content.bytes[digest]);
            expect(to.send(&put).await.status, 201, &path);
        }
        // Distinct times, whatever the clock's resolution.
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    for pull in &content.pulls {
        for _ in 0..pull.times {
            let path = format!("/v2/{}/manifests/{}", pull.repository, pull.reference);
            expect(to.send(&request("GET", path.clone(), "alice", "", b"")).await.status, 200, &path);
        }
    }
    for (action, marks) in [("toggleStar", &content.stars), ("toggleBookmark", &content.bookmarks)] {
        for mark in marks {
            let path = format!("/v2/_zot/ext/userprefs?action={action}&repo={}", mark.repository);
            expect(to.send(&request("PUT", path.clone(), &mark.user, "", b"")).await.status, 200, &path);
        }
    }
}

#[tokio::test]
async fn random_documents_have_the_answers_of_zot() {
    compare(&content()).await;
}

#[tokio::test]
async fn random_documents_about_made_content_have_the_answers_of_zot() {
    let seed = std::env::var("ONEZOT_SEED").map_or(1, |text| text.parse().unwrap());
    compare(&made::content(seed, 60)).await;
}

async fn compare(content: &Content) {
    let Ok(binary) = std::env::var("ONEZOT_ZOT") else {
        println!("ONEZOT_ZOT names no zot: nothing compared");
        return;
    };
    let number = |name: &str, default: u64| std::env::var(name).map_or(default, |text| text.parse().unwrap());
    let directory = tempfile::tempdir().unwrap();
    let (zot, zot_sender, node) = both(&binary, directory.path()).await;
    let node_sender = Sender::to(&node);
    fill(&zot_sender, content).await;
    fill(&node_sender, content).await;

    let mut writer = Writer::new(number("ONEZOT_SEED", 1), content);
    let mut tally = Tally::default();
    let (mut with_data, mut with_items) = (0, 0);
    for n in 0..number("ONEZOT_DOCUMENTS", 2000) {
        let (document, variables) = writer.request();
        let user = writer.one(&["alice", "alice", "alice", "bob", ""]).to_owned();
        let body = json!({"query": document, "variables": variables}).to_string();
        let mut asked = request("POST", "/v2/_zot/ext/search".to_owned(), &user, "application/json", body.as_bytes());
        asked.n = usize::try_from(n).unwrap();
        asked.kind = "sent".to_owned();
        let (expected, actual) = (zot_sender.send(&asked).await, node_sender.send(&asked).await);
        tally.note(&asked, &expected, &actual);
        let text = String::from_utf8_lossy(&expected.body);
        with_data += usize::from(!text.contains("\"data\":null"));
        with_items += usize::from(text.contains("\"data\":{") && text.contains(":[{"));
        if std::env::var_os("ONEZOT_SHOW").is_some() && n < 12 {
            println!("{user:?} {document} -> {}", text.chars().take(300).collect::<String>());
        }
        if tally.last_failed(asked.n) {
            println!("document {n} of {user:?}: {document}");
        }
    }
    drop(zot);
    println!("{with_data} answers have data, {with_items} have lists with something in them");
    tally.settle("beside a zot", &[]);
}

/// Corners of the registry API that the recordings do not reach.
#[tokio::test]
async fn corners_of_the_registry_are_those_of_zot() {
    let Ok(binary) = std::env::var("ONEZOT_ZOT") else {
        println!("ONEZOT_ZOT names no zot: nothing compared");
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let (zot, zot_sender, node) = both(&binary, directory.path()).await;
    let node_sender = Sender::to(&node);
    let content = content();
    fill(&zot_sender, &content).await;
    fill(&node_sender, &content).await;
    let root = zot_sender.send(&request("GET", "/".to_owned(), "", "", b"")).await;
    let has_ui = root.headers.contains_key("content-security-policy");
    let mut exceptions = Vec::new();
    let mut tally = Tally::default();
    for (n, asked) in corners(&content).into_iter().enumerate() {
        let asked = Request { n, ..asked };
        let (expected, actual) = (zot_sender.send(&asked).await, node_sender.send(&asked).await);
        tally.note(&asked, &expected, &actual);
        if has_ui && TAKEN_BY_UI.contains(&(asked.method.as_str(), asked.path.as_str())) {
            exceptions.push((n, "taken by the web UI of this zot"));
        } else if tally.last_failed(n) {
            println!("{n}: {} {} {:?}", asked.method, asked.path, asked.headers);
        }
    }
    drop(zot);
    tally.settle("corners beside a zot", &exceptions);
}

/// What a zot with a web UI answers otherwise: the UI takes every path and method that no other route takes. The recorded
/// zots were built without, as the embedded nodes are.
const TAKEN_BY_UI: [(&str, &str); 5] = [
    ("POST", "/v2/Corner/blobs/uploads/"),
    ("GET", "/zot/auth/logout"),
    ("OPTIONS", "/v2/lib/blobs/uploads/"),
    ("GET", "/V2/"),
    ("GET", "/v2/nope"),
];

fn corners(content: &Content) -> Vec<Request> {
    const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
    const INDEX: &str = "application/vnd.oci.image.index.v1+json";
    let mut asked = Vec::new();
    let mut ask = |method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]| {
        let mut request = request(method, path.to_owned(), "alice", "", body);
        request.headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        asked.push(request);
    };
    let push = content.pushes.iter().find(|push| push.repository == "lib" && push.reference == "1").unwrap();
    let (digest, body) = (&push.digest, &content.bytes[&push.digest]);
    let layer = content.manifests[digest].blobs.last().unwrap();
    let blob = format!("/v2/lib/blobs/{layer}");
    for range in ["bytes=-5", "bytes=0-1,5-6", "bytes=5-6,0-1,100-", "bytes=0-0", "bytes=-0", "bytes=", "bytes=a-b", ""]
    {
        ask("GET", &blob, &[("Range", range)], b"");
    }
    ask("HEAD", &blob, &[("Range", "bytes=0-1")], b"");
    for query in ["tag=x", "tag=y&tag=z&tag=y", "tag=", "tag=-a", "tag=a%20b", "tag=1"] {
        ask("PUT", &format!("/v2/lib/manifests/{digest}?{query}"), &[("Content-Type", IMAGE)], body);
    }
    let many: Vec<String> = (0..12).map(|n| format!("tag=m{n}")).collect();
    ask("PUT", &format!("/v2/lib/manifests/{digest}?{}", many.join("&")), &[("Content-Type", IMAGE)], body);
    ask("GET", "/v2/lib/tags/list", &[], b"");
    for query in ["n=2", "n=2&last=1", "last=nope", "last=", "n=3&last=z", "n=2&n=3", "n=99999999999999999999"] {
        ask("GET", &format!("/v2/lib/tags/list?{query}"), &[], b"");
    }
    for number in [46, 47] {
        let many: Vec<String> = (0..number).map(|n| format!("tag=m{n}")).collect();
        ask("PUT", &format!("/v2/many/manifests/{digest}?{}", many.join("&")), &[("Content-Type", IMAGE)], body);
    }
    for reference in ["sha256:00", "sha256:", "sha512:00", "md5:00"] {
        ask("PUT", &format!("/v2/lib/manifests/{reference}"), &[("Content-Type", IMAGE)], body);
    }
    for (kind, text) in [
        (IMAGE, "{}"),
        (IMAGE, "[]"),
        (IMAGE, ""),
        (IMAGE, "{\"schemaVersion\":2"),
        (IMAGE, "null"),
        (INDEX, "{}"),
        (INDEX, "{\"schemaVersion\":2,\"manifests\":[]}"),
        (INDEX, "{\"schemaVersion\":2,\"manifests\":[{\"mediaType\":\"a/b\",\"size\":1}]}"),
        ("application/vnd.docker.distribution.manifest.v2+json", "{}"),
        ("application/vnd.docker.distribution.manifest.list.v2+json", "x"),
    ] {
        ask("PUT", "/v2/corner/manifests/t", &[("Content-Type", kind)], text.as_bytes());
    }
    ask("GET", "/v2/corner/tags/list", &[], b"");
    ask("GET", "/v2/corner/manifests/t", &[], b"");
    let empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    for (method, path) in [
        ("POST", "/v2/Corner/blobs/uploads/"),
        ("POST", "/v2/lib/blobs/uploads/?digest=a&digest=b"),
        ("POST", "/v2/lib/blobs/uploads/?mount=a&mount=b"),
        ("PUT", "/v2/lib/blobs/uploads/x"),
        ("PUT", "/v2/lib/blobs/uploads/x?digest=bad"),
        ("PATCH", "/v2/fresh/blobs/uploads/x"),
        ("GET", "/v2/fresh/tags/list"),
        ("GET", "/v2/fresh/blobs/uploads/x"),
        ("DELETE", "/v2/fresh/blobs/uploads/x"),
        ("HEAD", "/v2/lib/blobs/uploads/x"),
        ("DELETE", "/v2/lib/blobs/bad"),
        ("DELETE", "/v2/lib/tags/list"),
        ("POST", "/livez"),
        ("GET", "/v2/_zot/ext/mgmt?x=1"),
        ("OPTIONS", "/v2/_zot/ext/userprefs"),
        ("OPTIONS", "/zot/auth/logout"),
        ("GET", "/zot/auth/logout"),
        ("OPTIONS", "/v2/lib/blobs/uploads/"),
        ("GET", "/v2/_catalog/../_catalog?n=1"),
        ("GET", "/v2/./lib/tags/list"),
        ("GET", "/V2/"),
        ("GET", "/v2/lib/tags/list?n=1&last=1.0%2F"),
        ("HEAD", "/v2/_zot/ext/search"),
        ("PUT", "/v2/_zot/ext/userprefs?action=toggleStar&action=x&repo=lib&repo=nope"),
        ("PUT", "/v2/_zot/ext/userprefs?action=toggleStar&repo=lib"),
    ] {
        ask(method, path, &[], b"");
    }
    ask(
        "POST",
        &format!("/v2/lib/blobs/uploads/?digest={empty}"),
        &[("Content-Type", "application/octet-stream")],
        b"",
    );
    ask("GET", &format!("/v2/lib/blobs/{empty}"), &[], b"");
    ask("GET", &format!("/v2/lib/blobs/{empty}"), &[("Range", "bytes=0-0")], b"");
    ask("DELETE", &format!("/v2/lib/blobs/{empty}"), &[], b"");
    for reference in ["y", digest, "1", "x"] {
        ask("DELETE", &format!("/v2/lib/manifests/{reference}"), &[], b"");
        ask("GET", &format!("/v2/lib/manifests/{reference}"), &[], b"");
        ask("GET", "/v2/lib/tags/list", &[], b"");
    }
    ask("DELETE", &blob, &[], b"");
    ask("HEAD", &blob, &[], b"");
    ask("GET", "/v2/_catalog", &[], b"");
    for (user, agent, path) in [
        ("", "docker/27.1 go/1", "/v2/"),
        ("", "Docker-Client/27", "/v2/"),
        ("", "docker/27.1 go/1", "/v2/public/hello/tags/list"),
        ("alice", "docker/27.1 go/1", "/v2/"),
        ("bob", "x", "/v2/_catalog?n=2&last=alpine"),
        ("baduser", "x", "/v2/_zot/ext/mgmt"),
        ("baduser", "x", "/livez"),
        ("badpass", "x", "/v2/nope"),
    ] {
        let mut request = request("GET", path.to_owned(), user, "", b"");
        request.headers = [("User-Agent".to_owned(), agent.to_owned())].into();
        asked.push(request);
    }
    for (name, value) in [
        ("Authorization", "Basic Og=="),
        ("Authorization", "basic YWxpY2U6YWxpY2UtcHc="),
        ("Authorization", "Bearer x"),
        ("Authorization", "x"),
        ("X-ZOT-API-CLIENT", "zot-ui"),
        ("X-ZOT-API-CLIENT", "other"),
        ("Cookie", "session=x"),
    ] {
        for path in ["/v2/", "/v2/lib/tags/list", "/v2/_catalog"] {
            let mut request = request("GET", path.to_owned(), "", "", b"");
            request.headers = [(name.to_owned(), value.to_owned())].into();
            asked.push(request);
        }
    }
    asked
}
