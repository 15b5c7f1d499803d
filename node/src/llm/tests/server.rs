//! A server that answers what it was told to, one request on each connection, and keeps what it was asked.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use serde_json::Value;

/// What it does with a request.
pub enum Act {
    /// It answers.
    Answer {
        /// Such as `404 Not Found`.
        status: &'static str,
        /// Besides those of the body.
        headers: &'static str,
        /// The body.
        body: String,
    },
    /// It answers a part of the body only.
    Half(&'static str),
    /// It answers nothing until the other side gives up.
    Silence,
}

/// What it was asked.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The first line and the headers, in lower case.
    pub head: String,
    /// The body.
    pub body: Value,
}

/// A running server; it ends with its script.
pub struct Server {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    thread: Option<JoinHandle<()>>,
}

/// An answer with status 200.
pub fn ok(body: impl Into<String>) -> Act {
    Act::Answer { status: "200 OK", headers: "", body: body.into() }
}

/// Another answer.
pub fn answer(status: &'static str, body: &str) -> Act {
    Act::Answer { status, headers: "", body: body.to_owned() }
}

impl Server {
    pub fn start(script: Vec<Act>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&asked);
        let thread = std::thread::spawn(move || {
            for act in script {
                let (mut stream, _) = listener.accept().unwrap();
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                kept.lock().unwrap().push(read(&mut reader));
                play(act, &mut stream, &mut reader);
            }
        });
        Self { address, asked, thread: Some(thread) }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What it was asked, once its script is at its end.
    pub fn asked(mut self) -> Vec<Asked> {
        self.thread.take().unwrap().join().unwrap();
        self.asked.lock().unwrap().clone()
    }
}

fn read(reader: &mut BufReader<TcpStream>) -> Asked {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert_ne!(reader.read_line(&mut head).unwrap(), 0, "the request ends early: {head}");
    }
    let head = head.to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |n| n.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    Asked { head, body: serde_json::from_slice(&body).unwrap() }
}

fn play(act: Act, stream: &mut TcpStream, reader: &mut BufReader<TcpStream>) {
    match act {
        Act::Answer { status, headers, body } => {
            let head =
                format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n{headers}\r\n", body.len());
            // a client that reads no more is no fault
            stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes())).ok();
        }
        Act::Half(body) => {
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len() + 1);
            stream.write_all(head.as_bytes()).unwrap();
        }
        Act::Silence => {
            // it ends when the other side does
            reader.read_to_end(&mut Vec::new()).ok();
        }
    }
}
