//! Compares an answer with the recorded one, as far as the two can be compared (`tests/golden/README.md`).

use async_graphql::Value;
use async_graphql::parser::types::{ExecutableDocument, OperationDefinition, Selection, SelectionSet};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

/// A recorded request.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Request {
    #[serde(default, skip_serializing_if = "is_zero")]
    pub n: usize,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub kind: String,
    pub user: Option<String>,
    pub method: String,
    pub path: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    #[serde(default)]
    pub body: Content,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// Text, or bytes that are none.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(untagged)]
pub enum Content {
    Text(String),
    Bytes {
        base64: String,
    },
    #[default]
    Nothing,
}

impl Content {
    pub fn bytes(&self) -> Vec<u8> {
        use base64::Engine;
        match self {
            Self::Text(text) => text.clone().into_bytes(),
            Self::Bytes { base64 } => base64::engine::general_purpose::STANDARD.decode(base64).unwrap(),
            Self::Nothing => Vec::new(),
        }
    }
}

/// An answer. Header names are in lower case.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    pub status: u16,
    pub headers: BTreeMap<String, Vec<String>>,
    pub body: Vec<u8>,
}

/// The differences that matter.
pub fn differences(request: &Request, expected: &Answer, actual: &Answer) -> Vec<String> {
    let mut found = Vec::new();
    if expected.status != actual.status {
        let body = String::from_utf8_lossy(&actual.body);
        found.push(format!("status {} instead of {}: {body}", actual.status, expected.status));
        return found;
    }
    headers(request, expected, actual, &mut found);
    let is_search = request.path.starts_with("/v2/_zot/ext/search");
    match (std::str::from_utf8(&expected.body), std::str::from_utf8(&actual.body)) {
        (Ok(one), Ok(other)) if is_search => search(request, expected.status, one, other, &mut found),
        (Ok(one), Ok(other)) => {
            let (one, other) = (without_uploads(one), without_uploads(other));
            if one != other {
                found.push(format!("body {other:?} instead of {one:?}"));
            }
        }
        _ if without_boundaries(&expected.body) != without_boundaries(&actual.body) => {
            found.push("other bytes".to_owned());
        }
        _ => {}
    }
    found
}

/// Names of uploads differ from run to run.
fn without_uploads(text: &str) -> String {
    // Boundaries of multipart bodies are as random.
    static UUID: LazyLock<regex::Regex> = LazyLock::new(|| {
        let uuid = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|--[0-9a-f]{60}";
        regex::Regex::new(uuid).unwrap()
    });
    UUID.replace_all(text, "UPLOAD").into_owned()
}

/// Boundaries are as random in bytes that are no text.
fn without_boundaries(bytes: &[u8]) -> Vec<u8> {
    regex::bytes::Regex::new("--[0-9a-f]{60}").unwrap().replace_all(bytes, &b"--BOUNDARY"[..]).into_owned()
}

/// Headers of the transport, and those that zot's recordings leave out.
const IGNORED: [&str; 5] = ["date", "connection", "transfer-encoding", "server", "keep-alive"];

fn headers(request: &Request, expected: &Answer, actual: &Answer, found: &mut Vec<String>) {
    let names: BTreeSet<&String> = expected.headers.keys().chain(actual.headers.keys()).collect();
    for name in names.into_iter().filter(|name| !IGNORED.contains(&name.as_str())) {
        let (one, other) = (expected.headers.get(name), actual.headers.get(name));
        match name.as_str() {
            // Recorded with HEAD, and in flows; the length of a GraphQL answer changes with its times.
            "content-length" if one.is_none() || request.path.starts_with("/v2/_zot/ext/search") => {}
            "set-cookie" => {
                let shapes = |cookies: Option<&Vec<String>>| {
                    cookies.map(|cookies| cookies.iter().map(|cookie| cookie_shape(cookie)).collect::<Vec<_>>())
                };
                if shapes(one) != shapes(other) {
                    found.push(format!("cookies {other:?} instead of {one:?}"));
                }
            }
            "content-type" if one.is_some_and(|one| one[0].starts_with("multipart/byteranges")) => {}
            _ => {
                let plain = |values: Option<&Vec<String>>| {
                    values.map(|values| values.iter().map(|value| without_uploads(value)).collect::<Vec<_>>())
                };
                if plain(one) != plain(other) {
                    found.push(format!("header {name} {other:?} instead of {one:?}"));
                }
            }
        }
    }
}

