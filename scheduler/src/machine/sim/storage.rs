//! What the nodes of the world have stored: an append-only log of each author, of which every node has a beginning, and
//! single operations that came over the link.

use std::collections::BTreeSet;
use std::sync::Arc;

use cobs::id::{Epoch, JobId, NodeId};
use cobs::job::action::Action;
use cobs::job::history::{Content, History, Op};
use cobs::job::state::{HandOver, Job};

use super::common::op;
use super::occur::Occur;
use super::world::{Node, World};
use crate::machine::mutation::{self, Mutation};
use crate::machine::wire::{Answer, Message};

/// From one try to fetch to the next.
const FETCH_AGAIN: u64 = 700;

impl World {
    /// Stores an operation of `author` and sends it on its way to everyone.
    pub fn append(&mut self, author: NodeId, job: JobId, action: Action) {
        let log = self.logs.entry(author).or_default();
        let seq = log.iter().filter(|(of, _)| *of == job).count();
        self.ops += 1;
        // tree ids in no order of time
        let tree = self.ops.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let action = action.with_seq(cobs::id::Seq(u32::try_from(seq).expect("few")));
        self.count_written(author, job, &action);
        let log = self.logs.entry(author).or_default();
        log.push((job, op(author, tree, action)));
        self.announce(author);
    }

    /// What an author has written is on its way to everyone.
    pub fn announce(&mut self, author: NodeId) {
        let upto = self.logs[&author].len();
        if let Some(node) = self.nodes.get_mut(&author) {
            node.known.insert(author, upto);
        }
        for to in self.ids() {
            if to != author && !self.random.percent(self.faults.announcement_loss) {
                let delay = self.replication_delay();
                self.after(delay, Occur::Replicated { to, author, upto });
            }
        }
    }

    fn replication_delay(&mut self) -> u64 {
        let most = self.faults.replication_delay_max;
        if self.random.percent(70) { self.random.between(5, 150) } else { self.random.between(5, most) }
    }

    /// All that anybody has written is on its way to a node: two nodes that meet tell each other what they have.
    pub fn catch_up(&mut self, to: NodeId) {
        let logs: Vec<(NodeId, usize)> = self.logs.iter().map(|(author, log)| (*author, log.len())).collect();
        for (author, upto) in logs {
            if self.nodes[&to].known.get(&author).copied().unwrap_or(0) >= upto {
                continue;
            }
            let delay = self.replication_delay();
            self.after(delay, Occur::Replicated { to, author, upto });
        }
    }

    /// Arrives from whoever has it and can be reached; tried again otherwise.
    pub fn replicated(&mut self, to: NodeId, author: NodeId, upto: usize) {
        let has = |node: &Node| node.known.get(&author).is_some_and(|known| *known >= upto);
        if self.nodes[&to].gone || has(&self.nodes[&to]) {
            return;
        }
        // an outsider is heard by whoever listens
        let from_outside = !self.nodes.contains_key(&author);
        let source = self.nodes.values().any(|node| node.id != to && has(node) && self.replicates(node.id, to));
        if !source && !from_outside {
            // what only those had who left is lost with them
            let stay = self.nodes.values().filter(|node| !node.gone);
            let left = stay.filter_map(|node| node.known.get(&author)).max().copied().unwrap_or(0);
            let upto = if self.nodes[&author].gone { upto.min(left) } else { upto };
            self.after(FETCH_AGAIN, Occur::Replicated { to, author, upto });
            return;
        }
        self.learn(to, author, upto);
    }

    /// A node has the beginning of an author's log from now on.
    pub fn learn(&mut self, to: NodeId, author: NodeId, upto: usize) {
        let node = self.nodes.get_mut(&to).expect("a node");
        let before = node.known.get(&author).copied().unwrap_or(0);
        if before >= upto {
            return;
        }
        node.known.insert(author, upto);
        let jobs: BTreeSet<JobId> = self.logs[&author][before..upto].iter().map(|(job, _)| *job).collect();
        node.untold.extend(&jobs);
        for job in jobs {
            self.count_returned(to, job);
            self.nodes.get_mut(&to).expect("a node").untold.remove(&job);
            self.tell_job(to, job);
        }
    }

    /// The job as a node knows it, from its storage and over the link; none while its root is not there.
    pub fn evaluate(&self, at: NodeId, job: JobId) -> Option<Arc<Job>> {
        self.evaluate_with(at, job, &self.nodes[&at].shown)
    }

    /// The job as a node's storage tells it.
    pub fn evaluate_stored(&self, at: NodeId, job: JobId) -> Option<Arc<Job>> {
        self.evaluate_with(at, job, &BTreeSet::new())
    }

