//! Types and validators of config values, as Kafka's `ConfigDef` has them.
//!
//! **Invariant:** pure; the messages are Kafka's, since tools and tests read them.

use std::fmt;

/// The type of a config's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigType {
    /// `true` or `false`, in any case.
    Boolean,
    /// Text.
    String,
    /// 32 bits, signed.
    Int,
    /// 16 bits, signed.
    Short,
    /// 64 bits, signed.
    Long,
    /// A decimal number.
    Double,
    /// Text items between commas.
    List,
}

impl ConfigType {
    /// The number that DescribeConfigs gives the type (`DescribeConfigsResponse.ConfigType`).
    #[must_use]
    pub fn wire(self) -> i8 {
        match self {
            Self::Boolean => 1,
            Self::String => 2,
            Self::Int => 3,
            Self::Short => 4,
            Self::Long => 5,
            Self::Double => 6,
            Self::List => 7,
        }
    }
}

impl fmt::Display for ConfigType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Boolean => "BOOLEAN",
            Self::String => "STRING",
            Self::Int => "INT",
            Self::Short => "SHORT",
            Self::Long => "LONG",
            Self::Double => "DOUBLE",
            Self::List => "LIST",
        })
    }
}

/// Which values of its type a config takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Validator {
    /// All.
    Any,
    /// Integers from this on.
    AtLeast(i64),
    /// Integers from the first to the second.
    Range(i64, i64),
    /// Decimal numbers from the first to the second.
    Between(f64, f64),
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// A list of these words, not empty.
    ListOf(&'static [&'static str]),
}

/// A value that its config does not take; the text is Kafka's `ConfigException`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Invalid value {value} for configuration {name}: {reason}")]
pub struct InvalidValue {
    name: String,
    value: String,
    reason: String,
}

/// The items of a LIST value.
#[must_use]
pub fn list_items(value: &str) -> Vec<&str> {
    let value = value.trim();
    if value.is_empty() { Vec::new() } else { value.split(',').map(str::trim).collect() }
}

fn check_integer(text: &str, kind: ConfigType, range: (i64, i64)) -> Result<i64, String> {
    let number: Option<i64> = text.parse().ok();
    number
        .filter(|number| (range.0..=range.1).contains(number))
        .ok_or_else(|| format!("Not a number of type {kind}"))
}

fn check_type(kind: ConfigType, text: &str) -> Result<Option<f64>, String> {
    match kind {
        ConfigType::Boolean if text.eq_ignore_ascii_case("true") => Ok(None),
        ConfigType::Boolean if text.eq_ignore_ascii_case("false") => Ok(None),
        ConfigType::Boolean => Err("Expected value to be either true or false".into()),
        ConfigType::Double => {
            text.parse().map(Some).map_err(|_| format!("Not a number of type {kind}"))
        }
        ConfigType::String | ConfigType::List => Ok(None),
        ConfigType::Int | ConfigType::Short | ConfigType::Long => Ok(None),
    }
}

fn integer_range(kind: ConfigType) -> Option<(i64, i64)> {
    match kind {
        ConfigType::Int => Some((i32::MIN.into(), i32::MAX.into())),
        ConfigType::Short => Some((i16::MIN.into(), i16::MAX.into())),
        ConfigType::Long => Some((i64::MIN, i64::MAX)),
        ConfigType::Boolean | ConfigType::String | ConfigType::Double | ConfigType::List => None,
    }
}

fn check(kind: ConfigType, validator: Validator, text: &str) -> Result<(), String> {
    let integer = match integer_range(kind) {
        Some(range) => Some(check_integer(text, kind, range)?),
        None => None,
    };
    let double = check_type(kind, text)?;
    match (validator, integer, double) {
        (Validator::AtLeast(least) | Validator::Range(least, _), Some(number), _)
            if number < least =>
        {
            Err(format!("Value must be at least {least}"))
        }
        (Validator::Range(_, most), Some(number), _) if number > most => {
            Err(format!("Value must be no more than {most}"))
        }
        (Validator::Between(least, _), _, Some(number)) if number < least || number.is_nan() => {
            Err(format!("Value must be at least {least}"))
        }
        (Validator::Between(_, most), _, Some(number)) if number > most => {
            Err(format!("Value must be no more than {most}"))
        }
        (Validator::OneOf(words), ..) if !words.contains(&text) => {
            Err(format!("String must be one of: {}", words.join(", ")))
        }
        (Validator::ListOf(words), ..) => {
            let items = list_items(text);
            let known = items.iter().all(|item| words.contains(item));
            if known && !items.is_empty() {
                Ok(())
            } else {
                Err(format!("String must be one of: {}", words.join(", ")))
            }
        }
        _ => Ok(()),
    }
}

/// Checks a value as `ConfigDef.parseType` and the validator would.
///
/// # Errors
/// [`InvalidValue`], in Kafka's words.
pub fn validate(
    name: &str,
    kind: ConfigType,
    validator: Validator,
    value: &str,
) -> Result<(), InvalidValue> {
    check(kind, validator, value.trim()).map_err(|reason| InvalidValue {
        name: name.to_owned(),
        value: value.to_owned(),
        reason,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says(kind: ConfigType, validator: Validator, value: &str) -> String {
        validate("k", kind, validator, value).map_or_else(|e| e.to_string(), |()| "ok".into())
    }

    #[test]
    fn values_are_judged_in_kafkas_words() {
        use ConfigType::*;
        use Validator::*;
        assert_eq!(says(Long, AtLeast(-1), " -1 "), "ok");
        let bad = "Invalid value -2 for configuration k: Value must be at least -1";
        assert_eq!(says(Long, AtLeast(-1), "-2"), bad);
        let bad = "Invalid value x for configuration k: Not a number of type LONG";
        assert_eq!(says(Long, Any, "x"), bad);
        let bad = "Invalid value 2147483648 for configuration k: Not a number of type INT";
        assert_eq!(says(Int, Any, "2147483648"), bad);
        assert_eq!(says(Boolean, Any, "TRUE"), "ok");
        let bad = "Invalid value 1 for configuration k: Expected value to be either true or false";
        assert_eq!(says(Boolean, Any, "1"), bad);
        assert_eq!(says(Double, Between(0.0, 1.0), "0.5"), "ok");
        let bad = "Invalid value 1.5 for configuration k: Value must be no more than 1";
        assert_eq!(says(Double, Between(0.0, 1.0), "1.5"), bad);
        assert_eq!(says(List, ListOf(&["compact", "delete"]), "compact, delete"), "ok");
        let bad = "Invalid value x for configuration k: String must be one of: compact, delete";
        assert_eq!(says(List, ListOf(&["compact", "delete"]), "x"), bad);
        let bad = "Invalid value Z for configuration k: String must be one of: a";
        assert_eq!(says(String, OneOf(&["a"]), "Z"), bad);
    }
}
