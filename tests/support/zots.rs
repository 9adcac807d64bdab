//! Real zots, from the binary that `ONEZOT_ZOT` names: started on free ports with directories of their own, configured as
//! the recorded ones were, and ended with the test.

use crate::wire;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// The users of the recordings.
pub const USERS: [(&str, &str); 2] = [("alice", "alice-pw"), ("bob", "bob-pw")];

/// The binary, if there is one.
pub fn binary() -> Option<PathBuf> {
    std::env::var_os("ONEZOT_ZOT").map(PathBuf::from)
}

/// A zot that runs.
pub struct Zot {
    pub address: SocketAddr,
    child: Child,
    root: tempfile::TempDir,
}

impl Drop for Zot {
    fn drop(&mut self) {
        // A zot may hang for good; it has nothing to lose.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Zot {
    /// Starts a zot and waits until it answers.
    pub async fn start(binary: &Path) -> Zot {
        Zot::start_with(binary, |_| {}).await
    }

    /// Starts a zot whose configuration is changed.
    pub async fn start_with(binary: &Path, change: impl FnOnce(&mut Value)) -> Zot {
        Zot::start_at(binary, wire::nowhere().await, change).await
    }

    /// Starts a zot at an address that others know already.
    pub async fn start_at(binary: &Path, address: SocketAddr, change: impl FnOnce(&mut Value)) -> Zot {
        let root = tempfile::TempDir::new().unwrap();
        let htpasswd = root.path().join("htpasswd");
        let lines = USERS.map(|(user, password)| format!("{user}:{}\n", bcrypt::hash(password, 4).unwrap()));
        std::fs::write(&htpasswd, lines.concat()).unwrap();
        let recorded = std::fs::read_to_string("tests/golden/http-config.json").unwrap();
        let mut config: Value = serde_json::from_str(&recorded).unwrap();
        config["distSpecVersion"] = json!("1.1.1");
        config["storage"] = json!({"rootDirectory": root.path().join("data"), "gc": false, "dedupe": true});
        config["http"]["address"] = json!(address.ip().to_string());
        config["http"]["port"] = json!(address.port().to_string());
        config["http"]["auth"]["htpasswd"]["path"] = json!(htpasswd);
        config["log"] = json!({"level": "error", "output": root.path().join("log")});
        change(&mut config);
        std::fs::write(root.path().join(CONFIG), config.to_string()).unwrap();
        let zot = Zot { address, child: run(binary, root.path()), root };
        zot.is_ready().await;
        zot
    }

    /// Starts it again, with what it has on its disk.
    pub async fn restart(&mut self, binary: &Path) {
        self.stop();
        self.child = run(binary, self.root.path());
        self.is_ready().await;
    }

    /// Ends it; it can be started again.
    pub fn stop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends its process a signal, such as `STOP` or `CONT`.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status();
        assert!(sent.unwrap().success(), "no signal {name}");
    }

