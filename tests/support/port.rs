//! Ports for servers that must be told theirs before they start.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

/// The range is below the kernel's ephemeral ports, so that no outgoing connection of another test takes one of them.
const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;

static NEXT: AtomicU16 = AtomicU16::new(0);

/// A loopback port that nobody listens on and that this process has not handed out before.
pub fn free() -> u16 {
    // two test processes at once begin at different places
    let start = u16::try_from(std::process::id() % u32::from(COUNT)).expect("the remainder is below COUNT");
    for _ in 0..COUNT {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = FIRST + ((u32::from(start) * 61 + u32::from(step)) % u32::from(COUNT)) as u16;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
    panic!("every port from {FIRST} to {} is in use", FIRST + COUNT - 1);
}

/// A port in use is not handed out, and none is handed out twice.
#[test]
fn hands_out_free_ports_once() {
    let first = free();
    let _taken = TcpListener::bind((Ipv4Addr::LOCALHOST, first + 1));
    let more: Vec<u16> = (0..50).map(|_| free()).collect();
    assert!(!more.contains(&first));
    assert!(!more.contains(&(first + 1)), "{} is in use", first + 1);
}
