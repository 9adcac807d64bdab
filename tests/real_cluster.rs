//! Tier 5: what `deploy/MIGRATE.md` says of zots in cluster mode is so, when `ONEZOT_ZOT` names a binary: with their hash
//! key and the order of their members, onezot finds everything, and both may be used at the same time.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
// What other tests use of what is shared.
#![allow(dead_code)]

#[path = "support/wire.rs"]
mod wire;
#[path = "support/zots.rs"]
mod zots;

use serde_json::{Value, json};
use std::collections::BTreeSet;
use wire::{config, gateway, nowhere};
use zots::{Call, Content, Zot};

const HASH_KEY: &str = "abcdefghijklmnop";

#[tokio::test(flavor = "multi_thread")]
async fn zots_in_cluster_mode_move_behind_onezot_and_nothing_moves() {
    let Some(binary) = zots::binary() else {
        println!("skipped: real zot: ONEZOT_ZOT names no binary");
        return;
    };
    let addresses = [nowhere().await, nowhere().await, nowhere().await];
    let members = addresses.map(|address| address.to_string());
    let mut nodes = Vec::new();
    for address in addresses {
        let cluster = json!({"members": members, "hashKey": HASH_KEY});
        nodes.push(Zot::start_at(&binary, address, |config| config["cluster"] = cluster).await);
    }
    let mut content = Content::recorded();
    for per_node in ["stars", "bookmarks"] {
        content.facts[per_node] = json!([]);
    }
    // Through one member, which passes on what is not its own.
    content.push(addresses[0]).await;
    let pushes = content.facts["pushes"].as_array().unwrap().clone();
    let name = |push: &Value| push["repository"].as_str().unwrap().to_owned();
    let repositories: BTreeSet<String> = pushes.iter().map(name).collect();

    let yaml = format!("placement: {{hash_key: {HASH_KEY}}}");
    let placed = config(&addresses, &yaml).fleet();
    for repository in &repositories {
        let holders: Vec<usize> =
            (0..3).filter(|node| nodes[*node].data().join(repository).join("index.json").is_file()).collect();
        assert_eq!(holders, [placed.owner(repository).node], "{repository}");
    }

    let running = gateway(&addresses, &yaml).await;
    let onezot = running.addresses[0];
    let got = Call::by(0, "GET", "/v2/_catalog").send(onezot).await;
    let listed: Value = serde_json::from_slice(&got.body).unwrap();
    let listed: BTreeSet<String> = serde_json::from_value(listed["repositories"].clone()).unwrap();
    assert_eq!(listed, repositories);
    for push in &pushes {
        let target = format!("/v2/{}/manifests/{}", name(push), push["reference"].as_str().unwrap());
        let user = usize::from(push["user"] != "alice");
        let (through, got) = (
            Call::by(user, "GET", &target).send(addresses[0]).await,
            Call::by(user, "GET", &target).send(onezot).await,
        );
        assert_eq!((got.status, got.body), (200, through.body), "{target}");
    }

    // What is pushed to either is at the other, in its place.
    let push = &pushes[0];
    let digest = push["digest"].as_str().unwrap();
    let media_type = content.facts["manifests"][digest]["mediaType"].as_str().unwrap();
    for (to, at, tag) in [(onezot, addresses[0], "by-onezot"), (addresses[0], onezot, "by-the-cluster")] {
        let target = format!("/v2/{}/manifests/{tag}", name(push));
        let got = Call::by(0, "PUT", &target).with(media_type, content.bytes(digest)).send(to).await;
        assert_eq!(got.status, 201, "{}", got.text());
        let got = Call::by(0, "GET", &target).send(at).await;
        assert_eq!((got.status, got.body), (200, content.bytes(digest)), "{target}");
    }
    running.stop().await;
}
