//! The bodies of requests to nodes: whole, or piece by piece with a length that is known before.

use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::body::{Body, Frame, SizeHint};
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::mpsc;

/// How many pieces may wait to be sent.
const WAITING: usize = 2;

/// The body of a request to a node.
pub type Outgoing = Either<Full<Bytes>, Pieces>;

/// A body whose pieces come from elsewhere.
///
/// One that ends before its length breaks the connection off, so that no peer takes it for whole.
#[derive(Debug)]
pub struct Pieces {
    waiting: mpsc::Receiver<Bytes>,
    left: u64,
}

impl Pieces {
    /// A body of `length` bytes, and where its pieces go in.
    pub fn new(length: u64) -> (mpsc::Sender<Bytes>, Pieces) {
        let (sender, waiting) = mpsc::channel(WAITING);
        (sender, Pieces { waiting, left: length })
    }

    /// How many bytes are still to come.
    pub fn left(&self) -> u64 {
        self.left
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.waiting.poll_recv(cx).map(|piece| {
            let piece = piece?;
            self.left = self.left.saturating_sub(piece.len() as u64);
            Some(Ok(Frame::data(piece)))
        })
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
