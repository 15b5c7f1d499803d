//! The symbols of source files, found by a process of its own: the parsers are written in C, and what somebody else put into a
//! file may end them, but not the daemon.

use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, setrlimit};
use vault::code::{self, Language, Symbol};

/// The hidden verb of this binary that finds symbols.
pub const VERB: &str = "symbols";
/// How long one file may take: its parser has a limit of its own far below.
const ANSWER: Duration = Duration::from_secs(10);
/// Longest answer, in bytes: symbols of a megabyte of text.
const ANSWER_BYTES_MAX: u32 = 64 << 20;
/// What the process may have of memory, in bytes: a parser's stack takes 256 times a text's length of addresses.
const ADDRESS_BYTES_MAX: u64 = 2 << 30;

/// Who finds symbols. It starts its process when it is asked first.
pub struct Finder {
    program: PathBuf,
    running: Mutex<Option<Running>>,
}

/// The process, and the way to it.
struct Running {
    child: Child,
    stream: UnixStream,
    used: Instant,
}

impl Finder {
    /// Takes the program that has the hidden verb.
    pub fn new(program: PathBuf) -> Self {
        Self { program, running: Mutex::default() }
    }

    /// The symbols of a text.
    ///
    /// # Errors
    /// When the process ends over it or takes too long, in words for people; the next text gets another process.
    pub fn find(&self, language: Language, text: &str) -> Result<Vec<Symbol>, String> {
        if !code::PARSED.contains(&language) || text.len() > code::BYTES_MAX {
            return Ok(Vec::new());
        }
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let known = running.take().map(|mut process| (process.ask(language, text), process));
        let (symbols, mut process) = match known {
            // one that was started for another text may have ended since, and not over this one
            None => self.ask_another(language, text)?,
            Some((Err(error), _)) if has_ended(&error) => self.ask_another(language, text)?,
            Some((asked, process)) => (asked.map_err(|error| over_it(&error))?, process),
        };
        process.used = Instant::now();
        *running = Some(process);
        Ok(symbols)
    }

    fn ask_another(&self, language: Language, text: &str) -> Result<(Vec<Symbol>, Running), String> {
        let start = Running::start(&self.program);
        let mut process = start.map_err(|error| format!("the parser does not start: {error}"))?;
        Ok((process.ask(language, text).map_err(|error| over_it(&error))?, process))
    }

    /// Ends a process that nobody has asked for so long.
    pub fn release(&self, idle: Duration) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if running.as_ref().is_some_and(|process| process.used.elapsed() >= idle) {
            *running = None;
        }
    }
}

impl Running {
    fn start(program: &PathBuf) -> io::Result<Self> {
        let (stream, theirs) = UnixStream::pair()?;
        stream.set_read_timeout(Some(ANSWER))?;
        stream.set_write_timeout(Some(ANSWER))?;
        let input = OwnedFd::from(theirs.try_clone()?);
        let child = Command::new(program)
            .arg(VERB)
            .env_clear()
            .stdin(Stdio::from(input))
            .stdout(Stdio::from(OwnedFd::from(theirs)))
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self { child, stream, used: Instant::now() })
    }

    /// By the language's name: the program may be another one since it was replaced.
    fn ask(&mut self, language: Language, text: &str) -> io::Result<Vec<Symbol>> {
        let mut question = Vec::with_capacity(text.len() + 64);
        for part in [language.name(), text] {
            question.extend(length(part.as_bytes()));
            question.extend(part.as_bytes());
        }
        self.stream.write_all(&question)?;
        let answer = read_frame(&mut self.stream, ANSWER_BYTES_MAX)?;
        Ok(serde_json::from_slice(&answer)?)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // both fail only where it has ended already
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn has_ended(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionReset | UnexpectedEof)
}

fn over_it(error: &io::Error) -> String {
    format!("the parser ended over it: {error}")
}

fn length(bytes: &[u8]) -> [u8; 4] {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes()
}

fn read_frame(input: &mut impl Read, most: u32) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    input.read_exact(&mut length)?;
    let length = u32::from_le_bytes(length);
    if length > most {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{length} bytes, {most} are the most")));
    }
    let mut bytes = vec![0; length as usize];
    input.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// The body of the hidden verb: answers until its input ends.
///
/// # Errors
/// When it is asked what nobody asks.
pub fn serve(input: &mut impl Read, output: &mut impl Write) -> io::Result<()> {
    let limit = Rlimit { current: Some(ADDRESS_BYTES_MAX), maximum: Some(ADDRESS_BYTES_MAX) };
    setrlimit(Resource::As, limit)?;
    let most = u32::try_from(code::BYTES_MAX).unwrap_or(u32::MAX);
    loop {
        let name = match read_frame(input, most) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            name => name?,
        };
        let unknown = || io::Error::new(io::ErrorKind::InvalidData, "no such language");
        let is_it = |language: &&Language| language.name().as_bytes() == name;
        let language = *code::PARSED.iter().find(is_it).ok_or_else(unknown)?;
        let text = String::from_utf8(read_frame(input, most)?).map_err(|_| unknown())?;
        let answer = serde_json::to_vec(&code::symbols(language, &text))?;
        output.write_all(&length(&answer))?;
        output.write_all(&answer)?;
        output.flush()?;
    }
}
