//! Content for trying things out: about a hundred repositories as several teams would have them, made up the same way
//! every time.

use super::access::Settings;
use super::content::{Content, ContentError, ManifestContent, Mark, Pull, Push};
use super::cve::Reports;
use super::node::Setup;
use super::{digest, oci, time};
use bytes::Bytes;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};

/// The user who has stars and bookmarks.
const USER: &str = "alice";
const PASSWORD: &str = "alice-pw";

/// The first image was made then, the last one within [`DAYS`].
const FIRST_CREATED: &str = "2024-11-01T06:00:00Z";
const DAYS: usize = 730;

const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const CHART_CONFIG: &str = "application/vnd.cncf.helm.config.v1+json";
const CHART_LAYER: &str = "application/vnd.cncf.helm.chart.content.v1.tar+gzip";
const SBOM: &str = "application/spdx+json";
const NOTATION: &str = "application/vnd.cncf.notary.signature";
const COSIGN_LAYER: &str = "application/vnd.dev.cosign.simplesigning.v1+json";

const AMD64: (&str, &str) = ("amd64", "");
const ARM64: (&str, &str) = ("arm64", "v8");

/// What the repositories of a group hold.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Images for two architectures.
    Images,
    /// Some are for two architectures, some for one.
    Mixed,
    /// Helm charts.
    Charts,
}
use Kind::{Charts, Images, Mixed};

/// Repositories under one name: the name, the kind, the base of the images, the repositories.
type Group = (&'static str, Kind, &'static str, &'static [&'static str]);

const GROUPS: &[Group] = &[
    ("", Images, "alpine", &["alpine", "busybox", "haproxy", "nginx", "postgres", "redis", "registry", "traefik"]),
    ("charts", Charts, "", &["app", "billing", "checkout", "grafana", "ingress", "postgres", "redis", "search"]),
    ("ci", Mixed, "debian", &["builder", "cache", "linter", "release-bot", "runner", "runner-docker"]),
    ("data", Mixed, "debian", &["airflow", "dbt", "jupyter", "spark", "spark-operator", "superset", "trino"]),
    ("edge", Images, "alpine", &["cdn", "gateway", "gateway-lite", "waf"]),
    ("infra", Images, "distroless", &["cert-manager", "coredns", "csi-driver", "external-dns", "ingress"]),
    ("library", Images, "debian", &["caddy", "etcd", "kafka", "mariadb", "nginx", "nginx-unprivileged", "redis"]),
    ("mirror/docker.io/library", Images, "debian", &["alpine", "debian", "nginx"]),
    ("ml", Mixed, "ubuntu", &["embeddings", "features", "notebooks", "serving", "serving-gpu", "training"]),
    ("observability", Images, "distroless", &["alertmanager", "grafana", "grafana-agent", "loki", "prometheus"]),
    ("payments", Mixed, "distroless", &["checkout", "checkout-gateway", "fraud", "fraud-model", "refunds", "wallet"]),
    ("platform/base", Images, "", &["alpine", "debian", "debian-slim", "distroless", "ubuntu"]),
    ("platform/runtime", Images, "debian", &["dotnet", "go", "java", "java-jre", "node", "python", "ruby", "rust"]),
    ("security", Mixed, "alpine", &["cosign", "falco", "trivy", "vault", "vault-agent"]),
    ("team-a", Images, "debian", &["app", "app-api", "app-migrations", "app-web", "app-worker"]),
    ("team-a/app", Mixed, "debian", &["dev", "nightly"]),
    ("team-b", Mixed, "debian", &["billing", "billing-api", "billing-worker", "invoices", "invoices-pdf", "ledger"]),
    ("team-c", Mixed, "alpine", &["crawler", "search", "search-indexer", "search-ui", "suggest"]),
];

