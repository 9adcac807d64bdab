//! Nodes of other versions than this gateway knows, and of several versions: what is new passes, is refused, or is one
//! node's failure, but never silently one node's part.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
// What other tests use of what is shared.
#![allow(dead_code)]

#[path = "support/stub.rs"]
mod stub;
#[path = "support/wire.rs"]
mod wire;

use onezot::explain::explain;
use onezot::fleet::Placement;
use onezot::server::{self, Running};
use serde_json::{Value, json};
use std::net::SocketAddr;
use stub::{Stub, reply};
use wire::{Got, config, get, send};

const LIST: &str = "RepoListWithNewestImage(requestedPage:{limit:9 sortBy:ALPHABETIC_ASC} newArgument:7)";

/// A node whose schema lacks some words. It has one repository, named like itself.
async fn node(name: &'static str, lacks: &'static [&'static str]) -> Stub {
    Stub::new(move |seen| {
        let request: Value = serde_json::from_slice(&seen.body).unwrap();
        let text = request["query"].as_str().unwrap();
        let invalid = |message: String| reply(422, json!({"errors": [{"message": message}], "data": null}).to_string());
        if let Some(word) = lacks.iter().find(|word| text.contains(*word)) {
            return invalid(format!("Cannot query field \"{word}\"."));
        }
        if request["operationName"] == "_oz_validate" {
            return invalid("operation _oz_validate not found".to_owned());
        }
        let mut data = serde_json::Map::new();
        for (word, value) in [
            ("RepoListWithNewestImage", json!({"Results": [{"_oz_Name": name, "Name": name, "Newer": {"by": name}}]})),
            ("BrandNew", json!({"from": name})),
            ("Image(", json!({"Newer": name})),
        ] {
            if text.contains(word) {
                data.insert(word.trim_end_matches('(').to_owned(), value);
            }
        }
        reply(200, json!({"data": data}).to_string())
    })
    .await
}

async fn gateway(nodes: &[&Stub], yaml: &str) -> Running {
    let addresses: Vec<SocketAddr> = nodes.iter().map(|node| node.address).collect();
    server::start(config(&addresses, &format!("admin: 127.0.0.1:0\nlocate: owner\n{yaml}"))).await.unwrap()
}

async fn ask(running: &Running, document: &str) -> Got {
    let body = json!({"query": document}).to_string();
    let length = body.len();
    let head =
        "POST /v2/_zot/ext/search HTTP/1.1\r\nHost: r\r\nContent-Type: application/json\r\nConnection: close\r\n";
    send(running.addresses[0], format!("{head}Content-Length: {length}\r\n\r\n{body}")).await
}

fn json_of(got: &Got) -> Value {
    serde_json::from_slice(&got.body).unwrap()
}

/// What a node was asked, without validations.
fn asked(node: &Stub) -> Vec<String> {
    let bodies = node.seen().into_iter().map(|seen| serde_json::from_slice::<Value>(&seen.body).unwrap());
    let asked = bodies.filter(|body| body["operationName"] != "_oz_validate");
    asked.map(|body| body["query"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn members_and_arguments_that_are_new_pass() {
    let (a, b) = (node("a", &[]).await, node("b", &[]).await);
    let running = gateway(&[&a, &b], "").await;
    let got = ask(&running, &format!("{{{LIST}{{Results{{Name Newer(how:WELL){{by}}}}}}}}")).await;
    assert_eq!(got.status, 200, "{}", got.text());
    let results = json!([{"Name": "a", "Newer": {"by": "a"}}, {"Name": "b", "Newer": {"by": "b"}}]);
    assert_eq!(json_of(&got)["data"]["RepoListWithNewestImage"]["Results"], results);
    for node in [&a, &b] {
        let text = asked(node).remove(0);
        assert!(text.contains("newArgument:7") && text.contains("Newer(how:WELL )"), "{text}");
        assert!(!text.contains("requestedPage"), "{text}");
    }
    running.stop().await;
}

#[tokio::test]
async fn a_query_that_is_new_is_refused_by_name_with_a_way_out() {
    let (a, b) = (node("a", &["Nonsense"]).await, node("b", &["Nonsense"]).await);
    let running = gateway(&[&a, &b], "").await;
    for document in ["{BrandNew{from}}".to_owned(), format!("{{{LIST}{{Results{{Name}}}} BrandNew{{from}}}}")] {
        let got = ask(&running, &document).await;
        let message = json_of(&got)["errors"][0]["message"].as_str().unwrap().to_owned();
        assert_eq!(got.status, 422);
        assert!(message.contains("\"BrandNew\"") && message.contains("unknown_queries: any-node"), "{message}");
    }
    assert!(asked(&a).is_empty() && asked(&b).is_empty(), "nothing was executed");
    let got = ask(&running, "{BrandNew{from} Nonsense}").await;
    assert_eq!(
        (got.status, json_of(&got)["errors"][0]["message"].as_str()),
        (422, Some("Cannot query field \"Nonsense\"."))
    );

    let status = json_of(&get(running.admin.unwrap(), "/status").await);
    assert_eq!(status["unknown_queries"], json!({"choice": "refuse", "seen": {"asked": {"BrandNew": 2}, "others": 0}}));
    running.stop().await;
}

#[tokio::test]
async fn a_query_that_is_new_is_answered_by_one_node_where_that_is_allowed() {
    let (a, b) = (node("a", &["Nonsense"]).await, node("b", &["Nonsense"]).await);
    let running = gateway(&[&a, &b], "unknown_queries: any-node\n").await;
    let got = ask(&running, "{BrandNew{from}}").await;
    assert_eq!((got.status, got.text()), (200, r#"{"data":{"BrandNew":{"from":"a"}}}"#));
    assert_eq!((asked(&a), asked(&b)), (vec!["{BrandNew{from}}".to_owned()], Vec::new()));
    // The rest of a document is answered as ever.
    let got = ask(&running, &format!("{{BrandNew{{from}} {LIST}{{Results{{Name}}}}}}")).await;
    let data = &json_of(&got)["data"];
    assert_eq!(data["BrandNew"], json!({"from": "a"}));
    assert_eq!(data["RepoListWithNewestImage"]["Results"].as_array().unwrap().len(), 2);
    assert_eq!(ask(&running, "{Nonsense}").await.status, 422);
    let target = "/v2/_zot/ext/search?query=%7BBrandNew%7Bfrom%7D%7D";
    let status = json_of(&get(running.admin.unwrap(), "/status").await);
    assert_eq!(status["unknown_queries"]["seen"]["asked"], json!({"BrandNew": 2}));
    running.stop().await;

    let config = config(&[a.address, b.address], "unknown_queries: any-node\n");
    let plan = explain(&config, &http::Method::GET, target, Vec::new());
    assert!(plan.contains("unknown: BrandNew") && plan.contains("whole: any, the first"), "{plan}");
}

#[tokio::test]
async fn a_node_that_lacks_what_the_others_have_fails_by_name() {
    let (new, old) = (node("new", &[]).await, node("old", &["Newer"]).await);
    let document = format!("{{{LIST}{{Results{{Name Newer{{by}}}}}}}}");
    let running = gateway(&[&new, &old], "").await;
    let got = ask(&running, &document).await;
    let message = json_of(&got)["errors"][0]["message"].as_str().unwrap().to_owned();
    assert_eq!((got.status, message.as_str()), (502, "node zot-1 says: Cannot query field \"Newer\"."));
    // A field that the old node answers alone, beside others: its error is no word on the whole document.
    let owned = (0..).map(|i| format!("r{i}")).find(|name| Placement::default().owner(name, 2).node == 1).unwrap();
    let got = ask(&running, &format!("{{Image(image:\"{owned}:1\"){{Newer}} {LIST}{{Results{{Name}}}}}}")).await;
    let error = &json_of(&got)["errors"][0];
    assert_eq!((got.status, error["extensions"]["node"].as_str()), (502, Some("zot-1")), "{error}");
    running.stop().await;

    let lax = gateway(&[&new, &old], "partial: warn\n").await;
    let got = ask(&lax, &document).await;
    assert_eq!((got.status, got.header("warning").is_some()), (200, true), "{}", got.text());
    assert_eq!(json_of(&got)["data"]["RepoListWithNewestImage"]["Results"].as_array().unwrap().len(), 1);
    lax.stop().await;

    // The node that is asked first says what is valid.
    let first = gateway(&[&old, &new], "").await;
    let got = ask(&first, &document).await;
    assert_eq!(
        (got.status, json_of(&got)["errors"][0]["message"].as_str()),
        (422, Some("Cannot query field \"Newer\"."))
    );
    first.stop().await;
}
