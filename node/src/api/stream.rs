//! `WS /stream/{id}`: all that happens to a job, one JSON message each, resumable by `?since=SEQ`.
//!
//! A follower that reads slowly holds up itself alone; one that takes nothing for a while is closed, and comes back by
//! the last sequence number it saw.

use axum::extract::rejection::QueryRejection;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Path, Query};
use axum::http::Method;
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use serde::Deserialize;
use time::OffsetDateTime;
use time::macros::format_description;
use tokio::time::{Duration, Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::body;
use super::operations::{Messages, Operations};
use super::problem::Problem;
use super::settings::{Limits, SEND_BUFFER_BYTES_MAX};
use super::{Call, Routes};
use crate::ops::error::{Code, Error};
use crate::ops::types::{StreamKind, StreamMessage};

/// Most bytes of a message from a follower; it has nothing to say.
const INCOMING_BYTES_MAX: usize = 4096;
/// Longest time for the last words of a stream, in milliseconds.
const CLOSE_MS: u64 = 1000;

/// Why a stream was closed, as its close frame says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Ending {
    /// The last message was sent.
    Finished,
    /// The daemon stops; come back.
    ShuttingDown,
    /// The follower took nothing for too long; come back.
    SlowReader,
}

impl Ending {
    fn frame(self) -> CloseFrame {
        let (code, reason) = match self {
            Self::Finished => (1000, "finished"),
            Self::ShuttingDown => (1001, "shutting_down"),
            Self::SlowReader => (4008, "slow_reader"),
        };
        CloseFrame { code, reason: reason.into() }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StreamQuery {
    #[serde(default)]
    since: Option<u64>,
}

pub fn routes<N: Operations>() -> Routes<N> {
    Routes::new().on(Method::GET, "/stream/{id}", follow)
}

async fn follow<N: Operations>(
    call: Call<N>,
    Path(id): Path<String>,
    query: Result<Query<StreamQuery>, QueryRejection>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    let StreamQuery { since } = body::query(query)?;
    let messages = call.node().stream(&call.caller, &id, since).await?;
    let Ok(slot) = call.surface.streams.clone().try_acquire_owned() else {
        let most = call.surface.settings.limits.streams;
        let error = Error::new(Code::Busy, format!("{most} streams are followed already"));
        return Err(error.hint("close some, or poll /v1/jobs").retry_after_ms(1000).into());
    };
    let upgrade = match upgrade {
        Ok(upgrade) => upgrade,
        Err(rejection) => return Ok(rejection.into_response()),
    };
    let limits = call.surface.settings.limits.clone();
    let stop = call.surface.stop.clone();
    let upgrade = upgrade
        .max_message_size(INCOMING_BYTES_MAX)
        .max_frame_size(INCOMING_BYTES_MAX)
        .write_buffer_size(0)
        .max_write_buffer_size(SEND_BUFFER_BYTES_MAX);
    Ok(upgrade.on_upgrade(async move |socket| {
        let _slot = slot;
        serve(socket, messages, &limits, &stop).await;
    }))
}

async fn serve(mut socket: WebSocket, mut messages: Messages, limits: &Limits, stop: &CancellationToken) {
    let Some(ending) = relay(&mut socket, &mut messages, limits, stop).await else { return };
    let goodbye = async {
        if socket.send(Message::Close(Some(ending.frame()))).await.is_err() {
            return;
        }
        // until the follower has answered, else it may lose what is still on its way
        while let Some(Ok(_)) = socket.recv().await {}
    };
    if timeout(Duration::from_millis(CLOSE_MS), goodbye).await.is_err() {
        tracing::debug!(?ending, "a follower did not take the end of its stream");
    }
}

/// Sends until the stream or the daemon ends or the follower is too slow; none when the follower went away.
async fn relay(
    socket: &mut WebSocket,
    messages: &mut Messages,
    limits: &Limits,
    stop: &CancellationToken,
) -> Option<Ending> {
    let mut seq = 0;
    let mut silent_until = Instant::now() + limits.heartbeat;
    loop {
        let message = tokio::select! {
            () = stop.cancelled() => return Some(Ending::ShuttingDown),
            incoming = socket.recv() => match incoming {
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                Some(Ok(Message::Text(_) | Message::Binary(_) | Message::Ping(_) | Message::Pong(_))) => continue,
            },
            next = messages.next() => match next {
                Some(message) => message,
                None => return Some(Ending::Finished),
            },
            () = sleep_until(silent_until) => heartbeat(seq),
        };
        seq = message.payload.get("seq").and_then(serde_json::Value::as_u64).unwrap_or(seq);
        let text = serde_json::to_string(&message).expect("a message holds only JSON");
        match timeout(limits.send_stall, socket.send(Message::Text(text.into()))).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return None,
            Err(_) => return Some(Ending::SlowReader),
        }
        if matches!(message.kind, StreamKind::Result | StreamKind::Error) {
            return Some(Ending::Finished);
        }
        silent_until = Instant::now() + limits.heartbeat;
    }
}

fn heartbeat(seq: u64) -> StreamMessage {
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    let ts = OffsetDateTime::now_utc().format(format).expect("the format has only parts that a time has");
    StreamMessage { kind: StreamKind::Heartbeat, ts, payload: serde_json::json!({ "seq": seq }) }
}
