//! Known bugs, kept to prove that tests would find them: see `docs/testing.md`.
//!
//! **Invariant:** without the feature `mutants` there is none, and nothing is left of the question.

/// Whether the bug called `name` is to be there: `JACKDAW_MUTANT` names it.
#[cfg(feature = "mutants")]
#[must_use]
pub fn is_on(name: &str) -> bool {
    static ON: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    ON.get_or_init(|| std::env::var("JACKDAW_MUTANT").unwrap_or_default()) == name
}

/// Whether the bug is to be there: never.
#[cfg(not(feature = "mutants"))]
#[must_use]
pub const fn is_on(_: &str) -> bool {
    false
}
