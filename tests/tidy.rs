//! The house rules, held to the tree: floors, doors to foreign crates, heads, sizes, the map.
//!
//! What is checked here is what reviewers would otherwise have to remember. Each finding names the
//! file and the line, and says what to do.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Rooms of `src/` by floor, lowest first. Code imports rooms of lower floors only; rooms of one
/// floor are blind to one another.
const FLOORS: [&[&str]; 9] = [
    &["model", "metrics"],
    &["protocol", "storage", "config"],
    &["partition", "metadata"],
    &["group"],
    &["handlers", "admin"],
    &["server"],
    &["broker"],
    &["cli"],
    &["main", "lib"],
];

/// Rooms that may name crate `jackdaw-raft`, which stands on the floor of `protocol` and `storage`.
const ABOVE_RAFT: [&str; 6] = ["partition", "metadata", "group", "handlers", "broker", "admin"];

/// Crates that only one place names, and that place.
const DOORS: [(&str, &str); 5] = [
    ("openraft", "raft/src/"),
    ("axum", "src/admin/"),
    ("sled", "src/storage/kv/"),
    ("prometheus_client", "src/metrics/"),
    ("indicatif", "src/cli/"),
];

const LINES_MAX: usize = 600;
const FUNCTION_LINES_MAX: usize = 100;

struct Source {
    /// Relative to the repository, with `/`.
    path: String,
    text: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn collect(dir: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn sources() -> Vec<Source> {
    let mut paths = Vec::new();
    let dirs = [
        "src",
        "raft/src",
        "raft/tests",
        "chaos/src",
        "chaos/tests",
        "sim/src",
        "sim/tests",
        "tests",
        "benches",
    ];
    for dir in dirs {
        collect(&root().join(dir), &mut paths);
    }
    paths.sort();
    let source = |path: PathBuf| Source {
        path: path.strip_prefix(root()).unwrap().to_string_lossy().replace('\\', "/"),
        text: fs::read_to_string(&path).unwrap(),
    };
    let sources: Vec<Source> = paths.into_iter().map(source).collect();
    assert!(sources.len() > 20, "the sources were not found");
    sources
}

/// The room of a file in `src/`.
fn room(path: &str) -> Option<&str> {
    let inside = path.strip_prefix("src/")?;
    let first = inside.split('/').next()?;
    Some(first.strip_suffix(".rs").unwrap_or(first))
}

fn floor(room: &str) -> Option<usize> {
    FLOORS.iter().position(|rooms| rooms.contains(&room))
}

/// A line without its comment. Good enough here: `//` in a string only hides what follows.
fn code(line: &str) -> &str {
    line.find("//").map_or(line, |at| &line[..at])
}

/// Whether `code` names the crate `name`: `name::` or `use name;`, not as part of another word.
fn names_crate(code: &str, name: &str) -> bool {
    let mut rest = code;
    while let Some(at) = rest.find(name) {
        let before = rest[..at].chars().next_back();
        let after = &rest[at + name.len()..];
        let inside_word =
            before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '_' | ':' | '"'));
        if !inside_word && (after.starts_with("::") || after.starts_with(';')) {
            return true;
        }
        rest = after;
    }
    false
}

/// Rooms that a line names as `crate::room`, also within `use crate::{a::X, b::Y}` on one line.
fn rooms_named(code: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = code;
    while let Some(at) = rest.find("crate::") {
        let inside_word = rest[..at]
            .chars()
            .next_back()
            .is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '$');
        rest = &rest[at + "crate::".len()..];
        if inside_word {
            continue;
        }
        if let Some(list) = rest.strip_prefix('{') {
            found.extend(list.split([',', '}']).filter_map(|item| first_word(item.trim())));
        } else {
            found.extend(first_word(rest));
        }
    }
    found
}

fn first_word(text: &str) -> Option<&str> {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    (end > 0).then(|| &text[..end])
}

fn report(findings: &[String]) {
    assert!(findings.is_empty(), "\n\n{}\n", findings.join("\n"));
}

