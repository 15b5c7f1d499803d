//! How a passage is shown in a pack: a line that cites it, and its text.

use super::Candidate;

/// Hexadecimal digits of a digest that a line has: enough to find a passage by; the whole is in the citation.
const DIGEST_SHOWN: usize = 12;

/// The passage, as far as it is shown, with an empty line after it.
pub fn piece(candidate: &Candidate, shown: usize) -> String {
    let text = &candidate.text[..shown];
    let mut piece = line(candidate, shown);
    piece.push_str("\n\n");
    piece.push_str(text);
    if let Some(fence) = open_fence(text) {
        // else what follows would be code
        piece.push('\n');
        piece.push_str(&fence);
    }
    piece.push_str("\n\n");
    piece
}

/// The last line of a passage, as far as it is shown.
pub fn last_line(candidate: &Candidate, shown: usize) -> usize {
    candidate.line + candidate.text[..shown].trim_end().matches('\n').count()
}

fn line(candidate: &Candidate, shown: usize) -> String {
    let mut line = one_line(&candidate.path);
    for heading in &candidate.headings {
        line.push_str(" > ");
        line.push_str(&one_line(heading));
    }
    if let Some(block) = &candidate.block {
        line.push_str(" ^");
        line.push_str(&one_line(block));
    }
    let digest = &candidate.digest[..candidate.digest.floor_char_boundary(DIGEST_SHOWN)];
    let (first, last) = (candidate.line, last_line(candidate, shown));
    line.push_str(&format!(" sha256:{digest} lines {first}-{last}"));
    let whole = candidate.text.len();
    if shown < whole {
        line.push_str(&format!(", cut to {shown} of {whole} bytes"));
    }
    line
}

/// A name in one line: a file may be called otherwise.
fn one_line(name: &str) -> String {
    let breaks = |letter: char| letter.is_control() || matches!(letter, '\u{2028}' | '\u{2029}');
    name.chars().map(|letter| if breaks(letter) { ' ' } else { letter }).collect()
}

/// What closes the code that a text leaves open (CommonMark 0.31, 4.5).
fn open_fence(text: &str) -> Option<String> {
    let mut open: Option<(char, usize)> = None;
    for line in text.lines() {
        let content = line.trim_start_matches([' ', '>']);
        let Some(mark) = content.chars().next().filter(|first| ['`', '~'].contains(first)) else { continue };
        let length = content.chars().take_while(|letter| *letter == mark).count();
        let after = &content[length..];
        open = match open {
            None if length >= 3 && !(mark == '`' && after.contains('`')) => Some((mark, length)),
            Some(opened) if opened.0 == mark && length >= opened.1 && after.trim().is_empty() => None,
            as_before => as_before,
        };
    }
    open.map(|(mark, length)| mark.to_string().repeat(length))
}
