//! One request whose response may be known already.
//!
//! The key is the method, the request as it is encoded, and all metadata of the call: what one user may see, another does not get.

use std::rc::Rc;
use std::sync::Arc;

use corelane_call::message::{decode_message, encode_message};
use corelane_call::{Codec, Encoding, Gathered, Metadata, Response, Status};
use corelane_policy::cache::{CacheKey, Followed, Leader, Lookup, ResponseCache};
use corelane_runtime::now;
use corelane_wire::FieldList;

use super::plan::Plan;
use super::unary::{cause_of, decode, fetch, respond, undecoded};
use crate::end::Outcome;
use crate::time::by;
use crate::{Cause, Place};

/// A response that is kept: its bytes, from which each caller gets a message of his own.
pub(crate) struct Kept {
    encoding: Encoding,
    message: Gathered,
    metadata: Metadata,
    trailers: Metadata,
}

impl Kept {
    /// How much memory it keeps.
    pub(crate) fn bytes(&self) -> usize {
        self.message.len() + vary(&self.metadata).len() + vary(&self.trailers).len()
    }
}

/// The cache of one worker's channel.
pub(crate) type Cache = ResponseCache<Rc<Kept>>;

/// Makes the call, or takes what another has brought.
pub(crate) async fn unary<C: Codec>(
    plan: &Plan,
    cache: &Cache,
    codec: &C,
    message: &C::Encode,
) -> Result<Response<C::Decode>, Status> {
    let mut request = Vec::new();
    encode_message(codec, message, Encoding::Identity, plan.send_max, &mut request)
        .map_err(|status| plan.failure(cause_of(&status), None, 0).into_status(Some(status)))?;
    let vary = vary(&plan.metadata);
    let key = CacheKey { path: plan.path().as_bytes(), request: &request, vary: &vary };
    let leader = match cache.lookup(&key, now()) {
        Lookup::Hit(kept) => return open(plan, codec, &kept, None, 0),
        Lookup::Lead(leader) => Some(leader),
        Lookup::Follow(follower) => match by(plan.deadline, follower).await {
            Some(Followed::Value(kept)) => return open(plan, codec, &kept, None, 0),
            Some(Followed::Lead(leader)) => Some(leader),
            None => return Err(plan.expired(Place::Response, 0).into_status(None)),
        },
        Lookup::Bypass => None,
    };
    lead(plan, leader, codec, message).await
}

async fn lead<C: Codec>(
    plan: &Plan,
    leader: Option<Leader<Rc<Kept>>>,
    codec: &C,
    message: &C::Encode,
) -> Result<Response<C::Decode>, Status> {
    let got = fetch(plan, codec, message).await?;
    let Some(leader) = leader else { return decode(plan, codec, got) };
    let Outcome { encoding, message, metadata, trailers, .. } = got.outcome;
    // Its storage has room for larger ones.
    let mut bytes = message.into_storage();
    bytes.shrink_to_fit();
    let kept = Rc::new(Kept { encoding, message: Gathered::whole(bytes), metadata, trailers });
    let response = open(plan, codec, &kept, Some(got.pool.name.clone()), got.number)?;
    leader.finish(kept, now());
    Ok(response)
}

/// A message of the caller's own; `endpoint` sent it, at that attempt, if it was for this call.
fn open<C: Codec>(
    plan: &Plan,
    codec: &C,
    kept: &Kept,
    endpoint: Option<Arc<str>>,
    attempt: u32,
) -> Result<Response<C::Decode>, Status> {
    let failed = |(cause, status)| plan.failure(cause, endpoint, attempt).into_status(status);
    let message = match kept.message.message() {
        Ok(message) => message,
        Err(error) => return Err(failed((Cause::from(error), None))),
    };
    let item = decode_message(codec, message, kept.encoding, plan.receive_max);
    let item = item.map_err(|status| failed(undecoded(plan, status)))?;
    Ok(respond(item, message.compressed, kept.metadata.clone(), kept.trailers.clone()))
}

/// All metadata, as one string of bytes: each part with its length, so that none can pass for another.
fn vary(metadata: &Metadata) -> Vec<u8> {
    let mut bytes = Vec::new();
    if metadata.is_empty() {
        return bytes;
    }
    let mut fields = FieldList::new();
    metadata.append_to(&mut fields);
    for field in fields.iter() {
        for part in [field.name, field.value] {
            bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
            bytes.extend_from_slice(part);
        }
    }
    bytes
}
