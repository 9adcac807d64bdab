//! The embedded nodes by themselves: their schema, their faults, their arbitrary order.

use super::demo_compare::{Answer, Content, Request, differences};
use super::demo_replay::{Sender, Set, read};
use onezot::demo::{Fault, Node, Setup};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

const INTROSPECTION: &str = "{__schema{queryType{name} mutationType{name} subscriptionType{name} types{kind name \
    fields(includeDeprecated:true){name args{name type{...T} defaultValue} type{...T} isDeprecated deprecationReason} \
    inputFields{name type{...T} defaultValue} interfaces{name} enumValues(includeDeprecated:true){name isDeprecated} \
    possibleTypes{name}} directives{name locations args{name type{...T} defaultValue}}}} \
    fragment T on __Type{kind name ofType{kind name ofType{kind name ofType{kind name}}}}";

fn get(path: &str, user: Option<&str>) -> Request {
    Request {
        n: 0,
        kind: "sent".to_owned(),
        user: user.map(str::to_owned),
        method: "GET".to_owned(),
        path: path.to_owned(),
        headers: BTreeMap::new(),
        body: Content::Nothing,
    }
}

fn search(document: &str) -> Request {
    let query = form_urlencoded::Serializer::new(String::new()).append_pair("query", document).finish();
    get(&format!("/v2/_zot/ext/search?{query}"), Some("alice"))
}

async fn asked(sender: &Sender, document: &str) -> Value {
    serde_json::from_slice(&sender.send(&search(document)).await.body).unwrap()
}

/// A schema as a sorted list of its statements: types with fields, arguments, values.
fn statements(schema: &Value) -> Vec<String> {
    fn kind(of: &Value) -> String {
        match of["kind"].as_str().unwrap_or_default() {
            "NON_NULL" => format!("{}!", kind(&of["ofType"])),
            "LIST" => format!("[{}]", kind(&of["ofType"])),
            _ => of["name"].as_str().unwrap_or_default().to_owned(),
        }
    }
    let items = |of: &Value| of.as_array().cloned().unwrap_or_default();
    let argument = |of: &Value| format!("{}: {} = {}", of["name"], kind(&of["type"]), of["defaultValue"]);
    let mut found = Vec::new();
    for of in items(&schema["types"]).iter().filter(|of| !of["name"].as_str().unwrap().starts_with("__")) {
        let name = of["name"].as_str().unwrap();
        found.push(format!("{} {name}", of["kind"]));
        for field in items(&of["fields"]) {
            let arguments: Vec<String> = items(&field["args"]).iter().map(argument).collect();
            found.push(format!("{name}.{}({}): {}", field["name"], arguments.join(", "), kind(&field["type"])));
        }
        found.extend(items(&of["inputFields"]).iter().map(|field| format!("{name} {{{}}}", argument(field))));
        found.extend(items(&of["enumValues"]).iter().map(|value| format!("{name} = {}", value["name"])));
    }
    found.sort();
    found
}

#[tokio::test]
async fn the_schema_is_that_of_zot() {
    let node = Node::start(Setup::default()).await.unwrap();
    let actual = asked(&Sender::to(&node), INTROSPECTION).await;
    let expected: Value = serde_json::from_slice(&read("introspection.json")).unwrap();
    let (expected, actual) = (&expected["data"]["__schema"], &actual["data"]["__schema"]);
    assert_eq!(statements(expected), statements(actual));
    let directives = |schema: &Value| -> Vec<String> {
        schema["directives"].as_array().unwrap().iter().map(|of| of["name"].as_str().unwrap().to_owned()).collect()
    };
    // Nobody defers anything here: async-graphql does not know @defer.
    let missing: Vec<String> =
        directives(expected).into_iter().filter(|name| !directives(actual).contains(name)).collect();
    assert_eq!(missing, ["defer"]);
}

#[tokio::test]
async fn ties_come_in_whatever_order_the_seed_says() {
    let set = Set::read("");
    // Nothing has been pulled of most images: they all tie.
    let document = "{ImageList(repo:\"\",requestedPage:{sortBy:DOWNLOADS}){Results{RepoName Tag}}}";
    let (one, other, third) = (set.node(None, 1).await, set.node(None, 1).await, set.node(None, 2).await);
    let (one, other, third) = (Sender::to(&one), Sender::to(&other), Sender::to(&third));
    let first = asked(&one, document).await;
    assert_eq!(first, asked(&other, document).await, "a seed decides");
    assert_ne!(first, asked(&one, document).await, "and every request is another one");
    assert_ne!(first, asked(&third, document).await);
}

