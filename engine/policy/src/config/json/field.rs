//! A JSON value together with where it stands, so that whoever finds it wrong can say where.
//!
//! Fields live on the stack and point to the one around them: a valid text costs no path. `null` is the same as a field that
//! is not there, as everywhere in protobuf's JSON; of a key that is written twice the last counts, and keys that nobody
//! asks for are left alone (gRFC A21).
//!
//! Does not: know what a service config is.

use std::fmt::Write;
use std::ops::RangeInclusive;
use std::time::Duration;

use corelane_wire::grpc::Code;
use serde_json::{Map, Value};

use super::duration;
use super::error::ServiceConfigError;
use crate::config::CodeSet;
use crate::config::text::quoted;

pub(super) type Result<T> = std::result::Result<T, ServiceConfigError>;

/// A value and where it stands.
#[derive(Clone, Copy)]
pub(super) struct Field<'f> {
    value: &'f Value,
    around: Option<&'f Field<'f>>,
    step: Step<'f>,
}

/// The way from a field to one in it.
#[derive(Clone, Copy)]
enum Step<'f> {
    Root,
    Key(&'f str),
    Index(usize),
}

impl<'f> Field<'f> {
    /// The whole text.
    pub(super) fn root(value: &'f Value) -> Field<'f> {
        Field { value, around: None, step: Step::Root }
    }

    /// An error at this field.
    pub(super) fn fault(&self, reason: impl Into<String>) -> ServiceConfigError {
        self.fault_below("", reason)
    }

    /// An error at a place in this field, whose path goes on with `below`.
    pub(super) fn fault_below(&self, below: &str, reason: impl Into<String>) -> ServiceConfigError {
        let mut path = String::new();
        self.write_path(&mut path);
        ServiceConfigError::Invalid { path: path + below, reason: reason.into() }
    }

    /// An error at this field that tells what it is instead.
    pub(super) fn must(&self, reason: &str) -> ServiceConfigError {
        self.fault(format!("{reason}, is {}", shown(self.value)))
    }

    fn write_path(&self, path: &mut String) {
        if let Some(around) = self.around {
            around.write_path(path);
        }
        match self.step {
            Step::Root => {}
            Step::Key(key) => {
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(key);
            }
            Step::Index(index) => {
                write!(path, "[{index}]").expect("a string takes everything");
            }
        }
    }

    fn map(&self) -> Result<&'f Map<String, Value>> {
        self.value.as_object().ok_or_else(|| self.must("must be an object"))
    }

    /// Makes sure that it is an object.
    pub(super) fn object(&self) -> Result<()> {
        self.map().map(|_| ())
    }

    /// The field `key` of this object, if it is there.
    pub(super) fn get<'s>(&'s self, key: &'s str) -> Option<Field<'s>> {
        let value = self.value.get(key).filter(|value| !value.is_null())?;
        Some(Field { value, around: Some(self), step: Step::Key(key) })
    }

    /// The field `key` of this object, which must be there.
    pub(super) fn require<'s>(&'s self, key: &'s str) -> Result<Field<'s>> {
        self.get(key).ok_or_else(|| {
            let absent = Field { value: &Value::Null, around: Some(self), step: Step::Key(key) };
            absent.fault("is missing, and is required")
        })
    }

    /// What `read` makes of the field `key`, or `default` if it is not there.
    pub(super) fn get_or<T>(
        &self,
        key: &str,
        default: T,
        read: impl FnOnce(&Field<'_>) -> Result<T>,
    ) -> Result<T> {
        self.get(key).map_or(Ok(default), |field| read(&field))
    }

    /// What `read` makes of the field `key`, if it is there.
    pub(super) fn get_with<T>(
        &self,
        key: &str,
        read: impl FnOnce(&Field<'_>) -> Result<T>,
    ) -> Result<Option<T>> {
        self.get(key).map(|field| read(&field)).transpose()
    }

    /// The string `key` of this object, empty if it is not there.
    pub(super) fn get_text(&self, key: &str) -> Result<String> {
        self.get_or(key, String::new(), |text| text.text().map(str::to_owned))
    }

    /// The first key of this object that is not in `known`, if there is one.
    pub(super) fn unknown_key(&self, known: &[&str]) -> Result<Option<Field<'_>>> {
        let mut entries = self.map()?.iter();
        let unknown = entries.find(|(key, _)| !known.contains(&key.as_str()));
        Ok(unknown.map(|(key, value)| Field { value, around: Some(self), step: Step::Key(key) }))
    }

    /// The only entry of this object, which must have one.
    pub(super) fn only_entry(&self) -> Result<(&'f str, Field<'_>)> {
        let map = self.map()?;
        match (map.iter().next(), map.len()) {
            (Some((key, value)), 1) => Ok((key, Field { value, around: Some(self), step: Step::Key(key) })),
            (_, count) => Err(self.fault(format!("must have one entry, has {count}"))),
        }
    }

    /// The elements of this list.
    pub(super) fn elements(&self) -> Result<impl Iterator<Item = Field<'_>>> {
        let list = self.value.as_array().ok_or_else(|| self.must("must be a list"))?;
        let element = move |(index, value)| Field { value, around: Some(self), step: Step::Index(index) };
        Ok(list.iter().enumerate().map(element))
    }

