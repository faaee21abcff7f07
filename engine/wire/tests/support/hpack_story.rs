//! Reads the stories of `tests/corpus/hpack`; `stories.py` there describes the format.

/// A field: name, value, and whether it is never to be indexed.
pub(crate) type Triple = (Vec<u8>, Vec<u8>, bool);

pub(crate) enum Step {
    /// The decoder's side has another table size, and the encoder knows.
    Size(u32),
    /// A block and its fields.
    Block(Vec<u8>, Vec<Triple>),
    /// A block that has to be refused.
    Refused(Vec<u8>),
}

pub(crate) struct Story {
    pub(crate) name: String,
    pub(crate) steps: Vec<Step>,
}

pub(crate) fn read(text: &str) -> Vec<Story> {
    let mut stories: Vec<Story> = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (kind, rest) = line.split_once(' ').unwrap_or((line, ""));
        if kind == "story" {
            stories.push(Story { name: rest.to_owned(), steps: Vec::new() });
            continue;
        }
        let steps = &mut stories.last_mut().expect("a story comes first").steps;
        match (kind, steps.last_mut()) {
            ("size", _) => steps.push(Step::Size(rest.parse().expect("a number"))),
            ("block", _) => steps.push(Step::Block(hex(rest), Vec::new())),
            ("f" | "n", Some(Step::Block(_, fields))) => {
                let (name, value) = rest.split_once('\t').expect("a tab between name and value");
                fields.push((unescape(name), unescape(value), kind == "n"));
            }
            ("refused", Some(last @ Step::Block(..))) => {
                let Step::Block(block, _) = last else { unreachable!() };
                *last = Step::Refused(std::mem::take(block));
            }
            _ => panic!("no such line here: {line}"),
        }
    }
    stories
}

pub(crate) fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let octet =
        |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).expect("ASCII"), 16).expect("hex digits");
    digits.chunks(2).map(octet).collect()
}

fn unescape(text: &str) -> Vec<u8> {
    let mut parts = text.split("\\x");
    let mut octets = parts.next().unwrap_or("").as_bytes().to_vec();
    for part in parts {
        let (digits, tail) = part.split_at(2);
        octets.extend(hex(digits));
        octets.extend(tail.as_bytes());
    }
    octets
}
