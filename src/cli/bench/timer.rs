//! A timer of nanoseconds: the runtime's own counts milliseconds, which would be most of a latency.

use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Fires once at a time.
pub(super) struct Timer(AsyncFd<OwnedFd>);

impl Timer {
    /// # Errors
    /// There is no descriptor left, or the runtime does not take it.
    pub(super) fn new() -> std::io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        // SAFETY: an `OwnedFd` gives the same descriptor each time and keeps it open, and nothing takes it
        // out of the `AsyncFd`.
        #[allow(unsafe_code)]
        let timer = unsafe { AsyncFd::register_with_interest(timer, Interest::READABLE) };
        Ok(Self(timer.map_err(std::io::Error::from)?))
    }

    /// Waits so long; not at all for nothing.
    ///
    /// # Errors
    /// The system refuses.
    pub(super) async fn sleep(&self, wait: Duration) -> std::io::Result<()> {
        if wait.is_zero() {
            return Ok(());
        }
        let time = |seconds, nanoseconds| Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
        let value = Itimerspec {
            it_interval: time(0, 0),
            it_value: time(wait.as_secs() as i64, wait.subsec_nanos().into()),
        };
        timerfd_settime(self.0.get_ref(), TimerfdTimerFlags::empty(), &value)?;
        loop {
            let mut ready = self.0.readable().await?;
            let mut fired = [0; 8];
            match ready.try_io(|timer| Ok(rustix::io::read(timer, &mut fired)?)) {
                Ok(read) => return read.map(drop),
                // Readiness of an earlier time.
                Err(_) => continue,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[tokio::test]
    async fn waits_as_long_as_asked_again_and_again() {
        let timer = Timer::new().unwrap();
        for wait_us in [0, 1, 300, 2_500] {
            let wait = Duration::from_micros(wait_us);
            let begin = Instant::now();
            timer.sleep(wait).await.unwrap();
            assert!(begin.elapsed() >= wait, "{wait:?}");
        }
        // One that was given up does not hold up the next one.
        let wait = Duration::from_millis(1);
        let given_up = timer.sleep(Duration::from_secs(60));
        assert!(tokio::time::timeout(wait, given_up).await.is_err());
        let begin = Instant::now();
        timer.sleep(2 * wait).await.unwrap();
        assert!(begin.elapsed() >= 2 * wait);
    }
}
