//! `corelane call`: one call from the command line, with JSON for messages.
//!
//! What a service looks like comes from `.proto` files, from a descriptor set, or from the server itself by reflection. Flags
//! (`args.rs`) say which call; `source.rs` finds its method; `documents.rs` reads requests; `invoke.rs` makes the call; `render.rs`
//! and `describe.rs` make text of what is to be seen.
//!
//! Output is responses, on stdout; everything else goes to stderr. It ends with 0 when the call did, with 64 and the status's number
//! when the call failed, with 2 for wrong flags and with 1 for everything else.
//!
//! Does not: generate code, or send load (`bench` does).

mod args;
mod codec;
mod describe;
pub(crate) mod documents;
mod invoke;
pub(crate) mod reflection;
mod render;
pub(crate) mod source;
pub(crate) mod trouble;

use std::process::ExitCode;

use corelane::client::{Caller, Engine, Workers};
use prost_reflect::DescriptorPool;

use crate::call::args::{Action, Verb};
pub(crate) use crate::call::args::{Call, Plan};
use crate::call::invoke::Invocation;

use crate::call::reflection::Reflection;
use crate::call::render::show;
use crate::call::source::Source;
use crate::call::trouble::Trouble;

/// What is generated from `proto/grpc/reflection`.
#[allow(missing_docs, unreachable_pub, dead_code, clippy::all, reason = "generated")]
mod proto {
    corelane::include_proto!("grpc.reflection.v1");
}

/// The descriptors of what this program knows by itself.
const DESCRIPTORS: &[u8] = corelane::include_file_descriptor_set!("tools");

/// Makes the call, and says on stderr if it failed.
pub(crate) fn run(options: Call) -> ExitCode {
    match attempt(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(trouble) => {
            eprintln!("{trouble}");
            ExitCode::from(trouble.exit_code())
        }
    }
}

fn attempt(options: Call) -> Result<(), Trouble> {
    let action = options.action().map_err(Trouble::Other)?;
    let files = options.files()?;
    let engine = Engine::start(Workers::Count(1))?;
    engine.block_on(move || session(options, action, files))
}

/// Everything that may need a connection; one is made when there is something to ask.
async fn session(options: Call, action: Action, files: Option<DescriptorPool>) -> Result<(), Trouble> {
    let Action { target, verb } = action;
    let channel = target.map(|target| options.channel(&target)?.connect_lazy().map_err(Trouble::from));
    let channel = channel.transpose()?;
    let source = match (files, &channel) {
        (Some(pool), _) => Source::Files(pool),
        (None, Some(channel)) => {
            Source::Server(Reflection::new(Caller::new(channel.clone()), options.plan()))
        }
        (None, None) => return Err(Trouble::Other("there is neither a TARGET nor a file to ask".to_owned())),
    };
    match (verb, channel) {
        (Verb::Invoke(path), Some(channel)) => {
            let method = source.method(&path).await?;
            let invocation = Invocation::new(Caller::new(channel), method, &options);
            invocation.run(options.data.clone()).await
        }
        (Verb::Invoke(_), None) => Err(Trouble::Other("a call needs a TARGET".to_owned())),
        (Verb::List(service), _) => list(&source, service.as_deref()).await,
        (Verb::Describe(symbol), _) => describe(&source, symbol.as_deref()).await,
    }
}

/// Shows the names of all services, or those of a service's methods.
async fn list(source: &Source, service: Option<&str>) -> Result<(), Trouble> {
    let names = match service {
        None => source.services().await?,
        Some(name) => {
            let service = source.service(name).await?;
            service.methods().map(|method| format!("{name}/{}", method.name())).collect()
        }
    };
    show(&names.join("\n"))
}

/// Shows all services with their methods, or the declaration of one thing.
async fn describe(source: &Source, symbol: Option<&str>) -> Result<(), Trouble> {
    if let Some(symbol) = symbol {
        let pool = source.pool_with(&symbol.replace('/', ".")).await?;
        return show(&describe::symbol(&pool, symbol).ok_or_else(|| Trouble::nothing(symbol))?);
    }
    for name in source.services().await? {
        show(&describe::service(&source.service(&name).await?))?;
    }
    Ok(())
}
