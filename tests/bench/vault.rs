//! The vault: a made corpus, indexed and searched by a daemon as its user has it, and the vectors beneath it.
//!
//! Corpus and model are those of `tests/bench/run.sh`. Times of searches are those of requests on a kept connection.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use node::ops::types::VaultStatus;
use vault::embed::Embedder as _;
use vault::embed::minilm::MiniLm;
use vault::ingest::shared::Phase;
use vault::search::Answer;

use crate::machine::{Machine, until};
use crate::row::{Area, Row, Target, quantile};
use crate::{Outcome, notes};

/// Notes of the three corpora.
const SMALL: usize = 6_000;
const MIDDLE: usize = 10_000;
const LARGE: usize = 40_000;
const SEED: &str = "7";
/// Cold starts of the small and the large one, of which the median counts.
const COLD_SMALL: usize = 5;
const COLD_LARGE: usize = 3;
/// Saved notes, and searches of each way.
const SAVES: usize = 40;
const SEARCHES: usize = 500;
/// Between two searches for a note that was saved.
const LOOK: Duration = Duration::from_millis(2);
/// How long vectors of the middle corpus may take to be made, on a slow machine.
const EMBEDDING: Duration = Duration::from_secs(4_500);
const SETTLE: Duration = Duration::from_secs(3);

/// Measures all of it; without a model what needs none.
pub async fn measure(bin: &Path, add: &mut (dyn FnMut(Row) + Send)) -> Outcome<()> {
    let folder = tempfile::tempdir()?;
    for (count, times, most_s) in [(SMALL, COLD_SMALL, 5.0), (LARGE, COLD_LARGE, 60.0)] {
        let vault = corpus(folder.path(), count)?;
        cold(bin, &vault, count, times, most_s, add).await?;
    }
    let vault = corpus(folder.path(), MIDDLE)?;
    let mut machine = machine(bin, &vault, None).await?;
    until_ready(&machine).await?;
    // what a start leaves to do is over then
    tokio::time::interval_at(tokio::time::Instant::now() + SETTLE, SETTLE).tick().await;
    let memory = machine.memory_mb()?;
    let row = Row::new(Area::Vault, &format!("memory while watching {MIDDLE} notes, no model"), memory, "MB", 1);
    add(row.target(Target::AtMost(150.0)));
    searches(&machine, &vault, "keyword", 5.0, None, add).await?;
    saves(&machine, &vault, add).await?;
    restart(&mut machine, &vault, add).await?;
    drop(machine);
    match std::env::var_os("RHIZOME_MINILM_DIR") {
        Some(model) => by_meaning(bin, &vault, Path::new(&model), add).await,
        None => Err("there is no model: tests/bench/run.sh fetches one".into()),
    }
}

/// A corpus of so many notes; made once.
fn corpus(folder: &Path, count: usize) -> Outcome<PathBuf> {
    let vault = folder.join(count.to_string());
    let program = std::env::current_exe()?.parent().ok_or("the bench has no directory")?.join("corpus");
    let made = Command::new(&program).arg(&vault).args([&count.to_string(), SEED]).output()?;
    if !made.status.success() {
        return Err(format!("{}: {}", program.display(), String::from_utf8_lossy(&made.stderr)).into());
    }
    Ok(vault)
}

async fn machine(bin: &Path, vault: &Path, model: Option<&Path>) -> Outcome<Machine> {
    let mut machine = Machine::new(bin, "vault");
    machine.run(&["init", "--alias", "vault"])?;
    machine.set(&format!("vault.path={}", vault.display()));
    if let Some(model) = model {
        machine.set(&format!("vault.model={}", model.display()));
    }
    machine.up().await?;
    Ok(machine)
}

async fn status(machine: &Machine) -> Outcome<VaultStatus> {
    machine.connection().await?.get("/v1/vault/status").await
}

async fn until_ready(machine: &Machine) -> Outcome<VaultStatus> {
    let ready = async || status(machine).await.ok().filter(|status| status.index.phase == Phase::Ready);
    until("the vault is indexed", ready).await
}

