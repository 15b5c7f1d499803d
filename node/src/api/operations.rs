//! What the API asks of a node: one list, from which the trait and its implementations are written.
//!
//! The trait has two implementations: the daemon's node, and one in memory for the tests of this part. It holds no
//! rules: scope, idempotency and errors are decided by the operations themselves.

use std::future::Future;

use bytes::Bytes;
use futures::stream::BoxStream;

use vault::edit::Patched;
use vault::edit::names::Renamed;
use vault::search::Answer;
use vault::transfer::Counts;

use crate::node::Node;
use crate::ops::error::Error;
use crate::ops::transfer::Lines;
use crate::ops::types::{
    Artifact, Artifacts, AuditEntry, AuditQuery, CancelRequest, ConfigValue, ContextQuery, Evict, Explain, HandOver,
    Health, Ingest, Ingested, Invitation, Invite, JobQuery, JobReplication, JobSummary, JobView, Join, Joined,
    LinksQuery, LogPiece, NoteLinks, NotePatch, NoteQuery, NoteRename, NoteText, Peer, PeerChange, PendingChanges, Pod,
    Recovered, Removed, SearchQuery, StreamMessage, Submit, Submitted, TakeOver, TokenCreate, TokenCreated, TokenInfo,
    Uploaded, VaultStatus, VaultStatusQuery,
};
use crate::ops::{Caller, Ended as _, Follow, Kind, Record};

