//! What may be wrong at the start, and workers inside a runtime of somebody else's.
#![allow(clippy::unwrap_used)]

mod support;

use corelane_runtime::{Backend, BackendKind, Config, LocalListener, StartError, Workers, run_local, start};
use std::sync::Arc;
use std::time::Duration;
use support::{Client, Factory, Log, on_both, serve, serve_with};

fn refused(config: Config, address: &str) -> StartError {
    start(config, &[address.parse().unwrap()], |worker| Factory { log: Arc::default(), worker }).unwrap_err()
}

#[test]
fn a_busy_port_is_named() {
    on_both(|backend| {
        let (handle, _) = serve(backend);
        let address = handle.addresses()[0].to_string();
        let config = Config { workers: Workers::Count(2), backend, ..Config::default() };
        assert_eq!(refused(config, &address).to_string(), format!("{address} is in use"));
    });
}

#[test]
fn impossible_configurations_are_refused() {
    let config = |workers| Config { workers, backend: Backend::Epoll, ..Config::default() };
    let error = refused(config(Workers::Cores(vec![9_999])), "127.0.0.1:0");
    assert!(matches!(error, StartError::NoSuchCore { core: 9_999, .. }), "{error}");
    assert!(matches!(refused(config(Workers::Count(0)), "127.0.0.1:0"), StartError::NoWorkers));
    let none = start(config(Workers::All), &[], |worker| Factory { log: Arc::default(), worker });
    assert!(matches!(none, Err(StartError::NoAddress)));
    let mut invalid = config(Workers::Count(1));
    invalid.wire.max_frame_size = 1;
    assert!(matches!(refused(invalid, "127.0.0.1:0"), StartError::Wire(_)));
}

#[test]
fn workers_run_where_they_were_told_to() {
    on_both(|backend| {
        let cores: Vec<usize> =
            core_affinity::get_core_ids().unwrap().into_iter().map(|core| core.id).collect();
        let last = *cores.last().unwrap();
        let config = Config { workers: Workers::Cores(vec![last, last]), backend, ..Config::default() };
        let (handle, _) = serve_with(config);
        assert_eq!(handle.workers(), 2);
        assert_eq!(handle.backend() == BackendKind::Epoll, backend == Backend::Epoll);
        let mut client = Client::connect(&handle);
        assert_eq!(client.call("/core", b""), format!("{:?}", [last]).as_bytes());
    });
}

#[test]
fn two_engines_live_in_one_process() {
    on_both(|backend| {
        let (first, _) = serve(backend);
        let (second, _) = serve(Backend::Epoll);
        let (mut one, mut other) = (Client::connect(&first), Client::connect(&second));
        assert_eq!(one.call("/echo", b"1"), b"1");
        drop(first);
        assert_eq!(other.call("/sleep/5", b"2"), b"2");
    });
}

