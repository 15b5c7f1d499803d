//! `/stream/{id}`: order, resuming, heartbeats, and how a stream is closed.

use std::time::Duration;

use futures::StreamExt;
use hyper::Method;
use serde_json::{Value, json};
use tokio::net::UnixStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{self, Message};

use super::rig::Rig;
use crate::api::settings::{Limits, Settings};

async fn open(rig: &Rig, target: &str) -> Result<WebSocketStream<UnixStream>, tungstenite::Error> {
    let stream = UnixStream::connect(&rig.socket).await.unwrap();
    tokio_tungstenite::client_async(format!("ws://localhost{target}"), stream).await.map(|(socket, _)| socket)
}

/// The next message, or the code and reason of the close.
async fn next(socket: &mut WebSocketStream<UnixStream>) -> Result<Value, (u16, String)> {
    loop {
        match socket.next().await.unwrap().unwrap() {
            Message::Text(text) => return Ok(serde_json::from_str(&text).unwrap()),
            Message::Close(frame) => {
                let frame = frame.unwrap();
                return Err((frame.code.into(), frame.reason.to_string()));
            }
            Message::Ping(_) | Message::Pong(_) | Message::Binary(_) | Message::Frame(_) => {}
        }
    }
}

/// Everything comes in order, ends with the result, and says so; from a sequence number on only what is behind it.
#[tokio::test]
async fn tells_all_and_resumes() {
    let rig = Rig::start(Settings::default()).await;
    let id = rig.job(&["say", "hello"]).await;
    for (since, expected) in [("", vec![1, 2, 3, 4]), ("?since=2", vec![3, 4]), ("?since=4", vec![])] {
        let mut socket = open(&rig, &format!("/stream/{id}{since}")).await.unwrap();
        let mut seen = Vec::new();
        let ended = loop {
            match next(&mut socket).await {
                Ok(message) => seen.push(message),
                Err(ended) => break ended,
            }
        };
        let order: Vec<u64> = seen.iter().map(|message| message["payload"]["seq"].as_u64().unwrap()).collect();
        assert_eq!((order, ended), (expected, (1000, String::from("finished"))), "{since}");
        if let Some(first) = seen.first().filter(|_| since.is_empty()) {
            assert_eq!(first["type"], "status");
            assert_eq!((&seen[1]["payload"]["text"], &seen[3]["type"]), (&json!("hello\n"), &json!("result")));
        }
    }
}

/// An idle stream says that it lives, with the last sequence number; when the daemon stops it says that too.
#[tokio::test]
async fn beats_and_says_when_it_stops() {
    let limits = Limits { heartbeat: Duration::from_millis(20), ..Limits::default() };
    let rig = Rig::start(Settings { limits, ..Settings::default() }).await;
    let id = rig.job(&["wait"]).await;
    let mut socket = open(&rig, &format!("/stream/{id}")).await.unwrap();
    assert_eq!(next(&mut socket).await.unwrap()["type"], "status");
    let beat = next(&mut socket).await.unwrap();
    assert_eq!((&beat["type"], &beat["payload"]["seq"]), (&json!("heartbeat"), &json!(1)));
    let ts = beat["ts"].as_str().unwrap();
    assert!(ts.len() == 24 && ts.ends_with('Z') && ts.as_bytes()[19] == b'.', "{ts}");
    rig.stop.cancel();
    let ended = loop {
        if let Err(ended) = next(&mut socket).await {
            break ended;
        }
    };
    assert_eq!(ended, (1001, String::from("shutting_down")));
}

/// A follower that takes nothing is closed, with a reason that it can read when it comes to it.
#[tokio::test]
async fn closes_a_slow_reader() {
    let limits = Limits { send_stall: Duration::from_millis(50), ..Limits::default() };
    let rig = Rig::start(Settings { limits, ..Settings::default() }).await;
    let id = rig.job(&["flood"]).await;
    let mut socket = open(&rig, &format!("/stream/{id}")).await.unwrap();
    // a slot is given back only when the stream is closed
    rig.node.flooded.notified().await;
    let ended = loop {
        match socket.next().await {
            Some(Ok(Message::Close(Some(frame)))) => break Some(u16::from(frame.code)),
            Some(Ok(_)) => {}
            // cut, since the follower took not even the close in time
            Some(Err(_)) | None => break None,
        }
    };
    assert!(matches!(ended, Some(4008) | None), "{ended:?}");
}

/// A job that is not there, and a follower too many, are told before the upgrade.
#[tokio::test]
async fn refuses_before_the_upgrade() {
    let limits = Limits { streams: 1, ..Limits::default() };
    let rig = Rig::start(Settings { limits, ..Settings::default() }).await;
    let id = rig.job(&["wait"]).await;
    let _first = open(&rig, &format!("/stream/{id}")).await.unwrap();
    for (target, status) in [(String::from("/stream/ffff"), 404), (format!("/stream/{id}"), 503)] {
        let Err(tungstenite::Error::Http(refused)) = open(&rig, &target).await else { panic!("{target} was opened") };
        assert_eq!(refused.status().as_u16(), status);
        let problem: Value = serde_json::from_slice(refused.body().as_ref().unwrap()).unwrap();
        assert_eq!(problem["status"], status);
    }
    let plain = rig.owner(Method::GET, &format!("/stream/{id}"), "").await;
    assert_eq!(plain.problem(), "busy");
}
