//! `onezot probe`: whether a gateway is ready, for health checks where there is no other client, as in its own image.

use super::Exit;
use bytes::Bytes;
use http::Uri;
use http_body_util::Empty;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use std::time::Duration;

/// Asks once, with GET.
///
/// # Errors
///
/// Exit code 1: no answer within the time, or one other than 2xx (redirects are not followed). Neither the body of the
/// answer nor its header is printed.
pub fn run(url: &str, within: Duration) -> Result<(), Exit> {
    let failed = |what: &str| Exit { message: format!("probe: {what}"), code: 1 };
    let uri: Uri = url.parse().map_err(|error| failed(&format!("this is no URL: {error}")))?;
    let authority = uri.authority().filter(|_| uri.scheme_str() == Some("http"));
    let authority = authority
        .filter(|authority| !authority.as_str().contains('@'))
        .ok_or_else(|| failed("write http://HOST:PORT/PATH, such as http://127.0.0.1:5000/readyz"))?;
    let asked = format!("http://{authority}{}", uri.path());

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let client = Client::builder(TokioExecutor::new()).build::<_, Empty<Bytes>>(HttpConnector::new());
    let answered = runtime.block_on(async { tokio::time::timeout(within, client.get(uri.clone())).await });
    // A name may be looked up at the moment, which can take long and cannot be called off.
    runtime.shutdown_background();
    match answered {
        Ok(Ok(answer)) if answer.status().is_success() => Ok(()),
        Ok(Ok(answer)) => Err(failed(&format!("{asked}: {}", answer.status()))),
        Ok(Err(error)) => Err(failed(&format!("{asked}: {}", root_cause(&error)))),
        Err(_) => Err(failed(&format!("{asked}: no answer within {} s", within.as_secs()))),
    }
}

/// The innermost error: what the system says, such as that a connection was refused.
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
