//! Milvus's service over gRPC, as far as it is called: each call with its path, and what its status means.

use std::str::FromStr as _;
use std::time::Duration;

use base64::Engine as _;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request};
use tonic_prost::ProstCodec;

use super::messages::{
    DescribeCollectionResponse, MutationResult, QueryResults, SearchResults, ShowCollectionsResponse, Status,
};
use crate::vectors::VectorError;
use crate::vectors::check::Check;
use crate::vectors::remote::CONNECT_MS;
use crate::vectors::url::Login;

/// Longest answer that is read, in bytes: as much as the product sends by itself.
const MESSAGE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// The codes of "there is no such collection": of old, and of now.
const NO_COLLECTION: [i32; 2] = [4, 100];
/// The codes of "the collection is not loaded".
const NOT_LOADED: [i32; 2] = [101, 45];

/// A connection, made when it is first used and made again when it is lost.
pub struct Client {
    channel: Channel,
    login: Option<MetadataValue<Ascii>>,
}

/// Why a call did not do what it was asked.
pub enum Failure {
    /// There is no such collection.
    NoCollection,
    /// It must be loaded first.
    NotLoaded,
    /// Anything else.
    Other(VectorError),
}

/// An answer that says how it went.
pub trait Answer: prost::Message + Default + 'static {
    /// How.
    fn status(&self) -> Option<&Status>;
}

impl Client {
    /// A client for `host:port`. It must be made within the runtime, and connects to nothing yet.
    pub fn new(address: &str, login: Option<&Login>, check: Check<'_>) -> Result<Self, VectorError> {
        let endpoint = Endpoint::from_str(&format!("http://{address}"))
            .map_err(|error| check.refused(format!("no address: {error}")))?
            .connect_timeout(Duration::from_millis(CONNECT_MS));
        let encode =
            |login: &Login| base64::prelude::BASE64_STANDARD.encode(format!("{}:{}", login.user, login.password));
        let login = login.map(|login| encode(login).parse().expect("it is of letters, digits and three signs"));
        Ok(Self { channel: endpoint.connect_lazy(), login })
    }

    /// Makes a call of the service.
    pub async fn call<A: Answer>(
        &self,
        name: &str,
        message: impl prost::Message + 'static,
        check: Check<'_>,
    ) -> Result<A, Failure> {
        let mut grpc = tonic::client::Grpc::new(self.channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX);
        let away = |why: String| Failure::Other(check.away(why));
        grpc.ready().await.map_err(|error| away(words(&error)))?;
        let path = format!("/milvus.proto.milvus.MilvusService/{name}");
        let path = PathAndQuery::from_maybe_shared(path).expect("a name of letters makes a path");
        let mut request = Request::new(message);
        if let Some(login) = &self.login {
            request.metadata_mut().insert("authorization", login.clone());
        }
        let answer = grpc.unary(request, path, ProstCodec::<_, A>::default()).await;
        let answer = answer.map(tonic::Response::into_inner).map_err(|status| match status.code() {
            Code::Unauthenticated | Code::PermissionDenied | Code::InvalidArgument | Code::Unimplemented => {
                Failure::Other(check.refused(status.message().to_owned()))
            }
            _ => away(words(&status)),
        })?;
        let Some(status) = answer.status().filter(|status| status.code != 0 || status.error_code != 0) else {
            return Ok(answer);
        };
        let codes = [status.error_code, status.code];
        Err(if codes.iter().any(|code| NO_COLLECTION.contains(code)) {
            Failure::NoCollection
        } else if codes.iter().any(|code| NOT_LOADED.contains(code)) {
            Failure::NotLoaded
        } else if status.retriable {
            away(status.reason.clone())
        } else {
            Failure::Other(check.refused(status.reason.clone()))
        })
    }
}

impl Answer for Status {
    fn status(&self) -> Option<&Status> {
        Some(self)
    }
}

/// Answers that have their status in a field of that name.
macro_rules! answers {
    ($($answer:ty),*) => {
        $(impl Answer for $answer {
            fn status(&self) -> Option<&Status> {
                self.status.as_ref()
            }
        })*
    };
}

answers!(DescribeCollectionResponse, MutationResult, QueryResults, SearchResults, ShowCollectionsResponse);

/// An error with what it comes from.
fn words(error: &(dyn std::error::Error + 'static)) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        words.push_str(": ");
        words.push_str(&error.to_string());
        source = error.source();
    }
    words
}
