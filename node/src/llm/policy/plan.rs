//! What comes of a decision: whom to ask, and why the others are not.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Ability, Place};
use crate::llm::failure::{Failure, Kind};

/// After what time a full queue may be tried again.
const FULL_RETRY: Duration = Duration::from_secs(1);

/// Whom to ask, in this order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    /// One after the other, while the one before could not answer.
    pub steps: Vec<Step>,
    /// Who is not asked, and why.
    pub passed_over: Vec<PassedOver>,
    /// The chain, as it is written.
    pub chain: String,
    /// Whose wish the chain is.
    pub by: ChosenBy,
}

/// One provider to ask.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// Its key.
    pub provider: String,
    /// By its own name.
    pub model: String,
    /// Where it is.
    pub place: Place,
    /// Why it stands here.
    pub why: String,
}

/// One provider that is not asked.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PassedOver {
    /// Its key.
    pub provider: String,
    /// The model that was thought of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Why not.
    pub reason: Reason,
}

/// Why a provider is not asked.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Reason {
    /// What is private stays on this machine.
    Private,
    /// The chain does not have it.
    NotInChain,
    /// The cloud is not to stand in for others.
    CloudFallbackOff,
    /// It cannot be asked.
    Problem {
        /// Why.
        why: String,
    },
    /// It has no such model.
    NoSuchModel,
    /// It does not do what is wanted.
    Unable {
        /// What.
        ability: Ability,
    },
    /// Its vectors have another dimension.
    Dimension {
        /// Numbers of one of them.
        has: u32,
    },
    /// The request is longer than the model reads.
    TooLong {
        /// Tokens that it reads and writes together.
        context_tokens: u32,
    },
    /// It failed, and is not asked for a while.
    Rests {
        /// How long still, in milliseconds.
        ms: u64,
        /// What it failed by.
        after: Option<Kind>,
    },
    /// As many requests as may wait are there.
    Full {
        /// Under way and waiting.
        requests: u32,
    },
}

/// Whose wish a chain is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChosenBy {
    /// The request's own.
    Request,
    /// A label of its job.
    Label,
    /// The configuration's.
    Configuration,
}

impl Plan {
    /// Why nobody is asked, where the plan has no step: the reason that is nearest to an answer.
    pub fn refusal(&self) -> Failure {
        let near = self.passed_over.iter().min_by_key(|passed| passed.reason.distance());
        let Some(near) = near else {
            return Failure::new(Kind::ModelMissing, "no provider is configured")
                .hint("run Ollama, or set one up in the configuration: rhizome config show llm");
        };
        let (kind, why) = near.reason.meaning();
        let others = match self.passed_over.len() - 1 {
            0 => String::new(),
            1 => String::from("; another is not asked either"),
            others => format!("; {others} others are not asked either"),
        };
        let detail = format!("{} is not asked: {why}{others}", near.provider);
        let wait = match near.reason {
            Reason::Rests { ms, .. } => Some(Duration::from_millis(ms)),
            Reason::Full { .. } => Some(FULL_RETRY),
            _ => None,
        };
        let failure = Failure::new(kind, detail).retry_after(wait);
        match &near.model {
            Some(model) => failure.of(&near.provider, model),
            None => failure,
        }
    }
}

impl Reason {
    /// How far from an answer: what passes by itself is nearest.
    fn distance(&self) -> (u8, u64) {
        match self {
            Self::Full { .. } => (0, 0),
            Self::Rests { ms, .. } => (1, *ms),
            Self::TooLong { .. } => (2, 0),
            Self::Private => (3, 0),
            Self::CloudFallbackOff => (4, 0),
            Self::Problem { .. } => (5, 0),
            Self::Unable { .. } | Self::Dimension { .. } => (6, 0),
            Self::NotInChain => (7, 0),
            Self::NoSuchModel => (8, 0),
        }
    }

    /// What it is for who asked, and in words.
    pub fn meaning(&self) -> (Kind, String) {
        match self {
            Self::Private => (Kind::Policy, "the request is private, and stays on this machine".into()),
            Self::NotInChain => (Kind::Policy, "the policy does not name it".into()),
            Self::CloudFallbackOff => (Kind::Policy, "llm.cloud_fallback is off".into()),
            Self::Problem { why } => (Kind::Unavailable, why.clone()),
            Self::NoSuchModel => (Kind::ModelMissing, "it has no such model".into()),
            Self::Unable { ability } => (Kind::BadRequest, format!("it does no {}", ability.word())),
            Self::Dimension { has } => (Kind::BadRequest, format!("its vectors have {has} numbers")),
            Self::TooLong { context_tokens } => {
                (Kind::ContextLength, format!("its model reads and writes {context_tokens} tokens at most"))
            }
            Self::Rests { ms, after } => {
                let after = after.map_or_else(String::new, |kind| format!(" after {kind}"));
                (Kind::Unavailable, format!("it rests for {ms} ms{after}"))
            }
            Self::Full { requests } => {
                (Kind::Unavailable, format!("{requests} requests are before this one, as many as may wait"))
            }
        }
    }
}
