//! Ids, specs, capacities and random numbers of the simulated world.
#![expect(missing_docs, reason = "the names say it; nobody else uses them")]

use std::collections::{BTreeMap, BTreeSet};

use cobs::id::{JobId, NodeId, Oid, RevisionId, TreeId};
use cobs::job::action::{Action, Create, RootGrant};
use cobs::job::fold::Identity;
use cobs::job::history::{Content, Op, OpId};
use cobs::job::spec::{Mode, RunnerKind, Spec};

use crate::capacity::{Capacity, Gpus, RunnerCapability};

/// A seeded generator (splitmix64), so that one number is one run.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.draw() % (high - low + 1)
    }

    pub fn percent(&mut self, chance: u64) -> bool {
        self.draw() % 100 < chance
    }

    pub fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.draw() % len as u64).expect("an index")
    }
}

pub fn node(number: u8) -> NodeId {
    NodeId::from([number; 32])
}

fn oid(kind: u8, number: u64) -> Oid {
    let mut bytes = [kind; 20];
    bytes[12..].copy_from_slice(&number.to_be_bytes());
    Oid::from_sha1(bytes)
}

pub fn job_id(number: u64) -> JobId {
    JobId(oid(1, number))
}

pub fn tree(number: u64) -> TreeId {
    TreeId(oid(2, number))
}

pub fn revision() -> RevisionId {
    RevisionId(oid(3, 0))
}

pub fn identity(delegates: &[NodeId]) -> Identity {
    Identity { accepted: vec![(revision(), delegates.iter().copied().collect())] }
}

pub fn create(arbiters: &[NodeId], workers: &[NodeId], grant: Option<RootGrant>) -> Create {
    Create {
        version: cobs::JOB_VERSION,
        spec: Spec::command(vec!["true".into()]),
        nonce: "0".repeat(32),
        queue: "default".into(),
        mode: Mode::Exclusive,
        arbiters: arbiters.to_vec(),
        workers: workers.to_vec(),
        grant,
    }
}

pub fn op(author: NodeId, number: u64, action: Action) -> Op {
    Op { id: OpId { author, tree: tree(number) }, pin: Some(revision()), content: Content::Action(action) }
}

pub fn capacity(node: NodeId, slots: u32) -> Capacity {
    Capacity {
        node,
        alias: "test".into(),
        protocol: cobs::PROTOCOL_VERSION,
        architecture: "x86_64".into(),
        system: "linux".into(),
        labels: BTreeSet::new(),
        queues: BTreeSet::from(["default".to_owned()]),
        runners: BTreeMap::from([(RunnerKind::Sandbox, RunnerCapability::default())]),
        directories: BTreeSet::new(),
        cpu_milli: 4000,
        load_milli: 100,
        memory_bytes: 8 << 30,
        memory_free_bytes: 4 << 30,
        disk_free_bytes: 64 << 30,
        slots,
        slots_used: 0,
        gpus: Gpus::None,
        on_battery: false,
    }
}
