//! Which request gets which answer: one table.
//!
//! Does not: read from or write to anybody.

use corelane_observe::Profiling;

use super::figures::Figures;
use super::json::Json;
use super::request::{Method, Request, Sender};

/// What is sent back. All bodies are JSON.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: Status,
    pub(crate) body: String,
}

/// The statuses that the admin port has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Ok,
    BadRequest,
    Forbidden,
    NotFound,
    /// With the one method that would have been right.
    MethodNotAllowed(&'static str),
    RequestTimeout,
    HeadTooLarge,
    Unavailable,
    VersionNotSupported,
}

impl Status {
    /// The number and its phrase.
    pub(crate) fn line(self) -> &'static str {
        match self {
            Status::Ok => "200 OK",
            Status::BadRequest => "400 Bad Request",
            Status::Forbidden => "403 Forbidden",
            Status::NotFound => "404 Not Found",
            Status::MethodNotAllowed(_) => "405 Method Not Allowed",
            Status::RequestTimeout => "408 Request Timeout",
            Status::HeadTooLarge => "431 Request Header Fields Too Large",
            Status::Unavailable => "503 Service Unavailable",
            Status::VersionNotSupported => "505 HTTP Version Not Supported",
        }
    }
}

impl Answer {
    /// What was asked for.
    fn ok(body: String) -> Answer {
        Answer { status: Status::Ok, body }
    }

    /// Why there is nothing else.
    pub(crate) fn error(status: Status, reason: &str) -> Answer {
        Answer { status, body: Json::of(|json| json.key("error").string(reason)) }
    }
}

/// One thing that can be asked for.
struct Route {
    path: &'static str,
    method: Method,
    /// For the list of them.
    about: &'static str,
    answer: fn(&Request<'_>, &Figures) -> Answer,
}

const ROUTES: &[Route] = &[
    Route { path: "/", method: Method::Get, about: "this list", answer: |_, _| Answer::ok(index()) },
    Route {
        path: "/healthz",
        method: Method::Get,
        about: "whether the process answers",
        answer: |_, _| healthz(),
    },
    Route {
        path: "/stats",
        method: Method::Get,
        about: "the figures of all workers together",
        answer: |_, figures| Answer::ok(figures.stats()),
    },
    Route {
        path: "/cores",
        method: Method::Get,
        about: "the figures of each worker",
        answer: |_, figures| Answer::ok(figures.cores()),
    },
    Route {
        path: "/profile",
        method: Method::Post,
        about: "?on or ?off: whether workers note where their time goes",
        answer: switch,
    },
];

/// The answer to a request.
pub(crate) fn answer(request: &Request<'_>, figures: &Figures) -> Answer {
    let Some(route) = ROUTES.iter().find(|route| route.path == request.path) else {
        return Answer::error(Status::NotFound, "there is nothing here; / has a list");
    };
    if route.method != request.method {
        let allowed = name(route.method);
        return Answer::error(Status::MethodNotAllowed(allowed), &format!("this takes {allowed}"));
    }
    // A page that somebody looks at could otherwise reach the loopback address in their name.
    if route.method == Method::Post && request.sender == Sender::Page {
        return Answer::error(Status::Forbidden, "web pages change nothing here");
    }
    (route.answer)(request, figures)
}

fn name(method: Method) -> &'static str {
    match method {
        Method::Post => "POST",
        Method::Get | Method::Other => "GET",
    }
}

fn healthz() -> Answer {
    Answer::ok(Json::of(|json| json.key("status").string("ok")))
}

fn index() -> String {
    Json::of(|json| {
        for route in ROUTES {
            json.key(&format!("{} {}", name(route.method), route.path)).string(route.about);
        }
    })
}

fn switch(request: &Request<'_>, figures: &Figures) -> Answer {
    let profiling = match request.query {
        "on" => Profiling::On,
        "off" => Profiling::Off,
        _ => return Answer::error(Status::BadRequest, "say /profile?on or /profile?off"),
    };
    figures.profile().set(profiling);
    Answer::ok(figures.profile_state())
}
