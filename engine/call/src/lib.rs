//! What client and server share about one call: requests, statuses, metadata, codecs, compression.