/// From the start of the daemon to a whole index, with what it takes of memory and disk.
async fn cold(
    bin: &Path,
    vault: &Path,
    count: usize,
    times: usize,
    most_s: f64,
    add: &mut (dyn FnMut(Row) + Send),
) -> Outcome<()> {
    let (mut seconds, mut memory, mut disk) = (Vec::new(), Vec::new(), 0.0);
    for _ in 0..times {
        let mut machine = Machine::new(bin, "vault");
        machine.run(&["init", "--alias", "vault"])?;
        machine.set(&format!("vault.path={}", vault.display()));
        let began = Instant::now();
        machine.up().await?;
        until_ready(&machine).await?;
        seconds.push(began.elapsed().as_secs_f64());
        memory.push(machine.peak_memory_mb()?);
        disk = bytes(&machine.rhizome("vault"))? as f64 / bytes(vault)? as f64;
    }
    let row = |name: &str, value: f64, unit: &'static str, samples: usize, target: f64| {
        Row::new(Area::Vault, &format!("{name} of {count} notes"), value, unit, samples).target(Target::AtMost(target))
    };
    add(row("cold index, with the start,", quantile(&seconds, 0.5), "s", times, most_s));
    // the small one has a target of time alone
    if count == LARGE {
        add(row("most memory at the cold index", quantile(&memory, 0.5), "MB", times, 500.0));
        add(row("index on disk, to the text,", disk, "x", 1, 1.5));
    }
    Ok(())
}

/// Bytes of the files below a folder.
fn bytes(folder: &Path) -> Outcome<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let meta = entry.metadata()?;
        sum += if meta.is_dir() { bytes(&entry.path())? } else { meta.len() };
    }
    Ok(sum)
}

/// One to three words of the corpus each, the same in every run.
fn queries(vault: &Path) -> Outcome<Vec<String>> {
    let mut words = Vec::new();
    for file in notes::below(vault)?.into_iter().step_by(11) {
        let text = fs::read_to_string(file)?;
        let plain = text.split_whitespace().filter(|word| word.chars().all(char::is_alphabetic));
        words.extend(plain.step_by(17).map(str::to_owned));
        if words.len() >= 3 * SEARCHES {
            break;
        }
    }
    Ok((0..SEARCHES).map(|at| words[at * 3..at * 3 + 1 + at % 3].join(" ")).collect())
}

/// Searches over HTTP. `apart_ms` is what the query's embedding takes, which is not counted.
async fn searches(
    machine: &Machine,
    vault: &Path,
    mode: &str,
    most_ms: f64,
    apart_ms: Option<f64>,
    add: &mut (dyn FnMut(Row) + Send),
) -> Outcome<()> {
    let mut connection = machine.connection().await?;
    let mut times = Vec::new();
    for query in queries(vault)? {
        let query: String = query.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let target = format!("/v1/search?q={query}&mode={mode}");
        let began = Instant::now();
        let answer: Answer = connection.get(&target).await?;
        times.push(began.elapsed().as_secs_f64() * 1e3);
        if !answer.notices.is_empty() {
            return Err(answer.notices.join("; ").into());
        }
    }
    let name = format!("{mode} search over HTTP, {MIDDLE} notes");
    add(Row::median(Area::Vault, &name, &times));
    let row = Row::p95(Area::Vault, &format!("{name}, p95"), &times);
    match apart_ms {
        None => add(row.target(Target::AtMost(most_ms))),
        Some(apart_ms) => {
            add(row);
            let rest: Vec<f64> = times.iter().map(|time| time - apart_ms).collect();
            let row = Row::p95(Area::Vault, &format!("{name}, p95 besides the query's embedding"), &rest);
            add(row.target(Target::AtMost(most_ms)).baseline(format!("embedding a query {apart_ms:.2} ms")));
        }
    }
    Ok(())
}

