//! How cost grows: drawn over the number of items, of nodes, and the depth of a page, and a model fitted to it.

use crate::stats::Spread;
use anyhow::{Result, anyhow};
use plotters::prelude::*;
use serde::Serialize;
use std::fmt::Write;
use std::path::Path;

/// One fan-out that was measured.
#[derive(Debug, Clone, Serialize)]
pub struct Point {
    /// Whose it is.
    pub gateway: &'static str,
    /// Nodes.
    pub nodes: usize,
    /// Items on all of them.
    pub items: usize,
    /// Where the page begins.
    pub offset: usize,
    /// Whether there was no page.
    pub is_whole: bool,
    /// The time beyond the slowest node (ms).
    pub beyond: Spread,
    /// The CPU time of a request (ms).
    pub cpu: Spread,
}

/// CPU time of a request by what it is put to: `request + nodes × per_node + items × per_item` (ms).
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Model {
    /// Of any request.
    pub request: f64,
    /// For each node.
    pub per_node: f64,
    /// For each item on all nodes.
    pub per_item: f64,
}

impl Model {
    /// The least squares of the errors relative to what was measured, so that small fleets count as much as large ones.
    /// Nothing costs less than nothing: a part that would come out negative is left out. `None` if the points do not
    /// determine it.
    pub fn fit<'a>(points: impl IntoIterator<Item = &'a Point>) -> Option<Model> {
        let points: Vec<&Point> = points.into_iter().filter(|point| point.cpu.median > 0.0).collect();
        let mut parts = vec![0, 1, 2];
        loop {
            let mut sums = vec![vec![0.0; parts.len() + 1]; parts.len()];
            for point in &points {
                let weight = 1.0 / point.cpu.median.powi(2);
                let all = [1.0, point.nodes as f64, point.items as f64];
                let row: Vec<f64> = parts.iter().map(|part| all[*part]).chain([point.cpu.median]).collect();
                for (sum, own) in sums.iter_mut().zip(&row) {
                    sum.iter_mut().zip(&row).for_each(|(sum, value)| *sum += weight * own * value);
                }
            }
            let solution = solved(sums)?;
            match solution.iter().position(|value| *value < 0.0) {
                Some(negative) => drop(parts.remove(negative)),
                None => {
                    let of = |part| parts.iter().position(|known| *known == part).map_or(0.0, |at| solution[at]);
                    return Some(Model { request: of(0), per_node: of(1), per_item: of(2) });
                }
            }
        }
    }

    /// What it says of a fleet (ms).
    pub fn cpu(&self, nodes: f64, items: f64) -> f64 {
        self.request + nodes * self.per_node + items * self.per_item
    }
}

/// Solves linear equations, the right side in the last column (elimination with the largest pivot).
fn solved(mut rows: Vec<Vec<f64>>) -> Option<Vec<f64>> {
    for column in 0..rows.len() {
        let pivot = (column..rows.len()).max_by(|a, b| rows[*a][column].abs().total_cmp(&rows[*b][column].abs()))?;
        rows.swap(column, pivot);
        let pivot = rows[column].clone();
        if pivot[column].abs() < 1e-12 {
            return None;
        }
        for (index, row) in rows.iter_mut().enumerate() {
            let factor = row[column] / pivot[column];
            if index != column {
                row.iter_mut().zip(&pivot).for_each(|(value, pivot)| *value -= factor * pivot);
            }
        }
    }
    rows.iter().enumerate().map(|(index, row)| Some(row.last()? / row[index])).collect()
}

/// What the model says of a large fleet, as Markdown.
pub fn outlook(points: &[Point]) -> String {
    let onezot = points.iter().filter(|point| point.gateway == "onezot" && !point.is_whole);
    let Some(model) = Model::fit(onezot) else { return "The points do not determine a model.\n".to_owned() };
    let Model { request, per_node, per_item } = model;
    let mut text = format!(
        "CPU time of a page of `ImageList(\"\")` at onezot, least squares over the points above:\n\n\
         **{request:.2} ms + {per_node:.3} ms × nodes + {:.3} µs × items that nodes send**\n\n\
         | nodes | items sent | what that is | CPU s/request |\n|---:|---:|---|---:|\n",
        per_item * 1e3
    );
    for (nodes, items, what) in [
        (3, 30_000.0, "3 × 10,000 images, whole lists"),
        (100, 1e7, "10 million images, whole lists"),
        (100, 1e3, "10 million images, page 1 of 10, if nodes were asked for that page only"),
        (100, 1e5, "the same, page 100"),
    ] {
        let seconds = model.cpu(f64::from(nodes), items) / 1e3;
        // Writing to a string does not fail.
        let _ = writeln!(text, "| {nodes} | {items} | {what} | {seconds:.3} |");
    }
    text
}

/// One drawing: its file, its title, what is along the bottom, and which points are in it.
struct Drawing<'a> {
    file: &'static str,
    title: &'static str,
    along: &'static str,
    points: Vec<(f64, &'a Point)>,
}

/// What is drawn of a point.
type Value = fn(&Point) -> Spread;