#[tokio::test]
async fn faults_can_be_switched_on_and_off() {
    let set = Set::read("");
    let node = set.node(None, 1).await;
    let sender = Sender::to(&node);
    let catalog = get("/v2/_catalog", Some("alice"));
    let well = sender.send(&catalog).await;
    let client = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new())
        .build_http::<http_body_util::Empty<bytes::Bytes>>();
    let uri: http::Uri = format!("{}/livez", node.url()).parse().unwrap();

    node.faults().set(Fault::Down);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(client.get(uri.clone()).await.unwrap_err().is_connect());
    node.faults().clear();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(sender.send(&catalog).await.body, well.body);

    node.faults().set(Fault::Slow(Duration::from_millis(200)));
    let begun = Instant::now();
    assert_eq!(sender.send(&catalog).await.body, well.body);
    assert!(begun.elapsed() >= Duration::from_millis(200));

    node.faults().set(Fault::Hang);
    assert!(tokio::time::timeout(Duration::from_millis(200), client.get(uri.clone())).await.is_err());

    node.faults().set(Fault::Reset);
    let broken = client.get(uri.clone()).await.unwrap();
    assert!(http_body_util::BodyExt::collect(broken.into_body()).await.is_err());

    node.faults().set(Fault::Status(http::StatusCode::INTERNAL_SERVER_ERROR));
    assert_eq!(sender.send(&catalog).await.status, 500);
    node.faults().set(Fault::Unauthorized);
    assert_eq!(sender.send(&catalog).await.status, 401);
    node.faults().set(Fault::BadJson);
    assert_eq!(sender.send(&catalog).await.body, b"{bad");
    node.faults().set(Fault::TruncatedJson);
    assert_eq!(sender.send(&catalog).await.body, well.body[..well.body.len() / 2]);
    node.faults().set(Fault::Huge(1 << 22));
    let huge = sender.send(&catalog).await.body;
    assert!(huge.len() >= 1 << 22 && serde_json::from_slice::<Value>(&huge).is_ok());

    node.faults().set_for("/v2/lib/", Fault::BadJson);
    assert_eq!(sender.send(&catalog).await.body, well.body);
    assert_eq!(sender.send(&get("/v2/lib/tags/list", Some("alice"))).await.body, b"{bad");
    let seen = node.take_seen();
    assert_eq!(seen.last().unwrap().target, "/v2/lib/tags/list");
    assert!(node.take_seen().is_empty());
    node.stop().await;
    assert!(client.get(uri).await.is_err());
}

#[tokio::test]
async fn a_session_is_known_where_it_began() {
    let set = Set::read("");
    let node = set.node(None, 1).await;
    let sender = Sender::to(&node);
    let ui = |user: Option<&str>, cookie: &str| {
        let mut request = get("/v2/_catalog?n=1", user);
        request.headers.insert("X-ZOT-API-CLIENT".to_owned(), "zot-ui".to_owned());
        if !cookie.is_empty() {
            request.headers.insert("Cookie".to_owned(), cookie.to_owned());
        }
        request
    };
    let signed_in = sender.send(&ui(Some("bob"), "")).await;
    let cookie = signed_in.headers["set-cookie"][0].split(';').next().unwrap().to_owned();
    let again = sender.send(&ui(None, &cookie)).await;
    assert_eq!((again.status, &again.body), (200, &signed_in.body));
    let stranger = sender.send(&ui(None, "session=unknown")).await;
    assert!(stranger.headers["set-cookie"][0].starts_with("session=; Path=/; Expires=Thu, 01 Jan 1970"));
    assert_ne!(stranger.body, signed_in.body);
}

/// A stand-in that shares code with what it tests proves nothing.
#[test]
fn gateway_and_demo_share_no_code() {
    fn files(directory: &std::path::Path, found: &mut Vec<std::path::PathBuf>) {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { files(&path, found) } else { found.push(path) }
        }
    }
    let source = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    files(&source, &mut found);
    for file in found.iter().filter(|file| file.extension().is_some_and(|extension| extension == "rs")) {
        let name = file.strip_prefix(&source).unwrap().display().to_string();
        let text = std::fs::read_to_string(file).unwrap();
        for path in text.match_indices("crate::").map(|(at, word)| &text[at + word.len()..]) {
            let of_demo = path.starts_with("demo");
            assert_eq!(of_demo, name.starts_with("demo"), "{name} imports crate::{}", path.lines().next().unwrap());
        }
    }
}

