//! gRPC by hand over the `h2` crate.

use std::net::SocketAddr;

use bytes::Bytes;
use corelane::prost::Message as _;
use h2::client::{Builder, ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// A connection.
#[derive(Clone)]
pub struct Client {
    requests: SendRequest<Bytes>,
    address: SocketAddr,
}

/// Everything that came back.
#[derive(Debug)]
pub struct Reply {
    pub headers: HeaderMap,
    pub messages: Vec<Vec<u8>>,
    pub trailers: HeaderMap,
}

impl Reply {
    /// `grpc-status`, wherever it stands.
    pub fn status(&self) -> &str {
        let status = self.trailers.get("grpc-status").or(self.headers.get("grpc-status"));
        status.map_or("none", |status| status.to_str().unwrap())
    }
}

/// A call whose two halves are used one by one.
pub struct Call {
    pub send: SendStream<Bytes>,
    response: ResponseFuture,
}

impl Client {
    pub async fn connect(address: SocketAddr) -> Client {
        Client::connect_with(address, Builder::new().initial_max_send_streams(10)).await.0
    }

    /// Connects; the task ends when the connection does.
    pub async fn connect_with(
        address: SocketAddr,
        builder: &Builder,
    ) -> (Client, JoinHandle<Result<(), h2::Error>>) {
        let socket = TcpStream::connect(address).await.unwrap();
        socket.set_nodelay(true).unwrap();
        let (requests, connection) = builder.handshake(socket).await.unwrap();
        (Client { requests, address }, tokio::spawn(connection))
    }

    /// Opens a call, once the other end has room for it.
    pub async fn open(&self, path: &str, metadata: &HeaderMap) -> Result<Call, h2::Error> {
        let mut request = Request::post(format!("http://{}{path}", self.address))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())
            .unwrap();
        for (name, value) in metadata {
            request.headers_mut().append(name, value.clone());
        }
        let mut requests = self.requests.clone().ready().await?;
        let (response, send) = requests.send_request(request, false)?;
        Ok(Call { send, response })
    }

    pub async fn call(&self, path: &str, message: &[u8]) -> Result<Reply, h2::Error> {
        self.call_with(path, message, &HeaderMap::new()).await
    }

    pub async fn call_with(
        &self,
        path: &str,
        message: &[u8],
        metadata: &HeaderMap,
    ) -> Result<Reply, h2::Error> {
        let mut call = self.open(path, metadata).await?;
        // Sending is the connection's task, and so is what the window holds back: the reply is awaited at once.
        call.send.send_data(frame(message), true)?;
        call.finish().await
    }
}

impl Call {
    pub async fn finish(self) -> Result<Reply, h2::Error> {
        let response = self.response.await?;
        let (parts, mut body) = response.into_parts();
        assert_eq!(parts.status, 200);
        let octets = read(&mut body).await?;
        let trailers = body.trailers().await?.unwrap_or_default();
        Ok(Reply { headers: parts.headers, messages: messages(&octets), trailers })
    }
}

async fn read(body: &mut RecvStream) -> Result<Vec<u8>, h2::Error> {
    let mut octets = Vec::new();
    while let Some(chunk) = body.data().await {
        let chunk = chunk?;
        body.flow_control().release_capacity(chunk.len())?;
        octets.extend_from_slice(&chunk);
    }
    Ok(octets)
}

/// A message of the probe behind its prefix.
pub fn frame(message: &[u8]) -> Bytes {
    let encoded = message.to_vec().encode_to_vec();
    let size = u32::try_from(encoded.len()).unwrap();
    [&[0][..], &size.to_be_bytes(), &encoded].concat().into()
}

/// The messages of the probe in a body, which must hold nothing else.
pub fn messages(mut octets: &[u8]) -> Vec<Vec<u8>> {
    let mut messages = Vec::new();
    while let Some((prefix, rest)) = octets.split_first_chunk::<5>() {
        assert_eq!(prefix[0], 0, "nothing is compressed here");
        let size = usize::try_from(u32::from_be_bytes(prefix[1..].try_into().unwrap())).unwrap();
        let (message, rest) = rest.split_at(size);
        messages.push(Vec::<u8>::decode(message).unwrap());
        octets = rest;
    }
    assert!(octets.is_empty(), "half a message: {octets:?}");
    messages
}
