//! The one place that turns an error into HTTP: status and title by code, `application/problem+json`.
//!
//! A handler answers with the bare problem; the outermost layer writes its body, since only that knows the request.

use axum::body::{Body, to_bytes};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use crate::ops::error::{Code, Error};

/// Most bytes of an answer of a library that are taken as detail.
const DETAIL_BYTES_MAX: usize = 4096;

/// An error on its way to a caller.
#[derive(Clone, Debug)]
pub struct Problem {
    status: StatusCode,
    title: &'static str,
    error: Error,
}

/// The body of an answer that is an error (RFC 9457). Wire form.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProblemBody {
    /// `urn:rhizome:problem:CODE`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The same for every error of this code and status.
    pub title: String,
    /// The status, again.
    pub status: u16,
    /// What went wrong and why.
    pub detail: String,
    /// The stable word.
    pub code: Code,
    /// What to do next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The request's id, under which the node logs it.
    pub correlation_id: String,
    /// When to try again, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

/// The status and the title of a code.
pub fn meaning(code: Code) -> (StatusCode, &'static str) {
    match code {
        Code::BadRequest => (StatusCode::BAD_REQUEST, "The request is wrong"),
        Code::Unauthorized => (StatusCode::UNAUTHORIZED, "A token is needed"),
        Code::Forbidden => (StatusCode::FORBIDDEN, "Not allowed"),
        Code::NotFound => (StatusCode::NOT_FOUND, "Not found"),
        Code::Ambiguous => (StatusCode::CONFLICT, "The prefix fits several jobs"),
        Code::RepositoryNotFound => (StatusCode::UNPROCESSABLE_ENTITY, "The repository is not here"),
        Code::RepositoryUnreadable => (StatusCode::FORBIDDEN, "The repository may not be read"),
        Code::CommitNotFound => (StatusCode::UNPROCESSABLE_ENTITY, "The commit is not here"),
        Code::DirtyTree => (StatusCode::CONFLICT, "The work tree has changes"),
        Code::NotPublished => (StatusCode::CONFLICT, "The repository is not published"),
        Code::Infeasible => (StatusCode::UNPROCESSABLE_ENTITY, "No node can run it"),
        Code::PathEscapes => (StatusCode::UNPROCESSABLE_ENTITY, "The path leaves the work tree"),
        Code::IdempotencyConflict => (StatusCode::CONFLICT, "The idempotency key was used before"),
        Code::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "Too large"),
        Code::RateLimited => (StatusCode::TOO_MANY_REQUESTS, "Too many calls"),
        Code::InvitationUsed => (StatusCode::GONE, "The invitation was used"),
        Code::InvitationExpired => (StatusCode::GONE, "The invitation expired"),
        Code::WrongTransportKey => (StatusCode::BAD_GATEWAY, "The peer presented another key"),
        Code::PeerUnreachable => (StatusCode::SERVICE_UNAVAILABLE, "The peer cannot be reached"),
        Code::NoLedger => (StatusCode::CONFLICT, "No ledger is set up"),
        Code::RestoredHome => (StatusCode::CONFLICT, "The home was restored from a copy"),
        Code::NotDelegate => (StatusCode::FORBIDDEN, "Only a delegate may do this"),
        Code::LedgerFull => (StatusCode::SERVICE_UNAVAILABLE, "The ledger is full"),
        Code::Busy => (StatusCode::SERVICE_UNAVAILABLE, "The node is busy"),
        Code::NoDaemon => (StatusCode::SERVICE_UNAVAILABLE, "No daemon answers"),
        Code::AlreadyRunning => (StatusCode::CONFLICT, "Another daemon runs"),
        Code::PortInUse => (StatusCode::CONFLICT, "The port is in use"),
        Code::NewerVersion => (StatusCode::INTERNAL_SERVER_ERROR, "The home is of a newer version"),
        Code::StateCorrupt => (StatusCode::INTERNAL_SERVER_ERROR, "The state cannot be read"),
        Code::Config => (StatusCode::INTERNAL_SERVER_ERROR, "The configuration is wrong"),
        Code::Storage => (StatusCode::INSUFFICIENT_STORAGE, "Storage failed"),
        Code::Unconfirmed => (StatusCode::INSUFFICIENT_STORAGE, "Stored and not confirmed"),
        Code::Locked => (StatusCode::LOCKED, "The key is locked"),
        Code::Gone => (StatusCode::GONE, "Not available any more"),
        Code::Conflict => (StatusCode::CONFLICT, "It was changed meanwhile"),
        Code::NoVault => (StatusCode::NOT_FOUND, "There is nothing to search"),
        Code::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "The node failed"),
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let (status, title) = meaning(error.code);
        Self { status, title, error }
    }
}

