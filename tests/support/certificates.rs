//! Certificates of authorities that a test makes up, in files of their own.

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// An authority.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    directory: TempDir,
    /// Its own certificate.
    pub file: PathBuf,
}

/// A certificate and its key, in files.
#[derive(Debug, Clone)]
pub struct Pair {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// When a certificate is valid.
#[derive(Clone, Copy, PartialEq)]
pub enum Time {
    Now,
    Past,
    Future,
}

impl Pair {
    pub fn chain(&self) -> Vec<CertificateDer<'static>> {
        CertificateDer::pem_file_iter(&self.certificate).unwrap().map(Result::unwrap).collect()
    }

    pub fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from_pem_file(&self.key).unwrap()
    }

    /// Puts another pair in the place of this one, the certificate first.
    pub fn replace(&self, by: &Pair) {
        std::fs::copy(&by.certificate, &self.certificate).unwrap();
        std::fs::copy(&by.key, &self.key).unwrap();
    }
}

fn params(names: &[&str], common_name: &str, time: Time) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name.push(DnType::CommonName, common_name);
    (params.not_before, params.not_after) = match time {
        Time::Now => (date_time_ymd(2020, 1, 1), date_time_ymd(2120, 1, 1)),
        Time::Past => (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1)),
        Time::Future => (date_time_ymd(2119, 1, 1), date_time_ymd(2120, 1, 1)),
    };
    params
}

impl Authority {
    pub fn new(name: &str) -> Authority {
        let directory = tempfile::tempdir().unwrap();
        let key = KeyPair::generate().unwrap();
        let mut params = params(&[], name, Time::Now);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key).unwrap();
        let file = directory.path().join("ca.pem");
        std::fs::write(&file, certificate.pem()).unwrap();
        Authority { issuer: Issuer::new(params, key), directory, file }
    }

    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// A server's certificate for these names.
    pub fn server(&self, file: &str, names: &[&str]) -> Pair {
        self.server_at(file, names, Time::Now)
    }

    pub fn server_at(&self, file: &str, names: &[&str], time: Time) -> Pair {
        self.sign(file, params(names, file, time), ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// A client's certificate.
    pub fn client(&self, name: &str) -> Pair {
        self.sign(name, params(&[], name, Time::Now), ExtendedKeyUsagePurpose::ClientAuth)
    }

    fn sign(&self, file: &str, mut params: CertificateParams, purpose: ExtendedKeyUsagePurpose) -> Pair {
        params.extended_key_usages = vec![purpose];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        self.write(file, &certificate.pem(), &key)
    }

    /// A certificate that nobody else has signed.
    pub fn self_signed(&self, file: &str, names: &[&str]) -> Pair {
        let key = KeyPair::generate().unwrap();
        let certificate = params(names, file, Time::Now).self_signed(&key).unwrap();
        self.write(file, &certificate.pem(), &key)
    }

    fn write(&self, file: &str, certificate: &str, key: &KeyPair) -> Pair {
        let place = |end: &str| self.directory.path().join(format!("{file}.{end}"));
        let pair = Pair { certificate: place("crt"), key: place("key") };
        std::fs::write(&pair.certificate, certificate).unwrap();
        std::fs::write(&pair.key, key.serialize_pem()).unwrap();
        pair
    }
}
