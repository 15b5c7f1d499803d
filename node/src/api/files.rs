//! Content by digest: the artifacts that jobs left, and the inputs of jobs to come.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Request};
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE, ETAG};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::body;
use super::operations::Operations;
use super::problem::Problem;
use super::{BLOBS, Call, Routes};
use crate::ops::Scope;
use crate::ops::types::{Artifacts, Uploaded};

/// The digest of the whole content (RFC 9530).
const REPR_DIGEST: &str = "repr-digest";

pub fn routes<N: Operations>() -> Routes<N> {
    Routes::new()
        .on(Method::GET, "/v1/jobs/{id}/artifacts", list)
        .on(Method::GET, "/v1/jobs/{id}/artifacts/{*path}", fetch)
        .on(Method::PUT, BLOBS, upload)
}

async fn list<N: Operations>(call: Call<N>, Path(id): Path<String>) -> Result<Json<Artifacts>, Problem> {
    Ok(Json(call.node().artifacts(&call.caller, &id).await?))
}

async fn fetch<N: Operations>(call: Call<N>, Path((id, path)): Path<(String, String)>) -> Result<Response, Problem> {
    let (artifact, content) = call.node().artifact(&call.caller, &id, &path).await?;
    let headers = [
        (CONTENT_TYPE, String::from("application/octet-stream")),
        // what a job wrote is never a page of ours
        (CONTENT_DISPOSITION, String::from("attachment")),
        (CONTENT_LENGTH, artifact.size.to_string()),
        (ETAG, format!("\"{}\"", artifact.digest)),
    ];
    let digest = [(REPR_DIGEST, format!("sha-256=:{}:", BASE64.encode(artifact.digest.0)))];
    Ok((headers, digest, Body::from_stream(content)).into_response())
}

async fn upload<N: Operations>(call: Call<N>, request: Request) -> Result<(StatusCode, Json<Uploaded>), Problem> {
    // before anything of the content is taken
    call.caller.require(Scope::WriteJobs)?;
    let limits = &call.surface.settings.limits;
    let (parts, content) = request.into_parts();
    let content = body::content(&parts.headers, content, limits.blob_bytes, limits.body_idle)?;
    Ok((StatusCode::CREATED, Json(call.node().upload(&call.caller, content).await?)))
}
