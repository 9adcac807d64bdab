//! Sealing: what each node gave a client becomes one text that only onezot can read or make.
//!
//! XChaCha20-Poly1305 with a random nonce of 192 bits, under a key that HKDF-SHA256 derives from a seal key for one
//! purpose: a session is no API key, and the other way round. What is sealed begins with its version; the time at which it
//! expires is inside. The first seal key seals, every one opens.

use base64::Engine as _;
use base64::engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD};
use chacha20poly1305::aead::rand_core::RngCore as _;
use chacha20poly1305::aead::{Aead, AeadCore, KeyInit, OsRng, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use hkdf::Hkdf;
use secrecy::{ExposeSecret as _, SecretBox, SecretString};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// The fewest bytes of a seal key: as many as the cipher's key has.
pub const KEY_LEAST: usize = 32;
/// The most: a file that is larger is no key.
pub const KEY_MOST: usize = 4096;

/// The version that all sealed begins with.
const VERSION: u8 = 1;
/// Bytes of a nonce.
const NONCE: usize = 24;
/// The largest text that is opened; 100 nodes need some 20 KiB.
const SEALED_MOST: usize = 64 << 10;
/// What every API key of a zot begins with (zot `pkg/api/constants/consts.go`, `APIKeysPrefix`).
const ZOT_KEY: &str = "zak_";

/// The secret with which sessions and API keys are sealed. It is never printed, and wiped when it is dropped.
#[derive(Clone)]
pub struct SealKey(Arc<SecretBox<[u8; 32]>>);

impl fmt::Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealKey")
    }
}

impl PartialEq for SealKey {
    fn eq(&self, other: &SealKey) -> bool {
        self.0.expose_secret() == other.0.expose_secret()
    }
}

impl SealKey {
    /// The key that a file holds: any bytes, without the white space around them.
    ///
    /// # Errors
    ///
    /// There are too few or too many, and how to make a key.
    pub fn from_file(bytes: &[u8]) -> Result<SealKey, String> {
        let bytes = bytes.trim_ascii();
        if !(KEY_LEAST..=KEY_MOST).contains(&bytes.len()) {
            return Err(format!(
                "it holds {} bytes, and a key has {KEY_LEAST} to {KEY_MOST}; make one with: openssl rand -base64 48",
                bytes.len()
            ));
        }
        Ok(SealKey(Arc::new(SecretBox::init_with(|| Sha256::digest(bytes).into()))))
    }

    /// A key that this process has made for itself, and keeps until it ends.
    pub fn of_this_process() -> SealKey {
        static OWN: OnceLock<SealKey> = OnceLock::new();
        let random = |key: &mut [u8; 32]| OsRng.fill_bytes(key);
        OWN.get_or_init(|| SealKey(Arc::new(SecretBox::init_with_mut(random)))).clone()
    }

    fn cipher(&self, purpose: Purpose) -> Option<XChaCha20Poly1305> {
        let mut key = Zeroizing::new([0; 32]);
        Hkdf::<Sha256>::new(None, self.0.expose_secret()).expand(purpose.name(), key.as_mut_slice()).ok()?;
        Some(XChaCha20Poly1305::new(Key::from_slice(key.as_slice())))
    }
}

/// What is sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The session of a person.
    Session,
    /// An API key.
    ApiKey,
}

impl Purpose {
    fn name(self) -> &'static [u8] {
        match self {
            Purpose::Session => b"onezot session",
            Purpose::ApiKey => b"onezot API key",
        }
    }
}

/// A node, as what is sealed names it: the beginning of the SHA-256 of its name.
pub type Tag = [u8; 8];

/// The tag of a node's name.
pub fn tag(node: &str) -> Tag {
    let mut tag = Tag::default();
    tag.copy_from_slice(&Sha256::digest(node)[..8]);
    tag
}

/// What a secret is for that every node takes.
const EVERY_NODE: Tag = [0; 8];

/// What each node gave a client.
#[derive(Default)]
pub struct Bundle {
    parts: Vec<(Tag, SecretString)>,
    /// When it is worth nothing any more, in seconds of Unix time; 0: never.
    pub expires: u64,
}

impl fmt::Debug for Bundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bundle of {}", self.parts.len())
    }
}

impl Bundle {
    /// One secret that every node takes.
    pub fn for_all(secret: &str, expires: u64) -> Bundle {
        Bundle { parts: vec![(EVERY_NODE, SecretString::from(secret))], expires }
    }

    /// Adds what a node gave.
    pub fn insert(&mut self, node: &str, secret: &str) {
        self.parts.push((tag(node), SecretString::from(secret)));
    }