/// A comparer that forgives everything proves nothing.
#[test]
fn the_comparer_reports_what_differs() {
    let document = "{a:ImageList(repo:\"\",requestedPage:{limit:3,sortBy:DOWNLOADS}){Page{TotalCount} \
        Results{RepoName Tag n:DownloadCount PushTimestamp LastUpdated SignatureInfo{Tool Author} Manifests{Digest}}}}";
    let item = |tag: &str, count: u32| {
        json!({"RepoName": "lib", "Tag": tag, "n": count, "PushTimestamp": "2026-11-22T20:00:00Z",
            "LastUpdated": "2020-01-01T00:00:00Z", "Manifests": [{"Digest": "sha256:1"}],
            "SignatureInfo": [{"Tool": "cosign", "Author": ""}, {"Tool": "notation", "Author": ""}]})
    };
    let data = json!({"Page": {"TotalCount": 9}, "Results": [item("a", 5), item("b", 3), item("c", 3)]});
    let answer = |data: &Value| Answer {
        status: 200,
        headers: [("content-type".to_owned(), vec!["application/json".to_owned()])].into(),
        body: format!("{{\"data\":{{\"a\":{data}}}}}").into_bytes(),
    };
    let expected = answer(&data);
    let found = |data: &Value| differences(&search(document), &expected, &answer(data));
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut copy = data.clone();
        change(&mut copy);
        found(&copy)
    };
    // Serde sorts the keys of what is changed; sorted, the original must be the same again.
    let sorted: Value = serde_json::from_str(&data.to_string()).unwrap();
    assert_eq!(found(&sorted), [] as [&str; 0]);
    let same: [&dyn Fn(&mut Value); 4] = [
        &|data| data["Results"][0]["PushTimestamp"] = json!("2027-01-01T00:00:00.5Z"),
        &|data| data["Results"][0]["SignatureInfo"].as_array_mut().unwrap().reverse(),
        &|data| data["Results"].as_array_mut().unwrap().swap(1, 2),
        &|data| {
            data["Results"][2] = json!({"LastUpdated": "2021-01-01T00:00:00Z", "Manifests": [], "PushTimestamp":
            "2026-11-22T20:00:00Z", "RepoName": "lib", "SignatureInfo": [], "Tag": "d", "n": 3})
        },
    ];
    for (index, change) in same.into_iter().enumerate() {
        assert_eq!(changed(change), [] as [&str; 0], "change {index} is allowed");
    }
    let other: [&dyn Fn(&mut Value); 12] = [
        &|data| data["Page"]["TotalCount"] = json!(8),
        &|data| drop(data["Results"].as_array_mut().unwrap().pop()),
        &|data| data["Results"].as_array_mut().unwrap().swap(0, 1),
        &|data| data["Results"][0]["Tag"] = json!("z"),
        &|data| data["Results"][1]["LastUpdated"] = json!("2020-01-01T00:00:01Z"),
        &|data| data["Results"][2]["Manifests"][0]["Digest"] = json!("sha256:2"),
        &|data| data["Results"][0]["Manifests"] = json!(null),
        &|data| data["Results"][0]["Manifests"] = json!([]),
        &|data| data["Results"][0]["PushTimestamp"] = json!(null),
        &|data| data["Results"][0]["SignatureInfo"][0]["Tool"] = json!("notation"),
        &|data| data["Results"] = json!([]),
        &|data| *data = json!(null),
    ];
    for (index, change) in other.into_iter().enumerate() {
        assert_ne!(changed(change), [] as [&str; 0], "change {index} must be reported");
    }
    let failed = |text: &str| Answer { body: text.as_bytes().to_vec(), ..expected.clone() };
    let error = r#"{"errors":[{"message":"m","path":["a"],"locations":[{"line":1,"column":2}]}],"data":null}"#;
    for (from, to) in [("\"m\"", "\"n\""), ("[\"a\"]", "[\"b\"]"), (":2}", ":3}"), (",\"data\":null", "")] {
        let changed = failed(&error.replace(from, to));
        assert_ne!(differences(&search(document), &failed(error), &changed), [] as [&str; 0], "{from} to {to}");
    }
    let mut headed = expected.clone();
    headed.headers.insert("link".to_owned(), vec!["</next>".to_owned()]);
    assert_ne!(differences(&search(document), &expected, &headed), [] as [&str; 0]);
    assert_ne!(differences(&search(document), &headed, &expected), [] as [&str; 0]);
    assert_ne!(differences(&search(document), &expected, &Answer { status: 201, ..expected.clone() }), [] as [&str; 0]);
}
