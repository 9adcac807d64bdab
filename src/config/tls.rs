//! TLS in the configuration: which files, and who is trusted. Nothing is read here but names; [`crate::tls`] reads the files.

use super::Config;
use crate::fleet::NodeUrl;
use crate::tls::Trust;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

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
    pub(super) fn check(url: &NodeUrl, tls: Option<&NodeTls>) -> Result<(), (&'static str, String)> {
        let Some(tls) = tls else { return NodeTls::default().check_files(url) };
        if !url.is_https() {
            return Err(("tls", format!("{url} is plain HTTP; write https:// to speak TLS to the node")));
        }
        let both = "a certificate and its key belong together; name both or neither".to_owned();
        match (&tls.certificate, &tls.key) {
            (Some(_), None) => return Err(("tls.certificate", both)),
            (None, Some(_)) => return Err(("tls.key", both)),
            _ => {}
        }
        tls.check_files(url)
    }

    fn check_files(&self, url: &NodeUrl) -> Result<(), (&'static str, String)> {
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
