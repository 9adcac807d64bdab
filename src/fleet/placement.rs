//! Which node owns a repository.

use crate::path::is_repository_name;
use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher24;
use std::fmt;

/// The key with which repository names are hashed: 16 bytes, written as a string of 16 ASCII characters, as zot's
/// `cluster.hashKey` is (zot `pkg/cluster/cluster.go`).
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HashKey([u8; 16]);

impl Default for HashKey {
    /// The key of zot's own examples. It is no secret: it spreads repositories, it protects nothing.
    fn default() -> HashKey {
        HashKey(*b"loremipsumdolors")
    }
}

impl TryFrom<String> for HashKey {
    type Error = String;

    fn try_from(key: String) -> Result<HashKey, String> {
        match <[u8; 16]>::try_from(key.as_bytes()) {
            Ok(bytes) if key.is_ascii() => Ok(HashKey(bytes)),
            _ => Err(format!(
                "the hash key must be exactly 16 ASCII characters, this one has {} bytes; \
                 use the cluster.hashKey of your zots, or leave it out",
                key.len()
            )),
        }
    }
}

impl From<HashKey> for String {
    fn from(key: HashKey) -> String {
        key.to_string()
    }
}

impl fmt::Display for HashKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|&byte| fmt::Write::write_char(f, char::from(byte)))
    }
}

impl fmt::Debug for HashKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_string())
    }
}

/// Where repositories are placed. The order of the nodes is part of it where the hash places: changing the key, the order
/// or the number of nodes moves repositories.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Placement {
    /// How an owner is chosen.
    pub strategy: Strategy,
    /// The key of the hash.
    pub hash_key: HashKey,
    /// What [`Strategy::Map`] places where.
    pub map: Vec<Mapped>,
    /// How the owner of what `map` does not place is chosen.
    pub fallback: Fallback,
}

/// How an owner is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// SipHash-2-4 of the repository name modulo the number of nodes, in the configured order: what zot's own
    /// clustering does (zot `pkg/cluster/cluster.go`, `ComputeTargetMember`).
    #[default]
    Hash,
    /// The node with the largest hash of its name and the repository's. The order does not matter, and a node that is
    /// added takes its share from all others, and moves nothing else.
    Rendezvous,
    /// The longest prefix in a map counts.
    Map,
}

/// How the owner of what a map does not place is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fallback {
    /// As [`Strategy::Hash`].
    #[default]
    Hash,
    /// As [`Strategy::Rendezvous`].
    Rendezvous,
}

/// Repositories that are placed on a node by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mapped {
    /// The repository of this name, and all whose names go on behind a slash.
    pub prefix: String,
    /// The name of the node.
    pub node: String,
}

impl Mapped {
    /// How much of a repository's name the prefix is; `None` if it is none.
    fn length(&self, repository: &str) -> Option<usize> {
        let rest = repository.strip_prefix(&self.prefix)?;
        (rest.is_empty() || rest.starts_with('/')).then_some(self.prefix.len())
    }
}

/// The owner of a repository, and what led to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// Index of the node in the configured order.
    pub node: usize,
    /// Why it is the owner.
    pub why: Why,
}

/// What leads to an owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The hash of the repository's name.
    Hash(u64),
    /// The hash of the node's and the repository's name, which is larger than those with other nodes.
    Rendezvous(u64),
    /// An entry of the map, by its place.
    Map(usize),
    /// It was found there, though the placement says otherwise.
    Found,
}

