//! Requests: JSON documents one after the other, from the command line, a file or stdin, each read when the one before it was sent.
//!
//! A thread reads, since stdin blocks, and hands over what it has read through a queue that is as short as it can be: with a person at
//! the other end, a document goes out as soon as its last brace is typed.
//!
//! Invariant: where a document is faulty, nothing is sent any more and the call is not ended as if all were well.

use std::io::{self, BufReader, Read};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use futures_channel::{mpsc, oneshot};
use prost_reflect::{DeserializeOptions, DynamicMessage, MessageDescriptor};
use serde_json::value::RawValue;

use crate::files;

/// Where requests come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Data {
    Inline(String),
    File(PathBuf),
    Stdin,
}

impl FromStr for Data {
    type Err = String;

    fn from_str(text: &str) -> Result<Data, String> {
        Ok(match text.strip_prefix('@') {
            Some("" | "-") => Data::Stdin,
            Some(path) => Data::File(path.into()),
            None if text == "-" => Data::Stdin,
            None => Data::Inline(text.to_owned()),
        })
    }
}

impl Data {
    fn open(&self) -> Result<Box<dyn Read + Send>, String> {
        Ok(match self {
            Data::Inline(text) => Box::new(io::Cursor::new(text.clone().into_bytes())),
            Data::File(path) => Box::new(BufReader::new(files::open(path)?)),
            Data::Stdin => Box::new(io::stdin()),
        })
    }
}

/// Messages of one type, read as they are asked for.
pub(crate) struct Documents {
    values: Box<dyn Iterator<Item = serde_json::Result<Box<RawValue>>> + Send>,
    kind: MessageDescriptor,
    options: DeserializeOptions,
    count: usize,
}

impl Documents {
    /// Those of `data`; none without.
    ///
    /// # Errors
    /// If there is no such file.
    pub(crate) fn open(
        data: Option<&Data>,
        kind: MessageDescriptor,
        options: DeserializeOptions,
    ) -> Result<Documents, String> {
        let input = data.map_or_else(|| Ok(Box::new(io::empty()) as Box<dyn Read + Send>), Data::open)?;
        let values = serde_json::Deserializer::from_reader(input).into_iter();
        Ok(Documents { values: Box::new(values), kind, options, count: 0 })
    }

    /// The one document that there must be; without any, a message without fields.
    ///
    /// # Errors
    /// If there are more, or it is faulty.
    pub(crate) fn only(mut self) -> Result<DynamicMessage, String> {
        let Some(first) = self.next() else { return Ok(DynamicMessage::new(self.kind)) };
        let first = first?;
        match self.next() {
            None => Ok(first),
            Some(Err(fault)) => Err(fault),
            Some(Ok(_)) => Err("the method takes one request, and there are more in --data".to_owned()),
        }
    }

    fn read(&self, text: &RawValue) -> Result<DynamicMessage, String> {
        let mut json = serde_json::Deserializer::from_str(text.get());
        let read = DynamicMessage::deserialize_with_options(self.kind.clone(), &mut json, &self.options);
        read.map_err(|error| {
            format!("document {} of --data is no {}: {error}", self.count, self.kind.full_name())
        })
    }
}

impl Iterator for Documents {
    type Item = Result<DynamicMessage, String>;

    fn next(&mut self) -> Option<Self::Item> {
        let value = self.values.next()?;
        self.count += 1;
        Some(match value {
            Ok(text) => self.read(&text),
            Err(error) => Err(format!("document {} of --data is not JSON: {error}", self.count)),
        })
    }
}

/// Why there are no more requests. For as long as it is held, their stream has not ended.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) text: String,
    _open: mpsc::Sender<DynamicMessage>,
}

/// Reads `documents` on a thread of its own, and gives them as the requests of a call.
pub(crate) fn feed(documents: Documents) -> (mpsc::Receiver<DynamicMessage>, oneshot::Receiver<Fault>) {
    let (sender, requests) = mpsc::channel(0);
    let (fault, faults) = oneshot::channel();
    thread::spawn(move || read_all(documents, sender, fault));
    (requests, faults)
}

fn read_all(documents: Documents, mut sender: mpsc::Sender<DynamicMessage>, fault: oneshot::Sender<Fault>) {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    for document in documents {
        let message = match document {
            Ok(message) => message,
            Err(text) => {
                // Nobody listens any more where the call has ended.
                let _ = fault.send(Fault { text, _open: sender });
                return;
            }
        };
        let mut cx = Context::from_waker(&waker);
        let is_open = loop {
            match sender.poll_ready(&mut cx) {
                Poll::Ready(ready) => break ready.is_ok(),
                Poll::Pending => thread::park(),
            }
        };
        if !is_open || sender.try_send(message).is_err() {
            return;
        }
    }
}

