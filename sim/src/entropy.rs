//! The process's randomness, put in the place of libc's: everything that is drawn follows from the seed.
//!
//! Maps with random keys, `rand`, tokio's choice between ready branches, openraft's election times: all begin
//! with `getrandom`, which the linker takes from here before the C library.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

static IS_ON: AtomicBool = AtomicBool::new(false);
static STATE: AtomicU64 = AtomicU64::new(0);

/// Draws from `seed` from now on.
pub(crate) fn turn_on(seed: u64) {
    STATE.store(seed, Ordering::SeqCst);
    IS_ON.store(true, Ordering::SeqCst);
}

/// SplitMix64 (Steele, Lea, Flood 2014).
fn next() -> u64 {
    const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut z = STATE.fetch_add(STEP, Ordering::SeqCst).wrapping_add(STEP);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[expect(unsafe_code, reason = "it takes the place of the C library's function")]
// SAFETY: the name, the arguments and the result are those of getrandom(2).
#[unsafe(no_mangle)]
extern "C" fn getrandom(buffer: *mut u8, len: usize, _flags: u32) -> isize {
    if len == 0 {
        // `getrandom` asks so whether the function works, and gives no buffer then.
        return 0;
    }
    // SAFETY: the caller gives room for `len` bytes. They are made valid first.
    let bytes = unsafe {
        buffer.write_bytes(0, len);
        std::slice::from_raw_parts_mut(buffer, len)
    };
    if !IS_ON.load(Ordering::SeqCst) {
        let flags = rustix::rand::GetRandomFlags::empty();
        return match rustix::rand::getrandom(&mut *bytes, flags) {
            Ok(got) => got as isize,
            Err(_) => -1,
        };
    }
    for chunk in bytes.chunks_mut(8) {
        chunk.copy_from_slice(&next().to_le_bytes()[..chunk.len()]);
    }
    len as isize
}
