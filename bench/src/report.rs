//! A run written down: Markdown to be read, JSON to be computed with, drawings.

use crate::growth::{self, Point};
use crate::machine::Machine;
use crate::peer::{Programs, find};
use crate::scale::Scale;
use crate::stats::{FEWEST_ROUNDS, MOST_SPREAD};
use crate::table::Table;
use anyhow::Result;
use serde::Serialize;
use std::fmt::Write;
use std::path::Path;

/// A run.
#[derive(Serialize)]
pub struct Report {
    /// How much was measured.
    pub scale: &'static str,
    /// Rounds.
    pub rounds: usize,
    /// When (UTC).
    pub began: String,
    /// On what.
    pub machine: Machine,
    /// What was not there.
    pub missing: Vec<&'static str>,
    /// What goes to one node.
    pub route_once: Vec<Table>,
    /// What goes to every node.
    pub fan_out: Vec<Table>,
    /// What growth is drawn from.
    pub growth: Vec<Point>,
    /// What the benches of the core print.
    pub core: Option<String>,
}

impl Report {
    /// A report without results.
    pub fn new(programs: &Programs, scale: &Scale) -> Result<Report> {
        let Programs { nginx, haproxy, wrk, .. } = programs;
        let there = [
            ("nginx", nginx.is_some()),
            ("haproxy", haproxy.is_some()),
            ("wrk", *wrk),
            ("openssl", find("openssl").is_some()),
        ];
        Ok(Report {
            scale: scale.name,
            rounds: scale.rounds,
            began: jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M UTC").to_string(),
            machine: Machine::now(programs)?,
            missing: there.iter().filter(|(_, is_there)| !is_there).map(|(name, _)| *name).collect(),
            route_once: Vec::new(),
            fan_out: Vec::new(),
            growth: Vec::new(),
            core: None,
        })
    }

    /// Writes `report.md`, `report.json` and the drawings into a folder.
    pub fn write(&self, folder: &Path) -> Result<()> {
        std::fs::create_dir_all(folder)?;
        let drawings = growth::draw(&self.growth, folder)?;
        std::fs::write(folder.join("report.md"), self.markdown(&drawings))?;
        std::fs::write(folder.join("report.json"), serde_json::to_string_pretty(self)? + "\n")?;
        Ok(())
    }

    fn markdown(&self, drawings: &[&str]) -> String {
        let Machine { processor, cores, memory, kernel, versions, load } = &self.machine;
        let versions: Vec<String> = versions.iter().map(|(name, version)| format!("{name}: {version}")).collect();
        let loads: Vec<String> = load.iter().map(|load| format!("{load:.1}")).collect();
        let mut text = format!(
            "# onezot, measured\n\n{} run of {}, {} rounds.\n\n\
             - machine: {processor}, {cores} cores, {memory} GiB, Linux {kernel}\n\
             - {}\n\
             - load average over one minute, before and after the parts (what is measured is part of it): {}\n",
            self.scale,
            self.began,
            self.rounds,
            versions.join("\n- "),
            loads.join(", "),
        );
        // Writing to a string does not fail.
        if !self.missing.is_empty() {
            let _ = writeln!(text, "- **missing, so not compared with: {}**", self.missing.join(", "));
        }
        if self.scale == "smoke" {
            text.push_str("- **no measurement**: the numbers are too small to mean anything\n");
        }
        let _ = write!(
            text,
            "\nValues are medians of the rounds [quartiles]. Everything ran on the same cores, so that values are only good \
             beside each other. Ratios are taken within each round; the median is printed if there are at least \
             {FEWEST_ROUNDS} rounds and the middle half of them lies within {:.0} % of it, else the ratio is \"too noisy\".\n",
            MOST_SPREAD * 100.0
        );
        for (heading, tables) in
            [("What goes to one node", &self.route_once), ("What goes to every node", &self.fan_out)]
        {
            if !tables.is_empty() {
                let _ = write!(text, "\n## {heading}\n\n");
                tables.iter().for_each(|table| text.push_str(&table.to_string()));
            }
        }
        if !drawings.is_empty() {
            text.push_str("\n## Growth\n\n");
            for drawing in drawings {
                let _ = writeln!(text, "![{drawing}]({drawing})\n");
            }
            let _ = write!(text, "### A model\n\n{}", growth::outlook(&self.growth));
        }
        if let Some(core) = &self.core {
            let _ = write!(text, "\n## The core alone\n\n```text\n{}\n```\n", core.trim_end());
        }
        text
    }
}
