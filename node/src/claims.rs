//! The thread that owns the claim machine: takes events, hands effects to an executor, wakes when the machine asks.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use scheduler::machine::{Effect, Event, Machine};

use crate::clock::boot_now;

/// Most events that wait for the machine.
const EVENTS_MAX: usize = 8192;
/// Most events taken before the machine's wishes are looked at again.
const BATCH_EVENTS_MAX: usize = 256;
/// The longest sleep, so that a clock that jumped is noticed.
const SLEEP_MAX: Duration = Duration::from_secs(5);

/// What is put into the machine's queue.
enum Input {
    Event(Box<Event>),
    Stop,
}

/// A handle on the machine; clones are of one machine.
#[derive(Clone)]
pub struct Claims {
    sender: SyncSender<Input>,
    machine: Arc<Mutex<Machine>>,
}

/// The machine before its thread runs.
pub struct ClaimsThread {
    receiver: Receiver<Input>,
    machine: Arc<Mutex<Machine>>,
}

impl Claims {
    /// A handle and the thread to be.
    pub fn new(machine: Machine) -> (Self, ClaimsThread) {
        let (sender, receiver) = sync_channel(EVENTS_MAX);
        let machine = Arc::new(Mutex::new(machine));
        (Self { sender, machine: Arc::clone(&machine) }, ClaimsThread { receiver, machine })
    }

    /// Hands an event to the machine; waits while its queue is full.
    pub fn send(&self, event: Event) {
        // the thread ends only when the node does
        self.sender.send(Input::Event(Box::new(event))).ok();
    }

    /// Looks at the machine between two events.
    pub fn machine(&self) -> MutexGuard<'_, Machine> {
        lock(&self.machine)
    }

    /// Ends the thread after what is queued.
    pub fn stop(&self) {
        self.sender.send(Input::Stop).ok();
    }
}

impl ClaimsThread {
    /// Runs the machine. `execute` carries out an effect without blocking; what it gives back is the next event.
    pub fn spawn(
        self,
        execute: impl FnMut(Effect) -> Option<Event> + Send + 'static,
    ) -> std::io::Result<JoinHandle<()>> {
        std::thread::Builder::new().name("claims".into()).spawn(move || self.run(execute))
    }

    fn run(self, mut execute: impl FnMut(Effect) -> Option<Event>) {
        let mut own = VecDeque::new();
        loop {
            let now = boot_now();
            let sleep = lock(&self.machine)
                .next_wake(now)
                .map_or(SLEEP_MAX, |at| Duration::from_millis(at.0.saturating_sub(now.0)))
                .min(SLEEP_MAX);
            match self.receiver.recv_timeout(sleep) {
                Ok(Input::Event(event)) => own.push_back(*event),
                Ok(Input::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => own.push_back(Event::Tick),
            }
            while own.len() < BATCH_EVENTS_MAX {
                match self.receiver.try_recv() {
                    Ok(Input::Event(event)) => own.push_back(*event),
                    Ok(Input::Stop) => return,
                    Err(_) => break,
                }
            }
            while let Some(event) = own.pop_front() {
                let what = format!("{:?}", std::mem::discriminant(&event));
                let work = AssertUnwindSafe(|| {
                    let effects = lock(&self.machine).handle(event, boot_now());
                    own.extend(effects.into_iter().filter_map(&mut execute));
                });
                // without this thread the daemon would go on and decide nothing
                if catch_unwind(work).is_err() {
                    tracing::error!(event = what, "the claim machine failed at an event; it goes on with the next");
                }
            }
            metrics::counter!("rhizome_confirmations_late_total").absolute(lock(&self.machine).late_confirmations());
        }
    }
}

fn lock(machine: &Mutex<Machine>) -> MutexGuard<'_, Machine> {
    // a panic in the machine leaves it as it was between two assignments; the next event goes on from there
    machine.lock().unwrap_or_else(PoisonError::into_inner)
}
