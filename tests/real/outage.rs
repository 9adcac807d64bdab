//! Nodes that die, and come back.

use super::catalog::repositories;
use super::clients::{crane_pull, text};
use super::fleet::{Fleet, NODES};
use super::image::{Image, MANIFEST, digest, random_bytes};
use super::programs::CRANE;
use super::wire::{Answer, Body, with_digest};
use std::io::Read;

const MIB: usize = 1 << 20;

fn check_unavailable(fleet: &Fleet, answer: &Answer, node: &str, has_body: bool) {
    assert_eq!(answer.status(), 502, "{:?} {}", answer.head, answer.text());
    fleet.check_no_node_is_named(answer);
    assert_eq!(answer.header("Content-Type"), Some("application/json"));
    if has_body {
        let (code, message) = answer.oci_error();
        assert_eq!(code, "UNAVAILABLE", "{message}");
        assert!(message.contains(&format!("node {node} ")), "{message} does not name {node}");
    }
}

#[test]
fn a_node_that_is_down_is_an_error_of_its_own_repositories_and_of_the_catalog() {
    let Some(mut fleet) = Fleet::start(&[CRANE]) else { return };
    let image = Image::new(7, &[10_000], "amd64");
    image.write(&fleet.path("layout"));
    let layout = text(&fleet.path("layout")).to_owned();
    let repositories_of: Vec<String> = (0..NODES.len()).map(|i| fleet.repository_on(i, &format!("on/{i}"))).collect();
    for repository in &repositories_of {
        fleet.crane.run(&["push", &layout, &fleet.image(&format!("{repository}:latest"))]);
    }
    let works = |fleet: &Fleet, repository: &str| {
        let pulled = fleet.path("pulled");
        crane_pull(fleet, repository, &pulled);
        image.check(&pulled);
        std::fs::remove_dir_all(&pulled).unwrap();
        fleet.crane.run(&["push", &layout, &fleet.image(&format!("{repository}:again"))]);
        assert_eq!(fleet.wire().get(&format!("/v2/{repository}/tags/list")).status(), 200);
    };
    let large = random_bytes(9, 8 * MIB);
    for (down, node) in NODES.into_iter().enumerate() {
        // The connections to the node and to the gateway have been used before.
        let mut wire = fleet.wire();
        assert_eq!(repositories(&wire.get("/v2/_catalog")).len(), NODES.len());
        fleet.registries[down].kill();
        for (index, repository) in repositories_of.iter().enumerate() {
            if index != down {
                works(&fleet, repository);
                continue;
            }
            let named = image.digest();
            for (method, path) in [
                ("GET", "manifests/latest".to_owned()),
                ("HEAD", "manifests/latest".to_owned()),
                ("GET", format!("manifests/{named}")),
                ("GET", "manifests/no-such-tag".to_owned()),
                ("GET", format!("blobs/{}", digest(b"no such blob"))),
                ("HEAD", format!("blobs/{named}")),
                ("GET", "tags/list".to_owned()),
                ("GET", format!("referrers/{named}")),
                ("POST", "blobs/uploads/".to_owned()),
                ("PUT", "manifests/new".to_owned()),
                ("DELETE", format!("manifests/{named}")),
            ] {
                let body = if method == "PUT" { Body::Bytes(image.bytes()) } else { Body::None };
                let headers: &[(&str, &str)] = if method == "PUT" { &[("Content-Type", MANIFEST)] } else { &[] };
                let answer = wire.call(method, &format!("/v2/{repository}/{path}"), headers, body);
                check_unavailable(&fleet, &answer, node, method != "HEAD");
            }
            // The node died after the session had begun: the client is told so, though it has much to send.
            for bytes in [&large[..100_000], &large[..]] {
                let session = format!("/v2/{repository}/blobs/uploads/d1f0");
                let answer = wire.call("PATCH", &session, &[], Body::Bytes(bytes));
                assert!(answer.took_all, "a client that goes on sending is cut off, and may miss the answer");
                check_unavailable(&fleet, &answer, node, true);
            }
            let complaint = fleet.crane.fails(&["digest", &fleet.image(repository)]);
            assert!(complaint.contains("502"), "{complaint}");
        }
        check_unavailable(&fleet, &wire.get("/v2/_catalog"), node, true);
        check_unavailable(&fleet, &wire.get("/v2/_catalog?n=1"), node, true);
        let complaint = fleet.crane.fails(&["catalog", &fleet.address.to_string()]);
        assert!(complaint.contains("502"), "{complaint}");
        // Which registry says that it speaks the protocol does not matter.
        assert_eq!(wire.get("/v2/").status(), 200);
        fleet.registries[down].restart();
        assert_eq!(repositories(&wire.get("/v2/_catalog")).len(), NODES.len());
        for repository in &repositories_of {
            works(&fleet, repository);
        }
    }
}

#[test]
fn a_pull_whose_node_dies_on_the_way_does_not_look_whole() {
    let Some(mut fleet) = Fleet::start(&[]) else { return };
    let repository = fleet.repository_on(2, "broken-off");
    let bytes = random_bytes(8, 64 * MIB);
    let mut wire = fleet.wire();
    let session = wire.start_upload(&repository);
    let stored = wire.call("PUT", &with_digest(&session, &digest(&bytes)), &[], Body::Bytes(&bytes));
    assert_eq!(stored.status(), 201, "{}", stored.text());
    let blob = format!("/v2/{repository}/blobs/{}", digest(&bytes));
    let mut reading = wire.start("GET", &blob, &[], Body::None).unwrap();
    assert_eq!(reading.head.status, 200);
    let mut some = vec![0; MIB];
    reading.read_exact(&mut some).unwrap();
    fleet.registries[2].kill();
    let mut rest = Vec::new();
    let ended = reading.read_to_end(&mut rest);
    assert!(ended.is_err() && rest.len() + MIB < bytes.len(), "the body looks whole: {ended:?}");
    assert!(some == bytes[..MIB] && rest == bytes[MIB..MIB + rest.len()], "what came has other bytes");
    fleet.registries[2].restart();
    let again = fleet.wire().get(&blob);
    assert!(again.status() == 200 && again.body == bytes, "{:?}", again.head);
}

#[test]
fn an_upload_whose_node_dies_on_the_way_is_refused() {
    let Some(mut fleet) = Fleet::start(&[]) else { return };
    let repository = fleet.repository_on(0, "cut-off");
    let mut wire = fleet.wire();
    let session = wire.start_upload(&repository);
    let (block, mut count) = (random_bytes(10, MIB), 0);
    let mut next = |piece: &mut Vec<u8>| {
        count += 1;
        match count {
            16 => fleet.registries[0].kill(),
            64 => return,
            _ => {}
        }
        piece.extend_from_slice(&block);
    };
    let answer = wire.call("PATCH", &session, &[], Body::Chunks(&mut next));
    assert!(answer.took_all, "the client is cut off, and may miss the answer");
    check_unavailable(&fleet, &answer, NODES[0], true);
    fleet.registries[0].restart();
    wire.start_upload(&repository);
}
