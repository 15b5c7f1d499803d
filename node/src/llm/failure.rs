//! What may go wrong with a model, in one set of words for all providers.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What went wrong, as a stable word.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The provider does not take the key.
    Auth,
    /// What was paid for, or a budget of this node, is used up.
    Quota,
    /// Too many requests or tokens in a span of time.
    RateLimit,
    /// The request is longer than the model reads.
    ContextLength,
    /// The provider refuses what is asked or answered.
    ContentFilter,
    /// Nobody here has such a model.
    ModelMissing,
    /// The request itself is wrong.
    BadRequest,
    /// There was no answer in time.
    Timeout,
    /// The provider is away, busy, or broke off.
    Unavailable,
    /// Who asked went away.
    Cancelled,
    /// The policy of this node or of a peer forbids it.
    Policy,
    /// The provider, or this node, failed by itself.
    Internal,
}

impl Kind {
    /// As it stands on the wire.
    pub fn word(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Quota => "quota",
            Self::RateLimit => "rate_limit",
            Self::ContextLength => "context_length",
            Self::ContentFilter => "content_filter",
            Self::ModelMissing => "model_missing",
            Self::BadRequest => "bad_request",
            Self::Timeout => "timeout",
            Self::Unavailable => "unavailable",
            Self::Cancelled => "cancelled",
            Self::Policy => "policy",
            Self::Internal => "internal",
        }
    }

    /// Whether the same request may succeed later, with nothing changed.
    pub fn may_pass(self) -> bool {
        matches!(self, Self::RateLimit | Self::Timeout | Self::Unavailable | Self::Internal)
    }

    /// Whether another provider is asked. What is wrong with the request is wrong everywhere, and what one provider
    /// refuses to answer is not taken to the next.
    pub fn falls_back(self) -> bool {
        match self {
            Self::Auth
            | Self::Quota
            | Self::RateLimit
            | Self::ContextLength
            | Self::ModelMissing
            | Self::Timeout
            | Self::Unavailable
            | Self::Internal => true,
            Self::ContentFilter | Self::BadRequest | Self::Cancelled | Self::Policy => false,
        }
    }

    /// What to do next, where a failure says nothing of its own.
    pub fn next_step(self) -> &'static str {
        match self {
            Self::Auth => "set another key for the provider",
            Self::Quota => "wait until the limit frees, raise it, or choose another provider",
            Self::RateLimit => "ask again later, or allow another provider",
            Self::ContextLength => "send less, or choose a model that reads more",
            Self::ContentFilter => "ask in other words, or choose another provider",
            Self::ModelMissing => "see which there are: rhizome llm models",
            Self::BadRequest => "correct the request",
            Self::Timeout => "ask again, or allow more time",
            Self::Unavailable => "ask again later; rhizome llm providers says how each is",
            Self::Cancelled => "ask again",
            Self::Policy => "see what the policy allows: rhizome llm explain",
            Self::Internal => "look into the daemon's log, and report it",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// How far a request had come when it failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// Nothing was sent: there is nobody at the address.
    Connect,
    /// It was sent, and nothing of an answer was read.
    Sent,
    /// A part of the answer is on its way to who asked.
    Begun,
}

/// A request that failed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{detail}")]
pub struct Failure {
    /// What went wrong.
    pub kind: Kind,
    /// How far it had come.
    pub stage: Stage,
    /// Who was asked; none where nobody was.
    pub provider: Option<String>,
    /// The model that was asked for.
    pub model: Option<String>,
    /// What and why, without keys and without what was sent.
    pub detail: String,
    /// What to do next.
    pub hint: Option<String>,
    /// When it may be asked again.
    pub retry_after: Option<Duration>,
}

impl Failure {
    /// A failure before anything was answered.
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        let (provider, model, hint, retry_after) = (None, None, None, None);
        Self { kind, stage: Stage::Sent, provider, model, detail: detail.into(), hint, retry_after }
    }

    /// Says how far it had come.
    #[must_use]
    pub fn at(mut self, stage: Stage) -> Self {
        self.stage = stage;
        self
    }

    /// Says who failed.
    #[must_use]
    pub fn of(mut self, provider: &str, model: &str) -> Self {
        self.provider = Some(provider.to_owned());
        self.model = Some(model.to_owned());
        self
    }

    /// Says what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Says when it may be asked again.
    #[must_use]
    pub fn retry_after(mut self, span: Option<Duration>) -> Self {
        self.retry_after = span;
        self
    }

    /// Whether the next provider of a plan is asked: never once something was answered, since two answers are not spliced.
    pub fn falls_back(&self) -> bool {
        self.stage != Stage::Begun && self.kind.falls_back()
    }
}