impl Problem {
    /// A path that means nothing.
    pub fn no_such_route(path: &str) -> Self {
        Error::new(Code::NotFound, format!("there is nothing at {}", shorten(path)))
            .hint("the README lists what the API offers")
            .into()
    }

    /// A method that the path does not have.
    pub fn wrong_method(method: &str, path: &str) -> Self {
        let error = Error::new(Code::BadRequest, format!("{} has no method {method}", shorten(path)))
            .hint("the header 'allow' names those it has");
        Self { status: StatusCode::METHOD_NOT_ALLOWED, title: "The method is wrong", error }
    }

    /// A body of another type than JSON.
    pub fn wrong_content_type(found: Option<&str>) -> Self {
        let found = found.map_or_else(|| String::from("no type"), |name| format!("the type '{}'", shorten(name)));
        let error = Error::new(Code::BadRequest, format!("the body has {found}, not application/json"))
            .hint("send 'content-type: application/json'");
        Self { status: StatusCode::UNSUPPORTED_MEDIA_TYPE, title: "The content type is wrong", error }
    }

    /// A `Host` that is not ours: a page of another site whose name was pointed here.
    pub fn wrong_host(host: &str) -> Self {
        let error = Error::new(Code::Forbidden, format!("this node does not answer to the host '{}'", shorten(host)))
            .hint("use a loopback address, or add the host to api.allowed_hosts in the configuration");
        Self { status: StatusCode::MISDIRECTED_REQUEST, title: "The host is wrong", error }
    }

    /// A page of another site calls.
    pub fn wrong_origin(origin: &str) -> Self {
        Error::new(Code::Forbidden, format!("pages of '{}' may not call this node", shorten(origin)))
            .hint("add the origin to api.allowed_origins in the configuration")
            .into()
    }

    /// An answer did not begin in time.
    pub fn timed_out() -> Self {
        let error = Error::new(Code::Busy, "the node did not answer in time; what was asked may still be done")
            .hint("look before asking again, or send an idempotency key")
            .retry_after_ms(1000);
        Self { status: StatusCode::GATEWAY_TIMEOUT, title: "The node did not answer in time", error }
    }

    /// A fault of ours. What it was is for the log alone.
    pub fn internal() -> Self {
        Error::new(Code::Internal, "the node failed while it answered").into()
    }

    /// The answer's body for the request `id`.
    pub fn body(&self, id: &str) -> ProblemBody {
        let Error { code, detail, hint, retry_after_ms } = self.error.clone();
        let (detail, hint) = if code == Code::Internal {
            let hint = format!("look for {id} in the node's log");
            (String::from("the node failed while it answered"), Some(hint))
        } else {
            (detail, hint.or_else(|| Some(code.next_step().to_owned())))
        };
        let kind = format!("urn:rhizome:problem:{}", code.word());
        let (title, status, correlation_id) = (self.title.to_owned(), self.status.as_u16(), id.to_owned());
        ProblemBody { kind, title, status, detail, code, hint, correlation_id, retry_after_ms }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// Writes the body of an answer that is an error, also of one that a library gave.
pub async fn finish(response: Response, id: &str) -> Response {
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return response;
    }
    let (mut head, body) = response.into_parts();
    let problem = match head.extensions.remove::<Problem>() {
        Some(problem) => problem,
        None => foreign(status, body).await,
    };
    if problem.status.is_server_error() {
        tracing::error!(request = id, code = %problem.error.code.word(), detail = %problem.error.detail, "request failed");
    }
    head.status = problem.status;
    head.headers.remove(CONTENT_LENGTH);
    head.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    if let Some(span) = problem.error.retry_after_ms {
        head.headers.insert(RETRY_AFTER, HeaderValue::from(span.div_ceil(1000)));
    }
    if problem.status == StatusCode::UNAUTHORIZED {
        head.headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    let body = serde_json::to_vec(&problem.body(id)).expect("a problem holds only strings and numbers");
    Response::from_parts(head, Body::from(body))
}

/// What a library refused, such as a path that is not UTF-8 or a request that is no upgrade.
async fn foreign(status: StatusCode, body: Body) -> Problem {
    if status.is_server_error() {
        return Problem::internal();
    }
    let text = to_bytes(body, DETAIL_BYTES_MAX).await.unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let title = status.canonical_reason().unwrap_or("The request is wrong");
    let detail = if text.trim().is_empty() { title.to_lowercase() } else { text.trim().to_owned() };
    Problem { status, title, error: Error::new(Code::BadRequest, detail) }
}

/// Enough of what a caller sent to know it again.
fn shorten(text: &str) -> String {
    const SHOWN_CHARS_MAX: usize = 100;
    text.chars().filter(|letter| !letter.is_control()).take(SHOWN_CHARS_MAX).collect()
}