    /// Waits until it answers.
    pub async fn is_ready(&self) {
        for _ in 0..600 {
            if tokio::net::TcpStream::connect(self.address).await.is_ok()
                && wire::get(self.address, "/readyz").await.status == 200
            {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the zot at {} did not get ready", self.address);
    }
}

/// The configuration of a zot, in its directory.
const CONFIG: &str = "config.json";

fn run(binary: &Path, root: &Path) -> Child {
    Command::new(binary)
        .arg("serve")
        .arg(root.join(CONFIG))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

impl Zot {
    /// The directory where it keeps what it has.
    pub fn data(&self) -> PathBuf {
        self.root.path().join("data")
    }
}

/// A request to be sent to any address.
#[derive(Debug, Clone, Default)]
pub struct Call {
    pub method: String,
    pub target: String,
    pub user: Option<(String, String)>,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Call {
    /// A call by one of the [`USERS`].
    pub fn by(user: usize, method: &str, target: impl Into<String>) -> Call {
        let user = USERS.get(user).map(|(name, password)| ((*name).to_owned(), (*password).to_owned()));
        Call { method: method.to_owned(), target: target.into(), user, ..Call::default() }
    }

    /// The call with a body and its type.
    pub fn with(mut self, content_type: &str, body: impl Into<Vec<u8>>) -> Call {
        self.headers.push(("Content-Type".to_owned(), content_type.to_owned()));
        self.body = body.into();
        self
    }

    /// Sends it.
    pub async fn send(&self, to: SocketAddr) -> wire::Got {
        let mut request = format!("{} {} HTTP/1.1\r\nHost: {to}\r\n", self.method, self.target);
        if let Some((name, password)) = &self.user {
            let credentials = BASE64_STANDARD.encode(format!("{name}:{password}"));
            request.push_str(&format!("Authorization: Basic {credentials}\r\n"));
        }
        for (name, value) in &self.headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        if !self.body.is_empty() || matches!(self.method.as_str(), "POST" | "PUT" | "PATCH") {
            request.push_str(&format!("Content-Length: {}\r\n", self.body.len()));
        }
        request.push_str("Connection: close\r\n\r\n");
        wire::send(to, [request.as_bytes(), &self.body].concat()).await
    }
}

/// The recorded content, which every test can push again.
pub struct Content {
    /// What was pushed, pulled, starred …, in order.
    pub facts: Value,
    bytes: BTreeMap<String, String>,
}

impl Content {
    /// Reads it.
    pub fn recorded() -> Content {
        let read = |name: &str| std::fs::read_to_string(format!("tests/golden/content/{name}.json")).unwrap();
        Content {
            facts: serde_json::from_str(&read("content")).unwrap(),
            bytes: serde_json::from_str(&read("bytes")).unwrap(),
        }
    }

    /// Other content in the form of the recorded one.
    pub fn of(facts: Value, bytes: serde_json::Map<String, Value>) -> Content {
        let text = |value: Value| value.as_str().unwrap().to_owned();
        Content { facts, bytes: bytes.into_iter().map(|(digest, value)| (digest, text(value))).collect() }
    }

    /// The bytes behind a digest.
    pub fn bytes(&self, digest: &str) -> Vec<u8> {
        BASE64_STANDARD.decode(&self.bytes[digest]).unwrap()
    }

    /// Pushes everything, in the recorded order, then pulls, stars and bookmarks as recorded.
    pub async fn push(&self, to: SocketAddr) {
        let mut there = HashSet::new();
        for push in self.facts["pushes"].as_array().unwrap() {
            let repository = push["repository"].as_str().unwrap();
            let user = usize::from(push["user"] != "alice");
            let digest = push["digest"].as_str().unwrap();
            self.push_manifest(to, user, repository, push["reference"].as_str().unwrap(), digest, &mut there).await;
        }
        for pull in self.facts["pulls"].as_array().unwrap() {
            let target = format!(
                "/v2/{}/manifests/{}",
                pull["repository"].as_str().unwrap(),
                pull["reference"].as_str().unwrap()
            );
            for _ in 0..pull["times"].as_u64().unwrap() {
                let user = usize::from(pull["user"] != "alice");
                assert_eq!(Call::by(user, "GET", &target).send(to).await.status, 200, "{target}");
            }
        }
        for (list, action) in [("stars", "toggleStar"), ("bookmarks", "toggleBookmark")] {
            for entry in self.facts[list].as_array().unwrap() {
                let repository = entry["repository"].as_str().unwrap();
                let user = usize::from(entry["user"] != "alice");
                let target = format!("/v2/_zot/ext/userprefs?action={action}&repo={repository}");
                assert_eq!(Call::by(user, "PUT", &target).send(to).await.status, 200, "{target}");
            }
        }
    }

    async fn push_manifest(
        &self,
        to: SocketAddr,
        user: usize,
        repository: &str,
        reference: &str,
        digest: &str,
        there: &mut HashSet<(String, String)>,
    ) {
        let manifest = &self.facts["manifests"][digest];
        for child in manifest["children"].as_array().into_iter().flatten() {
            let child = child.as_str().unwrap();
            if there.insert((repository.to_owned(), child.to_owned())) {
                Box::pin(self.push_manifest(to, user, repository, child, child, there)).await;
            }
        }
        for blob in manifest["blobs"].as_array().into_iter().flatten() {
            let blob = blob.as_str().unwrap();
            if there.insert((repository.to_owned(), blob.to_owned())) {
                let target = format!("/v2/{repository}/blobs/uploads/?digest={blob}");
                let call = Call::by(user, "POST", &target).with("application/octet-stream", self.bytes(blob));
                let got = call.send(to).await;
                assert_eq!(got.status, 201, "{target}: {}", got.text());
            }
        }
        there.insert((repository.to_owned(), digest.to_owned()));
        let target = format!("/v2/{repository}/manifests/{reference}");
        let media_type = manifest["mediaType"].as_str().unwrap();
        let got = Call::by(user, "PUT", &target).with(media_type, self.bytes(digest)).send(to).await;
        assert_eq!(got.status, 201, "{target}: {}", got.text());
    }
}
