//! A figure, and the table of them.

use std::fmt;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use serde::Serialize;

use crate::Outcome;

/// The parts of the system that figures are grouped by.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Area {
    Jobs,
    Ledger,
    Vault,
    Llm,
    Api,
    Scale,
    Failure,
    Peers,
}

impl Area {
    pub const ALL: [Self; 8] =
        [Self::Jobs, Self::Ledger, Self::Vault, Self::Llm, Self::Api, Self::Scale, Self::Failure, Self::Peers];

    /// How long measuring it may take.
    pub fn limit(self) -> Duration {
        // a model on two slow cores needs most of this for ten thousand notes
        const VAULT: Duration = Duration::from_secs(6_000);
        const OTHER: Duration = Duration::from_secs(1_500);
        // as tests/bench/peers.sh
        const PEERS: Duration = Duration::from_secs(1_800);
        match self {
            Self::Vault => VAULT,
            Self::Peers => PEERS,
            _ => OTHER,
        }
    }
}

impl fmt::Display for Area {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Jobs => "jobs",
            Self::Ledger => "ledger",
            Self::Vault => "vault",
            Self::Llm => "llm",
            Self::Api => "api",
            Self::Scale => "scale",
            Self::Failure => "failure",
            Self::Peers => "peers",
        })
    }
}

impl FromStr for Area {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|area| area.to_string() == word);
        let all = Self::ALL.map(|area| area.to_string()).join(", ");
        found.ok_or_else(|| format!("'{word}' is no area: {all}"))
    }
}

/// What a figure should be, in its unit.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Target {
    AtMost(f64),
    AtLeast(f64),
}

impl Target {
    fn is_met(self, value: f64) -> bool {
        match self {
            Self::AtMost(most) => value <= most,
            Self::AtLeast(least) => value >= least,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(most) => write!(f, "<= {most}"),
            Self::AtLeast(least) => write!(f, ">= {least}"),
        }
    }
}

impl Serialize for Target {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// One figure.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Row {
    area: Area,
    name: String,
    value: f64,
    unit: &'static str,
    target: Option<Target>,
    samples: usize,
    /// What the figure is relative to, with what that was in the same run.
    #[serde(skip_serializing_if = "Option::is_none")]
    baseline: Option<String>,
}

impl Row {
    pub fn new(area: Area, name: &str, value: f64, unit: &'static str, samples: usize) -> Self {
        let value = (value * 100.0).round() / 100.0;
        Self { area, name: name.to_owned(), value, unit, target: None, samples, baseline: None }
    }

    /// The median of times in milliseconds.
    pub fn median(area: Area, name: &str, samples: &[f64]) -> Self {
        Self::new(area, name, quantile(samples, 0.5), "ms", samples.len())
    }

    /// The 95th percentile of times in milliseconds.
    pub fn p95(area: Area, name: &str, samples: &[f64]) -> Self {
        Self::new(area, name, quantile(samples, 0.95), "ms", samples.len())
    }

    pub fn target(self, target: Target) -> Self {
        Self { target: Some(target), ..self }
    }

    pub fn baseline(self, baseline: String) -> Self {
        Self { baseline: Some(baseline), ..self }
    }
}

/// The smallest sample that this part of them does not exceed.
pub fn quantile(samples: &[f64], part: f64) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (sorted.len() as f64 * part).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

/// The rows so far; each is in the file as soon as it is measured.
pub struct Table {
    rows: Vec<Row>,
    file: Option<File>,
}

impl Table {
    pub fn new(json: Option<&Path>) -> Outcome<Self> {
        Ok(Self { rows: Vec::new(), file: json.map(File::create).transpose()? })
    }

    pub fn add(&mut self, row: Row) {
        let line = serde_json::to_string(&row).expect("a row is plain data");
        eprintln!("{line}");
        if let Some(file) = &mut self.file
            && let Err(error) = writeln!(file, "{line}")
        {
            eprintln!("bench: the row cannot be written: {error}");
        }
        self.rows.push(row);
    }

    pub fn print(&self) {
        let width = self.rows.iter().map(|row| row.name.chars().count()).max().unwrap_or_default();
        println!("{:7}  {:width$}  {:>9} {:7}  {:9}         samples", "area", "name", "value", "unit", "target");
        for row in &self.rows {
            let target = row.target.map(|target| target.to_string()).unwrap_or_default();
            let word = match row.target {
                Some(target) if !target.is_met(row.value) => "missed",
                Some(_) => "ok",
                None => "",
            };
            let beside = row.baseline.as_ref().map(|baseline| format!("  beside {baseline}")).unwrap_or_default();
            println!(
                "{:7}  {:width$}  {:9.2} {:7}  {target:9} {word:6}  {:7}{beside}",
                row.area, row.name, row.value, row.unit, row.samples
            );
        }
    }
}
