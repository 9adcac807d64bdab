//! Documents as zot's web page asks them: one root field, literals in the text. The words are our own; the shape is
//! what its pages need.

/// What the web page shows of a repository.
const REPOSITORY: &str = "Name LastUpdated Size Platforms{Os Arch} IsStarred IsBookmarked StarCount DownloadCount \
    NewestImage{Tag Description Licenses Title Source Documentation Vendor IsSigned \
    Vulnerabilities{MaxSeverity Count} SignatureInfo{Tool IsTrusted Author}}";

/// What it shows of an image: twelve fields.
const IMAGE: &str = "RepoName Tag Digest Size LastUpdated DownloadCount Description Vendor IsSigned Title \
    Vulnerabilities{MaxSeverity Count} Manifests{Digest Platform{Os Arch} Size}";

/// A search for repositories, a page of it.
pub fn repositories(limit: usize, offset: usize, order: &str) -> String {
    let page = page(limit, offset, order);
    format!("{{GlobalSearch(query:\"\"{page}){{Page{{TotalCount ItemCount}} Repos{{{REPOSITORY}}}}}}}")
}

/// All images, a page of them; no page at all for a limit of 0.
pub fn images(limit: usize, offset: usize, order: &str) -> String {
    let page = page(limit, offset, order);
    format!("{{ImageList(repo:\"\"{page}){{Page{{TotalCount ItemCount}} Results{{{IMAGE}}}}}}}")
}

fn page(limit: usize, offset: usize, order: &str) -> String {
    match (limit, offset) {
        (0, 0) => String::new(),
        _ => format!(",requestedPage:{{limit:{limit} offset:{offset} sortBy:{order}}}"),
    }
}

/// One document of each page of the web page, with a name.
#[allow(dead_code, reason = "only the benches of the core plan each of them")]
pub fn of_the_web_page() -> Vec<(&'static str, String)> {
    let digest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    vec![
        ("home", repositories(3, 0, "DOWNLOADS")),
        ("explore", repositories(10, 0, "RELEVANCE")),
        ("suggest repositories", "{GlobalSearch(query:\"app\",requestedPage:{limit:9}){Repos{Name NewestImage{Tag}}}}".to_owned()),
        (
            "suggest images",
            "{GlobalSearch(query:\"team/app:1.0\",requestedPage:{limit:9}){Images{RepoName Tag}}}".to_owned(),
        ),
        (
            "repository",
            "{ExpandedRepoInfo(repo:\"team/app\"){Images{Tag Digest LastUpdated Size Vendor Vulnerabilities{MaxSeverity Count} \
             Manifests{Digest Platform{Os Arch} Size LastUpdated}} Summary{Name LastUpdated Size Platforms{Os Arch} Vendors \
             IsStarred IsBookmarked NewestImage{RepoName Tag Title Description Licenses Source IsSigned}}}}"
                .to_owned(),
        ),
        (
            "image",
            "{Image(image:\"team/app:1.0\"){RepoName Tag Digest Size IsSigned Vendor Licenses LastUpdated \
             Vulnerabilities{MaxSeverity Count} Manifests{Digest ConfigDigest Size LastUpdated Platform{Os Arch} \
             Layers{Size Digest} History{Layer{Size Digest} HistoryDescription{Created CreatedBy Author Comment EmptyLayer}}} \
             Referrers{MediaType ArtifactType Size Digest Annotations{Key Value}}}}"
                .to_owned(),
        ),
        (
            "vulnerabilities",
            "{CVEListForImage(image:\"team/app:1.0\",requestedPage:{limit:50 offset:0 sortBy:SEVERITY}){Tag \
             Page{TotalCount ItemCount} CVEList{Id Title Description Reference Severity PackageList{Name InstalledVersion \
             FixedVersion PackagePath}} Summary{Count UnknownCount LowCount MediumCount HighCount CriticalCount}}}"
                .to_owned(),
        ),
        (
            "fixed tags",
            "{ImageListWithCVEFixed(id:\"CVE-2024-1\",image:\"team/app\",requestedPage:{limit:10 offset:0}){Page{TotalCount \
             ItemCount} Results{Tag}}}"
                .to_owned(),
        ),
        (
            "referrers",
            format!("{{Referrers(repo:\"team/app\" digest:\"{digest}\" type:[\"\"]){{MediaType ArtifactType Size Digest Annotations{{Key Value}}}}}}"),
        ),
        (
            "derived images",
            "{DerivedImageList(image:\"team/app:1.0\",requestedPage:{limit:10 offset:0}){Page{TotalCount ItemCount} \
             Results{RepoName Tag Description Manifests{Digest} Vulnerabilities{MaxSeverity Count}}}}"
                .to_owned(),
        ),
        (
            "starred",
            "{StarredRepos(requestedPage:{limit:2 offset:0}){Page{TotalCount ItemCount} Results{Name IsStarred}}}".to_owned(),
        ),
    ]
}
