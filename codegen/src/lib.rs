//! Generates Corelane services from .proto files, without protoc.
