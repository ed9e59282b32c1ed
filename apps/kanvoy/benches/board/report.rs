//! The table that is printed at the end.

use std::time::Duration;

/// What a ratio must be.
#[derive(Clone, Copy)]
pub enum Reach {
    AtLeast(f64),
    /// A figure to know, without a floor.
    Stated,
}

pub struct Report {
    rows: Vec<[String; 5]>,
}

impl Report {
    pub fn new() -> Self {
        Self { rows: Vec::new() }
    }

    pub fn ratio(&mut self, what: impl Into<String>, unit: &str, ours: f64, floor: f64, reach: Reach) {
        let ratio = ours / floor;
        let verdict = match reach {
            Reach::AtLeast(least) => format!("{ratio:.2} of at least {least:.2}{}", missed(ratio >= least)),
            Reach::Stated => format!("{ratio:.2}"),
        };
        self.row(what, figure(ours), figure(floor), unit, verdict);
    }

    pub fn figure(&mut self, what: impl Into<String>, unit: &str, ours: f64, most: Option<f64>) {
        let verdict = match most {
            Some(most) => format!("at most {}{}", figure(most), missed(ours <= most)),
            None => String::new(),
        };
        self.row(what, figure(ours), "-".into(), unit, verdict);
    }

    fn row(&mut self, what: impl Into<String>, ours: String, floor: String, unit: &str, verdict: String) {
        let row = [what.into(), ours, floor, unit.to_owned(), verdict];
        println!("{:<52} {:>12} {:>12} {:<10} {}", row[0], row[1], row[2], row[3], row[4]);
        self.rows.push(row);
    }

    pub fn print(&self) {
        println!("\n{:<52} {:>12} {:>12} {:<10} ratio", "measure (medians)", "ours", "floor", "unit");
        for row in &self.rows {
            println!("{:<52} {:>12} {:>12} {:<10} {}", row[0], row[1], row[2], row[3], row[4]);
        }
    }
}

fn missed(reached: bool) -> &'static str {
    if reached { "" } else { "  MISSED" }
}

fn figure(value: f64) -> String {
    match value {
        value if value >= 1e6 => format!("{:.2} M", value / 1e6),
        value if value >= 1e4 => format!("{:.1} k", value / 1e3),
        value if value >= 100.0 => format!("{value:.0}"),
        value => format!("{value:.2}"),
    }
}

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

pub fn percentile(sorted: &[Duration], at: f64) -> Duration {
    let index = ((sorted.len() as f64 * at) as usize).min(sorted.len().saturating_sub(1));
    sorted.get(index).copied().unwrap_or_default()
}
