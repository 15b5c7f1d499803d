//! What every request passes: its id, its time limit, the checks of where it comes from, and who calls.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{AUTHORIZATION, HOST, HeaderName, ORIGIN};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tracing::Instrument;

use super::operations::Operations;
use super::problem::{self, Problem};
use super::settings::{REQUEST_ID_BYTES_MAX, Settings};
use super::{BLOBS, IMPORT, Surface};
use crate::ops::Caller;
use crate::ops::error::Error;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Sent with every answer: nothing here is for a page of another site, or for a cache.
const SECURITY: [(&str, &str); 6] = [
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-resource-policy", "same-origin"),
    ("cache-control", "no-store"),
];

/// Names a request in answers and in the log.
#[derive(Clone, Debug)]
pub struct RequestId(pub String);

/// By which listener a request came, and what that means for who calls.
#[derive(Clone, Debug)]
pub enum Door {
    /// The unix socket: whoever opens it is the node.
    Socket,
    /// TCP: tokens, and names that are ours.
    Tcp(Names),
}

/// The names under which a TCP listener answers.
#[derive(Clone, Debug)]
pub struct Names {
    hosts: BTreeSet<String>,
    origins: BTreeSet<String>,
}

impl Names {
    /// The loopback names with the port of `address`, that address itself, and those of the settings.
    pub fn new(address: SocketAddr, settings: &Settings) -> Self {
        let port = address.port();
        let own =
            [format!("127.0.0.1:{port}"), format!("localhost:{port}"), format!("[::1]:{port}"), address.to_string()];
        let hosts: BTreeSet<String> =
            own.into_iter().chain(settings.hosts.iter().cloned()).map(|host| with_port(&host)).collect();
        let own = hosts.iter().map(|host| without_port(&format!("http://{host}")));
        let origins = own.chain(settings.origins.iter().map(|origin| without_port(origin))).collect();
        Self { hosts, origins }
    }

    /// Refuses a request that names another host, or that a page of another site makes.
    fn check(&self, parts: &Parts) -> Result<(), Problem> {
        let host = named_host(parts)?;
        if !self.hosts.contains(&with_port(&host)) {
            return Err(Problem::wrong_host(&host));
        }
        for origin in parts.headers.get_all(ORIGIN) {
            let origin = String::from_utf8_lossy(origin.as_bytes());
            if !self.origins.contains(&without_port(&origin)) {
                return Err(Problem::wrong_origin(&origin));
            }
        }
        Ok(())
    }
}

/// The host that a request names, in its target or else in its one `Host` header.
fn named_host(parts: &Parts) -> Result<String, Problem> {
    let mut named = parts.headers.get_all(HOST).iter();
    let header = named.next().map(|host| String::from_utf8_lossy(host.as_bytes()).into_owned());
    if named.next().is_some() {
        return Err(Problem::wrong_host("two of them"));
    }
    let target = parts.uri.authority().map(|authority| authority.as_str().to_owned());
    Ok(target.or(header).unwrap_or_default())
}

/// `host` in lower case, with the port that it means when it names none.
fn with_port(host: &str) -> String {
    let host = host.to_ascii_lowercase();
    let named = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    if named { host } else { format!("{host}:80") }
}

/// `origin` in lower case, without the port that its scheme means anyway.
fn without_port(origin: &str) -> String {
    let origin = origin.to_ascii_lowercase();
    let bare = match origin.split_once("://") {
        Some(("http", _)) => origin.strip_suffix(":80"),
        Some(("https", _)) => origin.strip_suffix(":443"),
        Some(_) | None => None,
    };
    bare.unwrap_or(&origin).to_owned()
}

/// The innermost check: where a request comes from and who calls.
pub async fn admit<N: Operations>(
    State(surface): State<Arc<Surface<N>>>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let (mut parts, body) = request.into_parts();
    let caller = match &surface.door {
        Door::Socket => Caller::Owner,
        Door::Tcp(names) => {
            names.check(&parts)?;
            bearer(&parts.headers, surface.node.as_ref())?
        }
    };
    parts.extensions.insert(caller);
    Ok(next.run(Request::from_parts(parts, body)).await)
}

/// Refuses everyone but the owner, before anything of the request is read.
pub async fn owner_only(request: Request, next: Next) -> Result<Response, Problem> {
    request.extensions().get::<Caller>().unwrap_or(&Caller::Anonymous).require_owner()?;
    Ok(next.run(request).await)
}

/// Nobody without a token; a wrong token is an error, also where none is needed.
fn bearer(headers: &HeaderMap, node: &impl Operations) -> Result<Caller, Error> {
    let Some(value) = headers.get(AUTHORIZATION) else { return Ok(Caller::Anonymous) };
    let text = value.to_str().map_err(|_| Error::unauthorized())?;
    let (scheme, token) = text.split_once(' ').ok_or_else(Error::unauthorized)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(Error::unauthorized());
    }
    node.authenticate(token.trim()).ok_or_else(Error::unauthorized)
}

/// The outermost layer: the request's id, its span and its figures, and an answer that is whole.
pub async fn finish<N: Operations>(
    State(surface): State<Arc<Surface<N>>>,
    mut request: Request,
    next: Next,
) -> Response {
    let started = Instant::now();
    let id = request_id(request.headers());
    request.extensions_mut().insert(RequestId(id.clone()));
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().map_or("unknown", MatchedPath::as_str).to_owned();
    let span = tracing::info_span!("request", id, %method, route);
    let limit =
        (method != Method::PUT || ![BLOBS, IMPORT].contains(&&*route)).then_some(surface.settings.limits.answer);
    let response = apart(next.run(request).instrument(span), limit, &id).await;
    let mut response = problem::finish(response, &id).await;
    for (name, value) in SECURITY {
        response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    let value = HeaderValue::from_str(&id).expect("a request id is printable");
    response.headers_mut().insert(REQUEST_ID, value);
    let status = response.status().as_str().to_owned();
    let labels = [("method", known(&method)), ("route", route), ("status", status)];
    metrics::counter!("rhizome_http_requests_total", &labels).increment(1);
    metrics::histogram!("rhizome_http_request_seconds", &labels[..2]).record(started.elapsed());
    response
}

/// A method for a figure; a caller may send any word.
fn known(method: &Method) -> String {
    let common = [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
    if common.contains(method) { method.to_string() } else { String::from("other") }
}

/// Runs the answer as a task of its own: a caller that goes away does not stop half-way what it asked for, and a panic
/// ends one request.
async fn apart<F>(answer: F, limit: Option<Duration>, id: &str) -> Response
where
    F: Future<Output = Response> + Send + 'static,
{
    let task = tokio::spawn(answer);
    let ended = match limit {
        Some(limit) => tokio::time::timeout(limit, task).await,
        None => Ok(task.await),
    };
    match ended {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => {
            tracing::error!(request = id, %error, "an answer panicked");
            Problem::internal().into_response()
        }
        Err(_) => Problem::timed_out().into_response(),
    }
}

/// The caller's request id when it is sane, else a random one.
fn request_id(headers: &HeaderMap) -> String {
    let sane = |id: &str| {
        (1..=REQUEST_ID_BYTES_MAX).contains(&id.len())
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    let given = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok()).filter(|id| sane(id));
    given.map_or_else(random_id, ToOwned::to_owned)
}

fn random_id() -> String {
    let mut bytes = [0u8; 16];
    getrandom::fill(&mut bytes).expect("the system gives random bytes");
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
