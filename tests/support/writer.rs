//! Writes random documents over zot's schema: queries, arguments, pages, aliases, several root fields.

use super::demo_replay::read;
use onezot::demo::Content;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Random documents over a schema.
pub struct Writer {
    state: u64,
    /// The queries that documents have; empty: all.
    about: Vec<String>,
    /// Whether documents have variables and fragments.
    is_rich: bool,
    /// The variables of the document: definitions and values.
    definitions: Vec<String>,
    variables: Map<String, Value>,
    /// The fragments of the document.
    fragments: Vec<String>,
    types: BTreeMap<String, Value>,
    names: Vec<String>,
    images: Vec<String>,
    digests: Vec<String>,
    manifests: Vec<String>,
}

impl Writer {
    /// A writer of documents about some content; a seed always writes the same.
    pub fn new(seed: u64, content: &Content) -> Self {
        let schema: Value = serde_json::from_slice(&read("introspection.json")).unwrap();
        let types = schema["data"]["__schema"]["types"].as_array().unwrap().clone();
        let types = types.into_iter().map(|kind| (kind["name"].as_str().unwrap().to_owned(), kind)).collect();
        let mut names: Vec<String> = content.pushes.iter().map(|push| push.repository.clone()).collect();
        names.extend(["", "nope", "team-a", "LIB"].map(str::to_owned));
        let mut images: Vec<String> =
            content.pushes.iter().map(|push| format!("{}:{}", push.repository, push.reference)).collect();
        images.extend(["lib", "lib:nope", "nope:1", "", ":", "a:b:c", "lib@sha256:00"].map(str::to_owned));
        let mut digests: Vec<String> = content.bytes.keys().cloned().collect();
        digests.extend(["", "sha256", "sha256:a", "a", "sha256:00", "x"].map(str::to_owned));
        let manifests = content.manifests.keys().cloned().collect();
        let (definitions, variables, fragments) = Default::default();
        let about = Vec::new();
        Self {
            state: seed,
            about,
            is_rich: false,
            definitions,
            variables,
            fragments,
            types,
            names,
            images,
            digests,
            manifests,
        }
    }

    /// Writes about some queries only.
    pub fn about(&mut self, queries: &[&str]) {
        self.about = queries.iter().map(|name| (*name).to_owned()).collect();
    }