/// The packages in which CVEs are found, and the CVEs: invented, all of them.
const PACKAGES: [&str; 6] = ["labssl", "labz", "labxml", "labcurl", "labc", "labgit"];
const FLAWS: [(&str, &str); 6] = [
    ("heap overflow when parsing a certificate", "CRITICAL"),
    ("out-of-bounds read when inflating", "HIGH"),
    ("use after free in the parser", "HIGH"),
    ("redirects leak credentials", "MEDIUM"),
    ("wrong rounding in a time zone", "LOW"),
    ("a race when files are replaced", "UNKNOWN"),
];
const CVES: usize = 36;

/// The sample content.
#[derive(Clone, Debug)]
pub struct Sample {
    /// The repositories.
    pub content: Content,
    /// What scanning their images finds.
    pub reports: Reports,
}

impl Sample {
    /// Makes it.
    ///
    /// # Errors
    ///
    /// None that a test would not have found: what is made is read back as JSON.
    pub fn new() -> Result<Self, ContentError> {
        let mut maker = Maker::default();
        for (group, kind, base, names) in GROUPS {
            for name in *names {
                let name = if group.is_empty() { (*name).to_owned() } else { format!("{group}/{name}") };
                maker.repository(&name, *kind, base);
            }
        }
        let reports = Reports::read(&json_bytes(&Value::Object(maker.reports)))?;
        Ok(Self { content: maker.content, reports })
    }

    /// The names of the repositories.
    pub fn repositories(&self) -> BTreeSet<&str> {
        self.content.pushes.iter().map(|push| &*push.repository).collect()
    }

    /// How a node is set up that holds some of it: everybody may read and write, and there is one user.
    ///
    /// # Errors
    ///
    /// As for [`Sample::new`].
    pub fn setup(&self, seed: u64) -> Result<Setup, ContentError> {
        let everything = ["read", "create", "update", "delete"];
        let settings: Settings = serde_json::from_value(json!({
            "http": {
                "realm": "onezot demo",
                "compat": ["docker2s2"],
                "accessControl": {
                    "repositories": {"**": {"anonymousPolicy": everything}},
                    "adminPolicy": {"users": [USER], "actions": everything},
                },
            },
            "extensions": {"search": {"cve": {}}},
        }))?;
        let users = BTreeMap::from([(USER.to_owned(), PASSWORD.to_owned())]);
        Ok(Setup { listen: None, settings, users, cve: Some(self.reports.clone()), seed })
    }
}

/// A number below `below` that depends on some words only.
fn pick(words: &[&str], below: usize) -> usize {
    let hash = Sha256::digest(words.join("\0"));
    let number = hash.iter().take(8).fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    usize::try_from(number % below.max(1) as u64).unwrap_or_default()
}

fn json_bytes(value: &Value) -> Bytes {
    value.to_string().into()
}

/// A tar archive with one file.
fn tar(path: &str, text: &str) -> Vec<u8> {
    let mut header = [0_u8; 512];
    let mut put = |at: usize, field: &str| {
        for (to, from) in header.iter_mut().skip(at).zip(field.bytes()) {
            *to = from;
        }
    };
    put(0, path);
    put(100, "0000644\0");
    put(108, "0000000\0");
    put(116, "0000000\0");
    put(124, &format!("{:011o}\0", text.len()));
    put(136, "00000000000\0");
    put(148, "        ");
    put(156, "0");
    put(257, "ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    for (to, from) in header.iter_mut().skip(148).zip(format!("{sum:06o}\0 ").bytes()) {
        *to = from;
    }
    let mut archive = header.to_vec();
    archive.extend(text.bytes());
    archive.resize(archive.len().next_multiple_of(512) + 1024, 0);
    archive
}

