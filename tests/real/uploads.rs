//! Every kind of upload, as the OCI distribution specification has them, at every node.

use super::fleet::{Fleet, NODES};
use super::image::{digest, random_bytes};
use super::programs::say;
use super::wire::{Answer, Body, Wire, raw, with_digest};
use std::io::Read;

const MIB: usize = 1 << 20;

/// Checks what a blob is, in every way to ask for it.
fn check_blob(fleet: &Fleet, wire: &mut Wire, repository: &str, bytes: &[u8]) {
    let target = format!("/v2/{repository}/blobs/{}", digest(bytes));
    let length = bytes.len().to_string();
    let head = wire.call("HEAD", &target, &[], Body::None);
    assert_eq!((head.status(), head.header("Content-Length")), (200, Some(length.as_str())), "{:?}", head.head);
    assert_eq!(head.header("Docker-Content-Digest"), Some(digest(bytes).as_str()));
    assert_eq!(head.header("X-Node"), Some(NODES[fleet.owner(repository)]), "another node answers");
    let whole = wire.get(&target);
    assert!(whole.status() == 200 && whole.body == bytes, "{:?}", whole.head);
    let end = bytes.len() - 1;
    let (middle, tail) = (end / 3, end.saturating_sub(4));
    for (range, first, last) in [
        ("bytes=0-0".to_owned(), 0, 0),
        (format!("bytes=1-{middle}"), 1, middle),
        (format!("bytes={middle}-"), middle, end),
        ("bytes=-5".to_owned(), tail, end),
    ] {
        let part = wire.call("GET", &target, &[("Range", &range)], Body::None);
        assert_eq!(part.status(), 206, "{range}: {:?}", part.head);
        assert_eq!(part.header("Content-Range"), Some(format!("bytes {first}-{last}/{length}").as_str()));
        assert!(part.body == bytes[first..=last], "{range} has other bytes");
    }
    // This registry announces the length of the blob with its 416 and sends a short text: the body breaks off.
    let range = format!("bytes={length}-");
    let ask = |wire: &mut Wire| {
        let mut beyond = wire.start("GET", &target, &[("Range", &range)], Body::None).unwrap();
        let mut body = Vec::new();
        let ended = beyond.read_to_end(&mut body);
        (beyond.head, body, ended.is_ok())
    };
    let (head, body, is_whole) = ask(wire);
    assert_eq!(head.status, 416, "{head:?}");
    assert_eq!(head.header("Content-Range"), Some(format!("bytes */{length}").as_str()));
    let (_, own_body, own_is_whole) = ask(&mut fleet.registries[fleet.owner(repository)].wire());
    assert_eq!((String::from_utf8(body), is_whole), (String::from_utf8(own_body), own_is_whole), "not the node's");
}

/// A repository, and the connection to the gateway that it is used over.
struct Uploads<'a> {
    fleet: &'a Fleet,
    wire: Wire,
    node: usize,
    repository: String,
}

