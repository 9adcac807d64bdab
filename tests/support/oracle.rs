//! The keys by which zot sorts, for items that do not show them: taken from recorded answers with all fields.

use std::collections::BTreeMap;
use std::sync::OnceLock;

/// What is known of repositories and of images.
#[derive(Debug, Default)]
struct Known {
    repos: BTreeMap<String, BTreeMap<&'static str, String>>,
    images: BTreeMap<(String, String), BTreeMap<&'static str, String>>,
}

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
                (Some(repo), Some(tag), _) => note(known.images.entry((repo, tag)).or_default()),
                (_, _, Some(name)) if object.contains_key("NewestImage") => note(known.repos.entry(name).or_default()),
                _ => {}
            }
            object.values().for_each(|value| walk(value, known));
        }
        _ => {}
    }
}

/// The key of an item of which some fields are shown; nothing if it cannot be known.
pub fn key(sort: &str, path: &[String], shown: impl Fn(&str) -> Option<String>) -> Option<String> {
    let of_repos = path.last().is_some_and(|name| name == "Repos")
        || matches!(path[0].as_str(), "RepoListWithNewestImage" | "StarredRepos" | "BookmarkedRepos");
    let wanted = match sort {
        "DOWNLOADS" => "DownloadCount",
        "UPDATE_TIME" if of_repos => return shown("Name"),
        "UPDATE_TIME" => "LastUpdated",
        "RELEVANCE" if of_repos => return shown("Rank").or_else(|| shown("Name")),
        _ => return Some(shown("Name").or_else(|| Some(format!("{}:{}", shown("RepoName")?, shown("Tag")?)))?),
    };
    if let Some(value) = shown(wanted) {
        return Some(value);
    }
    let known = KNOWN.get()?;
    let keys = if of_repos {
        known.repos.get(&shown("Name")?)?
    } else {
        known.images.get(&(shown("RepoName")?, shown("Tag")?))?
    };
    keys.get(wanted).cloned()
}
