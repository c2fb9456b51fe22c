//! What clients did and saw: an append-only file of JSON lines, and its reading.
//!
//! ```text
//! {"op":"run","run":"r1","seed":7,"command":"leader-kill --seed 7","started_unix_ms":0}
//! {"op":"producer","producer":"p0","idempotent":true}
//! {"op":"send","producer":"p0","n":0,"value":"r1-p0-0","key":"k0","partition":0,
//!  "begin_us":10,"end_us":900,"outcome":{"is":"ok","partition":0,"offset":0}}
//! {"op":"fault_begin","fault":"kill-leader","nodes":[2],"at_us":1000}
//! {"op":"poll","consumer":"reader","partition":0,"offset":0,"value":"r1-p0-0","at_us":5000}
//! ```
//!
//! **Invariant:** times are microseconds of one monotonic clock since the run began.
//!
//! **Invariant:** a send is written once, when its outcome is known; every value is sent once.

mod event;
mod file;
mod recorder;

pub use event::{Answer, Commit, Committed, Event, Outcome, Poll, ReadTo, Replica, Send, Span};
pub use file::History;
pub use recorder::Recorder;
