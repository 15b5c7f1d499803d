//! What is to happen in one run, drawn from its seed before it begins: the nodes, how bad the world is, and a schedule.

use std::collections::BTreeSet;

use cobs::id::{JobId, NodeId};
use cobs::job::action::{Action, GrantKind, RootGrant};
use cobs::job::spec::{Mode, Retry, RetryPlace};

use super::common::{Random, create, job_id, node};
use super::occur::Occur;
use super::random_of;
use crate::machine::{Millis, Settings};

/// True time at which the world is healed.
pub const HEALED: u64 = 60_000;
/// True time at which delegates replace the arbiters that have left for good.
pub const REPLACED: u64 = HEALED + 120_000;
/// True time at which what only those could end who have left is cancelled once more.
pub const LATE: u64 = REPLACED + 800_000;
/// By then every job is settled.
pub const END: u64 = REPLACED + 1_000_000;
/// Most nodes of a run.
const NODES_MAX: u64 = 12;

/// How bad the world is, in percent and true milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Faults {
    pub loss: u64,
    pub duplicate: u64,
    pub link_delay_max: u64,
    pub replication_delay_max: u64,
    /// An announcement that is lost is made up for by the next one of its author, or by the next meeting.
    pub announcement_loss: u64,
    pub sign_fails: u64,
    pub prepare_fails: u64,
    pub hangs: u64,
    /// Nothing of what follows happens: links work, everyone stays up.
    pub calm: bool,
}

/// A node before it starts.
#[derive(Clone, Copy, Debug)]
pub struct Member {
    pub id: NodeId,
    pub offset: u64,
    pub rate_permille: u64,
    pub slots: u32,
    pub settings: Settings,
    pub joins_at: u64,
    /// From then on it is gone for good.
    pub leaves_at: Option<u64>,
}

/// One run.
#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    pub faults: Faults,
    pub members: Vec<Member>,
    pub delegates: BTreeSet<NodeId>,
    pub schedule: Vec<(u64, Occur)>,
}

impl Plan {
    /// The plan of a seed.
    pub fn new(seed: u64) -> Self {
        let mut random = random_of(seed, 1);
        let faults = faults(&mut random);
        // mostly few: what two or three cannot get wrong, twelve seldom do
        let count = if random.percent(85) { random.between(1, 5) } else { random.between(6, NODES_MAX) };
        let mut members: Vec<Member> = (1..=count).map(|number| member(number, &mut random)).collect();
        if !faults.calm && members.len() > 1 {
            let last = members.len() - 1;
            if random.percent(15) {
                members[last].joins_at = random.between(1_000, 30_000);
            }
            if random.percent(20) {
                let leaver = random.index(members.len());
                members[leaver].leaves_at = Some(random.between(5_000, HEALED - 1));
            }
        }
        let stay = members.iter().filter(|member| member.leaves_at.is_none());
        let delegates = stay.map(|member| member.id).take(1 + random.index(2)).collect();
        let mut plan = Self { seed, faults, members, delegates, schedule: Vec::new() };
        plan.jobs(&mut random);
        if !plan.faults.calm {
            plan.mishaps(&mut random);
        }
        plan.schedule.sort_by_key(|(at, _)| *at);
        plan
    }

    /// The schedule, for people.
    pub fn lines(&self) -> Vec<String> {
        let members = self.members.iter().map(|member| {
            let (slots, lease) = (member.slots, member.settings.lease.0);
            format!("{:>8} ms  {} joins: {slots} slots, lease {lease} ms, {member:?}", member.joins_at, member.id)
        });
        let planned = self.schedule.iter().map(|(at, occur)| format!("{at:>8} ms  {occur:?}"));
        std::iter::once(format!("{:?}", self.faults)).chain(members).chain(planned).collect()
    }

    fn ids(&self) -> Vec<NodeId> {
        self.members.iter().map(|member| member.id).collect()
    }

    fn add(&mut self, at: u64, occur: Occur) {
        self.schedule.push((at, occur));
    }

    fn jobs(&mut self, random: &mut Random) {
        let ids = self.ids();
        let mut earlier = Vec::new();
        for number in 0..random.between(1, 6) {
            let (job, author) = (job_id(number), ids[random.index(ids.len())]);
            let root = root(&ids, author, &earlier, random);
            earlier.push((job, author));
            let at = random.between(10, 25_000);
            self.add(at, Occur::Submit { job, author, root });
            if random.percent(20) {
                self.add(at + random.between(0, 20_000), Occur::Cancel { job });
            }
            if random.percent(15) {
                let node = ids[random.index(ids.len())];
                self.add(at + random.between(0, 10_000), Occur::Evict { node, job });
            }
            if random.percent(30) {
                self.add(at + random.between(0, 20_000), Occur::HandOver { job });
            }
            if !self.faults.calm && random.percent(30) {
                self.add(at + random.between(2_000, 30_000), Occur::TakeOver { job });
            }
        }
        for _ in 0..random.between(0, 3) {
            self.add(random.between(5_000, HEALED), Occur::Archive { node: ids[random.index(ids.len())] });
        }
    }