/// Draws everything; the names of the files.
pub fn draw(points: &[Point], folder: &Path) -> Result<Vec<&'static str>> {
    let Some(pages) = points.iter().find(|point| point.offset > 0) else { return Ok(Vec::new()) };
    let of = |keep: &dyn Fn(&Point) -> bool, x: &dyn Fn(&Point) -> usize| {
        let kept = points.iter().filter(|point| !point.is_whole && keep(point));
        kept.map(|point| (x(point) as f64, point)).collect::<Vec<_>>()
    };
    let shared = points.iter().filter(|point| point.nodes != 3).map(|point| point.items).next().unwrap_or_default();
    let drawings = [
        Drawing {
            file: "growth-items.svg",
            title: "Page 1 of all images on 3 nodes",
            along: "images on all nodes",
            points: of(&|point| point.nodes == 3 && point.offset == 0, &|point| point.items),
        },
        Drawing {
            file: "growth-nodes.svg",
            title: "Page 1 of as many images on more nodes",
            along: "nodes",
            points: of(&|point| point.items == shared && point.offset == 0, &|point| point.nodes),
        },
        Drawing {
            file: "growth-depth.svg",
            title: "Pages further down, 3 nodes",
            along: "offset of the page",
            points: of(&|point| point.nodes == 3 && point.items == pages.items, &|point| point.offset),
        },
    ];
    let mut files = Vec::new();
    for drawing in drawings {
        draw_one(&drawing, &folder.join(drawing.file)).map_err(|error| anyhow!("{}: {error}", drawing.file))?;
        files.push(drawing.file);
    }
    Ok(files)
}

fn draw_one(drawing: &Drawing, file: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let series: [(&str, &str, RGBColor, Value); 3] = [
        ("onezot: CPU", "onezot", RGBColor(20, 90, 170), |point| point.cpu),
        ("onezot: beyond the slowest node", "onezot", RGBColor(20, 150, 90), |point| point.beyond),
        ("naive gateway: CPU", "naive gateway", RGBColor(200, 80, 30), |point| point.cpu),
    ];
    let most_x = drawing.points.iter().map(|(x, _)| *x).fold(1.0, f64::max);
    let all = series.iter().flat_map(|(_, gateway, _, y)| {
        drawing.points.iter().filter(move |(_, point)| point.gateway == *gateway).map(move |(_, point)| y(point).high)
    });
    let most_y = all.fold(1.0, f64::max);
    let root = SVGBackend::new(file, (760, 420)).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .caption(drawing.title, ("sans-serif", 18))
        .margin(14)
        .x_label_area_size(42)
        .y_label_area_size(64)
        .build_cartesian_2d(0.0..most_x * 1.05, 0.0..most_y * 1.05)?;
    chart.configure_mesh().x_desc(drawing.along).y_desc("ms for a request").light_line_style(WHITE).draw()?;
    for (label, gateway, colour, y) in series {
        let mut points: Vec<(f64, Spread)> = drawing
            .points
            .iter()
            .filter(|(_, point)| point.gateway == gateway)
            .map(|(x, point)| (*x, y(point)))
            .collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        chart
            .draw_series(LineSeries::new(points.iter().map(|(x, spread)| (*x, spread.median)), colour.stroke_width(2)))?
            .label(label)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2)));
        chart.draw_series(points.iter().map(|(x, spread)| Circle::new((*x, spread.median), 3, colour.filled())))?;
        // The quartiles.
        chart.draw_series(
            points.iter().map(|(x, spread)| PathElement::new([(*x, spread.low), (*x, spread.high)], colour)),
        )?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.3))
        .draw()?;
    root.present()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(nodes: usize, items: usize, offset: usize, gateway: &'static str) -> Point {
        let of = |median: f64| Spread { median, low: median, high: median };
        let cpu = of(2.0 + 0.5 * nodes as f64 + 0.001 * items as f64);
        Point { gateway, nodes, items, offset, is_whole: false, beyond: of(cpu.median / 2.0), cpu }
    }

    #[test]
    fn what_is_linear_is_found_again() {
        let points = [(1, 1000), (3, 1000), (3, 9000), (10, 5000)].map(|(n, i)| point(n, i, 0, "onezot"));
        let model = Model::fit(&points).unwrap();
        assert!((model.request - 2.0).abs() < 1e-6, "{model:?}");
        assert!((model.per_node - 0.5).abs() < 1e-6, "{model:?}");
        assert!((model.per_item - 0.001).abs() < 1e-9, "{model:?}");
        assert!(outlook(&points).contains("**2.00 ms + 0.500 ms × nodes + 1.000 µs × items"), "{}", outlook(&points));
        assert_eq!(Model::fit(&points[..1]), None);
        let mut cheap = points;
        // As if 3 nodes cost less than 1: then nodes cost nothing.
        cheap[0].cpu.median = 90.0;
        let model = Model::fit(&cheap).unwrap();
        assert!(model.request >= 0.0 && model.per_node >= 0.0 && model.per_item >= 0.0, "{model:?}");
    }

    #[test]
    fn drawings_have_their_points() {
        let points: Vec<Point> = ["onezot", "naive gateway"]
            .into_iter()
            .flat_map(|who| {
                [(3, 1000, 0), (3, 30_000, 0), (3, 30_000, 990), (10, 30_000, 0)].map(|(n, i, o)| point(n, i, o, who))
            })
            .collect();
        let folder = tempfile::tempdir().unwrap();
        let files = draw(&points, folder.path()).unwrap();
        assert_eq!(files.len(), 3);
        for file in files {
            let drawing = std::fs::read_to_string(folder.path().join(file)).unwrap();
            // Two points of each of three lines.
            assert_eq!(drawing.matches("<circle").count(), 6, "{file}");
        }
    }
}
