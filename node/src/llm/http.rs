//! One request with an answer in JSON, and what a failure of it means.

use std::error::Error as _;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode};
use tokio::runtime::Handle;
use vault::embed::EmbedError;

use super::wire::said;
use super::{Address, Limits};
use crate::link;
use crate::store::secret::Secret;

/// Longest answer that is read, in bytes: a batch of the widest vectors has some 6 million.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// Longest part of an answer that is repeated in an error, in characters.
const WORDS_MAX: usize = 300;

const JSON: &str = "application/json";

/// A server, asked under one name.
pub struct Caller {
    /// As it is named in errors.
    pub name: String,
    address: Address,
    key: Option<Secret>,
    client: Client,
    runtime: Handle,
}

/// What a server answered that is not what was asked for.
pub struct Failure {
    /// Its status.
    pub status: StatusCode,
    /// What it says, on one line and without the key.
    pub words: String,
    /// When it may be asked again, in its own words.
    retry_after: Option<String>,
}

/// How a request ends without an answer of use.
pub enum CallError {
    /// There was no answer, or none that could be read; the same call may succeed later.
    Away(String),
    /// There was another answer.
    Failure(Failure),
    /// The answer is not one of such a server.
    Unreadable(String),
}

impl Caller {
    /// To ask a server by a runtime; nothing is sent yet.
    pub fn new(
        name: String,
        address: Address,
        key: Option<Secret>,
        limits: Limits,
        runtime: Handle,
    ) -> Result<Self, EmbedError> {
        link::install_tls();
        // 0 stands for the port of the address
        let loopback = [SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), SocketAddr::from((Ipv6Addr::LOCALHOST, 0))];
        let mut builder = Client::builder()
            .connect_timeout(limits.connect)
            .timeout(limits.call)
            .redirect(Policy::none())
            .no_proxy()
            // the name means this machine, whatever a resolver says: it was called local for it
            .resolve_to_addrs("localhost", &loopback);
        if let Address::Socket(path) = &address {
            builder = builder.unix_socket(path.clone());
        }
        let client =
            builder.build().map_err(|error| EmbedError::Refused { embedder: name.clone(), why: reason(error) })?;
        Ok(Self { name, address, key, client, runtime })
    }

    /// Sends a body to a path, and reads the answer. It blocks, so it is not called by a task.
    pub fn post(&self, path: &str, body: Vec<u8>) -> Result<Vec<u8>, CallError> {
        self.runtime.block_on(async {
            let mut request = self.client.post(self.address.below(path)).header(CONTENT_TYPE, JSON).body(body);
            if let Some(key) = &self.key {
                request = request.bearer_auth(key.expose());
            }
            let answer = request.send().await.map_err(away)?;
            let (status, headers) = (answer.status(), answer.headers().clone());
            let bytes = read(answer).await?;
            if !status.is_success() {
                return Err(CallError::Failure(self.failure(status, &headers, &bytes)));
            }
            Ok(bytes)
        })
    }

    fn failure(&self, status: StatusCode, headers: &HeaderMap, bytes: &[u8]) -> Failure {
        let retry_after = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        Failure {
            status,
            words: self.words(bytes),
            retry_after: retry_after.map(|value| value.chars().take(WORDS_MAX).collect()),
        }
    }

    /// What an answer says, without the key, which a server may repeat.
    fn words(&self, bytes: &[u8]) -> String {
        match &self.key {
            Some(key) => said::words(String::from_utf8_lossy(bytes).replace(key.expose(), "[the key]").as_bytes()),
            None => said::words(bytes),
        }
    }

    /// That the server is away.
    pub fn away(&self, why: impl Into<String>) -> EmbedError {
        EmbedError::Away { embedder: self.name.clone(), why: why.into() }
    }

    /// That it refuses, and what to do.
    pub fn refused(&self, why: impl Into<String>) -> EmbedError {
        EmbedError::Refused { embedder: self.name.clone(), why: why.into() }
    }

    /// What an answer means that says nothing particular to the server: it is busy, or it is not to be asked so.
    pub fn usual(&self, failure: &Failure) -> EmbedError {
        let Failure { status, words, retry_after } = failure;
        let busy =
            status.is_server_error() || matches!(*status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT);
        if status.is_redirection() {
            return self
                .refused(format!("{} answers {status}, which is not followed; give the address itself", self.address));
        }
        let why = format!("{} answers {status}: {words}", self.address);
        match retry_after {
            Some(when) if busy => {
                self.away(format!("{why}; it asks to be asked again after {when} (seconds, or that time)"))
            }
            _ if busy => self.away(why),
            _ => self.refused(why),
        }
    }
}

async fn read(mut answer: Response) -> Result<Vec<u8>, CallError> {
    let mut bytes = Vec::new();
    while let Some(part) = answer.chunk().await.map_err(away)? {
        if bytes.len() + part.len() > ANSWER_BYTES_MAX {
            return Err(CallError::Unreadable(format!("its answer has more than {ANSWER_BYTES_MAX} bytes")));
        }
        bytes.extend_from_slice(&part);
    }
    Ok(bytes)
}

fn away(error: reqwest::Error) -> CallError {
    CallError::Away(reason(error))
}

/// Why a request failed, with the causes that say more, and without the URL, which the caller's name stands for.
fn reason(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut why = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        why = format!("{why}: {cause}");
        source = cause.source();
    }
    why
}
