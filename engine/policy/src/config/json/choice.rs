//! The choices that DNS carries, so that a new service config can be tried on some clients first (gRFC A2).
//!
//! Does not: roll the dice, or ask the system for its name; both are handed in.

use super::field::{Field, Result};
use super::service_config;
use crate::config::ServiceConfig;

/// Who a choice may be meant for.
#[derive(Clone, Copy, Debug)]
pub struct Client<'c> {
    /// `rust`; its case does not matter.
    pub language: &'c str,
    /// The system's name for itself; its case matters.
    pub hostname: &'c str,
    /// A random number from 0 to 99, the same for as long as the client lives: below a percentage it is meant.
    pub roll: u8,
}

/// The choices in a TXT record of `_grpc_config.NAME`, whose strings were joined; `None` if the record is for something
/// else.
///
/// ```
/// assert_eq!(corelane_policy::config::txt_value("grpc_config=[]"), Some("[]"));
/// assert_eq!(corelane_policy::config::txt_value("v=spf1"), None);
/// ```
#[must_use]
pub fn txt_value(record: &str) -> Option<&str> {
    record.strip_prefix("grpc_config=")
}

/// The first choice that is meant for `client`. All criteria are read, and only the chosen config (gRFC A21).
pub(super) fn choose(field: &Field<'_>, client: &Client<'_>) -> Result<Option<ServiceConfig>> {
    let mut chosen = None;
    for element in field.elements()? {
        let matches = matches(&element, client)?;
        let config = element.require("serviceConfig")?;
        config.object()?;
        if matches && chosen.is_none() {
            chosen = Some(service_config(&config)?);
        }
    }
    Ok(chosen)
}

fn matches(choice: &Field<'_>, client: &Client<'_>) -> Result<bool> {
    const KEYS: [&str; 4] = ["clientLanguage", "percentage", "clientHostname", "serviceConfig"];
    if let Some(unknown) = choice.unknown_key(&KEYS)? {
        let known = "there are clientLanguage, clientHostname and percentage";
        return Err(unknown.fault(format!("is no criterion of a choice: {known}")));
    }
    let language = choice.get_or("clientLanguage", true, |languages| {
        one_of(languages, |language| language.eq_ignore_ascii_case(client.language))
    })?;
    let hostname = choice.get_or("clientHostname", true, |hostnames| {
        one_of(hostnames, |hostname| hostname == client.hostname)
    })?;
    let percentage = choice.get_or("percentage", 100, |percentage| percentage.whole(0..=100))?;
    Ok(language && hostname && u32::from(client.roll) < percentage)
}

/// Whether one element is the client's, or there is none.
fn one_of(list: &Field<'_>, is_client: impl Fn(&str) -> bool) -> Result<bool> {
    let mut is_empty = true;
    let mut found = false;
    for element in list.elements()? {
        is_empty = false;
        found |= is_client(element.text()?);
    }
    Ok(found || is_empty)
}