#[test]
fn a_worker_lives_in_a_runtime_of_the_callers() {
    async fn serve_local() {
        let log = Arc::new(Log::default());
        let listener = LocalListener::bind(Config::default(), &"127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.address().clone();
        let (stop, stopped) = std::sync::mpsc::channel();
        let client = std::thread::spawn(move || {
            let mut client = Client::to(&address);
            assert_eq!(client.call("/echo", b"local"), b"local");
            assert_eq!(client.call("/sleep/10", b"slept"), b"slept");
            assert_eq!(client.call("/thread", b"woken"), b"woken");
            client.open("/spin", b"");
            assert_eq!(client.call("/echo", b"beside a spinner"), b"beside a spinner");
            stop.send(()).unwrap();
            client.read_to_end();
        });
        let shutdown = async {
            while stopped.try_recv().is_err() {
                corelane_runtime::sleep(Duration::from_millis(2)).await;
            }
            Duration::from_millis(20)
        };
        let factory = Factory { log: log.clone(), worker: 0 };
        run_local(listener, factory, shutdown).await.unwrap();
        client.join().unwrap();
        assert_eq!(*log.closed.lock().unwrap(), ["the worker shut down"]);
    }
    // As an embedding program would build it: none of our flags, no timers.
    monoio::RuntimeBuilder::<monoio::LegacyDriver>::new().build().unwrap().block_on(serve_local());
    match monoio::RuntimeBuilder::<monoio::IoUringDriver>::new().build() {
        Ok(mut runtime) => runtime.block_on(serve_local()),
        Err(error) => eprintln!("left out the io_uring half: {error}"),
    }
}

#[test]
fn a_thread_has_room_for_one_worker() {
    monoio::RuntimeBuilder::<monoio::LegacyDriver>::new().build().unwrap().block_on(async {
        let bind = || LocalListener::bind(Config::default(), &"127.0.0.1:0".parse().unwrap()).unwrap();
        let factory = || Factory { log: Arc::default(), worker: 0 };
        let nested = async {
            let second = run_local(bind(), factory(), std::future::pending()).await;
            assert!(matches!(second, Err(StartError::WorkerExists)));
            Duration::ZERO
        };
        run_local(bind(), factory(), nested).await.unwrap();
    });
}

#[test]
fn helpers_say_where_they_belong() {
    let panic = std::panic::catch_unwind(|| corelane_runtime::sleep(Duration::ZERO)).err().unwrap();
    let message = panic.downcast_ref::<String>().unwrap();
    assert_eq!(message, "corelane_runtime::sleep needs a worker, and this thread is none");
}

#[test]
fn a_factory_that_panics_fails_the_start() {
    on_both(|backend| {
        let config = Config { workers: Workers::Count(2), backend, ..Config::default() };
        let error = start(config, &["127.0.0.1:0".parse().unwrap()], |worker| {
            assert!(worker == 0, "no service for worker {worker}");
            Factory { log: Arc::default(), worker }
        })
        .unwrap_err();
        assert_eq!(error.to_string(), "worker 1 panicked: no service for worker 1");
    });
}

#[test]
fn one_line_says_what_was_started() {
    use std::io::Write;
    use std::sync::Mutex;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);
    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let handle = tracing::subscriber::with_default(subscriber, || serve(Backend::Epoll).0);
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    let address = handle.addresses()[0].to_string();
    for part in
        ["INFO", "backend=epoll", "forced by the configuration", "workers=1", "cores=[", &address, "ring 0."]
    {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
}

#[test]
fn a_local_worker_that_is_dropped_ends_by_itself() {
    async fn serve_and_drop() {
        let log = Arc::new(Log::default());
        let bind = || LocalListener::bind(Config::default(), &"127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = bind();
        let address = listener.address().clone();
        let (called, calls) = std::sync::mpsc::channel();
        let client = std::thread::spawn(move || {
            let mut client = Client::to(&address);
            client.call("/echo", b"x");
            client.open("/sleep/600000", b"never");
            client.flush();
            called.send(()).unwrap();
            client.read_to_end();
        });
        {
            let served = run_local(listener, Factory { log: log.clone(), worker: 0 }, std::future::pending());
            let mut served = std::pin::pin!(served);
            let mut ticks = std::pin::pin!(async {
                while calls.try_recv().is_err() {
                    corelane_runtime::sleep(Duration::from_millis(1)).await;
                }
            });
            std::future::poll_fn(|cx| {
                assert!(served.as_mut().poll(cx).is_pending());
                ticks.as_mut().poll(cx)
            })
            .await;
        }
        // The thread has room for the next one as soon as the runtime has had time to end this one.
        let mut stopped = false;
        while !stopped {
            let second = Factory { log: log.clone(), worker: 1 };
            match run_local(bind(), second, std::future::ready(Duration::ZERO)).await {
                Ok(()) => stopped = true,
                Err(StartError::WorkerExists) => breathe().await,
                Err(error) => panic!("{error}"),
            }
        }
        client.join().unwrap();
        assert_eq!(*log.closed.lock().unwrap(), ["the worker shut down"]);
    }

    /// A visit to the kernel, without a worker's help.
    async fn breathe() {
        use monoio::io::{AsyncReadRent, AsyncWriteRentExt};
        let (mut one, mut other) = monoio::net::UnixStream::pair().unwrap();
        one.write_all(vec![1]).await.0.unwrap();
        other.read(vec![0]).await.0.unwrap();
    }

    match monoio::RuntimeBuilder::<monoio::IoUringDriver>::new().build() {
        Ok(mut runtime) => runtime.block_on(serve_and_drop()),
        Err(error) => eprintln!("left out: {error}"),
    }
}
