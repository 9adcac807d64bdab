//! What was measured: a table for each part, with a sample of every subject in every round.

use crate::stats::{Ratio, Spread};
use anyhow::Result;
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt::{self, Write};

/// The values of one subject in one round, by column.
pub type Sample = BTreeMap<&'static str, f64>;

/// What was measured of one thing.
#[derive(Debug, Serialize)]
pub struct Subject {
    /// What it is.
    pub name: String,
    /// A sample for each round.
    pub samples: Vec<Sample>,
}

impl Subject {
    /// The spread of a column.
    pub fn spread(&self, column: &str) -> Option<Spread> {
        let values: Vec<f64> = self.samples.iter().filter_map(|sample| sample.get(column).copied()).collect();
        Spread::of(&values)
    }
}

/// Two subjects that are set against each other in some columns.
#[derive(Debug, Clone)]
pub struct Compare {
    /// What is above the line.
    pub this: String,
    /// What is below it.
    pub that: String,
    /// The columns.
    pub columns: Vec<&'static str>,
}

/// A part of a run.
#[derive(Debug)]
pub struct Table {
    /// What it is about.
    pub title: String,
    /// What is to be known about it.
    pub about: String,
    /// What is shown, with units.
    pub columns: Vec<&'static str>,
    /// What was measured.
    pub subjects: Vec<Subject>,
    /// What is set against what.
    pub compare: Vec<Compare>,
}

/// One line of comparison.
#[derive(Debug, Serialize)]
struct Finding {
    this: String,
    that: String,
    column: &'static str,
    ratio: Ratio,
}

impl Table {
    /// An empty table of these subjects.
    pub fn new(title: &str, about: &str, columns: &[&'static str], subjects: &[String]) -> Table {
        let subjects = subjects.iter().map(|name| Subject { name: name.clone(), samples: Vec::new() }).collect();
        let (title, about) = (title.to_owned(), about.to_owned());
        Table { title, about, columns: columns.to_vec(), subjects, compare: Vec::new() }
    }

    /// Sets a subject against others in some columns.
    pub fn comparing(mut self, this: &str, those: &[String], columns: &[&'static str]) -> Table {
        for that in those {
            match self.compare.iter_mut().find(|known| known.this == this && known.that == *that) {
                Some(known) => known.columns.extend_from_slice(columns),
                None => {
                    self.compare.push(Compare { this: this.to_owned(), that: that.clone(), columns: columns.to_vec() })
                }
            }
        }
        self
    }

    /// Measures every subject in every round, A B C and then C B A, so that what drifts does not favour one.
    pub async fn fill(&mut self, rounds: usize, mut measure: impl AsyncFnMut(usize) -> Result<Sample>) -> Result<()> {
        for round in 0..rounds {
            let mut order: Vec<usize> = (0..self.subjects.len()).collect();
            if round % 2 == 1 {
                order.reverse();
            }
            for index in order {
                let sample = measure(index).await?;
                self.subjects[index].samples.push(sample);
            }
        }
        Ok(())
    }

    /// Adds a column: what a subject takes beyond what another took in the same round.
    pub fn add_beyond(&mut self, of: &str, column: &'static str, added: &'static str) {
        let Some(base) = self.subject(of) else { return };
        let base: Vec<Option<f64>> = base.samples.iter().map(|sample| sample.get(column).copied()).collect();
        for subject in self.subjects.iter_mut().filter(|subject| subject.name != of) {
            for (sample, base) in subject.samples.iter_mut().zip(&base) {
                if let (Some(value), Some(base)) = (sample.get(column).copied(), base) {
                    sample.insert(added, value - base);
                }
            }
        }
    }

    /// The subject of a name.
    pub fn subject(&self, name: &str) -> Option<&Subject> {
        self.subjects.iter().find(|subject| subject.name == name)
    }

    fn findings(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        for Compare { this, that, columns } in &self.compare {
            let (Some(a), Some(b)) = (self.subject(this), self.subject(that)) else { continue };
            for column in columns {
                let pairs = a.samples.iter().zip(&b.samples);
                let pairs = pairs.filter_map(|(a, b)| Some((*a.get(column)?, *b.get(column)?)));
                let ratio = Ratio::of(pairs);
                findings.push(Finding { this: this.clone(), that: that.clone(), column, ratio });
            }
        }
        findings
    }
}

impl Serialize for Table {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut table = serializer.serialize_struct("Table", 4)?;
        table.serialize_field("title", &self.title)?;
        table.serialize_field("about", &self.about)?;
        table.serialize_field("subjects", &self.subjects)?;
        table.serialize_field("ratios", &self.findings())?;
        table.end()
    }
}

/// As Markdown.
impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "### {}\n\n{}\n", self.title, self.about)?;
        writeln!(f, "| | {} |\n|---|{}", self.columns.join(" | "), "---:|".repeat(self.columns.len()))?;
        for subject in &self.subjects {
            write!(f, "| {} |", subject.name)?;
            for column in &self.columns {
                match subject.spread(column) {
                    Some(Spread { median, low, high }) => {
                        write!(f, " {} [{}–{}] |", short(median), short(low), short(high))?;
                    }
                    None => f.write_str(" |")?,
                }
            }
            writeln!(f)?;
        }
        let findings = self.findings();
        if !findings.is_empty() {
            let mut columns: Vec<&str> = Vec::new();
            for finding in &findings {
                if !columns.contains(&finding.column) {
                    columns.push(finding.column);
                }
            }
            writeln!(f, "\n| ratio | {} |\n|---|{}", columns.join(" | "), "---:|".repeat(columns.len()))?;
            for Compare { this, that, .. } in &self.compare {
                let mut row = format!("| {this} / {that} |");
                for column in &columns {
                    let cell = findings
                        .iter()
                        .find(|finding| finding.this == *this && finding.that == *that && finding.column == *column);
                    match cell {
                        Some(Finding { ratio, .. }) => write!(row, " {ratio} |")?,
                        None => row.push_str(" |"),
                    }
                }
                if self.subject(that).is_some() && self.subject(this).is_some() {
                    writeln!(f, "{row}")?;
                }
            }
        }
        writeln!(f)
    }
}

/// A number with about three digits that say something.
fn short(value: f64) -> String {
    let digits = match value.abs() {
        0.0 => 0,
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 => 2,
        _ => 3,
    };
    format!("{value:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn rounds_are_interleaved_and_ratios_go_round_by_round() {
        let names = ["direct", "onezot", "peer"].map(str::to_owned);
        let mut table = Table::new("t", "a", &["ms", "added ms"], &names).comparing("onezot", &names[2..], &["ms"]);
        let mut order = Vec::new();
        table
            .fill(3, async |subject| {
                order.push(subject);
                Ok(Sample::from([("ms", (order.len().div_ceil(3) * (subject + 1)) as f64)]))
            })
            .await
            .unwrap();
        assert_eq!(order, [0, 1, 2, 2, 1, 0, 0, 1, 2]);
        table.add_beyond("direct", "ms", "added ms");
        let text = table.to_string();
        assert!(text.contains("| onezot | 4.00 [3.00–5.00] | 2.00 [1.50–2.50] |"), "{text}");
        assert!(text.contains("| onezot / peer | **0.67** [0.67–0.67] |"), "{text}");
        assert!(text.contains("| direct | 2.00 [1.50–2.50] | |"), "{text}");
        let json = serde_json::to_value(&table).unwrap();
        assert_eq!(json["ratios"][0]["ratio"]["finding"], "found");
        assert_eq!(json["subjects"][2]["samples"][0]["ms"], 3.0);
    }
}