#[test]
fn imports_point_downward() {
    let mut findings = Vec::new();
    for source in sources() {
        let Some(room) = room(&source.path) else { continue };
        let Some(mine) = floor(room) else {
            findings.push(format!(
                "{}: the room `{room}` is on no floor; put it into FLOORS in tests/tidy.rs and \
                 into ARCHITECTURE.md",
                source.path
            ));
            continue;
        };
        for (number, line) in source.text.lines().enumerate() {
            let code = code(line);
            if code.trim_end().ends_with("use crate::{") {
                findings.push(format!(
                    "{}:{}: import each room on a line of its own, where this test can see it",
                    source.path,
                    number + 1
                ));
            }
            for named in rooms_named(code) {
                let Some(theirs) = floor(named) else { continue };
                if named != room && theirs >= mine {
                    findings.push(format!(
                        "{}:{}: `{room}` must not know `{named}`, which is not below it; move what \
                         both need down, or pass it in from above",
                        source.path,
                        number + 1
                    ));
                }
            }
            if names_crate(code, "jackdaw_raft") && !ABOVE_RAFT.contains(&room) {
                findings.push(format!(
                    "{}:{}: `{room}` must not know Raft; rooms that may: {}",
                    source.path,
                    number + 1,
                    ABOVE_RAFT.join(", ")
                ));
            }
        }
    }
    report(&findings);
}

#[test]
fn foreign_crates_have_one_door() {
    let mut findings = Vec::new();
    for source in sources() {
        for (number, line) in source.text.lines().enumerate() {
            for (name, door) in DOORS {
                // The chaos crate is a program of its own, and tests may look behind doors.
                let outside =
                    source.path.starts_with("src/") || source.path.starts_with("raft/src/");
                if outside && !source.path.starts_with(door) && names_crate(code(line), name) {
                    findings.push(format!(
                        "{}:{}: `{name}` is named only in {door}; ask that place for what you need",
                        source.path,
                        number + 1
                    ));
                }
            }
            // The broker never depends on what breaks it.
            if source.path.starts_with("src/") && names_crate(code(line), "jackdaw_chaos") {
                findings.push(format!("{}:{}: nothing imports chaos", source.path, number + 1));
            }
        }
    }
    report(&findings);
}

#[test]
fn every_file_begins_with_what_it_is() {
    let mut findings = Vec::new();
    for source in sources() {
        let head = source.text.lines().next().unwrap_or_default();
        if !head.starts_with("//! ") {
            findings.push(format!("{}: begin with `//! What lives here`", source.path));
        }
    }
    report(&findings);
}

#[test]
fn every_file_is_part_of_a_crate() {
    let all = sources();
    let is_root = |path: &str| {
        let (dir, name) = path.rsplit_once('/').unwrap();
        matches!(name, "main.rs" | "lib.rs")
            || dir.ends_with("tests") && !dir.contains("src/")
            || dir == "benches"
    };
    let findings: Vec<_> = all
        .iter()
        .filter(|source| !is_root(&source.path))
        .filter(|source| {
            let module = source.path.trim_end_matches(".rs").trim_end_matches("/mod");
            let (dir, name) = module.rsplit_once('/').unwrap();
            let (declared, by_path) = (format!("mod {name};"), format!("\"{name}.rs\""));
            let is_parent = |path: &str| {
                path.rsplit_once('/').unwrap().0 == dir || path.trim_end_matches(".rs") == dir
            };
            let names_it = |text: &str| {
                text.lines().map(code).any(|line| line.trim().ends_with(&declared))
                    || text.contains(&by_path)
            };
            !all.iter().any(|other| is_parent(&other.path) && names_it(&other.text))
        })
        .map(|source| format!("{}: no file says `mod` for it: nobody compiles it", source.path))
        .collect();
    report(&findings);
}

#[test]
fn files_and_functions_fit() {
    let mut findings = Vec::new();
    for source in sources() {
        let lines: Vec<&str> = source.text.lines().collect();
        if lines.len() > LINES_MAX {
            findings.push(format!(
                "{}: {} lines, at most {LINES_MAX}; look for its second noun",
                source.path,
                lines.len()
            ));
        }
        for (start, length) in functions(&lines) {
            if length > FUNCTION_LINES_MAX {
                findings.push(format!(
                    "{}:{}: a function of {length} lines, at most {FUNCTION_LINES_MAX}; name its \
                     parts",
                    source.path,
                    start + 1
                ));
            }
        }
    }
    report(&findings);
}

