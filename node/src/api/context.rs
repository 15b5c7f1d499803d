//! The vault: search, packs, documents, notes, links, status.

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, Request};
use axum::http::Method;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;

use vault::edit::Patched;
use vault::edit::names::Renamed;
use vault::search::Answer;
use vault::transfer::Counts;

use super::body;
use super::operations::Operations;
use super::problem::Problem;
use super::{Call, IMPORT, Routes};
use crate::ops::Scope;
use crate::ops::types::{
    ContextQuery, Ingest, Ingested, LinksQuery, NoteLinks, NotePatch, NoteQuery, NoteRename, NoteText, SearchQuery,
    VaultStatus, VaultStatusQuery,
};

const JSON: &str = "application/json";
/// Lines of JSON, as many writers of them name it.
const LINES: &str = "application/x-ndjson";

pub fn routes<N: Operations>() -> Routes<N> {
    Routes::new()
        .on(Method::GET, "/v1/search", search)
        .on(Method::GET, "/context/search", pack)
        .on(Method::GET, "/v1/context/{job}", of_job)
        .on(Method::POST, "/v1/ingest", ingest)
        .on(Method::GET, "/v1/notes", note)
        .on(Method::PATCH, "/v1/notes", patch)
        .on(Method::POST, "/v1/notes/rename", rename)
        .on(Method::GET, "/v1/links", links)
        .on(Method::GET, "/v1/vault/status", status)
        .on(Method::POST, "/v1/vault/rebuild", rebuild)
        .on(Method::GET, "/v1/vault/export", export)
        .on(Method::PUT, IMPORT, import)
}

async fn search<N: Operations>(
    call: Call<N>,
    query: Result<Query<SearchQuery>, QueryRejection>,
) -> Result<Json<Answer>, Problem> {
    Ok(Json(call.node().search(&call.caller, body::query(query)?).await?))
}

async fn export<N: Operations>(call: Call<N>) -> Result<impl IntoResponse, Problem> {
    Ok(([(CONTENT_TYPE, LINES)], Body::from_stream(call.node().export_vault(&call.caller).await?)))
}

async fn import<N: Operations>(call: Call<N>, request: Request) -> Result<Json<Counts>, Problem> {
    // before anything of the content is taken
    call.caller.require(Scope::ContextWrite)?;
    let limits = &call.surface.settings.limits;
    let (parts, content) = request.into_parts();
    let content = body::content(&parts.headers, content, limits.blob_bytes, limits.body_idle)?;
    Ok(Json(call.node().import_vault(&call.caller, content).await?))
}

async fn pack<N: Operations>(
    call: Call<N>,
    query: Result<Query<ContextQuery>, QueryRejection>,
) -> Result<impl IntoResponse, Problem> {
    Ok(([(CONTENT_TYPE, JSON)], call.node().context(&call.caller, body::query(query)?).await?))
}

async fn of_job<N: Operations>(call: Call<N>, Path(job): Path<String>) -> Result<impl IntoResponse, Problem> {
    Ok(([(CONTENT_TYPE, JSON)], call.node().job_context(&call.caller, &job).await?))
}

async fn ingest<N: Operations>(
    call: Call<N>,
    body::Json(ingest): body::Json<Ingest>,
) -> Result<Json<Ingested>, Problem> {
    Ok(Json(call.node().ingest(&call.caller, ingest).await?))
}

async fn note<N: Operations>(
    call: Call<N>,
    query: Result<Query<NoteQuery>, QueryRejection>,
) -> Result<Json<NoteText>, Problem> {
    Ok(Json(call.node().note(&call.caller, body::query(query)?).await?))
}

async fn patch<N: Operations>(
    call: Call<N>,
    query: Result<Query<NoteQuery>, QueryRejection>,
    body::Json(change): body::Json<NotePatch>,
) -> Result<Json<Patched>, Problem> {
    Ok(Json(call.node().patch_note(&call.caller, body::query(query)?, change).await?))
}

async fn rename<N: Operations>(
    call: Call<N>,
    body::Json(wish): body::Json<NoteRename>,
) -> Result<Json<Renamed>, Problem> {
    Ok(Json(call.node().rename_note(&call.caller, wish).await?))
}

async fn links<N: Operations>(
    call: Call<N>,
    query: Result<Query<LinksQuery>, QueryRejection>,
) -> Result<Json<NoteLinks>, Problem> {
    Ok(Json(call.node().links(&call.caller, body::query(query)?).await?))
}

async fn status<N: Operations>(
    call: Call<N>,
    query: Result<Query<VaultStatusQuery>, QueryRejection>,
) -> Result<Json<VaultStatus>, Problem> {
    Ok(Json(call.node().vault_status(&call.caller, body::query(query)?).await?))
}

async fn rebuild<N: Operations>(call: Call<N>) -> Result<Json<VaultStatus>, Problem> {
    Ok(Json(call.node().rebuild_vault(&call.caller).await?))
}
