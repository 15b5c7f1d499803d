//! What the machine is and does: health, figures, runs.

use axum::Json;
use axum::http::Method;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;

use super::operations::Operations;
use super::problem::Problem;
use super::{Call, Routes};
use crate::ops::types::{Health, Pod};

/// The Prometheus text format.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

pub fn routes<N: Operations>() -> Routes<N> {
    Routes::new().on(Method::GET, "/health", health).on(Method::GET, "/metrics", metrics).on(Method::GET, "/pods", pods)
}

async fn health<N: Operations>(call: Call<N>) -> Json<Health> {
    Json(call.node().health(&call.caller).await)
}

async fn metrics<N: Operations>(call: Call<N>) -> Result<impl IntoResponse, Problem> {
    Ok(([(CONTENT_TYPE, METRICS_TYPE)], call.node().metrics(&call.caller).await?))
}

async fn pods<N: Operations>(call: Call<N>) -> Result<Json<Vec<Pod>>, Problem> {
    Ok(Json(call.node().pods(&call.caller).await?))
}
