//! Where it is known what a service looks like: files, or the server.

use std::path::{Path, PathBuf};

use prost_reflect::{DescriptorPool, MethodDescriptor, ServiceDescriptor};

use crate::bench::values::MethodPath;
use crate::call::reflection::Reflection;
use crate::call::trouble::Trouble;
use crate::files::read;

/// Files, or the server.
pub(crate) enum Source {
    Files(DescriptorPool),
    Server(Reflection),
}

impl Source {
    /// The full names of all services.
    pub(crate) async fn services(&self) -> Result<Vec<String>, Trouble> {
        let mut names = match self {
            Source::Files(pool) => pool.services().map(|service| service.full_name().to_owned()).collect(),
            Source::Server(reflection) => reflection.services().await.map_err(Trouble::Reflection)?,
        };
        names.sort();
        Ok(names)
    }

    /// A pool that holds what has this full name, if anything does, and all that it refers to.
    pub(crate) async fn pool_with(&self, symbol: &str) -> Result<DescriptorPool, Trouble> {
        match self {
            Source::Files(pool) => Ok(pool.clone()),
            Source::Server(reflection) => reflection.pool_with(symbol).await,
        }
    }

    pub(crate) async fn service(&self, name: &str) -> Result<ServiceDescriptor, Trouble> {
        let pool = self.pool_with(name).await?;
        pool.get_service_by_name(name).ok_or_else(|| Trouble::nothing(&format!("service {name}")))
    }

    pub(crate) async fn method(&self, path: &MethodPath) -> Result<MethodDescriptor, Trouble> {
        let service = self.service(&path.service).await?;
        let method = service.methods().find(|method| method.name() == path.method);
        method.ok_or_else(|| {
            let names: Vec<_> = service.methods().map(|method| method.name().to_owned()).collect();
            Trouble::Other(format!(
                "{} has no method {}; it has {}",
                path.service,
                path.method,
                if names.is_empty() { "none".to_owned() } else { names.join(", ") }
            ))
        })
    }
}

/// What `.proto` files declare.
///
/// # Errors
/// Says which file is wrong and where.
pub(crate) fn from_protos(protos: &[PathBuf], imports: &[PathBuf]) -> Result<DescriptorPool, String> {
    let here = [PathBuf::from(".")];
    let imports = if imports.is_empty() { &here } else { imports };
    let mut compiler = protox::Compiler::new(imports).map_err(told)?;
    compiler.include_imports(true).open_files(protos).map_err(told)?;
    Ok(compiler.descriptor_pool())
}

/// The error with its place, which its `Display` leaves out.
fn told(error: protox::Error) -> String {
    format!("{error:?}")
}

/// What encoded descriptor sets hold together.
///
/// # Errors
/// Says which file is wrong and how.
pub(crate) fn from_sets(paths: &[PathBuf]) -> Result<DescriptorPool, String> {
    let mut pool = DescriptorPool::new();
    for path in paths {
        add_set(&mut pool, path)?;
    }
    Ok(pool)
}

fn add_set(pool: &mut DescriptorPool, path: &Path) -> Result<(), String> {
    let encoded = read(path)?;
    pool.decode_file_descriptor_set(encoded.as_slice())
        .map_err(|error| format!("{} is no complete FileDescriptorSet: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn root() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../proto")
    }

    fn users() -> DescriptorPool {
        from_protos(&[root().join("example/v1/users.proto")], &[root()]).unwrap()
    }

    fn now<T>(future: impl Future<Output = T>) -> T {
        match std::pin::pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => value,
            Poll::Pending => panic!("files are there at once"),
        }
    }

    fn refusal(path: &str) -> String {
        now(Source::Files(users()).method(&path.parse().unwrap())).unwrap_err().to_string()
    }

    #[test]
    fn files_know_their_services_and_methods() {
        let source = Source::Files(users());
        assert_eq!(now(source.services()).unwrap(), ["example.v1.UserService"]);
        let method = now(source.method(&"example.v1.UserService/Chat".parse().unwrap())).unwrap();
        assert!(method.is_client_streaming() && method.is_server_streaming());
        assert_eq!(method.input().full_name(), "example.v1.ChatRequest");
    }

    #[test]
    fn what_is_not_there_is_named_with_what_is() {
        assert_eq!(refusal("example.v1.Nobody/Get"), "error: there is no service example.v1.Nobody");
        let text = refusal("example.v1.UserService/Get");
        assert!(
            text.starts_with("error: example.v1.UserService has no method Get; it has GetUser, "),
            "{text}"
        );
    }

    #[test]
    fn a_set_must_be_complete() {
        let folder = std::env::temp_dir().join(format!("corelane-call-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("set.bin");
        fs::write(&path, users().encode_to_vec()).unwrap();
        let pool = from_sets(std::slice::from_ref(&path)).unwrap();
        assert!(pool.get_service_by_name("example.v1.UserService").is_some());
        let mut partial = prost_reflect::DescriptorPool::new();
        assert!(partial.files().next().is_none());
        let file = users().get_file_by_name("example/v1/users.proto").unwrap().encode_to_vec();
        // Field 1 of a set, with the one file, which imports others.
        let mut set = vec![0x0a];
        corelane::prost::encode_length_delimiter(file.len(), &mut set).unwrap();
        set.extend(file);
        fs::write(&path, &set).unwrap();
        let error = add_set(&mut partial, &path).unwrap_err();
        assert!(error.contains("set.bin is no complete FileDescriptorSet: "), "{error}");
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_file_that_is_not_there_or_wrong_is_named() {
        let error = from_protos(&[root().join("none.proto")], &[root()]).unwrap_err();
        assert!(error.contains("none.proto"), "{error}");
        let error = from_sets(&["/nowhere/a.bin".into()]).unwrap_err();
        assert!(error.starts_with("cannot read /nowhere/a.bin: "), "{error}");
    }
}
