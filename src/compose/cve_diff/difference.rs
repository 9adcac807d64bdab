//! What is found in one image and not in the other: subtracted, counted, sorted, cut and written as zot does it (zot
//! `pkg/extensions/search/cve/cve.go`, `GetCVEDiffListForImages`; `pagination.go`). Pure.
//!
//! CVEs stay the bytes that the first image's owner wrote, but for two things: the hidden members go, and the paths of
//! packages are null, as zot leaves them out of differences.

use crate::items::Members;
use crate::page::ListPage;
use crate::query::RESERVED;
use crate::rules::Sort;
use serde::Deserialize;
use serde::de::Error as _;
use serde_json::Error;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::HashSet;
use std::fmt::Write;
use std::ops::Range;

/// A member of the result.
#[derive(Debug)]
pub struct Member {
    /// The key.
    pub key: String,
    /// The name in the schema.
    pub name: String,
    /// What it is.
    pub part: Part,
}

/// What a member of the result is.
#[derive(Debug)]
pub enum Part {
    /// What the owner of one of the images (0 or 1) says of the image and itself.
    Of(usize),
    /// CVEs; the keys of the lists of packages in one, each with the keys of their paths.
    List(Vec<(String, Vec<String>)>),
    /// Counts: keys, and which of them each is.
    Summary(Vec<(String, String)>),
}

/// The severities, from that of what was not scanned upwards (zot `pkg/extensions/search/cve/model/models.go`).
const SEVERITIES: [&str; 7] = ["", "NONE", UNKNOWN, "LOW", "MEDIUM", "HIGH", "CRITICAL"];
const UNKNOWN: &str = "UNKNOWN";
/// The counts of `ImageVulnerabilitySummary`, each with its severity.
const COUNTS: [(&str, &str); 5] = [
    ("UnknownCount", UNKNOWN),
    ("LowCount", "LOW"),
    ("MediumCount", "MEDIUM"),
    ("HighCount", "HIGH"),
    ("CriticalCount", "CRITICAL"),
];

/// Whether a member of `ImageVulnerabilitySummary` can be counted here.
pub fn is_count(name: &str) -> bool {
    matches!(name, "MaxSeverity" | "Count" | "__typename") || COUNTS.iter().any(|(count, _)| *count == name)
}

/// How bad a severity is; a word that zot does not know counts as unknown.
fn badness(severity: &str) -> usize {
    let unknown = SEVERITIES.iter().position(|known| *known == UNKNOWN).unwrap_or_default();
    SEVERITIES.iter().position(|known| *known == severity).unwrap_or(unknown)
}

/// What the first image has and the second one has not, sorted and cut.
#[derive(Debug)]
pub struct Difference<'a> {
    /// The first image's result.
    of: &'a RawValue,
    /// All of the difference, in the order of the page.
    cves: Vec<Cve<'a>>,
    /// What is on the page.
    shown: Range<usize>,
}

/// A CVE, as far as it is compared.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Cve<'a> {
    id: Cow<'a, str>,
    severity: Cow<'a, str>,
    /// Its place in the first image's list.
    index: usize,
}

/// The hidden members.
#[derive(Deserialize)]
struct Hidden<'a> {
    #[serde(borrow, rename = "_oz_Id")]
    id: Cow<'a, str>,
    #[serde(borrow, rename = "_oz_Severity", default)]
    severity: Option<Cow<'a, str>>,
}

