//! A client's connection as pingora takes it: what the client has said so far decides what is spoken on it.

use async_trait::async_trait;
use bytes::BytesMut;
use pingora::protocols::l4::stream::Stream as Tcp;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::tls::SslDigest;
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, TimingDigest, UniqueID,
    UniqueIDType,
};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use x509_parser::objects::{oid_registry, oid2abbrev};
use x509_parser::prelude::{FromDer as _, X509Certificate};
use x509_parser::x509::{AttributeTypeAndValue, RelativeDistinguishedName, X509Name};

/// What a client of HTTP/2 says first (RFC 9113 section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A connection that is let in: in TLS, behind its handshake, or plain.
#[derive(Debug)]
pub struct Entered {
    channel: Channel,
    digest: Option<Arc<SslDigest>>,
    /// What has been read of it, to see what is spoken.
    early: BytesMut,
    is_http2: bool,
    /// Whether pingora's name comes next, which is left out.
    is_naming: bool,
}

/// How pingora refuses a request that it cannot read, before anybody else sees it, and the line that is left out of it.
const REFUSAL: &[u8] = b"HTTP/1.1 400 Bad Request\r\n";
const NAME: &[u8] = b"Server: Pingora\r\n";

#[derive(Debug)]
enum Channel {
    Plain(Box<Tcp>),
    Secure(Box<TlsStream<Tcp>>),
}

impl Entered {
    /// Makes the handshake of TLS. Nothing here bounds how long the client may take.
    ///
    /// # Errors
    ///
    /// The client does not speak TLS as it must, or leaves.
    pub async fn secure(acceptor: TlsAcceptor, tcp: Tcp) -> io::Result<Entered> {
        let stream = acceptor.accept(tcp).await?;
        let (_, session) = stream.get_ref();
        let cipher = session.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str()).unwrap_or_default();
        let version = session.protocol_version().and_then(|version| version.as_str()).unwrap_or_default();
        let leaf = session.peer_certificates().and_then(|chain| chain.first());
        let subject = leaf.and_then(|leaf| {
            let (_, leaf) = X509Certificate::from_der(leaf).ok()?;
            Some(written(leaf.subject()))
        });
        // pingora's digest has no place for a whole subject, and reads the organization nowhere.
        let digest = SslDigest::new(cipher, version, subject, None, Vec::new());
        let is_http2 = session.alpn_protocol() == Some(b"h2");
        let channel = Channel::Secure(Box::new(stream));
        let mut entered = Entered::over(channel);
        (entered.digest, entered.is_http2) = (Some(Arc::new(digest)), is_http2);
        if is_http2 && !entered.begins_with_the_preface().await? {
            return Err(io::Error::other("a client of HTTP/2 that does not speak it"));
        }
        Ok(entered)
    }

    /// A client in plain text that speaks HTTP/1.
    pub fn http1(tcp: Tcp) -> Entered {
        Entered::over(Channel::Plain(Box::new(tcp)))
    }

    fn over(channel: Channel) -> Entered {
        Entered { channel, digest: None, early: BytesMut::new(), is_http2: false, is_naming: false }
    }

    /// Reads whether a client in plain text speaks HTTP/2, which it may without asking (RFC 9113 section 3.3).
    ///
    /// # Errors
    ///
    /// The client leaves.
    pub async fn plain(tcp: Tcp) -> io::Result<Entered> {
        let mut entered = Entered::http1(tcp);
        entered.is_http2 = entered.begins_with_the_preface().await?;
        Ok(entered)
    }

    /// Whether HTTP/2 is spoken.
    pub fn is_http2(&self) -> bool {
        self.is_http2
    }

    /// Reads as much as it takes to tell.
    async fn begins_with_the_preface(&mut self) -> io::Result<bool> {
        let mut early = BytesMut::with_capacity(PREFACE.len());
        while early.len() < PREFACE.len() && PREFACE.starts_with(&early) {
            let mut piece = [0; PREFACE.len()];
            let read = self.read(&mut piece[early.len()..]).await?;
            if read == 0 {
                break;
            }
            early.extend_from_slice(&piece[early.len()..early.len() + read]);
        }
        let begins = early == PREFACE;
        self.early = early;
        Ok(begins)
    }

    fn tcp(&self) -> &Tcp {
        match &self.channel {
            Channel::Plain(tcp) => tcp,
            Channel::Secure(stream) => stream.get_ref().0,
        }
    }
}

