//! Certificates and keys from PEM files.

use rustls_pki_types::pem::{self, PemObject as _};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::path::Path;

/// What is wrong with a file, and under which key of the configuration it is named.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {what}")]
pub struct Problem {
    /// The key, such as `tls.ca`.
    pub key: String,
    /// What is wrong, and what would be right. Never what a key file has in it.
    pub what: String,
}

impl Problem {
    pub(super) fn new(key: impl Into<String>, what: impl Into<String>) -> Problem {
        Problem { key: key.into(), what: what.into() }
    }
}

/// All certificates of a file; at least one.
pub(super) fn certificates(key: &str, file: &Path) -> Result<Vec<CertificateDer<'static>>, Problem> {
    let problem = |error: pem::Error| Problem::new(key, said(file, &error));
    let found =
        CertificateDer::pem_file_iter(file).map_err(problem)?.collect::<Result<Vec<_>, _>>().map_err(problem)?;
    if found.is_empty() {
        return Err(Problem::new(key, format!("{} has no certificate; it must be PEM", file.display())));
    }
    Ok(found)
}

/// The first private key of a file.
pub(super) fn private_key(key: &str, file: &Path) -> Result<PrivateKeyDer<'static>, Problem> {
    PrivateKeyDer::from_pem_file(file).map_err(|error| match error {
        pem::Error::NoItemsFound => {
            let what = format!("{} has no private key that can be read; it must be PEM, not encrypted", file.display());
            Problem::new(key, what)
        }
        error => Problem::new(key, said(file, &error)),
    })
}

fn said(file: &Path, error: &pem::Error) -> String {
    match error {
        pem::Error::Io(error) => format!("{} cannot be read: {error}", file.display()),
        // What the others say may quote the file.
        _ => format!("{} is not PEM", file.display()),
    }
}