/// A gzip stream that needs no compressor: its blocks are stored as they are.
fn gzip(content: &[u8]) -> Vec<u8> {
    let mut stream = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
    let mut chunks = content.chunks(0xffff).peekable();
    while let Some(chunk) = chunks.next() {
        stream.push(u8::from(chunks.peek().is_none()));
        let length = u16::try_from(chunk.len()).unwrap_or(u16::MAX);
        stream.extend(length.to_le_bytes());
        stream.extend((!length).to_le_bytes());
        stream.extend(chunk);
    }
    let mut crc = u32::MAX;
    for byte in content {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
        }
    }
    stream.extend((!crc).to_le_bytes());
    stream.extend(u32::try_from(content.len()).unwrap_or_default().to_le_bytes());
    stream
}

#[derive(Default)]
struct Maker {
    content: Content,
    reports: Map<String, Value>,
}

/// A manifest that was made.
#[derive(Clone)]
struct Made {
    descriptor: Value,
    digest: String,
}

/// An image to be made.
struct Image<'a> {
    repository: &'a str,
    version: &'a str,
    /// Which of how many versions.
    age: (usize, usize),
    created: &'a str,
    base: &'a str,
    platform: (&'a str, &'a str),
}

impl Maker {
    fn repository(&mut self, name: &str, kind: Kind, base: &str) {
        let versions = 2 + pick(&[name, "versions"], 4);
        let major = 1 + pick(&[name, "major"], 4);
        let first_day = pick(&[name, "day"], DAYS / 2);
        let step = (DAYS - first_day) / versions;
        let mut newest = None;
        for age in 0..versions {
            // The last version but one begins a new series.
            let tag = match versions - age {
                1 => format!("{}.0.1", major + 1),
                2 => format!("{}.0.0", major + 1),
                _ => format!("{major}.{age}.{}", pick(&[name, "patch"], 10)),
            };
            let day = first_day + age * step + pick(&[name, &tag], step.max(1));
            let created = created(day, pick(&[name, &tag, "second"], 43_200));
            let made = if kind == Charts {
                self.chart(name, &tag, &created)
            } else {
                let image = |platform| Image {
                    repository: name,
                    version: &tag,
                    age: (age, versions),
                    created: &created,
                    base,
                    platform,
                };
                if kind == Mixed && pick(&[name, "single"], 2) == 0 {
                    self.image(&image(AMD64))
                } else {
                    let children = [self.image(&image(AMD64)), self.image(&image(ARM64))];
                    self.index(&children, &[AMD64, ARM64])
                }
            };
            self.tag(name, &tag, &made);
            newest = Some(made);
        }
        let Some(newest) = newest else { return };
        if kind != Charts {
            self.tag(name, "latest", &newest);
            let reference = "latest".to_owned();
            let times = u32::try_from(pick(&[name, "pulls"], 40)).unwrap_or_default();
            self.content.pulls.push(Pull { repository: name.to_owned(), reference, times });
            match pick(&[name, "extras"], 4) {
                0 => self.cosign(name, &newest),
                1 => self.referrer(name, &newest, SBOM, "application/spdx+json"),
                2 => {
                    self.referrer(name, &newest, SBOM, "application/spdx+json");
                    self.referrer(name, &newest, NOTATION, "application/jose+json");
                }
                _ => {}
            }
        }
        let mark = || Mark { user: USER.to_owned(), repository: name.to_owned() };
        if pick(&[name, "star"], 8) == 0 {
            self.content.stars.push(mark());
        }
        if pick(&[name, "bookmark"], 12) == 0 {
            self.content.bookmarks.push(mark());
        }
    }

    fn blob(&mut self, media_type: &str, bytes: Bytes) -> Made {
        let digest = digest::of(&bytes);
        let descriptor = json!({"mediaType": media_type, "digest": digest, "size": bytes.len()});
        self.content.bytes.insert(digest.clone(), bytes);
        Made { descriptor, digest }
    }

    /// A layer, and the digest of what is in it.
    fn layer(&mut self, media_type: &str, path: &str, text: &str) -> (Made, String) {
        let archive = tar(path, text);
        (self.blob(media_type, gzip(&archive).into()), digest::of(&archive))
    }