/// The messages of one stream.
pub type Messages = BoxStream<'static, StreamMessage>;
/// The pieces of one log.
pub type Pieces = BoxStream<'static, Result<LogPiece, Error>>;
/// One artifact and its content.
pub type Content = (Artifact, BoxStream<'static, std::io::Result<Bytes>>);
/// The content of an upload.
pub type Upload = BoxStream<'static, Result<Bytes, Error>>;

/// Hands every operation to the macro named. One that changes something says after `=>` what it was about, for the audit.
macro_rules! each_operation {
    ($then:ident $($of:ty)?) => {
        $then! { $($of)?;
            /// How the node is; its detail for those who may read jobs.
            health() -> Health;
            /// Figures as Prometheus reads them.
            metrics() -> Result<String, Error>;
            /// The runs of this node.
            pods() -> Result<Vec<Pod>, Error>;
            /// A new job, durable when it answers.
            submit(idempotency_key: Option<String>, submit: Submit) -> Result<Submitted, Error>
                => |submitted| submitted.id.to_string();
            /// Ends a run of this node.
            evict(evict: Evict) -> Result<JobSummary, Error>
                => |job| job.id.to_string();
            /// A page of jobs, as JSON.
            list_jobs(query: JobQuery) -> Result<Bytes, Error>;
            /// One job, by its id or a unique prefix.
            job(id: &str) -> Result<JobView, Error>;
            /// Who could run it, and why or why not.
            explain(id: &str) -> Result<Explain, Error>;
            /// Where its objects are.
            job_replication(id: &str) -> Result<JobReplication, Error>;
            /// What this node has written and not every peer has seen.
            pending() -> Result<PendingChanges, Error>;
            /// Asks for the end of a job.
            cancel(id: &str, request: CancelRequest) -> Result<JobView, Error>
                => |job| job.summary.id.to_string();
            /// Hands a job over that this node decides about.
            hand_over(id: &str, wish: HandOver) -> Result<JobView, Error>
                => |job| job.summary.id.to_string();
            /// Makes another node decide about a job whose arbiter is dead.
            take_over(id: &str, wish: TakeOver) -> Result<JobView, Error>
                => |job| job.summary.id.to_string();
            /// The log of a job from a byte offset on.
            logs(id: &str, offset: u64, follow: Follow) -> Result<Pieces, Error>;
            /// All that happens to a job, after the sequence number `since`.
            stream(id: &str, since: Option<u64>) -> Result<Messages, Error>;
            /// The files that a job left.
            artifacts(id: &str) -> Result<Artifacts, Error>;
            /// One of them.
            artifact(id: &str, path: &str) -> Result<Content, Error>;
            /// Keeps an input file.
            upload(body: Upload) -> Result<Uploaded, Error>
                => |uploaded| uploaded.blob.digest.to_string();
            /// What fits a search of the vault.
            search(query: SearchQuery) -> Result<Answer, Error>;
            /// A context pack, as JSON.
            context(query: ContextQuery) -> Result<Bytes, Error>;
            /// The pack that a job was submitted with, as JSON.
            job_context(id: &str) -> Result<Bytes, Error>;
            /// Keeps and forgets pushed documents.
            ingest(ingest: Ingest) -> Result<Ingested, Error>
                => |ingested| format!("{} kept, {} removed", ingested.kept, ingested.removed);
            /// A note as it is.
            note(query: NoteQuery) -> Result<NoteText, Error>;
            /// Changes one section, block or property of a note.
            patch_note(query: NoteQuery, change: NotePatch) -> Result<Patched, Error>
                => |patched| patched.digest.clone();
            /// Gives a file of the vault another name.
            rename_note(wish: NoteRename) -> Result<Renamed, Error>
                => |renamed| format!("{} links", renamed.links);
            /// The links of a file, or what leads nowhere.
            links(query: LinksQuery) -> Result<NoteLinks, Error>;
            /// How the vault stands.
            vault_status(query: VaultStatusQuery) -> Result<VaultStatus, Error>;
            /// Builds the index anew.
            rebuild_vault() -> Result<VaultStatus, Error>
                => |_| "the index".to_owned();
            /// Pushed documents, passages and vectors, as lines.
            export_vault() -> Result<Lines, Error>;
            /// Takes such lines.
            import_vault(body: Upload) -> Result<Counts, Error>
                => |counts| format!("{} documents", counts.pushed);
            /// The tokens of this node.
            tokens() -> Result<Vec<TokenInfo>, Error>;
            /// A new token.
            create_token(create: TokenCreate) -> Result<TokenCreated, Error>
                => |token| token.name.clone();
            /// Makes a token worthless.
            revoke_token(name: &str) -> Result<(), Error>
                => |()| name.to_owned();
            /// Approved and pending peers.
            peers() -> Result<Vec<Peer>, Error>;
            /// Changes what a peer may do here.
            change_peer(peer: &str, change: PeerChange) -> Result<Peer, Error>
                => |peer| peer.node.to_string();
            /// Removes a peer.
            remove_peer(peer: &str) -> Result<Removed, Error>
                => |removed| removed.peer.node.to_string();
            /// A pairing link.
            invite(invite: Invite) -> Result<Invitation, Error>
                => |invitation| format!("an invitation until {}", invitation.expires_at);
            /// Uses a pairing link.
            join(join: Join) -> Result<Joined, Error>
                => |joined| joined.node.to_string();
            /// Takes back what peers hold of this node and its home has lost.
            recover() -> Result<Recovered, Error>
                => |recovered| format!("{} ledgers", recovered.ledgers.len());
            /// Each value of the configuration.
            config() -> Result<Vec<ConfigValue>, Error>;
            /// Who asked for what, newest first.
            audit(query: AuditQuery) -> Result<Vec<AuditEntry>, Error>;
        }
    };
}

macro_rules! define {
    (; $($(#[$doc:meta])* $name:ident($($argument:ident: $type:ty),*) -> $out:ty $(=> $subject:expr)?;)*) => {
        /// The operations of a node, as the API calls them. Dropping a future must leave nothing half done.
        pub trait Operations: Send + Sync + 'static {
            /// Whose bearer token this is; none when it is nobody's.
            fn authenticate(&self, bearer: &str) -> Option<Caller>;
            $(
                $(#[$doc])*
                fn $name(&self, caller: &Caller $(, $argument: $type)*) -> impl Future<Output = $out> + Send;
            )*
        }
    };
}

/// Implements the trait for a type whose own methods have the same names.
#[cfg(test)]
macro_rules! delegate {
    ($of:ty; $($(#[$doc:meta])* $name:ident($($argument:ident: $type:ty),*) -> $out:ty $(=> $subject:expr)?;)*) => {
        impl Operations for $of {
            fn authenticate(&self, bearer: &str) -> Option<Caller> {
                <$of>::authenticate(self, bearer)
            }
            $(
                fn $name(&self, caller: &Caller $(, $argument: $type)*) -> impl Future<Output = $out> + Send {
                    <$of>::$name(self, caller $(, $argument)*)
                }
            )*
        }
    };
}

/// Implements the trait for a shared type, whose own methods take the share, and notes what came of each operation.
macro_rules! delegate_shared {
    ($of:ty; $($(#[$doc:meta])* $name:ident($($argument:ident: $type:ty),*) -> $out:ty $(=> $subject:expr)?;)*) => {
        impl Operations for std::sync::Arc<$of> {
            fn authenticate(&self, bearer: &str) -> Option<Caller> {
                <$of>::authenticate(self, bearer)
            }
            $(
                async fn $name(&self, caller: &Caller $(, $argument: $type)*) -> $out {
                    noted!(self, $name, caller, <$of>::$name(self, caller $(, $argument)*) $(=> $subject)?)
                }
            )*
        }
    };
}

/// Runs one operation of a node, and notes what came of it.
macro_rules! noted {
    ($node:expr, $name:ident, $caller:expr, $work:expr) => {{
        let record = Record::begin($node, stringify!($name), $caller, Kind::Read);
        let out = $work.await;
        record.looked(out.error());
        out
    }};
    ($node:expr, $name:ident, $caller:expr, $work:expr => $subject:expr) => {{
        let record = Record::begin($node, stringify!($name), $caller, Kind::Change);
        let out = $work.await;
        record.changed(out.as_ref().map($subject).map_err(|error| error.code)).await;
        out
    }};
}

each_operation!(define);
each_operation!(delegate_shared Node);

#[cfg(test)]
each_operation!(delegate super::tests::fake::Fake);