impl Placement {
    /// The owner of `repository` among nodes of these names, in the configured order. They are not none (a configuration
    /// without nodes is refused), and those of the map are among them.
    pub fn place<'a>(&self, repository: &str, nodes: impl ExactSizeIterator<Item = &'a str> + Clone) -> Owner {
        match self.strategy {
            Strategy::Hash => self.owner(repository, nodes.len()),
            Strategy::Rendezvous => self.rendezvous(repository, nodes),
            Strategy::Map => self.mapped(repository, nodes.clone()).unwrap_or_else(|| match self.fallback {
                Fallback::Hash => self.owner(repository, nodes.len()),
                Fallback::Rendezvous => self.rendezvous(repository, nodes),
            }),
        }
    }

    /// The owner by the hash alone, among so many nodes.
    pub fn owner(&self, repository: &str, nodes: usize) -> Owner {
        let hash = self.hash(repository.as_bytes());
        // The remainder is smaller than `nodes`, so it fits.
        Owner { node: (hash % nodes.max(1) as u64) as usize, why: Why::Hash(hash) }
    }

    fn rendezvous<'a>(&self, repository: &str, nodes: impl Iterator<Item = &'a str>) -> Owner {
        let weights = nodes.map(|name| self.weight(repository, name)).enumerate();
        let (node, weight) = weights.max_by_key(|&(_, weight)| weight).unwrap_or_default();
        Owner { node, why: Why::Rendezvous(weight) }
    }

    /// What [`Strategy::Rendezvous`] compares: the hash of the names of a node and a repository.
    pub fn weight(&self, repository: &str, node: &str) -> u64 {
        // No name has a line feed in it.
        self.hash(format!("{node}\n{repository}").as_bytes())
    }

    fn mapped<'a>(&self, repository: &str, mut nodes: impl Iterator<Item = &'a str>) -> Option<Owner> {
        let matches = self.map.iter().enumerate().filter_map(|(at, entry)| Some((entry.length(repository)?, at)));
        let (_, at) = matches.max()?;
        let node = nodes.position(|name| name == self.map[at].node)?;
        Some(Owner { node, why: Why::Map(at) })
    }

    fn hash(&self, bytes: &[u8]) -> u64 {
        SipHasher24::new_with_key(&self.hash_key.0).hash(bytes)
    }

    /// What is wrong with the map: the key below `placement`, and the problem.
    ///
    /// # Errors
    ///
    /// A prefix is no name of a repository or stands there twice, or a node is none.
    pub fn check<'a>(&self, nodes: impl Iterator<Item = &'a str> + Clone) -> Result<(), (String, String)> {
        if self.strategy != Strategy::Map && !self.map.is_empty() {
            return Err(("map".to_owned(), "counts with strategy: map only; set that, or leave it out".to_owned()));
        }
        for (at, Mapped { prefix, node }) in self.map.iter().enumerate() {
            if !is_repository_name(prefix) {
                let problem =
                    format!("{prefix:?} is no name of a repository or part of one; write one such as team-a/apps");
                return Err((format!("map[{at}].prefix"), problem));
            }
            if let Some(first) = self.map[..at].iter().position(|earlier| earlier.prefix == *prefix) {
                let problem = format!("{prefix:?} is that of map[{first}], too; leave one out");
                return Err((format!("map[{at}].prefix"), problem));
            }
            if !nodes.clone().any(|name| name == node) {
                let known: Vec<&str> = nodes.collect();
                let problem = format!("{node:?} is no node; there are {}", known.join(", "));
                return Err((format!("map[{at}].node"), problem));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vector_of_zots_cluster_tests() {
        assert_eq!(Placement::default().owner("zot-test", 2).node, 1);
    }

    #[test]
    fn the_key_has_16_ascii_characters() {
        for bad in ["", "short", "seventeen-letters", "loremipsumdolör"] {
            assert!(HashKey::try_from(bad.to_owned()).is_err(), "{bad}");
        }
        assert_eq!(HashKey::try_from("0123456789abcdef".to_owned()).unwrap().to_string(), "0123456789abcdef");
    }

    #[test]
    fn another_key_places_otherwise() {
        let other =
            Placement { hash_key: HashKey::try_from("0123456789abcdef".to_owned()).unwrap(), ..Placement::default() };
        let moved = (0..100).filter(|i| {
            let name = format!("repo-{i}");
            other.owner(&name, 3).node != Placement::default().owner(&name, 3).node
        });
        assert!(moved.count() > 40);
    }

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|index| format!("zot-{index}")).collect()
    }

    fn owner_of(placement: &Placement, repository: &str, names: &[String]) -> String {
        names[placement.place(repository, names.iter().map(String::as_str)).node].clone()
    }

    #[test]
    fn by_rendezvous_a_new_node_moves_its_share_and_nothing_else() {
        let placement = Placement { strategy: Strategy::Rendezvous, ..Placement::default() };
        let (before, after) = (names(4), names(5));
        let repositories: Vec<String> = (0..2000).map(|number| format!("team/repo-{number}")).collect();
        let moved: Vec<&String> = repositories
            .iter()
            .filter(|name| owner_of(&placement, name, &before) != owner_of(&placement, name, &after))
            .collect();
        assert!(moved.iter().all(|name| owner_of(&placement, name, &after) == "zot-4"));
        assert!((300..500).contains(&moved.len()), "a fifth of 2000: {}", moved.len());
        // Whatever the order.
        let backwards: Vec<String> = after.iter().rev().cloned().collect();
        for name in &repositories {
            assert_eq!(owner_of(&placement, name, &after), owner_of(&placement, name, &backwards));
        }
    }

    #[test]
    fn the_longest_prefix_in_the_map_counts() {
        let entry = |prefix: &str, node: &str| Mapped { prefix: prefix.to_owned(), node: node.to_owned() };
        let map = vec![entry("team-a", "zot-1"), entry("team-a/app/x", "zot-2"), entry("team-a/app", "zot-0")];
        let names = names(3);
        for fallback in [Fallback::Hash, Fallback::Rendezvous] {
            let placement = Placement { strategy: Strategy::Map, map: map.clone(), fallback, ..Placement::default() };
            let other = match fallback {
                Fallback::Hash => Strategy::Hash,
                Fallback::Rendezvous => Strategy::Rendezvous,
            };
            let other = Placement { strategy: other, map: Vec::new(), ..placement.clone() };
            for (repository, node) in [
                ("team-a", "zot-1"),
                ("team-a/web", "zot-1"),
                ("team-a/app", "zot-0"),
                ("team-a/app/y", "zot-0"),
                ("team-a/app/x/y", "zot-2"),
            ] {
                assert_eq!(owner_of(&placement, repository, &names), node, "{repository}");
            }
            for repository in ["team-ab", "team", "lib", "x/team-a"] {
                assert_eq!(owner_of(&placement, repository, &names), owner_of(&other, repository, &names));
            }
        }
    }

    #[test]
    fn what_is_wrong_with_a_map_is_said() {
        let wrong = |strategy, prefix: &str, node: &str| {
            let entry = Mapped { prefix: prefix.to_owned(), node: node.to_owned() };
            let placement = Placement { strategy, map: vec![entry.clone(), entry], ..Placement::default() };
            placement.check(names(2).iter().map(String::as_str)).unwrap_err().0
        };
        assert_eq!(wrong(Strategy::Hash, "a", "zot-0"), "map");
        assert_eq!(wrong(Strategy::Map, "a/", "zot-0"), "map[0].prefix");
        assert_eq!(wrong(Strategy::Map, "A", "zot-0"), "map[0].prefix");
        assert_eq!(wrong(Strategy::Map, "a", "zot-9"), "map[0].node");
        assert_eq!(wrong(Strategy::Map, "a", "zot-0"), "map[1].prefix");
    }
}
