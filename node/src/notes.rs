//! What this node, as an arbiter, writes down about terms before it acts on it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use cobs::id::{JobId, Token};
use cobs::job::state::Job;
use scheduler::machine::{Event, Note};

use crate::node::Node;

/// From a note that could not be written to the next try, at first and at most.
const NOTE_RETRY: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(60)];

impl Node {
    /// What this node has noted about a job's terms, and whether that cannot be known.
    pub(crate) fn notes_of(&self, job: &Job) -> (BTreeSet<(Note, Token)>, bool) {
        let noted = self.state.notes_of(job.id);
        if let Err(error) = &noted {
            tracing::error!(%error, job = %job.id, "cannot read the notes of a job");
        }
        let unknown = noted.is_err() || self.may_have_begun(job.id);
        let mut notes = noted.unwrap_or_default();
        if self.state.lacks_notes().unwrap_or(true) {
            notes.extend(self.note_all(job));
        }
        (notes, unknown)
    }

    /// What an older version of this program granted it may have confirmed, without a note of it: it is noted now.
    fn note_all(&self, job: &Job) -> BTreeSet<(Note, Token)> {
        let own = |token: &&Token| job.arbiter_of(token.epoch) == Some(self.id);
        let tokens: Vec<Token> = job.grants.keys().filter(own).copied().collect();
        for token in &tokens {
            if let Err(error) = self.state.note(job.id, *token, Note::Confirmed) {
                tracing::error!(%error, job = %job.id, %token, "cannot note a term that may have been confirmed");
            }
        }
        tokens.into_iter().map(|token| (Note::Confirmed, token)).collect()
    }

    /// Writes something down about a term, until it is written: without it the job would stand still.
    pub(crate) async fn note_term(self: Arc<Self>, job: JobId, token: Token, what: Note) {
        let [mut pause, longest] = NOTE_RETRY;
        loop {
            let node = Arc::clone(&self);
            let note = move || {
                node.state.note(job, token, what)?;
                node.claims.send(Event::Noted { job, token, note: what });
                // a confirmation is seen in no operation
                if let Some(job) = node.known_job(job) {
                    node.radworks.add(&job);
                }
                Ok::<(), crate::store::StoreError>(())
            };
            match tokio::task::spawn_blocking(note).await {
                Ok(Ok(())) => return self.problem("state", None),
                Ok(Err(error)) => {
                    tracing::error!(%job, %token, %error, "cannot note a term; it is tried again");
                    self.problem("state", Some(crate::runs::chain(&error)));
                }
                Err(error) => tracing::error!(%job, %token, %error, "noting a term failed"),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(longest);
        }
    }
}
