//! What goes over one connection at the same time.

use tokio::time::Instant;

use super::super::{Urgent, limits};
use super::*;

const LARGE_BYTES: u64 = 100_000_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_holds_up_nobody_and_nothing_piles_up() {
    // A body that nobody reads stops its maker within the windows, and other requests pass it by.
    let (a, b) = pair().await;
    let mut slow = a.get(&b, &format!("/bytes/{LARGE_BYTES}")).await.unwrap().into_body();
    slow.frame().await.unwrap().unwrap();
    let since = Instant::now();
    for _ in 0..200 {
        a.get_text(&b, "/who").await;
        b.get_text(&a, "/who").await;
    }
    println!("400 requests beside a body that nobody reads: {:?}", since.elapsed());
    let made = MADE_BYTES.load(Ordering::Relaxed);
    assert!(made < 8_000_000, "{made} bytes made for a reader of one chunk");
    let mut read = 0;
    while let Some(frame) = slow.frame().await {
        read += frame.unwrap().into_data().unwrap().len() as u64;
    }
    assert!(read > LARGE_BYTES - 2 * CHUNK.len() as u64, "{read} bytes read");
    throughput(&a, &b).await;
}

/// Here, not in a test of its own, since it would disturb the count of bytes made.
async fn throughput(a: &Node, b: &Node) {
    for path in [format!("/bytes/{LARGE_BYTES}"), "/sink".to_owned()] {
        let since = Instant::now();
        let mut asked = request(&path);
        if path == "/sink" {
            *asked.method_mut() = axum::http::Method::POST;
            *asked.body_mut() = bytes_body(LARGE_BYTES);
        }
        let mut body = a.link.request(&b.id, asked, LONG).await.unwrap().into_body();
        while let Some(frame) = body.frame().await {
            frame.unwrap();
        }
        let rate = LARGE_BYTES as f64 / 1e6 / since.elapsed().as_secs_f64();
        println!("{path}: {rate:.0} MB/s");
        assert!(rate > 5.0, "{path}: {rate:.1} MB/s");
    }
}

#[tokio::test]
async fn bodies_stream_both_ways() {
    // The answer comes while the question is still being sent.
    let (a, b) = pair().await;
    let (send, receive) = tokio::sync::mpsc::channel::<Result<Bytes, std::io::Error>>(1);
    let body = Body::from_stream(stream::unfold(receive, |mut receive| async {
        receive.recv().await.map(|chunk| (chunk, receive))
    }));
    let asked = Request::builder().method("POST").uri("/echo").body(body).unwrap();
    let mut answer = a.link.request(&b.id, asked, LONG).await.unwrap().into_body();
    for round in 0..100u32 {
        send.send(Ok(Bytes::from(round.to_string()))).await.unwrap();
        let echoed = answer.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(echoed, round.to_string());
    }
    drop(send);
    assert!(answer.frame().await.is_none());
}

#[tokio::test]
async fn urgent_requests_pass_a_full_link() {
    // With every stream taken an ordinary request times out, an urgent one is answered, and streams come free again.
    let (a, b) = pair().await;
    let mut open = Vec::new();
    for _ in 0..limits::STREAMS_OUT_MAX {
        open.push(a.get(&b, "/endless").await.unwrap());
    }
    let waited = a.link.request(&b.id, request("/who"), Duration::from_millis(100)).await.unwrap_err();
    assert!(matches!(waited, LinkError::TimedOut { .. }), "{waited}");
    let mut urgent = request("/who");
    urgent.extensions_mut().insert(Urgent);
    assert_eq!(a.link.request(&b.id, urgent, LONG).await.unwrap().status(), 200);
    drop(open);
    assert_eq!(a.get(&b, "/who").await.unwrap().status(), 200);
}

#[tokio::test]
async fn many_short_requests_keep_the_connection() {
    // Streams that were dropped count no longer, however many there were.
    let (a, b) = pair().await;
    let mut events = a.link.subscribe();
    let asked = stream::iter(0..2_000).map(|_| a.get_text(&b, "/who")).buffer_unordered(200);
    assert_eq!(asked.count().await, 2_000);
    for _ in 0..500 {
        drop(a.get(&b, "/endless").await.unwrap());
    }
    assert_eq!(a.get(&b, "/who").await.unwrap().status(), 200);
    assert!(events.try_recv().is_err(), "the connection was lost");
}

#[tokio::test]
async fn a_head_too_large_is_refused() {
    // The limit on a request's head is answered as such.
    let (a, b) = pair().await;
    let mut asked = request("/who");
    let long = "x".repeat(limits::HEADER_BYTES_MAX);
    asked.headers_mut().insert("x-long", long.parse().unwrap());
    assert_eq!(a.link.request(&b.id, asked, LONG).await.unwrap().status(), 431);
}
