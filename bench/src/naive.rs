//! The gateway that one writes in an afternoon: every node is asked for everything, the answers are decoded into values,
//! concatenated, sorted, cut and encoded again. What onezot's fan-outs are compared with.
//!
//! A script in Python would do the same with slower parts, so this is generous to it.

use crate::load::{Call, Connection};
use anyhow::{Context, Result};
use bytes::Bytes;
use futures::future::try_join_all;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

struct Gateway {
    nodes: Vec<SocketAddr>,
    /// Connections that are not in use, by node.
    idle: Vec<Mutex<Vec<Connection>>>,
}

/// Serves in front of the nodes until standard input ends; prints its address.
pub async fn serve(nodes: Vec<SocketAddr>) -> Result<()> {
    let idle = nodes.iter().map(|_| Mutex::default()).collect();
    let gateway = Arc::new(Gateway { nodes, idle });
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let mut out = std::io::stdout();
    writeln!(out, "listening on http://{}", listener.local_addr()?)?;
    out.flush()?;
    tokio::spawn(async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else { continue };
            let gateway = gateway.clone();
            let service = service_fn(move |request| {
                let gateway = gateway.clone();
                async move { Ok::<_, Infallible>(gateway.answer(request).await) }
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    let mut rest = Vec::new();
    tokio::io::stdin().read_to_end(&mut rest).await?;
    Ok(())
}

impl Gateway {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (status, text) = match self.merged(request).await {
            Ok(value) => (StatusCode::OK, value.to_string()),
            Err(error) => (StatusCode::BAD_GATEWAY, error.to_string()),
        };
        let mut answer = Response::new(Full::from(text));
        *answer.status_mut() = status;
        answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        answer
    }

    async fn merged(&self, request: Request<Incoming>) -> Result<Value> {
        let (head, body) = request.into_parts();
        if head.uri.path() == "/v2/_catalog" {
            let answers = self.ask(&Call::bare(Method::GET, "/v2/_catalog")).await?;
            let lists = answers.iter().filter_map(|answer| answer["repositories"].as_array());
            let mut names: Vec<&str> = lists.flatten().filter_map(Value::as_str).collect();
            names.sort_by(|a, b| a.split('/').cmp(b.split('/')));
            names.dedup();
            let query = head.uri.query().unwrap_or_default();
            let n = query.split('&').find_map(|pair| pair.strip_prefix("n=")?.parse().ok()).unwrap_or(usize::MAX);
            names.truncate(n);
            return Ok(json!({"repositories": names}));
        }
        let body = body.collect().await?.to_bytes();
        let request: Value = serde_json::from_slice(&body)?;
        let text = request["query"].as_str().context("no document")?;
        let (document, limit, offset) = without_page(text)?;
        let mut answers = self.ask(&Call::document(&document)).await?;
        // The first answer becomes the whole one.
        let mut items = Vec::new();
        for answer in &mut answers {
            let (_, list) = parts(answer)?;
            if let Value::Array(more) = std::mem::replace(list, json!([])) {
                items.extend(more);
            }
        }
        let key =
            |item: &Value| ["RepoName", "Name", "Tag"].map(|name| item[name].as_str().unwrap_or_default().to_owned());
        items.sort_by_cached_key(key);
        let total = items.len();
        let shown: Vec<Value> =
            items.into_iter().skip(offset).take(if limit == 0 { usize::MAX } else { limit }).collect();
        let mut whole = answers.into_iter().next().context("no node")?;
        let (page, list) = parts(&mut whole)?;
        *page = json!({"TotalCount": total, "ItemCount": shown.len()});
        *list = Value::Array(shown);
        Ok(whole)
    }

    async fn ask(&self, call: &Call) -> Result<Vec<Value>> {
        try_join_all(self.nodes.iter().zip(&self.idle).map(|(address, idle)| async move {
            let known = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let mut connection = match known.filter(Connection::is_open) {
                Some(connection) => connection,
                None => Connection::open(*address).await?,
            };
            let body = connection.fetch(call).await?;
            idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            Ok(serde_json::from_slice(&body)?)
        }))
        .await
    }
}

/// The page and the list of the only root field.
fn parts(answer: &mut Value) -> Result<(&mut Value, &mut Value)> {
    let root = answer["data"].as_object_mut().and_then(|data| data.values_mut().next()).context("no data")?;
    let (mut page, mut list) = (None, None);
    for (name, member) in root.as_object_mut().context("no result")? {
        match name.as_str() {
            "Page" => page = Some(member),
            "Results" | "Images" | "Repos" if member.is_array() => list = Some(member),
            _ => {}
        }
    }
    Ok((page.context("no page")?, list.context("no list")?))
}

/// A document without its page, and the limit and offset that it had; as text, which an afternoon's gateway does.
fn without_page(text: &str) -> Result<(String, usize, usize)> {
    let Some((before, rest)) = text.split_once("requestedPage:{") else { return Ok((text.to_owned(), 0, 0)) };
    let (page, after) = rest.split_once('}').context("the page does not end")?;
    let number = |name: &str| {
        let digits = page.split_once(name).map(|(_, rest)| rest.trim_start());
        let digits = digits.map(|rest| rest.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default());
        digits.and_then(|digits| digits.parse().ok()).unwrap_or_default()
    };
    Ok((format!("{}{after}", before.trim_end_matches([' ', ','])), number("limit:"), number("offset:")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_taken_out() {
        let text = r#"{ImageList(repo:"",requestedPage:{limit:10 offset:990}){Results{Tag}}}"#;
        let without = r#"{ImageList(repo:""){Results{Tag}}}"#.to_owned();
        assert_eq!(without_page(text).unwrap(), (without.clone(), 10, 990));
        assert_eq!(without_page(&without).unwrap(), (without, 0, 0));
    }
}
