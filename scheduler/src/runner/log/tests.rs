//! Frames, caps and tails, without a supervisor.

use std::time::Duration;

use super::reader::{LogEvent, LogReader};
use super::*;

fn cap(value: u64) -> Limit {
    Limit { value, strict: false }
}

fn all(dir: &Path, from: u64) -> Vec<(Stream, u64, String)> {
    let mut reader = LogReader::open(dir, from).unwrap();
    let mut read = Vec::new();
    while let LogEvent::Chunk(chunk) = reader.next(Duration::ZERO).unwrap() {
        read.push((chunk.stream, chunk.offset, String::from_utf8(chunk.bytes).unwrap()));
    }
    read
}

#[test]
fn a_log_is_read_from_any_offset() {
    // From inside a frame the reader gives the rest of it, and the digest covers the payloads alone.
    let dir = tempfile::tempdir().unwrap();
    let mut log = LogWriter::create(dir.path(), cap(1000)).unwrap();
    log.append(Stream::Out, b"hello ").unwrap();
    log.append(Stream::Err, b"world\n").unwrap();
    assert_eq!(all(dir.path(), 0), [(Stream::Out, 0, "hello ".into()), (Stream::Err, 6, "world\n".into())]);
    assert_eq!(all(dir.path(), 8), [(Stream::Err, 8, "rld\n".into())]);
    assert_eq!(all(dir.path(), 12), []);
    let end = log.finish().unwrap();
    assert_eq!(end.blob.digest, Digest(Sha256::digest(b"hello world\n").into()));
    assert_eq!((end.blob.size, end.tail.as_str()), (12, "hello world\n"));
}

#[test]
fn what_passes_the_cap_is_dropped_and_told() {
    // The log holds exactly its cap and then one line that counts what is missing.
    let dir = tempfile::tempdir().unwrap();
    let mut log = LogWriter::create(dir.path(), cap(4)).unwrap();
    assert_eq!(log.append(Stream::Out, b"abcdef").unwrap(), Kept::UpToCap);
    assert_eq!(log.append(Stream::Out, b"gh").unwrap(), Kept::UpToCap);
    log.finish().unwrap();
    let note = "4 bytes dropped: the log limit is 4 bytes\n".to_owned();
    assert_eq!(all(dir.path(), 0), [(Stream::Out, 0, "abcd".into()), (Stream::Note, 4, note)]);
}

#[test]
fn a_tail_is_short_and_text() {
    // Bytes that are no text grow when replaced, and a character is never cut in half.
    assert!(tail_text(&[0xff; 9000]).len() <= TAIL_BYTES_MAX);
    let text = "é".repeat(4000);
    let tail = tail_text(text.as_bytes());
    assert!(tail.len() <= TAIL_BYTES_MAX && tail.chars().all(|character| character == 'é'));
}

#[test]
fn a_half_written_frame_is_not_read() {
    // A reader that meets a frame in the making waits for the rest; a foreign byte is an error.
    let dir = tempfile::tempdir().unwrap();
    let mut log = LogWriter::create(dir.path(), cap(1000)).unwrap();
    log.append(Stream::Out, b"whole").unwrap();
    let half = Header { stream: Stream::Out, len: 100, offset: 5, time_ms: 0 }.encode();
    log.file.write_all(&half).unwrap();
    assert_eq!(all(dir.path(), 0).len(), 1);
    log.file.set_len(log.file_bytes).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&log.file, &[9; HEADER_BYTES], log.file_bytes).unwrap();
    let mut reader = LogReader::open(dir.path(), 5).unwrap();
    assert!(reader.next(Duration::ZERO).is_err());
}
