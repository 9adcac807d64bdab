//! TLS, on both sides of the gateway: what it shows to clients, and whom it trusts among nodes. TLS 1.2 and 1.3 only.

mod connect;
mod entered;
mod listen;
mod node;
mod pem;

pub use connect::NodeConnector;
pub use entered::{Entered, subject};
pub use listen::Acceptor;
pub use node::{Trust, peer};
pub use pem::Problem;

use rustls::crypto::CryptoProvider;
use rustls::{SupportedProtocolVersion, version};
use std::sync::Arc;

/// What is spoken. Older versions are not even built in.
static VERSIONS: [&SupportedProtocolVersion; 2] = [&version::TLS13, &version::TLS12];

/// The cryptography of both sides: the one that pingora is built with.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
