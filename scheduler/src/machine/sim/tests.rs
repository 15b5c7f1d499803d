//! Many seeds. `SEED=n cargo test -p rhizome-scheduler replays` runs one alone, and `SEEDS=n` more than the usual number.

mod mutants;

use super::{Run, add, run};

/// Runs seeds on all cores; a failure is printed with its schedule.
fn run_seeds(count: u64) -> Run {
    let threads = u64::try_from(std::thread::available_parallelism().map_or(1, usize::from)).expect("few");
    let parts: Vec<Run> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|first| {
                scope.spawn(move || {
                    let mut sum = Run::none();
                    for seed in (first..count).step_by(usize::try_from(threads).expect("few")) {
                        match run(seed) {
                            Ok(run) => add(&mut sum, run),
                            Err(failure) => panic!(
                                "seed {seed} fails: {}\nreplay it with SEED={seed}; a schedule that fails:\n{}",
                                failure.message,
                                failure.schedule.join("\n")
                            ),
                        }
                    }
                    sum
                })
            })
            .collect();
        workers.into_iter().map(|worker| worker.join().expect("no seed fails")).collect()
    });
    let mut sum = Run::none();
    parts.into_iter().for_each(|part| add(&mut sum, part));
    sum
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a person may ask for another number of seeds")]
fn no_seed_breaks_a_promise() {
    // P1 to P6 at every step of many worlds, and an end to everything after the heal
    let seeds = std::env::var("SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(1_000);
    let sum = run_seeds(seeds);
    eprintln!("{seeds} runs, {} steps each: {:?}", sum.steps / seeds, sum.counts);
    assert!(sum.steps / seeds >= 300, "a run has {} steps", sum.steps / seeds);
    for what in [
        "re-grant after expiry",
        "late done",
        "hand-over",
        "takeover",
        "restart in mid-lease",
        "lost confirmation",
        "archive then return",
        "start by rank",
        "hand-over shown",
        "state lost",
        "disk full",
        "trusted no more",
    ] {
        let count = sum.counts.get(what).copied().unwrap_or(0);
        assert!(count * 20_000 >= 500 * seeds, "{what} happened {count} times in {seeds} runs");
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a person replays a seed")]
fn a_seed_replays() {
    // the same seed takes the same course
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(7);
    let (first, second) = (run(seed), run(seed));
    if let Err(failure) = &first {
        eprintln!("{}\n{}", failure.message, failure.schedule.join("\n"));
    }
    assert!(first.is_ok());
    assert_eq!(first, second);
}