/// Wakes a thread that waits for room.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;

    use prost_reflect::DescriptorPool;

    use super::*;

    fn documents(text: &str, options: DeserializeOptions) -> Documents {
        let pool = DescriptorPool::decode(crate::call::DESCRIPTORS).unwrap();
        let kind = pool.get_message_by_name("example.v1.GetUserRequest").unwrap();
        Documents::open(Some(&Data::Inline(text.to_owned())), kind, options).unwrap()
    }

    fn ids(text: &str) -> Vec<Result<u64, String>> {
        let id = |message: DynamicMessage| message.get_field_by_number(1).unwrap().as_u64().unwrap();
        documents(text, DeserializeOptions::new()).map(|read| read.map(id)).collect()
    }

    #[test]
    fn data_is_json_a_file_or_stdin() {
        assert_eq!("{}".parse(), Ok(Data::Inline("{}".to_owned())));
        assert_eq!("@a.json".parse(), Ok(Data::File("a.json".into())));
        assert_eq!(
            ["@", "-", "@-"].map(|text| text.parse()),
            [Ok(Data::Stdin), Ok(Data::Stdin), Ok(Data::Stdin)]
        );
        let error = Data::File("/nowhere/a.json".into()).open().err().unwrap();
        assert!(error.starts_with("cannot read /nowhere/a.json: "), "{error}");
    }

    #[test]
    fn documents_follow_each_other_with_anything_blank_between_or_nothing() {
        let one_to_three = [Ok(1), Ok(2), Ok(3)];
        assert_eq!(ids(r#"{"id":"1"}{"id":"2"} {"id":"3"}"#), one_to_three);
        assert_eq!(ids("\n{\"id\":\"1\"}\n\n{\"id\":\"2\"}\t{\"id\":\n\"3\"}\n"), one_to_three);
        assert_eq!(ids(" "), []);
    }

    #[test]
    fn a_faulty_document_is_named_by_its_number() {
        let faults = ids(r#"{"id":"1"}{"name":"x"}"#);
        assert_eq!(faults[0], Ok(1));
        let fault = faults[1].clone().unwrap_err();
        assert!(fault.starts_with("document 2 of --data is no example.v1.GetUserRequest: "), "{fault}");
        assert!(fault.contains("name"), "{fault}");
        let fault = ids("{").remove(0).unwrap_err();
        assert!(fault.starts_with("document 1 of --data is not JSON: EOF"), "{fault}");
        let fault = ids("[]").remove(0).unwrap_err();
        assert!(fault.starts_with("document 1 of --data is no example.v1.GetUserRequest: "), "{fault}");
    }

    #[test]
    fn unknown_fields_are_passed_over_on_request() {
        let options = DeserializeOptions::new().deny_unknown_fields(false);
        assert!(documents(r#"{"name":"x"}"#, options).only().is_ok());
    }

    #[test]
    fn one_request_is_one_document_or_none() {
        let only =
            |text| documents(text, DeserializeOptions::new()).only().map(|message| message.to_string());
        assert!(only("{\"id\":\"1\"}").is_ok());
        assert!(only("").is_ok());
        assert_eq!(
            only("{}{}"),
            Err("the method takes one request, and there are more in --data".to_owned())
        );
        assert!(only("{} x").unwrap_err().starts_with("document 2 of --data is not JSON: "));
    }

    /// A document's last brace is enough: what comes behind it is not waited for.
    #[test]
    fn a_document_is_there_before_the_next_one_begins() {
        let (input, mut typing) = io::pipe().unwrap();
        io::Write::write_all(&mut typing, b"{\"id\":\"1\"}").unwrap();
        let values = serde_json::Deserializer::from_reader(input).into_iter();
        let mut documents =
            Documents { values: Box::new(values), ..documents("", DeserializeOptions::new()) };
        assert!(documents.next().unwrap().is_ok());
        io::Write::write_all(&mut typing, b"{\"id\":").unwrap();
        drop(typing);
        assert!(documents.next().unwrap().unwrap_err().contains("is not JSON"));
    }

    /// Waits as an executor would.
    fn next(requests: &mut mpsc::Receiver<DynamicMessage>) -> Option<DynamicMessage> {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        loop {
            let polled =
                corelane::codegen::Stream::poll_next(Pin::new(requests), &mut Context::from_waker(&waker));
            match polled {
                Poll::Ready(message) => return message,
                Poll::Pending => thread::park(),
            }
        }
    }

    #[test]
    fn the_stream_ends_with_the_documents() {
        let (mut requests, mut faults) = feed(documents("{}{}{}", DeserializeOptions::new()));
        assert!([next(&mut requests), next(&mut requests), next(&mut requests)].iter().all(Option::is_some));
        assert_eq!(next(&mut requests), None);
        assert!(!matches!(faults.try_recv(), Ok(Some(_))));
    }

    #[test]
    fn the_stream_does_not_end_at_a_fault() {
        let (mut requests, faults) = feed(documents("{}!", DeserializeOptions::new()));
        assert!(next(&mut requests).is_some());
        let mut faults = std::pin::pin!(faults);
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let fault = loop {
            match faults.as_mut().poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(fault) => break fault.unwrap(),
                Poll::Pending => thread::park(),
            }
        };
        assert!(fault.text.starts_with("document 2 of --data is not JSON: "), "{}", fault.text);
        let polled = corelane::codegen::Stream::poll_next(
            Pin::new(&mut requests),
            &mut Context::from_waker(Waker::noop()),
        );
        assert!(polled.is_pending());
    }
}