    fn mishaps(&mut self, random: &mut Random) {
        let ids = self.ids();
        let any = |random: &mut Random| ids[random.index(ids.len())];
        for _ in 0..random.between(0, 8) {
            let at = random.between(100, HEALED - 1);
            let node = any(random);
            self.add(at, if random.percent(25) { Occur::PowerLoss { node } } else { Occur::Crash { node } });
        }
        for _ in 0..random.between(0, 3) {
            self.add(random.between(100, 40_000), Occur::Sever);
            self.add(random.between(100, 50_000), Occur::SupervisorDies);
            self.add(random.between(100, 40_000), Occur::Usurp);
        }
        for _ in 0..random.between(0, 2) {
            let (node, of, at) = (any(random), any(random), random.between(100, HEALED - 1));
            if random.percent(30) {
                self.add(at, Occur::LoseState { node });
            }
            if random.percent(50) {
                self.add(random.between(100, 40_000), Occur::Full { node, lasts: random.between(500, 20_000) });
            }
            if random.percent(50) && node != of {
                self.add(at, Occur::Distrust { node, of });
                self.add(at + random.between(500, 40_000), Occur::Trust { node, of });
            }
        }
        for _ in 0..random.between(0, 6) {
            let (from, to) = (any(random), any(random));
            let (at, lasts) = (random.between(100, HEALED - 1), random.between(100, 40_000));
            let which = [Occur::CUT_BOTH, Occur::CUT_LINK, Occur::CUT_REPLICATION][random.index(3)];
            let one_way = random.percent(25);
            for (a, b) in [(from, to), (to, from)].into_iter().take(if one_way { 1 } else { 2 }) {
                self.add(at, Occur::Cut { from: a, to: b, what: which });
                self.add(at + lasts, Occur::Heal { from: a, to: b });
            }
        }
        for _ in 0..random.between(0, 30) {
            let from = if random.percent(50) { node(99) } else { any(random) };
            let (at, to) = (random.between(100, HEALED - 1), any(random));
            self.add(at, if random.percent(60) { Occur::Lie { from, to } } else { Occur::Forge { author: from } });
        }
    }
}

fn faults(random: &mut Random) -> Faults {
    let calm = random.percent(20);
    Faults {
        loss: if calm { 0 } else { random.between(0, 40) },
        duplicate: random.between(0, 30),
        link_delay_max: if calm { 60 } else { [20, 200, 3_000][random.index(3)] },
        replication_delay_max: [200, 2_000, 25_000][random.index(3)],
        announcement_loss: random.between(0, 20),
        sign_fails: if calm { 0 } else { random.between(0, 20) },
        prepare_fails: random.between(0, 15),
        hangs: random.between(0, 8),
        calm,
    }
}

fn member(number: u64, random: &mut Random) -> Member {
    let settings = Settings {
        lease: Millis(random.between(1_000, 8_000)),
        grant_wait: Millis(random.between(1_200, 4_000)),
        bid_again: Millis(4_000),
        cancel_wait: Millis(3_000),
        stop_grace: Millis(1_000),
        hold_off: Millis(random.between(2_000, 6_000)),
        ..Settings::default()
    };
    Member {
        id: node(u8::try_from(number).expect("a small number")),
        offset: random.between(0, 1_000_000_000),
        rate_permille: [1000, 1200, random.between(1000, 1200)][random.index(3)],
        slots: u32::try_from(random.between(1, 3)).expect("a small number"),
        settings,
        joins_at: 0,
        leaves_at: None,
    }
}

fn root(ids: &[NodeId], author: NodeId, earlier: &[(JobId, NodeId)], random: &mut Random) -> Action {
    let first = if random.percent(60) { author } else { ids[random.index(ids.len())] };
    let mut arbiters = vec![first];
    arbiters.extend(ids.iter().copied().filter(|id| *id != first && random.percent(40)).take(7));
    let mut workers: Vec<NodeId> = ids.iter().copied().filter(|_| random.percent(60)).collect();
    if workers.is_empty() {
        workers.push(ids[random.index(ids.len())]);
    }
    let node = workers[random.index(workers.len())];
    let kind = if node == first && random.percent(70) { GrantKind::Held } else { GrantKind::Leased };
    let grant = RootGrant { node, kind, lease_ms: random.between(1_000, 6_000) };
    let mut content = create(&arbiters, &workers, (first == author && random.percent(50)).then_some(grant));
    if random.percent(20) {
        content.mode = Mode::Idempotent;
    }
    let spec = &mut content.spec;
    spec.priority = i32::try_from(random.between(0, 2)).expect("a small number");
    spec.start_within_ms = random.percent(15).then(|| random.between(500, 20_000));
    spec.held_allowed = random.percent(10);
    if random.percent(50) {
        spec.attempts = u32::try_from(random.between(2, 4)).expect("a small number");
        spec.retry = random.percent(60).then(|| Retry {
            place: [RetryPlace::Any, RetryPlace::SameNode, RetryPlace::OtherNode][random.index(3)],
            backoff_ms: random.between(0, 3_000),
            backoff_max_ms: random.between(0, 5_000),
            exit_codes: if random.percent(30) { [1].into() } else { BTreeSet::new() },
        });
    }
    if random.percent(15) {
        spec.supersedes = earlier.iter().filter(|(_, by)| *by == author).map(|(job, _)| *job).collect();
    }
    Action::Create(Box::new(content))
}
