//! Images pushed, pulled, copied, extended, listed and deleted by skopeo and crane.

use super::fleet::{Fleet, NODES};
use super::image::{Image, MANIFEST, digest, layer};
use super::programs::{CRANE, SKOPEO};
use super::wire::{Body, raw};
use std::collections::BTreeSet;
use std::path::Path;

pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// An image of three layers, 3 MiB in all.
fn image(seed: u64) -> Image {
    Image::new(seed, &[1000, 1 << 20, 2 << 20], "amd64")
}

/// An index of two images with a layer each, and one in common.
fn multi_arch(seed: u64) -> Image {
    Image::index(vec![Image::new(seed, &[5000, 70_000], "amd64"), Image::new(seed, &[5000, 300_000], "arm64")])
}

fn skopeo_push(fleet: &Fleet, layout: &Path, repository: &str) {
    let (from, to) = (format!("oci:{}:latest", text(layout)), format!("docker://{}:latest", fleet.image(repository)));
    fleet.skopeo.run(&["copy", "--all", "--preserve-digests", "--dest-tls-verify=false", &from, &to]);
}

fn skopeo_pull(fleet: &Fleet, repository: &str, layout: &Path) {
    let (from, to) = (format!("docker://{}:latest", fleet.image(repository)), format!("oci:{}:latest", text(layout)));
    fleet.skopeo.run(&["copy", "--all", "--preserve-digests", "--src-tls-verify=false", &from, &to]);
}

pub fn crane_pull(fleet: &Fleet, repository: &str, layout: &Path) {
    fleet.crane.run(&["pull", "--format=oci", &fleet.image(&format!("{repository}:latest")), text(layout)]);
}

/// Pulls with both clients and compares every byte.
fn check_pulls(fleet: &Fleet, repository: &str, image: &Image) {
    let folder = |client: &str| fleet.path(&format!("{client}-{}", repository.replace('/', "_")));
    skopeo_pull(fleet, repository, &folder("skopeo"));
    image.check(&folder("skopeo"));
    crane_pull(fleet, repository, &folder("crane"));
    image.check(&folder("crane"));
}

#[test]
fn images_pushed_by_either_client_come_back_byte_for_byte_to_both() {
    let Some(fleet) = Fleet::start(&[SKOPEO, CRANE]) else { return };
    let (single, several) = (image(1), multi_arch(2));
    let (single_layout, several_layout) = (fleet.path("single"), fleet.path("several"));
    single.write(&single_layout);
    several.write(&several_layout);
    for node in 0..NODES.len() {
        let name = |what: &str| fleet.repository_on(node, &format!("team-{node}/{what}"));
        for (image, layout, what) in [(&single, &single_layout, "single"), (&several, &several_layout, "several")] {
            let (by_skopeo, by_crane) = (name(&format!("skopeo/{what}")), name(&format!("crane/{what}")));
            skopeo_push(&fleet, layout, &by_skopeo);
            fleet.crane.run(&["push", text(layout), &fleet.image(&format!("{by_crane}:latest"))]);
            for repository in [&by_skopeo, &by_crane] {
                fleet.check_place(repository);
                check_pulls(&fleet, repository, image);
                // crane reads every layer, compressed and not, and compares it with the manifest and the config.
                fleet.crane.run(&["validate", "--remote", &fleet.image(repository)]);
                assert_eq!(fleet.crane.run(&["digest", &fleet.image(repository)]).trim(), image.digest());
                let source = format!("docker://{}", fleet.image(repository));
                let raw = fleet.skopeo.run(&["inspect", "--raw", "--tls-verify=false", &source]);
                assert!(raw.as_bytes() == image.bytes(), "skopeo sees another manifest: {raw}");
            }
        }
    }
}

#[test]
fn images_are_copied_between_repositories_of_different_nodes() {
    let Some(fleet) = Fleet::start(&[SKOPEO, CRANE]) else { return };
    let several = multi_arch(3);
    let layout = fleet.path("several");
    several.write(&layout);
    for from in 0..NODES.len() {
        let source = fleet.repository_on(from, &format!("from/{from}"));
        fleet.crane.run(&["push", text(&layout), &fleet.image(&format!("{source}:latest"))]);
        for to in 0..NODES.len() {
            // Both clients offer to mount the blobs from the source.
            let by_crane = fleet.repository_on(to, &format!("to/crane-{from}{to}"));
            fleet.crane.run(&["copy", &fleet.image(&source), &fleet.image(&format!("{by_crane}:latest"))]);
            let by_skopeo = fleet.repository_on(to, &format!("to/skopeo-{from}{to}"));
            let target = format!("docker://{}:latest", fleet.image(&by_skopeo));
            let flags = ["copy", "--all", "--preserve-digests", "--src-tls-verify=false", "--dest-tls-verify=false"];
            fleet.skopeo.run(&[&flags[..], &[&format!("docker://{}", fleet.image(&source)), &target]].concat());
            for repository in [&by_crane, &by_skopeo] {
                fleet.check_place(repository);
                check_pulls(&fleet, repository, &several);
            }
        }
    }
}