    fn manifest(&mut self, media_type: &str, body: &Value, blobs: &[&Made], children: &[Made]) -> Made {
        let made = self.blob(media_type, json_bytes(body));
        let digests = |of: &[&Made]| of.iter().map(|made| made.digest.clone()).collect();
        let known = ManifestContent {
            media_type: media_type.to_owned(),
            blobs: digests(blobs),
            children: digests(&children.iter().collect::<Vec<_>>()),
        };
        self.content.manifests.insert(made.digest.clone(), known);
        made
    }

    fn tag(&mut self, repository: &str, reference: &str, made: &Made) {
        self.content.pushes.push(Push {
            repository: repository.to_owned(),
            reference: reference.to_owned(),
            digest: made.digest.clone(),
            user: USER.to_owned(),
        });
    }

    fn image(&mut self, image: &Image<'_>) -> Made {
        let Image { repository, version, created, base, platform: (architecture, variant), .. } = *image;
        let family = if base.is_empty() { repository } else { base };
        let family = family.rsplit('/').next().unwrap_or(family);
        let release = format!("{family} 12 for {architecture}\n");
        let (base_layer, base_id) = self.layer(LAYER, "etc/os-release", &release);
        let program = format!("{repository} {version} for {architecture}\n");
        let (own_layer, own_id) = self.layer(LAYER, "opt/version", &program);
        let mut layers = vec![&base_layer, &own_layer];
        let mut ids = vec![base_id, own_id];
        let mut history = vec![
            json!({"created": FIRST_CREATED, "created_by": format!("ADD {family}.tar / # buildkit")}),
            json!({"created": created, "created_by": "COPY opt/version /opt/version # buildkit"}),
        ];
        if base.is_empty() {
            // A base image is what others have as their first layer, and nothing else.
            layers.pop();
            ids.pop();
            history.pop();
        }
        history.push(json!({"created": created, "created_by": "CMD [\"/bin/sh\"]", "empty_layer": true}));
        let title = repository.rsplit('/').next().unwrap_or(repository);
        let vendor = vendor(repository);
        let mut config = json!({
            "created": created,
            "author": vendor,
            "architecture": architecture,
            "os": "linux",
            "config": {
                "Cmd": ["/bin/sh"],
                "Labels": {
                    "org.opencontainers.image.title": title,
                    "org.opencontainers.image.description": format!("{title}, an invented image of {vendor}"),
                    "org.opencontainers.image.vendor": vendor,
                    "org.opencontainers.image.version": version,
                    "org.opencontainers.image.licenses": "Apache-2.0",
                    "org.opencontainers.image.source": format!("https://git.example.com/{repository}"),
                },
            },
            "rootfs": {"type": "layers", "diff_ids": ids},
            "history": history,
        });
        if !variant.is_empty() {
            config["variant"] = json!(variant);
        }
        let config = self.blob(oci::CONFIG, json_bytes(&config));
        let body = json!({
            "schemaVersion": 2,
            "mediaType": oci::MANIFEST,
            "config": config.descriptor,
            "layers": layers.iter().map(|layer| &layer.descriptor).collect::<Vec<_>>(),
            "annotations": {"org.opencontainers.image.vendor": vendor},
        });
        let mut blobs = layers;
        blobs.push(&config);
        let made = self.manifest(oci::MANIFEST, &body, &blobs, &[]);
        // A few have not been scanned yet.
        if pick(&[repository, "scanned"], 5) > 0 {
            let cves: Vec<Value> = (0..CVES).filter_map(|number| cve(image, family, number)).collect();
            self.reports.insert(made.digest.clone(), json!({"cves": cves}));
        }
        made
    }

