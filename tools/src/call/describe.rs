//! Declarations as a `.proto` file would have them, without comments and options.

use prost_reflect::{
    Cardinality, DescriptorPool, EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor, MethodDescriptor,
    ServiceDescriptor,
};

/// Whatever has this full name, if anything does.
pub(crate) fn symbol(pool: &DescriptorPool, name: &str) -> Option<String> {
    if let Some(found) = pool.get_service_by_name(name) {
        return Some(service(&found));
    }
    if let Some(found) = pool.get_message_by_name(name) {
        return Some(message(&found));
    }
    if let Some(found) = pool.get_enum_by_name(name) {
        return Some(enumeration(&found));
    }
    let (parent, last) = name.rsplit_once(['.', '/'])?;
    if let Some(parent) = pool.get_service_by_name(parent) {
        return parent.methods().find(|found| found.name() == last).map(|found| method(&found));
    }
    let found = pool.get_message_by_name(parent)?.get_field_by_name(last)?;
    Some(field(&found))
}

/// A service with its methods.
pub(crate) fn service(service: &ServiceDescriptor) -> String {
    let methods = service.methods().map(|found| method(&found));
    block(&format!("service {}", service.full_name()), methods)
}

fn method(method: &MethodDescriptor) -> String {
    let stream = |is: bool| if is { "stream " } else { "" };
    format!(
        "rpc {}({}{}) returns ({}{});",
        method.name(),
        stream(method.is_client_streaming()),
        method.input().full_name(),
        stream(method.is_server_streaming()),
        method.output().full_name()
    )
}

fn message(message: &MessageDescriptor) -> String {
    let name = message.full_name();
    let plain = message.fields().filter(|found| real_oneof(found).is_none());
    let mut lines: Vec<(u32, String)> = plain.map(|found| (found.number(), field(&found))).collect();
    for oneof in message.oneofs().filter(|oneof| !oneof.is_synthetic()) {
        let first = oneof.fields().map(|found| found.number()).min().unwrap_or_default();
        let fields = oneof.fields().map(|found| field(&found));
        lines.push((first, block(&format!("oneof {}", oneof.name()), fields)));
    }
    lines.sort_by_key(|(number, _)| *number);
    // What is declared in it has a full name of its own, and is described by that.
    block(&format!("message {name}"), lines.into_iter().map(|(_, line)| line))
}

fn real_oneof(field: &FieldDescriptor) -> Option<prost_reflect::OneofDescriptor> {
    field.containing_oneof().filter(|oneof| !oneof.is_synthetic())
}

fn field(field: &FieldDescriptor) -> String {
    let label = match field.cardinality() {
        _ if field.is_map() => "",
        Cardinality::Repeated => "repeated ",
        Cardinality::Required => "required ",
        Cardinality::Optional if field.containing_oneof().is_some_and(|oneof| oneof.is_synthetic()) => {
            "optional "
        }
        Cardinality::Optional => "",
    };
    format!("{label}{} {} = {};", kind(field), field.name(), field.number())
}

fn kind(field: &FieldDescriptor) -> String {
    match field.kind() {
        Kind::Message(entry) if field.is_map() => {
            let [key, value] =
                [entry.map_entry_key_field(), entry.map_entry_value_field()].map(|part| kind(&part));
            format!("map<{key}, {value}>")
        }
        // Scalars are shown as they are written.
        other => match &other {
            Kind::Message(found) => found.full_name().to_owned(),
            Kind::Enum(found) => found.full_name().to_owned(),
            scalar => format!("{scalar:?}").to_lowercase(),
        },
    }
}

fn enumeration(found: &EnumDescriptor) -> String {
    let values = found.values().map(|value| format!("{} = {};", value.name(), value.number()));
    block(&format!("enum {}", found.full_name()), values)
}

/// A head, and lines in braces behind it.
fn block(head: &str, lines: impl Iterator<Item = String>) -> String {
    let mut text = format!("{head} {{");
    for line in lines {
        text.push_str("\n  ");
        text.push_str(&line.replace('\n', "\n  "));
    }
    let has_lines = text.contains('\n');
    text.push_str(if has_lines { "\n}" } else { "}" });
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(name: &str) -> Option<String> {
        symbol(&DescriptorPool::decode(crate::call::DESCRIPTORS).unwrap(), name)
    }

    #[test]
    fn a_service_is_described_by_its_methods() {
        let expected = "\
service example.v1.OrderService {
  rpc CreateOrder(example.v1.CreateOrderRequest) returns (example.v1.Order);
  rpc GetOrder(example.v1.GetOrderRequest) returns (example.v1.Order);
  rpc WatchOrder(example.v1.WatchOrderRequest) returns (stream example.v1.OrderUpdate);
}";
        assert_eq!(described("example.v1.OrderService").as_deref(), Some(expected));
        let chat = "rpc Chat(stream example.v1.ChatRequest) returns (stream example.v1.ChatEvent);";
        assert_eq!(described("example.v1.UserService.Chat").as_deref(), Some(chat));
        assert_eq!(described("example.v1.UserService/Chat").as_deref(), Some(chat));
    }

    #[test]
    fn a_message_is_described_by_its_fields() {
        let expected = "\
message grpc.reflection.v1.ServerReflectionRequest {
  string host = 1;
  oneof message_request {
    string file_by_filename = 3;
    string file_containing_symbol = 4;
    grpc.reflection.v1.ExtensionRequest file_containing_extension = 5;
    string all_extension_numbers_of_type = 6;
    string list_services = 7;
  }
}";
        assert_eq!(described("grpc.reflection.v1.ServerReflectionRequest").as_deref(), Some(expected));
        let map = "map<string, string> metadata = 3;";
        assert_eq!(described("google.rpc.ErrorInfo.metadata").as_deref(), Some(map));
        let repeated = "repeated bytes file_descriptor_proto = 1;";
        assert_eq!(
            described("grpc.reflection.v1.FileDescriptorResponse.file_descriptor_proto").as_deref(),
            Some(repeated)
        );
        assert_eq!(described("google.protobuf.Empty").as_deref(), Some("message google.protobuf.Empty {}"));
    }

    #[test]
    fn an_enum_is_described_by_its_values() {
        let expected = "\
enum example.v1.Role {
  ROLE_UNSPECIFIED = 0;
  ROLE_MEMBER = 1;
  ROLE_ADMIN = 2;
  ROLE_GUEST = 3;
}";
        assert_eq!(described("example.v1.Role").as_deref(), Some(expected));
    }

    #[test]
    fn what_is_not_there_is_not_described() {
        for name in ["", "nothing", "example.v1.UserService.Nothing", "example.v1.User.nothing"] {
            assert_eq!(described(name), None, "{name}");
        }
    }
}
