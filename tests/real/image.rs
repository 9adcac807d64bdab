//! Images made by hand, without a network: OCI image layouts with layers of pseudo-random bytes.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::Path;

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// `sha256:…` of some bytes.
pub fn digest(bytes: &[u8]) -> String {
    named(Sha256::digest(bytes).as_slice())
}

/// `sha256:…` of a hash.
pub fn named(hash: &[u8]) -> String {
    let digits: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{digits}")
}

/// The same bytes for the same seed; nothing in them repeats (splitmix64).
pub fn random_bytes(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x2545_f491_4f6c_dd1d);
    let words = std::iter::repeat_with(move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    });
    let mut bytes: Vec<u8> = words.take(length.div_ceil(8)).flat_map(u64::to_le_bytes).collect();
    bytes.truncate(length);
    bytes
}

/// A descriptor of some bytes.
fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": digest(bytes), "size": bytes.len()})
}

/// An image or an index of images: all its blobs, and the descriptor of what is at the top.
pub struct Image {
    pub blobs: BTreeMap<String, Vec<u8>>,
    top: Value,
}

impl Image {
    /// An image with one layer of about each of these sizes. Two images have layers in common if they have the seed.
    pub fn new(seed: u64, layers: &[usize], architecture: &str) -> Image {
        let mut blobs = BTreeMap::new();
        let mut keep = |media_type: &str, bytes: Vec<u8>| {
            let descriptor = descriptor(media_type, &bytes);
            blobs.insert(digest(&bytes), bytes);
            descriptor
        };
        let (mut descriptors, mut plain) = (Vec::new(), Vec::new());
        for (number, &size) in layers.iter().enumerate() {
            let tar = tar(&format!("layer-{number}.bin"), &random_bytes(seed * 1000 + number as u64, size));
            plain.push(digest(&tar));
            descriptors.push(keep(LAYER, gzip(&tar)));
        }
        let config = json!({
            "architecture": architecture, "os": "linux", "config": {"Labels": {"seed": seed.to_string()}},
            "rootfs": {"type": "layers", "diff_ids": plain},
        });
        let config = keep(CONFIG, config.to_string().into_bytes());
        let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": descriptors});
        let mut top = keep(MANIFEST, manifest.to_string().into_bytes());
        top["platform"] = json!({"os": "linux", "architecture": architecture});
        Image { blobs, top }
    }

    /// An index of images for several architectures.
    pub fn index(images: Vec<Image>) -> Image {
        let tops: Vec<Value> = images.iter().map(|image| image.top.clone()).collect();
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": tops}).to_string().into_bytes();
        let top = descriptor(INDEX, &index);
        let mut blobs: BTreeMap<String, Vec<u8>> = images.into_iter().flat_map(|image| image.blobs).collect();
        blobs.insert(digest(&index), index);
        Image { blobs, top }
    }

    /// The digest of what is at the top.
    pub fn digest(&self) -> &str {
        self.top["digest"].as_str().unwrap()
    }

    /// The bytes of what is at the top.
    pub fn bytes(&self) -> &[u8] {
        &self.blobs[self.digest()]
    }

    /// Writes an OCI image layout, in which the image is tagged `latest`.
    pub fn write(&self, folder: &Path) {
        let blobs = folder.join("blobs/sha256");
        std::fs::create_dir_all(&blobs).unwrap();
        for (digest, bytes) in &self.blobs {
            std::fs::write(blobs.join(digest.strip_prefix("sha256:").unwrap()), bytes).unwrap();
        }
        let mut top = self.top.clone();
        top["annotations"] = json!({"org.opencontainers.image.ref.name": "latest"});
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [top]});
        std::fs::write(folder.join("index.json"), index.to_string()).unwrap();
        std::fs::write(folder.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    }

    /// Checks that an OCI image layout holds this image, all of it, byte for byte, and nothing else.
    pub fn check(&self, folder: &Path) {
        let index: Value = serde_json::from_slice(&std::fs::read(folder.join("index.json")).unwrap()).unwrap();
        let tops = index["manifests"].as_array().unwrap();
        assert_eq!(tops.len(), 1, "{index}");
        assert_eq!(tops[0]["digest"], self.top["digest"], "another image was pulled: {index}");
        let mut found: Vec<String> = std::fs::read_dir(folder.join("blobs/sha256"))
            .unwrap()
            .map(|entry| format!("sha256:{}", entry.unwrap().file_name().to_str().unwrap()))
            .collect();
        found.sort();
        let expected: Vec<&String> = self.blobs.keys().collect();
        assert_eq!(found.iter().collect::<Vec<_>>(), expected, "the blobs of {folder:?}");
        for (digest, bytes) in &self.blobs {
            let pulled = std::fs::read(folder.join("blobs/sha256").join(digest.strip_prefix("sha256:").unwrap()));
            assert!(pulled.unwrap() == *bytes, "{digest} in {folder:?} has other bytes");
        }
    }
}

/// A layer with one file of random bytes: what it is compressed, and its digest uncompressed.
pub fn layer(seed: u64, size: usize) -> (Vec<u8>, String) {
    let tar = tar("added.bin", &random_bytes(seed, size));
    (gzip(&tar), digest(&tar))
}

/// A tar archive (ustar) with one file.
fn tar(name: &str, content: &[u8]) -> Vec<u8> {
    let mut header = [0; 512];
    let mut field = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    field(0, name);
    field(100, "0000644\0");
    field(108, "0000000\0");
    field(116, "0000000\0");
    field(124, &format!("{:011o}\0", content.len()));
    field(136, "00000000000\0");
    // The sum is taken with spaces in its own place.
    field(148, "        ");
    field(156, "0");
    field(257, "ustar\x0000");
    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut archive = [&header[..], content].concat();
    // Full records, and two empty ones at the end.
    archive.resize(archive.len().next_multiple_of(512) + 1024, 0);
    archive
}

/// gzip that stores: random bytes do not get smaller (RFC 1951 section 3.2.4, RFC 1952).
fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
    let mut blocks = bytes.chunks(0xffff).peekable();
    while let Some(block) = blocks.next() {
        let length = block.len() as u16;
        packed.push(u8::from(blocks.peek().is_none()));
        packed.extend(length.to_le_bytes());
        packed.extend((!length).to_le_bytes());
        packed.extend(block);
    }
    packed.extend(crc32(bytes).to_le_bytes());
    packed.extend((bytes.len() as u32).to_le_bytes());
    packed
}

fn crc32(bytes: &[u8]) -> u32 {
    let table: Vec<u32> = (0..256u32)
        .map(|byte| (0..8).fold(byte, |crc, _| if crc & 1 == 1 { 0xedb8_8320 ^ (crc >> 1) } else { crc >> 1 }))
        .collect();
    !bytes.iter().fold(!0, |crc, &byte| table[((crc ^ u32::from(byte)) & 0xff) as usize] ^ (crc >> 8))
}
