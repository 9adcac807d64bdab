//! Whom onezot trusts among its nodes. Both ways to a node, the stream (pingora) and the fan-out (hyper), are built from
//! one [`Trust`], so that neither is more credulous than the other.
//!
//! pingora verifies nothing where it has no name to verify (`connectors/tls/rustls`, an empty `sni`). A [`Trust`] has a
//! [`ServerName`], which is never empty, and [`peer`] is the one place where an address becomes a peer of pingora's.

use super::pem::{self, Problem};
use super::{VERSIONS, provider};
use crate::config::NodeTls;
use crate::fleet::{Node, NodeUrl};
use pingora::prelude::HttpPeer;
use pingora::upstreams::peer::ALPN;
use pingora::utils::tls::{CertKey, WrappedX509, parse_x509};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// What a connection to a node is verified by, and what onezot shows of itself.
#[derive(Clone)]
pub struct Trust {
    /// The name that the certificate must be for.
    name: ServerName<'static>,
    /// Whether the certificate is verified.
    verifies: bool,
    /// The fan-out's side.
    client: Arc<ClientConfig>,
    /// The stream's side.
    roots: Arc<[WrappedX509]>,
    identity: Option<Arc<CertKey>>,
    /// The hash of all that it is made of, which tells pingora's connections of this trust from those of any other.
    group: u64,
}

/// Files that were read again and say the same make no other trust.
impl PartialEq for Trust {
    fn eq(&self, other: &Trust) -> bool {
        self.group == other.group
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Trust { name, verifies, identity, .. } = self;
        let shows = identity.is_some();
        f.debug_struct("Trust").field("name", name).field("verifies", verifies).field("shows", &shows).finish()
    }
}

/// A certificate with what leads to its authority, and its key.
type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

impl Trust {
    /// Reads the files that a node's configuration names.
    ///
    /// # Errors
    ///
    /// A file cannot be read or used, or the name is none that a certificate could be for.
    pub fn load(url: &NodeUrl, tls: &NodeTls) -> Result<Trust, Problem> {
        let (key, host) = match &tls.server_name {
            Some(name) => ("tls.server_name", name.clone()),
            None => ("url", url.server_name()),
        };
        let name = server_name(key, host)?;
        let roots = match &tls.ca {
            Some(file) => usable(file)?,
            None => system_roots()?,
        };
        let identity = match (&tls.certificate, &tls.key) {
            (Some(certificate), Some(key)) => {
                let chain = pem::certificates("tls.certificate", certificate)?;
                Some((chain, pem::private_key("tls.key", key)?))
            }
            _ => None,
        };
        Trust::new(name, roots, identity, !tls.dangerously_skip_verification)
    }

    fn new(
        name: ServerName<'static>,
        roots: Vec<CertificateDer<'static>>,
        identity: Option<Identity>,
        verifies: bool,
    ) -> Result<Trust, Problem> {
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(roots.iter().cloned());
        let wrapped = roots.iter().map(|root| wrapped(root)).collect::<Option<Vec<_>>>();
        let wrapped = wrapped.ok_or_else(|| Problem::new("tls.ca", "has a certificate that is none"))?;
        let shown = match &identity {
            Some((chain, key)) => {
                // It is parsed again behind this, where what is none would be a panic.
                if chain.iter().any(|certificate| wrapped_certificate(certificate).is_none()) {
                    return Err(Problem::new("tls.certificate", "has a certificate that is none"));
                }
                if PrivateKeyDer::try_from(key.secret_der()).is_err() {
                    return Err(Problem::new("tls.key", "is of no known kind"));
                }
                let chain = chain.iter().map(|certificate| certificate.to_vec()).collect();
                Some(Arc::new(CertKey::new(chain, key.secret_der().to_vec())))
            }
            None => None,
        };
        let group = group(&name, &roots, identity.as_ref(), verifies);
        let client = client_config(store.into(), identity, verifies)?;
        let roots = wrapped.into();
        Ok(Trust { name, verifies, client: Arc::new(client), roots, identity: shown, group })
    }

    /// Whether the node's certificate is verified.
    pub fn verifies(&self) -> bool {
        self.verifies
    }

    /// The name that the node's certificate must be for.
    pub fn name(&self) -> &ServerName<'static> {
        &self.name
    }

    /// The fan-out's side.
    pub fn client(&self) -> Arc<ClientConfig> {
        self.client.clone()
    }

    /// The stream's side.
    fn peer(&self, address: SocketAddr) -> HttpPeer {
        let mut peer = HttpPeer::new(address, true, self.name.to_str().into_owned());
        peer.group_key = self.group;
        peer.client_cert_key = self.identity.clone();
        peer.options.ca = Some(self.roots.clone());
        peer.options.verify_cert = self.verifies;
        peer.options.verify_hostname = self.verifies;
        peer.options.alpn = ALPN::H1;
        peer
    }
}

