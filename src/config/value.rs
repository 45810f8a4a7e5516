//! A TOML value as it was said, before anyone believes it.

use std::fmt;

use toml::de::DeValue;

use super::error::Origin;

/// A TOML value of any type: what it should have been is decided by the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    String(String),
    Integer(i128),
    Boolean(bool),
    Array(Vec<Value>),
    /// Of a type that no key takes; as text, for the message.
    Other(String),
}

/// A value and where it was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) value: Value,
    pub(super) origin: Origin,
}

impl Value {
    /// What `--set` was given: TOML, or a string where it is not.
    pub(super) fn from_command_line(text: &str) -> Value {
        match DeValue::parse(text) {
            Ok(value) => Value::from(value.get_ref()),
            Err(_) => Value::String(text.to_owned()),
        }
    }

    pub(super) fn is_string(&self, text: &str) -> bool {
        matches!(self, Value::String(said) if said == text)
    }
}

impl From<&DeValue<'_>> for Value {
    fn from(value: &DeValue<'_>) -> Self {
        match value {
            DeValue::String(text) => Value::String(text.clone().into_owned()),
            DeValue::Integer(integer) => i128::from_str_radix(integer.as_str(), integer.radix())
                .map_or_else(|_| Value::Other(integer.to_string()), Value::Integer),
            DeValue::Float(float) => Value::Other(float.to_string()),
            DeValue::Boolean(boolean) => Value::Boolean(*boolean),
            DeValue::Datetime(datetime) => Value::Other(datetime.to_string()),
            DeValue::Array(array) => Value::Array(array.iter().map(|item| Value::from(item.get_ref())).collect()),
            DeValue::Table(_) => Value::Other("{…}".to_owned()),
        }
    }
}

/// As TOML would write it.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::String(text) => f.write_str(&quoted(text)),
            Value::Integer(integer) => integer.fmt(f),
            Value::Boolean(boolean) => boolean.fmt(f),
            Value::Other(text) => f.write_str(text),
            Value::Array(items) => {
                f.write_str("[")?;
                for (index, item) in items.iter().enumerate() {
                    f.write_str(if index > 0 { ", " } else { "" })?;
                    item.fmt(f)?;
                }
                f.write_str("]")
            }
        }
    }
}

/// A TOML basic string: one line, whatever it holds, so that a message cannot be forged by a line break in a value.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if c.is_control() => out.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_not_toml_is_a_string() {
        let string = |text: &str| Value::String(text.to_owned());
        for text in ["/run/cut", "30s..5min", "0-3,6", "burn-in", "64KiB", "", "a b", "0123", "1 2"] {
            assert_eq!(Value::from_command_line(text), string(text), "{text}");
        }
        assert_eq!(Value::from_command_line("\"64KiB\""), string("64KiB"));
        assert_eq!(Value::from_command_line("0x10"), Value::Integer(16));
        assert_eq!(Value::from_command_line("[\"a\", 1]"), Value::Array(vec![string("a"), Value::Integer(1)]));
    }

    proptest! {
        #[test]
        fn a_quoted_string_reads_back(text in any::<String>()) {
            prop_assert_eq!(Value::from_command_line(&quoted(&text)), Value::String(text));
        }

        #[test]
        fn any_command_line_value_is_some_value(text in any::<String>()) {
            let _value = Value::from_command_line(&text);
        }
    }
}