    /// What the node of this name gave.
    pub fn part(&self, node: &str) -> Option<&str> {
        let node = tag(node);
        let found = self.parts.iter().find(|(of, _)| *of == node || *of == EVERY_NODE)?;
        Some(found.1.expose_secret())
    }
}

/// A bundle as it is written. Most secrets are text that stands for bytes: those are kept, which makes them shorter.
#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
struct Written {
    expires: u64,
    parts: Vec<(Tag, Packed)>,
}

#[derive(Serialize, Deserialize, Zeroize)]
enum Packed {
    Text(String),
    /// In URL-safe Base64 with padding, as sessions of a zot are.
    Base64(Vec<u8>),
    /// `zak_` and 32 hexadecimal digits, as API keys of a zot are.
    Key([u8; 16]),
}

impl Packed {
    fn new(secret: &str) -> Packed {
        let digits = secret.strip_prefix(ZOT_KEY).filter(|digits| digits.len() == 32);
        if let Some(number) = digits.and_then(|digits| u128::from_str_radix(digits, 16).ok()) {
            let key = Packed::Key(number.to_be_bytes());
            if *key.secret() == *secret {
                return key;
            }
        }
        match URL_SAFE.decode(secret) {
            Ok(bytes) if URL_SAFE.encode(&bytes) == secret => Packed::Base64(bytes),
            _ => Packed::Text(secret.to_owned()),
        }
    }

    fn secret(&self) -> Zeroizing<String> {
        Zeroizing::new(match self {
            Packed::Text(text) => text.clone(),
            Packed::Base64(bytes) => URL_SAFE.encode(bytes),
            Packed::Key(bytes) => format!("{ZOT_KEY}{:032x}", u128::from_be_bytes(*bytes)),
        })
    }
}

/// Seals and opens.
#[derive(Debug, Clone)]
pub struct Seal(Vec<SealKey>);

impl Seal {
    /// With these keys, of which the first one seals; `None` if there is none.
    pub fn new(keys: &[SealKey]) -> Option<Seal> {
        (!keys.is_empty()).then(|| Seal(keys.to_vec()))
    }

    /// With one key.
    pub fn of(key: SealKey) -> Seal {
        Seal(vec![key])
    }

    /// Seals a bundle, in letters that may stand anywhere. `None` only if the system has no random numbers.
    pub fn seal(&self, purpose: Purpose, bundle: &Bundle) -> Option<String> {
        let parts = bundle.parts.iter().map(|(node, secret)| (*node, Packed::new(secret.expose_secret()))).collect();
        let written = Written { expires: bundle.expires, parts };
        let written = Zeroizing::new(postcard::to_stdvec(&written).ok()?);
        let nonce = XChaCha20Poly1305::generate_nonce(&mut OsRng);
        let payload = Payload { msg: &written, aad: &[VERSION] };
        let sealed = self.0.first()?.cipher(purpose)?.encrypt(&nonce, payload).ok()?;
        Some(URL_SAFE_NO_PAD.encode([&[VERSION], nonce.as_slice(), &sealed].concat()))
    }

