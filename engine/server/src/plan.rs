//! What every worker makes for itself: services and interceptors, as functions that make them.

use corelane_call::{AsyncInterceptor, Interceptor, Interceptors};

use crate::dispatch::guard;
use crate::error::StartError;
use crate::methods::Methods;
use crate::service::Service;

type Register = Box<dyn Fn(&mut Methods) + Send + Sync>;
type Intercept = Box<dyn Fn(&mut Interceptors) + Send + Sync>;

/// See the module.
#[derive(Default)]
pub(crate) struct Plan {
    names: Vec<&'static str>,
    services: Vec<Register>,
    interceptors: Vec<Intercept>,
}

impl Plan {
    pub(crate) fn service<S: Service>(&mut self, make: impl Fn() -> S + Send + Sync + 'static) {
        self.names.push(S::NAME);
        self.services.push(Box::new(move |methods| {
            methods.reset_options();
            make().register(methods);
        }));
    }

    pub(crate) fn interceptor<I: Interceptor>(&mut self, make: impl Fn() -> I + Send + Sync + 'static) {
        self.interceptors.push(Box::new(move |all| all.push(make())));
    }

    pub(crate) fn async_interceptor<I: AsyncInterceptor>(
        &mut self,
        make: impl Fn() -> I + Send + Sync + 'static,
    ) {
        self.interceptors.push(Box::new(move |all| all.push_async(make())));
    }

    /// The names of the services, in the order in which they were added.
    pub(crate) fn names(&self) -> &[&'static str] {
        &self.names
    }

    /// Checks what can be checked without making anything.
    pub(crate) fn validate(&self) -> Result<(), StartError> {
        for (index, name) in self.names.iter().enumerate() {
            if self.names[..index].contains(name) {
                return Err(StartError::DuplicateService { name });
            }
        }
        Ok(())
    }

    /// The methods of one worker, made on its thread.
    ///
    /// # Errors
    /// A method that was registered twice, or a panic of what makes a service.
    pub(crate) fn methods(&self) -> Result<Methods, StartError> {
        let made = guard(|| {
            let mut interceptors = Interceptors::new();
            for add in &self.interceptors {
                add(&mut interceptors);
            }
            let mut methods = Methods::new(interceptors);
            for register in &self.services {
                register(&mut methods);
            }
            methods
        });
        let methods =
            made.map_err(|panic| StartError::ServicePanicked { message: panic.message().to_owned() })?;
        match methods.duplicate() {
            Some(path) => Err(StartError::DuplicateMethod { path }),
            None => Ok(methods),
        }
    }
}
