//! Bytes of a network into whole lines and whole events, wherever they were cut on their way.

use std::mem;

/// Longest line or event that is waited for, in bytes: an image in base64 has a few million.
pub const FRAME_BYTES_MAX: usize = 16 << 20;
/// What a text may begin with, and says nothing.
const BOM: &[u8] = b"\xef\xbb\xbf";

/// A line or an event that is longer than [`FRAME_BYTES_MAX`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a line of the answer has more than {FRAME_BYTES_MAX} bytes")]
pub struct TooLong;

/// Lines that end in `\n`, as those of NDJSON; a `\r` before it is white space of JSON and stays.
#[derive(Default, Debug)]
pub struct Lines {
    bytes: Vec<u8>,
    /// Where the next line begins.
    start: usize,
    /// How far there is no end of it.
    searched: usize,
    /// Bytes after the last end of a line.
    open: usize,
}

impl Lines {
    /// Takes what came.
    ///
    /// # Errors
    /// When a line is too long.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), TooLong> {
        // what was handed out goes before the buffer grows
        if self.start > 0 {
            self.bytes.drain(..self.start);
            self.searched -= self.start;
            self.start = 0;
        }
        self.bytes.extend_from_slice(bytes);
        let after = bytes.iter().rposition(|byte| *byte == b'\n').map(|at| bytes.len() - at - 1);
        self.open = after.unwrap_or(self.open + bytes.len());
        if self.open > FRAME_BYTES_MAX { Err(TooLong) } else { Ok(()) }
    }

    /// The next line that is whole, without its end.
    pub fn line(&mut self) -> Option<&[u8]> {
        let at = self.bytes[self.searched..].iter().position(|byte| *byte == b'\n');
        let Some(at) = at else {
            self.searched = self.bytes.len();
            return None;
        };
        let (from, to) = (self.start, self.searched + at);
        self.start = to + 1;
        self.searched = self.start;
        Some(&self.bytes[from..to])
    }

    /// What came after the last end of a line.
    pub fn rest(&mut self) -> Vec<u8> {
        let rest = self.bytes.split_off(self.start);
        *self = Self::default();
        rest
    }
}

/// An event of a stream of server-sent events.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Event {
    /// Its type; none says what the stream is about.
    pub name: Option<Vec<u8>>,
    /// Its lines of data, with `\n` between.
    pub data: Vec<u8>,
}

/// Server-sent events, as the HTML standard takes them apart: lines that end in `\n`, `\r\n` or `\r`, comments, fields.
#[derive(Default, Debug)]
pub struct Events {
    line: Vec<u8>,
    event: Event,
    has_data: bool,
    /// A line ended in `\r`: a `\n` that follows belongs to it.
    after_return: bool,
    /// Whether a line of the stream has ended: a byte order mark comes before the first.
    has_line: bool,
}

impl Events {
    /// Takes what came, and tells the events that are whole, in their order.
    ///
    /// # Errors
    /// When an event is too long; the events before it were told.
    pub fn push(&mut self, mut bytes: &[u8], mut tell: impl FnMut(Event)) -> Result<(), TooLong> {
        while let Some(first) = bytes.first() {
            if mem::take(&mut self.after_return) && *first == b'\n' {
                bytes = &bytes[1..];
                continue;
            }
            let end = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
            self.line.extend_from_slice(&bytes[..end.unwrap_or(bytes.len())]);
            if self.line.len() + self.event.data.len() > FRAME_BYTES_MAX {
                return Err(TooLong);
            }
            let Some(end) = end else { return Ok(()) };
            self.after_return = bytes[end] == b'\r';
            bytes = &bytes[end + 1..];
            if let Some(event) = self.end_line() {
                tell(event);
            }
        }
        Ok(())
    }

    /// The end of the stream: the event that has begun, if it has data. The standard throws it away; servers that leave
    /// out the last empty line mean it, and who reads it sees whether its data are whole.
    pub fn rest(&mut self) -> Option<Event> {
        if !self.line.is_empty() {
            self.end_line();
        }
        self.event()
    }

    fn end_line(&mut self) -> Option<Event> {
        let line = mem::take(&mut self.line);
        let is_first = !mem::replace(&mut self.has_line, true);
        let text = if is_first { line.strip_prefix(BOM).unwrap_or(&line) } else { &line };
        if text.is_empty() {
            let event = self.event();
            self.line = cleared(line);
            return event;
        }
        let colon = text.iter().position(|byte| *byte == b':').unwrap_or(text.len());
        let (field, value) = (&text[..colon], text.get(colon + 1..).unwrap_or_default());
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"data" => {
                if mem::replace(&mut self.has_data, true) {
                    self.event.data.push(b'\n');
                }
                self.event.data.extend_from_slice(value);
            }
            b"event" => self.event.name = Some(value.to_vec()),
            // a comment, an id, a wait: nothing is asked again from the middle of an answer
            _ => {}
        }
        self.line = cleared(line);
        None
    }

    fn event(&mut self) -> Option<Event> {
        let event = mem::take(&mut self.event);
        mem::take(&mut self.has_data).then_some(event)
    }
}

