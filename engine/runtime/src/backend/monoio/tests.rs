//! The operations, on both drivers.

use super::*;
use corelane_memory::Bytes;
use std::io::{Read, Write};
use std::net::TcpListener as StdTcpListener;
use std::task::Poll;

/// Runs `test` on both drivers, as far as the kernel lets us.
fn on_both<F: Future<Output = ()>>(test: fn() -> F) {
    run(BackendKind::Epoll, test()).unwrap();
    match probe() {
        Ok(()) => run(BackendKind::Uring, test()).unwrap(),
        Err(error) => eprintln!("left out the io_uring half: {error}"),
    }
}

/// A client's end, and ours as it comes from accept.
fn connected() -> (std::net::TcpStream, Socket) {
    let listener = StdTcpListener::bind("127.0.0.1:0").unwrap();
    let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (stream, remote) = listener.accept().unwrap();
    (client, Socket::new(Accepted::Tcp(stream, remote)).unwrap())
}

fn plain(bytes: Vec<u8>) -> Outgoing {
    Outgoing::new(bytes, Pieces::new())
}

/// 8 MiB: frames of 16 KiB with a head each, whose payload is referenced.
fn referenced() -> (Outgoing, Vec<u8>) {
    let payload = Bytes::from_iter((0..16 * 1024).map(|index| index as u8));
    let (mut heads, mut pieces, mut whole) = (Vec::new(), Pieces::new(), Vec::new());
    for frame in 0..512_u32 {
        heads.extend_from_slice(&frame.to_be_bytes());
        whole.extend_from_slice(&frame.to_be_bytes());
        pieces.push(heads.len(), Bytes::slice(&payload, frame as usize..));
        whole.extend_from_slice(&payload[frame as usize..]);
    }
    (Outgoing::new(heads, pieces), whole)
}

#[test]
fn writes_that_are_cut_short_go_on_where_they_stopped() {
    on_both(|| async {
        let (mut client, socket) = connected();
        let (mut outgoing, whole) = referenced();
        let reader = std::thread::spawn(move || {
            let mut heard = vec![0; whole.len()];
            client.read_exact(&mut heard).unwrap();
            assert!(heard == whole, "something was lost, doubled or out of order");
            client
        });
        let mut writes = 0;
        while !outgoing.is_done() {
            let (sent, back) = socket.send(outgoing).await;
            outgoing = back;
            outgoing.advance(sent.unwrap());
            writes += 1;
        }
        // More than the kernel's buffers take, and than one write has parts.
        assert!(writes >= 512 * 2 / 64, "{writes}");
        drop(reader.join().unwrap());
    });
}

#[test]
fn what_the_peer_does_not_take_is_waited_for_and_freed_at_the_end() {
    on_both(|| async {
        let (_client, socket) = connected();
        let payload = Bytes::from(vec![7; 64 << 20]);
        let mut pieces = Pieces::new();
        pieces.push(0, payload.clone());
        let mut outgoing = Outgoing::new(b"tail".to_vec(), pieces);
        loop {
            let mut send = std::pin::pin!(socket.send(std::mem::take(&mut outgoing)));
            let polled = std::future::poll_fn(|cx| Poll::Ready(send.as_mut().poll(cx))).await;
            if let Poll::Ready((sent, back)) = polled {
                outgoing = back;
                outgoing.advance(sent.unwrap());
                continue;
            }
            visit_the_kernel().await;
            socket.shutdown(Shutdown::Both);
            let _ = send.await;
            break;
        }
        assert!(payload.is_unique(), "nothing refers to it any more");
    });
}

