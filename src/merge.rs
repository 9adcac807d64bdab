//! Merging what the nodes answered into what one zot would have answered. Pure.

use std::cmp::Ordering;

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
