//! Runs the simulation of the claim machine for as long as wanted, on all cores, from a seed on; stops at the first seed
//! that breaks a promise and prints a short schedule that does.
//!
//!     cargo run -p rhizome-scheduler --example soak -- --minutes 60 --seed 1000000

#![expect(clippy::disallowed_methods, reason = "a program of its own reads its arguments and the time")]

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use scheduler::machine::sim::{Failure, Run, add, run};

const USAGE: &str = "usage: soak --minutes N [--seed S]; both are whole numbers";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((minutes, first)) = parse(&arguments) else {
        eprintln!("{USAGE}");
        return ExitCode::from(64);
    };
    // what fails is told once, at the end
    std::panic::set_hook(Box::new(|_| {}));
    let (sum, failure, seeds, took) = soak(Duration::from_secs(minutes * 60), first);
    for (what, count) in &sum.counts {
        println!("{count:>12}  {what}");
    }
    let rate = sum.steps / took.as_secs().max(1);
    println!("{seeds} runs from seed {first} in {} s, {} steps, {rate} steps a second", took.as_secs(), sum.steps);
    match failure {
        None => ExitCode::SUCCESS,
        Some(failure) => {
            println!("seed {} breaks a promise: {}", failure.seed, failure.message);
            println!("a schedule that does:\n{}", failure.schedule.join("\n"));
            ExitCode::FAILURE
        }
    }
}

/// Minutes and the first seed.
fn parse(arguments: &[String]) -> Option<(u64, u64)> {
    let (mut minutes, mut seed) = (None, 0);
    for pair in arguments.chunks(2) {
        let [name, value] = pair else { return None };
        match name.as_str() {
            "--minutes" => minutes = Some(value.parse().ok()?),
            "--seed" => seed = value.parse().ok()?,
            _ => return None,
        }
    }
    Some((minutes?, seed))
}

fn soak(lasts: Duration, first: u64) -> (Run, Option<Failure>, u64, Duration) {
    let started = Instant::now();
    let (next, stop) = (AtomicU64::new(first), AtomicBool::new(false));
    let all = Mutex::new((Run::none(), None));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while started.elapsed() < lasts && !stop.load(Ordering::Relaxed) {
                    let result = run(next.fetch_add(1, Ordering::Relaxed));
                    let mut all = all.lock().expect("no thread fails while it adds up");
                    match result {
                        Ok(run) => add(&mut all.0, run),
                        Err(failure) => {
                            stop.store(true, Ordering::Relaxed);
                            all.1.get_or_insert(failure);
                        }
                    }
                }
            });
        }
    });
    let (sum, failure) = all.into_inner().expect("no thread fails while it adds up");
    (sum, failure, next.into_inner() - first, started.elapsed())
}
