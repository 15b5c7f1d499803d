//! Keeps the deadline: sleeps on the boot-time clock and carries out what [`Life`] says is due.
//!
//! Touches no disk and waits for nobody, so that a stalled disk or daemon cannot delay the end of a lease.
//!
//! [`Life`]: super::super::life::Life

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::event::{PollFd, PollFlags};
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};

use super::super::clock::BootMs;
use super::super::life::Due;
use super::shared::Shared;

pub(super) fn spawn(shared: Arc<Shared>) -> io::Result<()> {
    let timer = rustix::time::timerfd_create(TimerfdClockId::Boottime, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
    std::thread::Builder::new().name("guard".into()).spawn(move || keep(&shared, &timer))?;
    Ok(())
}

fn keep(shared: &Shared, timer: &OwnedFd) {
    loop {
        let (due, next) = {
            let mut life = shared.life();
            (life.due(BootMs::now()), life.next())
        };
        match due {
            Due::Nothing => {}
            Due::Terminate => shared.terminate(),
            Due::Kill => shared.kill(),
        }
        sleep_until(shared, timer, next).expect("a timer and a counter of our own can be waited for");
    }
}

/// Sleeps until `moment`, or until the life changes.
fn sleep_until(shared: &Shared, timer: &OwnedFd, moment: BootMs) -> io::Result<()> {
    // A moment of zero would disarm the timer.
    let moment = moment.max(BootMs(1)).min(BootMs(i64::MAX.unsigned_abs() / 1_000_000));
    let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: moment.timespec() };
    rustix::time::timerfd_settime(timer, TimerfdTimerFlags::ABSTIME, &once)?;
    let mut polled = [PollFd::new(timer, PollFlags::IN), PollFd::new(shared.wake_fd(), PollFlags::IN)];
    match rustix::event::poll(&mut polled, None) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    // Emptied, whatever it held: the life is looked at either way.
    let _ = rustix::io::read(shared.wake_fd(), &mut [0; 8]);
    Ok(())
}
