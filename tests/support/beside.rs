//! Does the same to two registries, request by request, and tells what they answered otherwise.
//!
//! Where the README says that onezot is not like one zot, that is noted, and the fleet is brought to where the one is, so
//! that whatever follows can be compared.

// Each test uses its own part of this.
#![allow(dead_code)]

use super::author::{LOOK, SESSION, Step, request};
use super::demo_compare::{Answer, Request, differences};
use super::demo_replay::Sender;
use super::looks::{Named, repository};
use futures::future::join_all;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Two registries.
pub struct Pair<'a> {
    pub one: &'a Sender,
    pub fleet: &'a Sender,
    /// Whether the newest image of a repository is looked at.
    pub with_newest: bool,
}

/// What came of a sequence.
#[derive(Debug, Default)]
pub struct Outcome {
    /// How many answers were compared.
    pub compared: usize,
    /// How often an exception of the README was met.
    pub excepted: BTreeMap<&'static str, usize>,
    /// What differs.
    pub wrong: Vec<String>,
    /// How many steps there were of a kind.
    pub steps: BTreeMap<String, usize>,
    /// How many answers had a status.
    pub statuses: BTreeMap<u16, usize>,
}

impl Outcome {
    /// Adds another one.
    pub fn add(&mut self, other: Outcome) {
        self.compared += other.compared;
        other.excepted.into_iter().for_each(|(why, count)| *self.excepted.entry(why).or_default() += count);
        other.steps.into_iter().for_each(|(what, count)| *self.steps.entry(what).or_default() += count);
        other.statuses.into_iter().for_each(|(status, count)| *self.statuses.entry(status).or_default() += count);
        self.wrong.extend(other.wrong);
    }
}

/// What must be known before a request to tell whether what follows is an exception.
#[derive(Debug, PartialEq)]
enum Before {
    /// Nothing.
    Plain,
    /// A read that may link a blob: the one's repository does not have it.
    MayLink,
    /// A mount of something whose source is not right, and that is in no tagged image.
    CannotBeFound,
}

