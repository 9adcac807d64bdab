//! A fleet is resized: another gateway over more or fewer nodes, and no node is touched.

use super::demo_replay::Set;
use super::scenarios::{alice, digest, pushed, text};
use super::wire;
use onezot::demo::{Content, Node};
use onezot::fleet::{Fallback, Placement, Strategy};
use onezot::server::Running;
use std::net::SocketAddr;

const SEARCHES: [&str; 5] = [
    "{RepoListWithNewestImage{Page{TotalCount} Results{Name Size LastUpdated DownloadCount NewestImage{Tag Digest}}}}",
    "{ImageList(repo:\"\"){Page{TotalCount} Results{RepoName Tag Digest Size Manifests{Digest Layers{Digest}}}}}",
    "{GlobalSearch(query:\"app\",requestedPage:{limit:7,offset:3,sortBy:ALPHABETIC_DSC}){Page{TotalCount ItemCount} Repos{Name Rank}}}",
    "{GlobalSearch(query:\"team-3/app:1\"){Images{RepoName Tag Digest}}}",
    "{ExpandedRepoInfo(repo:\"team-7/app\"){Summary{Name Size}} Image(image:\"team-9/app:2\"){Digest}}",
];

fn yaml(strategy: Strategy) -> String {
    match strategy {
        Strategy::Rendezvous => "placement: {strategy: rendezvous}\nlocate: search\n".to_owned(),
        Strategy::Hash | Strategy::Map => "locate: search\n".to_owned(),
    }
}

async fn gateway(nodes: &[&Node], strategy: Strategy) -> Running {
    let addresses: Vec<SocketAddr> = nodes.iter().map(|node| node.address()).collect();
    wire::gateway(&addresses, &yaml(strategy)).await
}

/// All that can be pulled and searched, in one text for each request.
async fn seen(to: SocketAddr, repositories: &[String]) -> Vec<String> {
    let mut seen = vec![text(to, "GET", "/v2/_catalog").await];
    for name in repositories {
        seen.push(text(to, "GET", &format!("/v2/{name}/tags/list")).await);
        for tag in ["1", "2"] {
            let manifest = text(to, "GET", &format!("/v2/{name}/manifests/{tag}")).await;
            assert!(manifest.starts_with("200"), "{name}:{tag}: {manifest}");
            let by_digest = digest(&manifest.as_bytes()[4..]);
            assert_eq!(text(to, "GET", &format!("/v2/{name}/manifests/{by_digest}")).await, manifest);
            let layer = digest(format!("layer {tag} of {name}").as_bytes());
            seen.push(text(to, "GET", &format!("/v2/{name}/blobs/{layer}")).await);
            seen.push(manifest);
        }
    }
    for search in SEARCHES {
        let body = serde_json::json!({"query": search}).to_string();
        let got = alice(to, "POST", "/v2/_zot/ext/search", body.as_bytes(), "application/json").await;
        seen.push(format!("{} {}", got.status, got.text()));
    }
    // Pulls count.
    let counts = regex::Regex::new("\"DownloadCount\":[0-9]+").unwrap();
    seen.iter().map(|text| counts.replace_all(text, "").into_owned()).collect()
}

async fn rehearse(strategy: Strategy) {
    let set = Set::read("");
    let mut nodes = Vec::new();
    for seed in 0..4 {
        nodes.push(set.node_that_holds(&Content::default(), seed, |_| false).await);
    }
    let nodes: Vec<&Node> = nodes.iter().collect();
    let repositories: Vec<String> = (0..60).map(|number| format!("team-{number}/app")).collect();
    let three = gateway(&nodes[..3], strategy).await;
    for name in &repositories {
        for tag in ["1", "2"] {
            pushed(three.addresses[0], name, tag, &format!("layer {tag} of {name}")).await;
        }
    }
    let before = seen(three.addresses[0], &repositories).await;

    let four = gateway(&nodes, strategy).await;
    let to = four.addresses[0];
    let after = seen(to, &repositories).await;
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(before, after);
    }
    let placement = Placement { strategy, fallback: Fallback::Hash, ..Placement::default() };
    let owner = |name: &str, count: usize| {
        let names: Vec<String> = (0..count).map(|index| format!("zot-{index}")).collect();
        placement.place(name, names.iter().map(String::as_str)).node
    };
    let moved = repositories.iter().filter(|name| owner(name, 3) != owner(name, 4)).count();
    assert!(moved > 5, "{moved}");

    // What is pushed lands where the repository is, and what is new with its owner.
    for name in &repositories {
        pushed(to, name, "3", &format!("layer 3 of {name}")).await;
        for (index, node) in nodes.iter().enumerate() {
            let there = text(node.address(), "GET", &format!("/v2/{name}/manifests/3")).await.starts_with("200");
            assert_eq!(there, index == owner(name, 3), "{name} on {index}");
        }
    }
    for number in 0..20 {
        let name = format!("new-{number}/app");
        pushed(to, &name, "1", "new").await;
        for (index, node) in nodes.iter().enumerate() {
            let there = text(node.address(), "GET", &format!("/v2/{name}/manifests/1")).await.starts_with("200");
            assert_eq!(there, index == owner(&name, 4), "{name} on {index}");
        }
    }
    // What is deleted stays deleted.
    for name in &repositories {
        assert!(text(to, "DELETE", &format!("/v2/{name}/manifests/2")).await.starts_with("202"));
        for at in [to, three.addresses[0], nodes[owner(name, 3)].address()] {
            assert!(text(at, "GET", &format!("/v2/{name}/manifests/2")).await.starts_with("404"), "{name}");
            let tags = text(at, "GET", &format!("/v2/{name}/tags/list")).await;
            assert!(tags.contains("[\"1\",\"3\"]"), "{tags}");
        }
    }
    // A gateway that knows other three: what is on these is there.
    let others = gateway(&nodes[1..], strategy).await;
    let there = repositories.iter().filter(|name| owner(name, 3) > 0);
    for name in there {
        let tags = text(others.addresses[0], "GET", &format!("/v2/{name}/tags/list")).await;
        assert!(tags.contains("[\"1\",\"3\"]"), "{tags}");
        let manifest = text(others.addresses[0], "GET", &format!("/v2/{name}/manifests/3")).await;
        assert!(manifest.starts_with("200"), "{manifest}");
    }
    for running in [three, four, others] {
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_with_the_hash_is_resized() {
    rehearse(Strategy::Hash).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_with_rendezvous_is_resized() {
    rehearse(Strategy::Rendezvous).await;
}
