//! What an author asks for: pulls, blobs, lists and routes.

use super::{Author, NEVER, Step};

impl Author {
    /// A read that leaves nothing behind.
    pub fn read(&mut self) -> Step {
        loop {
            let step = match self.random.u8(..6) {
                0 => self.pull(),
                1 => self.blob(),
                2 => self.catalog(),
                3 => self.tags(),
                4 => self.referrers(),
                _ => self.route(),
            };
            let asked = &step.requests[0];
            // A HEAD of a blob, and a GET of a part of one, may link it; a pull counts.
            let links =
                asked.path.contains("/blobs/") && (asked.method == "HEAD" || asked.headers.contains_key("Range"));
            let counts = asked.path.contains("/manifests/") && asked.method == "GET";
            if ["GET", "HEAD"].contains(&asked.method.as_str()) && !links && !counts {
                return step;
            }
        }
    }

    /// Pulls that count, and looks that do not.
    pub(super) fn pull(&mut self) -> Step {
        let (name, reference, digest) = self.known();
        let reference = match self.random.u8(..8) {
            0 => digest,
            1 => self.one(&["nope", "sha256:x", "bad:tag", NEVER]).to_owned(),
            _ => reference,
        };
        let method = self.one(&["GET", "GET", "HEAD"]);
        let mut step = self.single("pull", method, format!("/v2/{name}/manifests/{reference}"));
        let again = self.random.usize(..3);
        for _ in 0..again {
            step.requests.push(step.requests[0].clone());
        }
        step
    }

    pub(super) fn blob(&mut self) -> Step {
        let (name, blob) = self.known_blob();
        let name = if self.now_and_then(6) { self.name() } else { name };
        let method = self.one(&["GET", "GET", "HEAD"]);
        let mut step = self.single("blob", method, format!("/v2/{name}/blobs/{blob}"));
        let ranges = ["bytes=0-9", "bytes=5-", "bytes=-3", "bytes=0-1,4-5", "bytes=9-5", "x", "bytes=99999-"];
        if self.now_and_then(3) {
            let range = self.one(&ranges).to_owned();
            step.requests[0].headers.insert("Range".to_owned(), range);
        }
        step
    }

    pub(super) fn catalog(&mut self) -> Step {
        let mut pairs = Vec::new();
        if self.random.bool() {
            pairs.push(format!("n={}", self.one(&["0", "1", "2", "3", "7", "100", "-1", "x", "%2B2", ""])));
        }
        if self.random.bool() {
            pairs.push(format!("last={}", self.name()));
        }
        let query = if pairs.is_empty() { String::new() } else { format!("?{}", pairs.join("&")) };
        let method = self.one(&["GET", "GET", "GET", "GET", "GET", "HEAD"]);
        self.single("catalog", method, format!("/v2/_catalog{query}"))
    }

    pub(super) fn tags(&mut self) -> Step {
        let pages = ["", "?n=1", "?n=0", "?n=2&last=1.0", "?last=latest", "?n=-1", "?n=x", "?last=nope", "?n=2"];
        let (name, page) = (self.name(), self.one(&pages));
        self.single("tags", "GET", format!("/v2/{name}/tags/list{page}"))
    }

    pub(super) fn referrers(&mut self) -> Step {
        let filters =
            ["", "?artifactType=application/spdx%2Bjson", "?artifactType=", "?artifactType=x&artifactType=text/x"];
        let (name, _, digest) = self.known();
        let filter = self.one(&filters);
        self.single("referrers", "GET", format!("/v2/{name}/referrers/{digest}{filter}"))
    }

    pub(super) fn route(&mut self) -> Step {
        let paths = [
            "/v2/",
            "/v2",
            "/v2//",
            "/v2/a/../lib/tags/list",
            "/v2/a%2Fb/tags/list",
            "/v2/_oci/ext/discover",
            "/v2/_zot/ext/mgmt",
            "/v2/_zot/ext/nope",
            "/v2/lib",
            "/v2/lib/tags",
            "/v2/lib/blobs/uploads",
            "/healthz",
            "/livez",
            "/metrics/x",
            "/v1/",
            "/v2/_zot/ext/cosign",
        ];
        let methods = ["GET", "GET", "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "FOO"];
        let (method, path) = (self.one(&methods), self.one(&paths));
        self.single("route", method, path.to_owned())
    }
}
