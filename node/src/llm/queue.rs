//! How many requests a model has at once, and how many wait: Ollama's own queue cannot be seen, and what a cloud refuses was
//! paid for in time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

/// The place of a model's requests.
#[derive(Debug)]
pub struct Queue {
    slots: Arc<Semaphore>,
    at_once: u32,
    waiting_max: u32,
    /// Under way and waiting.
    requests: AtomicU32,
}

/// A request that is under way; the next one begins when it is dropped.
#[derive(Debug)]
pub struct Slot {
    _permit: OwnedSemaphorePermit,
    _counted: Counted,
    /// How many were before it when it came.
    pub position: u32,
}

/// Why a request does not begin.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// So many are before it, as many as may be.
    Full {
        /// Under way and waiting.
        requests: u32,
    },
    /// Its time was over while it waited, with so many before it at first.
    Late {
        /// Under way and waiting.
        position: u32,
    },
}

#[derive(Debug)]
struct Counted(Arc<Queue>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.requests.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Queue {
    /// For so many at once, and so many that wait.
    pub fn new(at_once: u32, waiting_max: u32) -> Arc<Self> {
        let slots = Arc::new(Semaphore::new(at_once as usize));
        Arc::new(Self { slots, at_once, waiting_max, requests: AtomicU32::new(0) })
    }

    /// Requests under way and waiting.
    pub fn requests(&self) -> u32 {
        self.requests.load(Ordering::Acquire)
    }

    /// Those under way.
    pub fn under_way(&self) -> u32 {
        let free = u32::try_from(self.slots.available_permits()).unwrap_or(u32::MAX);
        self.at_once.saturating_sub(free)
    }

    /// Most of both.
    pub fn requests_max(&self) -> u32 {
        self.at_once.saturating_add(self.waiting_max)
    }

    /// Waits for its turn: first come, first served.
    ///
    /// # Errors
    /// When too many are before it, or its time is over.
    pub async fn enter(self: &Arc<Self>, until: Instant) -> Result<Slot, Refused> {
        let counted = self.requests.fetch_update(Ordering::AcqRel, Ordering::Acquire, |requests| {
            (requests < self.requests_max()).then_some(requests + 1)
        });
        let position = counted.map_err(|requests| Refused::Full { requests })?;
        let counted = Counted(Arc::clone(self));
        match timeout_at(until, Arc::clone(&self.slots).acquire_owned()).await {
            Ok(permit) => {
                let permit = permit.expect("the semaphore is never closed");
                Ok(Slot { _permit: permit, _counted: counted, position })
            }
            Err(_) => Err(Refused::Late { position }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(20)
    }

    fn later() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    #[tokio::test]
    async fn first_come_first_served_and_no_more_than_fit() {
        let queue = Queue::new(1, 2);
        let first = queue.enter(later()).await.unwrap();
        let mut waiting = Vec::new();
        for position in 1..=2 {
            let queue = Arc::clone(&queue);
            let begins = Arc::clone(&queue);
            waiting.push(tokio::spawn(async move { queue.enter(later()).await.unwrap() }));
            while begins.requests() <= position {
                tokio::task::yield_now().await;
            }
        }
        assert_eq!((queue.requests(), queue.under_way(), queue.requests_max()), (3, 1, 3));
        assert_eq!(queue.enter(later()).await.unwrap_err(), Refused::Full { requests: 3 });
        drop(first);
        let second = waiting.remove(0).await.unwrap();
        assert_eq!((second.position, queue.requests()), (1, 2));
        drop(second);
        assert_eq!(waiting.remove(0).await.unwrap().position, 2);
        assert_eq!(queue.requests(), 0);
    }

    #[tokio::test]
    async fn who_goes_away_or_is_late_leaves_no_trace() {
        let queue = Queue::new(1, 1);
        let first = queue.enter(later()).await.unwrap();
        assert_eq!(queue.enter(soon()).await.unwrap_err(), Refused::Late { position: 1 });
        assert_eq!(queue.requests(), 1);
        let gone = tokio::time::timeout(Duration::from_millis(20), queue.enter(later())).await;
        assert!(gone.is_err() && queue.requests() == 1);
        drop(first);
        assert_eq!(queue.enter(soon()).await.unwrap().position, 0);
        assert_eq!((queue.requests(), queue.under_way()), (0, 0));
    }
}