impl<'a> Difference<'a> {
    /// Subtracts the second result's list from the first one's.
    ///
    /// # Errors
    ///
    /// Which result (0 or 1) has no such list, and why.
    pub fn of(list: &str, [first, second]: [&'a RawValue; 2], page: ListPage) -> Result<Self, (usize, Error)> {
        let taken: HashSet<Cow<str>> =
            read(second, list).map_err(|error| (1, error))?.into_iter().map(|cve| cve.id).collect();
        let mut cves = read(first, list).map_err(|error| (0, error))?;
        cves.retain(|cve| !taken.contains(&cve.id));
        match page.order {
            Sort::AlphabeticAsc => cves.sort_by(|a, b| a.id.cmp(&b.id)),
            Sort::AlphabeticDsc => cves.sort_by(|a, b| b.id.cmp(&a.id)),
            _ => {
                cves.sort_by(|a, b| (Reverse(badness(&a.severity)), &a.id).cmp(&(Reverse(badness(&b.severity)), &b.id)))
            }
        }
        let shown = page.range(cves.len());
        Ok(Difference { of: first, cves, shown })
    }

    /// The list under one of its keys.
    fn list(&self, key: &str, packages: &[(String, Vec<String>)]) -> Result<String, Error> {
        let list = items(self.of, key)?;
        let shown = self.cves.get(self.shown.clone()).unwrap_or_default();
        let item = |cve: &Cve| match list.get(cve.index) {
            Some(item) => without_paths(item, packages),
            None => Err(Error::custom("one list is of two lengths under two aliases")),
        };
        let items = shown.iter().map(item).collect::<Result<Vec<_>, Error>>()?;
        Ok(format!("[{}]", items.join(",")))
    }

    /// The counts, of all that is in the difference.
    fn summary(&self, counts: &[(String, String)]) -> String {
        let of = |severity: &str| self.cves.iter().filter(|cve| cve.severity == severity).count();
        let count = |name: &str| match COUNTS.iter().find(|(count, _)| *count == name) {
            Some((_, severity)) => of(severity),
            None => COUNTS.iter().map(|(_, severity)| of(severity)).sum(),
        };
        // Of words that are as bad, zot takes the one that it meets first.
        let worst = self.cves.iter().max_by_key(|cve| (badness(&cve.severity), Reverse(&cve.id)));
        object(counts.iter().map(|(key, name)| {
            let value = match name.as_str() {
                "__typename" => string("ImageVulnerabilitySummary"),
                "MaxSeverity" => string(worst.map_or("", |cve| &cve.severity)),
                name => count(name).to_string(),
            };
            (key.as_str(), Cow::Owned(value))
        }))
    }
}

/// Writes the result: what the owners say of their images with themselves, and the difference, if any member needs it.
///
/// # Errors
///
/// What the first owner listed is no list of CVEs.
pub fn write(members: &[Member], results: [&RawValue; 2], difference: Option<&Difference>) -> Result<String, Error> {
    let [Members(first), Members(second)] =
        [serde_json::from_str(results[0].get())?, serde_json::from_str(results[1].get())?];
    let mut written = Vec::with_capacity(members.len());
    for member in members {
        let value = match (&member.part, difference) {
            (Part::Of(which), _) => {
                let result = if *which == 0 { &first } else { &second };
                let value = result.iter().find(|(key, _)| *key == member.key).map(|(_, value)| value.get());
                Cow::Borrowed(value.unwrap_or("null"))
            }
            (Part::List(packages), Some(difference)) => Cow::Owned(difference.list(&member.key, packages)?),
            (Part::Summary(counts), Some(difference)) => Cow::Owned(difference.summary(counts)),
            (_, None) => Cow::Borrowed("null"),
        };
        written.push((member.key.as_str(), value));
    }
    Ok(object(written))
}

/// The result for a user who may not read one of the images.
pub fn nothing(members: &[Member]) -> String {
    object(members.iter().map(|member| {
        let value = if member.name == "__typename" { "\"CVEDiffResult\"" } else { "null" };
        (member.key.as_str(), Cow::Borrowed(value))
    }))
}

/// The CVEs of a list by its hidden members.
fn read<'a>(result: &'a RawValue, list: &str) -> Result<Vec<Cve<'a>>, Error> {
    let hidden = |(index, raw): (usize, &'a RawValue)| {
        let Hidden { id, severity } = serde_json::from_str(raw.get())?;
        Ok(Cve { id, severity: severity.unwrap_or_default(), index })
    };
    items(result, list)?.into_iter().enumerate().map(hidden).collect()
}

/// The items of a list.
fn items<'a>(result: &'a RawValue, key: &str) -> Result<Vec<&'a RawValue>, Error> {
    let Members(members) = serde_json::from_str(result.get())?;
    let list = members.into_iter().find(|(name, _)| name == key).map(|(_, list)| list.get());
    serde_json::from_str(list.ok_or_else(|| Error::custom("there is no list of CVEs"))?)
}

/// A CVE without the hidden members, and with the paths of its packages null.
fn without_paths(cve: &RawValue, packages: &[(String, Vec<String>)]) -> Result<String, Error> {
    let Members(members) = serde_json::from_str(cve.get())?;
    let mut written = Vec::with_capacity(members.len());
    for (key, value) in members.iter().filter(|(key, _)| !key.starts_with(RESERVED)) {
        let value = match packages.iter().find(|(list, _)| list == key) {
            Some((_, paths)) => Cow::Owned(without(value, paths)?),
            None => Cow::Borrowed(value.get()),
        };
        written.push((&**key, value));
    }
    Ok(object(written))
}

