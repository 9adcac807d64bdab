//! Writes random documents of `CVEDiffListForImages`: images in every form of the input, filters, pages, members under
//! aliases, in fragments and under conditions, and variables in the place of any of it.

use onezot::demo::Content;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Random differences over some content.
pub struct CveWriter {
    random: fastrand::Rng,
    /// Repositories and tags.
    images: Vec<(String, String)>,
    /// Digests: of the manifests of an image, or of the image alone.
    digests: BTreeMap<(String, String), Vec<String>>,
    /// The pair that is next; every pair comes once before the first one comes again.
    next: usize,
    step: usize,
    definitions: Vec<String>,
    variables: Map<String, Value>,
    fragments: Vec<String>,
}

impl CveWriter {
    /// A seed always writes the same.
    pub fn new(seed: u64, content: &Content) -> Self {
        let mut digests: BTreeMap<_, Vec<String>> = BTreeMap::new();
        for push in content.pushes.iter().filter(|push| !push.reference.starts_with("sha256:")) {
            let children = content.manifests[&push.digest].children.clone();
            let own = if children.is_empty() { vec![push.digest.clone()] } else { children };
            digests.insert((push.repository.clone(), push.reference.clone()), own);
        }
        let mut random = fastrand::Rng::with_seed(seed);
        let images: Vec<_> = digests.keys().cloned().collect();
        let pairs = images.len() * images.len();
        let divides = |mut a: usize, mut b: usize| {
            while b > 0 {
                (a, b) = (b, a % b);
            }
            a > 1
        };
        let step = loop {
            let step = random.usize(1..pairs);
            if !divides(pairs, step) {
                break step;
            }
        };
        let next = random.usize(..pairs);
        let (definitions, variables, fragments) = Default::default();
        Self { random, images, digests, next, step, definitions, variables, fragments }
    }

