//! Jobs that fill a ledger, as their nodes would have signed them: real objects in the storage of a home whose daemon is
//! down, by the writer that the daemon uses.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::process::Command;
use std::sync::mpsc::channel;
use std::time::{SystemTime, UNIX_EPOCH};

use tempfile::TempDir;

use cobs::JOB_VERSION;
use cobs::adapter::archive::ARCHIVE_JOBS_MAX;
use cobs::adapter::profile::{NodeHome, Unlock};
use cobs::adapter::writer::{Draft, Operation, Urgency, Writer, WriterConfig, WriterHandle, Written, nobody};
use cobs::digest::{Blob, Digest};
use cobs::id::{Epoch, JobId, NodeId, RepoId, Seq, Term};
use cobs::job::action::{Action, Create, Digests, Done, GrantKind, RootGrant, Settle};
use cobs::job::outcome::{RunOutcome, Settlement};
use cobs::job::spec::{Mode, Spec};
use node::archive::LIVE_MANY;

use crate::Outcome;
use crate::machine::Machine;

/// A label that no machine has: a job that asks for it waits.
const NOWHERE: &str = "nowhere";
/// The lease of grants in the roots; all of them are over.
const LEASE_MS: u64 = 30_000;

/// A ledger in the storage of one home, the author's, and two nodes that write to it.
pub struct Fill {
    ledger: RepoId,
    repository: PathBuf,
    author: WriterHandle,
    worker: WriterHandle,
    /// Finished jobs with a live reference, oldest first.
    live: VecDeque<JobId>,
    /// What tells the roots of this filling apart from all others.
    nonce: u128,
    /// Where the worker's writer has its lock, since it is not in its own home.
    _lock: TempDir,
}

impl Fill {
    /// Opens the home of the author, where the worker writes too; nobody else uses it meanwhile.
    pub fn open(author_home: &Machine, worker_home: &Machine, ledger: RepoId) -> Outcome<Self> {
        let lock = tempfile::tempdir()?;
        let (home, guest) = (home(author_home)?, home(worker_home)?);
        let storage = home.storage.clone();
        let same = home.public_key == guest.public_key;
        let spawn = |signer, home| {
            let config = WriterConfig { storage: storage.clone(), signer, home, passed: nobody };
            Writer::spawn(config, Box::new(|_, _| {}), Box::new(|_| {}))
        };
        let author = spawn(home.signer.clone(), home.home.path().to_owned())?;
        // a node has one writer
        let worker = if same { author.clone() } else { spawn(guest.signer, lock.path().to_owned())? };
        let nonce = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos();
        let repository = author_home.repository(ledger);
        Ok(Self { ledger, repository, author, worker, live: VecDeque::new(), nonce, _lock: lock })
    }

    /// Jobs that ran on the worker and are settled, so many at once under one signature; those that a node would have
    /// archived by then are.
    pub fn finished(&mut self, jobs: usize, at_once: usize) -> Outcome<()> {
        for first in (0..jobs).step_by(at_once) {
            let node = self.worker.node();
            let grant = RootGrant { node, kind: GrantKind::Leased, lease_ms: LEASE_MS };
            let creates = (first..jobs.min(first + at_once)).map(|_| self.create(Some(grant))).collect();
            let created: Vec<JobId> = write(&self.author, creates)?.iter().map(|operation| operation.job).collect();
            let dones = created.iter().map(|job| self.append(*job, done(*job))).collect();
            let reports = write(&self.worker, dones)?;
            let settles = reports.iter().map(|report| self.append(report.job, settle(report))).collect();
            write(&self.author, settles)?;
            self.live.extend(created);
            self.archive()?;
        }
        Ok(())
    }

    /// Jobs that wait for a machine that there is not.
    pub fn waiting(&mut self, jobs: usize, at_once: usize) -> Outcome<()> {
        for first in (0..jobs).step_by(at_once) {
            let creates = (first..jobs.min(first + at_once)).map(|_| self.create(None)).collect();
            write(&self.author, creates)?;
        }
        Ok(())
    }