/// A cookie without its value, and without the times that belong to a run.
fn cookie_shape(cookie: &str) -> String {
    let mut parts = cookie.split("; ");
    let pair = parts.next().unwrap_or_default();
    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
    let rest: Vec<&str> = parts
        .map(|part| if part.starts_with("Expires=") && !part.contains("1970") { "Expires" } else { part })
        .collect();
    format!("{name}={}; {}", if value.is_empty() { "" } else { "…" }, rest.join("; "))
}

fn search(request: &Request, status: u16, expected: &str, actual: &str, found: &mut Vec<String>) {
    if expected == actual {
        return;
    }
    let (Ok(one), Ok(other)) = (serde_json::from_str::<Value>(expected), serde_json::from_str::<Value>(actual)) else {
        found.push(format!("body {actual:?} instead of {expected:?}"));
        return;
    };
    let (Value::Object(one), Value::Object(other)) = (one, other) else {
        found.push("not an object".to_owned());
        return;
    };
    if one.keys().collect::<Vec<_>>() != other.keys().collect::<Vec<_>>() {
        found.push(format!("keys {:?} instead of {:?}", other.keys(), one.keys()));
        return;
    }
    let errors = |answer: &async_graphql::indexmap::IndexMap<async_graphql::Name, Value>| match answer.get("errors") {
        Some(Value::List(errors)) => errors.clone(),
        _ => Vec::new(),
    };
    let (expected_errors, actual_errors) = (errors(&one), errors(&other));
    if matches!(status, 400 | 422) && codes(&expected_errors).iter().any(|code| !code.is_empty()) {
        // The wording of errors in documents and variables is free, as is their number.
        if codes(&expected_errors) != codes(&actual_errors) {
            found.push(format!("errors {actual_errors:?} instead of {expected_errors:?}"));
        }
    } else {
        let sorted = |errors: &[Value]| {
            let mut errors: Vec<String> = errors.iter().map(|error| without_layers(&error.to_string())).collect();
            errors.sort();
            errors
        };
        if sorted(&expected_errors) != sorted(&actual_errors) {
            found.push(format!("errors {actual_errors:?} instead of {expected_errors:?}"));
        }
    }
    let (one, other) = (&one["data"], &other["data"]);
    if one == other {
        return;
    }
    match Asked::read(request) {
        Some(asked) => {
            let mut path = Vec::new();
            asked.compare(&asked.shape(), one, other, &mut path, found);
        }
        None => found.push(format!("data {other} instead of {one}")),
    }
}

fn codes(errors: &[Value]) -> BTreeSet<String> {
    let code = |error: &Value| match error {
        Value::Object(error) => match error.get("extensions") {
            Some(Value::Object(extensions)) => extensions.get("code").map(ToString::to_string),
            _ => None,
        },
        _ => None,
    };
    errors.iter().map(|error| code(error).unwrap_or_default()).collect()
}

/// A scan that fails names whichever layer failed first.
fn without_layers(text: &str) -> String {
    regex::Regex::new(r"analyze layer \(sha256:[0-9a-f]{64}\)").unwrap().replace_all(text, "analyze layer").into_owned()
}

/// The queries of a document.
pub fn queries(request: &Request) -> BTreeSet<String> {
    let shape = Asked::read(request).map(|asked| asked.shape()).unwrap_or_default();
    shape.fields.into_values().map(|field| field.name).filter(|name| !name.starts_with("__")).collect()
}

