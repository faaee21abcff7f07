//! The seam to the kernel: which way of doing I/O a worker takes, and the operations that it offers.
//!
//! Everything above works with the completion-shaped operations that this module re-exports: a read or a write takes
//! its buffer, owns all that it needs, and gives the buffer back with the result. [`monoio`] is the one file that
//! names the library below, for both of its drivers.
//!
//! Does not: know frames, sessions or limits.

mod monoio;
mod outgoing;
mod plain;

pub(crate) use self::monoio::{
    Alarm, Bell, BellRope, Canceller, Cord, Listener, Socket, probe, run, running, spawn,
};
pub(crate) use self::outgoing::Outgoing;
pub(crate) use self::plain::{Accepted, StdListener};

use crate::error::StartError;
use std::ffi::OsStr;
use std::fmt;
use std::io;

/// The environment variable that decides where [`Backend::Auto`] was asked for.
pub const BACKEND_VARIABLE: &str = "CORELANE_BACKEND";

/// Which way of doing I/O is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Backend {
    /// `CORELANE_BACKEND` if it is set, else io_uring where the kernel allows it, else epoll.
    #[default]
    Auto,
    /// io_uring, or the start fails.
    Uring,
    /// epoll.
    Epoll,
}

/// Which way of doing I/O a worker has taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackendKind {
    /// io_uring.
    Uring,
    /// epoll.
    Epoll,
}

impl fmt::Display for BackendKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BackendKind::Uring => "uring",
            BackendKind::Epoll => "epoll",
        })
    }
}

/// A decision and its reason, for the log.
#[derive(Debug)]
pub(crate) struct Choice {
    pub(crate) kind: BackendKind,
    pub(crate) why: String,
}

/// Decides between the backends: what the builder forces wins, then the environment, then what the kernel can do.
///
/// `probe` is called at most once, and only where its answer matters.
pub(crate) fn choose(
    asked: Backend,
    environment: Option<&OsStr>,
    probe: impl FnOnce() -> io::Result<()>,
) -> Result<Choice, StartError> {
    let forced = |kind, why: &str| Ok(Choice { kind, why: why.to_owned() });
    match (asked, environment.map(|value| (value, value.to_str()))) {
        (Backend::Epoll, _) => forced(BackendKind::Epoll, "forced by the configuration"),
        (Backend::Uring, _) => {
            probe().map_err(StartError::UringUnavailable)?;
            forced(BackendKind::Uring, "forced by the configuration")
        }
        (Backend::Auto, Some((_, Some("epoll")))) => forced(BackendKind::Epoll, "forced by CORELANE_BACKEND"),
        (Backend::Auto, Some((_, Some("uring")))) => {
            probe().map_err(StartError::UringUnavailable)?;
            forced(BackendKind::Uring, "forced by CORELANE_BACKEND")
        }
        (Backend::Auto, None | Some((_, Some("" | "auto")))) => Ok(match probe() {
            Ok(()) => Choice { kind: BackendKind::Uring, why: "the kernel allows io_uring".to_owned() },
            Err(error) => Choice {
                kind: BackendKind::Epoll,
                why: format!("the kernel or its policy refuses io_uring: {error}"),
            },
        }),
        (Backend::Auto, Some((value, _))) => {
            Err(StartError::UnknownBackend { value: value.to_string_lossy().into_owned() })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused() -> io::Result<()> {
        Err(io::Error::from_raw_os_error(1))
    }

    fn choice(
        asked: Backend,
        environment: Option<&str>,
        probe: fn() -> io::Result<()>,
    ) -> Option<BackendKind> {
        choose(asked, environment.map(OsStr::new), probe).ok().map(|choice| choice.kind)
    }

    #[test]
    fn the_builder_wins_over_the_environment() {
        assert_eq!(choice(Backend::Epoll, Some("uring"), || Ok(())), Some(BackendKind::Epoll));
        assert_eq!(choice(Backend::Uring, Some("epoll"), || Ok(())), Some(BackendKind::Uring));
        assert_eq!(choice(Backend::Uring, Some("nonsense"), || Ok(())), Some(BackendKind::Uring));
    }

    #[test]
    fn the_environment_wins_over_the_probe() {
        assert_eq!(choice(Backend::Auto, Some("epoll"), || Ok(())), Some(BackendKind::Epoll));
        assert_eq!(choice(Backend::Auto, Some("auto"), refused), Some(BackendKind::Epoll));
    }

    #[test]
    fn without_a_wish_the_kernel_decides() {
        assert_eq!(choice(Backend::Auto, None, || Ok(())), Some(BackendKind::Uring));
        let choice = choose(Backend::Auto, None, refused).unwrap();
        assert_eq!(choice.kind, BackendKind::Epoll);
        assert!(choice.why.contains("os error 1"), "{}", choice.why);
    }

    #[test]
    fn a_forced_ring_that_the_kernel_refuses_is_an_error_with_its_number() {
        for (asked, environment) in [(Backend::Uring, None), (Backend::Auto, Some(OsStr::new("uring")))] {
            let error = choose(asked, environment, refused).unwrap_err();
            assert!(matches!(&error, StartError::UringUnavailable(error) if error.raw_os_error() == Some(1)));
        }
    }

    #[test]
    fn an_unknown_value_is_named() {
        let error = choose(Backend::Auto, Some(OsStr::new("kqueue")), || Ok(())).unwrap_err();
        assert_eq!(
            error.to_string(),
            "CORELANE_BACKEND is \"kqueue\", which is neither \"uring\" nor \"epoll\""
        );
    }
}