/// Whom the client's certificate is for, which has been verified, as RFC 4514 writes it; `None` without a certificate.
pub fn subject(digest: &SslDigest) -> Option<&str> {
    digest.organization.as_deref()
}

/// A name as RFC 4514 writes it, in ASCII: what is most specific comes first, and nothing in it can be taken for a part
/// of it that it is not.
fn written(name: &X509Name<'_>) -> String {
    let attribute = |attribute: &AttributeTypeAndValue<'_>| {
        let kind = match oid2abbrev(attribute.attr_type(), oid_registry()) {
            Ok(known) => known.to_owned(),
            Err(_) => attribute.attr_type().to_id_string(),
        };
        let value = match attribute.as_str() {
            Ok(text) => escaped(text),
            Err(_) => attribute.as_slice().iter().fold("#".to_owned(), |hex, byte| format!("{hex}{byte:02X}")),
        };
        format!("{kind}={value}")
    };
    let level = |level: &RelativeDistinguishedName<'_>| level.iter().map(attribute).collect::<Vec<_>>().join("+");
    let mut levels: Vec<String> = name.iter().map(level).collect();
    levels.reverse();
    levels.join(",")
}

fn escaped(text: &str) -> String {
    let mut out = String::new();
    for (at, byte) in text.bytes().enumerate() {
        let is_edge = byte == b' ' && (at == 0 || at + 1 == text.len()) || byte == b'#' && at == 0;
        match byte {
            b'"' | b'+' | b',' | b';' | b'<' | b'>' | b'\\' => out.extend(['\\', char::from(byte)]),
            _ if is_edge => out.extend(['\\', char::from(byte)]),
            b' '..=b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("\\{byte:02X}")),
        }
    }
    out
}

impl AsyncRead for Entered {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.early.is_empty() {
            let fits = self.early.len().min(buf.remaining());
            buf.put_slice(&self.early.split_to(fits));
            return Poll::Ready(Ok(()));
        }
        match &mut self.channel {
            Channel::Plain(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Channel::Secure(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Entered {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, mut buf: &[u8]) -> Poll<io::Result<usize>> {
        if std::mem::take(&mut self.is_naming) && buf.starts_with(NAME) {
            return Poll::Ready(Ok(NAME.len()));
        }
        let is_refusal = buf.strip_prefix(REFUSAL).is_some_and(|rest| rest.starts_with(NAME));
        if is_refusal && !self.is_http2 {
            buf = &buf[..REFUSAL.len()];
        }
        let written = match &mut self.channel {
            Channel::Plain(tcp) => Pin::new(tcp).poll_write(cx, buf),
            Channel::Secure(stream) => Pin::new(stream).poll_write(cx, buf),
        };
        self.is_naming = is_refusal && matches!(written, Poll::Ready(Ok(written)) if written == REFUSAL.len());
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.channel {
            Channel::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Channel::Secure(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.channel {
            Channel::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Channel::Secure(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[async_trait]
impl Shutdown for Entered {
    async fn shutdown(&mut self) {
        if let Err(error) = AsyncWriteExt::shutdown(self).await {
            tracing::debug!(%error, "a client's connection did not end well");
        }
    }
}

impl UniqueID for Entered {
    fn id(&self) -> UniqueIDType {
        self.tcp().id()
    }
}

impl Ssl for Entered {
    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.digest.clone()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.is_http2.then_some(ALPN::H2)
    }
}

impl GetTimingDigest for Entered {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.tcp().get_timing_digest()
    }
}

impl GetProxyDigest for Entered {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.tcp().get_proxy_digest()
    }
}

impl GetSocketDigest for Entered {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.tcp().get_socket_digest()
    }
}

impl Peek for Entered {}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};

    #[test]
    fn a_name_in_a_value_is_no_name() {
        for (organization, common_name, expected) in [
            ("Example", "alice", "CN=alice,O=Example"),
            ("Example", "alice,O=Admins", r"CN=alice\,O=Admins,O=Example"),
            ("a+b", " x\\\"", r#"CN=\ x\\\",O=a\+b"#),
            ("#1", "a\r\nX-Y: z\u{e9} ", r"CN=a\0D\0AX-Y: z\C3\A9\ ,O=\#1"),
        ] {
            let mut name = DistinguishedName::new();
            name.push(DnType::OrganizationName, organization);
            name.push(DnType::CommonName, common_name);
            let mut params = CertificateParams::default();
            params.distinguished_name = name;
            let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
            let (_, certificate) = X509Certificate::from_der(certificate.der()).unwrap();
            assert_eq!(written(certificate.subject()), expected);
        }
    }
}
