//! Made-up content of a fleet: repositories with images, the same from every process that is told the same numbers.
//!
//! Nothing is stored. Everything of an image follows from its index, so that a fleet of any size costs only what its
//! answers take.

use jiff::Timestamp;
use serde_json::{Value, json};

/// The first second in which an image of this content was made: 2024-01-01.
const EPOCH: i64 = 1_704_067_200;
/// The span over which images are spread (seconds): a year.
const SPAN: u64 = 31_536_000;

/// How much there is, and on how many nodes. Repository `r` lies on node `r % nodes`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Content {
    /// Repositories on all nodes together.
    pub repositories: usize,
    /// Images of each repository.
    pub tags: usize,
    /// Nodes.
    pub nodes: usize,
}

impl Content {
    /// The repositories of a node, in the order of their names.
    pub fn of_node(&self, node: usize) -> impl Iterator<Item = usize> + Clone + use<> {
        (node..self.repositories).step_by(self.nodes.max(1))
    }

    /// The images of a repository, in the order of their tags.
    pub fn images_of(&self, repository: usize) -> std::ops::Range<usize> {
        repository * self.tags..(repository + 1) * self.tags
    }

    /// The name of a repository; names are in the order of the indexes.
    pub fn name(&self, repository: usize) -> String {
        format!("team-{:04}/app-{repository:07}", repository / 100)
    }

    /// The tag of an image.
    pub fn tag(&self, image: usize) -> String {
        format!("1.{:03}.0", image % self.tags.max(1))
    }

    /// When an image was made (seconds since 1970).
    pub fn made(&self, image: usize) -> i64 {
        EPOCH + i64::try_from(mixed(image as u64) % SPAN).unwrap_or_default()
    }

    /// How often an image was pulled. Many are pulled as often as others.
    pub fn downloads(&self, image: usize) -> u64 {
        mixed(image as u64 ^ 0x5bd1) % 1000
    }

    /// An `ImageSummary`.
    pub fn image(&self, image: usize) -> Value {
        let repository = self.name(image / self.tags.max(1));
        let digest = digest(image as u64);
        let size = (20_000_000 + mixed(image as u64) % 80_000_000).to_string();
        let made = time(self.made(image));
        let layers: Vec<Value> = (0..4)
            .map(|layer| json!({"Size": "5242880", "Digest": self::digest((image as u64) << 3 | layer)}))
            .collect();
        let found = json!({
            "__typename": "ImageVulnerabilitySummary", "MaxSeverity": "MEDIUM", "Count": 7, "UnknownCount": 0,
            "LowCount": 4, "MediumCount": 3, "HighCount": 0, "CriticalCount": 0,
        });
        let manifest = json!({
            "__typename": "ManifestSummary", "Digest": digest, "ConfigDigest": self::digest(!(image as u64)),
            "LastUpdated": made, "Size": size, "IsSigned": image.is_multiple_of(3), "SignatureInfo": [],
            "Platform": {"__typename": "Platform", "Os": "linux", "Arch": if image.is_multiple_of(2) { "amd64" } else { "arm64" }},
            "DownloadCount": self.downloads(image), "Layers": layers, "History": [], "Vulnerabilities": found,
            "Referrers": [], "ArtifactType": "",
        });
        let mut summary = json!({
            "__typename": "ImageSummary", "RepoName": repository, "Tag": self.tag(image), "Digest": digest,
            "MediaType": "application/vnd.oci.image.manifest.v1+json", "Size": size, "Manifests": [manifest],
            "DownloadCount": self.downloads(image), "LastUpdated": made, "LastPullTimestamp": made,
            "PushTimestamp": made, "TaggedTimestamp": made, "PushedBy": "ci", "Vulnerabilities": found,
        });
        let labels = json!({
            "Description": "A service of the team \u{2013} builds & tests <nightly>", "IsSigned": image.is_multiple_of(3),
            "SignatureInfo": [], "Licenses": "Apache-2.0", "Labels": "", "Title": repository,
            "Source": format!("https://git.example.com/{repository}"), "Documentation": "", "Vendor": "Example",
            "Authors": "team@example.com", "Referrers": [], "IsDeletable": null, "ArtifactType": "",
        });
        if let (Value::Object(summary), Value::Object(labels)) = (&mut summary, labels) {
            summary.extend(labels);
        }
        summary
    }

    /// A `RepoSummary`.
    pub fn repository(&self, repository: usize) -> Value {
        let newest = self.images_of(repository).max_by_key(|image| self.made(*image)).unwrap_or_default();
        json!({
            "__typename": "RepoSummary", "Name": self.name(repository), "LastUpdated": time(self.made(newest)),
            "Size": (50_000_000 + mixed(repository as u64) % 900_000_000).to_string(),
            "Platforms": [{"Os": "linux", "Arch": "amd64"}, {"Os": "linux", "Arch": "arm64"}], "Vendors": ["Example"],
            "NewestImage": self.image(newest), "DownloadCount": self.repository_downloads(repository), "StarCount": 0,
            "IsBookmarked": false, "IsStarred": false, "Rank": self.rank(repository),
        })
    }

    /// When the newest image of a repository was made (seconds since 1970).
    pub fn updated(&self, repository: usize) -> i64 {
        self.images_of(repository).map(|image| self.made(image)).max().unwrap_or(EPOCH)
    }

    /// How often the images of a repository were pulled.
    pub fn repository_downloads(&self, repository: usize) -> u64 {
        self.images_of(repository).map(|image| self.downloads(image)).sum()
    }

    /// The rank of a repository in a search: small numbers first, many alike.
    pub fn rank(&self, repository: usize) -> u64 {
        1 + mixed(repository as u64) % 5
    }
}

/// A number that looks like chance and is always the same (the finaliser of splitmix64).
fn mixed(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

fn digest(of: u64) -> String {
    let parts = [of, of ^ 1, of ^ 2, of ^ 3].map(mixed);
    format!("sha256:{:016x}{:016x}{:016x}{:016x}", parts[0], parts[1], parts[2], parts[3])
}

fn time(seconds: i64) -> String {
    Timestamp::from_second(seconds).map_or_else(|_| String::new(), |time| time.to_string())
}
