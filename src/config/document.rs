//! From text to [`FileConfig`], keeping for every key the line that it stands on.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use toml::de::{DeTable, DeValue};
use toml::{Table, Value};

use super::error::ConfigError;
use super::file::{FileConfig, FileNode};
use super::suggest::nearest;

/// The text of a configuration with overrides applied, and where its keys stand.
pub(super) struct Document {
    pub(super) config: FileConfig,
    lines: BTreeMap<String, usize>,
    overridden: Vec<String>,
}

impl Document {
    /// Reads `text` and applies `overrides` (`key.path=value`, later ones win).
    ///
    /// # Errors
    /// Bad TOML, an unknown key, a value of the wrong type, or a malformed override.
    pub(super) fn read(text: &str, overrides: &[String]) -> Result<Self, ConfigError> {
        let syntax = |error: &toml::de::Error| {
            ConfigError::new("", first_line(error.message()), "write it as in config/node.toml")
                .at_line(error.span().map(|span| line_of(text, &span)))
        };
        let parsed = DeTable::parse(text).map_err(|error| syntax(&error))?;
        let schema = schema();
        let mut lines = BTreeMap::new();
        check_keys(text, parsed.get_ref(), &schema, "", &mut lines)?;
        let mut config: FileConfig = toml::from_str(text).map_err(|error| {
            let line = error.span().map(|span| line_of(text, &span));
            let key = line.and_then(|line| key_on(&lines, line)).unwrap_or_default();
            ConfigError::new(key, wrong_value(&error), "see config/node.toml for what it takes")
                .at_line(line)
        })?;
        let mut overridden = Vec::new();
        if !overrides.is_empty() {
            let mut table: Table = toml::from_str(text).map_err(|error| syntax(&error))?;
            for text in overrides {
                let key = apply(&mut table, &schema, text)?;
                config = table.clone().try_into().map_err(|error: toml::de::Error| {
                    ConfigError::new(format!("--set {key}"), wrong_value(&error), "")
                })?;
                overridden.push(key);
            }
        }
        Ok(Self { config, lines, overridden })
    }

    /// Adds to `error` where its key stands in the file, or that it came from the command line.
    pub(super) fn locate(&self, mut error: ConfigError, file: Option<&Path>) -> ConfigError {
        if self.overridden.contains(&error.key) {
            error.key = format!("--set {}", error.key);
            return error;
        }
        let line = self.lines.get(&error.key).copied();
        if line.is_some() { error.at_line(line).in_file(file) } else { error.in_file(file) }
    }
}

/// Every known key with its default; an array of tables is represented by one element.
fn schema() -> Table {
    let sample = FileConfig {
        nodes: vec![FileNode { id: 0, peer: String::new() }],
        ..FileConfig::default()
    };
    match Value::try_from(sample) {
        Ok(Value::Table(table)) => table,
        other => unreachable!("the configuration serialises to a table: {other:?}"),
    }
}

fn join(prefix: &str, key: &str) -> String {
    if prefix.is_empty() { key.to_owned() } else { format!("{prefix}.{key}") }
}

fn unknown_key(prefix: &str, key: &str, schema: &Table) -> ConfigError {
    let advice = match nearest(key, schema.keys().map(String::as_str)) {
        Some(meant) => format!("did you mean `{}`?", join(prefix, meant)),
        None => {
            let known: Vec<&str> = schema.keys().map(String::as_str).collect();
            format!("known here: {}", known.join(", "))
        }
    };
    ConfigError::new(join(prefix, key), "is not a known key", advice)
}

fn check_keys(
    text: &str,
    table: &DeTable<'_>,
    schema: &Table,
    prefix: &str,
    lines: &mut BTreeMap<String, usize>,
) -> Result<(), ConfigError> {
    for (key, value) in table {
        let line = line_of(text, &key.span());
        let name = key.get_ref().as_ref();
        let Some(known) = schema.get(name) else {
            return Err(unknown_key(prefix, name, schema).at_line(Some(line)));
        };
        let path = join(prefix, name);
        lines.insert(path.clone(), line);
        match (value.get_ref(), known) {
            (DeValue::Table(inner), Value::Table(known)) => {
                check_keys(text, inner, known, &path, lines)?;
            }
            (DeValue::Array(items), Value::Array(known)) => {
                for (index, item) in items.iter().enumerate() {
                    if let (DeValue::Table(inner), Some(Value::Table(known))) =
                        (item.get_ref(), known.first())
                    {
                        let path = format!("{path}[{index}]");
                        lines.insert(path.clone(), line_of(text, &item.span()));
                        check_keys(text, inner, known, &path, lines)?;
                    }
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// Puts one `key.path=value` into the table and returns the key. A value that is not TOML by
/// itself is taken as a string, so that `--set listeners.kafka=127.0.0.1:9093` needs no quotes.
fn apply(table: &mut Table, schema: &Table, text: &str) -> Result<String, ConfigError> {
    let Some((key, value)) = text.split_once('=') else {
        return Err(ConfigError::new(
            format!("--set {text}"),
            "has no value",
            "write it as --set key=value",
        ));
    };
    let (key, value) = (key.trim(), value.trim());
    let parsed = toml::from_str::<Table>(&format!("v = {value}"))
        .ok()
        .and_then(|mut parsed| parsed.remove("v"))
        .unwrap_or_else(|| Value::String(value.to_owned()));
    let mut at = table;
    let mut known = schema;
    let mut prefix = String::new();
    let mut parts = key.split('.').peekable();
    while let Some(part) = parts.next() {
        let Some(next) = known.get(part) else {
            let mut error = unknown_key(&prefix, part, known);
            error.key = format!("--set {}", error.key);
            return Err(error);
        };
        if parts.peek().is_none() {
            // A string is what the key takes, whatever the text looks like.
            let value = if next.is_str() && !parsed.is_str() {
                Value::String(value.to_owned())
            } else {
                parsed
            };
            at.insert(part.to_owned(), value);
            return Ok(key.to_owned());
        }
        prefix = join(&prefix, part);
        let entry = at.entry(part.to_owned()).or_insert_with(|| Value::Table(Table::new()));
        let (Value::Table(inner), Value::Table(next)) = (entry, next) else {
            return Err(ConfigError::new(
                format!("--set {key}"),
                format!("goes through `{prefix}`, which has no keys"),
                "see config/node.toml",
            ));
        };
        at = inner;
        known = next;
    }
    Err(ConfigError::new("--set", "has no key", "write it as --set key=value"))
}

fn line_of(text: &str, span: &Range<usize>) -> usize {
    1 + text.as_bytes()[..span.start.min(text.len())].iter().filter(|b| **b == b'\n').count()
}

fn key_on(lines: &BTreeMap<String, usize>, line: usize) -> Option<String> {
    // The longest path on the line is the most precise name of what stands there.
    lines.iter().filter(|(_, at)| **at == line).map(|(key, _)| key).max_by_key(|k| k.len()).cloned()
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

fn wrong_value(error: &toml::de::Error) -> String {
    format!("has a wrong value: {}", first_line(error.message()))
}
