//! Whole nodes in one process, over real sockets on the loopback interface.

mod canvass;
mod catching_up;
mod cluster;
mod conformance;
mod founding;
mod full;
mod handover;
mod lost_votes;
mod new_leader;
mod partitions;
mod peers;
mod refill;
mod retention;
mod valve;
