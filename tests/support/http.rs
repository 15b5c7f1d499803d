//! The smallest client that can ask a local server: one request a connection, over TCP or a unix socket.

use std::io::{Read, Write};

use serde_json::Value;

/// What a server answered.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// A request; headers are whole lines.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    pub method: &'a str,
    pub target: &'a str,
    pub host: &'a str,
    pub headers: &'a [String],
    pub body: &'a [u8],
}

/// Sends a request and reads the answer to its end; none when the server broke off.
pub fn ask(mut stream: impl Read + Write, request: Request<'_>) -> Option<Answer> {
    let Request { method, target, host, headers, body } = request;
    let mut head = format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
    for header in headers {
        head.push_str(header);
        head.push_str("\r\n");
    }
    head.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
    stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body)).ok()?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).ok()?;
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let body = &bytes[end + 4..];
    let chunked = head.contains("transfer-encoding: chunked");
    Some(Answer { status, body: if chunked { unchunk(body)? } else { body.to_vec() } })
}

/// The content of a body that was sent in chunks; none when its end is missing.
fn unchunk(mut body: &[u8]) -> Option<Vec<u8>> {
    let mut content = Vec::new();
    loop {
        let line = body.windows(2).position(|window| window == b"\r\n")?;
        let size = usize::from_str_radix(std::str::from_utf8(&body[..line]).ok()?, 16).ok()?;
        let chunk = body.get(line + 2..line + 2 + size)?;
        if size == 0 {
            return Some(content);
        }
        content.extend_from_slice(chunk);
        body = body.get(line + 2 + size + 2..)?;
    }
}

/// A body in chunks is put together, and one without its end is none.
#[test]
fn reads_chunks() {
    assert_eq!(unchunk(b"5\r\nhello\r\nb\r\n, the world\r\n0\r\n\r\n").unwrap(), b"hello, the world");
    assert_eq!(unchunk(b"5\r\nhello\r\n"), None);
}
