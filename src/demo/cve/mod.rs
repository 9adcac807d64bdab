//! CVE queries, answered from reports: what scanning each manifest would find.

use super::content::ContentError;
use super::meta::Meta;
use super::search::{Answered, Arguments, Call, Remarks};

/// How many CVEs of which severity.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are those of the schema")]
pub struct Summary {
    pub max_severity: String,
    pub count: i64,
    pub unknown_count: i64,
    pub low_count: i64,
    pub medium_count: i64,
    pub high_count: i64,
    pub critical_count: i64,
}

/// reports
#[derive(Clone, Debug, Default)]
pub struct Reports {}

impl Reports {
    /// read
    pub fn read(_: &[u8]) -> Result<Self, ContentError> {
        Ok(Self {})
    }

    /// summary
    pub fn summary(&self, _meta: &Meta, _name: &str, _digest: &str) -> Result<Summary, String> {
        Ok(Summary::default())
    }
}

/// Answers a CVE query.
pub fn answer(call: &Call<'_>, _query: &str, _arguments: &Arguments, _remarks: &mut Remarks) -> Answered {
    let Some(_) = call.cve else { return Err("cve search is disabled".into()) };
    Err("todo".into())
}
