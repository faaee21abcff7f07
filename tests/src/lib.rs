//! What needs more than one crate: interop, conformance, fairness, corpus, tidiness.
