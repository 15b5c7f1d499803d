//! Seeded runs of small worlds. A failing seed is printed; `SEED=n cargo test -p rhizome-scheduler replays`
//! runs it alone, and `SEEDS=n` runs more than the usual number.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use cobs::id::{JobId, NodeId};
use cobs::job::action::{Action, GrantKind, RootGrant};
use cobs::job::state::Status;

use super::common::{Random, create, job_id, node};
use super::world::{Faults, Occur, World};

/// True time at which the world is healed.
const HEALED: u64 = 90_000;
/// By then every job is settled.
const END: u64 = HEALED + 400_000;

fn faults(random: &mut Random) -> Faults {
    let calm = random.percent(20);
    let most = |random: &mut Random, most| if calm { 0 } else { random.between(0, most) };
    Faults {
        loss: most(random, 40),
        duplicate: random.between(0, 30),
        link_delay_max: if calm { 60 } else { [20, 200, 3_000][random.index(3)] },
        replication_delay_max: [200, 2_000, 25_000][random.index(3)],
        sign_fails: random.between(0, 20),
        prepare_fails: random.between(0, 15),
        crashes: most(random, 8),
        partitions: most(random, 6),
        lies: random.between(0, 40),
    }
}

fn root(world: &mut World, author: NodeId, earlier: &[(JobId, NodeId)]) -> Action {
    let ids = world.ids();
    let random = &mut world.random;
    let first = if random.percent(60) { author } else { ids[random.index(ids.len())] };
    let mut arbiters = vec![first];
    arbiters.extend(ids.iter().copied().filter(|id| *id != first && random.percent(30)));
    let mut workers: Vec<NodeId> = ids.iter().copied().filter(|_| random.percent(60)).collect();
    if workers.is_empty() {
        workers.push(ids[random.index(ids.len())]);
    }
    let node = workers[random.index(workers.len())];
    let kind = if node == first && random.percent(70) { GrantKind::Held } else { GrantKind::Leased };
    let grant = RootGrant { node, kind, lease_ms: random.between(1_000, 6_000) };
    let mut content = create(&arbiters, &workers, (first == author && random.percent(50)).then_some(grant));
    content.spec.priority = i32::try_from(random.between(0, 2)).expect("small");
    content.spec.start_within_ms = random.percent(20).then(|| random.between(500, 20_000));
    if random.percent(15) {
        content.spec.supersedes = earlier.iter().filter(|(_, by)| *by == author).map(|(job, _)| *job).collect();
    }
    Action::Create(Box::new(content))
}

fn plan(world: &mut World) {
    let ids = world.ids();
    for id in &ids {
        world.at(0, Occur::Boot { node: *id });
    }
    let jobs = world.random.between(1, 8);
    let mut earlier = Vec::new();
    for number in 0..jobs {
        let job = job_id(number);
        let author = ids[world.random.index(ids.len())];
        let root = root(world, author, &earlier);
        earlier.push((job, author));
        let at = world.random.between(10, 30_000);
        world.at(at, Occur::Submit { job, author, root });
        if world.random.percent(25) {
            let later = at + world.random.between(0, 20_000);
            world.at(later, Occur::Cancel { job });
        }
        if world.random.percent(15) {
            let node = ids[world.random.index(ids.len())];
            let later = at + world.random.between(0, 10_000);
            world.at(later, Occur::Evict { node, job });
        }
    }
    for _ in 0..world.faults.crashes {
        let node = ids[world.random.index(ids.len())];
        let at = world.random.between(100, HEALED - 1);
        world.at(at, Occur::Crash { node });
        if world.faults.partitions > 0 {
            let at = world.random.between(100, 40_000);
            world.at(at, Occur::Sever);
        }
    }
    for _ in 0..world.faults.partitions {
        let (a, b) = (ids[world.random.index(ids.len())], ids[world.random.index(ids.len())]);
        let at = world.random.between(100, HEALED - 1);
        let lasts = world.random.between(100, 40_000);
        world.at(at, Occur::Cut { a, b });
        world.at(at + lasts, Occur::Heal { a, b });
    }
    for _ in 0..world.faults.lies {
        let from = if world.random.percent(50) { node(99) } else { ids[world.random.index(ids.len())] };
        let to = ids[world.random.index(ids.len())];
        let at = world.random.between(100, HEALED - 1);
        world.at(at, Occur::Lie { from, to });
    }
}

/// One seed is one run.
fn run(seed: u64) -> BTreeMap<&'static str, u32> {
    let mut random = Random::new(seed ^ 0x5eed);
    let faults = faults(&mut random);
    let nodes = u8::try_from(random.between(2, 4)).expect("small");
    let mut world = World::new(seed, faults, nodes);
    plan(&mut world);
    world.run_until(HEALED);
    world.faults = Faults { loss: 0, sign_fails: 0, partitions: 1, ..faults };
    let ids = world.ids();
    for a in &ids {
        for b in &ids {
            world.at(HEALED, Occur::Heal { a: *a, b: *b });
        }
    }
    world.run_until(END);
    check_end(&world);
    world.seen
}

/// Everything is settled, the same everywhere, and nothing is left in memory or running.
fn check_end(world: &World) {
    for id in world.ids() {
        let machine = world.nodes[&id].machine.as_ref().expect("it is up");
        for job in world.jobs() {
            let state = world.evaluate(id, job).expect("it arrived");
            let why = machine.waits_for(job);
            assert_eq!(state.status(), Status::Settled, "{job:?} on {id}: {why:?}\n{state:#?}");
            assert!(state.ignored.is_empty(), "operations that mean nothing: {:?}", state.ignored);
            for (token, grant) in &state.grants {
                let known = state.dones.contains_key(token) || world.settled.contains_key(&job);
                assert!(known, "the grant {token} to {} is lost", grant.node);
            }
        }
        assert_eq!(machine.slots_used(), 0, "slots are free again");
        assert!(world.nodes[&id].live.is_empty(), "nothing runs");
        assert_eq!(machine.memory(), (0, 0), "entries and unanswered renewals of {id} are let go");
        let clock = world.nodes[&id].clock(world.now);
        assert_eq!(machine.next_wake(clock), None, "nothing is left to do on {id}");
    }
}

fn run_seeds(seeds: std::ops::Range<u64>) -> BTreeMap<&'static str, u32> {
    let mut seen = BTreeMap::new();
    for seed in seeds {
        match catch_unwind(AssertUnwindSafe(|| run(seed))) {
            Ok(counts) => counts.into_iter().for_each(|(what, count)| *seen.entry(what).or_default() += count),
            Err(panic) => {
                eprintln!("seed {seed} fails; replay it with SEED={seed}");
                resume_unwind(panic);
            }
        }
    }
    seen
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a person may ask for more seeds")]
fn no_seed_breaks_a_promise() {
    // many small worlds: never two runs of an exclusive job, one settle for each, nothing lost, stuck or left over
    let seeds = std::env::var("SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(1_000);
    let seen = run_seeds(0..seeds);
    eprintln!("{seen:?}");
    for what in ["start", "note", "lost", "killed at the deadline", "adopted", "cancel", "crash", "cut", "stop"] {
        assert!(seen.contains_key(what), "no run had a {what}: {seen:?}");
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a person replays a seed")]
fn a_seed_replays() {
    // the same seed takes the same course; SEED=n replays a failure
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(7);
    assert_eq!(run(seed), run(seed));
}
