//! Which node owns a repository.

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

/// Where repositories are placed. The order of the nodes is part of it: changing the key, the order or the number of
/// nodes moves repositories.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Placement {
    /// How an owner is chosen.
    pub strategy: Strategy,
    /// The key of the hash.
    pub hash_key: HashKey,
}

/// How an owner is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// SipHash-2-4 of the repository name modulo the number of nodes, in the configured order: what zot's own
    /// clustering does (zot `pkg/cluster/cluster.go`, `ComputeTargetMember`).
    #[default]
    Hash,
}

/// The owner of a repository, and what led to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// Index of the node in the configured order.
    pub node: usize,
    /// The hash of the repository name.
    pub hash: u64,
}

impl Placement {
    /// The owner of `repository` among `nodes` nodes; `nodes` is not 0 (a configuration without nodes is refused).
    pub fn owner(&self, repository: &str, nodes: usize) -> Owner {
        match self.strategy {
            Strategy::Hash => {
                let hash = SipHasher24::new_with_key(&self.hash_key.0).hash(repository.as_bytes());
                // The remainder is smaller than `nodes`, so it fits.
                Owner { node: (hash % nodes.max(1) as u64) as usize, hash }
            }
        }
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
}
