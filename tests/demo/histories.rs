//! An embedded node beside a real zot: random histories of pushes, pulls and deletes, and what is left after them.
//!
//! It runs when `ONEZOT_ZOT` names a zot; `ONEZOT_STEPS` says how many steps (600), `ONEZOT_SEED` which ones.

use super::beside_zot::{both, content, request};
use super::demo_compare::Request;
use super::demo_replay::Tally;
use onezot::demo::Content;
use serde_json::json;
use std::time::Duration;

const REPOSITORIES: [&str; 5] = ["one", "one/two", "one-more", "team-b/x", "public/y"];
const TAGS: [&str; 4] = ["a", "b", "c", "latest"];

/// Chooses what happens next.
struct Author {
    state: u64,
    digests: Vec<String>,
}

impl Author {
    fn below(&mut self, limit: usize) -> usize {
        self.state = self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.state >> 33).unwrap() % limit
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }

    fn digest(&mut self) -> String {
        let chosen = self.below(self.digests.len());
        self.digests[chosen].clone()
    }

    /// Some requests that belong together.
    fn step(&mut self, content: &Content) -> Vec<Request> {
        let name = self.one(&REPOSITORIES);
        let digest = self.digest();
        let base = format!("/v2/{name}");
        let plain = |method: &str, path: String| vec![request(method, path, "alice", "", b"")];
        match self.below(12) {
            0 => plain("DELETE", format!("{base}/manifests/{}", self.one(&TAGS))),
            1 => plain("DELETE", format!("{base}/manifests/{digest}")),
            2 => plain("GET", format!("{base}/manifests/{}", self.one(&TAGS))),
            3 => plain("GET", format!("{base}/manifests/{digest}")),
            4 => {
                let blobs = &content.manifests[&digest].blobs;
                blobs.first().map(|blob| plain("HEAD", format!("{base}/blobs/{blob}"))).unwrap_or_default()
            }
            5 => {
                let action = self.one(&["toggleStar", "toggleBookmark"]);
                plain("PUT", format!("/v2/_zot/ext/userprefs?action={action}&repo={name}"))
            }
            6 => {
                let blobs = &content.manifests[&digest].blobs;
                blobs.last().map(|blob| plain("DELETE", format!("{base}/blobs/{blob}"))).unwrap_or_default()
            }
            _ => self.push(content, name, &digest),
        }
    }

    /// A manifest with all that it needs; or now and then without.
    fn push(&mut self, content: &Content, name: &str, digest: &str) -> Vec<Request> {
        let base = format!("/v2/{name}");
        let user = if name == "team-b/x" && self.below(2) == 0 { "bob" } else { "alice" };
        let complete = self.below(10) > 0;
        let mut requests = Vec::new();
        let mut manifests: Vec<(String, &str)> =
            content.manifests[digest].children.iter().map(|child| (child.clone(), child.as_str())).collect();
        if !complete {
            manifests.clear();
        }
        let reference = match self.below(8) {
            0 => digest.to_owned(),
            1 => format!("sha256-{}.sig", &self.digest()["sha256:".len()..]),
            _ => self.one(&TAGS).to_owned(),
        };
        manifests.push((reference, digest));
        for (reference, digest) in manifests {
            let known = &content.manifests[digest];
            for blob in known.blobs.iter().filter(|_| complete) {
                requests.push(if self.below(3) == 0 {
                    request("POST", format!("{base}/blobs/uploads/?mount={blob}&from=x"), user, "", b"")
                } else {
                    let path = format!("{base}/blobs/uploads/?digest={blob}");
                    request("POST", path, user, "application/octet-stream", &content.bytes[blob])
                });
            }
            let path = format!("{base}/manifests/{reference}");
            requests.push(request("PUT", path, user, &known.media_type, &content.bytes[digest]));
        }
        requests
    }
}