#[test]
fn bytes_go_both_ways_behind_what_a_buffer_holds() {
    on_both(|| async {
        let (mut client, socket) = connected();
        client.write_all(b"world").unwrap();
        let mut buffer = Vec::with_capacity(64);
        buffer.extend_from_slice(b"hello ");
        let (received, buffer) = socket.recv(buffer, None).await;
        assert_eq!((received.unwrap(), &buffer[..]), (5, &b"hello world"[..]));
        let mut outgoing = plain(buffer);
        outgoing.advance(6);
        let (sent, outgoing) = socket.send(outgoing).await;
        assert_eq!((sent.unwrap(), outgoing.into_heads().len()), (5, 11));
        let mut heard = [0; 5];
        client.read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"world");
        // The write half that the operation made is gone, and the socket still open.
        let (sent, _) = socket.send(plain(b"!".to_vec())).await;
        assert_eq!(sent.unwrap(), 1);
    });
}

#[test]
fn a_cancelled_receive_gives_its_buffer_back_and_loses_nothing() {
    on_both(|| async {
        let (mut client, socket) = connected();
        let mut canceller = Canceller::default();
        let mut buffer = Vec::with_capacity(4096);
        buffer.extend_from_slice(b"kept");
        let mut receive = std::pin::pin!(socket.recv(buffer, Some(&canceller)));
        std::future::poll_fn(|cx| {
            assert!(receive.as_mut().poll(cx).is_pending());
            Poll::Ready(())
        })
        .await;
        canceller.cancel();
        let (received, buffer) = receive.await;
        assert!(Canceller::is_cancelled(&received.unwrap_err()));
        assert_eq!((&buffer[..], buffer.capacity()), (&b"kept"[..], 4096));
        client.write_all(b" and more").unwrap();
        let (received, buffer) = socket.recv(buffer, Some(&canceller)).await;
        assert_eq!((received.unwrap(), &buffer[..]), (9, &b"kept and more"[..]));
    });
}

#[test]
fn a_shutdown_ends_both_operations() {
    on_both(|| async {
        let (_client, socket) = connected();
        let mut receive = std::pin::pin!(socket.recv(Vec::with_capacity(16), None));
        // More than the kernel's buffers take, so that a rest is in flight for as long as nobody reads.
        let mut outgoing = plain(vec![7; 64 << 20]);
        loop {
            let mut send = std::pin::pin!(socket.send(std::mem::take(&mut outgoing)));
            let polled = std::future::poll_fn(|cx| {
                assert!(receive.as_mut().poll(cx).is_pending());
                Poll::Ready(send.as_mut().poll(cx))
            })
            .await;
            if let Poll::Ready((more, back)) = polled {
                // The epoll driver writes what fits at once.
                outgoing = back;
                outgoing.advance(more.unwrap());
                continue;
            }
            visit_the_kernel().await;
            socket.shutdown(Shutdown::Both);
            // With what it had sent before, or an error.
            let _ = send.await;
            break;
        }
        assert_eq!(receive.await.0.unwrap(), 0);
    });
}

async fn visit_the_kernel() {
    let alarm = Alarm::new().unwrap();
    alarm.set(Duration::from_millis(1)).unwrap();
    alarm.gone_off().await.unwrap();
}

#[test]
fn a_bell_is_heard_from_another_thread() {
    on_both(|| async {
        let (rope, end) = BellRope::pair().unwrap();
        let mut bell = Bell::new(end).unwrap();
        let ringer = std::thread::spawn(move || {
            // Far more than the socket holds: pulling never blocks.
            (0..100_000).for_each(|_| rope.pull());
        });
        bell.rung().await.unwrap();
        ringer.join().unwrap();
        while bell.rung().await.is_ok() {}
    });
}

#[test]
fn an_alarm_goes_off_and_can_be_set_earlier() {
    on_both(|| async {
        let alarm = Alarm::new().unwrap();
        alarm.set(Duration::from_secs(3_600)).unwrap();
        let mut waiting = std::pin::pin!(alarm.gone_off());
        let early = std::future::poll_fn(|cx| Poll::Ready(waiting.as_mut().poll(cx))).await;
        assert!(early.is_pending());
        alarm.set(Duration::ZERO).unwrap();
        waiting.await.unwrap();
        alarm.set(Duration::from_millis(1)).unwrap();
        alarm.gone_off().await.unwrap();
    });
}
