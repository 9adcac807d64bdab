//! TLS in the configuration: which files, and who is trusted. Nothing is read here but names; [`crate::tls`] reads the files.

use super::Config;
use crate::fleet::NodeUrl;
use crate::tls::{Acceptor, Trust};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::path::PathBuf;

/// A public address: `HOST:PORT`, or that with what is spoken there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Listener {
    /// `HOST:PORT`; port 0 takes a free one.
    pub address: String,
    /// TLS; plain HTTP without.
    pub tls: Option<ListenerTls>,
    /// Whether HTTP/2 is spoken in plain text, beside HTTP/1.1; in TLS it always is.
    pub h2c: bool,
}

/// The form of a [`Listener`] that is not a mere address.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Full {
    address: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tls: Option<ListenerTls>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    h2c: bool,
}

impl From<&str> for Listener {
    fn from(address: &str) -> Listener {
        Listener { address: address.to_owned(), ..Listener::default() }
    }
}

impl Serialize for Listener {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if *self == Listener::from(self.address.as_str()) {
            return self.address.serialize(serializer);
        }
        let Listener { address, tls, h2c } = self.clone();
        Full { address, tls, h2c }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Listener {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Listener, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Listener;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("HOST:PORT, or {address: HOST:PORT, tls: …}")
            }

            fn visit_str<E: Error>(self, address: &str) -> Result<Listener, E> {
                Ok(Listener::from(address))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Listener, A::Error> {
                let Full { address, tls, h2c } = Full::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Listener { address, tls, h2c })
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl Listener {
    /// What types alone cannot say. An error is the key below the listener's, or none, and the problem.
    pub(super) fn check(&self) -> Result<(), (String, String)> {
        let key = if self.tls.is_some() || self.h2c { ".address" } else { "" };
        check_address(&self.address).map_err(|what| (key.to_owned(), what))?;
        let Some(tls) = &self.tls else { return Ok(()) };
        if self.h2c {
            return Err((".h2c".to_owned(), "in TLS, HTTP/2 is always spoken; leave it out".to_owned()));
        }
        if tls.client_certificate.is_some() && tls.client_ca.is_none() {
            let what = "nobody is trusted to sign clients' certificates; name a file in client_ca".to_owned();
            return Err((".tls.client_certificate".to_owned(), what));
        }
        Acceptor::load(tls).map(drop).map_err(|problem| (format!(".{}", problem.key), problem.what))
    }
}

/// Whether something can be listened on, as far as its form says.
pub(super) fn check_address(address: &str) -> Result<(), String> {
    let port = address.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port);
    match port.and_then(|port| port.parse::<u16>().ok()) {
        Some(_) => Ok(()),
        None => Err(format!("{address:?} is no address to listen on; write HOST:PORT, such as 0.0.0.0:5000")),
    }
}

/// TLS to clients. All files are PEM, and read again when they change.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListenerTls {
    /// The certificate, with what leads to its authority; shown to clients that ask for a name that no other is for.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// Further ones, each shown to clients that ask for a name which it is for (SNI).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub more: Vec<CertificateAndKey>,
    /// The authorities that may have signed the certificates of clients; clients are not asked for one without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_ca: Option<PathBuf>,
    /// Whether clients must have a certificate; they must, without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificate: Option<ClientCertificate>,
}

/// A certificate and its key, in files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CertificateAndKey {
    /// The certificate, with what leads to its authority.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// Whether clients must have a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClientCertificate {
    /// Whoever has none is not let in.
    Required,
    /// Whoever has none is let in; a wrong one is not.
    Requested,
}

/// TLS to a node: whom onezot trusts, and what it shows of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NodeTls {
    /// The authorities that may have signed the node's certificate, as PEM; the system's without.
    pub ca: Option<PathBuf>,
    /// The certificate that onezot shows to the node, with what leads to its authority, as PEM.
    pub certificate: Option<PathBuf>,
    /// The key of that certificate, as PEM.
    pub key: Option<PathBuf>,
    /// The name that the node's certificate is for, where it is not the host of the URL.
    pub server_name: Option<String>,
    /// Takes whatever certificate the node shows: whoever is in between reads passwords and changes images.
    pub dangerously_skip_verification: bool,
}

impl NodeTls {
    /// What types alone cannot say. An error is the key below the node's and the problem.
    pub(super) fn check(url: &NodeUrl, tls: Option<&NodeTls>) -> Result<(), (String, String)> {
        let Some(tls) = tls else { return NodeTls::default().check_files(url) };
        if !url.is_https() {
            return Err(("tls".to_owned(), format!("{url} is plain HTTP; write https:// to speak TLS to the node")));
        }
        let both = "a certificate and its key belong together; name both or neither".to_owned();
        match (&tls.certificate, &tls.key) {
            (Some(_), None) => return Err(("tls.certificate".to_owned(), both)),
            (None, Some(_)) => return Err(("tls.key".to_owned(), both)),
            _ => {}
        }
        tls.check_files(url)
    }

    fn check_files(&self, url: &NodeUrl) -> Result<(), (String, String)> {
        if !url.is_https() {
            return Ok(());
        }
        Trust::load(url, self).map(drop).map_err(|problem| (problem.key, problem.what))
    }
}

impl Config {
    /// What is allowed and should be known: told at the start and by `onezot verify`.
    pub fn warnings(&self) -> Vec<String> {
        let tls = self.nodes.iter().filter_map(|node| Some((node.name(), node.tls.as_ref()?)));
        let told = tls.flat_map(|(name, tls)| {
            let unverified = tls.dangerously_skip_verification.then(|| {
                format!(
                    "the certificate of node {name} is not verified (dangerously_skip_verification): whoever is in \
                     between reads passwords and changes images"
                )
            });
            let shown = tls.certificate.is_some().then(|| {
                format!(
                    "onezot shows a certificate to node {name}: a zot with tls.cacert takes every client that brings \
                     no credentials for the identity of that certificate"
                )
            });
            unverified.into_iter().chain(shown)
        });
        told.collect()
    }
}
