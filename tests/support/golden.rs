//! The recorded requests and answers in `tests/golden`, as its README describes them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// A header as lines, in their order. Names are in lower case.
pub type Lines = Vec<(String, String)>;

/// A request as it was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Its number; the answer has the same. Steps of flows have none: 0.
    pub n: u64,
    /// The test cases that it belongs to.
    pub ids: Vec<String>,
    /// `sent`, `unpaged`, `apq` or `after-flows`.
    pub kind: String,
    /// Who asks; `None` is nobody.
    pub user: Option<String>,
    /// The method.
    pub method: String,
    /// The target, byte for byte.
    pub path: String,
    /// The recorded header, without what follows from the user.
    pub headers: Lines,
    /// The body.
    pub body: Option<Vec<u8>>,
}

/// An answer: recorded, or received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The header.
    pub headers: Lines,
    /// The body.
    pub body: Vec<u8>,
}

/// A sequence of requests to the one, with their answers.
pub struct Flow {
    /// Its name.
    pub id: String,
    /// Its steps.
    pub steps: Vec<(Request, Answer)>,
}

/// A GraphQL answer that serves to try the comparer.
pub struct Sample {
    /// The request.
    pub request: Request,
    /// What the one answered.
    pub one: Answer,
    /// What the node answered that holds the repository which the request is all about: equal but for what is free.
    pub owner: Option<Answer>,
}

impl Request {
    /// How to speak of it.
    pub fn name(&self) -> &str {
        self.ids.first().map_or("?", String::as_str)
    }

    /// Whether it is for the search extension.
    pub fn is_graphql(&self) -> bool {
        self.path.starts_with("/v2/_zot/ext/search")
    }

    /// The header that a client sends: what was recorded, who it is, and how long the body is.
    pub fn lines(&self) -> Lines {
        let mut lines = self.headers.clone();
        if let Some(user) = &self.user {
            lines.push(("authorization".to_owned(), authorization(user)));
        }
        match &self.body {
            Some(body) => lines.push(("content-length".to_owned(), body.len().to_string())),
            None if matches!(self.method.as_str(), "POST" | "PUT" | "PATCH") => {
                lines.push(("content-length".to_owned(), "0".to_owned()));
            }
            None => {}
        }
        lines
    }
}

impl Answer {
    /// All values of a header.
    pub fn values(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(n, _)| n == name).map(|(_, value)| value.as_str()).collect()
    }
}

fn authorization(user: &str) -> String {
    let pair = match user {
        "alice" => "alice:alice-pw",
        "bob" => "bob:bob-pw",
        "baduser" => "mallory:x",
        "badpass" => "alice:wrong",
        other => panic!("nobody knows the password of {other}"),
    };
    format!("Basic {}", STANDARD.encode(pair))
}

fn read(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn lines_of(name: &str) -> Vec<Value> {
    let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{name}: {error}"));
    read(name).lines().map(parse).collect()
}

fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_else(|| panic!("no text {key} in {value}")).to_owned()
}

fn body_of(value: &Value) -> Option<Vec<u8>> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone().into_bytes()),
        other => Some(STANDARD.decode(text(other, "base64")).expect("base64")),
    }
}

fn header_of(value: &Value) -> Lines {
    let mut lines = Lines::new();
    for (name, value) in value.as_object().expect("a header is an object") {
        let values = value.as_array().cloned().unwrap_or_else(|| vec![value.clone()]);
        for value in values {
            lines.push((name.to_ascii_lowercase(), value.as_str().expect("header values are texts").to_owned()));
        }
    }
    lines
}

fn request_of(value: &Value) -> Request {
    Request {
        n: value["n"].as_u64().unwrap_or_default(),
        ids: value["ids"]
            .as_array()
            .map_or_else(Vec::new, |ids| ids.iter().map(|id| id.as_str().expect("ids are texts").to_owned()).collect()),
        kind: value["kind"].as_str().unwrap_or("sent").to_owned(),
        user: value["user"].as_str().map(str::to_owned),
        method: text(value, "method"),
        path: text(value, "path"),
        headers: header_of(&value["headers"]),
        body: body_of(&value["body"]),
    }
}

