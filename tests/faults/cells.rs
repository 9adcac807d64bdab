//! The requests of the matrix: made of the rows of both tables, so that a new row is covered without a new test.

use onezot::demo::Content;
use onezot::rules::{Act, By, Class, Composition, Names, QUERIES, Query, QueryClass, ROUTES, Route};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// What a request of a row needs, as the tables say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// No node.
    None,
    /// One node, through which it streams.
    Stream(Node),
    /// Every node's part of a list.
    Catalog,
    /// Every node, the first one first.
    Broadcast,
    /// One node's whole answer, which is looked at before it is passed on.
    One(Act),
    /// Every node, each for itself; those that fail are missing.
    Everywhere,
    /// A document that one node answers as it came.
    Whole(Node),
    /// A document that any node finds valid, with parts of some nodes, of which some cannot be missing.
    Parts { of: Vec<usize>, needs: Vec<usize> },
}

/// The node that a request goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Node {
    /// The owner of the repository.
    Owner,
    /// The first that can be reached.
    Any,
}

/// A request.
#[derive(Clone, Debug)]
pub struct Cell {
    /// The row, and the method.
    pub row: String,
    pub way: Way,
    pub method: &'static str,
    pub target: String,
    pub body: Option<String>,
}

impl Cell {
    /// Whether it changes nothing, as far as its method says.
    pub fn is_safe(&self) -> bool {
        matches!(self.method, "GET" | "HEAD")
    }

    /// Whether it is a document.
    pub fn is_document(&self) -> bool {
        matches!(self.way, Way::Whole(_) | Way::Parts { .. })
    }

    /// The bytes of the request.
    pub fn bytes(&self, id: &str, more: &str) -> Vec<u8> {
        let body = self.body.clone().unwrap_or_default();
        let length = if self.is_safe() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
        format!(
            "{} {} HTTP/1.1\r\nHost: r\r\nConnection: close\r\nX-Cell: {id}\r\n{more}\
             Authorization: Basic YWxpY2U6YWxpY2UtcHc=\r\nContent-Type: application/json\r\n{length}\r\n{body}",
            self.method, self.target
        )
        .into_bytes()
    }
}

/// What the requests name: a repository with an image and a blob on the node that owns it, and another image elsewhere.
pub struct Named {
    pub repository: String,
    pub tag: String,
    pub digest: String,
    pub other: (String, String),
    /// A repository that is not there, whose owner is the same.
    pub absent: String,
}

impl Named {
    /// Something on the second node of three, and something on the third.
    pub fn of(content: &Content, owner: impl Fn(&str) -> usize) -> Named {
        let on = |node: usize| {
            let is_tag = |reference: &str| !reference.contains(':');
            let at = |push: &&onezot::demo::content::Push| {
                owner(&push.repository) == node && is_tag(&push.reference) && push.user == "alice"
            };
            content.pushes.iter().find(at).unwrap()
        };
        let (push, other) = (on(1), on(2));
        Named {
            repository: push.repository.clone(),
            tag: push.reference.clone(),
            digest: push.digest.clone(),
            other: (other.repository.clone(), other.reference.clone()),
            absent: (0..).map(|number| format!("absent/{number}")).find(|name| owner(name) == 1).unwrap(),
        }
    }
}

const READS: &[&str] = &["GET", "HEAD"];
const ALL: &[&str] = &["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];
const SOME: &[&str] = &["GET", "POST"];

/// The requests of every row of both tables.
pub fn all(named: &Named, schema: &Value) -> Vec<Cell> {
    let mut cells: Vec<Cell> = ROUTES.iter().flat_map(|route| of_route(route, named)).collect();
    let types = schema["data"]["__schema"]["types"].as_array().unwrap();
    let types: BTreeMap<&str, &Value> = types.iter().map(|kind| (kind["name"].as_str().unwrap(), kind)).collect();
    cells.extend(QUERIES.iter().flat_map(|query| of_query(query, named, &types)));
    cells
}

fn of_route(route: &Route, named: &Named) -> Vec<Cell> {
    let way = match route.class {
        Class::RouteOnce(By::PathRepository(_) | By::QueryRepository(_)) | Class::Mount => Way::Stream(Node::Owner),
        Class::RouteOnce(By::AnyNode) | Class::Unrouted => Way::Stream(Node::Any),
        Class::Catalog => Way::Catalog,
        Class::Broadcast => Way::Broadcast,
        Class::Probe => Way::None,
        // Its requests are those of the other table.
        Class::Documents => return Vec::new(),
        // Without sessions and seal keys; with them, tests/identity.rs has their faults.
        Class::Identity(Act::CallBack) => Way::Stream(Node::Any),
        Class::Identity(Act::LogOut) => Way::Everywhere,
        Class::Identity(act) => Way::One(act),
    };
    let methods: Vec<&'static str> = match (route.methods, &way) {
        ([], Way::Stream(Node::Owner)) => ALL.to_vec(),
        ([], _) => SOME.to_vec(),
        (methods, _) => ALL.iter().filter(|name| methods.iter().any(|method| method == *name)).copied().collect(),
    };
    let cell = |method: &'static str| {
        // What is written is not there: the nodes stay as they are.
        let (tag, digest) = match READS.contains(&method) {
            true => (named.tag.as_str(), named.digest.as_str()),
            false => ("no-such-tag", "sha256:0000000000000000000000000000000000000000000000000000000000000000"),
        };
        let path = route.path.trim_end_matches('*');
        let path = path
            .replace("<name>", &named.repository)
            .replace("<reference>", tag)
            .replace("<digest>", digest)
            .replace("<session>", "9a5b9b6a-436a-4bc3-ab15-567577be11ed")
            .replace("<provider>", "github");
        let path = if route.path == "/*" { "/favicon.ico".to_owned() } else { path };
        let target = match route.class {
            Class::RouteOnce(By::QueryRepository(parameter)) => {
                format!("{path}?action=toggleStar&{parameter}={}", named.absent)
            }
            _ => path,
        };
        let body = (route.class == Class::Broadcast).then(|| "key".to_owned());
        Cell { row: format!("{method} {}", route.path), way: way.clone(), method, target, body }
    };
    methods.into_iter().map(cell).collect()
}

