//! Merging what the nodes answered into what one zot would have answered. Pure.

use crate::items::Members;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::HashSet;

/// zot's order of a catalog: a walk through its directories, so paths compare component by component and `lib/core`
/// comes before `lib.x` (zot `pkg/storage/imagestore/imagestore.go`, `GetNextRepositories`).
pub fn directory_order(a: &str, b: &str) -> Ordering {
    a.split('/').cmp(b.split('/'))
}

/// The union of the nodes' repositories, each once, in [`directory_order`].
pub fn catalogs(nodes: impl IntoIterator<Item = Vec<String>>) -> Vec<String> {
    let mut all: Vec<String> = nodes.into_iter().flatten().collect();
    // Each node's part is sorted already, and a stable sort finds the runs.
    all.sort_by(|a, b| directory_order(a, b));
    all.dedup();
    all
}

/// The union of the tags that several nodes have of a repository, each once, in the order of their bytes (zot
/// `pkg/api/routes.go`, `ListTags`).
pub fn tags(nodes: impl IntoIterator<Item = Vec<String>>) -> Vec<String> {
    let mut all: Vec<String> = nodes.into_iter().flatten().collect();
    all.sort();
    all.dedup();
    all
}

/// The union of what several nodes have of referrers: the first index with the descriptors of all, each digest once.
///
/// # Errors
///
/// The place of the one that is no index, and why.
pub fn referrers(nodes: &[&[u8]]) -> Result<String, (usize, serde_json::Error)> {
    #[derive(serde::Deserialize)]
    struct Descriptor<'a> {
        #[serde(borrow)]
        digest: Cow<'a, str>,
    }
    let (mut seen, mut all, mut members) = (HashSet::new(), Vec::new(), Vec::new());
    for (at, body) in nodes.iter().enumerate() {
        let bad = |error| (at, error);
        let Members(index) = serde_json::from_slice(body).map_err(bad)?;
        let listed = index.iter().find(|(name, _)| name == "manifests").map_or("null", |(_, listed)| listed.get());
        let listed: Option<Vec<&RawValue>> = serde_json::from_str(listed).map_err(bad)?;
        for raw in listed.unwrap_or_default() {
            let Descriptor { digest } = serde_json::from_str(raw.get()).map_err(bad)?;
            if seen.insert(digest.into_owned()) {
                all.push(raw.get());
            }
        }
        if at == 0 {
            members = index;
        }
    }
    let all = format!("[{}]", all.join(","));
    let members = members.iter().map(|(name, raw)| {
        format!("{}:{}", serde_json::Value::from(&**name), if name == "manifests" { &all } else { raw.get() })
    });
    Ok(format!("{{{}}}", members.collect::<Vec<_>>().join(",")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_recorded_order() {
        let recorded = [
            "alpine",
            "alpine/edge",
            "alpine-extra",
            "data/etl-job",
            "infra/base/alpine",
            "infra/base/debian",
            "infra/base-tools",
            "lib",
            "lib/core",
            "lib.x",
            "library/busybox",
            "team-a/api",
            "team-a/app",
            "team-a/app/sidecar",
            "team-a-x/app",
        ];
        let mut shuffled = recorded;
        shuffled.sort_unstable();
        assert_ne!(shuffled, recorded, "plain string order is another one");
        assert_eq!(catalogs([shuffled.map(str::to_owned).to_vec()]), recorded);
    }

    #[test]
    fn tags_and_referrers_are_there_once() {
        let tags =
            super::tags([&["LATEST", "a"][..], &["1", "a"]].map(|tags| tags.iter().map(ToString::to_string).collect()));
        assert_eq!(tags, ["1", "LATEST", "a"]);
        let index = |listed: &str| format!(r#"{{"schemaVersion":2,"manifests":{listed},"mediaType":"x"}}"#);
        let [one, two, none] = [r#"[{"digest":"a","n":1.0}]"#, r#"[{"digest":"b"},{"digest":"a"}]"#, "null"].map(index);
        let joined = referrers(&[one.as_bytes(), two.as_bytes(), none.as_bytes()]).unwrap();
        assert_eq!(joined, index(r#"[{"digest":"a","n":1.0},{"digest":"b"}]"#));
        assert_eq!(referrers(&[one.as_bytes(), b"[]"]).unwrap_err().0, 1);
    }

    proptest! {
        #[test]
        fn any_split_of_a_list_merges_to_the_list(
            names in prop::collection::btree_set("[a-c]{1,2}([./-][a-c]{1,2}){0,3}", 0..40),
            places in prop::collection::vec(0..5usize, 40),
            copies in prop::collection::vec(any::<bool>(), 40),
        ) {
            let mut whole: Vec<String> = names.into_iter().collect();
            whole.sort_by(|a, b| directory_order(a, b));
            let mut parts = vec![Vec::new(); 5];
            for (i, name) in whole.iter().enumerate() {
                parts[places[i]].push(name.clone());
                if copies[i] {
                    parts[(places[i] + 1) % 5].push(name.clone());
                }
            }
            prop_assert_eq!(catalogs(parts), whole);
        }
    }
}