/// Does the same at a repository of each node; the nodes write their `Location` in three ways.
fn at_every_node(what: impl Fn(&mut Uploads<'_>)) {
    let Some(fleet) = Fleet::start(&[]) else { return };
    for node in 0..NODES.len() {
        what(&mut Uploads::new(&fleet, node, &format!("uploads/{node}")));
    }
}

impl<'a> Uploads<'a> {
    fn new(fleet: &'a Fleet, node: usize, stem: &str) -> Uploads<'a> {
        Uploads { fleet, wire: fleet.wire(), node, repository: fleet.repository_on(node, stem) }
    }

    fn call(&mut self, method: &str, target: &str, headers: &[(&str, &str)], body: Body<'_>, status: u16) -> Answer {
        let answer = self.wire.call(method, target, headers, body);
        assert_eq!(answer.status(), status, "{method} {target}: {:?} {}", answer.head, answer.text());
        self.fleet.check_no_node_is_named(&answer);
        answer
    }

    /// Starts a session and returns its target.
    fn start(&mut self) -> String {
        self.start_with("")
    }

    fn start_with(&mut self, query: &str) -> String {
        let answer = self.call("POST", &format!("/v2/{}/blobs/uploads/{query}", self.repository), &[], Body::None, 202);
        self.wire.target(&answer)
    }

    /// Sends bytes to a session and returns its new target.
    fn patch(&mut self, session: &str, headers: &[(&str, &str)], bytes: Body<'_>, last: usize) -> String {
        let answer = self.call("PATCH", session, headers, bytes, 202);
        assert_eq!(answer.header("Range"), Some(format!("0-{last}").as_str()));
        self.wire.target(&answer)
    }

    /// Ends a session with the last bytes; `bytes` are all of them.
    fn finish(&mut self, session: &str, last: Body<'_>, bytes: &[u8]) {
        let stored = self.call("PUT", &with_digest(session, &digest(bytes)), &[], last, 201);
        self.check_stored(&stored, bytes);
    }

    fn check_stored(&mut self, stored: &Answer, bytes: &[u8]) {
        assert_eq!(stored.header("Docker-Content-Digest"), Some(digest(bytes).as_str()));
        assert_eq!(self.wire.target(stored), self.blob(bytes));
        check_blob(self.fleet, &mut self.wire, &self.repository, bytes);
    }

    fn blob(&self, bytes: &[u8]) -> String {
        format!("/v2/{}/blobs/{}", self.repository, digest(bytes))
    }
}

/// A registry may answer 202 and take the bytes again by PUT (OCI distribution 1.1, "Single POST"): this one does.
#[test]
fn a_post_with_all_the_bytes() {
    at_every_node(|uploads| {
        let bytes = random_bytes(1, 50_000);
        let target = format!("/v2/{}/blobs/uploads/?digest={}", uploads.repository, digest(&bytes));
        let answer = uploads.wire.call("POST", &target, &[], Body::Bytes(&bytes));
        uploads.fleet.check_no_node_is_named(&answer);
        match answer.status() {
            201 => uploads.check_stored(&answer, &bytes),
            202 => {
                let session = uploads.wire.target(&answer);
                uploads.finish(&session, Body::Bytes(&bytes), &bytes);
            }
            other => panic!("{other} {}", answer.text()),
        }
    });
}

#[test]
fn a_put_with_all_the_bytes() {
    at_every_node(|uploads| {
        let bytes = random_bytes(2, 3 * MIB + 1);
        let session = uploads.start();
        uploads.finish(&session, Body::Bytes(&bytes), &bytes);
    });
}

#[test]
fn a_put_whose_client_waits_to_be_asked_for_the_bytes() {
    at_every_node(|uploads| {
        let bytes = random_bytes(3, MIB);
        let session = uploads.start();
        uploads.finish(&session, Body::Expected(&bytes), &bytes);
    });
}

#[test]
fn chunks_with_their_ranges() {
    at_every_node(|uploads| {
        let bytes = random_bytes(4, 700_001);
        let mut session = uploads.start();
        for (number, chunk) in bytes.chunks(100_000).enumerate() {
            let (first, last) = (number * 100_000, number * 100_000 + chunk.len() - 1);
            let range = format!("{first}-{last}");
            let headers = [("Content-Type", "application/octet-stream"), ("Content-Range", range.as_str())];
            session = uploads.patch(&session, &headers, Body::Bytes(chunk), last);
            // The session tells how far it got.
            let status = uploads.call("GET", &session, &[], Body::None, 204);
            assert_eq!(status.header("Range"), Some(format!("0-{last}").as_str()));
            session = uploads.wire.target(&status);
        }
        uploads.finish(&session, Body::None, &bytes);
    });
}

#[test]
fn a_stream_whose_length_nobody_knows() {
    at_every_node(|uploads| {
        let bytes = random_bytes(5, 2 * MIB + 12_345);
        let (mut at, mut sizes) = (0, [1, 2, 15, 16, 17, 4095, 65_536, 100_000].iter().cycle());
        let mut next = |piece: &mut Vec<u8>| {
            let end = bytes.len().min(at + sizes.next().unwrap());
            piece.extend_from_slice(&bytes[at..end]);
            at = end;
        };
        let session = uploads.start();
        let session = uploads.patch(&session, &[], Body::Chunks(&mut next), bytes.len() - 1);
        let last = b"and the last bytes come with the PUT";
        uploads.finish(&session, Body::Bytes(last), &[&bytes[..], last].concat());
    });
}

#[test]
fn a_wrong_digest_is_refused() {
    at_every_node(|uploads| {
        let session = uploads.start();
        let bytes = b"other bytes than announced";
        let refused = uploads.call("PUT", &with_digest(&session, &digest(b"")), &[], Body::Bytes(bytes), 400);
        assert_eq!(refused.oci_error().0, "DIGEST_INVALID");
        uploads.call("HEAD", &uploads.blob(bytes), &[], Body::None, 404);
    });
}

#[test]
fn a_session_is_cancelled() {
    at_every_node(|uploads| {
        let session = uploads.start();
        let session = uploads.patch(&session, &[], Body::Bytes(b"some bytes"), 9);
        uploads.call("DELETE", &session, &[], Body::None, 204);
        let gone = uploads.call("GET", &session, &[], Body::None, 404);
        assert_eq!(gone.oci_error().0, "BLOB_UPLOAD_UNKNOWN");
    });
}

/// From a repository of another node, the gateway brings it. These registries have no search: without the right source, it
/// is an upload like any other.
#[test]
fn a_blob_is_mounted_from_a_repository_of_any_node() {
    at_every_node(|uploads| {
        let (fleet, node) = (uploads.fleet, uploads.node);
        for other in 0..NODES.len() {
            let bytes = random_bytes(60 + (node * NODES.len() + other) as u64, 20_000);
            let mut source = Uploads::new(fleet, other, &format!("mounts/from-{node}{other}"));
            let session = source.start();
            source.finish(&session, Body::Bytes(&bytes), &bytes);
            let mut to = Uploads::new(fleet, node, &format!("mounts/to-{node}{other}"));
            let session = to.start_with(&format!("?mount={}&from=mounts%2Fnowhere", digest(&bytes)));
            to.call("DELETE", &session, &[], Body::None, 204);
            let query = format!("?mount={}&from={}", digest(&bytes), source.repository.replace('/', "%2F"));
            let target = format!("/v2/{}/blobs/uploads/{query}", to.repository);
            let mounted = to.call("POST", &target, &[], Body::None, 201);
            assert_eq!(to.wire.target(&mounted), to.blob(&bytes));
            check_blob(fleet, &mut to.wire, &to.repository, &bytes);
        }
    });
}

/// A blob of 64 MiB goes from node to node as it is pushed and pulled: without being held anywhere.
#[test]
fn a_large_blob_is_mounted_from_another_node() {
    let Some(fleet) = Fleet::start(&[]) else { return };
    let bytes = random_bytes(8, 64 * MIB);
    let mut source = Uploads::new(&fleet, 0, "large/from");
    let session = source.start();
    let stored = source.call("PUT", &with_digest(&session, &digest(&bytes)), &[], Body::Bytes(&bytes), 201);
    drop(stored);
    let before = fleet.peak_memory();
    let mut to = Uploads::new(&fleet, 1, "large/to");
    let query = format!("?mount={}&from={}", digest(&bytes), source.repository.replace('/', "%2F"));
    let began = std::time::Instant::now();
    to.call("POST", &format!("/v2/{}/blobs/uploads/{query}", to.repository), &[], Body::None, 201);
    let (took, peak) = (began.elapsed(), fleet.peak_memory());
    let whole = to.wire.get(&to.blob(&bytes));
    assert!(whole.status() == 200 && whole.body == bytes, "{:?}", whole.head);
    say(&format!(
        "real registries: a blob of 64 MiB mounted from another node in {:.1} s; onezot's peak memory {:.1} MiB before, \
         {:.1} MiB after",
        took.as_secs_f64(),
        before as f64 / MIB as f64,
        peak as f64 / MIB as f64,
    ));
    assert!(peak < before + 32 * MIB as u64, "{before} -> {peak}");
}

#[test]
fn a_blob_is_deleted() {
    at_every_node(|uploads| {
        let bytes = random_bytes(7, 1000);
        let session = uploads.start();
        uploads.finish(&session, Body::Bytes(&bytes), &bytes);
        let blob = uploads.blob(&bytes);
        uploads.call("DELETE", &blob, &[], Body::None, 202);
        assert_eq!(uploads.call("GET", &blob, &[], Body::None, 404).oci_error().0, "BLOB_UNKNOWN");
        uploads.call("HEAD", &blob, &[], Body::None, 404);
        assert_eq!(uploads.fleet.registries[uploads.node].wire().get(&blob).status(), 404);
    });
}

#[test]
fn a_location_is_where_the_client_can_go() {
    let Some(fleet) = Fleet::start(&[]) else { return };
    // What a registry makes of the address that the client asked for; of a configured address; and a path.
    for (node, before) in
        [format!("http://{}/v2/", fleet.address), "/v2/".to_owned(), "/v2/".to_owned()].iter().enumerate()
    {
        let target = format!("/v2/{}/blobs/uploads/", fleet.repository_on(node, "where"));
        let answer = fleet.wire().call("POST", &target, &[], Body::None);
        let location = answer.header("Location").unwrap();
        assert!(location.starts_with(before), "{location} does not start with {before}");
    }
}

/// Such a request is how others are smuggled past a proxy (RFC 9112 section 6.1): its connection does not go on.
#[test]
fn a_body_with_two_lengths_ends_the_connection() {
    at_every_node(|uploads| {
        let target = format!("/v2/{}/blobs/uploads/", uploads.repository);
        let lines = "Host: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
        let answer = raw(uploads.fleet.address, &format!("POST {target} HTTP/1.1\r\n{lines}"));
        assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
    });
}
