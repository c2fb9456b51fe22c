//! How a record is printed: by a template, or as a line of JSON.

use std::str::FromStr;

use serde_json::{Value, json};

use crate::model::records::Record;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Literal(Vec<u8>),
    Topic,
    Partition,
    Offset,
    Timestamp,
    Key,
    Value,
    Headers,
}

/// A parsed template such as `%p %o %k %v\n`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Template(Vec<Piece>);

impl FromStr for Template {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut pieces = Vec::new();
        let mut literal = Vec::new();
        let mut rest = text.chars();
        while let Some(c) = rest.next() {
            let piece = match c {
                '%' => match rest.next() {
                    Some('t') => Piece::Topic,
                    Some('p') => Piece::Partition,
                    Some('o') => Piece::Offset,
                    Some('T') => Piece::Timestamp,
                    Some('k') => Piece::Key,
                    Some('v' | 's') => Piece::Value,
                    Some('h') => Piece::Headers,
                    Some('%') => {
                        literal.push(b'%');
                        continue;
                    }
                    Some(other) => {
                        return Err(format!("%{other} is unknown: use %t %p %o %T %k %v %h %%"));
                    }
                    None => return Err("a % stands at the end: write %% for a percent sign".into()),
                },
                '\\' => {
                    match rest.next() {
                        Some('n') => literal.push(b'\n'),
                        Some('t') => literal.push(b'\t'),
                        Some('0') => literal.push(0),
                        Some('\\') => literal.push(b'\\'),
                        _ => {
                            return Err(
                                "after a backslash only n, t, 0 and \\ mean anything".into()
                            );
                        }
                    }
                    continue;
                }
                other => {
                    literal.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes());
                    continue;
                }
            };
            if !literal.is_empty() {
                pieces.push(Piece::Literal(std::mem::take(&mut literal)));
            }
            pieces.push(piece);
        }
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal));
        }
        Ok(Self(pieces))
    }
}

impl Template {
    /// Appends the record to `out`; absent keys and values print as nothing.
    pub(super) fn print(
        &self,
        out: &mut Vec<u8>,
        topic: &str,
        partition: i32,
        record: &Record<'_>,
    ) {
        for piece in &self.0 {
            match piece {
                Piece::Literal(bytes) => out.extend_from_slice(bytes),
                Piece::Topic => out.extend_from_slice(topic.as_bytes()),
                Piece::Partition => out.extend_from_slice(partition.to_string().as_bytes()),
                Piece::Offset => out.extend_from_slice(record.offset.to_string().as_bytes()),
                Piece::Timestamp => out.extend_from_slice(record.timestamp.to_string().as_bytes()),
                Piece::Key => out.extend_from_slice(record.key.unwrap_or_default()),
                Piece::Value => out.extend_from_slice(record.value.unwrap_or_default()),
                Piece::Headers => {
                    for (index, (name, value)) in record.headers.iter().enumerate() {
                        if index > 0 {
                            out.push(b',');
                        }
                        out.extend_from_slice(name.as_bytes());
                        out.push(b'=');
                        out.extend_from_slice(value.unwrap_or_default());
                    }
                }
            }
        }
    }
}

/// Appends the record as one line of JSON. Bytes that are not UTF-8 become `{"hex": "…"}`.
pub(super) fn print_json(out: &mut Vec<u8>, topic: &str, partition: i32, record: &Record<'_>) {
    let headers: Vec<Value> = record
        .headers
        .iter()
        .map(|(name, value)| json!({ "name": name, "value": bytes(*value) }))
        .collect();
    let line = json!({
        "topic": topic,
        "partition": partition,
        "offset": record.offset.0,
        "timestamp": record.timestamp.0,
        "key": bytes(record.key),
        "value": bytes(record.value),
        "headers": headers,
    });
    out.extend_from_slice(line.to_string().as_bytes());
    out.push(b'\n');
}

fn bytes(value: Option<&[u8]>) -> Value {
    match value.map(|bytes| (bytes, std::str::from_utf8(bytes))) {
        None => Value::Null,
        Some((_, Ok(text))) => Value::String(text.to_owned()),
        Some((bytes, Err(_))) => {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            json!({ "hex": hex })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Offset, Timestamp};

    fn record<'a>() -> Record<'a> {
        Record {
            offset: Offset(7),
            timestamp: Timestamp(1000),
            key: Some(b"k"),
            value: Some(b"\xff"),
            headers: vec![("h", Some(b"1")), ("h", None)],
        }
    }

    #[test]
    fn a_template_prints_what_it_names() {
        let mut out = Vec::new();
        let template: Template = "%t-%p@%o %T %k=%v [%h] 100%%\\n".parse().unwrap();
        template.print(&mut out, "t", 2, &record());
        assert_eq!(out, b"t-2@7 1000 k=\xff [h=1,h=] 100%\n");
        assert!("%x".parse::<Template>().is_err());
        assert!("%".parse::<Template>().is_err());
        assert!("\\q".parse::<Template>().is_err());
    }

    #[test]
    fn json_keeps_bytes_that_are_not_text() {
        let mut out = Vec::new();
        print_json(&mut out, "t", 0, &record());
        let line: Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(line["value"]["hex"], "ff");
        assert_eq!(line["headers"][1]["value"], Value::Null);
        assert_eq!(line["offset"], 7);
    }
}
