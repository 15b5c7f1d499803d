//! A node in memory, stricter than the real one: it refuses a wrong caller in every operation and holds few jobs.
//!
//! What a job does stands in its command: `say WORD`, `exit CODE`, `wait` (until it is cancelled), `flood` (without
//! end), `lose` (its log), `panic`.

mod arbitration;
mod context;
mod state;
mod why;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use cobs::digest::{Blob, Digest};
use cobs::id::{CommitId, JobId, NodeId, RepoId};
use cobs::job::outcome::{Outcome, RunOutcome};
use cobs::job::spec::Source;
use cobs::job::state::Status;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio::sync::{Notify, watch};

use crate::ops::error::{Code, Error};
use crate::ops::types::{
    Artifact, Artifacts, AuditEntry, AuditQuery, CancelRequest, ConfigValue, Evict, Explain, Health, Invitation,
    Invite, JobQuery, JobSummary, JobView, Join, Joined, LogPiece, Peer, PeerChange, PeerGrant, Pod, Publish,
    Recovered, Removed, StreamKind, StreamMessage, Submit, SubmitSource, Submitted, TokenCreate, TokenCreated,
    TokenInfo, Uploaded,
};
use crate::ops::{Caller, Follow, Scope};

/// A token that may read.
pub const READER: &str = "reader-secret";
/// A token that may write.
pub const WRITER: &str = "writer-secret";
/// The one artifact of every job.
pub const ARTIFACT: (&str, &[u8]) = ("out/result.txt", b"made by a job\n");
/// Our own node.
pub const NODE: &str = "z6MknSLrJoTcukLrE435hVNQT4JUhbvWLX4kUzqkEStBU8Vi";
const LEDGER: &str = "rad:z3gqcJUoA1n9HaHKufZs5FCSGazv5";
const TS: &str = "2026-01-02T03:04:05.678Z";

/// The node.
#[derive(Default)]
pub struct Fake {
    jobs: Mutex<BTreeMap<JobId, Held>>,
    keys: Mutex<BTreeMap<String, JobId>>,
    /// Told when the stream of a `flood` is dropped.
    pub flooded: Arc<Notify>,
    /// Told when the first message of a stream was taken.
    pub followed: Arc<Notify>,
    /// From where streams were asked for.
    pub since: Mutex<Vec<Option<u64>>>,
    /// What the artifact has become, of the same length.
    pub spoiled: Mutex<Option<&'static [u8]>>,
}

struct Flood(Arc<Notify>);

impl Drop for Flood {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

struct Held {
    submit: Submit,
    cancelled: watch::Sender<Option<String>>,
}

fn node_id() -> NodeId {
    NODE.parse().unwrap()
}

fn ledger() -> RepoId {
    LEDGER.parse().unwrap()
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap()
}

impl Fake {
    pub fn authenticate(&self, bearer: &str) -> Option<Caller> {
        let scopes = match bearer {
            READER => [Scope::ReadJobs, Scope::ContextRead],
            WRITER => [Scope::WriteJobs, Scope::ContextWrite],
            _ => return None,
        };
        Some(Caller::Token { name: bearer.to_owned(), scopes: BTreeSet::from(scopes) })
    }

    pub async fn health(&self, _: &Caller) -> Health {
        Health { status: String::from("ok"), detail: None }
    }

    pub async fn metrics(&self, caller: &Caller) -> Result<String, Error> {
        caller.require(Scope::ReadJobs)?;
        Ok(String::from("rhizome_up 1\n"))
    }

    pub async fn pods(&self, caller: &Caller) -> Result<Vec<Pod>, Error> {
        caller.require(Scope::ReadJobs)?;
        Ok(Vec::new())
    }