/// A node at one of its addresses, as pingora connects to it; `None` where TLS is due and the files for it could not be
/// read. The one place that makes a peer.
pub fn peer(node: &Node, address: SocketAddr) -> Option<HttpPeer> {
    match (node.url.is_https(), node.trust()) {
        (true, trust) => trust.map(|trust| trust.peer(address)),
        (false, _) => Some(HttpPeer::new(address, false, String::new())),
    }
}

fn group(
    name: &ServerName<'static>,
    roots: &[CertificateDer<'static>],
    identity: Option<&Identity>,
    verifies: bool,
) -> u64 {
    let mut hash = Sha256::new();
    let mut part = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_be_bytes());
        hash.update(bytes);
    };
    part(name.to_str().as_bytes());
    part(&[u8::from(verifies)]);
    part(&(roots.len() as u64).to_be_bytes());
    roots.iter().for_each(|root| part(root));
    if let Some((chain, key)) = identity {
        chain.iter().for_each(|certificate| part(certificate));
        part(key.secret_der());
    }
    let mut first = [0; 8];
    first.copy_from_slice(&hash.finalize()[..8]);
    u64::from_be_bytes(first)
}

/// The name that a certificate is verified for.
fn server_name(key: &str, host: String) -> Result<ServerName<'static>, Problem> {
    // pingora would verify, and ask for, the name with dashes (`replace_leftmost_underscore`).
    let leftmost = host.split('.').next().unwrap_or_default();
    let problem = if leftmost.contains('_') {
        format!("no certificate is for {host:?}, which has an underscore; name in tls.server_name what it is for")
    } else {
        format!("{host:?} is no name that a certificate could be for; write a host name or an address")
    };
    if leftmost.contains('_') {
        return Err(Problem::new(key, problem));
    }
    ServerName::try_from(host).map_err(|_| Problem::new(key, problem))
}

/// The certificates of a file of authorities, each of which can be one.
fn usable(file: &Path) -> Result<Vec<CertificateDer<'static>>, Problem> {
    let roots = pem::certificates("tls.ca", file)?;
    for root in &roots {
        RootCertStore::empty().add(root.clone()).map_err(|error| {
            Problem::new("tls.ca", format!("{} has a certificate that is no authority: {error}", file.display()))
        })?;
    }
    Ok(roots)
}

/// The system's authorities that can be used; `SSL_CERT_FILE` and `SSL_CERT_DIR` may say where they are.
fn system_roots() -> Result<Vec<CertificateDer<'static>>, Problem> {
    let none = |why: String| Problem::new("tls.ca", format!("this system has no authorities ({why}); name a file"));
    let mut roots = rustls_native_certs::load_native_certs().map_err(|error| none(error.to_string()))?;
    roots.retain(|root| RootCertStore::empty().add(root.clone()).is_ok() && wrapped(root).is_some());
    if roots.is_empty() { Err(none("no file of them was found".to_owned())) } else { Ok(roots) }
}

fn wrapped_certificate(certificate: &[u8]) -> Option<X509Certificate<'_>> {
    X509Certificate::from_der(certificate).ok().map(|(_, certificate)| certificate)
}

/// A certificate as pingora takes it; `None` for what it would break on.
fn wrapped(certificate: &[u8]) -> Option<WrappedX509> {
    wrapped_certificate(certificate)?;
    Some(WrappedX509::new(certificate.to_vec(), parse_x509))
}

fn client_config(
    roots: Arc<RootCertStore>,
    identity: Option<Identity>,
    verifies: bool,
) -> Result<ClientConfig, Problem> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&VERSIONS)
        .map_err(|error| Problem::new("tls", error.to_string()))?;
    let builder = if verifies {
        builder.with_root_certificates(roots)
    } else {
        let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider()).build();
        let verifier = verifier.map_err(|error| Problem::new("tls.ca", error.to_string()))?;
        builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody(verifier)))
    };
    match identity {
        Some((chain, key)) => builder
            .with_client_auth_cert(chain, key)
            .map_err(|error| Problem::new("tls.key", format!("does not fit to the certificate: {error}"))),
        None => Ok(builder.with_no_client_auth()),
    }
}

/// Takes any certificate, of whoever has its key: `dangerously_skip_verification`, and what pingora does then.
#[derive(Debug)]
struct Anybody(Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}
