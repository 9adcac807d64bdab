//! Digests of content, with the checks and the words of the library that zot takes them from (`opencontainers/go-digest`).

use sha2::{Digest as _, Sha256, Sha384, Sha512};

/// What is wrong with a digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Not `algorithm:encoded`, or not hexadecimal.
    #[error("invalid checksum digest format")]
    Format,
    /// Too short or too long for its algorithm.
    #[error("invalid checksum digest length")]
    Length,
    /// An algorithm that is not one of the SHA-2 family.
    #[error("unsupported digest algorithm")]
    Unsupported,
}

/// Checks the form of a digest. The order of the checks decides which complaint is heard.
pub fn check(digest: &str) -> Result<(), Malformed> {
    let (algorithm, encoded) = digest.split_once(':').ok_or(Malformed::Format)?;
    if algorithm.is_empty() || encoded.is_empty() {
        return Err(Malformed::Format);
    }
    let length = match algorithm {
        "sha256" => 64,
        "sha384" => 96,
        "sha512" => 128,
        _ if well_formed(algorithm, encoded) => return Err(Malformed::Unsupported),
        _ => return Err(Malformed::Format),
    };
    if encoded.len() != length {
        return Err(Malformed::Length);
    }
    if encoded.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) { Ok(()) } else { Err(Malformed::Format) }
}

/// Whether a reference is a digest rather than a tag.
pub fn is_digest(reference: &str) -> bool {
    check(reference).is_ok()
}

/// Whether a reference was meant as a digest of a known algorithm and is none (`LooksLikeDigestReference`).
pub fn looks_like_one(reference: &str) -> bool {
    !is_digest(reference)
        && reference.split_once(':').is_some_and(|(algorithm, encoded)| {
            !encoded.is_empty() && matches!(algorithm, "sha256" | "sha384" | "sha512")
        })
}

fn well_formed(algorithm: &str, encoded: &str) -> bool {
    let component = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric());
    algorithm.split(['+', '.', '_', '-']).all(component)
        && encoded.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'=' | b'_' | b'-'))
}

/// The digest of some content, by the algorithm of another digest; sha256 unless that one says otherwise.
pub fn alike(expected: &str, content: &[u8]) -> String {
    match expected.split_once(':').map(|(algorithm, _)| algorithm) {
        Some("sha512") => format!("sha512:{}", hexadecimal(&Sha512::digest(content))),
        Some("sha384") => format!("sha384:{}", hexadecimal(&Sha384::digest(content))),
        _ => of(content),
    }
}

/// The sha256 digest of some content.
pub fn of(content: &[u8]) -> String {
    format!("sha256:{}", hexadecimal(&Sha256::digest(content)))
}

/// The sha256 of some content in hexadecimal, as persisted queries name it.
pub fn hexadecimal_of(content: &[u8]) -> String {
    hexadecimal(&Sha256::digest(content))
}

fn hexadecimal(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_what_is_wrong() {
        assert_eq!(check(&of(b"")), Ok(()));
        assert_eq!(check("sha256:00"), Err(Malformed::Length));
        assert_eq!(check(&format!("sha256:{}", "z".repeat(64))), Err(Malformed::Format));
        assert_eq!(check("x"), Err(Malformed::Format));
        assert_eq!(check("md5:00"), Err(Malformed::Unsupported));
        assert!(looks_like_one("sha256:00") && !looks_like_one("latest") && !looks_like_one("a:b"));
    }
}