/// First line and length of every function. rustfmt closes a function at the indentation at which
/// it began, so that no parser is needed.
fn functions(lines: &[&str]) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let indentation = line.len() - line.trim_start().len();
        let mut words = line.trim_start().split([' ', '(', '<']);
        let is_function = words
            .by_ref()
            .take_while(|word| {
                word.starts_with("pub")
                    || word.ends_with(')')
                    || ["async", "const", "unsafe", "fn"].contains(word)
            })
            .any(|word| word == "fn");
        if !is_function {
            continue;
        }
        let close = format!("{}}}", " ".repeat(indentation));
        let length = lines[start..].iter().position(|line| *line == close);
        let one_line = line.ends_with('}') || line.ends_with(';');
        if let (Some(length), false) = (length, one_line) {
            found.push((start, length + 1));
        }
    }
    found
}

#[test]
fn nothing_is_left_for_later() {
    // Spelled in halves, so that this file does not find itself.
    let banned = [
        (["todo", "!("].concat(), "do it now, or leave it out"),
        (["unimplemented", "!("].concat(), "do it now, or leave it out"),
        (["dbg", "!("].concat(), "use tracing"),
        (["#[ig", "nore"].concat(), "a test that does not run proves nothing"),
        (["FIX", "ME"].concat(), "fix it, or write down why it stays"),
        (["TO", "DO"].concat(), "do it, or file an issue"),
    ];
    let mut findings = Vec::new();
    for source in sources() {
        for (number, line) in source.text.lines().enumerate() {
            for (text, advice) in &banned {
                if line.contains(text.as_str()) {
                    findings.push(format!("{}:{}: {text}: {advice}", source.path, number + 1));
                }
            }
        }
    }
    report(&findings);
}

#[test]
fn the_map_names_every_room_and_no_place_that_is_not_there() {
    let map = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let mut findings = Vec::new();
    if map.lines().count() > 500 {
        findings.push("ARCHITECTURE.md: more than 500 lines; details go into docs/".to_owned());
    }
    let rooms: BTreeSet<String> =
        sources().iter().filter_map(|source| room(&source.path).map(str::to_owned)).collect();
    for room in rooms.iter().filter(|room| !["main", "lib"].contains(&room.as_str())) {
        if !map.contains(&format!("`src/{room}/`")) {
            findings.push(format!("ARCHITECTURE.md: the map lacks `src/{room}/`"));
        }
    }
    for document in ["ARCHITECTURE.md", "README.md"] {
        let text = fs::read_to_string(root().join(document)).unwrap();
        for place in places(&text) {
            if !root().join(&place).exists() {
                findings.push(format!("{document}: names `{place}`, which is not there"));
            }
        }
    }
    report(&findings);
}

/// What a document names in backticks or as a link's target and that looks like a path of this
/// repository: it has a `/`, begins with one of its folders, and holds no placeholder.
fn places(text: &str) -> Vec<String> {
    let folders = [
        "src/", "raft/", "chaos/", "sim/", "tests/", "docs/", "config/", "scripts/", "benches/",
        ".ci/",
    ];
    let ticked = text.split('`').skip(1).step_by(2);
    let linked = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    ticked
        .chain(linked)
        .map(|place| place.split('#').next().unwrap_or_default())
        .filter(|place| folders.iter().any(|folder| place.starts_with(folder)))
        .filter(|place| !place.contains([' ', '*', '{', '<', '…', ':']))
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_rules_themselves_find_what_they_look_for() {
    assert_eq!(rooms_named("use crate::{model::X, storage};"), ["model", "storage"]);
    assert_eq!(rooms_named("fn f(x: crate::server::Y) {"), ["server"]);
    assert!(rooms_named("use kafka_crate::model;").is_empty());
    assert_eq!(code("let x = 1; // crate::broker"), "let x = 1; ");
    assert!(names_crate("use openraft::Raft;", "openraft"));
    assert!(names_crate("fn f() -> sled::Db {", "sled"));
    assert!(!names_crate("use my_openraft::Raft;", "openraft"));
    assert!(!names_crate("let text = \"axum is fine\";", "axum"));
    let lines = ["fn a() {", "    b();", "}", "    pub async fn c(", "    ) {", "    }"];
    assert_eq!(functions(&lines), [(0, 3), (3, 3)]);
    assert_eq!(
        places("see `src/x/y.rs`, [z](docs/z.md#a) and `cargo test`"),
        ["src/x/y.rs", "docs/z.md"]
    );
    assert!(floor("model") < floor("storage") && floor("cli") < floor("main"));
}
