//! Tier 5: keys and certificates that are uploaded through onezot reach every real zot behind it, when `ONEZOT_ZOT` names a
//! binary.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
// What other tests use of what is shared.
#![allow(dead_code)]

#[path = "support/wire.rs"]
mod wire;
#[path = "support/zots.rs"]
mod zots;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::path::Path;
use wire::{Got, gateway, nowhere};
use zots::{Call, Zot};

/// A public key and a certificate, made for this test; nobody has the private ones.
const KEY: &str = "\
-----BEGIN PUBLIC KEY-----\n\
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEsb6TabMhTRGtXEvt5/mNlZiAVLUy\n\
6TN9OsYvzu4pNI9uziZOyfPB7lC4kPJyhddioO/QGfg6rvkNp8PajfPrkQ==\n\
-----END PUBLIC KEY-----\n\
";
const CERTIFICATE: &str = "\
-----BEGIN CERTIFICATE-----\n\
MIIBdTCCARugAwIBAgIUKD1G660iknMNg8tMYafEqxZxNh0wCgYIKoZIzj0EAwIw\n\
DzENMAsGA1UEAwwEdGVzdDAgFw0yNjExMjUxMDQ0MjVaGA8yMTI2MTEwMTEwNDQy\n\
NVowDzENMAsGA1UEAwwEdGVzdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABGh+\n\
pCBPI5kH2REZm7WrzRrrmiEqlDKsKuM0zBJkzXRfwrxQy8o9IELx2x0IJQ+ENq00\n\
NTyTKaQnFvOTV3qSkcGjUzBRMB0GA1UdDgQWBBQroHP8hFF7Y9RPudtydzp7m33O\n\
LDAfBgNVHSMEGDAWgBQroHP8hFF7Y9RPudtydzp7m33OLDAPBgNVHRMBAf8EBTAD\n\
AQH/MAoGCCqGSM49BAMCA0gAMEUCIQDayUrVaE4ExQ9GtB66GAF+1FC7UdgnyiHT\n\
VhlWdHXtNgIgVD11ii9wDghbC17eMXhS6jXi0XrP+A9XhxuM6XjmWhE=\n\
-----END CERTIFICATE-----\n\
";

async fn zot(binary: &Path) -> Zot {
    Zot::start_with(binary, |config| {
        config["extensions"]["trust"] = json!({"enable": true, "cosign": true, "notation": true});
        config["http"]["accessControl"]["adminPolicy"] = json!({"users": ["alice"], "actions": ["read", "create"]});
    })
    .await
}

fn shown(got: &Got) -> (u16, Vec<String>, String) {
    let free = ["date", "connection", "content-length"];
    let lines = got.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value));
    let lines = lines.filter(|(name, _)| !free.contains(&name.as_str()));
    let mut lines: Vec<String> = lines.map(|(name, value)| format!("{name}: {value}")).collect();
    lines.sort();
    (got.status, lines, got.text().to_owned())
}

/// Whether a zot has stored a key or a certificate.
fn has(zot: &Zot, target: &str, text: &str) -> bool {
    let digest =
        Sha256::digest(text.as_bytes()).iter().fold("sha256:".to_owned(), |hex, byte| hex + &format!("{byte:02x}"));
    let folder = if target.contains("cosign") { "_cosign" } else { "_notation/truststore/x509/ca/default" };
    let file = zot.data().join(folder).join(digest);
    std::fs::read_to_string(file).is_ok_and(|stored| stored == text)
}

#[tokio::test(flavor = "multi_thread")]
async fn trust_uploads_reach_every_zot() {
    let Some(binary) = zots::binary() else {
        println!("skipped: real zot: ONEZOT_ZOT names no binary");
        return;
    };
    let (one, nodes) = (zot(&binary).await, [zot(&binary).await, zot(&binary).await]);
    let running = gateway(&[nodes[0].address, nodes[1].address], "").await;
    let torn = gateway(&[nodes[0].address, nowhere().await], "").await;
    for (target, text) in [
        ("/v2/_zot/ext/cosign", KEY),
        ("/v2/_zot/ext/notation?truststoreType=ca", CERTIFICATE),
        ("/v2/_zot/ext/notation", CERTIFICATE),
    ] {
        let upload = |user: usize, body: &str| Call::by(user, "POST", target).with("application/octet-stream", body);
        // Bob is no admin, and a third user nobody.
        for (user, body) in [(0, "junk"), (0, ""), (1, text), (2, text)] {
            let call = upload(user, body);
            let (expected, got) = (call.send(one.address).await, call.send(running.addresses[0]).await);
            assert!(expected.status >= 400);
            assert_eq!(shown(&got), shown(&expected), "{target} {user} {body}");
        }
        let call = upload(0, text);
        let got = call.send(torn.addresses[0]).await;
        let detail = &serde_json::from_slice::<Value>(&got.body).unwrap()["errors"][0]["detail"];
        assert_eq!((got.status, detail), (502, &json!({"nodes": ["zot-1"], "accepted": ["zot-0"]})), "{}", got.text());
        assert!(has(&nodes[0], target, text));
        // The same upload again: to one that has it and one that lacks it; and to two that have it.
        for _ in 0..2 {
            let (expected, got) = (call.send(one.address).await, call.send(running.addresses[0]).await);
            assert_eq!(expected.status, 200);
            assert_eq!(shown(&got), shown(&expected), "{target}");
            assert!(nodes.iter().chain([&one]).all(|zot| has(zot, target, text)), "{target}");
        }
    }
    torn.stop().await;
    running.stop().await;
}
