//! Digests of blobs: which texts are some, and whether bytes have them. Pure.

use sha2::{Digest as _, Sha256, Sha384, Sha512};
use std::fmt;

/// A digest that a zot takes for one: an algorithm of the OCI image specification ("Digests") and so many lower-case
/// hexadecimal digits (zot checks it with `opencontainers/go-digest`, which also has sha384).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobDigest(String);

impl BlobDigest {
    /// Reads a digest; `None` if the text is none.
    pub fn parse(text: &str) -> Option<BlobDigest> {
        let (algorithm, digits) = text.split_once(':')?;
        let length = match algorithm {
            "sha256" => 64,
            "sha384" => 96,
            "sha512" => 128,
            _ => return None,
        };
        let are_digits = digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        (digits.len() == length && are_digits).then(|| BlobDigest(text.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Checks bytes that come piece by piece.
    pub fn check(&self) -> Check<'_> {
        let hash = match self.0.split_once(':') {
            Some(("sha512", _)) => Hash::Sha512(Sha512::new()),
            Some(("sha384", _)) => Hash::Sha384(Sha384::new()),
            _ => Hash::Sha256(Sha256::new()),
        };
        Check { hash, expected: self }
    }
}

impl fmt::Display for BlobDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

enum Hash {
    Sha256(Sha256),
    Sha384(Sha384),
    Sha512(Sha512),
}

/// Bytes that are checked while they pass.
pub struct Check<'a> {
    hash: Hash,
    expected: &'a BlobDigest,
}

impl Check<'_> {
    /// The next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.hash {
            Hash::Sha256(hash) => hash.update(bytes),
            Hash::Sha384(hash) => hash.update(bytes),
            Hash::Sha512(hash) => hash.update(bytes),
        }
    }

    /// Whether all the bytes together have the digest.
    pub fn is_right(self) -> bool {
        let found: String = match self.hash {
            Hash::Sha256(hash) => hex(&hash.finalize()),
            Hash::Sha384(hash) => hex(&hash.finalize()),
            Hash::Sha512(hash) => hex(&hash.finalize()),
        };
        self.expected.0.split_once(':').is_some_and(|(_, digits)| digits == found)
    }
}

/// The SHA-256 of bytes, as hexadecimal digits.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_zot_takes_for_a_digest_is_one() {
        let (a, capital) = ("a".repeat(64), "A".repeat(64));
        for good in [format!("sha256:{a}"), format!("sha384:{}", "0".repeat(96)), format!("sha512:{a}{a}")] {
            assert_eq!(BlobDigest::parse(&good).unwrap().as_str(), good);
        }
        for bad in ["junk", "", ":", "sha256:", &a, &format!("sha256:{capital}"), &format!("sha512:{a}")] {
            assert_eq!(BlobDigest::parse(bad), None, "{bad}");
        }
        for bad in [format!("sha256:{a}a"), format!("md5:{a}"), format!("sha256:{a} "), format!("sha256:{}/", &a[1..])]
        {
            assert_eq!(BlobDigest::parse(&bad), None, "{bad}");
        }
    }

    #[test]
    fn bytes_are_checked_piece_by_piece() {
        // The digests of "abc" in FIPS 180-4's examples.
        for digest in [
            "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            "sha384:cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7",
            "sha512:ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
             2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
        ] {
            let digest = BlobDigest::parse(digest).unwrap();
            let with = |pieces: &[&[u8]]| {
                let mut check = digest.check();
                pieces.iter().for_each(|piece| check.update(piece));
                check.is_right()
            };
            assert!(with(&[b"a", b"", b"bc"]), "{digest}");
            assert!(!with(&[b"ab"]) && !with(&[]) && !with(&[b"abd"]), "{digest}");
        }
    }
}
