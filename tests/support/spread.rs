//! Content spread over nodes as it never should be: some repositories are where the placement says, some elsewhere, some
//! whole on two nodes and some in parts.

// Each test uses its own part of this.
#![allow(dead_code)]

use onezot::demo::{Content, Event};
use onezot::fleet::Placement;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};

/// How a repository lies on nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lie {
    Owned,
    Misplaced,
    /// On its owner and on another node.
    Copied,
    /// On two nodes that do not own it.
    CopiedElsewhere,
    /// In parts: what belongs together (tags of one image, what refers to it, what it consists of) is on one node, and some
    /// of it on two.
    Split,
}

/// Where everything is.
pub struct Spread {
    nodes: usize,
    seed: u64,
    placement: Placement,
    /// The part that a tag or digest of a repository belongs to.
    parts: BTreeMap<(String, String), String>,
    /// The first node that has the repository, which is where it is pulled and marked.
    first: BTreeMap<String, usize>,
}

fn random(seed: u64, what: &impl Hash) -> usize {
    let mut hasher = DefaultHasher::new();
    (seed, what).hash(&mut hasher);
    usize::try_from(hasher.finish() >> 33).unwrap()
}

impl Spread {
    pub fn new(content: &Content, nodes: usize, placement: &Placement, seed: u64) -> Spread {
        let mut spread =
            Spread { nodes, seed, placement: placement.clone(), parts: parts(content), first: BTreeMap::new() };
        let mut holders: BTreeMap<String, BTreeSet<usize>> = BTreeMap::new();
        for push in &content.pushes {
            let nodes = (0..nodes).filter(|&node| spread.is_pushed(node, &push.repository, &push.reference));
            holders.entry(push.repository.clone()).or_default().extend(nodes);
        }
        for (name, holders) in holders {
            let owner = placement.owner(&name, nodes).node;
            let first = if holders.contains(&owner) { owner } else { *holders.first().unwrap() };
            spread.first.insert(name, first);
        }
        spread
    }

    pub fn lie(&self, repository: &str) -> Lie {
        let lies = [Lie::Split, Lie::Split, Lie::Copied, Lie::CopiedElsewhere, Lie::Misplaced, Lie::Owned];
        if self.nodes < 3 { Lie::Owned } else { lies[random(self.seed, &repository) % lies.len()] }
    }

    fn is_pushed(&self, node: usize, repository: &str, reference: &str) -> bool {
        let owner = self.placement.owner(repository, self.nodes).node;
        let (next, last) = ((owner + 1) % self.nodes, (owner + self.nodes - 1) % self.nodes);
        match self.lie(repository) {
            Lie::Owned => node == owner,
            Lie::Misplaced => node == next,
            Lie::Copied => node == owner || node == next,
            Lie::CopiedElsewhere => node == next || node == last,
            Lie::Split => {
                let part = &self.parts[&(repository.to_owned(), reference.to_owned())];
                let which = random(self.seed, &(repository, part)) % 4;
                // One part in four is on two nodes.
                node == [owner, next, last, owner][which] || which == 3 && node == next
            }
        }
    }

    /// Whether something happened on a node.
    pub fn happened(&self, node: usize, event: Event<'_>) -> bool {
        match event {
            Event::Push(push) => self.is_pushed(node, &push.repository, &push.reference),
            Event::Pull(pull) => {
                let has = |node| self.is_pushed(node, &pull.repository, &pull.reference);
                let owner = self.placement.owner(&pull.repository, self.nodes).node;
                let serves = if has(owner) { owner } else { (0..self.nodes).find(|&node| has(node)).unwrap() };
                node == serves
            }
            Event::Mark(mark) => node == self.first[&mark.repository],
        }
    }

    /// How many repositories lie so.
    pub fn lies(&self) -> BTreeMap<Lie, usize> {
        let mut lies = BTreeMap::new();
        self.first.keys().for_each(|name| *lies.entry(self.lie(name)).or_default() += 1);
        lies
    }
}

/// What belongs together: the pushes of a repository that name one manifest, or one that consists of or refers to another.
fn parts(content: &Content) -> BTreeMap<(String, String), String> {
    let mut parts: BTreeMap<(String, String), String> = BTreeMap::new();
    fn root(parts: &mut BTreeMap<(String, String), String>, name: &str, of: &str) -> String {
        let mut at = of.to_owned();
        while let Some(above) = parts.get(&(name.to_owned(), at.clone())).filter(|above| **above != at) {
            at.clone_from(above);
        }
        parts.entry((name.to_owned(), at.clone())).or_insert_with(|| at.clone());
        at
    }
    for push in &content.pushes {
        let name = &push.repository;
        let mut together = vec![push.reference.clone(), push.digest.clone()];
        let mut open = vec![push.digest.clone()];
        while let Some(digest) = open.pop() {
            let children = content.manifests.get(&digest).map(|known| known.children.clone()).unwrap_or_default();
            open.extend(children.iter().cloned());
            together.extend(children);
            let body: Value = serde_json::from_slice(&content.bytes[&digest]).unwrap();
            together.extend(body["subject"]["digest"].as_str().map(str::to_owned));
        }
        if let Some(signed) = push.reference.strip_prefix("sha256-") {
            together.push(format!("sha256:{}", signed.split('.').next().unwrap()));
        }
        for other in &together[1..] {
            let (one, other) = (root(&mut parts, name, &together[0]), root(&mut parts, name, other));
            parts.insert((name.clone(), other), one);
        }
    }
    let keys: Vec<(String, String)> = parts.keys().cloned().collect();
    let roots = keys.into_iter().map(|(name, of)| {
        let part = root(&mut parts, &name, &of);
        ((name, of), part)
    });
    let roots: Vec<_> = roots.collect();
    roots.into_iter().collect()
}
