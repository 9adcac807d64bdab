//! The short summaries of CVEs in images: looked up, never scanned for (`updateImageSummaryVulnerabilities`).

use super::find::Candidate;
use super::{Call, Remarks, object, summary};
use crate::demo::cve::Reports;
use crate::demo::cve::Summary;
use async_graphql::indexmap::IndexMap;
use async_graphql::{Name, Value};

/// An image with its summary. If CVE search is off, or the field is not asked for, the summary says nothing, and those of
/// the manifests are not there at all. What cannot be scanned is remarked on.
pub fn image(call: &Call<'_>, candidate: &Candidate<'_>, asked_for: bool, remarks: &mut Remarks) -> Value {
    let Value::Object(mut fields) = summary::image(call, candidate) else { return Value::Null };
    let found = &candidate.found;
    let reports = call.cve.filter(|_| asked_for);
    let whole = match reports {
        Some(reports) => look_up(call, reports, found.name, found.image.digest()).unwrap_or_else(|complaint| {
            remarks.push(format!(
                "unable to run vulnerability scan on tag {} in repo {}: error: {complaint}",
                found.tag, found.name
            ));
            Summary::default()
        }),
        None => Summary::default(),
    };
    fields.insert(Name::new("Vulnerabilities"), value(&whole));
    if let (Some(reports), Some(Value::List(manifests))) = (reports, fields.get_mut("Manifests")) {
        for (manifest, part) in manifests.iter_mut().zip(&found.manifests) {
            let of_part = look_up(call, reports, found.name, &part.digest).unwrap_or_else(|complaint| {
                remarks.push(format!(
                    "unable to run vulnerability scan in repo {}: manifest digest: {}, error: {complaint}",
                    found.name, part.digest
                ));
                Summary::default()
            });
            set(manifest, &of_part);
        }
    }
    Value::Object(fields)
}

fn set(manifest: &mut Value, summary: &Summary) {
    if let Value::Object(fields) = manifest {
        let fields: &mut IndexMap<Name, Value> = fields;
        fields.insert(Name::new("Vulnerabilities"), value(summary));
    }
}

fn look_up(call: &Call<'_>, reports: &Reports, name: &str, digest: &str) -> Result<Summary, String> {
    reports.summary(call.meta, name, digest)
}

/// A summary.
pub fn value(summary: &Summary) -> Value {
    object([
        ("MaxSeverity", Value::from(summary.max_severity.as_str())),
        ("Count", Value::from(summary.count)),
        ("UnknownCount", Value::from(summary.unknown_count)),
        ("LowCount", Value::from(summary.low_count)),
        ("MediumCount", Value::from(summary.medium_count)),
        ("HighCount", Value::from(summary.high_count)),
        ("CriticalCount", Value::from(summary.critical_count)),
    ])
}