fn cleared(mut line: Vec<u8>) -> Vec<u8> {
    line.clear();
    line
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lines(parts: &[&[u8]]) -> (Vec<Vec<u8>>, Vec<u8>) {
        let (mut lines, mut all) = (Lines::default(), Vec::new());
        for part in parts {
            lines.push(part).unwrap();
            while let Some(line) = lines.line() {
                all.push(line.to_vec());
            }
        }
        (all, lines.rest())
    }

    fn events(parts: &[&[u8]]) -> Vec<(Option<String>, String)> {
        let (mut events, mut all) = (Events::default(), Vec::new());
        for part in parts {
            events.push(part, |event| all.push(event)).unwrap();
        }
        all.extend(events.rest());
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        all.into_iter().map(|event| (event.name.map(text), text(event.data))).collect()
    }

    fn data(text: &str) -> (Option<String>, String) {
        (None, text.to_owned())
    }

    #[test]
    fn lines_are_whole_wherever_they_are_cut() {
        let text = "{\"a\":\"ü\"}\n\n{\"b\":1}\r\n{\"cut\":".as_bytes();
        let whole = lines(&[text]);
        assert_eq!(whole.0, ["{\"a\":\"ü\"}".as_bytes(), b"", b"{\"b\":1}\r"]);
        assert_eq!(whole.1, b"{\"cut\":");
        for first in 0..=text.len() {
            for second in first..=text.len() {
                assert_eq!(lines(&[&text[..first], &text[first..second], &text[second..]]), whole, "{first} {second}");
            }
        }
    }

    #[test]
    fn events_are_whole_wherever_they_are_cut() {
        let text = "\u{feff}data: one\n\n: a comment\r\nevent: delta\r\ndata:two\r\ndata:  three\r\n\r\nid: 7\ndata\n\nretry: 5\n\n\
                    event: none\n\rdata: [DONE]";
        let wanted = [data("one"), (Some("delta".into()), "two\n three".into()), data(""), data("[DONE]")];
        for first in 0..=text.len() {
            for second in first..=text.len() {
                let text = text.as_bytes();
                let got = events(&[&text[..first], &text[first..second], &text[second..]]);
                assert_eq!(got, wanted, "{first} {second}");
            }
        }
    }

    #[test]
    fn a_byte_order_mark_is_one_at_the_beginning_only() {
        let text = "\u{feff}data: one\n\n\u{feff}data: two\n\n";
        assert_eq!(events(&[text.as_bytes()]), [data("one")]);
    }

    #[test]
    fn what_has_no_end_is_refused() {
        let much = vec![b'x'; FRAME_BYTES_MAX + 1];
        assert_eq!(Lines::default().push(&much), Err(TooLong));
        assert_eq!(Events::default().push(&much, |_| panic!("there is no event")), Err(TooLong));
        // as many bytes in lines that end
        let mut lines = Lines::default();
        for _ in 0..3 {
            lines.push(&much[..FRAME_BYTES_MAX / 2]).unwrap();
            lines.push(b"\n").unwrap();
            assert!(lines.line().is_some());
        }
        let mut event = Events::default();
        let line = [b"data:".as_slice(), &much[..FRAME_BYTES_MAX / 2], b"\n"].concat();
        event.push(&line, |_| {}).unwrap();
        assert_eq!(event.push(&line, |_| {}).and_then(|()| event.push(&line, |_| {})), Err(TooLong));
    }

    proptest! {
        /// What is written comes back, in pieces of any size.
        #[test]
        fn events_come_back(
            texts in prop::collection::vec("[a-zü :\n\u{1f600}]{0,12}", 0..8),
            ends in prop::collection::vec(0_usize..3, 64),
            sizes in prop::collection::vec(1_usize..9, 1..20),
        ) {
            let (mut written, mut ends) = (Vec::new(), ends.into_iter().cycle());
            let mut end = |written: &mut Vec<u8>| {
                written.extend_from_slice([b"\n".as_slice(), b"\r\n", b"\r"][ends.next().unwrap()]);
            };
            for text in &texts {
                for line in text.split('\n') {
                    written.extend_from_slice(b"data: ");
                    written.extend_from_slice(line.as_bytes());
                    end(&mut written);
                }
                // `\r` and then `\n` would be one end
                written.extend_from_slice(b": next");
                end(&mut written);
                written.extend_from_slice(b"\n");
                if written.ends_with(b"\r\n") {
                    written.extend_from_slice(b"\n");
                }
            }
            let (mut parts, mut rest, mut sizes) = (Vec::new(), &written[..], sizes.into_iter().cycle());
            while !rest.is_empty() {
                let (part, after) = rest.split_at(sizes.next().unwrap().min(rest.len()));
                parts.push(part);
                rest = after;
            }
            let wanted: Vec<_> = texts.iter().map(|text| data(text)).collect();
            prop_assert_eq!(events(&parts), wanted);
        }
    }
}
