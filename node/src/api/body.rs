//! Bodies of requests: JSON within its bound, with an error that says where it is wrong, and raw content in pieces.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{FromRequest, Query, Request};
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use futures::{StreamExt, TryStreamExt, stream};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;

use super::operations::Upload;
use super::problem::Problem;
use super::settings::{BODY_IDLE_MS, JSON_BYTES_MAX};
use crate::ops::error::{Code, Error};

/// A JSON body; an empty one where `T` has a default and the caller may leave it out is [`OrDefault`].
pub struct Json<T>(pub T);

/// A JSON body that may be left out.
pub struct OrDefault<T>(pub T);

impl<S: Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        json_type(&parts.headers)?;
        let bytes = collect(&parts.headers, body).await?;
        parse(&bytes).map(Self)
    }
}

impl<S: Sync, T: DeserializeOwned + Default> FromRequest<S> for OrDefault<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let bytes = collect(&parts.headers, body).await?;
        if bytes.is_empty() {
            return Ok(Self(T::default()));
        }
        json_type(&parts.headers)?;
        parse(&bytes).map(Self)
    }
}

/// The parameters of a target.
pub fn query<T>(parsed: Result<Query<T>, QueryRejection>) -> Result<T, Problem> {
    let refused = |rejection: QueryRejection| {
        Error::new(Code::BadRequest, format!("the parameters are wrong: {}", cause(&rejection)))
    };
    Ok(parsed.map(|Query(query)| query).map_err(refused)?)
}

/// The innermost message, which names the field.
fn cause(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

fn json_type(headers: &HeaderMap) -> Result<(), Problem> {
    let named = headers.get(CONTENT_TYPE).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let essence = named.as_deref().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    let essence = essence.to_ascii_lowercase();
    if essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json")) {
        return Ok(());
    }
    Err(Problem::wrong_content_type(named.as_deref()))
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let refused = |error: serde_json::Error| {
        let what = if error.is_data() { "the body does not fit" } else { "the body is not JSON" };
        // serde_json says line and column
        Error::new(Code::BadRequest, format!("{what}: {error}"))
    };
    Ok(serde_json::from_slice(bytes).map_err(refused)?)
}

async fn collect(headers: &HeaderMap, body: Body) -> Result<Bytes, Problem> {
    let too_large = || {
        Error::new(Code::TooLarge, format!("the body has more than {JSON_BYTES_MAX} bytes"))
            .hint("upload content by PUT /v1/blobs and name its digest")
    };
    if content_length(headers).is_some_and(|length| length > JSON_BYTES_MAX as u64) {
        return Err(too_large().into());
    }
    let all = Limited::new(body, JSON_BYTES_MAX).collect();
    match tokio::time::timeout(Duration::from_millis(BODY_IDLE_MS), all).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.downcast_ref::<LengthLimitError>().is_some() => Err(too_large().into()),
        Ok(Err(_)) => Err(Error::new(Code::BadRequest, "the body broke off").into()),
        Err(_) => Err(stalled().into()),
    }
}

/// The content of a request in pieces, at most `most` bytes of it and never waiting longer than `idle` for the next.
pub fn content(headers: &HeaderMap, body: Body, most: u64, idle: Duration) -> Result<Upload, Problem> {
    let too_large = move || Error::new(Code::TooLarge, format!("the content has more than {most} bytes"));
    if content_length(headers).is_some_and(|length| length > most) {
        return Err(too_large().into());
    }
    let pieces = stream::try_unfold((body.into_data_stream(), 0u64), move |(mut body, seen)| async move {
        let piece = match tokio::time::timeout(idle, body.next()).await {
            Ok(Some(Ok(piece))) => piece,
            Ok(Some(Err(_))) => return Err(Error::new(Code::BadRequest, "the content broke off")),
            Ok(None) => return Ok(None),
            Err(_) => return Err(stalled()),
        };
        let seen = seen.saturating_add(piece.len() as u64);
        if seen > most {
            return Err(too_large());
        }
        Ok(Some((piece, (body, seen))))
    });
    Ok(pieces.into_stream().boxed())
}

fn stalled() -> Error {
    Error::new(Code::BadRequest, "the body did not arrive in time")
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
