//! Cases of compression: by message, in both directions.

use corelane::codegen::Encoding;
use corelane::compression::{Compression, CompressionSwitch};
use corelane::{Code, Request, WasCompressed, stream};

use super::streams::next;
use super::{LARGE_RESPONSE, Outcome, Setting, equal, fails_with, large, sized, zeros};
use crate::protos::grpc::testing::test_service_client::TestServiceClient;
use crate::protos::grpc::testing::{
    BoolValue, ResponseParameters, SimpleRequest, StreamingInputCallRequest, StreamingOutputCallRequest,
};

fn client(setting: &Setting) -> Result<TestServiceClient, Box<dyn std::error::Error>> {
    let client = setting.client()?.send_compressed(Encoding::Gzip);
    Ok([Encoding::Gzip, Encoding::Deflate, Encoding::Zstd]
        .into_iter()
        .fold(client, TestServiceClient::accept_compressed))
}

fn expecting(expected: bool) -> SimpleRequest {
    SimpleRequest { expect_compressed: Some(BoolValue { value: expected }), ..large() }
}

fn request<T>(message: T, compression: Compression) -> Request<T> {
    let mut request = Request::new(message);
    request.extensions_mut().insert(compression);
    request
}

pub(super) async fn client_unary(setting: &Setting) -> Outcome {
    let client = client(setting)?;
    // The probe: a server that does not look would let this pass.
    let probe = client.unary_call(request(expecting(true), Compression::Off)).await;
    fails_with(probe, Code::InvalidArgument)?;
    for (expected, compression) in [(true, Compression::Service), (false, Compression::Off)] {
        let response = client.unary_call(request(expecting(expected), compression)).await?;
        sized("response", response.get_ref().payload.as_ref(), LARGE_RESPONSE)?;
    }
    Ok(())
}

pub(super) async fn client_streaming(setting: &Setting) -> Outcome {
    let client = client(setting)?;
    let message = |size: usize, expected: bool| StreamingInputCallRequest {
        payload: Some(zeros(size)),
        expect_compressed: Some(BoolValue { value: expected }),
    };
    let probe = request(stream::iter([message(27_182, true)]), Compression::Off);
    fails_with(client.streaming_input_call(probe).await, Code::InvalidArgument)?;
    // The switch is read as each message leaves the stream.
    let switch = CompressionSwitch::new();
    let turned = switch.clone();
    let messages = [(27_182, true), (45_904, false)].into_iter().map(move |(size, compressed)| {
        if compressed {
            turned.on()
        } else {
            turned.off()
        }
        message(size, compressed)
    });
    let mut request = Request::new(stream::iter(messages));
    request.extensions_mut().insert(switch);
    let response = client.streaming_input_call(request).await?;
    equal("sum", &response.into_inner().aggregated_payload_size, &73_086)
}

pub(super) async fn server_unary(setting: &Setting) -> Outcome {
    let client = client(setting)?;
    for wanted in [true, false] {
        let request = SimpleRequest { response_compressed: Some(BoolValue { value: wanted }), ..large() };
        let response = client.unary_call(request).await?;
        let compressed = response.extensions().contains::<WasCompressed>();
        equal("whether the response came compressed", &compressed, &wanted)?;
        sized("response", response.get_ref().payload.as_ref(), LARGE_RESPONSE)?;
    }
    Ok(())
}

pub(super) async fn server_streaming(setting: &Setting) -> Outcome {
    let wanted = [(31_415, true), (92_653, false)];
    let parameters = wanted.map(|(size, compressed)| ResponseParameters {
        size,
        compressed: Some(BoolValue { value: compressed }),
        ..ResponseParameters::default()
    });
    let request = StreamingOutputCallRequest {
        response_parameters: parameters.to_vec(),
        ..StreamingOutputCallRequest::default()
    };
    let mut messages = client(setting)?.streaming_output_call(request).await?.into_inner();
    for (size, compressed) in wanted {
        let response = next(&mut messages).await?;
        equal("whether a response came compressed", &messages.last_was_compressed(), &compressed)?;
        sized("response", response.payload.as_ref(), size)?;
    }
    Ok(())
}