fn answer_of(value: &Value, header_sets: &[Lines]) -> Answer {
    let headers = match value["headers"].as_u64() {
        Some(index) => header_sets[usize::try_from(index).expect("an index")].clone(),
        None => header_of(&value["headers"]),
    };
    let status = value["status"].as_u64().and_then(|status| u16::try_from(status).ok()).expect("a status");
    Answer { status, headers, body: body_of(&value["body"]).unwrap_or_default() }
}

fn header_sets() -> Vec<Lines> {
    let sets: Vec<Value> = serde_json::from_str(&read("headers.json")).expect("headers.json");
    sets.iter().map(header_of).collect()
}

/// The recorded requests, in their order.
pub fn requests() -> Vec<Request> {
    lines_of("requests.jsonl").iter().map(request_of).collect()
}

/// The answers of one server (`one`, `node-0` …), by the numbers of the requests.
pub fn answers(server: &str) -> BTreeMap<u64, Answer> {
    let sets = header_sets();
    let mut answers: BTreeMap<u64, Answer> = BTreeMap::new();
    for line in lines_of(&format!("{server}.jsonl")) {
        let mut answer = answer_of(&line, &sets);
        if let Some(earlier) = line["same_body_as"].as_u64() {
            answer.body = answers[&earlier].body.clone();
        }
        answers.insert(line["n"].as_u64().expect("a number"), answer);
    }
    answers
}

/// The recorded flows.
pub fn flows() -> Vec<Flow> {
    let flow = |line: &Value| {
        let id = text(line, "id");
        let step = |(index, step): (usize, &Value)| {
            let mut request = request_of(&step["request"]);
            request.user = step["user"].as_str().map(str::to_owned);
            request.ids = vec![format!("{id}, step {index}")];
            (request, answer_of(&step["response"], &[]))
        };
        let steps = line["steps"].as_array().expect("steps").iter().enumerate().map(step).collect();
        Flow { id, steps }
    };
    lines_of("flows.jsonl").iter().map(flow).collect()
}

/// The GraphQL answers with which the comparer is tried.
pub fn graphql_samples() -> Vec<Sample> {
    let sets = header_sets();
    let sample = |line: &Value| Sample {
        request: request_of(&line["request"]),
        one: answer_of(&line["one"], &sets),
        owner: line.get("owner").map(|answer| answer_of(answer, &sets)),
    };
    lines_of("graphql-samples.jsonl").iter().map(sample).collect()
}

/// The recorded placement: repository, the node that holds it, and the hash of its name.
pub fn placement() -> Vec<(String, usize, u64)> {
    let file: Value = serde_json::from_str(&read("placement.json")).expect("placement.json");
    let holders = file["repositories"].as_object().expect("repositories");
    let place = |(name, nodes): (&String, &Value)| {
        let node = nodes[0].as_u64().and_then(|node| usize::try_from(node).ok()).expect("a node");
        let hash = u64::from_str_radix(file["hashes"][name].as_str().expect("a hash"), 16).expect("hexadecimal");
        (name.clone(), node, hash)
    };
    holders.iter().map(place).collect()
}

/// The routes of a zot, from `routes.tsv`: path, methods, what onezot does.
pub fn routes() -> Vec<(String, Vec<String>, String)> {
    let file = read("routes.tsv");
    let rows = file.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).skip(1);
    let row = |line: &str| {
        let columns: Vec<&str> = line.split('\t').collect();
        let [path, methods, class] = columns[..] else { panic!("not three columns: {line}") };
        (path.to_owned(), methods.split(' ').map(str::to_owned).collect(), class.to_owned())
    };
    rows.map(row).collect()
}
