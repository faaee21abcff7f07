//! Details as they travel, down to the bytes.

use std::time::Duration;

use super::*;

fn everything() -> ErrorDetails {
    let mut details = ErrorDetails::new();
    details
        .set_retry_info(Some(Duration::new(5, 7)))
        .set_debug_info(["main".to_owned()], "core 0")
        .add_quota_failure_violation("project:blue", "10 a second")
        .set_error_info("QUOTA", "example.com", [("a", "1"), ("b", "2")])
        .add_precondition_failure_violation("TOS", "example.com/terms", "not accepted")
        .add_bad_request_violation("name", "empty")
        .add_bad_request_violation("age", "negative")
        .set_request_info("r-1", "shard 3")
        .set_resource_info("user", "users/7", "project:blue", "gone")
        .add_help_link("terms", "https://example.com/terms")
        .set_localized_message("de", "Kontingent erschöpft");
    details
}

#[test]
fn every_standard_detail_travels() {
    let status = Status::with_error_details(Code::ResourceExhausted, "slow down", everything());
    assert_eq!((status.code(), status.message()), (Code::ResourceExhausted, "slow down"));
    assert_eq!(status.check_error_details().unwrap(), everything());
    assert_eq!(status.get_error_details_vec().len(), 10);
    assert!(status.get_error_details().has_bad_request_violations());
    assert!(!ErrorDetails::new().has_bad_request_violations());
}

/// The bytes as the reference implementation writes them: fields of `google.rpc.Status` in order, one `Any` with one
/// `google.rpc.BadRequest`.
#[test]
fn the_bytes_are_a_google_rpc_status() {
    let details = ErrorDetails::with_bad_request_violation("f", "d");
    let status = Status::with_error_details(Code::InvalidArgument, "m", details);
    let url = b"type.googleapis.com/google.rpc.BadRequest";
    let mut expected = b"\x08\x03\x12\x01m\x1a\x35\x0a\x29".to_vec();
    expected.extend_from_slice(url);
    expected.extend_from_slice(b"\x12\x08\x0a\x06\x0a\x01f\x12\x01d");
    assert_eq!(url.len(), 0x29);
    assert_eq!(status.details(), expected);
}

#[test]
fn a_list_keeps_its_order_and_a_set_the_last() {
    let list = [
        ErrorDetail::from(RetryInfo::new(Some(Duration::from_secs(1)))),
        RequestInfo { request_id: "r".into(), serving_data: String::new() }.into(),
        RetryInfo::new(Some(Duration::from_secs(2))).into(),
    ];
    let status = Status::with_error_details_vec(Code::Unavailable, "later", list.clone());
    assert_eq!(status.get_error_details_vec(), list);
    let delay = status.get_error_details().retry_info().unwrap().retry_delay;
    assert_eq!(delay, Some(Duration::from_secs(2)));
}

#[test]
fn metadata_goes_along() {
    let mut metadata = Metadata::new();
    metadata.insert("x-shard", "3").unwrap();
    let status = Status::with_error_details_and_metadata(Code::Aborted, "", everything(), metadata);
    assert_eq!(status.metadata().get("x-shard"), Some("3"));
    assert_eq!(status.get_error_details(), everything());
}

#[test]
fn unknown_types_are_passed_over_and_broken_ones_are_said() {
    let mut rpc = RpcStatus { code: 5, message: "no".into(), details: Vec::new() };
    rpc.details.push(Any { type_url: "type.googleapis.com/my.Detail".into(), value: vec![255] });
    let status = Status::from_rpc_status(&rpc);
    assert_eq!(status.code(), Code::NotFound);
    assert_eq!(status.check_error_details().unwrap(), ErrorDetails::new());
    assert_eq!(status.rpc_status().unwrap(), rpc);

    rpc.details[0].type_url = ErrorInfo::TYPE_URL.into();
    let status = Status::from_rpc_status(&rpc);
    assert!(status.check_error_details().is_err());
    assert_eq!(status.get_error_details(), ErrorDetails::new());
}

#[test]
fn a_status_without_details_has_none() {
    assert_eq!(Status::not_found("x").check_error_details().unwrap(), ErrorDetails::new());
    let broken = Status::with_details(Code::Internal, "", b"\xff".to_vec());
    assert!(broken.check_error_details_vec().is_err());
    assert!(broken.get_error_details_vec().is_empty());
}

#[test]
fn delays_beyond_the_format_are_brought_into_it() {
    let round = |delay| RetryInfo::from_bytes(&RetryInfo::new(Some(delay)).to_bytes()).unwrap().retry_delay;
    assert_eq!(round(Duration::MAX).unwrap().as_secs(), 315_576_000_000);
    assert_eq!(round(Duration::new(0, 999_999_999)), Some(Duration::new(0, 999_999_999)));
    // Field 1 of RetryInfo, a Duration whose field 1 is -1.
    let negative = [&[0x0a, 0x0b, 0x08], [0xff; 9].as_slice(), &[0x01]].concat();
    assert_eq!(RetryInfo::from_bytes(&negative).unwrap().retry_delay, Some(Duration::ZERO));
    assert_eq!(RetryInfo::from_bytes(&[]).unwrap().retry_delay, None);
}
