//! The process's clocks, put in the place of libc's.
//!
//! ```text
//! std::time, tokio ─► clock_gettime ─┬─ off (the process that starts others): the kernel's
//!                                    └─ on: what the simulated host's runtime says, or the simulation
//! ```
//! A simulation moves time by itself: [`set`] after every tick, and within a tick the paused clock of the
//! runtime that runs. Everything that asks for the time, in this project and in what it is built of, asks
//! here, since the linker takes the executable's `clock_gettime` before the C library's.
//!
//! **Invariant:** time that is on depends on nothing but how far the simulation has come.

use std::cell::Cell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Monotonic time at which a simulation begins, ns: not zero, so that what subtracts from it may.
const BEGIN_NS: u64 = 1_000_000_000_000_000;
/// Wall-clock time at which it begins, ns since 1970.
const BEGIN_UNIX_NS: u64 = 1_700_000_000_000_000_000;

static IS_ON: AtomicBool = AtomicBool::new(false);
static NOW_NS: AtomicU64 = AtomicU64::new(BEGIN_NS);
static ORIGIN: OnceLock<Instant> = OnceLock::new();

thread_local! {
    /// This thread is asking tokio, which may ask us.
    static IS_ASKING: Cell<bool> = const { Cell::new(false) };
}

/// Turns simulated time on, for good.
pub(crate) fn turn_on() {
    IS_ON.store(true, Ordering::SeqCst);
    IS_ASKING.set(true);
    ORIGIN.get_or_init(Instant::now);
    IS_ASKING.set(false);
}

/// How far the simulation has come, ns.
pub(crate) fn set(elapsed_ns: u64) {
    NOW_NS.store(BEGIN_NS + elapsed_ns, Ordering::SeqCst);
}

/// Since the simulation began, µs.
pub(crate) fn now_us() -> u64 {
    (monotonic_ns() - BEGIN_NS) / 1_000
}

/// Real time since `begun`, which was read before simulated time was turned on.
pub(crate) fn real_since(begun: Instant) -> Duration {
    IS_ON.store(false, Ordering::SeqCst);
    let passed = begun.elapsed();
    IS_ON.store(true, Ordering::SeqCst);
    passed
}

fn monotonic_ns() -> u64 {
    let global = NOW_NS.load(Ordering::SeqCst);
    let Some(origin) = ORIGIN.get() else { return global };
    // Gone while the thread ends.
    let Ok(is_asking) = IS_ASKING.try_with(Cell::get) else { return global };
    if is_asking {
        return global;
    }
    IS_ASKING.set(true);
    // Within a runtime its own clock, outside of one ours.
    let now = tokio::time::Instant::now().into_std();
    IS_ASKING.set(false);
    let since = now.saturating_duration_since(*origin);
    BEGIN_NS + u64::try_from(since.as_nanos()).unwrap_or(u64::MAX / 2)
}

/// `struct timespec` of Linux on 64 bits.
#[repr(C)]
struct Timespec {
    seconds: i64,
    nanoseconds: i64,
}

/// `CLOCK_REALTIME` and `CLOCK_REALTIME_COARSE`.
const REAL_TIME: [i32; 2] = [0, 5];

#[expect(unsafe_code, reason = "it takes the place of the C library's function")]
// SAFETY: the name, the arguments and the result are those of clock_gettime(2).
#[unsafe(no_mangle)]
extern "C" fn clock_gettime(clock: i32, time: *mut Timespec) -> i32 {
    let is_real = REAL_TIME.contains(&clock);
    let now = if IS_ON.load(Ordering::SeqCst) {
        let ns = monotonic_ns() + if is_real { BEGIN_UNIX_NS - BEGIN_NS } else { 0 };
        let (seconds, nanoseconds) = (ns / 1_000_000_000, ns % 1_000_000_000);
        Timespec { seconds: seconds as i64, nanoseconds: nanoseconds as i64 }
    } else {
        let id = if is_real {
            rustix::time::ClockId::Realtime
        } else {
            rustix::time::ClockId::Monotonic
        };
        let found = rustix::time::clock_gettime(id);
        Timespec { seconds: found.tv_sec, nanoseconds: found.tv_nsec }
    };
    // SAFETY: the caller gives room for one, as the C library asks.
    unsafe { time.write(now) };
    0
}
