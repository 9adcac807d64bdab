//! Odd GraphQL requests, for one server beside another.

use super::beside::Case;
use super::zots::Call;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;
use sha2::{Digest, Sha256};

const SEARCH: &str = "/v2/_zot/ext/search";
const FAN: &str = "{RepoListWithNewestImage(requestedPage:{limit:2 sortBy:ALPHABETIC_ASC}){Page{TotalCount ItemCount} Results{Name}}}";
const TWO: &str = "{a:ImageList(repo:\"lib\"){Results{Tag}} b:ImageList(repo:\"alpine\"){Results{Tag}} c:__typename}";
const ONE: &str = "{Image(image:\"lib:1\"){Tag RepoName}}";
const NONE: &str = "{__typename}";

/// Collects cases under names.
#[derive(Default)]
struct Table {
    cases: Vec<Case>,
}

impl Table {
    fn add(&mut self, name: impl Into<String>, call: Call) {
        self.cases.push(Case { name: name.into(), call });
    }

    fn body(&mut self, name: impl Into<String>, body: impl Into<Vec<u8>>) {
        self.add(name, post(body));
    }

    fn document(&mut self, name: impl Into<String>, document: &str) {
        self.body(name, json!({"query": document}).to_string());
    }

    fn target(&mut self, name: impl Into<String>, query: &str) {
        self.add(name, Call::by(0, "GET", format!("{SEARCH}?{query}")));
    }
}

fn post(body: impl Into<Vec<u8>>) -> Call {
    Call::by(0, "POST", SEARCH).with("application/json", body)
}

fn with(mut call: Call, name: &str, value: &str) -> Call {
    call.headers.push((name.to_owned(), value.to_owned()));
    call
}