/// What a document asks for, by response key.
#[derive(Clone, Debug, Default)]
struct Shape {
    name: String,
    sort: Option<String>,
    /// Whether the page begins after something.
    late: bool,
    /// Whether something may follow the page.
    cut: bool,
    /// The text that was searched, or the repository that was named.
    about: String,
    fields: BTreeMap<String, Shape>,
}

struct Asked {
    document: ExecutableDocument,
    operation: Option<String>,
    variables: serde_json::Value,
}

impl Asked {
    fn read(request: &Request) -> Option<Self> {
        let (mut query, mut operation, mut variables) = (String::new(), None, serde_json::Value::Null);
        if request.method == "POST" {
            let body: serde_json::Value = serde_json::from_slice(&request.body.bytes()).ok()?;
            query = body.get("query")?.as_str()?.to_owned();
            operation = body.get("operationName").and_then(|name| name.as_str()).map(str::to_owned);
            variables = body.get("variables").cloned().unwrap_or_default();
        } else {
            let target = request.path.split_once('?')?.1;
            for (name, value) in form_urlencoded::parse(target.as_bytes()) {
                match &*name {
                    "query" => query = value.into_owned(),
                    "operationName" => operation = Some(value.into_owned()),
                    "variables" => variables = serde_json::from_str(&value).ok()?,
                    _ => {}
                }
            }
        }
        let document = async_graphql::parser::parse_query(query).ok()?;
        Some(Self { document, operation: operation.filter(|name| !name.is_empty()), variables })
    }

    fn operation(&self) -> Option<&OperationDefinition> {
        let mut operations: Vec<_> = self.document.operations.iter().collect();
        operations.sort_by_key(|(name, _)| name.map(ToString::to_string));
        let mut asked_for = operations.into_iter().filter(|(name, _)| {
            self.operation.is_none() || name.map(|name| name.as_str()) == self.operation.as_deref()
        });
        asked_for.next().map(|(_, operation)| &operation.node)
    }

    fn shape(&self) -> Shape {
        let mut root = Shape::default();
        if let Some(operation) = self.operation() {
            self.add(&operation.selection_set.node, &mut root, 0);
        }
        root
    }

    fn add(&self, set: &SelectionSet, shape: &mut Shape, depth: usize) {
        if depth > 40 {
            // Fragments that contain themselves; zot refuses them.
            return;
        }
        for selection in &set.items {
            match &selection.node {
                Selection::Field(field) => {
                    let field = &field.node;
                    let entry = shape.fields.entry(field.response_key().node.to_string()).or_default();
                    entry.name = field.name.node.to_string();
                    for argument in ["query", "repo"] {
                        let value = field.get_argument(argument).map(|value| value.node.clone());
                        let value = value.and_then(|value| value.into_const_with(|name| self.variable(&name)).ok());
                        if let Some(Value::String(text)) = value {
                            entry.about = text;
                        }
                    }
                    if let Some(page) = field.get_argument("requestedPage") {
                        let page = page.node.clone().into_const_with(|name| self.variable(&name)).unwrap_or_default();
                        if let Value::Object(page) = page {
                            let sort = page.get("sortBy").cloned();
                            let sort = sort.map(|sort| sort.to_string().trim_matches('"').to_owned());
                            entry.sort = sort.filter(|sort| sort != "null");
                            let set = |name: &str| {
                                page.get(name).is_some_and(|value| !matches!(&*value.to_string(), "0" | "null"))
                            };
                            (entry.late, entry.cut) = (set("offset"), set("limit"));
                        }
                    }
                    self.add(&field.selection_set.node, entry, depth + 1);
                }
                Selection::FragmentSpread(spread) => {
                    if let Some(fragment) = self.document.fragments.get(&spread.node.fragment_name.node) {
                        self.add(&fragment.node.selection_set.node, shape, depth + 1);
                    }
                }
                Selection::InlineFragment(inline) => self.add(&inline.node.selection_set.node, shape, depth + 1),
            }
        }
    }