    fn evaluate_with(&self, at: NodeId, job: JobId, shown: &BTreeSet<(NodeId, usize)>) -> Option<Arc<Job>> {
        let node = &self.nodes[&at];
        let known = |author: &NodeId| node.known.get(author).copied().unwrap_or(0);
        let here = |author: &NodeId| {
            let (upto, author) = (known(author), *author);
            let is_here = move |index: &usize| *index < upto || shown.contains(&(author, *index));
            self.logs[&author].iter().enumerate().filter(move |(index, (of, _))| *of == job && is_here(index))
        };
        let key: Vec<(NodeId, usize)> =
            self.logs.keys().flat_map(|author| here(author).map(|(index, _)| (*author, index))).collect();
        if let Some(known) = self.evaluated.borrow().get(&(job, key.clone())) {
            return known.clone();
        }
        let mut all: Vec<Op> =
            self.logs.keys().flat_map(|author| here(author).map(|(_, (_, op))| op.clone())).collect();
        // a root counts only in its author's own log, so a copy in another's does not
        let own = |op: &Op| {
            let here =
                self.logs.get(&op.id.author).is_some_and(|log| log.iter().any(|(of, other)| *of == job && other == op));
            here || mutation::is_on(Mutation::AcceptsCopiedRoots)
        };
        let is_root = |op: &Op| matches!(&op.content, Content::Action(Action::Create(_))) && own(op);
        let state = all.iter().position(is_root).map(|root| {
            let root = all.remove(root);
            let mut history = History::new(job, root);
            all.into_iter().for_each(|op| history.insert(op));
            Arc::new(history.evaluate(&self.identity).expect("a good root"))
        });
        self.evaluated.borrow_mut().insert((job, key), state.clone());
        state
    }

    /// With a message goes the operation that opened a newer epoch than the receiver knows, where the message names one.
    pub fn show_epochs(&mut self, from: NodeId, to: NodeId, message: &Message) {
        let named: Vec<(JobId, Epoch)> = match message {
            Message::Renewal(renewal) => renewal.items.iter().map(|item| (item.job, item.epoch)).collect(),
            Message::Confirmation(confirmation) => confirmation
                .items
                .iter()
                .filter_map(|item| match item.answer {
                    Answer::HandedOver { epoch } => Some((item.job, epoch)),
                    _ => None,
                })
                .collect(),
        };
        for (job, epoch) in named {
            let (Some(theirs), Some(mine)) = (self.evaluate(to, job), self.known_to(from, job)) else { continue };
            if epoch <= theirs.arbiter().0 {
                continue;
            }
            let found: Vec<(NodeId, usize)> =
                mine.epochs.iter().filter_map(|opened| self.find_hand_over(job, opened.by.as_ref()?)).collect();
            let node = self.nodes.get_mut(&to).expect("a node");
            let before = node.shown.len();
            node.shown.extend(found);
            if node.shown.len() > before {
                self.count("hand-over shown");
                self.tell_job(to, job);
            }
        }
    }

    fn known_to(&self, node: NodeId, job: JobId) -> Option<Arc<Job>> {
        self.nodes.contains_key(&node).then(|| self.evaluate(node, job)).flatten()
    }

    fn find_hand_over(&self, job: JobId, by: &HandOver) -> Option<(NodeId, usize)> {
        let same = |op: &Op| match (&op.content, by) {
            (Content::Action(Action::StepDown(step)), HandOver::StepDown(other)) => step == other,
            (Content::Action(Action::Takeover(takeover)), HandOver::Takeover(other)) => takeover == other,
            _ => false,
        };
        self.logs.iter().find_map(|(author, log)| {
            let index = log.iter().position(|(of, op)| *of == job && same(op))?;
            Some((*author, index))
        })
    }

    /// Every job that somebody has written the root of, copies included.
    pub fn jobs(&self) -> Vec<JobId> {
        let is_root = |op: &Op| matches!(&op.content, Content::Action(Action::Create(_)));
        let roots = self.logs.values().flatten().filter(|(_, op)| is_root(op));
        let jobs: BTreeSet<JobId> = roots.map(|(job, _)| *job).collect();
        jobs.into_iter().collect()
    }

    /// A node archives what is settled: its references are fewer, and the operations count as before.
    pub fn archive(&mut self, id: NodeId) {
        let settled: Vec<JobId> = self
            .jobs()
            .into_iter()
            .filter(|job| self.evaluate(id, *job).is_some_and(|job| job.settled.is_some()))
            .collect();
        let node = self.nodes.get_mut(&id).expect("a node");
        if node.machine.is_some() {
            node.archived.extend(settled);
        }
    }

    /// An operation reaches a node of a job that it archived, or whose author did.
    fn count_returned(&mut self, to: NodeId, job: JobId) {
        if self.nodes.values().any(|node| node.archived.contains(&job)) {
            let again = self.nodes[&to].archived.contains(&job);
            self.count(if again { "news of an archived job" } else { "archive then return" });
        }
    }
}
