//! The benchmark: release binaries as separate processes on temporary homes on loopback, measured as their users meet
//! them. Prints one table and writes its rows as JSON lines; a missed target is shown and is no failure.
//!
//! It knows the API, the daemon's log and the files of a home, and nothing else of how the node works inside, save for
//! the view and the ledger, which it fills, and the sandbox, which it starts beside a bare bubblewrap.

mod api;
mod broker;
mod client;
mod dead;
mod failure;
#[path = "../support/fault.rs"]
#[expect(dead_code, reason = "shared with the tests, which use more of it")]
mod fault;
mod fill;
mod filters;
#[path = "../support/home.rs"]
mod home;
mod idle;
mod jobs;
mod ledger;
mod load;
mod machine;
#[path = "../support/notes.rs"]
mod notes;
mod offline;
mod peers;
#[path = "../support/port.rs"]
mod port;
mod reconnect;
mod row;
mod scale;
mod storage;
mod vault;
#[path = "../support/wait.rs"]
mod wait;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use peers::Peers;
use row::{Area, Row, Table};

/// What anything here comes to.
type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// What was typed.
struct Options {
    only: Option<Area>,
    json: Option<PathBuf>,
    bin: PathBuf,
    /// The program that runs the simulation; it has a build of its own.
    soak: PathBuf,
    /// What Rhizome is measured beside.
    peers: Option<Peers>,
}

const USAGE: &str = "bench [--only AREA] [--json FILE] [--bin RHIZOME] [--peers PROGRAMS --rad PROGRAMS [--jobs N]]";
/// Jobs that each of the peers is given at once.
const PEERS_JOBS: usize = 100;

fn main() -> ExitCode {
    let options = match options(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("{error}\nusage: {USAGE}");
            return ExitCode::from(64);
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("threads can be started");
    match runtime.block_on(measure(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn options(mut words: impl Iterator<Item = String>) -> Outcome<Options> {
    let here = std::env::current_exe()?.parent().map(Path::to_owned).ok_or("the bench has no directory")?;
    let (bin, soak) = (here.join("../rhizome"), here.join("soak"));
    let mut options = Options { only: None, json: None, bin, soak, peers: None };
    let (mut programs, mut rad, mut jobs) = (None, None, PEERS_JOBS);
    while let Some(word) = words.next() {
        let value = words.next().ok_or_else(|| format!("{word} needs a value"))?;
        match word.as_str() {
            "--only" => options.only = Some(value.parse()?),
            "--json" => options.json = Some(value.into()),
            "--bin" => options.bin = value.into(),
            "--peers" => programs = Some(PathBuf::from(value).canonicalize()?),
            "--rad" => rad = Some(PathBuf::from(value).canonicalize()?),
            "--jobs" => jobs = value.parse()?,
            _ => return Err(format!("there is no option {word}").into()),
        }
    }
    if !options.bin.is_file() {
        return Err(format!("there is no binary at {}", options.bin.display()).into());
    }
    options.peers = programs.zip(rad).map(|(programs, rad)| Peers { programs, rad, jobs });
    if options.only == Some(Area::Peers) && options.peers.is_none() {
        return Err("peers are measured by tests/bench/peers.sh, which builds them".into());
    }
    // daemons are started in their homes
    options.bin = options.bin.canonicalize()?;
    Ok(options)
}

/// Every area that is wanted; an area that cannot be measured does not keep the others from it.
async fn measure(options: &Options) -> Outcome<()> {
    let mut table = Table::new(options.json.as_deref())?;
    let mut failed = Vec::new();
    for area in Area::ALL.into_iter().filter(|area| options.only.is_none_or(|only| only == *area)) {
        let started = Instant::now();
        let mut add = |row: Row| table.add(row);
        let measured = async {
            match area {
                Area::Jobs => jobs::measure(&options.bin, &mut add).await,
                Area::Ledger => ledger::measure(&options.bin, &mut add).await,
                Area::Vault => vault::measure(&options.bin, &mut add).await,
                Area::Api => api::measure(&options.bin, &mut add).await,
                Area::Scale => scale::measure(&options.bin, &mut add).await,
                Area::Failure => failure::measure(&options.bin, &options.soak, &mut add).await,
                Area::Peers => match &options.peers {
                    Some(peers) => peers::measure(&options.bin, peers, &mut add).await,
                    None => Ok(()),
                },
                // their parts are not here yet
                Area::Llm => Ok(()),
            }
        };
        let limit = area.limit();
        let result = match tokio::time::timeout(limit, measured).await {
            Ok(result) => result,
            Err(_) => Err(format!("it was not measured within {} s", limit.as_secs()).into()),
        };
        if let Err(error) = result {
            failed.push(format!("{area}: {error}"));
        }
        eprintln!("{area}: {} s", started.elapsed().as_secs());
    }
    table.print();
    if failed.is_empty() { Ok(()) } else { Err(failed.join("\n").into()) }
}
