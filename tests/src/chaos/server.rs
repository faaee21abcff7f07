//! A server with a journal: what was executed can be counted after it was killed.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use corelane::server::Builder;
use corelane::{Request, Response, Server, Status, time};

use crate::protos::chaos::v1::chaos_server::{Chaos, ChaosServer};
use crate::protos::chaos::v1::{Done, Order};

/// The metadata in which a client says how many attempts went before (gRFC A6).
const PREVIOUS_ATTEMPTS: &str = "grpc-previous-rpc-attempts";

/// How long a call takes: at 2,000 calls a second on three servers, a fault finds three or four of them in flight at each.
const WORK: Duration = Duration::from_millis(5);

/// The ids of the calls that were executed, one on a line. All workers write to the same one.
#[derive(Clone, Debug)]
pub struct Journal(Arc<File>);

impl Journal {
    /// Goes on with the journal in this file, or begins it.
    ///
    /// # Errors
    /// The file cannot be written to.
    pub fn open(path: &Path) -> io::Result<Journal> {
        Ok(Journal(Arc::new(File::options().append(true).create(true).open(path)?)))
    }

    /// Writes an id down. A single write: the kernel has the whole line or nothing of it, whenever the process is killed.
    fn note(&self, id: u64) -> io::Result<()> {
        let line = format!("{id}\n");
        if (&*self.0).write(line.as_bytes())? == line.len() {
            Ok(())
        } else {
            Err(io::Error::new(io::ErrorKind::WriteZero, "the line was cut"))
        }
    }
}

/// A server that notes in `journal` what it executes.
#[must_use]
pub fn server(journal: Journal) -> Builder {
    Server::builder().add_service(move || ChaosServer::new(Execution { journal: journal.clone() }))
}

struct Execution {
    journal: Journal,
}

impl Chaos for Execution {
    async fn execute(&self, request: Request<Order>) -> Result<Response<Done>, Status> {
        // Before anything else: a call that was executed and not noted would be missed by whoever counts.
        self.journal
            .note(request.get_ref().id)
            .map_err(|error| Status::internal(format!("the journal cannot be written to: {error}")))?;
        time::sleep(WORK).await;
        let endpoint = request.local_addr().map(|address| address.to_string()).unwrap_or_default();
        let previous = request.metadata().get(PREVIOUS_ATTEMPTS).and_then(|count| count.parse::<u32>().ok());
        Ok(Response::new(Done { endpoint, attempt: previous.unwrap_or(0).saturating_add(1) }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_is_continued_line_by_line() {
        let path = std::env::temp_dir().join(format!("corelane-journal-{}", std::process::id()));
        std::fs::write(&path, "7\n").unwrap();
        Journal::open(&path).unwrap().note(8).unwrap();
        let journal = Journal::open(&path).unwrap();
        let other = journal.clone();
        journal.note(u64::MAX).unwrap();
        other.note(0).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(text, "7\n8\n18446744073709551615\n0\n");
    }
}