fn escaped(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

fn hash(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Every case.
pub fn cases() -> Vec<Case> {
    let mut table = Table::default();
    transports(&mut table);
    parameters(&mut table);
    bodies(&mut table);
    persisted(&mut table);
    forms(&mut table);
    documents(&mut table);
    variables(&mut table);
    places(&mut table);
    table.cases
}

fn transports(table: &mut Table) {
    let documents = [("fan", FAN), ("two", TWO), ("one", ONE), ("invalid", "{Nope}"), ("broken", "{")];
    for (kind, document) in documents {
        let body = json!({"query": document}).to_string();
        for accept in [
            "*/*",
            "application/json",
            "application/graphql-response+json",
            "application/*",
            "text/html",
            "",
            "application/json, application/graphql-response+json",
            "application/graphql-response+json, application/json",
            "application/json;q=0.1, application/graphql-response+json;q=0.9",
            "text/html, */*;q=0.1",
            "nonsense",
            "application/graphql-response+json;charset=utf-8",
            "APPLICATION/JSON",
            "application/json;q",
            ", ,",
        ] {
            table.add(format!("accept {accept:?} {kind}"), with(post(body.clone()), "Accept", accept));
            let get = Call::by(0, "GET", format!("{SEARCH}?query={}", escaped(document)));
            table.add(format!("accept {accept:?} GET {kind}"), with(get, "Accept", accept));
        }
        table.add(
            format!("two Accept {kind}"),
            with(with(post(body.clone()), "Accept", "text/html"), "Accept", "application/json"),
        );
        for content_type in [
            "application/json; charset=utf-8",
            "application/json;charset=latin1",
            "APPLICATION/JSON",
            "application/json ",
            "application/json;",
            "application/json; charset",
            "application/json; a=b; a=b",
            "application/json; a=b; a=c",
            "application/json; a=\"b",
            "application/json; =b",
            "application/json,text/plain",
            "application/graphql+json",
            "application/graphql",
            "application/graphql-response+json",
            "text/plain",
            "text/json",
            "json",
            "",
            "*/*",
            "application/json; charset=utf-8; charset=utf-8",
            "application /json",
            "application/json; a*=utf-8''x",
            "application/json; a=b c",
            "application/x-www-form-urlencoded",
            "multipart/form-data",
            "multipart/mixed; boundary=x",
            "application/json;;",
            "application/json; a = b",
        ] {
            table.add(
                format!("type {content_type:?} {kind}"),
                Call::by(0, "POST", SEARCH).with(content_type, body.clone()),
            );
        }
        let mut none = Call::by(0, "POST", SEARCH);
        none.body = body.clone().into();
        table.add(format!("no type {kind}"), none);
        table.add(format!("two types {kind}"), with(post(body.clone()), "Content-Type", "text/plain"));
        for encoding in ["gzip", "identity", "br", "deflate, gzip", "nonsense"] {
            table.add(format!("encoding {encoding} {kind}"), with(post(body.clone()), "Content-Encoding", encoding));
        }
        for path in ["/", "/foo", "x", "x/y", "/a/b", ".json", "//", "/../search", "%2f", "%20", "/%61"] {
            let mut call = post(body.clone());
            call.target = format!("{SEARCH}{path}");
            table.add(format!("path {path:?} POST {kind}"), call);
            table.add(
                format!("path {path:?} GET {kind}"),
                Call::by(0, "GET", format!("{SEARCH}{path}?query={}", escaped(document))),
            );
        }
        for (who, call) in callers(&post(body.clone())) {
            table.add(format!("{who} POST {kind}"), call);
        }
        for (who, call) in callers(&Call::by(2, "GET", format!("{SEARCH}?query={}", escaped(document)))) {
            table.add(format!("{who} GET {kind}"), call);
        }
        let mut call = post(body.clone());
        call.target = format!("{SEARCH}?query=%7B__typename%7D&variables=x&operationName=y;%zz");
        table.add(format!("query in the URL of POST {kind}"), call);
        let mut call = Call::by(0, "GET", format!("{SEARCH}?query={}", escaped(document)));
        call.body = br#"{"query":"{__typename}"}"#.to_vec();
        table.add(format!("body of GET {kind}"), call.clone());
        call.method = "GET".to_owned();
        call.headers.push(("Content-Type".to_owned(), "application/json".to_owned()));
        table.add(format!("typed body of GET {kind}"), call);
        for origin in ["http://other.example", "null", "https://registry.example"] {
            table.add(format!("origin {origin} {kind}"), with(post(body.clone()), "Origin", origin));
        }
        table.add(format!("If-None-Match {kind}"), with(post(body.clone()), "If-None-Match", "*"));
        table.add(format!("zot-ui {kind}"), with(post(body.clone()), "X-ZOT-API-CLIENT", "zot-ui"));
        table.add(format!("Range {kind}"), with(post(body.clone()), "Range", "bytes=0-1"));
        table.add(format!("gzip accepted {kind}"), with(post(body.clone()), "Accept-Encoding", "gzip"));
    }
    for method in ["HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "FOO", "get", "post"] {
        for path in ["", "/", "x", "?query=%7B__typename%7D"] {
            for user in [0, 2] {
                table.add(format!("{method} {path} by {user}"), Call::by(user, method, format!("{SEARCH}{path}")));
            }
        }
        let typed = Call::by(0, method, SEARCH).with("application/json", r#"{"query":"{__typename}"}"#);
        table.add(format!("{method} with a body"), typed);
    }
    for (name, headers) in [
        (
            "preflight",
            vec![
                ("Origin", "http://x.example"),
                ("Access-Control-Request-Method", "POST"),
                ("Access-Control-Request-Headers", "authorization,x-y"),
            ],
        ),
        ("preflight GET", vec![("Origin", "null"), ("Access-Control-Request-Method", "GET")]),
        ("origin", vec![("Origin", "http://x.example")]),
        ("bad password", vec![("Authorization", "Basic YWxpY2U6d3Jvbmc=")]),
        ("bearer", vec![("Authorization", "Bearer x")]),
        ("accept", vec![("Accept", "application/graphql-response+json")]),
    ] {
        let mut call = Call::by(2, "OPTIONS", SEARCH);
        call.headers = headers.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        table.add(format!("OPTIONS {name}"), call);
    }
}

/// A request by each kind of client.
pub fn callers(call: &Call) -> Vec<(&'static str, Call)> {
    let by = |user: Option<(&str, &str)>| {
        let user = user.map(|(name, password)| (name.to_owned(), password.to_owned()));
        Call { user, ..call.clone() }
    };
    let saying = |value: &str| with(by(None), "Authorization", value);
    vec![
        ("alice", by(Some(("alice", "alice-pw")))),
        ("bob", by(Some(("bob", "bob-pw")))),
        ("anonymous", by(None)),
        ("bad password", by(Some(("alice", "wrong")))),
        ("unknown user", by(Some(("mallory", "x")))),
        ("no name", by(Some(("", "x")))),
        ("no password", by(Some(("alice", "")))),
        ("bearer", saying("Bearer abc.def.ghi")),
        ("bearer alone", saying("Bearer")),
        ("empty", saying("")),
        ("basic alone", saying("Basic")),
        ("no base64", saying("Basic ???")),
        ("no colon", saying("Basic YWxpY2U=")),
        ("lower case", saying("basic YWxpY2U6YWxpY2UtcHc=")),
        ("digest", saying("Digest username=\"alice\"")),
        ("garbage", saying("\u{1}x")),
        ("twice", with(by(Some(("alice", "alice-pw"))), "Authorization", "Basic eDp5")),
        ("cookie", with(by(None), "Cookie", "session=abc; user=alice")),
        ("zot-ui", with(by(None), "X-ZOT-API-CLIENT", "zot-ui")),
        ("cookie of zot-ui", with(with(by(None), "X-ZOT-API-CLIENT", "zot-ui"), "Cookie", "session=abc")),
    ]
}

fn parameters(table: &mut Table) {
    for (kind, document) in [("fan", FAN), ("two", TWO), ("one", ONE), ("none", NONE)] {
        let q = escaped(document);
        for (name, query) in [
            ("plain", format!("query={q}")),
            ("repeated", format!("query={q}&query=%7BNope%7D")),
            ("repeated wrong first", format!("query=%7BNope%7D&query={q}")),
            ("empty then", format!("query=&query={q}")),
            ("no value then", format!("query&query={q}")),
            ("broken escape elsewhere", format!("query={q}&x=%zz")),
            ("broken escape in name", format!("%zz=1&query={q}")),
            ("broken escape in it", format!("query={q}%z")),
            ("semicolon elsewhere", format!("query={q}&x=1;y=2")),
            ("semicolon after", format!("query={q};")),
            ("empty pairs", format!("&&query={q}&&")),
            ("escaped name", format!("%71uery={q}")),
            ("upper-case name", format!("QUERY={q}")),
            ("null operation", format!("query={q}&operationName=")),
            ("unknown operation", format!("query={q}&operationName=X")),
            ("variables null", format!("query={q}&variables=null")),
            ("variables empty", format!("query={q}&variables=")),
            ("variables object", format!("query={q}&variables=%7B%22a%22:1%7D")),
            ("variables array", format!("query={q}&variables=%5B%5D")),
            ("variables text", format!("query={q}&variables=x")),
            ("variables broken", format!("query={q}&variables=%7B")),
            ("variables and more", format!("query={q}&variables=%7B%7D%7B")),
            ("variables huge number", format!("query={q}&variables=%7B%22a%22:1e999%7D")),
            ("variables bad escape in JSON", format!("query={q}&variables=%7B%22a%22:%22%5Cud800%22%7D")),
            ("variables not UTF-8", format!("query={q}&variables=%7B%22a%22:%22%ff%22%7D")),
            ("extensions null", format!("query={q}&extensions=null")),
            ("extensions array", format!("query={q}&extensions=%5B%5D")),
            ("extensions number", format!("query={q}&extensions=1")),
            ("extensions object", format!("query={q}&extensions=%7B%22x%22:1%7D")),
            ("both broken", format!("query={q}&extensions=1&variables=1")),
            ("plus for blank", format!("query={}", q.replace("%20", "+"))),
            ("raw braces", format!("query={}", document.replace(' ', "%20").replace('"', "%22"))),
            ("not UTF-8 after", format!("query={q}%ff")),
            ("comment not UTF-8", format!("query={q}%23%ff")),
            ("fragment", format!("query={q}#x")),
            ("question mark", format!("query={q}?x")),
            ("null byte", format!("query={q}%00")),
        ] {
            table.target(format!("GET {kind}: {name}"), &query);
        }
    }
    for query in [
        "",
        "query=",
        "query",
        "query=%20",
        "query=%EF%BB%BF",
        "query=null",
        "operationName=A",
        "variables=1",
        "x",
        "%",
        ";",
        "query=%23x",
    ] {
        table.target(format!("GET {query:?}"), query);
    }
    table.add("GET without a query", Call::by(0, "GET", SEARCH));
    table.target("GET mutation", "query=mutation%7Bx%7D");
    table.target("GET subscription", "query=subscription%7Bx%7D");
}

fn bodies(table: &mut Table) {
    for (kind, document) in [("fan", FAN), ("two", TWO), ("one", ONE), ("none", NONE)] {
        let q = serde_json::Value::from(document).to_string();
        let other = r#""{Nope}""#;
        for (name, body) in [
            ("null operation", format!(r#"{{"query":{q},"operationName":null}}"#)),
            ("empty operation", format!(r#"{{"query":{q},"operationName":""}}"#)),
            ("unknown operation", format!(r#"{{"query":{q},"operationName":"X"}}"#)),
            ("escaped operation", format!(r#"{{"query":{q},"operationName":"<&>\u2028\u0000\ud800"}}"#)),
            ("number operation", format!(r#"{{"query":{q},"operationName":1}}"#)),
            ("object operation", format!(r#"{{"query":{q},"operationName":{{}}}}"#)),
            ("null variables", format!(r#"{{"query":{q},"variables":null}}"#)),
            ("array variables", format!(r#"{{"query":{q},"variables":[]}}"#)),
            ("text variables", format!(r#"{{"query":{q},"variables":""}}"#)),
            ("false variables", format!(r#"{{"query":{q},"variables":false}}"#)),
            ("unused variables", format!(r#"{{"query":{q},"variables":{{"a":1e999,"b":[1,{{}}]}}}}"#)),
            ("null extensions", format!(r#"{{"query":{q},"extensions":null}}"#)),
            ("array extensions", format!(r#"{{"query":{q},"extensions":[]}}"#)),
            ("trailing bytes", format!(r#"{{"query":{q}}}}}}}x"#)),
            ("trailing blank", format!("{{\"query\":{q}}}\n\n ")),
            ("two values", format!(r#"{{"query":{q}}}{{"query":{other}}}"#)),
            ("leading blank", format!("\r\n\t {{\"query\":{q}}}")),
            ("leading BOM", format!("\u{feff}{{\"query\":{q}}}")),
            ("duplicate key, wrong first", format!(r#"{{"query":{other},"query":{q}}}"#)),
            ("duplicate key, wrong last", format!(r#"{{"query":{q},"query":{other}}}"#)),
            ("duplicate key, null last", format!(r#"{{"query":{q},"query":null}}"#)),
            ("upper-case key", format!(r#"{{"QUERY":{q}}}"#)),
            ("other case last", format!(r#"{{"query":{other},"Query":{q}}}"#)),
            ("other case first", format!(r#"{{"qUERY":{q},"query":{other}}}"#)),
            ("kelvin and long s", format!(r#"{{"query":{q},"operationname":"X","variableſ":{{"a":1}}}}"#)),
            ("escaped key", format!(r#"{{"\u0071uery":{q}}}"#)),
            ("unknown keys", format!(r#"{{"query":{q},"id":1,"x":{{"query":1}}}}"#)),
            ("comma at the end", format!(r#"{{"query":{q},}}"#)),
            ("broken off", format!(r#"{{"query":{q}"#)),
            ("batch", format!(r#"[{{"query":{q}}}]"#)),
            ("batch of two", format!(r#"[{{"query":{q}}},{{"query":{q}}}]"#)),
            ("text", q.clone()),
            ("bare", document.to_owned()),
        ] {
            table.body(format!("body {kind}: {name}"), body);
        }
        let raw = [format!(r#"{{"query":{q},"x":""#).into_bytes(), vec![0xff, 0xc3, b'"', b'}']].concat();
        table.body(format!("body {kind}: not UTF-8 elsewhere"), raw);
        let inner = &q[1..q.len() - 1];
        let raw = [format!(r#"{{"query":"{inner}#"#).into_bytes(), vec![0xff, 0xe2, 0x82, b'"', b'}']].concat();
        table.body(format!("body {kind}: not UTF-8 in a comment"), raw);
        for (name, tail) in [
            ("lone surrogate", r"\ud800"),
            ("reversed pair", r"\udc00\ud800"),
            ("pair", r"\ud83d\ude00"),
            ("escapes", r"\u003c\u2028\/\b\f"),
        ] {
            table.body(format!("body {kind}: {name} in a comment"), format!(r#"{{"query":"{inner}#{tail}"}}"#));
        }
        table.body(format!("body {kind}: control character"), format!("{{\"query\":\"{inner}#\u{1}\"}}"));
        table.body(format!("body {kind}: raw line feed"), format!("{{\"query\":\"{inner}\n\"}}"));
    }
    for body in [
        "",
        " ",
        "null",
        "true",
        "1",
        "\"x\"",
        "[]",
        "{}",
        "{bad",
        "{\"query\":1}",
        "{\"query\":{}}",
        "{\"query\":[]}",
        "{\"query\":null}",
        "{\"query\":\"\"}",
        "{\"query\":\" \"}",
        "{\"query\":\"#x\"}",
        "nul",
        "{\"query\"",
        "{\"query\":tru}",
        "<&>\u{2028}",
        "{\"a\":\"<&>",
        "{\"query\":\"fragment F on Query{__typename}\"}",
        "'",
        "-",
        "01",
        "{\"query\":\"\\x\"}",
        "{\"query\":\"\\u12\"}",
    ] {
        table.body(format!("body {body:?}"), body);
    }
    table.body("body not UTF-8", vec![b'{', 0xff, 0xfe]);
    table.body("body UTF-16", vec![0xfe, 0xff, 0, b'{', 0, b'}']);
}

fn persisted(table: &mut Table) {
    let texts = [
        ("fan", "{RepoListWithNewestImage(requestedPage:{limit:1 sortBy:ALPHABETIC_DSC}){Results{Name}}}"),
        ("one", "query A{Image(image:\"lib:1\"){Tag}} query B{Image(image:\"lib:1\"){RepoName}}"),
        ("vars", "query($r:String!){a:ImageList(repo:$r){Results{Tag}} b:ImageList(repo:\"lib\"){Results{Tag}}}"),
    ];
    for (kind, text) in texts {
        let hash = hash(text);
        let body = |query: Option<&str>, persisted: serde_json::Value| {
            let mut body = json!({"extensions": {"persistedQuery": persisted}, "operationName": "A", "variables": {"r": "alpine"}});
            if kind != "one" {
                body["operationName"] = json!(null);
            }
            if let Some(query) = query {
                body["query"] = json!(query);
            }
            body.to_string()
        };
        let right = json!({"version": 1, "sha256Hash": hash});
        for (name, query, persisted) in [
            ("unknown", None, right.clone()),
            ("wrong hash", Some(text), json!({"version": 1, "sha256Hash": "0".repeat(64)})),
            ("upper-case hash", Some(text), json!({"version": 1, "sha256Hash": hash.to_uppercase()})),
            ("version 2", Some(text), json!({"version": 2, "sha256Hash": hash})),
            ("version 2 alone", None, json!({"version": 2, "sha256Hash": hash})),
            ("no version", Some(text), json!({"sha256Hash": hash})),
            ("text version", Some(text), json!({"version": "1", "sha256Hash": hash})),
            ("float version", Some(text), json!({"version": 1.0, "sha256Hash": hash})),
            ("true version", Some(text), json!({"version": true, "sha256Hash": hash})),
            ("null version", Some(text), json!({"version": null, "sha256Hash": hash})),
            ("no hash", Some(text), json!({"version": 1})),
            ("no hash alone", None, json!({"version": 1})),
            ("null hash", None, json!({"version": 1, "sha256Hash": null})),
            ("number hash", None, json!({"version": 1, "sha256Hash": 5})),
            ("list hash", None, json!({"version": 1, "sha256Hash": []})),
            ("object hash", Some(text), json!({"version": 1, "sha256Hash": {}})),
            ("null", Some(text), json!(null)),
            ("null alone", None, json!(null)),
            ("text", Some(text), json!("x")),
            ("number", Some(text), json!(1)),
            ("list", Some(text), json!([])),
            ("list of it", Some(text), json!([right.clone()])),
            ("empty", Some(text), json!({})),
            ("still unknown", None, right.clone()),
            ("with more", Some(text), json!({"version": 1, "sha256Hash": hash, "x": 1})),
            ("known", None, right.clone()),
            ("known, other case", None, json!({"Version": 1, "SHA256HASH": hash})),
            ("known, upper-case hash", None, json!({"version": 1, "sha256Hash": hash.to_uppercase()})),
            ("known, empty text", Some(""), right.clone()),
            ("known, blank text", Some(" "), right.clone()),
        ] {
            table.body(format!("persisted {kind}: {name}"), body(query, persisted));
        }
        let extensions = escaped(&json!({"persistedQuery": right}).to_string());
        let operation = if kind == "one" { "&operationName=B" } else { "" };
        table.target(
            format!("persisted {kind}: known GET"),
            &format!("extensions={extensions}{operation}&variables=%7B%22r%22:%22lib%22%7D"),
        );
        table.target(
            format!("persisted {kind}: known GET, no variables"),
            &format!("extensions={extensions}{operation}"),
        );
        table.target(
            format!("persisted {kind}: known GET, unknown operation"),
            &format!("extensions={extensions}&operationName=Z"),
        );
        for (who, call) in callers(&post(
            json!({"extensions": {"persistedQuery": {"version": 1, "sha256Hash": "1".repeat(64)}}}).to_string(),
        )) {
            table.add(format!("persisted {kind}: unknown by {who}"), call);
        }
        let unknown =
            json!({"extensions": {"persistedQuery": {"version": 1, "sha256Hash": "2".repeat(64)}}}).to_string();
        for accept in ["application/graphql-response+json", "text/html", "application/json"] {
            table.add(format!("persisted {kind}: unknown for {accept}"), with(post(unknown.clone()), "Accept", accept));
            table.add(
                format!("persisted {kind}: known for {accept}"),
                with(post(body(None, right.clone())), "Accept", accept),
            );
        }
    }
    let text = "{ImageListForDigest(id:\"nope\"){Results{Tag}}}";
    let extensions = escaped(&json!({"persistedQuery": {"version": 1, "sha256Hash": hash(text)}}).to_string());
    table.target("persisted GET: unknown", &format!("extensions={extensions}"));
    table.target("persisted GET: stored", &format!("query={}&extensions={extensions}", escaped(text)));
    table.body(
        "persisted POST after GET",
        json!({"extensions": {"persistedQuery": {"version": 1, "sha256Hash": hash(text)}}}).to_string(),
    );
    let invalid = "{Nope}";
    let with_hash =
        json!({"query": invalid, "extensions": {"persistedQuery": {"version": 1, "sha256Hash": hash(invalid)}}});
    table.body("persisted invalid: stored", with_hash.to_string());
    table.body("persisted invalid: known", json!({"extensions": with_hash["extensions"]}).to_string());
}

fn forms(table: &mut Table) {
    let form = |parts: &[(&str, &str)], end: &str| {
        let parts: String = parts
            .iter()
            .map(|(head, text)| format!("--B\r\nContent-Disposition: form-data; {head}\r\n\r\n{text}\r\n"))
            .collect();
        Call::by(0, "POST", SEARCH).with("multipart/form-data; boundary=B", format!("{parts}{end}"))
    };
    for (kind, document) in [("fan", FAN), ("two", TWO), ("one", ONE), ("none", NONE), ("invalid", "{Nope}")] {
        let operations = json!({"query": document, "variables": {"file": null}}).to_string();
        let (op, map) = (("name=\"operations\"", operations.as_str()), ("name=\"map\"", "{}"));
        for (name, parts, end) in [
            ("plain", vec![op, map], "--B--\r\n"),
            ("without a last line feed", vec![op, map], "--B--"),
            ("no end", vec![op, map], ""),
            ("no map", vec![op], "--B--\r\n"),
            ("swapped", vec![map, op], "--B--\r\n"),
            ("nothing", vec![], "--B--\r\n"),
            ("empty", vec![], ""),
            ("bad map", vec![op, ("name=\"map\"", "x")], "--B--\r\n"),
            ("null map", vec![op, ("name=\"map\"", "null")], "--B--\r\n"),
            ("list map", vec![op, ("name=\"map\"", "[]")], "--B--\r\n"),
            ("map of other things", vec![op, ("name=\"map\"", r#"{"0":1}"#)], "--B--\r\n"),
            ("missing file", vec![op, ("name=\"map\"", r#"{"0":["variables.file"]}"#)], "--B--\r\n"),
            (
                "file",
                vec![op, ("name=\"map\"", r#"{"0":["variables.file"]}"#), ("name=\"0\"; filename=\"a\"", "x")],
                "--B--\r\n",
            ),
            (
                "file elsewhere",
                vec![op, ("name=\"map\"", r#"{"0":["x"]}"#), ("name=\"0\"; filename=\"a\"", "x")],
                "--B--\r\n",
            ),
            ("part without a path", vec![op, map, ("name=\"0\"; filename=\"a\"", "x")], "--B--\r\n"),
            ("bad operations", vec![("name=\"operations\"", "x"), map], "--B--\r\n"),
            ("operations null", vec![("name=\"operations\"", "null"), map], "--B--\r\n"),
            ("batch", vec![("name=\"operations\"", "[]"), map], "--B--\r\n"),
            ("name without quotes", vec![("name=operations", operations.as_str()), ("name=map", "{}")], "--B--\r\n"),
        ] {
            table.add(format!("form {kind}: {name}"), form(&parts, end));
        }
        let plain = form(&[op, map], "--B--\r\n");
        for (name, content_type) in [
            ("quoted boundary", "multipart/form-data; boundary=\"B\""),
            ("other boundary", "multipart/form-data; boundary=C"),
            ("empty boundary", "multipart/form-data; boundary="),
            ("no boundary", "multipart/form-data"),
            ("upper case", "Multipart/Form-Data; Boundary=B"),
            ("charset", "multipart/form-data; charset=utf-8; boundary=B"),
        ] {
            let mut call = plain.clone();
            call.headers[0].1 = content_type.to_owned();
            table.add(format!("form {kind}: {name}"), call);
        }
        table.add(format!("form {kind}: accept"), with(plain.clone(), "Accept", "application/graphql-response+json"));
        let mut call = plain.clone();
        call.body = String::from_utf8(call.body).unwrap().replace("\r\n", "\n").into();
        table.add(format!("form {kind}: line feeds"), call);
        let mut call = plain.clone();
        call.body.splice(0..0, *b"preamble\r\n");
        table.add(format!("form {kind}: preamble"), call);
        let mut call = plain;
        call.user = None;
        table.add(format!("form {kind}: anonymous"), call);
        let encoded = format!("query={}", escaped(document));
        table.add(
            format!("urlencoded {kind}"),
            Call::by(0, "POST", SEARCH).with("application/x-www-form-urlencoded", encoded),
        );
    }
}

fn documents(table: &mut Table) {
    let fan = "RepoListWithNewestImage(requestedPage:{limit:1 sortBy:ALPHABETIC_ASC}){Results{Name}}";
    let image = "Image(image:\"lib:1\"){Tag}";
    for (name, document) in [
        ("typename beside", format!("{{t:__typename {fan} u:__typename}}")),
        ("typename inside", "{ImageListForDigest(id:\"nope\"){__typename Page{__typename TotalCount} Results{__typename Tag}}}".to_owned()),
        ("typename of items", "{RepoListWithNewestImage(requestedPage:{limit:1 sortBy:ALPHABETIC_ASC}){__typename Results{__typename Name n:Name __t:__typename} Page{t:__typename TotalCount}}}".to_owned()),
        ("typename of a search", "{GlobalSearch(query:\"lib\" requestedPage:{limit:1 sortBy:ALPHABETIC_ASC}){__typename Page{TotalCount} Repos{Name __typename} Images{Tag} Layers{Digest}}}".to_owned()),
        ("schema beside", format!("{{__schema{{queryType{{name}} mutationType{{name}} types{{name kind}}}} {fan}}}")),
        ("schema whole", "{__schema{description queryType{name} subscriptionType{name} directives{name locations isRepeatable args{name type{name kind ofType{name}} defaultValue}} types{name kind description fields(includeDeprecated:true){name isDeprecated args{name defaultValue} type{kind name ofType{kind name ofType{kind name ofType{name}}}}} inputFields{name defaultValue} enumValues{name} interfaces{name} possibleTypes{name}}}}".to_owned()),
        ("type", "{__type(name:\"ImageSummary\"){name kind fields{name}} n:__type(name:\"Nope\"){name}}".to_owned()),
        ("type beside", format!("{{__type(name:\"PageInput\"){{inputFields{{name}}}} {fan} {image}}}")),
        ("introspection fragment", format!("query{{...S {fan}}} fragment S on Query{{__schema{{queryType{{name}}}}}}")),
        ("mutation", "mutation{x}".to_owned()),
        ("mutation beside", format!("query A{{{fan}}} mutation B{{x}}")),
        ("subscription", "subscription{x}".to_owned()),
        ("unknown directive", format!("{{{} @nope {{Tag}}}}", "Image(image:\"lib:1\")")),
        ("unknown directive in a fan-out", "{RepoListWithNewestImage @nope{Results{Name}}}".to_owned()),
        ("deprecated in a document", "{RepoListWithNewestImage @deprecated{Results{Name}}}".to_owned()),
        ("repeated directive", "{RepoListWithNewestImage @include(if:true) @include(if:true){Results{Name}}}".to_owned()),
        ("skip and include", format!("{{...@skip(if:true){{{fan}}} {image} ...@include(if:false){{b:{image}}}}}")),
        ("all skipped", format!("{{...@skip(if:true){{{fan}}}}}")),
        ("skipped member", "{RepoListWithNewestImage(requestedPage:{limit:1 sortBy:ALPHABETIC_ASC}){Page @skip(if:true){TotalCount} Results{Name @include(if:false) n:Name}}}".to_owned()),
        ("all members skipped", "{RepoListWithNewestImage(requestedPage:{limit:1 sortBy:ALPHABETIC_ASC}){Page{TotalCount @skip(if:true)} Results{Name @skip(if:true)}}}".to_owned()),
        ("directive of the operation", format!("query @skip(if:true){{{fan}}}")),
        ("anonymous of two", format!("query A{{{fan}}} {{{image}}}")),
        ("two of one name", format!("query A{{{fan}}} query A{{{image}}}")),
        ("two without a choice", format!("query A{{{fan}}} query B{{{image}}}")),
        ("unused fragment", format!("{{{fan}}} fragment F on Query{{__typename}}")),
        ("undefined fragment", format!("{{{fan} ...F}}")),
        ("cyclic fragment", format!("{{{fan} ...F}} fragment F on Query{{...G}} fragment G on Query{{...F}}")),
        ("fragment of another type", format!("{{{fan} ...on ImageSummary{{Tag}}}}")),
        ("fragment of no type", format!("{{{fan} ...on Nope{{Tag}}}}")),
        ("conflict", "{a:ImageList(repo:\"lib\"){Results{Tag}} a:ImageList(repo:\"alpine\"){Results{Tag}}}".to_owned()),
        ("conflict below", "{ImageList(repo:\"\"){Results{x:Tag x:Digest}}}".to_owned()),
        ("invalid beside valid", format!("{{{image} {fan} Nope Image(image:\"alpine:3.20\"){{Nope}}}}")),
        ("invalid argument", format!("{{{fan} ImageList(repo:1){{Results{{Tag}}}} b:ImageList(nope:1){{Page{{TotalCount}}}}}}")),
        ("missing argument", format!("{{{fan} Image{{Tag}}}}")),
        ("no selections", format!("{{{fan} ImageList(repo:\"\")}}")),
        ("selections of a scalar", "{ImageList(repo:\"\"){Results{Tag{x}}}}".to_owned()),
        ("empty selections", "{ImageList(repo:\"\"){}}".to_owned()),
        ("unused variable", format!("query($x:Int){{{fan}}}")),
        ("undefined variable", "{ImageList(repo:$r){Results{Tag}} Image(image:\"lib:1\"){Tag}}".to_owned()),
        ("failing beside a fan-out", format!("{{{fan} x:Image(image:\"lib:nope\"){{Tag}} y:Image(image:\"nope:1\"){{Tag}}}}")),
        ("failing alone", "{x:Image(image:\"lib:nope\"){Tag}}".to_owned()),
        ("bad page beside", format!("{{{fan} x:ImageList(repo:\"\" requestedPage:{{limit:-1}}){{Results{{Tag}}}}}}")),
        ("bad sort beside", format!("{{{fan} x:ImageList(repo:\"\" requestedPage:{{sortBy:SEVERITY}}){{Results{{Tag}}}}}}")),
        ("unknown sort", "{ImageList(repo:\"\" requestedPage:{sortBy:NOPE}){Results{Tag}}}".to_owned()),
        ("long search", format!("{{GlobalSearch(query:\"{}\"){{Repos{{Name}}}}}}", "x".repeat(300))),
        ("search of no form", "{GlobalSearch(query:\"@x\"){Repos{Name}} a:GlobalSearch(query:\":\"){Repos{Name}}}".to_owned()),
        ("escapes", "{ImageListForDigest(id:\"<&>\\u2028\\\"\\\\\\ud83d\\ude00\"){Results{Tag}} Image(image:\"<&>\\u2028:1\"){Tag}}".to_owned()),
        ("escaped error", "{Image(image:\"lib:<&>\\u2028\\u0001\"){Tag}}".to_owned()),
        ("name with an escape", "{Nope_<}".to_owned()),
        ("bad escape", "{Image(image:\"\\x\"){Tag}}".to_owned()),
        ("lone surrogate escape", "{Image(image:\"lib:\\ud800\"){Tag}}".to_owned()),
        ("block string", "{Image(image:\"\"\"lib:1\"\"\"){Tag} ImageList(repo:\"\"\"\n  alpine\n\"\"\"){Results{Tag}}}".to_owned()),
        ("string over a line", "{Image(image:\"lib:\n1\"){Tag}}".to_owned()),
        ("no closing quote", "{Image(image:\"lib:1){Tag}}".to_owned()),
        ("big numbers", "{ImageList(repo:\"\" requestedPage:{limit:2147483648 offset:0}){Page{ItemCount}}}".to_owned()),
        ("bigger numbers", "{ImageList(repo:\"\" requestedPage:{limit:9223372036854775808}){Page{ItemCount}}}".to_owned()),
        ("float for a number", "{ImageList(repo:\"\" requestedPage:{limit:1.0}){Page{ItemCount}}}".to_owned()),
        ("text for a number", "{ImageList(repo:\"\" requestedPage:{limit:\"1\"}){Page{ItemCount}}}".to_owned()),
        ("null for a number", "{ImageList(repo:\"\" requestedPage:{limit:null}){Page{ItemCount}}}".to_owned()),
        ("null page", "{ImageList(repo:\"\" requestedPage:null){Page{ItemCount}}}".to_owned()),
        ("null repo", "{ImageList(repo:null){Page{ItemCount}}}".to_owned()),
        ("unknown member of the page", "{ImageList(repo:\"\" requestedPage:{x:1}){Page{ItemCount}}}".to_owned()),
        ("duplicate member of the page", "{ImageList(repo:\"\" requestedPage:{limit:1 limit:2}){Page{ItemCount}}}".to_owned()),
        ("duplicate argument", "{ImageList(repo:\"\" repo:\"lib\"){Page{ItemCount}}}".to_owned()),
        ("schema definition", "type Query{x:Int} {__typename}".to_owned()),
        ("extension", "extend type Query{x:Int}".to_owned()),
        ("garbage", "!!!".to_owned()),
        ("dollar", "{$x}".to_owned()),
        ("emoji", "{\u{1f600}}".to_owned()),
        ("cve query", "{CVEListForImage(image:\"lib:1\"){Tag}}".to_owned()),
        ("cve queries", "{CVEListForImage(image:\"lib:1\"){Tag} ImageListForCVE(id:\"x\"){Results{Tag}} b:ImageListWithCVEFixed(id:\"x\" image:\"alpine\"){Results{Tag}}}".to_owned()),
        ("all of one key", format!("{{{fan} {fan} {fan}}}")),
        ("merged selections", "{ImageList(repo:\"\" requestedPage:{limit:1}){Results{Tag}} ImageList(repo:\"\" requestedPage:{limit:1}){Page{TotalCount} Results{RepoName}}}".to_owned()),
        ("starred", "{StarredRepos{Results{Name}} BookmarkedRepos{Page{TotalCount}}}".to_owned()),
    ] {
        table.document(format!("document {name}"), &document);
    }
    // Below the bounds of the gateway.
    for depth in [10, 20, 40] {
        let nested = "ofType{".repeat(depth) + "name" + &"}".repeat(depth);
        table.document(
            format!("depth {depth}"),
            &format!("{{__type(name:\"Query\"){{fields{{type{{{nested}}}}}}} {fan}}}"),
        );
        let fragments = "...{".repeat(depth) + fan + &"}".repeat(depth);
        table.document(format!("fragments {depth}"), &format!("{{{fragments}}}"));
        let fields: String = (0..depth.min(30)).map(|i| format!("f{i}:{image} ")).collect();
        table.document(format!("fields {depth}"), &format!("{{{fields}}}"));
    }
    let two = "query A{ImageList(repo:\"lib\"){Page{TotalCount}}} query B($r:String!){ImageList(repo:$r){Page{TotalCount}} __typename}";
    for (operation, variables) in [
        ("A", json!({})),
        ("B", json!({"r": ""})),
        ("B", json!({})),
        ("C", json!({})),
        ("a", json!({})),
        (" ", json!({})),
    ] {
        table.body(
            format!("operation {operation} with {variables}"),
            json!({"query": two, "operationName": operation, "variables": variables}).to_string(),
        );
    }
}

fn variables(table: &mut Table) {
    let limit = "query($n:Int){ImageList(repo:\"\" requestedPage:{limit:$n sortBy:ALPHABETIC_ASC}){Page{ItemCount TotalCount}}}";
    let page = "query($p:PageInput){ImageList(repo:\"\" requestedPage:$p){Page{ItemCount TotalCount}}}";
    let repo = "query($r:String!){a:ImageList(repo:$r){Results{Tag}} b:ImageList(repo:\"\" requestedPage:{limit:1 sortBy:ALPHABETIC_ASC}){Results{Tag}}}";
    let bool =
        "query($b:Boolean!){ImageList(repo:\"\" requestedPage:{limit:1}) @include(if:$b){Page{ItemCount}} __typename}";
    let list = "query($l:[String]){GlobalSearch(query:\"\" filter:{Os:$l} requestedPage:{limit:1 sortBy:ALPHABETIC_ASC}){Page{TotalCount}}}";
    let skipped = "query($r:String! $s:Boolean!){x:ImageList(repo:$r) @skip(if:$s){Results{Tag}} ImageList(repo:\"\" requestedPage:{limit:1}){Page{ItemCount}}}";
    let several = "query($a:Int $b:Int $c:String!){x:ImageList(repo:\"\" requestedPage:{limit:$b}){Page{ItemCount}} y:ImageList(repo:$c requestedPage:{limit:$a}){Page{ItemCount}}}";
    let default = "query($r:String=\"lib\" $n:Int=1){a:ImageList(repo:$r){Results{Tag}} ImageList(repo:\"\" requestedPage:{limit:$n}){Page{ItemCount}}}";
    let values = [
        "1",
        "0",
        "-1",
        "1.0",
        "1e0",
        "1e2",
        "1e999",
        "-0",
        "2147483648",
        "9223372036854775807",
        "9223372036854775808",
        "1.5",
        "\"1\"",
        "\"x\"",
        "\"\"",
        "null",
        "true",
        "false",
        "[]",
        "[1]",
        "[null]",
        "[[\"a\"]]",
        "{}",
        "{\"limit\":1}",
        "{\"limit\":\"1\"}",
        "{\"limit\":1.0}",
        "{\"limit\":1e0}",
        "{\"limit\":null}",
        "{\"limit\":[1]}",
        "{\"Limit\":1}",
        "{\"x\":1}",
        "{\"limit\":1,\"limit\":2}",
        "{\"sortBy\":\"NOPE\"}",
        "{\"sortBy\":\"alphabetic_asc\"}",
        "{\"sortBy\":1}",
        "{\"sortBy\":null}",
        "{\"__typename\":1}",
        "\"lib\"",
        "\"\\ud800\"",
        "\"\\u0000\"",
        "\"<&>\\u2028\"",
        "[\"linux\"]",
        "[\"linux\",1]",
        "\"linux\"",
        "[true]",
    ];
    for (kind, document, name) in [
        ("Int", limit, "n"),
        ("PageInput", page, "p"),
        ("String", repo, "r"),
        ("Boolean", bool, "b"),
        ("list", list, "l"),
        ("default", default, "r"),
        ("default number", default, "n"),
    ] {
        let q = serde_json::Value::from(document).to_string();
        for value in values {
            // A panic of a zot is an exception.
            if value == "[null]" || kind == "list" && value == "null" || value.contains("9223372036854775807") {
                continue;
            }
            table.body(
                format!("variable {kind}: {value}"),
                format!(r#"{{"query":{q},"variables":{{"{name}":{value}}}}}"#),
            );
        }
        for (name, body) in [
            ("none", format!(r#"{{"query":{q}}}"#)),
            ("another", format!(r#"{{"query":{q},"variables":{{"zzz":1}}}}"#)),
            ("other case", format!(r#"{{"query":{q},"variables":{{"{}":1}}}}"#, name.to_uppercase())),
            ("twice", format!(r#"{{"query":{q},"variables":{{"{name}":1,"{name}":"lib"}}}}"#)),
            ("in two objects", format!(r#"{{"query":{q},"variables":{{"{name}":1}},"variables":{{"zzz":"lib"}}}}"#)),
            ("null after", format!(r#"{{"query":{q},"variables":{{"{name}":1}},"variables":null}}"#)),
        ] {
            table.body(format!("variables {kind}: {name}"), body);
        }
    }
    for (name, document, variables) in [
        ("skipped, missing", skipped, r#"{"s":true}"#),
        ("skipped, wrong", skipped, r#"{"s":true,"r":[1]}"#),
        ("skipped, both wrong", skipped, r#"{"s":1,"r":[1]}"#),
        ("skipped, right", skipped, r#"{"s":true,"r":"lib"}"#),
        ("not skipped", skipped, r#"{"s":false,"r":"lib"}"#),
        ("several wrong", several, r#"{"a":"x","b":"y"}"#),
        ("several, last missing", several, r#"{"a":1,"b":1}"#),
        ("several, first wrong", several, r#"{"a":1.5,"b":1,"c":"lib"}"#),
        ("several right", several, r#"{"a":1,"b":1,"c":"lib"}"#),
        ("several, one negative", several, r#"{"a":-1,"b":1,"c":"lib"}"#),
        ("several, both negative", several, r#"{"a":-1,"b":-1,"c":"lib"}"#),
    ] {
        let q = serde_json::Value::from(document).to_string();
        table.body(format!("variables {name}"), format!(r#"{{"query":{q},"variables":{variables}}}"#));
    }
    for field in [
        "Image(image:$r){Tag}",
        "ExpandedRepoInfo(repo:$r){Summary{Name}}",
        "ImageList(repo:$r requestedPage:{limit:1 sortBy:ALPHABETIC_ASC}){Results{Tag}}",
        "GlobalSearch(query:$r requestedPage:{limit:1 sortBy:ALPHABETIC_ASC}){Repos{Name}}",
        "ImageListForDigest(id:$r requestedPage:{limit:1}){Page{TotalCount}}",
        "DerivedImageList(image:$r){Page{TotalCount}}",
        "Referrers(repo:$r digest:\"\" type:[]){Digest}",
        "CVEListForImage(image:$r){Tag}",
    ] {
        for variables in [
            json!({"r": null}),
            json!({"r": "lib"}),
            json!({"r": "lib:1"}),
            json!({"r": 1}),
            json!({}),
            json!({"r": true}),
        ] {
            let query = format!(
                "query($r:String=\"lib\"){{a:{field} RepoListWithNewestImage(requestedPage:{{limit:1}}){{Page{{TotalCount}}}}}}"
            );
            table.body(
                format!("nullable {field} {variables}"),
                json!({"query": query, "variables": variables}).to_string(),
            );
            let query = format!("query($r:String=\"lib\"){{{field}}}");
            table.body(
                format!("nullable {field} alone {variables}"),
                json!({"query": query, "variables": variables}).to_string(),
            );
        }
    }
    table.document("variable of an unknown type", "query($x:Nope){ImageList(repo:$x){Results{Tag}}}");
    table.document("variable of an output type", "query($x:RepoInfo){ImageList(repo:$x){Results{Tag}}}");
    table.document("variable of the wrong type", "query($x:Int){ImageList(repo:$x){Results{Tag}}}");
    table.document("variable twice", "query($x:String! $x:String!){ImageList(repo:$x){Results{Tag}}}");
}

/// Where errors say they are.
fn places(table: &mut Table) {
    let fan = "RepoListWithNewestImage(requestedPage:{limit:1 sortBy:ALPHABETIC_ASC}){Results{Name}}";
    let fail = "Image(image:\"lib:nope\"){Tag}";
    let bad = "ImageList(repo:\"\" requestedPage:{limit:-1}){Page{ItemCount}}";
    let lone = "DerivedImageList(image:\"lib:nope\"){Page{TotalCount}}";
    for (kind, field) in [("one", fail), ("page", bad), ("derived", lone)] {
        for (name, document) in [
            ("plain", format!("{{{fan} {field}}}")),
            ("alias", format!("{{{fan} abc : {field}}}")),
            ("lines", format!("{{\n  {fan}\n\n    x:\n  {field}\n}}")),
            ("carriage returns", format!("{{\r  {fan}\r\n\r\n    x:\r  {field}\r\n}}")),
            ("tabs", format!("{{\t{fan}\t\t{field}\t}}")),
            ("commas", format!("{{,,{fan},,,{field},}}")),
            ("BOM", format!("\u{feff}{{{fan} {field}}}")),
            ("BOM and lines", format!("\u{feff}\n{{{fan}\n {field}}}")),
            ("comment", format!("# \u{e9}\u{1f600}\n{{{fan} # x\n\t{field}}}")),
            ("comment to a carriage return", format!("{{{fan} # x\r{field} # y\r\n b:{field}}}")),
            (
                "characters before",
                format!("{{a:ImageListForDigest(id:\"\u{e9}\u{1f600}\u{2028}\"){{Page{{ItemCount}}}} {field}}}"),
            ),
            (
                "block string before",
                format!("{{a:ImageListForDigest(id:\"\"\"a\n b\r\n\u{1f600}\"\"\"){{Page{{ItemCount}}}} {field}}}"),
            ),
            ("fragment", format!("{{{fan} ...F}}\nfragment F on Query {{\n {field} }}")),
            (
                "fragments",
                format!("{{...F {fan} ...G}} fragment G on Query{{b:{field} ...F}} fragment F on Query{{{field}}}"),
            ),
            ("inline fragment", format!("{{{fan} ... on Query {{ ...{{ {field} }} }} }}")),
            ("twice", format!("{{{fan} {field} {field}}}")),
            ("two aliases", format!("{{{fan} a:{field}\nb:{field}}}")),
            (
                "named operation",
                format!(
                    "query  Name\n(\n$x:String=\"\"\n)\n{{ {fan} y:ImageList(repo:$x requestedPage:{{limit:1}}){{Page{{ItemCount}}}} {field} }}"
                ),
            ),
            ("alone", format!("{{ {field} }}")),
        ] {
            table.document(format!("place {kind}: {name}"), &document);
        }
    }
}
