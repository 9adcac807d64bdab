//! The keys by which zot sorts, for items that do not show them: taken from recorded answers with all fields.

use std::collections::BTreeMap;
use std::sync::OnceLock;

/// What is known of repositories and of images.
#[derive(Debug, Default)]
struct Known {
    repos: BTreeMap<String, BTreeMap<&'static str, String>>,
    images: BTreeMap<(String, String), BTreeMap<&'static str, String>>,
}

/// A key that says that an image has several manifests.
const INDEX: &str = "several manifests";

static KNOWN: OnceLock<Known> = OnceLock::new();

/// Learns the keys from recorded answers; the first call counts.
pub fn learn(answers: impl Iterator<Item = serde_json::Value>) {
    KNOWN.get_or_init(|| {
        let mut known = Known::default();
        for answer in answers {
            walk(&answer, &mut known);
        }
        known
    });
}

fn walk(value: &serde_json::Value, known: &mut Known) {
    match value {
        serde_json::Value::Array(items) => items.iter().for_each(|item| walk(item, known)),
        serde_json::Value::Object(object) => {
            let text = |name: &str| object.get(name).map(|value| value.to_string().trim_matches('"').to_owned());
            let note = |keys: &mut BTreeMap<&'static str, String>| {
                for name in ["LastUpdated", "DownloadCount"] {
                    if let Some(value) = text(name) {
                        keys.insert(name, value);
                    }
                }
            };
            match (text("RepoName"), text("Tag"), text("Name")) {
                (Some(repo), Some(tag), _) => {
                    let keys = known.images.entry((repo, tag)).or_default();
                    note(keys);
                    let manifests = object.get("Manifests").and_then(serde_json::Value::as_array);
                    if manifests.is_some_and(|manifests| manifests.len() > 1) {
                        keys.insert(INDEX, String::new());
                    }
                }
                (_, _, Some(name)) if object.contains_key("NewestImage") => note(known.repos.entry(name).or_default()),
                _ => {}
            }
            object.values().for_each(|value| walk(value, known));
        }
        _ => {}
    }
}

/// The key of an item of which some fields are shown; nothing if it cannot be known.
pub fn key(sort: &str, path: &[String], about: &str, shown: impl Fn(&str) -> Option<String>) -> Option<String> {
    let of_repos = path.last().is_some_and(|name| name == "Repos")
        || matches!(path[0].as_str(), "RepoListWithNewestImage" | "StarredRepos" | "BookmarkedRepos");
    let wanted = match sort {
        "DOWNLOADS" => "DownloadCount",
        // Their times are those of the run, and no two are alike, except for images that claim to be of the future.
        "UPDATE_TIME" if of_repos => {
            let future = shown("LastUpdated").filter(|time| time.starts_with("209"));
            return future.map(|time| instant(&time)).or_else(|| shown("Name"));
        }
        // One time may be written in several zones.
        "UPDATE_TIME" if shown("LastUpdated").is_some() => {
            return shown("LastUpdated").map(|time| instant(&time));
        }
        "UPDATE_TIME" => "LastUpdated",
        "RELEVANCE" if of_repos && path.last().is_some_and(|name| name == "Results") => return Some(String::new()),
        "RELEVANCE" if of_repos => return shown("Rank").or_else(|| Some(rank(about, &shown("Name")?).to_string())),
        "SEVERITY" => return Some(format!("{}:{}", shown("Severity")?, shown("Id")?)),
        _ if path[0].starts_with("CVE") => return shown("Id"),
        _ if of_repos => return shown("Name"),
        _ => return Some(format!("{}:{}", repo_name(about, &shown)?, shown("Tag")?)),
    };
    if let Some(value) = shown(wanted) {
        return Some(value);
    }
    let known = KNOWN.get()?;
    let keys = if of_repos {
        known.repos.get(&shown("Name")?)?
    } else {
        known.images.get(&(repo_name(about, &shown)?, shown("Tag")?))?
    };
    // Of an index, a relation shows some manifests only, whose times count.
    let is_part = keys.contains_key(INDEX) && matches!(path[0].as_str(), "DerivedImageList" | "BaseImageList");
    keys.get(wanted).filter(|_| !(is_part && wanted == "LastUpdated")).cloned()
}

fn instant(text: &str) -> String {
    let time = chrono::DateTime::parse_from_rfc3339(text).map(|time| time.to_utc().to_rfc3339());
    time.unwrap_or_else(|_| text.to_owned())
}

/// The repository of an image that does not show it, if the query names it.
fn repo_name(about: &str, shown: &impl Fn(&str) -> Option<String>) -> Option<String> {
    shown("RepoName").or_else(|| Some(about.split(':').next()?.to_owned()).filter(|name| !name.is_empty()))
}

/// How well a name fits a search: better ones are smaller. Names are compared from their ends.
fn rank(text: &str, name: &str) -> usize {
    let text = text.trim().trim_matches('/').to_lowercase();
    if text == name {
        return 0;
    }
    let last = name.rsplit('/').next().unwrap_or_default();
    let first = name.split('/').next().unwrap_or_default();
    match text.rsplit_once('/') {
        None => {
            let near = last.find(&text).map(|at| at + 1);
            let far = first.find(&text).map(|at| (at + 1) * 10);
            let anywhere = name.find(&text).map(|at| (at + 1) * 100);
            near.or(far).or(anywhere).unwrap_or(usize::MAX)
        }
        Some((above, end)) => {
            let near = name.strip_prefix(&format!("{above}/")).and_then(|_| last.find(end)).map(|at| at + 1);
            let prefix = name.starts_with(&text).then_some(10);
            let anywhere = name.find(&text).map(|at| (at + 1) * 100);
            near.or(prefix).or(anywhere).unwrap_or(usize::MAX)
        }
    }
}
