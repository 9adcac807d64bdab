//! Sessions and API keys over three real zots, when `ONEZOT_ZOT` names a binary; and whether the embedded nodes do with them
//! what a real zot does.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
// What other tests use of what is shared.
#![allow(dead_code)]

#[path = "support/people.rs"]
mod people;
#[path = "support/wire.rs"]
mod wire;
#[path = "support/zots.rs"]
mod zots;

use onezot::demo::{Node, Setup};
use people::{Browser, UI, basic, key_file, sealed};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::Path;
use wire::Got;
use zots::{Content, Zot};

async fn with_keys(binary: &Path) -> Zot {
    Zot::start_with(binary, |config| config["http"]["auth"]["apikey"] = json!(true)).await
}

/// What of an answer must be alike.
fn told(got: &Got) -> String {
    let mask = |text: &str, pattern: &str, with: &str| {
        regex::Regex::new(pattern).unwrap().replace_all(text, with).into_owned()
    };
    let mut lines: Vec<String> = got
        .headers
        .iter()
        .filter(|(name, _)| {
            !["date", "connection", "transfer-encoding", "content-length"].contains(&&*name.to_ascii_lowercase())
        })
        .map(|(name, value)| format!("{}: {value}", name.to_ascii_lowercase()))
        .collect();
    lines.sort();
    let whole = format!("{} {lines:?} {}", got.status, String::from_utf8_lossy(&got.body));
    let whole = mask(&whole, "session=[^;]+", "session=SESSION");
    let whole = mask(&whole, "Expires=[A-Z][a-z]+, [0-9]+ [A-Z][a-z]+ 2[^;]*", "Expires=LATER");
    let whole = mask(&whole, "zak_[0-9a-f]{32}", "KEY");
    let whole = mask(&whole, "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "ID");
    mask(&whole, "20[0-9]{2}-[0-9-]+T[0-9:.]+Z", "TIME")
}

/// All that a client does with sessions and keys at one registry, and what is answered.
async fn walk(to: SocketAddr) -> Vec<(String, String)> {
    let mut seen = Vec::new();
    let mut note = |what: &str, got: &Got| seen.push((what.to_owned(), told(got)));
    let mut browser = Browser::default();
    note("nobody", &browser.get(&to, "/v2/").await);
    note("a wrong password", &browser.log_in(&to, "alice", "wrong").await);
    note("login", &browser.log_in(&to, "alice", "alice-pw").await);
    let first = browser.cookies["session"].clone();
    note("use", &browser.get(&to, "/v2/_catalog").await);
    note("preferences", &browser.send(&to, "PUT", "/v2/_zot/ext/userprefs?action=toggleStar&repo=nope", "").await);
    let mut other = browser.clone();
    note("another user", &other.log_in(&to, "bob", "bob-pw").await);
    note("the session is the same", &browser.get(&to, "/v2/lib/tags/list").await);
    assert_eq!(other.cookies["session"].len(), first.len());
    note("elsewhere", &Browser::default().with_password(&to, "/v2/_catalog", "alice", "alice-pw").await);
    let mut garbage = Browser::default();
    garbage.cookies.insert("session".to_owned(), "xx".to_owned());
    note("garbage", &garbage.get(&to, "/v2/_catalog").await);
    garbage.cookies.insert("session".to_owned(), "xx".to_owned());
    note("garbage at a repository", &garbage.get(&to, "/v2/lib/tags/list").await);
    for (what, body) in [
        ("a key", r#"{"label":"a<b","scopes":["x"]}"#),
        ("until", r#"{"label":"l","label":"m","LABEL":"n","expirationDate":"2099-01-01T00:00:00Z"}"#),
        ("past", r#"{"label":"l","expirationDate":"2009-01-01T00:00:00Z"}"#),
        ("no date", r#"{"label":"l","expirationDate":"soon"}"#),
        ("no label", r#"{"label":1}"#),
        ("null", "null"),
        ("a list", "[]"),
        ("nothing", ""),
    ] {
        note(what, &wire::send(to, people::posted("alice", "alice-pw", body)).await);
    }
    let made = people::create_key(&to, "alice", "alice-pw", "last").await;
    let (key, id) = (made["apiKey"].as_str().unwrap(), made["uuid"].as_str().unwrap());
    for (what, request) in [
        ("with a key", basic("GET", "/v2/_catalog", "alice", key, "")),
        ("with another's", basic("GET", "/v2/_catalog", "bob", key, "")),
        ("with nobody's", basic("GET", "/v2/_catalog", "alice", "zak_00000000000000000000000000000000", "")),
        ("a key begins no session", basic("GET", "/v2/", "alice", key, UI)),
        ("another's list", basic("GET", "/zot/auth/apikey", "bob", "bob-pw", "")),
        ("revoke another's", basic("DELETE", &format!("/zot/auth/apikey?id={id}"), "bob", "bob-pw", "")),
        ("it is still there", basic("GET", "/v2/_catalog", "alice", key, "")),
        ("revoke", basic("DELETE", &format!("/zot/auth/apikey?id={id}"), "alice", "alice-pw", "")),
        ("revoke again", basic("DELETE", &format!("/zot/auth/apikey?id={id}"), "alice", "alice-pw", "")),
        ("revoke nothing", basic("DELETE", "/zot/auth/apikey", "alice", "alice-pw", "")),
        ("revoke two", basic("DELETE", "/zot/auth/apikey?id=1&id=2", "alice", "alice-pw", "")),
        ("with a key that is gone", basic("GET", "/v2/_catalog", "alice", key, "")),
        ("another method", basic("PUT", "/zot/auth/apikey", "alice", "alice-pw", "")),
        ("what else begins so", basic("DELETE", "/zot/auth/apikeyx?id=1", "alice", "alice-pw", "")),
    ] {
        note(what, &wire::send(to, request).await);
    }
    note("nobody's list", &wire::get(to, "/zot/auth/apikey").await);
    note("management", &wire::get(to, "/v2/_zot/ext/mgmt").await);
    let mut left = people::keys(&to, "alice", "alice-pw").await;
    left.sort_by_key(|key| key["createdAt"].as_str().unwrap().to_owned());
    let labels: Vec<&Value> = left.iter().map(|key| &key["label"]).collect();
    seen.push(("left".to_owned(), format!("{labels:?}")));
    let mut note = |what: &str, got: &Got| seen.push((what.to_owned(), told(got)));
    note("options", &wire::send(to, "OPTIONS /zot/auth/apikey HTTP/1.1\r\nHost: r\r\nConnection: close\r\n\r\n").await);
    let stolen = browser.clone();
    note("logout", &browser.send(&to, "POST", "/zot/auth/logout", "").await);
    note("logout of nobody", &browser.send(&to, "POST", "/zot/auth/logout", "").await);
    note("after logout", &stolen.clone().get(&to, "/v2/lib/tags/list").await);
    note("logout again", &stolen.clone().send(&to, "POST", "/zot/auth/logout", "").await);
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn embedded_nodes_and_gateways_do_what_a_zot_does() {
    let Some(binary) = zots::binary() else {
        println!("ONEZOT_ZOT names no zot: the embedded nodes are not compared");
        return;
    };
    let zot = with_keys(&binary).await;
    let mut settings: Value =
        serde_json::from_str(&std::fs::read_to_string("tests/golden/http-config.json").unwrap()).unwrap();
    settings["http"]["auth"]["apikey"] = json!(true);
    let setup =
        Setup { settings: serde_json::from_value(settings).unwrap(), users: people::users(), ..Setup::default() };
    let node = Node::start(setup).await.unwrap();
    let real = walk(zot.address).await;
    let embedded = walk(node.address()).await;
    for (real, embedded) in real.iter().zip(&embedded) {
        // It has the web UI, and other headers where nothing is.
        assert_eq!(real, embedded);
    }
    assert_eq!(real.len(), embedded.len());
    // Three of them behind a gateway.
    let zots = [with_keys(&binary).await, with_keys(&binary).await, with_keys(&binary).await];
    let key = key_file("walk");
    let gateway = wire::gateway(&zots.each_ref().map(|zot| zot.address), &sealed(&[&key])).await;
    let whole = walk(gateway.addresses[0]).await;
    let sealed_key = regex::Regex::new("zak_oz1_[A-Za-z0-9_-]+").unwrap();
    for (one, whole) in real.iter().zip(&whole) {
        let (what, text) = whole;
        let text = sealed_key.replace_all(text, "KEY").into_owned();
        assert_eq!(*one, (what.clone(), text));
    }
    println!("{} steps are alike at a zot, an embedded node, and three zots behind a gateway", real.len());
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn people_and_machines_are_known_at_three_zots() {
    let Some(binary) = zots::binary() else {
        println!("ONEZOT_ZOT names no zot: nobody logs in");
        return;
    };
    let mut zots = vec![with_keys(&binary).await, with_keys(&binary).await];
    // One that keeps its sessions over a restart.
    let keys = key_file(r#"{"hashKey": "0123456789abcdef0123456789abcdef", "encryptKey": "0123456789abcdef"}"#);
    std::fs::write(&keys, r#"{"hashKey": "0123456789abcdef0123456789abcdef", "encryptKey": "0123456789abcdef"}"#)
        .unwrap();
    let keys = std::fs::rename(&keys, format!("{keys}.json")).map(|()| format!("{keys}.json")).unwrap();
    zots.push(
        Zot::start_with(&binary, |config| {
            config["http"]["auth"]["apikey"] = json!(true);
            config["http"]["auth"]["sessionKeysFile"] = json!(keys);
        })
        .await,
    );
    let addresses: Vec<SocketAddr> = zots.iter().map(|zot| zot.address).collect();
    let key = key_file("real");
    let gateways = [
        wire::gateway(&addresses, &sealed(&[&key])).await,
        wire::gateway(&addresses, &sealed(&[&key_file("newer"), &key])).await,
    ];
    let content = Content::recorded();
    content.push(gateways[0].addresses[0]).await;
    let mut browser = Browser::default();
    assert_eq!(browser.log_in(&gateways[0], "alice", "alice-pw").await.status, 200);
    println!("the session of three zots has {} bytes", browser.cookies["session"].len());
    let whole = |got: &Got| -> Vec<String> {
        assert_eq!(got.status, 200, "{}", got.text());
        let body: Value = serde_json::from_slice(&got.body).unwrap();
        body["repositories"].as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect()
    };
    let everything =
        whole(&wire::send(gateways[0].addresses[0], basic("GET", "/v2/_catalog", "alice", "alice-pw", "")).await);
    let made = people::create_key(&gateways[0], "alice", "alice-pw", "ci").await;
    println!("the key of three zots has {} bytes", made["apiKey"].as_str().unwrap().len());
    for gateway in &gateways {
        assert_eq!(whole(&browser.get(gateway, "/v2/_catalog").await), everything);
        assert_eq!(whole(&people::with_key(gateway, "/v2/_catalog", "alice", &made).await), everything);
        for name in &everything {
            let target = format!("/v2/{name}/tags/list");
            assert_eq!(browser.get(gateway, &target).await.status, 200, "{name}");
            assert_eq!(people::with_key(gateway, &target, "alice", &made).await.status, 200, "{name}");
        }
        let query = "/v2/_zot/ext/search?query={StarredRepos{Results{Name,IsStarred}}}";
        let starred: Value = serde_json::from_slice(&browser.get(gateway, query).await.body).unwrap();
        assert!(!starred["data"]["StarredRepos"]["Results"].as_array().unwrap().is_empty(), "{starred}");
    }
    // One that keeps its sessions, and one that does not. API keys are kept by all.
    zots[2].restart(&binary).await;
    assert_eq!(whole(&browser.get(&gateways[1], "/v2/_catalog").await), everything);
    zots[1].restart(&binary).await;
    let got = browser.get(&gateways[0], "/v2/_catalog").await;
    assert_eq!(got.status, 502, "{}", got.text());
    assert!(got.text().contains("node zot-1 answered 401") && browser.cookies.contains_key("session"));
    assert_eq!(whole(&people::with_key(&gateways[0], "/v2/_catalog", "alice", &made).await), everything);
    // One that is down when she logs in.
    zots[0].stop();
    let got = browser.log_in(&gateways[0], "alice", "alice-pw").await;
    assert!(got.status == 200 && got.header("warning").unwrap().contains("zot-0"), "{got:?}");
    let got = wire::send(gateways[0].addresses[0], people::posted("alice", "alice-pw", "{}")).await;
    assert_eq!(got.status, 502, "{}", got.text());
    zots[0].restart(&binary).await;
    for address in &addresses {
        assert_eq!(
            people::keys(address, "alice", "alice-pw").await.len(),
            1,
            "nothing is left of the key that was not made"
        );
    }
    assert_eq!(browser.log_in(&gateways[1], "alice", "alice-pw").await.status, 200);
    assert_eq!(whole(&browser.get(&gateways[1], "/v2/_catalog").await), everything);
    let listed = people::keys(&gateways[1], "alice", "alice-pw").await;
    assert_eq!((listed.len(), &listed[0]["label"]), (1, &json!("ci")));
    let target = format!("/zot/auth/apikey?id={}", listed[0]["uuid"].as_str().unwrap());
    assert_eq!(browser.send(&gateways[1], "DELETE", &target, "").await.status, 200);
    assert_eq!(people::with_key(&gateways[0], "/v2/_catalog", "alice", &made).await.status, 401);
    // A session that has been logged out is known nowhere.
    let stolen = browser.clone();
    assert_eq!(browser.send(&gateways[1], "POST", "/zot/auth/logout", "").await.status, 200);
    for name in &everything {
        let got = stolen.clone().get(&gateways[1], &format!("/v2/{name}/tags/list")).await;
        let is_public = ["public/", "lang/"].iter().any(|prefix| name.starts_with(prefix));
        assert_eq!(got.status, if is_public { 200 } else { 401 }, "{name}");
    }
    for gateway in gateways {
        gateway.stop().await;
    }
}