    fn variable(&self, name: &str) -> Result<Value, ()> {
        let given = self.variables.get(name).cloned();
        if let Some(given) = given {
            return Value::from_json(given).map_err(drop);
        }
        let definitions =
            self.operation().map(|operation| operation.variable_definitions.as_slice()).unwrap_or_default();
        let definition = definitions.iter().find(|definition| definition.node.name.node == name);
        Ok(definition.and_then(|definition| definition.node.default_value()).cloned().unwrap_or_default())
    }

    fn compare(&self, shape: &Shape, one: &Value, other: &Value, path: &mut Vec<String>, found: &mut Vec<String>) {
        if one == other {
            return;
        }
        match (one, other) {
            (Value::Object(one), Value::Object(other)) => {
                if one.keys().collect::<Vec<_>>() != other.keys().collect::<Vec<_>>() {
                    found.push(format!("{}: keys {:?} instead of {:?}", path.join("."), other.keys(), one.keys()));
                    return;
                }
                for (key, value) in one {
                    let empty = Shape::default();
                    let mut inner = shape.fields.get(key.as_str()).unwrap_or(&empty).clone();
                    // Sorting is asked for at the root, and shows in the list below it.
                    if path.len() == 1 && matches!(&*inner.name, "Results" | "Repos" | "Images" | "CVEList") {
                        inner.sort = shape.sort.clone().or_else(|| default_sort(&shape.name).map(str::to_owned));
                        (inner.late, inner.cut) = (shape.late, shape.cut);
                        inner.about.clone_from(&shape.about);
                    }
                    path.push(inner.name.clone());
                    self.compare(&inner, value, &other[key], path, found);
                    path.pop();
                }
            }
            (Value::List(one), Value::List(other)) => lists(self, shape, one, other, path, found),
            _ if is_time_of_the_run(path) && is_time(one) && is_time(other) => {}
            _ => found.push(format!("{}: {other} instead of {one}", path.join("."))),
        }
    }

    fn same(&self, shape: &Shape, one: &Value, other: &Value, path: &[String]) -> bool {
        let mut found = Vec::new();
        self.compare(shape, one, other, &mut path.to_vec(), &mut found);
        found.is_empty()
    }
}

fn default_sort(query: &str) -> Option<&'static str> {
    match query {
        "GlobalSearch" | "ImageList" | "ImageListForDigest" => Some("RELEVANCE"),
        "CVEListForImage" | "CVEDiffListForImages" => Some("SEVERITY"),
        _ => Some("UPDATE_TIME"),
    }
}

fn is_time_of_the_run(path: &[String]) -> bool {
    let (last, above) = match path {
        [.., above, last] => (last.as_str(), above.as_str()),
        _ => return false,
    };
    matches!(last, "PushTimestamp" | "TaggedTimestamp" | "LastPullTimestamp")
        // Of repositories, not of images and manifests.
        || (last == "LastUpdated"
            && (matches!(above, "Repos" | "Summary")
                || (above == "Results"
                    && matches!(path[0].as_str(), "RepoListWithNewestImage" | "StarredRepos" | "BookmarkedRepos"))))
}

fn is_time(value: &Value) -> bool {
    match value {
        Value::String(text) => {
            chrono::DateTime::parse_from_rfc3339(text).is_ok() && !text.starts_with("1970-") && !text.starts_with("209")
        }
        _ => false,
    }
}

