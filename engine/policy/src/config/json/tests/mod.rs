//! What is read from texts, and the words of all refusals.

mod choices;
mod read;
mod refused;

use crate::config::ServiceConfig;

fn read(text: &str) -> ServiceConfig {
    ServiceConfig::from_json(text).unwrap_or_else(|error| panic!("{error}, in {text}"))
}

fn refusal(text: &str) -> String {
    ServiceConfig::from_json(text).expect_err(text).to_string()
}
