//! Chaos.
fn main() {}