    pub async fn submit(&self, caller: &Caller, key: Option<String>, submit: Submit) -> Result<Submitted, Error> {
        caller.require(Scope::WriteJobs)?;
        if submit.command == ["panic"] {
            panic!("a fault of the node");
        }
        let source = match &submit.source {
            Some(SubmitSource::Path { publish: Publish::Refuse, path, .. }) => {
                return Err(Error::new(Code::NotPublished, format!("{path} has no Radicle identity")));
            }
            Some(SubmitSource::Path { .. }) => {
                Some(Source { repo: ledger(), commit: CommitId("11".repeat(20).parse().unwrap()) })
            }
            Some(SubmitSource::Repository { .. }) | None => None,
        };
        let mut jobs = held(&self.jobs);
        if let Some(id) = key.as_ref().and_then(|key| held(&self.keys).get(key).copied()) {
            return Ok(Submitted { id, ledger: ledger(), source, granted: None, replayed: true });
        }
        let id = JobId(format!("{:040x}", 0xa0_0000 + jobs.len()).parse().unwrap());
        jobs.insert(id, Held { submit, cancelled: watch::channel(None).0 });
        if let Some(key) = key {
            held(&self.keys).insert(key, id);
        }
        Ok(Submitted { id, ledger: ledger(), source, granted: Some(node_id()), replayed: false })
    }

    pub async fn evict(&self, caller: &Caller, evict: Evict) -> Result<JobSummary, Error> {
        caller.require(Scope::WriteJobs)?;
        self.find(&evict.id).map(|id| self.view(id).summary)
    }

    pub async fn list_jobs(&self, caller: &Caller, query: JobQuery) -> Result<Bytes, Error> {
        caller.require(Scope::ReadJobs)?;
        let ids: Vec<JobId> = held(&self.jobs).keys().copied().take(query.limit.unwrap_or(100) as usize).collect();
        let items: Vec<JobSummary> = ids.into_iter().map(|id| self.view(id).summary).collect();
        Ok(serde_json::to_vec(&json!({ "items": items })).unwrap().into())
    }

    pub async fn job(&self, caller: &Caller, id: &str) -> Result<JobView, Error> {
        caller.require(Scope::ReadJobs)?;
        self.find(id).map(|id| self.view(id))
    }

    pub async fn explain(&self, caller: &Caller, id: &str) -> Result<Explain, Error> {
        caller.require(Scope::ReadJobs)?;
        let (id, waits_for) = (self.find(id)?, String::from("nothing"));
        Ok(Explain {
            id,
            waits_for,
            arbiter: node_id(),
            nodes: Vec::new(),
            ignored: BTreeMap::new(),
            alarms: Vec::new(),
        })
    }

    pub async fn cancel(&self, caller: &Caller, id: &str, request: CancelRequest) -> Result<JobView, Error> {
        caller.require(Scope::WriteJobs)?;
        let id = self.find(id)?;
        held(&self.jobs)[&id].cancelled.send_replace(Some(request.reason));
        Ok(self.view(id))
    }

    pub async fn logs(
        &self,
        caller: &Caller,
        id: &str,
        offset: u64,
        _: Follow,
    ) -> Result<BoxStream<'static, Result<LogPiece, Error>>, Error> {
        caller.require(Scope::ReadJobs)?;
        let id = self.find(id)?;
        let pieces = self.pieces(id).into_iter().filter(move |piece| piece.offset >= offset).map(Ok);
        let end = self.command(id).first().filter(|word| *word == "lose").map(|_| Err(Error::new(Code::Gone, "lost")));
        Ok(stream::iter(pieces.chain(end).collect::<Vec<_>>()).boxed())
    }