    fn index(&mut self, children: &[Made], platforms: &[(&str, &str)]) -> Made {
        let manifests: Vec<Value> = children
            .iter()
            .zip(platforms)
            .map(|(child, (architecture, variant))| {
                let mut descriptor = child.descriptor.clone();
                descriptor["platform"] = json!({"architecture": architecture, "os": "linux"});
                if !variant.is_empty() {
                    descriptor["platform"]["variant"] = json!(variant);
                }
                descriptor
            })
            .collect();
        let body = json!({"schemaVersion": 2, "mediaType": oci::INDEX, "manifests": manifests});
        self.manifest(oci::INDEX, &body, &[], children)
    }

    fn chart(&mut self, repository: &str, version: &str, created: &str) -> Made {
        let name = repository.rsplit('/').next().unwrap_or(repository);
        let about = json!({"apiVersion": "v2", "name": name, "version": version, "type": "application"});
        let config = self.blob(CHART_CONFIG, json_bytes(&about));
        let text = format!("apiVersion: v2\nname: {name}\nversion: {version}\ntype: application\n");
        let (layer, _) = self.layer(CHART_LAYER, &format!("{name}/Chart.yaml"), &text);
        let body = json!({
            "schemaVersion": 2,
            "mediaType": oci::MANIFEST,
            "config": config.descriptor,
            "layers": [layer.descriptor],
            "annotations": {
                "org.opencontainers.image.created": created,
                "org.opencontainers.image.title": name,
                "org.opencontainers.image.description": format!("An invented chart of {name}"),
                "org.opencontainers.image.version": version,
            },
        });
        self.manifest(oci::MANIFEST, &body, &[&config, &layer], &[])
    }

    /// A signature under the tag by which cosign finds it.
    fn cosign(&mut self, repository: &str, signed: &Made) {
        let payload = json!({
            "critical": {
                "identity": {"docker-reference": repository},
                "image": {"docker-manifest-digest": signed.digest},
                "type": "cosign container image signature",
            },
            "optional": null,
        });
        let layer = self.blob(COSIGN_LAYER, json_bytes(&payload));
        let rootfs = json!({"type": "layers", "diff_ids": [layer.digest]});
        let config = json!({"architecture": "", "os": "", "created": "0001-01-01T00:00:00Z", "rootfs": rootfs});
        let config = self.blob(oci::CONFIG, json_bytes(&config));
        let body = json!({
            "schemaVersion": 2,
            "mediaType": oci::MANIFEST,
            "config": config.descriptor,
            "layers": [layer.descriptor],
        });
        let made = self.manifest(oci::MANIFEST, &body, &[&config, &layer], &[]);
        self.tag(repository, &format!("{}.sig", signed.digest.replacen(':', "-", 1)), &made);
    }

    /// Something that refers to an image: a list of what is in it, or a signature.
    fn referrer(&mut self, repository: &str, subject: &Made, kind: &str, media_type: &str) {
        let text = json!({"name": repository, "about": subject.digest, "note": "invented"});
        let layer = self.blob(media_type, json_bytes(&text));
        let config = self.blob(oci::EMPTY, Bytes::from_static(b"{}"));
        let body = json!({
            "schemaVersion": 2,
            "mediaType": oci::MANIFEST,
            "artifactType": kind,
            "config": config.descriptor,
            "layers": [layer.descriptor],
            "subject": subject.descriptor,
        });
        let made = self.manifest(oci::MANIFEST, &body, &[&config, &layer], &[]);
        let digest = made.digest.clone();
        self.tag(repository, &digest, &made);
    }
}

fn created(day: usize, second: usize) -> String {
    let seconds = i64::try_from(day * 86_400 + second).unwrap_or_default();
    let made = time::parse(FIRST_CREATED).map(|first| time::after(first, seconds));
    made.and_then(time::write).unwrap_or_else(|| FIRST_CREATED.to_owned())
}

/// The team that a repository belongs to.
fn vendor(repository: &str) -> String {
    let team = repository.split_once('/').map_or("platform", |(team, _)| team);
    format!("{team} of Example Corp")
}

