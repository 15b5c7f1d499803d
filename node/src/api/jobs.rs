//! Jobs: submit, list, show, explain, cancel, evict, and their logs.

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query};
use axum::http::header::{CONTENT_TYPE, LOCATION};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::StreamExt;
use serde::Deserialize;

use super::body;
use super::operations::Operations;
use super::problem::Problem;
use super::settings::IDEMPOTENCY_KEY_BYTES_MAX;
use super::{Call, Routes};
use crate::ops::Follow;
use crate::ops::error::{Code, Error};
use crate::ops::types::{
    CancelRequest, Evict, Explain, HandOver, JobQuery, JobReplication, JobSummary, JobView, LogPiece, PendingChanges,
    Submit, TakeOver,
};

/// Names a submit, so that a second one with the same name is the same.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// One JSON value a line.
const NDJSON: &str = "application/x-ndjson";

pub fn routes<N: Operations>() -> Routes<N> {
    Routes::new()
        .on(Method::POST, "/schedule", schedule)
        .on(Method::POST, "/evict", evict)
        .on(Method::GET, "/v1/jobs", list)
        .on(Method::GET, "/v1/jobs/{id}", show)
        .on(Method::GET, "/v1/jobs/{id}/explain", explain)
        .on(Method::GET, "/v1/jobs/{id}/replication", replication)
        .on(Method::GET, "/v1/replication", pending)
        .on(Method::POST, "/v1/jobs/{id}/cancel", cancel)
        .on(Method::POST, "/v1/jobs/{id}/handover", hand_over)
        .on(Method::POST, "/v1/jobs/{id}/takeover", take_over)
        .on(Method::GET, "/v1/jobs/{id}/logs", logs)
}

async fn schedule<N: Operations>(
    call: Call<N>,
    headers: HeaderMap,
    body::Json(submit): body::Json<Submit>,
) -> Result<Response, Problem> {
    let submitted = call.node().submit(&call.caller, idempotency_key(&headers)?, submit).await?;
    let location = [(LOCATION, format!("/v1/jobs/{}", submitted.id))];
    Ok((StatusCode::ACCEPTED, location, Json(submitted)).into_response())
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Error> {
    let mut keys = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(key) = keys.next() else { return Ok(None) };
    let sane = |key: &&str| {
        (1..=IDEMPOTENCY_KEY_BYTES_MAX).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic())
    };
    match key.to_str().ok().filter(sane) {
        Some(key) if keys.next().is_none() => Ok(Some(key.to_owned())),
        Some(_) | None => {
            let bounds = format!("the header {IDEMPOTENCY_KEY} must hold one key of 1 to {IDEMPOTENCY_KEY_BYTES_MAX}");
            Err(Error::new(Code::BadRequest, format!("{bounds} visible ASCII characters")))
        }
    }
}

async fn evict<N: Operations>(
    call: Call<N>,
    body::Json(evict): body::Json<Evict>,
) -> Result<(StatusCode, Json<JobSummary>), Problem> {
    Ok((StatusCode::ACCEPTED, Json(call.node().evict(&call.caller, evict).await?)))
}

async fn list<N: Operations>(
    call: Call<N>,
    query: Result<Query<JobQuery>, QueryRejection>,
) -> Result<Response, Problem> {
    let page = call.node().list_jobs(&call.caller, body::query(query)?).await?;
    Ok(([(CONTENT_TYPE, "application/json")], page).into_response())
}

async fn show<N: Operations>(call: Call<N>, Path(id): Path<String>) -> Result<Json<JobView>, Problem> {
    Ok(Json(call.node().job(&call.caller, &id).await?))
}

async fn explain<N: Operations>(call: Call<N>, Path(id): Path<String>) -> Result<Json<Explain>, Problem> {
    Ok(Json(call.node().explain(&call.caller, &id).await?))
}

async fn replication<N: Operations>(call: Call<N>, Path(id): Path<String>) -> Result<Json<JobReplication>, Problem> {
    Ok(Json(call.node().job_replication(&call.caller, &id).await?))
}

async fn pending<N: Operations>(call: Call<N>) -> Result<Json<PendingChanges>, Problem> {
    Ok(Json(call.node().pending(&call.caller).await?))
}

async fn cancel<N: Operations>(
    call: Call<N>,
    Path(id): Path<String>,
    body::OrDefault(request): body::OrDefault<CancelRequest>,
) -> Result<(StatusCode, Json<JobView>), Problem> {
    Ok((StatusCode::ACCEPTED, Json(call.node().cancel(&call.caller, &id, request).await?)))
}

async fn hand_over<N: Operations>(
    call: Call<N>,
    Path(id): Path<String>,
    body::OrDefault(wish): body::OrDefault<HandOver>,
) -> Result<Json<JobView>, Problem> {
    Ok(Json(call.node().hand_over(&call.caller, &id, wish).await?))
}

async fn take_over<N: Operations>(
    call: Call<N>,
    Path(id): Path<String>,
    body::OrDefault(wish): body::OrDefault<TakeOver>,
) -> Result<Json<JobView>, Problem> {
    Ok(Json(call.node().take_over(&call.caller, &id, wish).await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LogQuery {
    #[serde(default)]
    offset: u64,
    #[serde(default)]
    follow: bool,
}

async fn logs<N: Operations>(
    call: Call<N>,
    Path(id): Path<String>,
    query: Result<Query<LogQuery>, QueryRejection>,
) -> Result<Response, Problem> {
    let LogQuery { offset, follow } = body::query(query)?;
    let follow = if follow { Follow::Yes } else { Follow::No };
    let pieces = call.node().logs(&call.caller, &id, offset, follow).await?;
    let stop = call.surface.stop.clone();
    let request = call.request.0;
    let lines = pieces
        .map(move |piece| Ok::<_, std::convert::Infallible>(line(piece, &request)))
        .take_until(stop.cancelled_owned());
    Ok(([(CONTENT_TYPE, NDJSON)], Body::from_stream(lines)).into_response())
}

/// A piece, or the problem that ended the log: by then the status has been sent.
fn line(piece: Result<LogPiece, Error>, request: &str) -> Bytes {
    let encoded = match piece {
        Ok(piece) => serde_json::to_vec(&piece),
        Err(error) => serde_json::to_vec(&Problem::from(error).body(request)),
    };
    let mut line = encoded.expect("both hold only strings and numbers");
    line.push(b'\n');
    line.into()
}