/// What can be seen of a repository, and of all.
fn views(name: &str, digest: &str) -> Vec<Request> {
    const IMAGE: &str = "RepoName Tag Digest MediaType Size DownloadCount PushedBy IsSigned ArtifactType LastUpdated \
        SignatureInfo{Tool IsTrusted} Referrers{Digest ArtifactType Size} \
        Manifests{Digest Size DownloadCount IsSigned Platform{Os Arch} Referrers{Digest} SignatureInfo{Tool}}";
    const REPO: &str =
        "Name LastUpdated Size DownloadCount StarCount IsStarred IsBookmarked Rank Vendors Platforms{Os Arch}";
    let search = |document: String| {
        let body = json!({"query": document}).to_string();
        request("POST", "/v2/_zot/ext/search".to_owned(), "alice", "application/json", body.as_bytes())
    };
    let get = |path: String| request("GET", path, "alice", "", b"");
    vec![
        get("/v2/_catalog".to_owned()),
        get(format!("/v2/{name}/tags/list")),
        get(format!("/v2/{name}/referrers/{digest}")),
        search(format!("{{ExpandedRepoInfo(repo:\"{name}\"){{Images{{{IMAGE} IsDeletable}} Summary{{{REPO}}}}}}}")),
        search(format!("{{ImageList(repo:\"\"){{Page{{TotalCount}} Results{{{IMAGE}}}}}}}")),
        search(format!("{{RepoListWithNewestImage{{Page{{TotalCount}} Results{{{REPO}}}}}}}")),
        search(format!("{{StarredRepos{{Results{{{REPO}}}}} BookmarkedRepos{{Results{{{REPO}}}}}}}")),
        search(format!("{{Referrers(repo:\"{name}\",digest:\"{digest}\"){{Digest MediaType ArtifactType Size}}}}")),
        search(format!("{{ImageListForDigest(id:\"{digest}\"){{Results{{{IMAGE}}}}}}}")),
        search(format!("{{DerivedImageList(image:\"{name}:a\"){{Results{{RepoName Tag LastUpdated}}}}}}")),
        search(format!("{{GlobalSearch(query:\"one\"){{Repos{{{REPO}}}}}}}")),
    ]
}

#[tokio::test]
async fn histories_leave_what_they_leave_in_zot() {
    let Ok(binary) = std::env::var("ONEZOT_ZOT") else {
        println!("ONEZOT_ZOT names no zot: nothing compared");
        return;
    };
    let number = |name: &str, default: u64| std::env::var(name).map_or(default, |text| text.parse().unwrap());
    let directory = tempfile::tempdir().unwrap();
    let (zot, zot_sender, node) = both(&binary, directory.path()).await;
    let node_sender = super::demo_replay::Sender::to(&node);
    let content = content();
    let mut digests: Vec<String> = content.manifests.keys().cloned().collect();
    let mut author = Author { state: number("ONEZOT_SEED", 1), digests: Vec::new() };
    // Few manifests meet often: those that refer to something, and some others.
    digests.retain(|digest| {
        let text = String::from_utf8_lossy(&content.bytes[digest]);
        text.contains("\"subject\"") || author.below(3) == 0
    });
    author.digests = digests;
    let mut tally = Tally::default();
    let mut n = 0;
    for step in 0..number("ONEZOT_STEPS", 600) {
        let mut requests = author.step(&content);
        if step % 5 == 4 {
            requests.extend(views(author.one(&REPOSITORIES), &author.digest()));
        }
        for asked in requests {
            n += 1;
            let asked = Request { n, ..asked };
            let (expected, actual) = (zot_sender.send(&asked).await, node_sender.send(&asked).await);
            tally.note(&asked, &expected, &actual);
            if std::env::var_os("ONEZOT_SHOW").is_some() && !asked.path.contains("search") {
                println!("{n} {} {} {} {}", asked.method, asked.path, expected.status, actual.status);
            }
            if tally.last_failed(n) {
                println!("step {step}, {n}: {} {} {}", asked.method, asked.path, expected.status);
            }
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    drop(zot);
    tally.settle("histories beside a zot", &[]);
}
