//! The catalog of the whole, over registries that page by themselves.

use super::fleet::{Fleet, NODES};
use super::image::{CONFIG, MANIFEST, digest};
use super::programs::{CRANE, is_long, say};
use super::wire::{Answer, Body, Wire, raw, with_digest};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

/// Pushes the smallest image there is: an empty config and no layer.
fn push_tiny(wire: &mut Wire, repository: &str) {
    let session = wire.start_upload(repository);
    let stored = wire.call("PUT", &with_digest(&session, &digest(b"{}")), &[], Body::Bytes(b"{}"));
    assert_eq!(stored.status(), 201, "{repository}: {}", stored.text());
    let config = json!({"mediaType": CONFIG, "digest": digest(b"{}"), "size": 2});
    let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": []}).to_string();
    let headers = [("Content-Type", MANIFEST)];
    let body = Body::Bytes(manifest.as_bytes());
    let tagged = wire.call("PUT", &format!("/v2/{repository}/manifests/v1"), &headers, body);
    assert_eq!(tagged.status(), 201, "{repository}: {}", tagged.text());
    assert_eq!(tagged.header("Docker-Content-Digest"), Some(digest(manifest.as_bytes()).as_str()));
}

/// The names in a catalog.
pub fn repositories(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.status(), 200, "{}", answer.text());
    let json = answer.json();
    let names = json["repositories"].as_array().unwrap_or_else(|| panic!("no catalog: {json}"));
    names.iter().map(|name| name.as_str().unwrap().to_owned()).collect()
}

/// Follows the `Link` of a catalog to its end.
fn pages(wire: &mut Wire, first: &str) -> Vec<Vec<String>> {
    let (mut pages, mut next) = (Vec::new(), Some(first.to_owned()));
    while let Some(target) = next {
        assert!(pages.len() < 10_000, "the catalog has no end");
        let answer = wire.get(&target);
        pages.push(repositories(&answer));
        next = answer.header("Link").map(|link| {
            let (target, parameters) = link.strip_prefix('<').unwrap().split_once('>').unwrap();
            assert_eq!(parameters, "; rel=\"next\"", "{link}");
            assert!(target.starts_with("/v2/_catalog?"), "{link}");
            target.to_owned()
        });
    }
    pages
}

#[test]
fn the_catalog_is_the_whole_of_registries_that_page_by_themselves() {
    let Some(fleet) = Fleet::start(&[CRANE]) else { return };
    // crane asks for pages of 1000.
    let (least, each) = if is_long() { (1100, 300) } else { (331, 101) };
    let patterns = ["app#", "app/#", "app.x/#", "app-x/y#", "team-#/api/v2", "team-#", "team_#/api", "z__#/a.b-c", "#"];
    let mut expected: Vec<String> = Vec::new();
    let (mut owners, mut placed) = (BTreeMap::new(), BTreeMap::new());
    let mut wire = fleet.wire();
    while expected.len() < least || placed.values().any(|&count| count < each) || placed.len() < NODES.len() {
        let number = expected.len();
        let repository = patterns[number % patterns.len()].replace('#', &(number / patterns.len()).to_string());
        push_tiny(&mut wire, &repository);
        let owner = fleet.owner(&repository);
        owners.insert(repository.clone(), owner);
        *placed.entry(owner).or_insert(0) += 1;
        expected.push(repository);
    }
    // zot lists a repository before what is under it, and that before its longer siblings.
    expected.sort_by(|a, b| a.split('/').cmp(b.split('/')));
    let plain: BTreeSet<&String> = expected.iter().collect();
    assert!(!plain.into_iter().eq(&expected), "plain order is the same: the names show nothing");

    let mut seen = BTreeMap::new();
    for (index, registry) in fleet.registries.iter().enumerate() {
        let own = pages(&mut registry.wire(), "/v2/_catalog");
        assert!(own.len() > 1 && own[0].len() == 100, "{} does not page by itself at 100", registry.name);
        own.into_iter().flatten().for_each(|repository| {
            assert_eq!(seen.insert(repository.clone(), index), None, "{repository} is on two nodes");
        });
    }
    assert_eq!(seen, owners, "where the repositories are");

    assert_eq!(pages(&mut wire, "/v2/_catalog"), [expected.clone()]);
    let by_seven = pages(&mut wire, "/v2/_catalog?n=7");
    let (last, full) = by_seven.split_last().unwrap();
    assert!(full.iter().all(|page| page.len() == 7) && last.len() < 7, "pages of another size");
    assert_eq!(by_seven.concat(), expected);
    assert_eq!(pages(&mut wire, "/v2/_catalog?n=100").concat(), expected);
    let crane = fleet.crane.run(&["catalog", &fleet.address.to_string()]);
    assert_eq!(crane.lines().collect::<Vec<_>>(), expected);
    let old = raw(fleet.address, "GET /v2/_catalog HTTP/1.0\r\n\r\n");
    let (_, body) = old.split_once("\r\n\r\n").unwrap();
    let listed: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(listed["repositories"], json!(expected), "a client of HTTP/1.0 sees something else");
    say(&format!("real registries: a catalog of {} repositories, {:?} on the nodes", expected.len(), placed));
}
