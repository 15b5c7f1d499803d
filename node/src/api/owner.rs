//! What only the owner may do, on the unix socket: tokens, peers, pairing, configuration.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query};
use axum::http::{Method, StatusCode};

use super::body;
use super::operations::Operations;
use super::problem::Problem;
use super::{Call, Routes};
use crate::ops::types::{
    AuditEntry, AuditQuery, ConfigValue, Invitation, Invite, Join, Joined, Peer, PeerChange, Recovered, Removed,
    TokenCreate, TokenCreated, TokenInfo,
};

pub fn routes<N: Operations>() -> Routes<N> {
    Routes::new()
        .on(Method::GET, "/v1/tokens", tokens)
        .on(Method::POST, "/v1/tokens", create_token)
        .on(Method::DELETE, "/v1/tokens/{name}", revoke_token)
        .on(Method::GET, "/v1/peers", peers)
        .on(Method::PATCH, "/v1/peers/{peer}", change_peer)
        .on(Method::DELETE, "/v1/peers/{peer}", remove_peer)
        .on(Method::POST, "/v1/invitations", invite)
        .on(Method::POST, "/v1/join", join)
        .on(Method::POST, "/v1/recover", recover)
        .on(Method::GET, "/v1/config", config)
        .on(Method::GET, "/v1/audit", audit)
}

async fn tokens<N: Operations>(call: Call<N>) -> Result<Json<Vec<TokenInfo>>, Problem> {
    Ok(Json(call.node().tokens(&call.caller).await?))
}

async fn create_token<N: Operations>(
    call: Call<N>,
    body::Json(create): body::Json<TokenCreate>,
) -> Result<(StatusCode, Json<TokenCreated>), Problem> {
    Ok((StatusCode::CREATED, Json(call.node().create_token(&call.caller, create).await?)))
}

async fn revoke_token<N: Operations>(call: Call<N>, Path(name): Path<String>) -> Result<StatusCode, Problem> {
    call.node().revoke_token(&call.caller, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn peers<N: Operations>(call: Call<N>) -> Result<Json<Vec<Peer>>, Problem> {
    Ok(Json(call.node().peers(&call.caller).await?))
}

async fn change_peer<N: Operations>(
    call: Call<N>,
    Path(peer): Path<String>,
    body::Json(change): body::Json<PeerChange>,
) -> Result<Json<Peer>, Problem> {
    Ok(Json(call.node().change_peer(&call.caller, &peer, change).await?))
}

async fn remove_peer<N: Operations>(call: Call<N>, Path(peer): Path<String>) -> Result<Json<Removed>, Problem> {
    Ok(Json(call.node().remove_peer(&call.caller, &peer).await?))
}

async fn invite<N: Operations>(
    call: Call<N>,
    body::OrDefault(invite): body::OrDefault<Invite>,
) -> Result<(StatusCode, Json<Invitation>), Problem> {
    Ok((StatusCode::CREATED, Json(call.node().invite(&call.caller, invite).await?)))
}

async fn join<N: Operations>(call: Call<N>, body::Json(join): body::Json<Join>) -> Result<Json<Joined>, Problem> {
    Ok(Json(call.node().join(&call.caller, join).await?))
}

async fn recover<N: Operations>(call: Call<N>) -> Result<Json<Recovered>, Problem> {
    Ok(Json(call.node().recover(&call.caller).await?))
}

async fn config<N: Operations>(call: Call<N>) -> Result<Json<Vec<ConfigValue>>, Problem> {
    Ok(Json(call.node().config(&call.caller).await?))
}

async fn audit<N: Operations>(
    call: Call<N>,
    query: Result<Query<AuditQuery>, QueryRejection>,
) -> Result<Json<Vec<AuditEntry>>, Problem> {
    Ok(Json(call.node().audit(&call.caller, body::query(query)?).await?))
}
