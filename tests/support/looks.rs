//! What can be seen of a registry: every list of it, of the repositories that a sequence named.

use super::author::{Step, digest_of, request};
use super::demo_compare::Request;
use serde_json::json;
use std::collections::BTreeSet;

const IMAGE: &str = "RepoName Tag Digest MediaType Size DownloadCount PushedBy IsSigned ArtifactType LastUpdated \
    SignatureInfo{Tool IsTrusted} Referrers{Digest ArtifactType Size} \
    Manifests{Digest Size DownloadCount IsSigned Platform{Os Arch} Referrers{Digest} SignatureInfo{Tool}}";
const REPO: &str =
    "Name LastUpdated Size DownloadCount StarCount IsStarred IsBookmarked Rank Vendors Platforms{Os Arch}";

/// The repositories that some steps named, and the manifests and tags that they pushed there.
#[derive(Clone, Debug, Default)]
pub struct Named {
    names: BTreeSet<String>,
    manifests: BTreeSet<(String, String)>,
    tags: BTreeSet<(String, String)>,
}

impl Named {
    /// Notes what a request names.
    pub fn note(&mut self, asked: &Request) {
        let path = asked.path.split('?').next().unwrap_or_default();
        let Some((name, rest)) = repository(path) else { return };
        if asked.method == "PUT" && rest.starts_with("manifests/") {
            let reference = rest["manifests/".len()..].to_owned();
            self.manifests.insert((name.to_owned(), digest_of(&asked.body.bytes())));
            if !reference.starts_with("sha256") {
                self.tags.insert((name.to_owned(), reference));
            }
        }
        if !["GET", "HEAD", "DELETE"].contains(&asked.method.as_str()) || self.names.len() < 12 {
            self.names.insert(name.to_owned());
        }
    }

    /// The same of all the steps.
    pub fn of(steps: &[Step]) -> Named {
        let mut named = Named::default();
        steps.iter().flat_map(|step| &step.requests).for_each(|asked| named.note(asked));
        named
    }

    /// What can be seen: the lists of everything, and in turn by `number` who asks, and what for. Which of several newest images of the same time a zot names after a deletion is
    /// arbitrary, so that it is not always to be looked at.
    pub fn looks(&self, number: usize, with_newest: bool) -> Vec<Request> {
        let repo = if with_newest { format!("{REPO} NewestImage{{Tag Digest}}") } else { REPO.to_owned() };
        let get =
            |user: &str, path: String| Request { headers: Default::default(), ..request("GET", path, user, "", b"") };
        let search = |user: &str, document: String| {
            let body = json!({"query": document}).to_string();
            request("POST", "/v2/_zot/ext/search".to_owned(), user, "application/json", body.as_bytes())
        };
        let mut looks = Vec::new();
        let other = ["bob", ""][number % 2];
        for user in ["alice", other] {
            looks.push(get(user, "/v2/_catalog".to_owned()));
            looks.push(search(user, format!("{{RepoListWithNewestImage{{Page{{TotalCount}} Results{{{repo}}}}}}}")));
            looks.push(search(user, format!("{{ImageList(repo:\"\"){{Page{{TotalCount}} Results{{{IMAGE}}}}}}}")));
        }
        let marked = format!("StarredRepos{{Results{{{repo}}}}} BookmarkedRepos{{Results{{{repo}}}}}");
        looks.push(search(["alice", "bob"][number % 2], format!("{{{marked}}}")));
        for text in [["", "a"], ["b", "lib:"], [":1", "public/"]][number % 3] {
            let document =
                format!("{{GlobalSearch(query:\"{text}\"){{Page{{TotalCount}} Repos{{{repo}}} Images{{{IMAGE}}}}}}}");
            looks.push(search("alice", document));
        }
        let by_downloads = "requestedPage:{limit:3,offset:1,sortBy:DOWNLOADS}";
        looks.push(search(
            "alice",
            format!(
                "{{ImageListForDigest(id:\"\",{by_downloads}){{Page{{TotalCount ItemCount}} Results{{{IMAGE}}}}}}}"
            ),
        ));
        for (index, name) in self.names.iter().enumerate() {
            looks.push(get("alice", format!("/v2/{name}/tags/list")));
            let user = if (index + number) % 3 == 2 { "bob" } else { "alice" };
            let images = format!("Images{{{IMAGE} IsDeletable}} Summary{{{repo}}}");
            looks.push(search(user, format!("{{ExpandedRepoInfo(repo:\"{name}\"){{{images}}}}}")));
            if index < 2 {
                looks.push(get("alice", format!("/v2/_catalog?n=2&last={name}")));
            }
        }
        for (name, digest) in self.manifests.iter().cycle().skip(number).take(self.manifests.len().min(10)) {
            looks.push(get("alice", format!("/v2/{name}/referrers/{digest}")));
        }
        for (name, tag) in self.tags.iter().cycle().skip(number).take(self.tags.len().min(3)) {
            for relation in ["DerivedImageList", "BaseImageList"] {
                looks.push(search("alice", format!("{{{relation}(image:\"{name}:{tag}\"){{Results{{{IMAGE}}}}}}}")));
            }
        }
        looks
    }
}

/// The repository of a path, and what follows it.
pub fn repository(path: &str) -> Option<(&str, &str)> {
    let rest = path.strip_prefix("/v2/")?;
    let at = ["/manifests/", "/blobs/", "/tags/", "/referrers/"].iter().filter_map(|part| rest.find(part)).min()?;
    let (name, rest) = (&rest[..at], &rest[at + 1..]);
    (!name.is_empty() && !name.starts_with('_') && !name.contains(['%', '\\']) && !name.contains(".."))
        .then_some((name, rest))
}