    /// Opens what was sealed; `None` if it was not, not for this purpose, with none of these keys, or has expired.
    pub fn open(&self, purpose: Purpose, text: &str) -> Option<Bundle> {
        if text.len() > SEALED_MOST {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (version, rest) = bytes.split_first()?;
        let (nonce, sealed) = rest.split_at_checked(NONCE)?;
        let opened = self.0.iter().find_map(|key| {
            let payload = Payload { msg: sealed, aad: &[*version] };
            key.cipher(purpose)?.decrypt(XNonce::from_slice(nonce), payload).ok()
        });
        let opened = Zeroizing::new(opened.filter(|_| *version == VERSION)?);
        let written: Written = postcard::from_bytes(&opened).ok()?;
        if written.expires != 0 && written.expires <= now() {
            return None;
        }
        let secret = |packed: &Packed| SecretString::from(packed.secret().as_str());
        let parts = written.parts.iter().map(|(node, packed)| (*node, secret(packed))).collect();
        Some(Bundle { parts, expires: written.expires })
    }
}

/// Seconds of Unix time.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(text: &str) -> SealKey {
        SealKey::from_file(text.repeat(8).as_bytes()).unwrap()
    }

    fn seal(keys: &[&str]) -> Seal {
        Seal::new(&keys.iter().map(|text| key(text)).collect::<Vec<_>>()).unwrap()
    }

    fn sealed(seal: &Seal) -> String {
        let mut bundle = Bundle::default();
        bundle.insert("a", "MTc5NQ==");
        bundle.insert("b", "zak_00112233445566778899aabbccddeeff");
        bundle.insert("c", "anything else; 1");
        seal.seal(Purpose::Session, &bundle).unwrap()
    }

    #[test]
    fn each_node_gets_its_own_back_and_no_other() {
        let seal = seal(&["once"]);
        let bundle = seal.open(Purpose::Session, &sealed(&seal)).unwrap();
        assert_eq!(bundle.part("a"), Some("MTc5NQ=="));
        assert_eq!(bundle.part("b"), Some("zak_00112233445566778899aabbccddeeff"));
        assert_eq!(bundle.part("c"), Some("anything else; 1"));
        assert_eq!(bundle.part("d"), None);
        assert_ne!(sealed(&seal), sealed(&seal), "nonces are random");
        let shared = seal.seal(Purpose::Session, &Bundle::for_all("x", 0)).unwrap();
        assert_eq!(seal.open(Purpose::Session, &shared).unwrap().part("any"), Some("x"));
    }

    #[test]
    fn keys_rotate() {
        let (old, both, new) = (seal(&["old!"]), seal(&["new!", "old!"]), seal(&["new!"]));
        let opens = |seal: &Seal, text: &str| seal.open(Purpose::Session, text).is_some();
        let before = sealed(&old);
        assert!(opens(&both, &before) && !opens(&new, &before));
        let after = sealed(&both);
        assert!(opens(&new, &after) && !opens(&old, &after));
    }

    #[test]
    fn whatever_is_changed_opens_no_more() {
        let seal = seal(&["once"]);
        let text = sealed(&seal);
        let mut variants = 0;
        let mut refuse = |variant: &str| {
            if variant != text {
                assert!(seal.open(Purpose::Session, variant).is_none(), "{variant}");
                variants += 1;
            }
        };
        // Each bit of each byte, each beginning and each end.
        let bytes = URL_SAFE_NO_PAD.decode(&text).unwrap();
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[at] ^= 1 << bit;
                refuse(&URL_SAFE_NO_PAD.encode(changed));
            }
            refuse(&URL_SAFE_NO_PAD.encode(&bytes[..at]));
            refuse(&URL_SAFE_NO_PAD.encode(&bytes[at + 1..]));
        }
        // Each letter for another.
        for at in 0..text.len() {
            for letter in ["A", "_", "=", ".", " "] {
                refuse(&[&text[..at], letter, &text[at + 1..]].concat());
            }
        }
        refuse(&text.repeat(2));
        refuse(&"A".repeat(SEALED_MOST + 1));
        assert!(seal.open(Purpose::ApiKey, &text).is_none(), "a session is no API key");
        assert!(variants > 1000, "{variants}");
    }

    #[test]
    fn time_ends_it() {
        let seal = seal(&["once"]);
        let until = |expires| seal.seal(Purpose::Session, &Bundle { expires, ..Bundle::default() }).unwrap();
        assert!(seal.open(Purpose::Session, &until(now() + 60)).is_some());
        assert!(seal.open(Purpose::Session, &until(now())).is_none());
    }

    #[test]
    fn nothing_is_printed_of_what_is_secret() {
        let mut bundle = Bundle::default();
        bundle.insert("a", "s3cr3t");
        assert_eq!(format!("{bundle:?} {:?}", seal(&["once"])), "Bundle of 1 Seal([SealKey])");
    }

    #[test]
    fn a_file_must_hold_a_key() {
        assert!(SealKey::from_file(&[b'x'; 31]).is_err() && SealKey::from_file(&[b'x'; 4097]).is_err());
        let key = SealKey::from_file(&[b'x'; 32]).unwrap();
        assert_eq!(key, SealKey::from_file(format!(" {}\n", "x".repeat(32)).as_bytes()).unwrap());
        assert_ne!(key, SealKey::of_this_process());
        assert_eq!(SealKey::of_this_process(), SealKey::of_this_process());
    }

    proptest! {
        #[test]
        fn any_secret_comes_back(secrets in proptest::collection::vec("(zak_)?([0-9a-fA-F]{32}|[A-Za-z0-9_=-]{0,12}|\\PC{0,8})", 0..5)) {
            let seal = seal(&["once"]);
            let mut bundle = Bundle::default();
            for (number, secret) in secrets.iter().enumerate() {
                bundle.insert(&number.to_string(), secret);
            }
            let opened = seal.open(Purpose::ApiKey, &seal.seal(Purpose::ApiKey, &bundle).unwrap()).unwrap();
            for (number, secret) in secrets.iter().enumerate() {
                prop_assert_eq!(opened.part(&number.to_string()), Some(secret.as_str()));
            }
        }

        #[test]
        fn no_text_makes_it_panic(text in "[A-Za-z0-9_-]{0,120}") {
            prop_assert!(seal(&["once"]).open(Purpose::Session, &text).is_none());
        }
    }
}
