//! `rhizome bench retrieval`: how well this node finds what people graded, in each way of search, and how fast.

use std::path::Path;
use std::time::Instant;

use serde::Serialize;
use vault::measure::queries::{self, FILE_BYTES_MAX, Graded};
use vault::measure::{Latency, Measures, latency, mean, measure};
use vault::search::{Answer, Mode};

use super::args::BenchVerb;
use super::client::{Client, segment};
use super::exit::Failure;
use super::output::{Format, plain, table};
use crate::ops::error::{Code, Error};

const MODES: [(Mode, &str); 3] = [(Mode::Keyword, "keyword"), (Mode::Vector, "vector"), (Mode::Hybrid, "hybrid")];

/// One way of search over one part of the queries.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    part: String,
    mode: &'static str,
    queries: usize,
    measures: Measures,
    latency: Latency,
}

/// What was measured.
#[derive(Serialize)]
struct Report {
    places: usize,
    rows: Vec<Row>,
    /// Why a way of search could not be had.
    notices: Vec<String>,
}

/// What one query came to.
struct Asked<'a> {
    graded: &'a Graded,
    measures: Measures,
    micros: u64,
}

/// Measures, and prints a table.
pub async fn bench(client: &Client, verb: BenchVerb, format: Format) -> Result<(), Failure> {
    let BenchVerb::Retrieval { file, places } = verb;
    let queries = read(&file)?;
    let mut report = Report { places, rows: Vec::new(), notices: Vec::new() };
    for (mode, name) in MODES {
        let mut asked = Vec::with_capacity(queries.len());
        for graded in &queries {
            match ask(client, graded, (mode, name), places).await? {
                Ok(one) => asked.push(one),
                Err(notice) => {
                    report.notices.push(format!("{name}: {notice}"));
                    break;
                }
            }
        }
        if asked.len() == queries.len() {
            report.rows.extend(rows(&queries, &asked, name));
        }
    }
    format.print(&report, shown)
}

fn read(file: &Path) -> Result<Vec<Graded>, Failure> {
    let wrong = |why: String| Error::new(Code::BadRequest, format!("{}: {why}", file.display()));
    let size = std::fs::metadata(file).map_err(|error| wrong(error.to_string()))?.len();
    if size > FILE_BYTES_MAX {
        return Err(wrong(format!("it has {size} bytes, {FILE_BYTES_MAX} are the most")).into());
    }
    let text = std::fs::read_to_string(file).map_err(|error| wrong(error.to_string()))?;
    Ok(queries::read(&text).map_err(|error| wrong(error.to_string()))?)
}

/// Asks one query; why it cannot be had in this way where it cannot.
async fn ask<'a>(
    client: &Client,
    graded: &'a Graded,
    (mode, name): (Mode, &str),
    places: usize,
) -> Result<Result<Asked<'a>, String>, Failure> {
    let target = format!("/v1/search?q={}&mode={name}&limit={places}", segment(&graded.query));
    let began = Instant::now();
    let answer: Answer = client.get(&target).await?;
    let micros = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
    if answer.mode != mode {
        return Ok(Err(answer.notices.join("; ")));
    }
    let list: Vec<String> = answer.hits.into_iter().map(|hit| hit.path).collect();
    let measures = measure(&list, &graded.grades, places)
        .ok_or_else(|| Error::new(Code::BadRequest, "the places that count are 1 to 200"))?;
    Ok(Ok(Asked { graded, measures, micros }))
}

fn rows(queries: &[Graded], asked: &[Asked<'_>], mode: &'static str) -> Vec<Row> {
    let parts = queries::parts(queries).into_iter().filter_map(|(part, of_part)| {
        let is_in = |one: &&Asked<'_>| of_part.iter().any(|graded| std::ptr::eq(*graded, one.graded));
        let of_part: Vec<&Asked<'_>> = asked.iter().filter(is_in).collect();
        let measures: Vec<Measures> = of_part.iter().map(|one| one.measures).collect();
        let micros: Vec<u64> = of_part.iter().map(|one| one.micros).collect();
        Some(Row { part, mode, queries: of_part.len(), measures: mean(&measures)?, latency: latency(&micros)? })
    });
    parts.collect()
}

fn shown(report: &Report) -> String {
    let k = report.places;
    let (precision, recall, ndcg) = (format!("P@{k}"), format!("R@{k}"), format!("nDCG@{k}"));
    let head = ["PART", "MODE", "QUERIES", &precision, &recall, "MRR", &ndcg, "P50", "P95"];
    let row = |row: &Row| {
        let Measures { precision, recall, reciprocal_rank, ndcg } = row.measures;
        let [precision, recall, reciprocal_rank, ndcg] =
            [precision, recall, reciprocal_rank, ndcg].map(|number| format!("{number:.3}"));
        let [p50, p95] =
            [row.latency.p50_micros, row.latency.p95_micros].map(|micros| format!("{:.1} ms", micros as f64 / 1_000.0));
        let (part, mode, queries) = (plain(&row.part), row.mode.to_owned(), row.queries.to_string());
        [part, mode, queries, precision, recall, reciprocal_rank, ndcg, p50, p95]
    };
    let notices: String = report.notices.iter().map(|notice| format!("{}\n", plain(notice))).collect();
    table(head, report.rows.iter().map(row).collect()) + &notices
}
