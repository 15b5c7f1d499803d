//! Stand-in until the daemon is there: a node in memory.
#![expect(missing_docs, reason = "it is thrown away")]

#[path = "api/tests/fake.rs"]
pub mod fake;

pub use fake::Fake as Node;

use crate::cli::args::UpOptions;
use crate::config::Environment;
use crate::ops::error::Error;

pub async fn up(environment: &Environment, _: UpOptions) -> Result<(), Error> {
    use crate::api::{listen, settings::Settings};
    let stop = tokio_util::sync::CancellationToken::new();
    let node = std::sync::Arc::new(Node::default());
    std::fs::create_dir_all(&environment.home).unwrap();
    let socket = listen::bind_unix(&environment.socket()).await?;
    let tcp = listen::bind_tcp("127.0.0.1:8787".parse().unwrap()).await?;
    let ended = stop.clone();
    tokio::spawn(async move {
        tokio::signal::ctrl_c().await.unwrap();
        ended.cancel();
    });
    tokio::join!(
        listen::serve_unix(socket, node.clone(), Settings::default(), stop.clone()),
        listen::serve_tcp(tcp, node, Settings::default(), stop)
    );
    Ok(())
}
