//! The Node-API surface: convert, call, map the error.
