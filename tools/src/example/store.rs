//! What all workers share: the users, the orders and the rooms.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use corelane::Status;

use super::clock::now;
use super::proto::{CreateUserRequest, Order, OrderStatus, OrderUpdate, Role, User, UserFilter};
use super::room::Rooms;

/// Users that are kept at most: this is an example, not a database.
const USERS_MAX: usize = 1_000_000;
/// Orders that are kept at most.
const ORDERS_MAX: usize = 1_000_000;

/// The state of the example server.
#[derive(Debug, Default)]
pub(crate) struct Store {
    users: Mutex<UserTable>,
    orders: Mutex<OrderTable>,
    pub(super) rooms: Rooms,
}

impl Store {
    pub(super) fn users(&self) -> MutexGuard<'_, UserTable> {
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn orders(&self) -> MutexGuard<'_, OrderTable> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The users. An address belongs to one of them.
#[derive(Debug, Default)]
pub(super) struct UserTable {
    by_id: BTreeMap<u64, User>,
    ids_by_email: HashMap<String, u64>,
    id_last: u64,
}

fn no_user(id: u64) -> Status {
    Status::not_found(format!("there is no user {id}"))
}

impl UserTable {
    pub(super) fn get(&self, id: u64) -> Result<&User, Status> {
        self.by_id.get(&id).ok_or_else(|| no_user(id))
    }

    pub(super) fn create(&mut self, properties: CreateUserRequest) -> Result<User, Status> {
        if self.by_id.len() >= USERS_MAX {
            return Err(Status::resource_exhausted(format!(
                "there are {USERS_MAX} users, which is the most"
            )));
        }
        self.check_email(&properties.email, 0)?;
        self.id_last += 1;
        let created_at = now();
        let role = if properties.role == i32::from(Role::Unspecified) {
            Role::Member.into()
        } else {
            properties.role
        };
        let user = User {
            id: self.id_last,
            name: properties.name,
            email: properties.email,
            role,
            nickname: properties.nickname,
            labels: properties.labels,
            created_at: Some(created_at),
            updated_at: Some(created_at),
        };
        self.ids_by_email.insert(user.email.clone(), user.id);
        self.by_id.insert(user.id, user.clone());
        Ok(user)
    }

    /// Puts `user` in the place of the one with its id.
    pub(super) fn replace(&mut self, mut user: User) -> Result<User, Status> {
        let before = self.get(user.id)?.email.clone();
        self.check_email(&user.email, user.id)?;
        user.updated_at = Some(now());
        self.ids_by_email.remove(&before);
        self.ids_by_email.insert(user.email.clone(), user.id);
        self.by_id.insert(user.id, user.clone());
        Ok(user)
    }

    pub(super) fn delete(&mut self, id: u64) -> Result<(), Status> {
        let user = self.by_id.remove(&id).ok_or_else(|| no_user(id))?;
        self.ids_by_email.remove(&user.email);
        Ok(())
    }

    /// Up to `count` users that pass the filter, from the first one after `after`.
    pub(super) fn page(&self, after: u64, filter: &UserFilter, count: usize) -> Vec<User> {
        let rest = self.by_id.range((Bound::Excluded(after), Bound::Unbounded));
        rest.map(|(_, user)| user).filter(|user| passes(user, filter)).take(count).cloned().collect()
    }

    fn check_email(&self, email: &str, owner: u64) -> Result<(), Status> {
        match self.ids_by_email.get(email) {
            Some(&id) if id != owner => {
                Err(Status::already_exists(format!("user {id} has the address {email}")))
            }
            _ => Ok(()),
        }
    }
}

fn passes(user: &User, filter: &UserFilter) -> bool {
    let role = filter.role == i32::from(Role::Unspecified) || filter.role == user.role;
    let name = filter
        .name_contains
        .as_ref()
        .is_none_or(|text| user.name.to_lowercase().contains(&text.to_lowercase()));
    role && name && filter.labels.iter().all(|(key, value)| user.labels.get(key) == Some(value))
}

/// The orders, each with its history.
#[derive(Debug, Default)]
pub(super) struct OrderTable {
    by_id: BTreeMap<u64, (Order, Vec<OrderUpdate>)>,
    id_last: u64,
}

impl OrderTable {
    fn entry(&mut self, id: u64) -> Result<&mut (Order, Vec<OrderUpdate>), Status> {
        self.by_id.get_mut(&id).ok_or_else(|| Status::not_found(format!("there is no order {id}")))
    }

    pub(super) fn get(&mut self, id: u64) -> Result<Order, Status> {
        Ok(self.entry(id)?.0.clone())
    }

    /// Gives `order` an id and places it.
    pub(super) fn place(&mut self, mut order: Order) -> Result<Order, Status> {
        if self.by_id.len() >= ORDERS_MAX {
            return Err(Status::resource_exhausted(format!(
                "there are {ORDERS_MAX} orders, which is the most"
            )));
        }
        self.id_last += 1;
        order.id = self.id_last;
        order.set_status(OrderStatus::Placed);
        let placed_at = now();
        order.placed_at = Some(placed_at);
        let update = OrderUpdate {
            order_id: order.id,
            sequence: 1,
            status: order.status,
            at: Some(placed_at),
            message: text(OrderStatus::Placed).to_owned(),
        };
        self.by_id.insert(order.id, (order.clone(), vec![update]));
        Ok(order)
    }

    /// The newest update of an order.
    pub(super) fn newest(&mut self, id: u64) -> Result<OrderUpdate, Status> {
        let (_, history) = self.entry(id)?;
        Ok(history.last().expect("an order's history begins when it is placed").clone())
    }

    /// The update after `sequence`: the one that there is, else the one that this call makes. None at the end.
    pub(super) fn advance(&mut self, id: u64, sequence: u64) -> Result<Option<OrderUpdate>, Status> {
        let (order, history) = self.entry(id)?;
        if let Some(update) = history.iter().find(|update| update.sequence > sequence) {
            return Ok(Some(update.clone()));
        }
        let Some(next) = after(order.status()) else { return Ok(None) };
        order.set_status(next);
        let update = OrderUpdate {
            order_id: id,
            sequence: sequence + 1,
            status: next.into(),
            at: Some(now()),
            message: text(next).to_owned(),
        };
        history.push(update.clone());
        Ok(Some(update))
    }
}

/// The state that follows, until an order has arrived.
fn after(status: OrderStatus) -> Option<OrderStatus> {
    match status {
        OrderStatus::Unspecified => Some(OrderStatus::Placed),
        OrderStatus::Placed => Some(OrderStatus::Paid),
        OrderStatus::Paid => Some(OrderStatus::Shipped),
        OrderStatus::Shipped => Some(OrderStatus::Delivered),
        OrderStatus::Delivered | OrderStatus::Cancelled => None,
    }
}

/// Whether nothing comes after this.
pub(super) fn is_final(status: OrderStatus) -> bool {
    after(status).is_none()
}

fn text(status: OrderStatus) -> &'static str {
    match status {
        OrderStatus::Unspecified => "",
        OrderStatus::Placed => "the order was placed",
        OrderStatus::Paid => "the order was paid for",
        OrderStatus::Shipped => "the order is on its way",
        OrderStatus::Delivered => "the order has arrived",
        OrderStatus::Cancelled => "the order was cancelled",
    }
}
