//! Scenarios of the classic protocol as scripts with what their clients see, and random events.

mod membership;
mod persistence;
mod random;
mod refusals;
mod script;
mod static_members;