#[test]
fn a_layer_is_appended_to_an_image_on_another_node() {
    let Some(fleet) = Fleet::start(&[CRANE]) else { return };
    let base = image(4);
    base.write(&fleet.path("base"));
    let (added, plain) = layer(99, 200_000);
    std::fs::write(fleet.path("added.tar.gz"), &added).unwrap();
    let source = fleet.repository_on(0, "base");
    fleet.crane.run(&["push", text(&fleet.path("base")), &fleet.image(&source)]);
    for node in 0..NODES.len() {
        let target = fleet.repository_on(node, &format!("appended/{node}"));
        let (from, to) = (fleet.image(&source), fleet.image(&format!("{target}:more")));
        fleet.crane.run(&["append", "-b", &from, "-f", text(&fleet.path("added.tar.gz")), "-t", &to]);
        fleet.check_place(&target);
        fleet.crane.run(&["validate", "--remote", &to]);
        let manifest: serde_json::Value = serde_json::from_str(&fleet.crane.run(&["manifest", &to])).unwrap();
        let layers = manifest["layers"].as_array().unwrap();
        assert_eq!(layers.len(), 4, "{manifest}");
        assert_eq!(layers[3]["digest"], digest(&added), "{manifest}");
        let config: serde_json::Value = serde_json::from_str(&fleet.crane.run(&["config", &to])).unwrap();
        assert_eq!(config["rootfs"]["diff_ids"][3], plain, "{config}");
        let blob = fleet.wire().get(&format!("/v2/{target}/blobs/{}", digest(&added)));
        assert!(blob.status() == 200 && blob.body == added, "{:?}", blob.head);
    }
}

#[test]
fn tags_are_listed_and_images_deleted() {
    let Some(fleet) = Fleet::start(&[SKOPEO, CRANE]) else { return };
    let layouts: Vec<(Image, String)> = (0..2)
        .map(|i| {
            let image = Image::new(40 + i, &[3000], "amd64");
            image.write(&fleet.path(&format!("layout-{i}")));
            (image, text(&fleet.path(&format!("layout-{i}"))).to_owned())
        })
        .collect();
    for node in 0..NODES.len() {
        let repository = fleet.repository_on(node, &format!("tags/{node}"));
        let at = fleet.image(&repository);
        for (tag, layout) in [("1.0", 0), ("1.1", 1), ("Latest_", 1), ("2", 0)] {
            fleet.crane.run(&["push", &layouts[layout].1, &format!("{at}:{tag}")]);
        }
        let tags = || -> BTreeSet<String> { fleet.crane.run(&["ls", &at]).lines().map(str::to_owned).collect() };
        assert_eq!(tags(), ["1.0", "1.1", "2", "Latest_"].map(str::to_owned).into());
        let listed = fleet.skopeo.run(&["list-tags", "--tls-verify=false", &format!("docker://{at}")]);
        let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
        let listed = listed["Tags"].as_array().unwrap().iter().map(|tag| tag.as_str().unwrap().to_owned()).collect();
        assert_eq!(tags(), listed);

        // What is gone is gone at the gateway as at its node, and only that.
        let (first, second) = (layouts[0].0.digest(), layouts[1].0.digest());
        fleet.crane.run(&["delete", &format!("{at}@{first}")]);
        assert!(fleet.crane.fails(&["digest", &format!("{at}:1.0")]).contains("404"));
        assert_eq!(tags(), ["1.1", "Latest_"].map(str::to_owned).into());
        assert_eq!(fleet.crane.run(&["digest", &format!("{at}:1.1")]).trim(), second);
        let manifest = format!("/v2/{repository}/manifests/{first}");
        assert_eq!(fleet.wire().get(&manifest).oci_error().0, "MANIFEST_UNKNOWN");
        assert_eq!(fleet.registries[node].wire().get(&manifest).status(), 404);
        fleet.skopeo.run(&["delete", "--tls-verify=false", &format!("docker://{at}:Latest_")]);
        assert_eq!(fleet.wire().get(&format!("/v2/{repository}/manifests/{second}")).status(), 404);
        assert_eq!(tags(), BTreeSet::new());
    }
}

/// The registry sends its long list of tags in chunks, which HTTP/1.0 does not know.
#[test]
fn a_client_of_http_1_0_sees_where_an_answer_ends() {
    let Some(fleet) = Fleet::start(&[CRANE]) else { return };
    let image = Image::new(50, &[100], "amd64");
    image.write(&fleet.path("layout"));
    let repository = fleet.repository_on(1, "old");
    let at = fleet.image(&repository);
    fleet.crane.run(&["push", text(&fleet.path("layout")), &format!("{at}:latest")]);
    let tags: BTreeSet<String> = (0..60).map(|i| format!("{i}-{}", "long".repeat(20))).collect();
    let mut wire = fleet.wire();
    for tag in &tags {
        let target = format!("/v2/{repository}/manifests/{tag}");
        let stored = wire.call("PUT", &target, &[("Content-Type", MANIFEST)], Body::Bytes(image.bytes()));
        assert_eq!(stored.status(), 201, "{}", stored.text());
    }
    let target = format!("/v2/{repository}/tags/list");
    assert_eq!(wire.get(&target).header("Transfer-Encoding"), Some("chunked"), "the answer is too short for this test");
    for header in ["", "Connection: keep-alive\r\n"] {
        let answer = raw(fleet.address, &format!("GET {target} HTTP/1.0\r\n{header}\r\n"));
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.contains("Connection: close") && !head.contains("chunked"), "{head}");
        let listed: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(listed["tags"].as_array().unwrap().len(), tags.len() + 1);
    }
}
