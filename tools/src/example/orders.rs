//! `example.v1.OrderService`.

use std::sync::Arc;
use std::time::Duration;

use corelane::codegen::BoxStream;
use corelane::{Request, Response, Status, time};

use super::proto::order_service_server::OrderService;
use super::proto::{
    CreateOrderRequest, GetOrderRequest, Money, Order, OrderItem, OrderUpdate, WatchOrderRequest,
    create_order_request, order,
};
use super::rules;
use super::store::{Store, is_final};

const PACE: Duration = Duration::from_millis(200);
const PACE_MAX: Duration = Duration::from_secs(60);

/// The service; one for each worker.
#[derive(Debug)]
pub(crate) struct Orders {
    store: Arc<Store>,
}

impl Orders {
    pub(crate) fn new(store: Arc<Store>) -> Orders {
        Orders { store }
    }
}

impl OrderService for Orders {
    async fn create_order(&self, request: Request<CreateOrderRequest>) -> Result<Response<Order>, Status> {
        let asked = request.into_inner();
        rules::order(&asked).finish()?;
        self.store.users().get(asked.user_id)?;
        let order = Order {
            user_id: asked.user_id,
            total: Some(total(&asked.items)?),
            items: asked.items,
            delivery: asked.delivery.map(|delivery| match delivery {
                create_order_request::Delivery::ShipTo(address) => order::Delivery::ShipTo(address),
                create_order_request::Delivery::PickUpAt(shop) => order::Delivery::PickUpAt(shop),
            }),
            note: asked.note,
            ..Order::default()
        };
        self.store.orders().place(order).map(Response::new)
    }

    async fn get_order(&self, request: Request<GetOrderRequest>) -> Result<Response<Order>, Status> {
        self.store.orders().get(request.get_ref().id).map(Response::new)
    }

    type WatchOrderStream = BoxStream<OrderUpdate>;

    async fn watch_order(
        &self,
        request: Request<WatchOrderRequest>,
    ) -> Result<Response<Self::WatchOrderStream>, Status> {
        let WatchOrderRequest { id, pace } = request.into_inner();
        let pace = match pace {
            None => PACE,
            Some(pace) => Duration::try_from(pace)
                .ok()
                .filter(|pace| *pace <= PACE_MAX)
                .ok_or_else(|| rules::invalid("pace", "must be between nothing and a minute"))?,
        };
        let store = self.store.clone();
        let mut update = store.orders().newest(id)?;
        Ok(Response::new(Box::pin(async_stream::try_stream! {
            loop {
                let (sequence, ended) = (update.sequence, is_final(update.status()));
                yield update;
                if ended {
                    return;
                }
                time::sleep(pace).await;
                // A statement of its own: the lock is gone before anything waits.
                let advanced = store.orders().advance(id, sequence);
                match advanced? {
                    Some(next) => update = next,
                    None => return,
                }
            }
        })))
    }
}

/// What the lines cost together; the rules see to it that they are in one currency.
fn total(items: &[OrderItem]) -> Result<Money, Status> {
    let mut sum = Money::default();
    for item in items {
        let price = item.unit_price.clone().unwrap_or_default();
        sum.minor_units = price
            .minor_units
            .checked_mul(item.quantity.into())
            .and_then(|line| sum.minor_units.checked_add(line))
            .ok_or_else(|| rules::invalid("items", "cost more than can be counted"))?;
        sum.currency = price.currency;
    }
    Ok(sum)
}
