//! One request whose response may be known already.
//!
//! The key is the method, the request as it is encoded, and all metadata of the call: what one user may see, another does not get.

use std::rc::Rc;

use corelane_call::message::{decode_message, encode_message};
use corelane_call::{Codec, Encoding, Gathered, Metadata, ReplyParts, Response, Status};
use corelane_policy::cache::{CacheKey, Followed, Leader, Lookup, ResponseCache};
use corelane_runtime::now;
use corelane_wire::FieldList;

use super::plan::Plan;
use super::unary::{cause_of, decode, fetch};
use crate::time::by;
use crate::{Cause, Place};

/// A response that is kept: its bytes, from which each caller gets a message of his own.
pub(crate) struct Kept {
    encoding: Encoding,
    message: Gathered,
    message_bytes: usize,
    metadata: Metadata,
    trailers: Metadata,
}

impl Kept {
    /// How much memory it keeps.
    pub(crate) fn bytes(&self) -> usize {
        let metadata =
            |metadata: &Metadata| -> usize { metadata.iter().map(|(name, _)| name.len() + 64).sum() };
        self.message_bytes + metadata(&self.metadata) + metadata(&self.trailers)
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
        Lookup::Hit(kept) => return unpack(plan, codec, &kept),
        Lookup::Lead(leader) => Some(leader),
        Lookup::Follow(follower) => match by(plan.deadline, follower).await {
            Some(Followed::Value(kept)) => return unpack(plan, codec, &kept),
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
    let mut got = fetch(plan, codec, message).await?;
    let Some(leader) = leader else { return decode(plan, codec, got) };
    let storage = std::mem::take(&mut got.outcome.message).into_storage();
    let kept = Rc::new(Kept {
        encoding: got.outcome.encoding,
        message_bytes: storage.len(),
        message: Gathered::whole(storage),
        metadata: got.outcome.metadata,
        trailers: got.outcome.trailers,
    });
    let response = unpack(plan, codec, &kept)?;
    leader.finish(kept, now());
    Ok(response)
}

fn unpack<C: Codec>(plan: &Plan, codec: &C, kept: &Kept) -> Result<Response<C::Decode>, Status> {
    let failed = |status| plan.failure(Cause::Decode, None, 0).into_status(status);
    let message = kept.message.message().map_err(|_| failed(None))?;
    let item = decode_message(codec, message, kept.encoding, plan.receive_max)
        .map_err(|status| failed(Some(status)))?;
    let parts = ReplyParts {
        metadata: kept.metadata.clone(),
        trailers: kept.trailers.clone(),
        ..ReplyParts::default()
    };
    Ok(Response::from_reply(parts, item))
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