    /// `true` or `false`.
    pub(super) fn boolean(&self) -> Result<bool> {
        self.value.as_bool().ok_or_else(|| self.must("must be true or false"))
    }

    /// A string.
    pub(super) fn text(&self) -> Result<&'f str> {
        self.value.as_str().ok_or_else(|| self.must("must be a string"))
    }

    /// A number without a fraction, or a string of its digits.
    pub(super) fn whole(&self, range: RangeInclusive<u32>) -> Result<u32> {
        let number = whole_number(self.value);
        let valid = number.and_then(|number| u32::try_from(number).ok()).filter(|it| range.contains(it));
        valid.ok_or_else(|| {
            let (start, end) = (range.start(), range.end());
            // The largest u32 is nobody's choice: no reason to name it where it is not in the way.
            let is_small = number.is_some_and(|number| number < u64::from(*start));
            if is_small && *end == u32::MAX {
                self.must(&format!("must be a whole number from {start}"))
            } else {
                self.must(&format!("must be a whole number from {start} to {end}"))
            }
        })
    }

    /// A finite number, or a string of one.
    pub(super) fn decimal(&self) -> Result<f64> {
        let number = match self.value {
            Value::Number(number) => number.as_f64(),
            Value::String(text) => text.parse().ok(),
            _ => None,
        };
        number.filter(|number| number.is_finite()).ok_or_else(|| self.must("must be a number"))
    }

    /// A finite number above zero, or a string of one.
    pub(super) fn positive_decimal(&self) -> Result<f64> {
        let number = self.decimal()?;
        if number > 0.0 { Ok(number) } else { Err(self.must("must be above 0")) }
    }

    /// A duration, zero included.
    pub(super) fn duration(&self) -> Result<Duration> {
        let text = self.value.as_str().ok_or_else(|| self.must("must be a string such as \"1.5s\""))?;
        duration::parse(text).map_err(|reason| self.must(reason))
    }

    /// A duration, zero excluded.
    pub(super) fn positive_duration(&self) -> Result<Duration> {
        let duration = self.duration()?;
        if duration.is_zero() { Err(self.must("must be above 0")) } else { Ok(duration) }
    }

    /// A list of status codes, by name or by number. OK is none of them: nobody tries again what succeeded.
    pub(super) fn codes(&self) -> Result<CodeSet> {
        let mut codes = CodeSet::EMPTY;
        for element in self.elements()? {
            let known = match element.value {
                Value::String(name) => {
                    Code::ALL.into_iter().find(|code| code.name().eq_ignore_ascii_case(name))
                }
                value => whole_number(value)
                    .and_then(|number| usize::try_from(number).ok())
                    .and_then(|number| Code::ALL.get(number).copied()),
            };
            match known {
                Some(Code::Ok) => return Err(element.must("must be the code of a failure")),
                Some(code) => codes.insert(code),
                None => {
                    let what =
                        "must be a status code, by name such as \"UNAVAILABLE\" or by number from 1 to 16";
                    return Err(element.must(what));
                }
            }
        }
        Ok(codes)
    }
}

/// Protobuf's JSON takes 2, 2.0, 2e0 and "2" for the same number.
fn whole_number(value: &Value) -> Option<u64> {
    /// Up to here an f64 holds every whole number.
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    match value {
        Value::Number(number) => number.as_u64().or_else(|| {
            let number = number.as_f64()?;
            // The cast is exact: a whole number in its range.
            ((0.0..=EXACT_MAX).contains(&number) && number.fract() == 0.0).then_some(number as u64)
        }),
        Value::String(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok(),
        _ => None,
    }
}

/// What a value is, for an error: short, whatever it is.
fn shown(value: &Value) -> String {
    match value {
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
        Value::String(text) => quoted(text),
        other => other.to_string(),
    }
}