    pub async fn stream(
        &self,
        caller: &Caller,
        id: &str,
        since: Option<u64>,
    ) -> Result<BoxStream<'static, StreamMessage>, Error> {
        caller.require(Scope::ReadJobs)?;
        let id = self.find(id)?;
        if self.command(id) == ["flood"] {
            let flood = Flood(Arc::clone(&self.flooded));
            let payload = json!({ "seq": 1, "text": "x".repeat(100_000) });
            let message = StreamMessage { kind: StreamKind::Log, ts: TS.to_owned(), payload };
            return Ok(stream::repeat_with(move || (&flood, message.clone()).1).boxed());
        }
        let message = |kind, mut payload: serde_json::Value, seq: u64| {
            payload["seq"] = json!(seq);
            StreamMessage { kind, ts: TS.to_owned(), payload }
        };
        let mut first = vec![message(StreamKind::Status, json!({ "status": "granted", "waitsFor": "" }), 1)];
        let pieces = self.pieces(id).into_iter().zip(2..);
        first.extend(pieces.map(|(piece, seq)| message(StreamKind::Log, serde_json::to_value(piece).unwrap(), seq)));
        let seq = first.len() as u64 + 1;
        let last = message(StreamKind::Result, serde_json::to_value(self.view(id)).unwrap(), seq);
        held(&self.since).push(since);
        let followed = Arc::clone(&self.followed);
        let mut cancelled = held(&self.jobs)[&id].cancelled.subscribe();
        let waits = self.command(id) == ["wait"];
        let last = stream::once(async move {
            // asked for the last: all before was taken
            followed.notify_one();
            if waits {
                cancelled.wait_for(Option::is_some).await.unwrap();
            }
            last
        });
        let after = move |message: &StreamMessage| std::future::ready(message.payload["seq"].as_u64() > since);
        Ok(stream::iter(first).chain(last).filter(after).boxed())
    }

    pub async fn artifacts(&self, caller: &Caller, id: &str) -> Result<Artifacts, Error> {
        caller.require(Scope::ReadJobs)?;
        self.find(id)?;
        Ok(Artifacts { files: vec![artifact()] })
    }

    pub async fn artifact(
        &self,
        caller: &Caller,
        id: &str,
        path: &str,
    ) -> Result<(Artifact, BoxStream<'static, io::Result<Bytes>>), Error> {
        caller.require(Scope::ReadJobs)?;
        self.find(id)?;
        if path != ARTIFACT.0 {
            return Err(Error::new(Code::NotFound, format!("the job left no file '{path}'")));
        }
        let content = held(&self.spoiled).unwrap_or(ARTIFACT.1);
        let pieces: Vec<_> = content.chunks(5).map(|piece| Ok(Bytes::from_static(piece))).collect();
        Ok((artifact(), stream::iter(pieces).boxed()))
    }

    pub async fn upload(
        &self,
        caller: &Caller,
        body: BoxStream<'static, Result<Bytes, Error>>,
    ) -> Result<Uploaded, Error> {
        caller.require(Scope::WriteJobs)?;
        let all: Vec<u8> = body.try_fold(Vec::new(), async |all, piece| Ok([all, piece.to_vec()].concat())).await?;
        Ok(Uploaded { blob: Blob { digest: digest(&all), size: all.len() as u64 } })
    }

    pub async fn tokens(&self, caller: &Caller) -> Result<Vec<TokenInfo>, Error> {
        caller.require_owner().map(|()| Vec::new())
    }

    pub async fn create_token(&self, caller: &Caller, create: TokenCreate) -> Result<TokenCreated, Error> {
        caller.require_owner()?;
        Ok(TokenCreated { name: create.name, secret: String::from("s3cret") })
    }

    pub async fn revoke_token(&self, caller: &Caller, name: &str) -> Result<(), Error> {
        caller.require_owner()?;
        if name == "ci" { Ok(()) } else { Err(Error::new(Code::NotFound, format!("there is no token '{name}'"))) }
    }

    pub async fn peers(&self, caller: &Caller) -> Result<Vec<Peer>, Error> {
        caller.require_owner().map(|()| vec![peer(BTreeSet::new())])
    }

    pub async fn change_peer(&self, caller: &Caller, _: &str, change: PeerChange) -> Result<Peer, Error> {
        caller.require_owner().map(|()| peer(change.grant))
    }

    pub async fn remove_peer(&self, caller: &Caller, _: &str) -> Result<Removed, Error> {
        caller.require_owner().map(|()| Removed { peer: peer(BTreeSet::new()), stays_member_of: BTreeSet::new() })
    }

    pub async fn invite(&self, caller: &Caller, invite: Invite) -> Result<Invitation, Error> {
        caller.require_owner()?;
        Ok(Invitation { link: String::from("rhizome:link"), expires_at: TS.to_owned(), grants: invite.grants })
    }

    pub async fn recover(&self, caller: &Caller) -> Result<Recovered, Error> {
        caller.require_owner().map(|()| Recovered::default())
    }

    pub async fn join(&self, caller: &Caller, join: Join) -> Result<Joined, Error> {
        caller.require_owner()?;
        if join.link != "rhizome:link" {
            return Err(Error::new(Code::InvitationUsed, "the link was used before"));
        }
        let (grants, granted, alias) = (join.grants, BTreeSet::new(), String::from("alpha"));
        Ok(Joined { node: node_id(), alias, ledger: ledger(), grants, granted, approved: true, is_default: true })
    }

    pub async fn config(&self, caller: &Caller) -> Result<Vec<ConfigValue>, Error> {
        caller.require_owner()?;
        let [key, value, from] = ["api.listen", "\"127.0.0.1:8777\"", "default"].map(str::to_owned);
        Ok(vec![ConfigValue { key, value, from }])
    }

    pub async fn audit(&self, caller: &Caller, _: AuditQuery) -> Result<Vec<AuditEntry>, Error> {
        caller.require_owner().map(|()| Vec::new())
    }

    /// The newest job.
    pub fn last(&self) -> Option<JobId> {
        held(&self.jobs).keys().next_back().copied()
    }

    /// What was submitted, to see what the surface made of it.
    pub fn submitted(&self, id: JobId) -> Submit {
        held(&self.jobs)[&id].submit.clone()
    }

    fn find(&self, prefix: &str) -> Result<JobId, Error> {
        let jobs = held(&self.jobs);
        let mut found = jobs.keys().filter(|id| id.to_string().starts_with(prefix));
        match (found.next(), found.next()) {
            (Some(id), None) => Ok(*id),
            (Some(_), Some(_)) => Err(Error::new(Code::Ambiguous, format!("'{prefix}' fits several jobs"))),
            (None, _) => Err(Error::new(Code::NotFound, format!("there is no job '{prefix}'"))),
        }
    }

    fn command(&self, id: JobId) -> Vec<String> {
        held(&self.jobs)[&id].submit.command.clone()
    }

    fn pieces(&self, id: JobId) -> Vec<LogPiece> {
        let command = self.command(id);
        if command.first().is_none_or(|word| word != "say") {
            return Vec::new();
        }
        let text = format!("{}\n", command[1..].join(" "));
        // the second is not UTF-8
        let second = json!({ "offset": text.len(), "stream": "err", "ts": TS, "base64": "//4K" });
        let pieces = json!([{ "offset": 0, "stream": "out", "ts": TS, "text": text }, second]);
        serde_json::from_value(pieces).unwrap()
    }

    fn view(&self, id: JobId) -> JobView {
        let jobs = held(&self.jobs);
        let Held { submit, cancelled } = &jobs[&id];
        let run_outcome = match submit.command.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["exit", code] => RunOutcome::Exited { code: code.parse().unwrap() },
            ["wait"] => RunOutcome::Cancelled,
            _ => RunOutcome::Exited { code: 0 },
        };
        let summary = JobSummary {
            id,
            ledger: ledger(),
            title: submit.title.clone().unwrap_or_else(|| submit.command.join(" ")),
            status: Status::Settled,
            outcome: run_outcome.word().or(Some(Outcome::Lost)),
            queue: submit.queue.clone().unwrap_or_else(|| String::from("default")),
            author: node_id(),
            node: Some(node_id()),
            created_at: TS.to_owned(),
            updated_at: TS.to_owned(),
        };
        let reason = cancelled.borrow().clone().unwrap_or_default();
        let (waits_for, exit_code) = (String::new(), Some(run_outcome.exit_code()));
        let state = state::of(id, submit);
        let run_outcome = Some(run_outcome);
        JobView { summary, waits_for, running: false, exit_code, run_outcome, reason, log_is_local: true, state }
    }
}

fn digest(bytes: &[u8]) -> Digest {
    Digest(Sha256::digest(bytes).into())
}

fn artifact() -> Artifact {
    let (path, content) = ARTIFACT;
    Artifact { path: path.to_owned(), digest: digest(content), size: content.len() as u64, executable: false }
}

fn peer(grants: BTreeSet<PeerGrant>) -> Peer {
    let peer = json!({
        "node": NODE, "alias": "alpha", "state": "approved", "grants": grants, "transportKey": null, "linked": true,
        "replicating": true, "addresses": ["127.0.0.1:8776"],
    });
    serde_json::from_value(peer).unwrap()
}
