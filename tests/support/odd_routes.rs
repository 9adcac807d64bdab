//! Odd requests to the other routes, for one server beside another.

use super::beside::Case;
use super::odd_documents::callers;
use super::zots::{Call, Content};

const METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "LINK", "FOO"];
const CODE: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000000";

fn with(mut call: Call, headers: &[(&str, &str)]) -> Call {
    call.headers.extend(headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    call
}

/// Every case. Nothing that is asked for is changed.
pub fn cases(content: &Content) -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |name: String, call: Call| cases.push(Case { name, call });
    let digest = content.facts["repositories"]["lib"]["tags"]["1"].as_str().unwrap().to_owned();
    let blobs = content.facts["manifests"][&digest]["blobs"].as_array().unwrap();
    let blob = blobs.last().unwrap().as_str().unwrap();
    let length = content.bytes(blob).len();

    // Every route that reads, by every kind of client; and with every method that changes nothing there.
    let routes = [
        "/v2/".to_owned(),
        "/v2".to_owned(),
        "/v2/_catalog".to_owned(),
        "/v2/_catalog?n=2".to_owned(),
        "/v2/_catalog/".to_owned(),
        "/v2/lib/tags/list".to_owned(),
        "/v2/lib/tags/list?n=1".to_owned(),
        "/v2/nope/tags/list".to_owned(),
        "/v2/public/hello/tags/list".to_owned(),
        "/v2/team-a/app/tags/list".to_owned(),
        "/v2/lib/manifests/1".to_owned(),
        "/v2/lib/manifests/nope".to_owned(),
        format!("/v2/lib/manifests/{digest}"),
        format!("/v2/lib/manifests/{CODE}"),
        "/v2/lib/manifests/sha256:x".to_owned(),
        "/v2/lib/manifests/a:b".to_owned(),
        "/v2/nope/manifests/1".to_owned(),
        format!("/v2/lib/blobs/{blob}"),
        format!("/v2/lib/blobs/{CODE}"),
        "/v2/lib/blobs/nope".to_owned(),
        format!("/v2/nope/blobs/{CODE}"),
        format!("/v2/lib/referrers/{digest}"),
        format!("/v2/lib/referrers/{CODE}"),
        "/v2/lib/referrers/nope".to_owned(),
        format!("/v2/nope/referrers/{CODE}"),
        "/v2/_oci/ext/discover".to_owned(),
        "/v2/_zot/ext/mgmt".to_owned(),
        "/v2/_zot/ext/mgmt/x".to_owned(),
        "/v2/_zot/ext/mgmtx?resource=config".to_owned(),
        "/v2/_zot/ext/userprefs".to_owned(),
        "/v2/_zot/ext/cosign".to_owned(),
        "/v2/_zot/ext/notation".to_owned(),
        "/v2/_zot/ext/nope".to_owned(),
        "/v2/_zot/".to_owned(),
        "/zot/auth/login".to_owned(),
        "/zot/auth/logout".to_owned(),
        "/zot/auth/apikey".to_owned(),
        "/zot/auth/callback/github".to_owned(),
        "/zot/auth/token".to_owned(),
        "/".to_owned(),
        "/login".to_owned(),
        "/home".to_owned(),
        "/explore".to_owned(),
        "/image/lib".to_owned(),
        "/user/apikey".to_owned(),
        "/nope".to_owned(),
        "/v1/".to_owned(),
        "/v3/".to_owned(),
        "/livez".to_owned(),
        "/readyz".to_owned(),
        "/startupz".to_owned(),
        "/healthz".to_owned(),
        "/favicon.ico".to_owned(),
        "/v2/lib".to_owned(),
        "/v2/lib/".to_owned(),
        "/v2/lib/tags".to_owned(),
        "/v2/lib/tags/list/".to_owned(),
        "/v2/lib/nope/x".to_owned(),
        "/v2/Upper/tags/list".to_owned(),
        "/v2/lib/blobs/uploads".to_owned(),
        "/v2/lib/blobs/uploads/nope".to_owned(),
    ];
    for target in &routes {
        for (who, call) in callers(&Call::by(2, "GET", target.clone())) {
            // What pingora's reader refuses is an exception.
            if who != "garbage" {
                add(format!("GET {target} by {who}"), call);
            }
        }
        let writes = ["manifests", "blobs", "apikey", "logout", "userprefs"].iter().any(|part| target.contains(part));
        for method in METHODS {
            for user in [0, 1, 2] {
                if !writes
                    || !["PUT", "PATCH", "DELETE", "POST"].contains(&method)
                    || target.contains("nope") && user != 0
                {
                    add(format!("{method} {target} by {user}"), Call::by(user, method, target.clone()));
                }
            }
        }
        for (name, headers) in [
            ("origin", vec![("Origin", "http://x.example")]),
            (
                "preflight",
                vec![
                    ("Origin", "http://x.example"),
                    ("Access-Control-Request-Method", "GET"),
                    ("Access-Control-Request-Headers", "authorization,x-zot-api-client"),
                ],
            ),
            ("preflight DELETE", vec![("Origin", "null"), ("Access-Control-Request-Method", "DELETE")]),
        ] {
            add(format!("OPTIONS {target} {name}"), with(Call::by(2, "OPTIONS", target.clone()), &headers));
            add(format!("GET {target} {name}"), with(Call::by(0, "GET", target.clone()), &headers));
        }
        for (name, value) in [
            ("If-None-Match", "*"),
            ("If-None-Match", &*format!("\"{digest}\"")),
            ("If-None-Match", &*digest),
            ("If-Match", "\"nope\""),
            ("If-Modified-Since", "Fri, 01 Jan 2100 00:00:00 GMT"),
            ("If-Unmodified-Since", "Thu, 01 Jan 1970 00:00:00 GMT"),
            ("Accept", "application/vnd.oci.image.index.v1+json"),
            ("Accept", "text/html"),
            ("Accept", ""),
            ("Accept-Encoding", "gzip, br"),
            ("Cache-Control", "no-cache"),
            ("User-Agent", "docker/27.0"),
            ("Cookie", "a=b"),
            ("Range", "bytes=0-1"),
            ("Expect", "100-continue"),
            ("Content-Type", "text/plain"),
        ] {
            for method in ["GET", "HEAD"] {
                add(
                    format!("{method} {target} {name}: {value}"),
                    with(Call::by(0, method, target.clone()), &[(name, value)]),
                );
            }
        }
    }

    let last = (length - 1).to_string();
    let ranges = [
        "bytes=0-0",
        "bytes=0-9",
        "bytes=5-",
        "bytes=-3",
        "bytes=-0",
        "bytes=-999999",
        "bytes=0-999999",
        "bytes=0-1,4-5",
        "bytes=4-5,0-1",
        "bytes=0-3,2-5",
        "bytes=0-1, 4-5",
        "bytes= 0-1",
        "bytes=0 -1",
        "bytes=9-5",
        "bytes=999999-",
        "bytes=0-1,999999-",
        "bytes=999999-,0-1",
        "bytes=-1,-2",
        "bytes=",
        "bytes",
        "bytes=-",
        "bytes=a-b",
        "bytes=0-b",
        "bytes=1",
        "bytes=,",
        "bytes=,0-1",
        "bytes=0-1,",
        "Bytes=0-1",
        "BYTES=0-1",
        "items=0-1",
        "x",
        "",
        "bytes=0-1;x",
        "bytes=00-01",
        "bytes=+0-1",
        "bytes=0-18446744073709551616",
        "bytes=0x0-0x1",
        &*format!("bytes=0-{last}"),
        &*format!("bytes={last}-"),
        &*format!("bytes={length}-"),
        "bytes=0-,0-",
        "bytes=0-,0-,0-,0-,0-,0-,0-,0-",
    ];
    for range in ranges {
        for method in ["GET", "HEAD"] {
            let target = format!("/v2/lib/blobs/{blob}");
            add(format!("{method} blob {range:?}"), with(Call::by(0, method, target.clone()), &[("Range", range)]));
            add(
                format!("{method} blob {range:?} if"),
                with(Call::by(0, method, target), &[("Range", range), ("If-Range", "\"x\"")]),
            );
            let target = "/v2/lib/manifests/1".to_owned();
            add(format!("{method} manifest {range:?}"), with(Call::by(0, method, target), &[("Range", range)]));
        }
        add(
            format!("GET no blob {range:?}"),
            with(Call::by(0, "GET", format!("/v2/lib/blobs/{CODE}")), &[("Range", range)]),
        );
    }
    add(
        "two ranges".to_owned(),
        with(Call::by(0, "GET", format!("/v2/lib/blobs/{blob}")), &[("Range", "bytes=0-1"), ("Range", "bytes=2-3")]),
    );

    for filter in [
        "",
        "?",
        "?artifactType=",
        "?artifactType=x",
        "?artifactType=application/spdx%2Bjson",
        "?artifactType=application/spdx+json",
        "?artifacttype=x",
        "?artifactType=x&artifactType=y",
        "?artifactType=x,y",
        "?artifactType",
        "?n=1",
        "?artifactType=%zz",
        "?artifactType=a;b",
        "?x=1",
    ] {
        for (repository, tags) in content.facts["repositories"].as_object().unwrap().iter().take(8) {
            for digest in tags["manifests"].as_array().unwrap().iter().take(2) {
                for method in ["GET", "HEAD"] {
                    let target = format!("/v2/{repository}/referrers/{}{filter}", digest.as_str().unwrap());
                    add(format!("{method} {target}"), Call::by(0, method, target));
                }
            }
        }
    }
    for paging in [
        "n=1",
        "n=0",
        "n=-1",
        "n=x",
        "n=",
        "n",
        "n=1.0",
        "n=1e1",
        "n=%31",
        "n=+1",
        "n=%2B1",
        "n=01",
        "n=99999999999999999999",
        "n=1&n=2",
        "n=x&n=1",
        "n=1;n=2",
        "last=lib",
        "last=",
        "last=nope",
        "last=%zz",
        "last=lib&n=1",
        "last=lib&last=alpine",
        "last=team-a",
        "last=zzz",
        "last=LIB",
        "last=lib%2Fcore",
        "N=1",
        "n=26",
        "n=25",
        "n=27",
        "n=100",
        "last=%00",
        "last=a%20b",
        "n=1&x=%3Cy%3E",
        "n=2&last=lib#x",
        "",
        "&",
        "n=1&",
        "last=1",
        "n=2&last=1",
        "last=latest&n=1",
    ] {
        for user in [0, 1, 2] {
            for target in ["/v2/_catalog", "/v2/lib/tags/list", "/v2/public/hello/tags/list", "/v2/nope/tags/list"] {
                let hidden = user != 0 && target == "/v2/_catalog" && paging.contains("last=");
                if !hidden {
                    add(
                        format!("GET {target}?{paging} by {user}"),
                        Call::by(user, "GET", format!("{target}?{paging}")),
                    );
                }
            }
        }
    }
    for target in [
        "/v2//",
        "//v2/",
        "/v2/./",
        "/v2/../v2/",
        "/v2/lib//tags/list",
        "/v2/lib/../solo/tags/list?n=1",
        "/./",
        "/..",
        "//",
        "/v2/lib/tags/list//",
        "/v2/lib/tags/./list",
        "/v2/_catalog//?n=1",
        "/a//b?x=y&z",
        "/v2/lib/manifests/..",
        "/v2/lib/manifests/.",
        "/v2/lib/tags/list?x=a//b",
    ] {
        for method in ["GET", "HEAD", "POST", "OPTIONS", "DELETE"] {
            for user in [0, 2] {
                add(format!("{method} {target} by {user}"), Call::by(user, method, target));
            }
        }
    }
    for action in [
        "",
        "?",
        "?action=",
        "?action=x",
        "?action=toggleStar",
        "?repo=lib",
        "?action=x&repo=lib",
        "?action=toggleStar&repo=nope",
        "?action=toggleStar&repo=Upper",
        "?action=togglestar&repo=lib",
        "?action=toggleStar&repo=",
    ] {
        for (who, call) in callers(&Call::by(2, "PUT", format!("/v2/_zot/ext/userprefs{action}"))) {
            if who != "garbage" {
                add(format!("PUT userprefs{action} by {who}"), call);
            }
        }
    }
    // Writes that are refused.
    for (who, call) in callers(&Call::by(2, "DELETE", "/v2/lib/manifests/nope")) {
        if who != "garbage" {
            add(format!("DELETE a tag that is none by {who}"), call);
        }
    }
    for (who, call) in
        callers(&Call::by(2, "PUT", "/v2/lib/manifests/x").with("application/vnd.oci.image.manifest.v1+json", "{"))
    {
        if who != "garbage" {
            add(format!("PUT what is no manifest by {who}"), call);
        }
    }
    for (who, call) in callers(&Call::by(2, "POST", "/v2/team-b/none/blobs/uploads/?mount=x&from=y&digest=z")) {
        if !["garbage", "alice", "bob", "lower case", "cookie", "cookie of zot-ui"].contains(&who) {
            add(format!("POST an upload by {who}"), call);
        }
    }
    cases
}