impl Pair<'_> {
    /// Goes through the steps; ends with the first that differs.
    pub async fn run(&self, steps: &[Step]) -> Outcome {
        let mut outcome = Outcome::default();
        let mut named = Named::default();
        for (number, step) in steps.iter().enumerate() {
            *outcome.steps.entry(step.what.clone()).or_default() += 1;
            if step.what == LOOK {
                self.look(&named, number, &mut outcome).await;
            }
            let mut sessions = None;
            for asked in &step.requests {
                named.note(asked);
                if let Some(found) = self.step(asked, &mut sessions, &mut outcome).await {
                    let Request { method, path, user, .. } = asked;
                    outcome.wrong.push(format!("step {number}, {}: {user:?} {method} {path}: {found}", step.what));
                }
            }
            if !outcome.wrong.is_empty() {
                break;
            }
        }
        outcome
    }

    /// Looks at everything that was named.
    pub async fn look(&self, named: &Named, number: usize, outcome: &mut Outcome) {
        let looks = named.looks(number, self.with_newest);
        let answers = join_all(looks.iter().map(async |asked| (self.one(asked).await, self.fleet.send(asked).await)));
        for (asked, (expected, actual)) in looks.iter().zip(answers.await) {
            outcome.compared += 1;
            let found = differences(asked, &expected, &actual);
            if found.is_empty() {
                continue;
            }
            match exception(asked, &expected, &actual, &Before::Plain) {
                Some(why) => *outcome.excepted.entry(why).or_default() += 1,
                None => {
                    let body = String::from_utf8_lossy(&asked.body.bytes()).into_owned();
                    let what = format!("{:?} {} {body}", asked.user, asked.path);
                    outcome.wrong.push(format!("look {number}: {what}: {}", found.join("; ")));
                }
            }
        }
    }

    async fn one(&self, asked: &Request) -> Answer {
        let mut answer = self.one.send(asked).await;
        // Of a body that is merged, the length is not told beforehand.
        let is_head = asked.method == "HEAD";
        answer.headers.retain(|name, _| is_head || name != "content-length");
        answer
    }

    async fn step(
        &self,
        asked: &Request,
        sessions: &mut Option<(String, String)>,
        outcome: &mut Outcome,
    ) -> Option<String> {
        let (mut to_one, mut to_fleet) = (asked.clone(), asked.clone());
        if asked.path.starts_with(SESSION) {
            // A session that neither side opened is not gone on with.
            let (one, fleet) = sessions.as_ref()?;
            to_one.path = asked.path.replace(SESSION, one);
            let rest = asked.path.replacen(SESSION, "", 1);
            let rest = if fleet.contains('?') { rest.replacen('?', "&", 1) } else { rest };
            to_fleet.path = format!("{fleet}{rest}");
        }
        let before = self.before(asked).await;
        let (expected, actual) = (self.one(&to_one).await, self.fleet.send(&to_fleet).await);
        outcome.compared += 1;
        *outcome.statuses.entry(expected.status).or_default() += 1;
        let session = |answer: &Answer| answer.headers.get("location").map(|values| values[0].clone());
        if let (202, Some(one), Some(fleet)) = (expected.status, session(&expected), session(&actual)) {
            *sessions = Some((one, fleet));
        }
        let found = differences(asked, &expected, &without_node(actual.clone()));
        if found.is_empty() {
            return None;
        }
        let named = if actual.body == EMPTY_CATALOG && is_after_what_is_unreadable(asked, self.one).await {
            Some("a last that the user may not read")
        } else if let (202, 201, Some(session)) = (expected.status, actual.status, session(&expected))
            && asked.path.contains("mount=")
        {
            if self.is_left_behind(asked, &session).await {
                Some("a mount of a manifest that was left behind")
            } else {
                self.is_mounted_later(asked).await.then_some("a mount of a blob whose first copy was deleted")
            }
        } else {
            exception(asked, &expected, &actual, &before)
        };
        let Some(why) = named else { return Some(found.join("; ")) };
        *outcome.excepted.entry(why).or_default() += 1;
        if before != Before::Plain && actual.status != 201 {
            self.mend(asked, &actual).await;
        }
        None
    }

    async fn before(&self, asked: &Request) -> Before {
        let get =
            |path: String, user: &str| Request { headers: BTreeMap::new(), ..request("GET", path, user, "", b"") };
        let (path, query) = asked.path.split_once('?').unwrap_or((&asked.path, ""));
        let Some((name, rest)) = repository(path) else { return Before::Plain };
        if rest.starts_with("blobs/sha256:") {
            let links = asked.method == "HEAD" || (asked.method == "GET" && asked.headers.contains_key("Range"));
            if links && self.one.send(&get(path.to_owned(), "alice")).await.status == 404 {
                return Before::MayLink;
            }
        }
        let mut pairs = form_urlencoded::parse(query.as_bytes());
        if asked.method == "POST" && rest == "blobs/uploads/" && query.contains("mount=") {
            let blob = pairs.clone().find(|(key, _)| key == "mount").map(|(_, blob)| blob.into_owned()).unwrap();
            let user = asked.user.as_deref().unwrap_or_default();
            let from = pairs.find(|(key, _)| key == "from").map(|(_, from)| from.into_owned());
            let sources = [Some(name.to_owned()), from].into_iter().flatten();
            for source in sources.filter(|source| !source.is_empty() && !source.contains("..")) {
                let there = self.one.send(&get(format!("/v2/{source}/blobs/{blob}"), user)).await;
                // Manifests are not mounted, unless they were uploaded as blobs somewhere.
                let is_manifest = there.headers.get("content-type").is_some_and(|kind| kind[0].ends_with("+json"))
                    && there.body.starts_with(b"{\"schemaVersion\"");
                if there.status == 200 && !is_manifest {
                    return Before::Plain;
                }
            }
            let body = json!({"query": format!("{{ImageListForDigest(id:\"{blob}\"){{Results{{Digest Manifests{{Digest}}}}}}}}")}).to_string();
            let path = "/v2/_zot/ext/search".to_owned();
            let found = self.one.send(&request("POST", path, user, "application/json", body.as_bytes())).await;
            let found: Value = serde_json::from_slice(&found.body).unwrap_or_default();
            let images = found["data"]["ImageListForDigest"]["Results"].as_array().cloned().unwrap_or_default();
            // Of which it is a layer or the configuration.
            let images = images.iter().filter(|image| !image.to_string().contains(&blob)).count();
            return if images == 0 { Before::CannotBeFound } else { Before::Plain };
        }
        Before::Plain
    }

    /// Whether the fleet has mounted a manifest that is left behind somewhere. The one gets it by an upload.
    async fn is_left_behind(&self, asked: &Request, session: &str) -> bool {
        let (path, query) = asked.path.split_once('?').unwrap();
        let (name, _) = repository(path).unwrap();
        let blob = form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == "mount").unwrap().1.into_owned();
        let get = Request {
            headers: BTreeMap::new(),
            ..request("GET", format!("/v2/{name}/blobs/{blob}"), "alice", "", b"")
        };
        let bytes = self.fleet.send(&get).await.body;
        if serde_json::from_slice::<Value>(&bytes).is_ok_and(|manifest| manifest["schemaVersion"] == 2) {
            let upload =
                request("PUT", format!("{session}?digest={blob}"), "alice", "application/octet-stream", &bytes);
            return self.one.send(&upload).await.status == 201;
        }
        false
    }

    /// Whether the one mounts a blob when it is asked again. It has looked where the blob is no more, and forgotten that place.
    async fn is_mounted_later(&self, asked: &Request) -> bool {
        for _ in 0..3 {
            if self.one.send(asked).await.status == 201 {
                return true;
            }
        }
        false
    }

    /// What the one has linked or mounted, the fleet gets by an upload.
    async fn mend(&self, asked: &Request, actual: &Answer) {
        let path = asked.path.split('?').next().unwrap_or_default();
        let (name, rest) = repository(path).unwrap();
        let blob = match rest.strip_prefix("blobs/sha256:") {
            Some(hex) => format!("sha256:{hex}"),
            None => {
                let query = asked.path.split_once('?').unwrap().1;
                form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == "mount").unwrap().1.into_owned()
            }
        };
        let get = Request {
            headers: BTreeMap::new(),
            ..request("GET", format!("/v2/{name}/blobs/{blob}"), "alice", "", b"")
        };
        let bytes = self.one.send(&get).await;
        assert_eq!(bytes.status, 200, "the one has linked {blob}");
        let target = match actual.headers.get("location") {
            Some(session) => {
                ("PUT", format!("{}{}digest={blob}", session[0], if session[0].contains('?') { "&" } else { "?" }))
            }
            None => ("POST", format!("/v2/{name}/blobs/uploads/?digest={blob}")),
        };
        let upload = request(target.0, target.1, "alice", "application/octet-stream", &bytes.body);
        assert_eq!(self.fleet.send(&upload).await.status, 201, "{}", upload.path);
    }
}

