//! A writer of JSON, as small as what we have to say.
//!
//! Does not: check that an object's keys differ, or parse.

use std::fmt::Write as _;

/// A JSON text that grows. Values are put one after the other; the commas come by themselves.
#[derive(Debug, Default)]
pub(crate) struct Json(String);

impl Json {
    /// An object with these members.
    pub(crate) fn of(members: impl FnOnce(&mut Json)) -> String {
        let mut json = Json::default();
        json.object(members);
        json.0
    }

    /// The beginning of a member whose value comes next.
    pub(crate) fn key(&mut self, name: &str) -> &mut Json {
        self.string(name);
        self.0.push(':');
        self
    }

    pub(crate) fn number(&mut self, number: u64) {
        self.comma();
        // Writing to a string cannot fail.
        let _ = write!(self.0, "{number}");
    }

    /// A text, escaped as RFC 8259, section 7 has it.
    pub(crate) fn string(&mut self, text: &str) {
        self.comma();
        self.0.push('"');
        for c in text.chars() {
            match c {
                '"' => self.0.push_str("\\\""),
                '\\' => self.0.push_str("\\\\"),
                c if u32::from(c) < 0x20 => {
                    let _ = write!(self.0, "\\u{:04x}", u32::from(c));
                }
                c => self.0.push(c),
            }
        }
        self.0.push('"');
    }

    pub(crate) fn object(&mut self, members: impl FnOnce(&mut Json)) {
        self.between('{', '}', members);
    }

    pub(crate) fn array(&mut self, items: impl FnOnce(&mut Json)) {
        self.between('[', ']', items);
    }

    /// Members that are numbers.
    pub(crate) fn numbers<'n>(&mut self, numbers: impl IntoIterator<Item = (&'n str, u64)>) {
        for (name, number) in numbers {
            self.key(name).number(number);
        }
    }

    fn between(&mut self, open: char, close: char, fill: impl FnOnce(&mut Json)) {
        self.comma();
        self.0.push(open);
        fill(self);
        self.0.push(close);
    }

    /// A comma, unless this value is the first of its kind or a member's.
    fn comma(&mut self) {
        if !self.0.is_empty() && !self.0.ends_with(['{', '[', ':']) {
            self.0.push(',');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_come_between_values_and_nowhere_else() {
        let text = Json::of(|json| {
            json.key("a").number(1);
            json.key("b").array(|json| {
                json.number(2);
                json.array(|_| ());
                json.object(|json| json.numbers([("c", u64::MAX), ("d", 0)]));
            });
            json.key("e").string("[");
            json.key("f").object(|_| ());
        });
        assert_eq!(text, r#"{"a":1,"b":[2,[],{"c":18446744073709551615,"d":0}],"e":"[","f":{}}"#);
    }

    #[test]
    fn a_text_cannot_end_its_string() {
        let text = Json::of(|json| json.key("k\"").string("\"\\\n\u{1f}é,"));
        assert_eq!(text, "{\"k\\\"\":\"\\\"\\\\\\u000a\\u001fé,\"}");
    }
}
