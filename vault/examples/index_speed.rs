//! Measures an index of a folder: `cargo run --release --example index_speed -- VAULT INDEX_DIR [QUERIES]`. It prints how long
//! a cold index takes, what it takes of memory and disk, how soon a saved note is found, and how long searches take.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant, SystemTime};

use vault::documents::{Documents, PUSHED};
use vault::index::record::Privacy;
use vault::ingest::engine::{Ingest, Reads, Source};
use vault::ingest::watch::WatchMode;
use vault::ingest::worker::Worker;
use vault::root::Root;
use vault::root::trees::Trees;
use vault::search::{Matching, Mode, Request, search};

/// Notes that are saved one after the other.
const SAVES: usize = 21;
/// Searches that are timed.
const SEARCHES: usize = 1_000;
/// How long a saved note is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

type Failure = Box<dyn std::error::Error>;

#[expect(clippy::disallowed_methods, reason = "an example is told by its arguments")]
fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, vault, index] = &arguments[..] else { return Err("usage: index_speed VAULT INDEX_DIR".into()) };
    let (vault, index) = (PathBuf::from(vault), PathBuf::from(index));
    fs::create_dir_all(&index)?;
    let source = source(&vault, &index)?;
    let began = Instant::now();
    let (mut ingest, shared) = Ingest::open(source.clone())?;
    ingest.scan()?;
    let cold = began.elapsed();
    let documents = shared.serving().catalog().len();
    println!("documents {documents}, text {} MB", shared.status().bytes_read / 1_000_000);
    println!("cold index {:.2} s, {:.0} notes a second", cold.as_secs_f64(), documents as f64 / cold.as_secs_f64());
    println!("memory at most {} MB", memory("VmHWM")?);
    println!("disk {:.2} times the text", size(&index)? as f64 / shared.status().bytes_read as f64);
    drop((ingest, shared));

    let began = Instant::now();
    let (sender, changes) = channel();
    let worker = Worker::start(source, move || {
        // nobody listens at the end
        sender.send(()).ok();
    })?;
    println!("opened again in {:.2} s", began.elapsed().as_secs_f64());
    changes.recv()?;
    println!(
        "looked through in {:.2} s, read {} bytes",
        began.elapsed().as_secs_f64(),
        worker.shared().status().bytes_read
    );
    println!("memory while watching {} MB", memory("VmRSS")?);
    searches(&worker)?;
    saves(&vault, &worker, || changes.recv_timeout(PATIENCE).is_ok())
}

fn source(vault: &Path, index: &Path) -> Result<Source, Failure> {
    Ok(Source {
        files: Some(Arc::new(Trees::alone(Arc::new(Root::open(vault)?)))),
        reads: Reads::Notes,
        faults: Vec::new(),
        documents: Some(Arc::new(Documents::open(&index.join("documents.redb"), PUSHED)?)),
        private: Vec::new(),
        folder: index.join("index"),
        watch: WatchMode::Events,
        now_ms,
    })
}

/// Searches for one to three words of the vault's own.
fn searches(worker: &Worker) -> Result<(), Failure> {
    let serving = worker.shared().serving();
    let names: Vec<String> = serving.catalog().entries().map(|(_, entry)| entry.name.clone()).step_by(37).collect();
    let mut times = Vec::new();
    let (mut hits, mut asked) = (0, 0);
    while asked < SEARCHES {
        for name in &names {
            let Some((_, text)) = serving.words.document(name)? else { continue };
            let words: Vec<&str> = text
                .split_whitespace()
                .filter(|word| word.chars().all(char::is_alphanumeric))
                .skip(20 + asked % 50)
                .collect();
            let query: String = words.iter().take(1 + asked % 3).copied().collect::<Vec<_>>().join(" ");
            if query.is_empty() || query.contains("OR") {
                asked += 1;
                continue;
            }
            let began = Instant::now();
            let request = Request {
                query: &query,
                mode: Mode::Keyword,
                matching: Matching::Any,
                limit: 10,
                privacy: Privacy::Open,
            };
            hits += search(&serving, Err(String::new()), request)?.hits.len();
            times.push(began.elapsed());
            asked += 1;
        }
    }
    times.sort();
    let at = |share: usize| times[(times.len() * share / 100).min(times.len() - 1)].as_secs_f64() * 1000.0;
    println!("keyword search p50 {:.2} ms, p95 {:.2} ms, {} searches, {hits} hits", at(50), at(95), times.len());
    Ok(())
}

fn saves(vault: &Path, worker: &Worker, wait: impl Fn() -> bool) -> Result<(), Failure> {
    let mut times = Vec::new();
    for save in 0..SAVES {
        let word = format!("savedword{save}x");
        let began = Instant::now();
        fs::write(vault.join("Saved.md"), format!("# Saved\n\n{word}\n"))?;
        loop {
            let request = Request {
                query: &word,
                mode: Mode::Keyword,
                matching: Matching::All,
                limit: 1,
                privacy: Privacy::Open,
            };
            if !search(&worker.shared().serving(), Err(String::new()), request)?.hits.is_empty() {
                break;
            }
            if !wait() {
                return Err("a saved note was not found".into());
            }
        }
        times.push(began.elapsed());
    }
    times.sort();
    let ms = |time: Duration| time.as_secs_f64() * 1000.0;
    println!("saved to searchable median {:.0} ms, longest {:.0} ms", ms(times[SAVES / 2]), ms(times[SAVES - 1]));
    fs::remove_file(vault.join("Saved.md"))?;
    Ok(())
}

/// A figure of the kernel about this process, in MB.
fn memory(name: &str) -> Result<u64, Failure> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with(name)).ok_or("the kernel does not say")?;
    let kilobytes: u64 = line.split_whitespace().nth(1).ok_or("no figure")?.parse()?;
    Ok(kilobytes / 1_000)
}

fn size(folder: &Path) -> Result<u64, Failure> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        bytes += if entry.file_type()?.is_dir() { size(&entry.path())? } else { entry.metadata()?.len() };
    }
    Ok(bytes)
}

#[expect(clippy::disallowed_methods, reason = "it is compared with the times of files")]
fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