/// A CVE, if an image has it: some come with the base, some with the program, and each is fixed in some version.
fn cve(image: &Image<'_>, family: &str, number: usize) -> Option<Value> {
    let id = format!("CVE-2099-{:04}", 1001 + number);
    let (version, versions) = image.age;
    let of_base = pick(&[family, &id], 6) == 0;
    let of_program = pick(&[image.repository, &id], 9) == 0;
    let fixed_in = 1 + pick(&[image.repository, &id, "fixed"], versions + 1);
    if !(of_base || of_program) || version >= fixed_in {
        return None;
    }
    let (flaw, severity) = FLAWS[number % FLAWS.len()];
    let package = PACKAGES[number / FLAWS.len() % PACKAGES.len()];
    Some(json!({
        "Id": id,
        "Title": format!("{package}: {flaw}"),
        "Description": format!("An invented flaw of {package}, a package that does not exist: {flaw}."),
        "Reference": format!("https://www.cve.org/CVERecord?id={id}"),
        "Severity": severity,
        "PackageList": [{
            "Name": package,
            "PackagePath": "Not Specified",
            "InstalledVersion": format!("3.{number}.0-r0"),
            "FixedVersion": format!("3.{number}.0-r1"),
        }],
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::Node;

    #[test]
    fn there_is_enough_of_everything() {
        let Sample { content, reports } = Sample::new().unwrap();
        let sample = Sample { content: content.clone(), reports };
        let names = sample.repositories();
        assert!((90..=120).contains(&names.len()), "{} repositories", names.len());
        assert!(names.contains("team-a/app") && names.contains("team-a/app-api") && names.contains("team-a/app/dev"));
        let bodies: Vec<Value> =
            content.manifests.keys().map(|digest| serde_json::from_slice(&content.bytes[digest]).unwrap()).collect();
        let with = |what: &dyn Fn(&Value) -> bool| bodies.iter().filter(|body| what(body)).count();
        assert!(with(&|body| body["manifests"].is_array()) > 100, "indexes");
        assert!(with(&|body| body["config"]["mediaType"] == CHART_CONFIG) > 10, "charts");
        assert!(with(&|body| body["artifactType"] == SBOM) > 10, "lists of parts");
        assert!(with(&|body| body["artifactType"] == NOTATION) > 5, "notation's signatures");
        assert!(content.pushes.iter().filter(|push| push.reference.ends_with(".sig")).count() > 5);
        assert!(content.stars.len() > 3 && content.bookmarks.len() > 2);
        assert!(sample.reports.affected() > 100, "{} images with CVEs", sample.reports.affected());
        let largest = content.bytes.values().map(Bytes::len).max().unwrap();
        assert!(largest < 4096, "{largest} bytes");
        assert_eq!(format!("{content:?}"), format!("{:?}", Sample::new().unwrap().content), "the same every time");
    }

    #[tokio::test]
    async fn a_node_takes_it() {
        let sample = Sample::new().unwrap();
        let node = Node::start(sample.setup(1).unwrap()).await.unwrap();
        node.load(&sample.content, |_| true).unwrap();
        let found = node.registry().with(|state| {
            let signed = state.meta.repos.values().filter(|repo| !repo.signatures.is_empty()).count();
            (state.meta.repos.len(), signed)
        });
        assert_eq!(found.0, sample.repositories().len());
        assert!(found.1 > 15, "{} repositories with signatures", found.1);
    }

    #[test]
    fn archives_are_archives() {
        let archive = tar("etc/os-release", "debian\n");
        assert_eq!((archive.len(), &archive[257..263], &archive[512..519]), (2048, &b"ustar\0"[..], &b"debian\n"[..]));
        let stream = gzip(&archive);
        assert_eq!(&stream[..3], [0x1f, 0x8b, 8]);
        // The check value of the CRC.
        assert_eq!(gzip(b"123456789")[24..28], 0xcbf4_3926_u32.to_le_bytes());
    }
}
