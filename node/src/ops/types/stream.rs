//! Wire types of what arrives piece by piece: logs and streams.

use serde::{Deserialize, Serialize};

use cobs::id::{NodeId, Token};

/// One piece of a log, as a line of JSON.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LogPiece {
    /// Where it starts in the log of its run, in bytes.
    pub offset: u64,
    /// `out`, `err` or `system`.
    pub stream: String,
    /// When it was read, RFC 3339 UTC in milliseconds.
    pub ts: String,
    /// Its text, when it is UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Its bytes in base64, when it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base64: Option<String>,
}

/// One message of `/stream/{id}`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct StreamMessage {
    /// `log`, `status`, `result`, `error` or `heartbeat`.
    #[serde(rename = "type")]
    pub kind: StreamKind,
    /// RFC 3339 UTC in milliseconds.
    pub ts: String,
    /// By kind; each has `seq`.
    pub payload: serde_json::Value,
}

/// The kinds of stream messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StreamKind {
    /// A [`LogPiece`] with `seq`.
    Log,
    /// A [`StreamStatus`] with `seq`.
    Status,
    /// A [`JobView`](super::JobView) with `seq`; the last message of a stream.
    Result,
    /// An error with `seq`; the last message of a stream.
    Error,
    /// Nothing happened for a while.
    Heartbeat,
}

/// A change of status in a stream.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StreamStatus {
    /// Resumes after this by `?since=`.
    pub seq: u64,
    /// Where it stands; `running` is told apart from granted here.
    pub status: String,
    /// Who holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeId>,
    /// Its alias.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alias: Option<String>,
    /// The token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Token>,
    /// Why it stands there.
    #[serde(default)]
    pub waits_for: String,
}
