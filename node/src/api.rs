//! The operations of a node over HTTP and WebSocket, on a loopback TCP listener and on a unix socket.
//!
//! A handler extracts, calls one operation and encodes. Nothing is decided here but who calls and how much may be
//! sent; this part knows no ledger, no storage and no job.

mod body;
mod context;
mod files;
mod guard;
mod jobs;
pub mod listen;
mod machine;
pub mod operations;
mod owner;
pub mod problem;
pub mod settings;
mod stream;
#[cfg(test)]
pub(crate) mod tests;

use std::sync::Arc;

use axum::Router;
use axum::extract::{FromRequestParts, OriginalUri, Request};
use axum::handler::Handler;
use axum::http::Method;
use axum::http::request::Parts;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{MethodFilter, on};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use self::guard::{Door, RequestId};
use self::operations::Operations;
use self::problem::Problem;
use self::settings::Settings;
use crate::ops::Caller;

/// Where inputs are uploaded; the one answer without a time limit of its own.
const BLOBS: &str = "/v1/blobs";
/// Where lines of a vault are sent to.
const IMPORT: &str = "/v1/vault/import";

/// What all handlers of one listener share.
struct Surface<N> {
    node: Arc<N>,
    settings: Settings,
    door: Door,
    /// Streams that may still be opened.
    streams: Arc<Semaphore>,
    /// Ends the streams when the daemon stops.
    stop: CancellationToken,
}

/// What a handler needs of a request besides its own arguments.
struct Call<N> {
    surface: Arc<Surface<N>>,
    caller: Caller,
    request: RequestId,
}

impl<N> Call<N> {
    fn node(&self) -> &N {
        &self.surface.node
    }
}

impl<N: Operations> FromRequestParts<Arc<Surface<N>>> for Call<N> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, surface: &Arc<Surface<N>>) -> Result<Self, Problem> {
        let caller = parts.extensions.get::<Caller>().cloned().ok_or_else(Problem::internal)?;
        let request = parts.extensions.get::<RequestId>().cloned().ok_or_else(Problem::internal)?;
        Ok(Self { surface: Arc::clone(surface), caller, request })
    }
}

/// Routes under construction, with a list of them for the test that no route goes without its row.
struct Routes<N> {
    router: Router<Arc<Surface<N>>>,
    listed: Vec<(Method, &'static str)>,
}

impl<N: Operations> Routes<N> {
    fn new() -> Self {
        Self { router: Router::new(), listed: Vec::new() }
    }

    fn on<H, T>(mut self, method: Method, path: &'static str, handler: H) -> Self
    where
        H: Handler<T, Arc<Surface<N>>>,
        T: 'static,
    {
        let filter = MethodFilter::try_from(method.clone()).expect("our routes have common methods");
        self.listed.push((method, path));
        self.router = self.router.route(path, on(filter, handler));
        self
    }

    fn merge(mut self, other: Self) -> Self {
        self.router = self.router.merge(other.router);
        self.listed.extend(other.listed);
        self
    }

    /// For the owner alone.
    fn owned(mut self) -> Self {
        self.router = self.router.route_layer(from_fn(guard::owner_only));
        self
    }
}

fn routes<N: Operations>() -> Routes<N> {
    let owner = owner::routes().owned();
    Routes::new()
        .merge(machine::routes())
        .merge(jobs::routes())
        .merge(files::routes())
        .merge(stream::routes())
        .merge(context::routes())
        .merge(owner)
}

/// The whole surface; layers run from the last to the first.
fn router<N: Operations>(surface: Arc<Surface<N>>) -> Router {
    routes()
        .router
        .fallback(no_such_route)
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn_with_state(Arc::clone(&surface), guard::admit::<N>))
        .layer(from_fn_with_state(Arc::clone(&surface), guard::finish::<N>))
        .with_state(surface)
}

async fn no_such_route(OriginalUri(target): OriginalUri) -> Problem {
    Problem::no_such_route(target.path())
}

async fn wrong_method(request: Request) -> Problem {
    Problem::wrong_method(request.method().as_str(), request.uri().path())
}
