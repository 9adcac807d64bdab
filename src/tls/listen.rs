//! What a listener shows to its clients, and whom it asks for what: read from files, and read again when they change.

use super::pem::{self, Problem};
use super::{VERSIONS, provider};
use crate::config::{ClientCertificate, ListenerTls};
use arc_swap::ArcSwap;
use rustls::client::verify_server_name;
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::ServerName;
use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::MissedTickBehavior;
use tokio_rustls::TlsAcceptor;

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// One listener's TLS.
pub struct Acceptor {
    files: ListenerTls,
    current: ArcSwap<ServerConfig>,
    hasher: RandomState,
}

impl Acceptor {
    /// Reads the files.
    ///
    /// # Errors
    ///
    /// A file cannot be read or used, or a key does not belong to its certificate.
    pub fn load(files: &ListenerTls) -> Result<Acceptor, Problem> {
        let current = ArcSwap::from_pointee(server_config(files)?);
        Ok(Acceptor { files: files.clone(), current, hasher: RandomState::new() })
    }

    /// What a new connection is accepted with.
    pub fn current(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.current.load_full())
    }

    /// Looks at the files again and again, for ever, and takes what is new. What cannot be used is refused, and told once:
    /// what there was stays.
    pub async fn keep_fresh(self: Arc<Self>) {
        let mut known = None;
        let mut looks = tokio::time::interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            let acceptor = self.clone();
            // Files may lie on what hangs.
            let Ok((seen, loaded)) = tokio::task::spawn_blocking(move || acceptor.look(known)).await else { continue };
            match loaded {
                Some(Ok(config)) => {
                    // The first look finds what has been loaded, or what has changed since.
                    if known.is_some() {
                        tracing::info!(certificate = %self.files.certificate.display(), "certificates were reloaded");
                    }
                    self.current.store(Arc::new(config));
                }
                Some(Err(problem)) => {
                    tracing::error!(%problem, "certificates that have changed cannot be used; the old ones stay");
                }
                None => {}
            }
            known = Some(seen);
        }
    }

    /// What the files have in them, as a hash, and what becomes of it if that is not what is `known`.
    fn look(&self, known: Option<u64>) -> (u64, Option<Result<ServerConfig, Problem>>) {
        let contents: Vec<_> = self.paths().map(|path| std::fs::read(path).ok()).collect();
        let seen = self.hasher.hash_one(&contents);
        (seen, (known != Some(seen)).then(|| server_config(&self.files)))
    }

    fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        let ListenerTls { certificate, key, more, client_ca, client_certificate: _ } = &self.files;
        let more = more.iter().flat_map(|pair| [&pair.certificate, &pair.key]);
        [certificate, key].into_iter().chain(more).chain(client_ca)
    }
}

fn server_config(files: &ListenerTls) -> Result<ServerConfig, Problem> {
    let mut shown = vec![certified("tls", &files.certificate, &files.key)?];
    for (index, pair) in files.more.iter().enumerate() {
        shown.push(certified(&format!("tls.more[{index}]"), &pair.certificate, &pair.key)?);
    }
    let builder = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&VERSIONS)
        .map_err(|error| Problem::new("tls", error.to_string()))?;
    let builder = match &files.client_ca {
        Some(file) => {
            let unusable = |why: String| Problem::new("tls.client_ca", format!("{}: {why}", file.display()));
            let mut roots = RootCertStore::empty();
            for root in pem::certificates("tls.client_ca", file)? {
                roots.add(root).map_err(|error| unusable(error.to_string()))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider());
            let verifier = match files.client_certificate.unwrap_or(ClientCertificate::Required) {
                ClientCertificate::Required => verifier,
                ClientCertificate::Requested => verifier.allow_unauthenticated(),
            };
            builder.with_client_cert_verifier(verifier.build().map_err(|error| unusable(error.to_string()))?)
        }
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(Arc::new(ByName(shown)));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// A certificate with the key that belongs to it.
fn certified(key: &str, certificate: &Path, private_key: &Path) -> Result<Arc<CertifiedKey>, Problem> {
    let [of_certificate, of_key] = ["certificate", "key"].map(|name| format!("{key}.{name}"));
    let chain = pem::certificates(&of_certificate, certificate)?;
    let leaf = chain.first().and_then(|leaf| ParsedCertificate::try_from(leaf).ok());
    if leaf.is_none() {
        return Err(Problem::new(of_certificate, format!("{} has a certificate that is none", certificate.display())));
    }
    let loaded = CertifiedKey::from_der(chain, pem::private_key(&of_key, private_key)?, &provider());
    loaded.map(Arc::new).map_err(|error| {
        let what = format!("{} does not fit to {}: {error}", private_key.display(), certificate.display());
        Problem::new(of_key, what)
    })
}

/// The certificates of a listener; the first one is shown where none is for the name that a client asks for.
#[derive(Debug)]
struct ByName(Vec<Arc<CertifiedKey>>);

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().and_then(|name| ServerName::try_from(name).ok());
        let is_for = |certified: &&Arc<CertifiedKey>| {
            let leaf = certified.end_entity_cert().ok().and_then(|leaf| ParsedCertificate::try_from(leaf).ok());
            leaf.zip(name.as_ref()).is_some_and(|(leaf, name)| verify_server_name(&leaf, name).is_ok())
        };
        self.0.iter().find(is_for).or(self.0.first()).cloned()
    }
}