fn of_query(query: &Query, named: &Named, types: &BTreeMap<&str, &Value>) -> Vec<Cell> {
    let fields = types["Query"]["fields"].as_array().unwrap();
    let field = fields.iter().find(|field| field["name"] == query.name).unwrap();
    let (name, image) = (named.repository.clone(), format!("{}:{}", named.repository, named.tag));
    // A list that may name a repository is asked both ways.
    let values = match (query.class, query.names) {
        (_, Names::Nothing) => vec![String::new()],
        (QueryClass::FanOut, Names::Repository(_)) => vec![name, String::new()],
        (QueryClass::FanOut, Names::Search(_)) => vec![image, "a".to_owned()],
        (_, Names::Repository(_)) => vec![name],
        _ => vec![image],
    };
    let mut cells = Vec::new();
    for (index, value) in values.iter().enumerate() {
        let way = match query.class {
            QueryClass::RouteOnce => Way::Whole(Node::Owner),
            QueryClass::FanOut if query.names.argument().is_some() && index == 0 => Way::Whole(Node::Owner),
            QueryClass::FanOut | QueryClass::MetaDependent => Way::Parts { of: vec![0, 1, 2], needs: Vec::new() },
            // Only the owner knows the image.
            QueryClass::Composed(Composition::Lineage(_)) => Way::Parts { of: vec![0, 1, 2], needs: vec![1] },
            QueryClass::Composed(Composition::CveDiff { .. }) => Way::Parts { of: vec![1, 2], needs: vec![1, 2] },
        };
        let arguments = arguments(query, field, value, named);
        let document = format!("{{{}{arguments}{}}}", query.name, selection(&field["type"], types, 0));
        for method in SOME {
            let search = "/v2/_zot/ext/search";
            let (target, body) = match *method {
                "GET" => (format!("{search}?query={}", encoded(&document)), None),
                _ => (search.to_owned(), Some(json!({"query": document}).to_string())),
            };
            // What streams is what one node answers.
            let way = match &way {
                Way::Whole(node) if *method == "GET" => Way::Stream(*node),
                way => way.clone(),
            };
            cells.push(Cell { row: format!("{method} {} {value:?}", query.name), way, method, target, body });
        }
    }
    cells
}

fn arguments(query: &Query, field: &Value, value: &str, named: &Named) -> String {
    let image =
        |name: &str, tag: &str| format!(r#"{{Repo:"{name}",Tag:"{tag}",Platform:{{Os:"linux",Arch:"amd64"}}}}"#);
    let mut written = Vec::new();
    for argument in field["args"].as_array().unwrap() {
        let name = argument["name"].as_str().unwrap();
        let mut kind = &argument["type"];
        let is_required = kind["kind"] == "NON_NULL";
        while !kind["ofType"].is_null() {
            kind = &kind["ofType"];
        }
        let text = match (kind["name"].as_str().unwrap(), query.names.argument() == Some(name)) {
            ("ImageInput", true) => image(&named.repository, &named.tag),
            ("ImageInput", false) => image(&named.other.0, &named.other.1),
            (_, true) => Value::from(value).to_string(),
            _ if !is_required => continue,
            _ => Value::from(named.digest.as_str()).to_string(),
        };
        written.push(format!("{name}:{text}"));
    }
    if written.is_empty() { String::new() } else { format!("({})", written.join(",")) }
}

/// Plain fields, and those of what is in them.
fn selection(kind: &Value, types: &BTreeMap<&str, &Value>, depth: usize) -> String {
    let mut kind = kind;
    while !kind["ofType"].is_null() {
        kind = &kind["ofType"];
    }
    let fields = types[kind["name"].as_str().unwrap()]["fields"].as_array();
    let Some(fields) = fields.filter(|fields| !fields.is_empty()) else { return String::new() };
    // Pulls are counted.
    let is_still = |field: &&Value| !["DownloadCount", "LastPullTimestamp"].contains(&field["name"].as_str().unwrap());
    let chosen = fields.iter().filter(is_still).filter_map(|field| {
        let below = selection(&field["type"], types, depth + 1);
        (below.is_empty() || depth < 1).then(|| format!("{}{below}", field["name"].as_str().unwrap()))
    });
    format!("{{{}}}", chosen.collect::<Vec<_>>().join(" "))
}

fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric();
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}
