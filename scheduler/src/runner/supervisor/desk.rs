//! Answers the daemon, one question per connection.

use std::io;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::time::Duration;

use super::super::clock::BootMs;
use super::super::life::{Cause, STOP_GRACE_MS_MAX};
use super::super::talk::{Answer, Ask, read_ask, write_line};
use super::shared::Shared;

/// How long a caller may take to say what it wants, and to take the answer.
const CALLER_WAIT: Duration = Duration::from_secs(1);
/// How long the desk rests when connections cannot be taken, such as for want of descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

pub(super) fn spawn(shared: Arc<Shared>, listener: UnixListener) -> io::Result<()> {
    let work = move || {
        loop {
            match listener.accept() {
                Ok((stream, _)) => {
                    // A caller that hangs up, or talks nonsense, has only itself to blame.
                    let _ = serve(&shared, stream);
                }
                Err(_) => std::thread::sleep(ACCEPT_RETRY),
            }
        }
    };
    std::thread::Builder::new().name("desk".into()).spawn(work)?;
    Ok(())
}

fn serve(shared: &Shared, mut stream: UnixStream) -> io::Result<()> {
    stream.set_read_timeout(Some(CALLER_WAIT))?;
    stream.set_write_timeout(Some(CALLER_WAIT))?;
    let question = read_ask(&stream)?;
    if let Some(finished) = shared.finished() {
        return write_line(&mut stream, &Answer::Ended(Box::new(finished)));
    }
    let answer = match question {
        Ask::Extend { to } => {
            let extended = shared.life().extend(to);
            shared.wake_guard();
            match extended {
                Ok(deadline) => Answer::Extended { deadline },
                Err(why) => Answer::Refused { why: why.to_owned() },
            }
        }
        Ask::Stop { reason, grace_ms } => {
            let kill_at = BootMs::now().plus(grace_ms.min(STOP_GRACE_MS_MAX));
            shared.life().end(Cause::Stop(reason), kill_at);
            shared.wake_guard();
            Answer::Stopping
        }
        Ask::Status => Answer::Status(shared.life().status()),
        Ask::Wait => {
            shared.add_waiting(stream);
            return Ok(());
        }
        Ask::Follow => {
            shared.add_following(stream);
            return Ok(());
        }
    };
    write_line(&mut stream, &answer)
}
