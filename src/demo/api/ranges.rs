//! Ranges of blobs: zot merges those that overlap or touch, and refuses all if one is wrong (`parseRangeHeader`).

use crate::demo::exchange::Reply;
use crate::demo::ties::Ties;
use bytes::Bytes;
use http::StatusCode;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE};
use std::ops::RangeInclusive;

/// How many ranges a request may ask for.
const MOST: usize = 16;

/// The ranges of a header, in the order of the blob; nothing if any is wrong.
fn parse(header: &str, size: usize) -> Option<Vec<RangeInclusive<usize>>> {
    let specs: Vec<&str> = header.strip_prefix("bytes=")?.split(',').collect();
    if size == 0 || specs.len() > MOST {
        return None;
    }
    let mut ranges = specs.into_iter().map(|spec| one(spec.trim(), size)).collect::<Option<Vec<_>>>()?;
    ranges.sort_by_key(|range| (*range.start(), *range.end()));
    let mut merged: Vec<RangeInclusive<usize>> = Vec::new();
    for range in ranges {
        match merged.last_mut() {
            Some(last) if *range.start() <= last.end() + 1 => *last = *last.start()..=*last.end().max(range.end()),
            _ => merged.push(range),
        }
    }
    Some(merged)
}

fn one(spec: &str, size: usize) -> Option<RangeInclusive<usize>> {
    let (start, end) = spec.split_once('-')?;
    let last = size - 1;
    let range = match (start, end) {
        ("", suffix) => {
            let length: usize = suffix.parse().ok().filter(|&length| length > 0)?;
            size.saturating_sub(length)..=last
        }
        (start, "") => start.parse().ok()?..=last,
        (start, end) => {
            let (start, end): (usize, usize) = (start.parse().ok()?, end.parse().ok()?);
            if end < start {
                return None;
            }
            start..=end.min(last)
        }
    };
    (!range.is_empty()).then_some(range)
}

/// The answer to a request with a range.
pub fn answer(header: &str, blob: &Bytes, media_type: &str, ties: &Ties) -> Reply {
    let size = blob.len();
    let Some(ranges) = parse(header, size) else {
        let reply = Reply::empty(StatusCode::RANGE_NOT_SATISFIABLE);
        return reply.with(CONTENT_RANGE, &format!("bytes */{size}"));
    };
    let place = |range: &RangeInclusive<usize>| format!("bytes {}-{}/{size}", range.start(), range.end());
    if let [range] = ranges.as_slice() {
        let part = blob.slice(range.clone());
        return Reply::data(StatusCode::PARTIAL_CONTENT, media_type, part).with(CONTENT_RANGE, &place(range));
    }
    let boundary = format!("{}{}", ties.fresh().name(), &ties.fresh().name()[..28]);
    let mut body = Vec::new();
    for range in &ranges {
        let separator = if body.is_empty() { "" } else { "\r\n" };
        let head =
            format!("{separator}--{boundary}\r\nContent-Range: {}\r\nContent-Type: {media_type}\r\n\r\n", place(range));
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(&blob[range.clone()]);
    }
    body.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    let length = body.len().to_string();
    Reply::data(StatusCode::PARTIAL_CONTENT, &format!("multipart/byteranges; boundary={boundary}"), body)
        .with(CONTENT_LENGTH, &length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_merged_or_refused_together() {
        assert_eq!(parse("bytes=0-5,3-8", 226), Some(vec![0..=8]));
        assert_eq!(parse("bytes=10-12,0-2", 226), Some(vec![0..=2, 10..=12]));
        assert_eq!(parse("bytes=-10", 226), Some(vec![216..=225]));
        assert_eq!(parse("bytes=0-236", 226), Some(vec![0..=225]));
        for wrong in ["bytes=226-", "bytes=9-5", "items=0-1", "bytes=", "bytes=0-1,x", "bytes=-0"] {
            assert_eq!(parse(wrong, 226), None, "{wrong}");
        }
    }
}