    /// Brings all of it into the storage of another home that nobody uses meanwhile, as replication would have.
    pub fn replicate(&self, to: &Machine) -> Outcome<()> {
        let mut command = Command::new("git");
        command.arg("-C").arg(to.repository(self.ledger)).args(["fetch", "--quiet", "--no-tags"]).arg(&self.repository);
        for node in self.workers() {
            for name in ["cobs/io.rhizome.job/*", "rhizome/*", "rad/sigrefs"] {
                let name = format!("refs/namespaces/{node}/refs/{name}");
                command.arg(format!("+{name}:{name}"));
            }
        }
        let output = command.output()?;
        if output.status.success() {
            return Ok(());
        }
        Err(format!("git fetch: {}", String::from_utf8_lossy(&output.stderr)).into())
    }

    /// Ends both writers; the homes are free.
    pub fn close(self) {
        self.author.stop();
        self.worker.stop();
    }

    fn create(&mut self, grant: Option<RootGrant>) -> Draft {
        self.nonce += 1;
        let number = self.nonce % 10_000;
        let words = ["cargo", "test", "--offline", "--package", &format!("number-{number}"), "--", "--nocapture"];
        let mut spec = Spec::command(words.map(str::to_owned).to_vec());
        spec.submitted_by = Some("owner".to_owned());
        if grant.is_none() {
            spec.requirements.labels.insert(NOWHERE.to_owned());
        }
        let create = Create {
            version: JOB_VERSION,
            spec,
            nonce: format!("{:032x}", self.nonce),
            queue: "default".to_owned(),
            mode: Mode::Exclusive,
            arbiters: vec![self.author.node()],
            workers: self.workers(),
            grant,
        };
        Draft::Create { ledger: self.ledger, create: Box::new(create) }
    }

    fn workers(&self) -> Vec<NodeId> {
        let mut workers = vec![self.author.node(), self.worker.node()];
        workers.dedup();
        workers
    }

    fn append(&self, job: JobId, action: Action) -> Draft {
        Draft::Append { ledger: self.ledger, job, action, urgency: Urgency::Soon }
    }

    /// As a node does: the oldest leave, in whole batches, once there are too many.
    fn archive(&mut self) -> Outcome<()> {
        while self.live.len() > LIVE_MANY {
            let jobs: Vec<JobId> = self.live.drain(..ARCHIVE_JOBS_MAX).collect();
            for writer in [&self.author, &self.worker] {
                let draft = Draft::Archive { ledger: self.ledger, jobs: jobs.clone() };
                write_all(writer, vec![draft])?;
            }
        }
        Ok(())
    }
}

fn home(machine: &Machine) -> Outcome<NodeHome> {
    Ok(NodeHome::open(&machine.radicle(), &Unlock { environment: None, prompt: &|| None })?)
}

fn done(job: JobId) -> Action {
    // as large as one with a short log; nothing is there to be fetched
    let log = Blob { digest: Digest([7; 32]), size: 4_096 };
    Action::Done(Done {
        job,
        seq: Seq(0),
        epoch: Epoch(0),
        term: Term(1),
        outcome: RunOutcome::Exited { code: 0 },
        digests: Digests { log: Some(log), artifacts: None },
        tail: "test result: ok. 12 passed; 0 failed; 0 ignored; finished in 0.31s\n".to_owned(),
        reason: String::new(),
        duration_ms: 4_321,
    })
}

fn settle(report: &Operation) -> Action {
    let outcome = Settlement::Result { term: Term(1), done: report.tree };
    Action::Settle(Settle { job: report.job, seq: Seq(0), epoch: Epoch(0), outcome })
}

/// Writes operations, in the order given.
fn write(writer: &WriterHandle, drafts: Vec<Draft>) -> Outcome<Vec<Operation>> {
    let written = write_all(writer, drafts)?;
    written.iter().map(|written| written.operation().ok_or_else(|| "no operation was written".into())).collect()
}

/// Hands all over at once, so that the writer signs as many together as it takes, and waits for all.
fn write_all(writer: &WriterHandle, drafts: Vec<Draft>) -> Outcome<Vec<Written>> {
    let (sender, receiver) = channel();
    for (index, draft) in drafts.into_iter().enumerate() {
        let sender = sender.clone();
        // it is received below
        writer.submit(draft, Box::new(move |result| drop(sender.send((index, result)))));
    }
    drop(sender);
    let mut written: Vec<_> = receiver.iter().collect();
    written.sort_by_key(|(index, _)| *index);
    written.into_iter().map(|(_, result)| Ok(result?)).collect()
}