/// A list of objects in which some members are null.
fn without(list: &RawValue, nulls: &[String]) -> Result<String, Error> {
    let Some(list) = serde_json::from_str::<Option<Vec<&RawValue>>>(list.get())? else { return Ok("null".to_owned()) };
    let item = |item: &&RawValue| {
        let Some(Members(members)) = serde_json::from_str(item.get())? else { return Ok("null".to_owned()) };
        Ok(object(members.iter().map(|(key, value)| {
            let is_null = nulls.iter().any(|null| null == key);
            (&**key, Cow::Borrowed(if is_null { "null" } else { value.get() }))
        })))
    };
    let items = list.iter().map(item).collect::<Result<Vec<String>, Error>>()?;
    Ok(format!("[{}]", items.join(",")))
}

fn string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// An object of members whose values are JSON already.
fn object<'a>(members: impl IntoIterator<Item = (&'a str, Cow<'a, str>)>) -> String {
    let mut text = String::from("{");
    for (index, (key, value)) in members.into_iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        // Writing to a string does not fail.
        let _ = write!(text, "{comma}{}:{value}", string(key));
    }
    text.push('}');
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).unwrap()
    }

    fn member(key: &str, name: &str, part: Part) -> Member {
        Member { key: key.to_owned(), name: name.to_owned(), part }
    }

    fn page(limit: u64, offset: u64, order: Sort) -> ListPage {
        ListPage { limit, offset, order }
    }

    fn counts() -> Vec<(String, String)> {
        let names = ["MaxSeverity", "Count", "UnknownCount", "LowCount", "MediumCount", "HighCount", "CriticalCount"];
        names.iter().map(|name| ((*name).to_owned(), (*name).to_owned())).collect()
    }

    #[test]
    fn members_are_written_where_the_client_has_them() {
        let packages = vec![("p".to_owned(), vec!["path".to_owned(), "again".to_owned()])];
        let count = |key: &str, name: &str| (key.to_owned(), name.to_owned());
        let members = [
            member("s", "Subtrahend", Part::Of(1)),
            member("c", "CVEList", Part::List(packages)),
            member("m", "Minuend", Part::Of(0)),
            member("b", "CVEList", Part::List(Vec::new())),
            member(
                "n",
                "Summary",
                Part::Summary(vec![count("t", "__typename"), count("x", "MaxSeverity"), count("c", "Count")]),
            ),
            member("t", "__typename", Part::Of(0)),
        ];
        let first = raw(r#"{"_oz_Minuend":{},"s":{"of":"first"},"m":{"of":"first\u003c"},"t":"CVEDiffResult"}"#);
        let second = raw(r#"{"_oz_Minuend":{},"s":{"of":"second"},"m":{"of":"second"},"t":"CVEDiffResult"}"#);
        let found = raw(concat!(
            r#"{"c":[{"_oz_Id":"B","_oz_Severity":"LOW","i":"B\u003c","p":[{"n":"x","path":"/a","again":"/a"},null]},"#,
            r#"{"_oz_Id":"A","_oz_Severity":"HIGH","p":null},{"_oz_Id":"C","_oz_Severity":"LOW","p":[]}],"#,
            r#""b":[{"p":[{"path":1.0}]},{},{}]}"#
        ));
        let taken = raw(r#"{"c":[{"_oz_Id":"C"},{"_oz_Id":"D"}]}"#);
        let difference = Difference::of("c", [&found, &taken], page(0, 0, Sort::Severity)).unwrap();
        let written = write(&members, [&first, &second], Some(&difference)).unwrap();
        assert_eq!(
            written,
            concat!(
                r#"{"s":{"of":"second"},"#,
                r#""c":[{"p":null},{"i":"B\u003c","p":[{"n":"x","path":null,"again":null},null]}],"#,
                r#""m":{"of":"first\u003c"},"b":[{},{"p":[{"path":1.0}]}],"#,
                r#""n":{"t":"ImageVulnerabilitySummary","x":"HIGH","c":2},"t":"CVEDiffResult"}"#
            )
        );
        assert_eq!(nothing(&members), r#"{"s":null,"c":null,"m":null,"b":null,"n":null,"t":"CVEDiffResult"}"#);
    }

    #[test]
    fn what_is_no_list_names_its_side() {
        let good = raw(r#"{"c":[]}"#);
        for bad in ["null", "[]", "{}", r#"{"c":null}"#, r#"{"c":[{}]}"#, r#"{"c":[{"_oz_Id":null}]}"#] {
            let bad = raw(bad);
            let page = page(0, 0, Sort::Severity);
            assert_eq!(Difference::of("c", [&bad, &good], page).unwrap_err().0, 0, "{bad}");
            assert_eq!(Difference::of("c", [&good, &bad], page).unwrap_err().0, 1, "{bad}");
        }
    }

    #[test]
    fn severities_that_zot_does_not_know_are_unknown_and_not_counted() {
        let found = raw(r#"{"c":[{"_oz_Id":"2","_oz_Severity":"odd"},{"_oz_Id":"1","_oz_Severity":"UNKNOWN"},
            {"_oz_Id":"3","_oz_Severity":"NONE"},{"_oz_Id":"4","_oz_Severity":null}]}"#);
        let none = raw(r#"{"c":[]}"#);
        for order in crate::rules::CVE_ORDERS {
            let difference = Difference::of("c", [&found, &none], page(0, 0, *order)).unwrap();
            let summary: Value = serde_json::from_str(&difference.summary(&counts())).unwrap();
            assert_eq!((&summary["MaxSeverity"], &summary["Count"]), (&json!("UNKNOWN"), &json!(1)));
        }
        let difference = Difference::of("c", [&none, &found], page(0, 0, Sort::Severity)).unwrap();
        let summary: Value = serde_json::from_str(&difference.summary(&counts())).unwrap();
        assert_eq!((&summary["MaxSeverity"], &summary["Count"]), (&json!(""), &json!(0)));
    }

    /// CVEs by their number, each with a severity.
    fn any_cves() -> impl Strategy<Value = Vec<(u8, &'static str)>> {
        let severity = prop::sample::select(vec!["UNKNOWN", "LOW", "MEDIUM", "HIGH", "CRITICAL"]);
        prop::collection::btree_map(0..30u8, severity, 0..25).prop_map(|cves| cves.into_iter().collect()).prop_shuffle()
    }

    /// Numbers are compared as texts.
    fn id(number: u8) -> String {
        format!("CVE-{number}")
    }

    fn listed(cves: &[(u8, &str)]) -> Box<RawValue> {
        let cve = |(number, severity): &(u8, &str)| json!({"_oz_Id": id(*number), "_oz_Severity": severity, "Id": id(*number)});
        raw(&json!({"c": cves.iter().map(cve).collect::<Vec<_>>()}).to_string())
    }

    proptest! {
        #[test]
        fn any_difference_is_the_naive_one(
            first in any_cves(), second in any_cves(), limit in 0..8u64, offset in 0..8u64,
            order in prop::sample::select(crate::rules::CVE_ORDERS),
        ) {
            let (found, taken) = (listed(&first), listed(&second));
            let difference = Difference::of("c", [&found, &taken], page(limit, offset, order)).unwrap();
            let shown: Vec<Value> = serde_json::from_str(&difference.list("c", &[]).unwrap()).unwrap();
            let summary: Value = serde_json::from_str(&difference.summary(&counts())).unwrap();

            let worst_first = ["CRITICAL", "HIGH", "MEDIUM", "LOW", "UNKNOWN"];
            let mut left: Vec<(usize, String)> = Vec::new();
            for (number, severity) in &first {
                if !second.iter().any(|(other, _)| other == number) {
                    left.push((worst_first.iter().position(|word| word == severity).unwrap(), id(*number)));
                }
            }
            left.sort();
            let max = left.first().map_or("", |(rank, _)| worst_first[*rank]);
            prop_assert_eq!(&summary["MaxSeverity"], max);
            prop_assert_eq!(&summary["Count"], left.len());
            for (rank, name) in ["CriticalCount", "HighCount", "MediumCount", "LowCount", "UnknownCount"].iter().enumerate() {
                prop_assert_eq!(&summary[*name], left.iter().filter(|(other, _)| *other == rank).count());
            }
            let mut ids: Vec<String> = left.into_iter().map(|(_, id)| id).collect();
            match order {
                Sort::AlphabeticAsc => ids.sort(),
                Sort::AlphabeticDsc => {
                    ids.sort();
                    ids.reverse();
                }
                _ => {}
            }
            if limit > 0 || offset > 0 {
                ids = ids.into_iter().skip(offset as usize).take(limit as usize).collect();
            }
            let ids: Vec<Value> = ids.into_iter().map(|id| json!({"Id": id})).collect();
            prop_assert_eq!(shown, ids);
        }
    }
}
