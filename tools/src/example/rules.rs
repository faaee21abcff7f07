//! The rules that arguments must keep, and the errors of those that do not.
//!
//! Every rule that is broken is named, by field: in the text for people, in `google.rpc.BadRequest` for programs.

use corelane::details::{ErrorDetails, StatusExt as _};
use corelane::{Code, Status};

use super::proto::{CreateOrderRequest, CreateUserRequest, Role, create_order_request::Delivery};

const NAME_CHARACTERS_MAX: usize = 100;
const LABELS_MAX: usize = 32;
const NOTE_CHARACTERS_MAX: usize = 1000;
const SKU_CHARACTERS_MAX: usize = 64;
const ITEMS_MAX: usize = 100;
const QUANTITY_MAX: u32 = 10_000;

/// The rules that a request breaks.
#[derive(Debug, Default)]
pub(super) struct Faults(Vec<(String, &'static str)>);

impl Faults {
    /// Notes that `field` breaks `rule`, unless it is kept.
    pub(super) fn check(&mut self, kept: bool, field: &str, rule: &'static str) {
        if !kept {
            self.0.push((field.to_owned(), rule));
        }
    }

    /// The text for people.
    pub(super) fn text(&self) -> String {
        let lines: Vec<String> = self.0.iter().map(|(field, rule)| format!("{field} {rule}")).collect();
        lines.join("; ")
    }

    /// INVALID_ARGUMENT if there is any fault.
    pub(super) fn finish(self) -> Result<(), Status> {
        if self.0.is_empty() {
            return Ok(());
        }
        let mut details = ErrorDetails::new();
        for (field, rule) in &self.0 {
            details.add_bad_request_violation(field.as_str(), *rule);
        }
        Err(Status::with_error_details(Code::InvalidArgument, self.text(), details))
    }
}

/// A fault of one field.
pub(super) fn invalid(field: &str, rule: &'static str) -> Status {
    let details = ErrorDetails::with_bad_request_violation(field, rule);
    Status::with_error_details(Code::InvalidArgument, format!("{field} {rule}"), details)
}

/// The rules of a user's properties; `prefix` names the message that holds them.
pub(super) fn user(user: &CreateUserRequest, prefix: &str) -> Faults {
    let field = |name: &str| format!("{prefix}{name}");
    let mut faults = Faults::default();
    faults.check(
        is_between(&user.name, 1, NAME_CHARACTERS_MAX),
        &field("name"),
        "must have 1 to 100 characters",
    );
    faults.check(is_email(&user.email), &field("email"), "must have an @ with something before and after it");
    faults.check(Role::try_from(user.role).is_ok(), &field("role"), "is not one of the roles");
    faults.check(user.labels.len() <= LABELS_MAX, &field("labels"), "must have at most 32 entries");
    faults
}

fn is_between(text: &str, min: usize, max: usize) -> bool {
    (min..=max).contains(&text.chars().count())
}

fn is_email(text: &str) -> bool {
    text.split_once('@').is_some_and(|(name, domain)| !name.is_empty() && !domain.is_empty())
}

/// The rules of an order that is placed.
pub(super) fn order(order: &CreateOrderRequest) -> Faults {
    let mut faults = Faults::default();
    faults.check((1..=ITEMS_MAX).contains(&order.items.len()), "items", "must have 1 to 100 lines");
    for (index, item) in order.items.iter().enumerate() {
        let field = |name: &str| format!("items[{index}].{name}");
        faults.check(
            is_between(&item.sku, 1, SKU_CHARACTERS_MAX),
            &field("sku"),
            "must have 1 to 64 characters",
        );
        faults.check((1..=QUANTITY_MAX).contains(&item.quantity), &field("quantity"), "must be 1 to 10000");
        match &item.unit_price {
            None => faults.check(false, &field("unit_price"), "is missing"),
            Some(price) => {
                faults.check(
                    price.minor_units >= 0,
                    &field("unit_price.minor_units"),
                    "must not be negative",
                );
                let is_currency = is_capitals(&price.currency, 3);
                faults.check(is_currency, &field("unit_price.currency"), "must be three capital letters");
            }
        }
    }
    let mut currencies =
        order.items.iter().filter_map(|item| item.unit_price.as_ref()).map(|price| &price.currency);
    let first = currencies.next();
    faults.check(currencies.all(|currency| Some(currency) == first), "items", "must all be in one currency");
    match &order.delivery {
        None => faults.check(false, "delivery", "is missing: give ship_to or pick_up_at"),
        Some(Delivery::PickUpAt(shop)) => faults.check(!shop.is_empty(), "pick_up_at", "must name a shop"),
        Some(Delivery::ShipTo(address)) => {
            faults.check(!address.street.is_empty(), "ship_to.street", "is missing");
            faults.check(!address.city.is_empty(), "ship_to.city", "is missing");
            faults.check(is_capitals(&address.country, 2), "ship_to.country", "must be two capital letters");
        }
    }
    let note = order.note.as_deref().unwrap_or_default();
    faults.check(is_between(note, 0, NOTE_CHARACTERS_MAX), "note", "must have at most 1000 characters");
    faults
}

fn is_capitals(text: &str, count: usize) -> bool {
    text.len() == count && text.bytes().all(|octet| octet.is_ascii_uppercase())
}
