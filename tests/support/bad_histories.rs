//! Images whose configurations tell of more layers than there are: a zot says so beside the data of whatever list they
//! are in, on the page or not (zot `pkg/extensions/search/convert/metadb.go`).

use super::beside::Case;
use super::zots::Call;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::net::SocketAddr;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const REPOSITORIES: [&str; 7] = ["hist/a", "hist/b", "hist/c", "hist/d", "hist/e", "hist/f", "hist/g"];

pub fn digest(text: &str) -> String {
    let hash = Sha256::digest(text.as_bytes());
    hash.iter().fold("sha256:".to_owned(), |hex, byte| hex + &format!("{byte:02x}"))
}

fn descriptor(media_type: &str, text: &str) -> Value {
    json!({"mediaType": media_type, "digest": digest(text), "size": text.len()})
}

/// An image with these layers and so many steps in its history.
fn image(layers: &[&str], steps: usize, os: &str) -> (String, String) {
    let history = vec![json!({"created": "2024-01-02T03:04:05Z", "created_by": "x"}); steps];
    let config = json!({"architecture": "amd64", "os": os, "created": "2024-01-02T03:04:05Z", "history": history,
                        "config": {}, "rootfs": {"type": "layers", "diff_ids": []}});
    let config = config.to_string();
    let layers: Vec<Value> =
        layers.iter().map(|layer| descriptor("application/vnd.oci.image.layer.v1.tar", layer)).collect();
    let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "layers": layers,
                          "config": descriptor("application/vnd.oci.image.config.v1+json", &config)});
    (config, manifest.to_string())
}

async fn accepted(call: Call, to: SocketAddr) {
    let got = call.send(to).await;
    assert!(matches!(got.status, 200 | 201), "{} {}: {} {}", call.method, call.target, got.status, got.text());
}

/// Pushes them, and stars some.
pub async fn push(to: SocketAddr) {
    let put = |name: &str, reference: &str, media_type: &str, text: &str| {
        let call = Call::by(0, "PUT", format!("/v2/{name}/manifests/{reference}")).with(media_type, text);
        accepted(call, to)
    };
    let blob = |name: &str, text: &str| {
        let call = Call::by(0, "POST", format!("/v2/{name}/blobs/uploads/?digest={}", digest(text)));
        accepted(call.with("application/octet-stream", text), to)
    };
    for (number, name) in REPOSITORIES.into_iter().enumerate() {
        let own = format!("layer of {name}");
        let images = [
            ("base", image(&["first layer"], 1 + number % 2, "linux")),
            ("bad", image(&["first layer", &own], 3, "linux")),
            ("worse", image(&["first layer", &own, "last layer"], 4, "plan9")),
            ("good", image(&["first layer", &own], 2, "linux")),
            // It has the layer, and is no relation of those that begin with it.
            ("other", image(&[&own, "first layer"], 3, "linux")),
        ];
        for layer in ["first layer", &own, "last layer"] {
            blob(name, layer).await;
        }
        for (tag, (config, manifest)) in &images {
            blob(name, config).await;
            put(name, tag, MANIFEST, manifest).await;
        }
        let parts: Vec<Value> =
            [&images[1], &images[4], &images[3]].iter().map(|(_, (_, text))| descriptor(MANIFEST, text)).collect();
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": parts}).to_string();
        put(name, "index", INDEX, &index).await;
        if number % 2 == 0 {
            for action in ["toggleStar", "toggleBookmark"] {
                accepted(Call::by(0, "PUT", format!("/v2/_zot/ext/userprefs?action={action}&repo={name}")), to).await;
            }
        }
    }
}

/// Documents that tell of them.
pub fn cases() -> Vec<Case> {
    let first = digest("first layer");
    let images = "{Page{TotalCount ItemCount} Results{RepoName Tag}}";
    let repositories = "{Page{TotalCount ItemCount} Results{Name}}";
    let mut fields = Vec::new();
    for page in ["limit:2", "limit:3 offset:4", "offset:1000 limit:1", "limit:1000"] {
        let page = format!("requestedPage:{{{page} sortBy:ALPHABETIC_ASC}}");
        fields.extend([
            format!("ImageList(repo:\"\" {page}){images}"),
            format!("ImageList(repo:\"hist/a\" {page}){images}"),
            format!("ImageListForDigest(id:\"{first}\" {page}){images}"),
            format!("ImageListForDigest(id:\"nope\" {page}){images}"),
            format!("RepoListWithNewestImage({page}){repositories}"),
            format!("RepoListWithNewestImage({page}){{Results{{Name NewestImage{{Tag}}}}}}"),
            format!("StarredRepos({page}){repositories}"),
            format!("BookmarkedRepos({page}){repositories}"),
            format!("GlobalSearch(query:\"hist\" {page}){{Page{{TotalCount}} Repos{{Name}}}}"),
            format!("GlobalSearch(query:\"\" {page}){{Page{{TotalCount}} Repos{{Name}}}}"),
            format!("GlobalSearch(query:\"hist\" filter:{{Os:[\"plan9\"]}} {page}){{Page{{TotalCount}} Repos{{Name}}}}"),
            format!("GlobalSearch(query:\":b\" {page}){{Page{{TotalCount}} Images{{RepoName Tag}}}}"),
            format!("GlobalSearch(query:\":b\" filter:{{Os:[\"plan9\"]}} {page}){{Page{{TotalCount}} Images{{RepoName Tag}}}}"),
            format!("GlobalSearch(query:\"{first}\" {page}){{Page{{TotalCount}} Images{{RepoName Tag}}}}"),
            format!("GlobalSearch(query:\"hist/a:\" {page}){{Page{{TotalCount}} Images{{RepoName Tag}}}}"),
        ]);
        for tag in ["base", "bad", "worse", "good", "other", "index"] {
            fields.push(format!("DerivedImageList(image:\"hist/b:{tag}\" {page}){images}"));
            fields.push(format!("BaseImageList(image:\"hist/a:{tag}\" {page}){images}"));
        }
        let (_, bad) = image(&["first layer"], 2, "linux");
        fields.push(format!("DerivedImageList(image:\"hist/a:base\" digest:\"{}\" {page}){images}", digest(&bad)));
        fields.push(format!(
            "DerivedImageList(image:\"hist/a:base\" {page}){{Results{{RepoName Tag Manifests{{Digest}}}}}}"
        ));
    }
    fields.push("ImageList(repo:\"\"){Page{TotalCount}}".to_owned());
    fields.push("Image(image:\"hist/a:bad\"){Tag}".to_owned());
    fields.push("ExpandedRepoInfo(repo:\"hist/a\"){Summary{Name}}".to_owned());
    let mut cases = Vec::new();
    for (number, field) in fields.iter().enumerate() {
        let other = &fields[(number * 7 + 3) % fields.len()];
        for (name, document) in [
            ("", format!("{{{field}}}")),
            (" beside another", format!("{{x:{field}\n  y : {other}}}")),
            (" in a fragment", format!("query{{__typename ...F}} fragment F on Query{{\n\tz:{field}}}")),
        ] {
            for user in [0, 1] {
                let call = Call::by(user, "POST", "/v2/_zot/ext/search")
                    .with("application/json", json!({"query": document}).to_string());
                cases.push(Case { name: format!("history{name} by {user}: {field}"), call });
            }
        }
    }
    cases
}