    fn below(&mut self, limit: usize) -> usize {
        self.state = self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.state >> 33).unwrap() % limit
    }

    /// One of some texts.
    pub fn one<'a>(&mut self, of: &'a [&'a str]) -> &'a str {
        of[self.below(of.len())]
    }

    fn from(&mut self, of: &[String]) -> String {
        of[self.below(of.len())].clone()
    }

    /// The next document, with variables, fragments and conditions, and the values of its variables.
    pub fn request(&mut self) -> (String, Map<String, Value>) {
        self.is_rich = true;
        self.definitions.clear();
        self.variables.clear();
        self.fragments.clear();
        let mut document = self.document();
        if !self.definitions.is_empty() {
            document = format!("query Q({}){document}", self.definitions.join(","));
        }
        for fragment in &self.fragments {
            document.push_str(fragment);
        }
        (document, std::mem::take(&mut self.variables))
    }

    /// A literal, or a variable in its place.
    fn argument(&mut self, kind: &str, literal: String, value: Value) -> String {
        if !self.is_rich || self.below(3) > 0 {
            return literal;
        }
        let name = format!("v{}", self.definitions.len());
        // A default stands in for a value now and then.
        if self.below(4) == 0 {
            self.definitions.push(format!("${name}:{kind}={literal}"));
        } else {
            self.definitions.push(format!("${name}:{kind}"));
            self.variables.insert(name.clone(), value);
        }
        format!("${name}")
    }

    /// Selections as they are, or through a fragment, or under a condition.
    fn wrapped(&mut self, on: &str, selections: &str) -> String {
        if !self.is_rich {
            return format!("{{{selections}}}");
        }
        match self.below(12) {
            0 => {
                let name = format!("F{}", self.fragments.len());
                self.fragments.push(format!(" fragment {name} on {on}{{{selections}}}"));
                format!("{{...{name}}}")
            }
            1 => format!("{{... on {on}{{{selections}}}}}"),
            2 => format!("{{...@include(if:true){{{selections}}}}}"),
            3 => {
                let condition = self.argument("Boolean!", "false".to_owned(), json!(false));
                format!(
                    "{{__typename ...@skip(if:{condition}){{{selections}}} ...on {on}@include(if:false){{__typename}}}}"
                )
            }
            _ => format!("{{{selections}}}"),
        }
    }

    /// The next document.
    pub fn document(&mut self) -> String {
        let mut queries = self.types["Query"]["fields"].as_array().unwrap().clone();
        queries.retain(|query| self.about.is_empty() || self.about.iter().any(|name| query["name"] == **name));
        let count = 1 + self.below(10) / 8;
        let fields: Vec<String> = (0..count)
            .map(|index| {
                let mut query = &queries[self.below(queries.len())];
                // Without a database of CVEs there is not much to say about them.
                if query["name"].as_str().unwrap().contains("CVE") && self.below(8) > 0 {
                    query = &queries[self.below(queries.len())];
                }
                let name = query["name"].as_str().unwrap();
                let alias = if index > 0 || self.below(4) == 0 { format!("q{index}:") } else { String::new() };
                format!("{alias}{name}{}{}", self.arguments(query, name), self.selection(&query["type"], 0))
            })
            .collect();
        format!("{{{}}}", fields.join(" "))
    }

    fn arguments(&mut self, query: &Value, name: &str) -> String {
        let mut arguments = Vec::new();
        for argument in query["args"].as_array().unwrap() {
            let required = argument["type"]["kind"] == "NON_NULL";
            if !required && self.below(2) == 0 {
                continue;
            }
            let key = argument["name"].as_str().unwrap();
            let names = self.names.clone();
            let value = match (name, key) {
                (_, "requestedPage") => {
                    let page = self.page();
                    let value = page_value(&page);
                    self.argument("PageInput", page, value)
                }
                (_, "filter") => self.filter(),
                ("GlobalSearch", "query") => {
                    let text = match self.below(4) {
                        0 => self.from(&names),
                        1 => self.from(&self.images.clone()),
                        2 => self.from(&self.digests.clone()),
                        _ => self
                            .one(&["a", "app", "team", "/lib/", " infra/b", ":1", ":l", "ap", "multi", "x@y", ":"])
                            .into(),
                    };
                    self.argument("String!", json!(text).to_string(), json!(text))
                }
                ("ImageListForDigest", "id") => {
                    let digest = self.from(&self.digests.clone());
                    self.argument("String!", json!(digest).to_string(), json!(digest))
                }
                (_, "digest") if self.below(3) == 0 => json!(self.from(&self.digests.clone())).to_string(),
                (_, "digest") => json!(self.from(&self.manifests.clone())).to_string(),
                (_, "repo") => {
                    let name = self.from(&names);
                    self.argument("String!", json!(name).to_string(), json!(name))
                }
                (_, "image") => {
                    let image = self.from(&self.images.clone());
                    self.argument("String!", json!(image).to_string(), json!(image))
                }
                (_, "type") => r#"["application/spdx+json"]"#.to_owned(),
                (_, "minuend" | "subtrahend") => r#"{Repo:"lib",Tag:"1"}"#.to_owned(),
                _ => r#""CVE-1""#.to_owned(),
            };
            arguments.push(format!("{key}:{value}"));
        }
        if arguments.is_empty() { String::new() } else { format!("({})", arguments.join(",")) }
    }

    fn page(&mut self) -> String {
        let mut parts = Vec::new();
        if self.below(3) > 0 {
            parts.push(format!(
                "limit:{}",
                self.one(&["1", "2", "3", "5", "10", "0", "4", "6", "20", "30", "-1", "100"])
            ));
        }
        if self.below(3) == 0 {
            parts.push(format!("offset:{}", self.one(&["0", "1", "2", "7", "5", "3", "12", "-1", "200"])));
        }
        if self.below(3) > 0 {
            let good = ["RELEVANCE", "UPDATE_TIME", "ALPHABETIC_ASC", "ALPHABETIC_DSC", "DOWNLOADS"];
            let sort = if self.below(12) == 0 { self.one(&["STARS", "SEVERITY"]) } else { self.one(&good) };
            parts.push(format!("sortBy:{sort}"));
        }
        format!("{{{}}}", parts.join(","))
    }

    fn filter(&mut self) -> String {
        let of = [
            "Os:[\"linux\"]",
            "Os:[\"Windows\",\"\"]",
            "Arch:[\"arm64\"]",
            "Arch:[]",
            "HasToBeSigned:true",
            "IsStarred:true",
            "IsBookmarked:true",
            "IsStarred:false",
            "Os:[\" \"]",
        ];
        format!("{{{}}}", self.one(&of))
    }

    /// Some fields of a type. What items are called is always among them, so that they can be told apart.
    fn selection(&mut self, kind: &Value, depth: usize) -> String {
        let mut kind = kind;
        while !kind["ofType"].is_null() {
            kind = &kind["ofType"];
        }
        let name = kind["name"].as_str().unwrap();
        let fields = self.types[name]["fields"].as_array().cloned().unwrap_or_default();
        if fields.is_empty() {
            return String::new();
        }
        let mut chosen = Vec::new();
        for field in &fields {
            let key = field["name"].as_str().unwrap();
            let leaf = {
                let mut inner = &field["type"];
                while !inner["ofType"].is_null() {
                    inner = &inner["ofType"];
                }
                matches!(inner["kind"].as_str(), Some("SCALAR" | "ENUM"))
            };
            let always = (matches!(key, "Name" | "RepoName" | "Tag" | "Rank" | "LastUpdated" | "DownloadCount")
                && leaf)
                || (depth == 0 && matches!(key, "Results" | "Repos" | "Images"));
            if always || (self.below(3) == 0 && (leaf || depth < 4)) {
                chosen.push(format!("{key}{}", self.selection(&field["type"], depth + 1)));
            }
        }
        if chosen.is_empty() {
            chosen.push("__typename".to_owned());
        }
        let name = name.to_owned();
        self.wrapped(&name, &chosen.join(" "))
    }
}

/// The value of a page that is written as a literal.
fn page_value(literal: &str) -> Value {
    let pairs = literal.trim_matches(['{', '}']).split(',').filter_map(|pair| pair.split_once(':'));
    let value = |text: &str| text.parse::<i64>().map_or_else(|_| json!(text), |number| json!(number));
    Value::Object(pairs.map(|(name, text)| (name.to_owned(), value(text))).collect())
}
