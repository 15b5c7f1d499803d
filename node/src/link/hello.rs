//! The one byte by which the listening side answers a dialler once both have shown their keys.
//!
//! In TLS 1.3 the dialler is done before the other side has judged it; without this byte it would take a
//! connection for made that is about to be refused.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsStream;

/// The judgement. Each is a printable character, for whoever debugs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// Go on.
    Admitted,
    /// No peer has this key.
    Unknown,
    /// We are connected already.
    Duplicate,
    /// Too many strangers.
    Busy,
}

impl Answer {
    const ALL: [Answer; 4] = [Answer::Admitted, Answer::Unknown, Answer::Duplicate, Answer::Busy];

    const fn byte(self) -> u8 {
        match self {
            Answer::Admitted => b'+',
            Answer::Unknown => b'?',
            Answer::Duplicate => b'=',
            Answer::Busy => b'~',
        }
    }
}

/// Tells the dialler.
pub(super) async fn send(stream: &mut TlsStream<TcpStream>, answer: Answer) -> io::Result<()> {
    stream.write_u8(answer.byte()).await?;
    stream.flush().await?;
    match answer {
        Answer::Admitted => Ok(()),
        Answer::Unknown | Answer::Duplicate | Answer::Busy => stream.shutdown().await,
    }
}

/// What the listening side says.
pub(super) async fn receive(stream: &mut TlsStream<TcpStream>) -> io::Result<Answer> {
    let byte = stream.read_u8().await?;
    Answer::ALL
        .into_iter()
        .find(|answer| answer.byte() == byte)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("unknown answer {byte:#04x}")))
}