    pub fn one<'a>(&mut self, of: &'a [&'a str]) -> &'a str {
        of[self.random.usize(..of.len())]
    }

    /// The next document, and the values of its variables.
    pub fn request(&mut self) -> (String, Map<String, Value>) {
        self.definitions.clear();
        self.variables.clear();
        self.fragments.clear();
        // Now and then there are two of them.
        let count = if self.random.u8(..12) == 0 { 2 } else { 1 };
        let fields: Vec<String> = (0..count).map(|index| self.field(index)).collect();
        let mut document = format!("{{{}}}", fields.join(" "));
        if !self.definitions.is_empty() {
            document = format!("query Q({}){document}", self.definitions.join(","));
        }
        document.extend(self.fragments.drain(..));
        (document, std::mem::take(&mut self.variables))
    }

    fn field(&mut self, index: usize) -> String {
        let (one, other) = (self.next / self.images.len(), self.next % self.images.len());
        self.next = (self.next + self.step) % (self.images.len() * self.images.len());
        let mut arguments =
            vec![format!("minuend:{}", self.image(one, false)), format!("subtrahend:{}", self.image(other, true))];
        for filter in ["searchedCVE", "excludedCVE"] {
            if self.random.u8(..4) == 0 {
                let text = [
                    "",
                    "CVE-2099-0001",
                    "cve-2099-000",
                    "high",
                    "CRITICAL",
                    "libssl",
                    "1.",
                    "nothing",
                    "not specified",
                ];
                let text = self.one(&text);
                let value = self.value("String", json!(text));
                arguments.push(format!("{filter}:{value}"));
            }
        }
        if self.random.u8(..2) == 0 {
            let page = self.page();
            arguments.push(format!("requestedPage:{page}"));
        }
        self.random.shuffle(&mut arguments);
        let alias = if index > 0 || self.random.u8(..4) == 0 { format!("d{index}:") } else { String::new() };
        format!("{alias}CVEDiffListForImages({}){}", arguments.join(" "), self.result())
    }

    /// An image, mostly as it is pushed; the second one may be left to zot.
    fn image(&mut self, index: usize, is_second: bool) -> String {
        let key = self.images[index].clone();
        let (mut repo, mut tag) = key.clone();
        let own = self.digests[&key].clone();
        let mut digest = None;
        let mut platform = None;
        if own.len() > 1 || self.random.u8(..8) == 0 {
            // An index, mostly.
            if self.random.bool() {
                digest = Some(own[self.random.usize(..own.len())].clone());
            }
            if self.random.u8(..3) > 0 {
                let arch = self.one(&["amd64", "amd64", "amd64", "arm64", "arm64/v8", "arm/v7", ""]);
                platform =
                    Some(json!({"Os": self.one(&["linux", "linux", "linux", "windows", "plan9"]), "Arch": arch}));
            }
        }
        match self.random.u8(..90) {
            0 => repo = "nope/x".to_owned(),
            1 => tag = "nope".to_owned(),
            2 => tag = String::new(),
            3 => repo = String::new(),
            4 => digest = Some("sha256:00".to_owned()),
            5 => {
                let other = self.random.usize(..self.images.len());
                digest = self.digests[&self.images[other]].first().cloned();
            }
            6 => platform = Some(json!({"Os": "linux"})),
            7 => platform = Some(json!({"Os": "", "Arch": ""})),
            8 => (tag, digest) = (String::new(), own.first().cloned()),
            9 if is_second => (repo, tag) = (String::new(), String::new()),
            _ => {}
        }
        if is_second && repo.is_empty() {
            // Without a base image zot looks for the digest in all repositories, and finds it if it has been scanned.
            digest = None;
        }
        let mut image = json!({"Repo": repo, "Tag": tag});
        if let Some(digest) = digest {
            image["Digest"] = json!(digest);
        }
        if let Some(platform) = platform {
            image["Platform"] = platform;
        }
        if self.random.u8(..60) == 0 {
            // What no zot accepts, which only variables can be: literals are validated.
            let name = self.one(&["Repo", "Tag", "Digest", "Nope"]);
            image[name] = json!([["x"]]);
            return self.variable("ImageInput!", image);
        }
        self.value("ImageInput!", image)
    }

    fn page(&mut self) -> String {
        let mut page = json!({});
        if self.random.u8(..3) > 0 {
            let limits = [1, 2, 3, 5, 10, 0, 100, 4, 7, 6, 9, 20, 4096, 4097, -1];
            page["limit"] = json!(limits[self.random.usize(..limits.len())]);
        }
        if self.random.u8(..3) == 0 {
            let offsets = [0, 1, 2, 3, 4, 0, 1, 5, 100, -1, i64::MAX];
            page["offset"] = json!(offsets[self.random.usize(..offsets.len())]);
        }
        let sort = ["SEVERITY", "ALPHABETIC_ASC", "ALPHABETIC_DSC", "ALPHABETIC_DSC", "STARS", "UPDATE_TIME"];
        let sort = if self.random.u8(..15) == 0 { self.one(&sort) } else { self.one(&sort[..4]) };
        let is_sorted = self.random.u8(..3) > 0;
        if self.random.bool() {
            if is_sorted {
                page["sortBy"] = json!(sort);
            }
            if self.random.u8(..20) == 0 {
                page["limit"] = json!("three");
            }
            return self.variable("PageInput", page);
        }
        let literal = literal(&page);
        let inner = literal.trim_matches(['{', '}']);
        if is_sorted { format!("{{{inner} sortBy:{sort}}}") } else { literal }
    }

    /// A literal, or a variable in its place or in its parts.
    fn value(&mut self, kind: &str, value: Value) -> String {
        match (self.random.u8(..4), &value) {
            (0, _) => self.variable(kind, value),
            (1, Value::Object(members)) => {
                let members = members.clone();
                let parts = members.into_iter().map(|(name, value)| {
                    let kind = if matches!(&*name, "Repo" | "Tag") { "String!" } else { "String" };
                    let part = if value.is_string() { self.variable(kind, value) } else { literal(&value) };
                    format!("{name}:{part}")
                });
                format!("{{{}}}", parts.collect::<Vec<_>>().join(" "))
            }
            _ => literal(&value),
        }
    }

    fn variable(&mut self, kind: &str, value: Value) -> String {
        let name = format!("v{}", self.definitions.len());
        // A default stands in for a value now and then, but for enums, which are no strings there.
        if self.random.u8(..5) == 0 && kind.starts_with("String") {
            self.definitions.push(format!("${name}:{kind}={}", literal(&value)));
        } else {
            self.definitions.push(format!("${name}:{kind}"));
            self.variables.insert(name.clone(), value);
        }
        format!("${name}")
    }

    /// The members of a result.
    fn result(&mut self) -> String {
        let mut members = Vec::new();
        for index in 0..1 + self.random.usize(..7) {
            let alias = if self.random.u8(..3) == 0 { String::new() } else { format!("m{index}:") };
            let name = ["CVEList", "CVEList", "Summary", "Minuend", "Subtrahend", "Page", "__typename"];
            let name = self.one(&name);
            // The same key with other members would be a conflict, unless they are merged.
            let inner = match name {
                "__typename" => String::new(),
                _ if alias.is_empty() => default_members(name).to_owned(),
                "CVEList" => {
                    let cve = ["Id", "Title", "Severity", "Description", "Reference", "__typename", "PackageList"];
                    self.some("CVE", &[&cve[..], &["l:PackageList", "i:Id"]].concat())
                }
                "Summary" => {
                    let counts = ["MaxSeverity", "Count", "n:Count", "UnknownCount", "LowCount", "MediumCount"];
                    self.some(
                        "ImageVulnerabilitySummary",
                        &[&counts[..], &["HighCount", "CriticalCount", "__typename"]].concat(),
                    )
                }
                "Page" => self.some("PageInfo", &["TotalCount", "i:ItemCount", "ItemCount", "__typename"]),
                _ => self.some("ImageIdentifier", &["Repo", "Tag", "d:Digest", "__typename", "Platform"]),
            };
            members.push(format!("{alias}{name}{inner}"));
        }
        self.wrapped("CVEDiffResult", &members.join(" "))
    }

    /// One or more of some members.
    fn some(&mut self, on: &str, of: &[&str]) -> String {
        let mut chosen: Vec<&str> = of.iter().copied().filter(|_| self.random.bool()).collect();
        self.random.shuffle(&mut chosen);
        if chosen.is_empty() {
            chosen.push(of[0]);
        }
        let mut members = Vec::new();
        for member in chosen {
            let inner = match member {
                "Platform" => self.some("Platform", &["Os", "Arch", "__typename"]),
                "PackageList" | "l:PackageList" => {
                    let package = ["Name", "PackagePath", "p:PackagePath", "InstalledVersion", "FixedVersion"];
                    self.some("PackageInfo", &package)
                }
                _ => String::new(),
            };
            members.push(format!("{member}{inner}"));
        }
        self.wrapped(on, &members.join(" "))
    }

    /// Selections as they are, or through a fragment, or under a condition.
    fn wrapped(&mut self, on: &str, selections: &str) -> String {
        match self.random.u8(..14) {
            0 => {
                let name = format!("F{}", self.fragments.len());
                self.fragments.push(format!(" fragment {name} on {on}{{{selections}}}"));
                format!("{{...{name}}}")
            }
            1 => format!("{{... on {on}{{{selections}}}}}"),
            2 => {
                let holds = self.random.bool();
                let condition = self.variable("Boolean!", json!(holds));
                format!("{{...@include(if:{condition}){{{selections}}} t:__typename}}")
            }
            3 => format!("{{{selections} ...@skip(if:true){{__typename}}}}"),
            _ => format!("{{{selections}}}"),
        }
    }
}

fn default_members(name: &str) -> &'static str {
    match name {
        "CVEList" => "{Id Severity PackageList{Name PackagePath}}",
        "Summary" => "{Count MaxSeverity}",
        "Page" => "{TotalCount ItemCount}",
        _ => "{Repo Tag Digest Platform{Os Arch}}",
    }
}

/// A value as it is written in a document.
fn literal(value: &Value) -> String {
    match value {
        Value::Object(members) => {
            let members: Vec<String> =
                members.iter().map(|(name, value)| format!("{name}:{}", literal(value))).collect();
            format!("{{{}}}", members.join(" "))
        }
        value => value.to_string(),
    }
}
