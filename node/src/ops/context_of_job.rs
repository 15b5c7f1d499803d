//! The context pack of a job: made out of its author's vault at submit, and sent as an input.

use std::sync::Arc;

use cobs::digest::Digest;
use cobs::job::spec::{Input, Privacy as JobPrivacy};
use vault::context::Ask;
use vault::index::record::Privacy;
use vault::pack::Private;

use super::context::budget;
use super::error::{Code, Error};
use super::jobs::storage;
use super::types::Submit;
use super::{Caller, Scope};
use crate::node::Node;

/// Where a job finds its pack, as text and as JSON, in its work tree.
const TEXT: &str = ".rhizome/context.md";
const JSON: &str = ".rhizome/context.json";
/// The variable that says so.
const VARIABLE: &str = "RHIZOME_CONTEXT";

impl Node {
    /// Makes the pack that a job asks for, and gives it as an input. Private passages are in the pack of a private job alone.
    ///
    /// # Errors
    /// When the caller may not read the vault, a note is not there or private, or the pack cannot be stored.
    pub(super) async fn packed(
        self: &Arc<Self>,
        caller: &Caller,
        submit: &mut Submit,
    ) -> Result<Option<Digest>, Error> {
        let Some(wish) = submit.context.take() else { return Ok(None) };
        caller.require(Scope::ContextRead)?;
        if submit.inputs.iter().any(|input| input.path.starts_with(".rhizome/")) {
            return Err(Error::new(Code::BadRequest, "an input is below .rhizome/, where the context pack is put")
                .hint("give the input another path"));
        }
        let said = [submit.title.clone(), submit.description.clone()];
        let text = wish.text.unwrap_or_else(|| said.into_iter().flatten().collect::<Vec<_>>().join("\n\n"));
        let (budget, notes) = (budget(wish.budget_tokens, wish.budget_bytes)?, wish.notes);
        let (private, privacy) = match submit.privacy {
            JobPrivacy::Private => (Private::Taken, Privacy::Private),
            JobPrivacy::Shared => (Private::Refused, Privacy::Open),
        };
        let node = Arc::clone(self);
        let work = move || {
            let opened = node.context.get()?;
            if private == Private::Refused {
                refuse_private(&opened, &notes)?;
            }
            let made = opened.pack(Ask { text: &text, named: &notes, budget, private, privacy })?;
            let mut inputs = Vec::new();
            for (path, content) in [(JSON, made.pack.to_json()), (TEXT, made.pack.text)] {
                let blob = node.blobs.put(content.as_bytes()).map_err(|error| storage(&error))?;
                node.blobs.own(blob.digest).map_err(|error| storage(&error))?;
                inputs.push(Input { path: path.to_owned(), digest: blob.digest, size: blob.size });
            }
            Ok(inputs)
        };
        let done = tokio::task::spawn_blocking(work).await;
        let inputs: Vec<Input> = done.map_err(|error| Error::new(Code::Internal, error.to_string()))??;
        let digest = inputs.first().map(|input| input.digest);
        submit.inputs.extend(inputs);
        submit.environment.entry(VARIABLE.to_owned()).or_insert_with(|| TEXT.to_owned());
        Ok(digest)
    }
}

/// A private note that is named for a job that others see is a mistake, not something to leave out in silence.
fn refuse_private(opened: &crate::context::Opened, notes: &[String]) -> Result<(), Error> {
    let serving = opened.notes.serving();
    let catalog = serving.catalog();
    let is_private = |name: &&String| {
        let file = format!("{name}.md");
        let entries = [catalog.named(name), catalog.named(&file)];
        entries.into_iter().flatten().any(|entry| entry.privacy == Privacy::Private)
    };
    match notes.iter().find(is_private) {
        None => Ok(()),
        Some(name) => Err(Error::new(Code::BadRequest, format!("the note {name} is private, and the job is not"))
            .hint("submit the job with --private, or leave the note out")),
    }
}