/// From a note that is saved to the first search that finds it.
async fn saves(machine: &Machine, vault: &Path, add: &mut (dyn FnMut(Row) + Send)) -> Outcome<()> {
    let mut connection = machine.connection().await?;
    let mut times = Vec::new();
    for number in 0..SAVES {
        let word = format!("zzsaved{number}x{}", number * 7919);
        fs::write(vault.join(format!("saved {number}.md")), format!("# Saved\n\nIt has {word} in it.\n"))?;
        let began = Instant::now();
        let mut looks = tokio::time::interval(LOOK);
        while connection.get::<Answer>(&format!("/v1/search?q=%22{word}%22&mode=keyword")).await?.hits.is_empty() {
            looks.tick().await;
        }
        times.push(began.elapsed().as_secs_f64() * 1e3);
    }
    add(Row::median(Area::Vault, "saved to searchable", &times).target(Target::AtMost(300.0)));
    let most = quantile(&times, 1.0);
    add(Row::new(Area::Vault, "saved to searchable, at most", most, "ms", SAVES).target(Target::AtMost(1_000.0)));
    Ok(())
}

/// What a restart reads of a vault that did not change.
async fn restart(machine: &mut Machine, vault: &Path, add: &mut (dyn FnMut(Row) + Send)) -> Outcome<()> {
    machine.down().await?;
    let began = Instant::now();
    machine.up().await?;
    let status = until_ready(machine).await?;
    let seconds = began.elapsed().as_secs_f64();
    let share = status.index.bytes_read as f64 / bytes(vault)? as f64 * 100.0;
    let row = Row::new(Area::Vault, "read by a restart, of the vault's bytes", share, "%", 1);
    add(row.target(Target::AtMost(1.0)));
    add(Row::new(Area::Vault, &format!("restart until {MIDDLE} notes are searchable"), seconds, "s", 1));
    Ok(())
}

async fn by_meaning(bin: &Path, vault: &Path, model: &Path, add: &mut (dyn FnMut(Row) + Send)) -> Outcome<()> {
    let embedder = MiniLm::open(model, 2)?;
    let mut apart = Vec::new();
    for query in queries(vault)? {
        let began = Instant::now();
        embedder.embed(&[&query])?;
        apart.push(began.elapsed().as_secs_f64() * 1e3);
    }
    drop(embedder);
    let mut machine = machine(bin, vault, Some(model)).await?;
    let began = Instant::now();
    // what was embedded once is taken as it was: then there is no rate to measure
    let kept = std::env::var_os("RHIZOME_BENCH_VECTORS").map(PathBuf::from);
    let taken = kept.as_deref().filter(|file| file.exists());
    if let Some(file) = taken {
        machine.run(&["vault", "import", &file.display().to_string()])?;
    }
    let is_done = async || {
        let meaning = status(&machine).await.ok()?.meaning?;
        (meaning.of > 0 && meaning.documents == meaning.of).then_some(meaning.embedded)
    };
    let mut embedded = None;
    while embedded.is_none() && began.elapsed() < EMBEDDING {
        embedded = until("vectors are made", is_done).await.ok();
    }
    let embedded = embedded.ok_or("vectors were not made in time")?;
    if taken.is_none() {
        let rate = embedded as f64 / began.elapsed().as_secs_f64();
        add(Row::new(Area::Vault, &format!("passages of {MIDDLE} notes embedded by the daemon"), rate, "1/s", 1));
    }
    if let Some(file) = &kept {
        machine.run(&["vault", "export", &file.display().to_string()])?;
    }
    searches(&machine, vault, "hybrid", 10.0, Some(quantile(&apart, 0.5)), add).await?;
    // by now the model is in memory
    let row = Row::new(
        Area::Vault,
        &format!("memory while watching {MIDDLE} notes, model loaded"),
        machine.memory_mb()?,
        "MB",
        1,
    );
    add(row.target(Target::AtMost(350.0)));
    machine.down().await?;
    machine.up().await?;
    until_ready(&machine).await?;
    until("vectors are known", is_done_again(&machine)).await?;
    let again = status(&machine).await?.meaning.ok_or("there is no embedder")?.embedded;
    let row = Row::new(Area::Vault, "passages embedded again by a restart", again as f64, "", 1);
    add(row.target(Target::AtMost(0.0)));
    Ok(())
}

fn is_done_again(machine: &Machine) -> impl AsyncFnMut() -> Option<()> {
    async move || {
        let meaning = status(machine).await.ok()?.meaning?;
        (meaning.of > 0 && meaning.documents == meaning.of).then_some(())
    }
}