/// The answer without the node that the `Location` of an upload names.
fn without_node(mut answer: Answer) -> Answer {
    for location in answer.headers.get_mut("location").into_iter().flatten() {
        let at = location.find("?_oz_node=").or_else(|| location.find("&_oz_node="));
        location.truncate(at.unwrap_or(location.len()));
    }
    answer
}

/// A catalog without anything.
pub const EMPTY_CATALOG: &[u8] = b"{\"repositories\":[]}";

/// Whether a catalog is to go on after a repository that the user may not read.
pub async fn is_after_what_is_unreadable(asked: &Request, at: &Sender) -> bool {
    let Some(query) = asked.path.strip_prefix("/v2/_catalog?") else { return false };
    let last = form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == "last");
    let Some((_, last)) = last else { return false };
    let catalog = async |user: Option<&str>| {
        let user = user.unwrap_or_default();
        let answer = at.send(&request("GET", "/v2/_catalog".to_owned(), user, "", b"")).await;
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        body["repositories"].as_array().is_some_and(|all| all.iter().any(|name| *name == *last))
    };
    catalog(Some("alice")).await && !catalog(asked.user.as_deref()).await
}

/// The exception of the README that a difference is.
fn exception(asked: &Request, expected: &Answer, actual: &Answer, before: &Before) -> Option<&'static str> {
    match (before, expected.status, actual.status) {
        (Before::MayLink, 200 | 206 | 416, 404) => return Some("a read that links a blob"),
        (Before::CannotBeFound, 201, 202) => return Some("a mount that cannot be found"),
        _ => {}
    }
    is_of_a_directory(asked, expected, actual).then_some("referrers of a mere directory")
}

/// Whether referrers were asked for of a name that is a mere directory for the first of the two.
pub fn is_of_a_directory(asked: &Request, one: &Answer, other: &Answer) -> bool {
    asked.path.contains("/referrers/") && one.status == 500 && one.body.is_empty() && other.status == 200
}
