//! What a line looks like, and what a log may take.

use std::fs;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tracing_subscriber::layer::SubscriberExt as _;

use super::file::{FILE_NAME, FILES_KEPT, Rotating};
use super::json::{Lines, TEXT_BYTES_MAX};
use super::{Filter, Format, Initialised, Options, init};

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The lines that `work` logs by `filter`.
fn lines(filter: &str, work: impl FnOnce()) -> Vec<Value> {
    let written = Shared::default();
    let filter: Filter = filter.parse().unwrap();
    let subscriber = tracing_subscriber::registry()
        .with(Lines::new("rhizome", written.clone()))
        .with(Lines::new("rhizome", io::sink()))
        .with(filter.compiled());
    tracing::subscriber::with_default(subscriber, work);
    let bytes = written.0.lock().unwrap();
    String::from_utf8_lossy(&bytes).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_line_carries_the_fields_of_its_event_and_spans() {
    let found = lines("info", || {
        let span = tracing::info_span!("request", request_id = "r-1", job = tracing::field::Empty);
        let _entered = span.enter();
        span.record("job", "abc");
        tracing::warn!(target: "node::link", peer = %"z6Mk", count = 3, level = "high", ok = true, "two\nlines");
    });
    let line = found[0].as_object().unwrap();
    let ts = line["ts"].as_str().unwrap();
    assert_eq!((ts.len(), ts.ends_with('Z')), (24, true), "{ts}");
    let age = OffsetDateTime::now_utc() - OffsetDateTime::parse(ts, &Rfc3339).unwrap();
    assert!(age.whole_seconds().abs() < 60, "{ts}");
    let mut rest = line.clone();
    rest.remove("ts");
    let expected = serde_json::json!({
        "level": "warn", "target": "node::link", "service": "rhizome", "message": "two\nlines", "request_id": "r-1",
        "job": "abc", "peer": "z6Mk", "count": 3, "field_level": "high", "ok": true,
    });
    assert_eq!(Value::Object(rest), expected);
}

#[test]
fn an_error_is_told_with_its_sources_and_a_long_text_is_cut() {
    #[derive(Debug, thiserror::Error)]
    #[error("cannot read the vault")]
    struct Outer(#[source] io::Error);
    let found = lines("info", || {
        let error = Outer(io::Error::other("the disk is gone"));
        tracing::error!(error = &error as &(dyn std::error::Error + 'static), long = "ä".repeat(TEXT_BYTES_MAX));
    });
    assert_eq!(found[0]["error"], "cannot read the vault: the disk is gone");
    let long = found[0]["long"].as_str().unwrap();
    assert!(long.len() <= TEXT_BYTES_MAX + 4 && long.ends_with("ä…"));
}

#[test]
fn a_filter_goes_by_module_and_knows_no_other_words() {
    let found = lines("warn,node::link=debug", || {
        tracing::info!(target: "node::api", "hidden");
        tracing::debug!(target: "node::link", "shown");
    });
    assert_eq!(found.iter().map(|line| &line["message"]).collect::<Vec<_>>(), ["shown"]);
    assert_eq!(
        "verbose".parse::<Filter>().unwrap_err().to_string(),
        "'verbose' is no level; there are error, warn, info, debug, trace and off"
    );
    for bad in ["", "info,,", "node=loud"] {
        assert!(bad.parse::<Filter>().is_err(), "{bad:?}");
    }
}

#[test]
fn a_full_log_starts_anew_and_keeps_a_few() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = Rotating::open_with(directory.path(), 100).unwrap();
    for n in 0..100 {
        log.write_all(format!("line {n:03} {}\n", "x".repeat(20)).as_bytes()).unwrap();
    }
    drop(log);
    let mut log = Rotating::open_with(directory.path(), 100).unwrap();
    log.write_all(b"the last\n").unwrap();
    let mut names: Vec<_> = fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names.len() as u32, 1 + FILES_KEPT);
    let mut kept = String::new();
    for number in (1..=FILES_KEPT).rev() {
        let text = fs::read_to_string(directory.path().join(format!("{FILE_NAME}.{number}"))).unwrap();
        assert!(text.len() <= 100 && text.ends_with('\n'), "{text:?}");
        kept.push_str(&text);
    }
    kept.push_str(&fs::read_to_string(directory.path().join(FILE_NAME)).unwrap());
    let numbers: Vec<u32> = kept.lines().filter_map(|line| line.split(' ').nth(1)?.parse().ok()).collect();
    assert!(numbers.is_sorted() && numbers.last() == Some(&99) && kept.ends_with("the last\n"), "{kept}");
}

#[test]
fn setting_up_twice_is_harmless() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options {
        filter: Filter::default(),
        format: Format::Text,
        service: "rhizome",
        directory: Some(directory.path().to_owned()),
    };
    init(&options).unwrap();
    assert_eq!(init(&options).unwrap(), Initialised::Before);
}