/// Lists without an order are compared as such; in sorted lists, items with equal keys may change places.
fn lists(
    asked: &Asked,
    shape: &Shape,
    one: &[Value],
    other: &[Value],
    path: &mut Vec<String>,
    found: &mut Vec<String>,
) {
    let at = path.join(".");
    if one.len() != other.len() {
        found.push(format!("{at}: {} items instead of {}", other.len(), one.len()));
        return;
    }
    if matches!(&*shape.name, "Annotations" | "SignatureInfo" | "Platforms" | "Vendors") {
        if !multiset(asked, shape, one, other, path) {
            found.push(format!("{at}: {other:?} instead of {one:?}, in whatever order"));
        }
        return;
    }
    let sort = match (&*shape.name, &shape.sort) {
        ("Images", None) if path[0] == "ExpandedRepoInfo" => Some("UPDATE_TIME".to_owned()),
        (_, sort) => sort.clone(),
    };
    let keys = |items: &[Value]| -> Option<Vec<String>> {
        let sort = sort.as_deref()?;
        items.iter().map(|item| super::oracle::key(sort, path, &shape.about, |name| field(shape, item, name))).collect()
    };
    let (Some(one_keys), Some(other_keys)) = (keys(one), keys(other)) else {
        // Sorted by what is not shown and not known otherwise; at the edges of a page few can differ.
        let missing = unmatched(asked, shape, one, other, path).0.len();
        if sort.is_none() || missing > if shape.late || shape.cut { 2 } else { 0 } {
            in_order(asked, shape, one, other, path, found);
        }
        return;
    };
    if one_keys != other_keys {
        found.push(format!("{at}: sorted {other_keys:?} instead of {one_keys:?}"));
        return;
    }
    let mut start = 0;
    while start < one.len() {
        let end = start + one_keys[start..].iter().take_while(|key| **key == one_keys[start]).count();
        // Where a page ends among equals, any of them may be on it. Names are never equal.
        let of_repos = identity(shape, &one[start]).is_some_and(|_| field(shape, &one[start], "Name").is_some());
        let can_tie = matches!(sort.as_deref(), Some("UPDATE_TIME" | "DOWNLOADS"))
            || (sort.as_deref() == Some("RELEVANCE") && (of_repos || shape.name == "Repos"));
        let edge = can_tie && ((shape.late && start == 0) || (shape.cut && end == one.len()));
        let (group, others) = (&one[start..end], &other[start..end]);
        if group.len() == 1 && !edge {
            asked.compare(shape, &group[0], &others[0], path, found);
        } else {
            let (missing, strange) = unmatched(asked, shape, group, others, path);
            let names =
                |items: &[&Value]| items.iter().filter_map(|item| identity(shape, item)).collect::<BTreeSet<_>>();
            if !missing.is_empty() && (!edge || names(&missing).intersection(&names(&strange)).next().is_some()) {
                found.push(format!("{at}: {strange:?} instead of {missing:?}, in whatever order"));
            }
        }
        start = end;
    }
}

fn in_order(
    asked: &Asked,
    shape: &Shape,
    one: &[Value],
    other: &[Value],
    path: &mut Vec<String>,
    found: &mut Vec<String>,
) {
    for (one, other) in one.iter().zip(other) {
        asked.compare(shape, one, other, path, found);
    }
}

fn multiset(asked: &Asked, shape: &Shape, one: &[Value], other: &[Value], path: &[String]) -> bool {
    unmatched(asked, shape, one, other, path).0.is_empty()
}

/// The items of either side that the other one lacks.
fn unmatched<'a>(
    asked: &Asked,
    shape: &Shape,
    one: &'a [Value],
    other: &'a [Value],
    path: &[String],
) -> (Vec<&'a Value>, Vec<&'a Value>) {
    let mut strange: Vec<&Value> = other.iter().collect();
    let mut missing = Vec::new();
    for item in one {
        match strange.iter().position(|candidate| asked.same(shape, item, candidate, path)) {
            Some(position) => drop(strange.remove(position)),
            None => missing.push(item),
        }
    }
    (missing, strange)
}

/// What an item is called, if it shows that.
fn identity(shape: &Shape, item: &Value) -> Option<String> {
    field(shape, item, "Name")
        .or_else(|| Some(format!("{:?}:{}", field(shape, item, "RepoName"), field(shape, item, "Tag")?)))
        .or_else(|| field(shape, item, "Id"))
}

/// A field of an item by its name, under whatever key it was asked for.
fn field(shape: &Shape, item: &Value, name: &str) -> Option<String> {
    let Value::Object(item) = item else { return None };
    let (key, _) = shape.fields.iter().find(|(_, field)| field.name == name)?;
    item.get(key.as_str()).map(|value| value.to_string().trim_matches('"').to_owned())
}
