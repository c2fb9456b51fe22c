//! Where the `jackdaw` binary under test is.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

/// Finds the broker: the path given, else the variable `JACKDAW_BIN`, else the file `jackdaw`
/// beside the running executable (or one folder above, where cargo puts test executables).
///
/// # Errors
/// There is no such file.
pub fn find_binary(given: Option<&Path>) -> Result<PathBuf> {
    if let Some(path) = given {
        return existing(path, "--bin");
    }
    if let Some(path) = env::var_os("JACKDAW_BIN").filter(|path| !path.is_empty()) {
        return existing(Path::new(&path), "JACKDAW_BIN");
    }
    let executable = env::current_exe()?;
    let folders = executable.ancestors().skip(1).take(2);
    for candidate in folders.map(|folder| folder.join("jackdaw")) {
        if candidate.is_file() {
            return Ok(candidate);
        }
    }
    bail!(
        "no jackdaw binary beside {}: build it with `cargo build`, or name it with --bin",
        executable.display()
    )
}

fn existing(path: &Path, origin: &str) -> Result<PathBuf> {
    if !path.is_file() {
        bail!("{origin}: {} is not a file", path.display());
    }
    // Nodes are started from their own folders, so the path must not depend on this one.
    Ok(path.canonicalize()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_is_no_file_is_named() {
        let error = find_binary(Some(Path::new("/no/such/jackdaw"))).unwrap_err();
        assert_eq!(error.to_string(), "--bin: /no/such/jackdaw is not a file");
    }
}
