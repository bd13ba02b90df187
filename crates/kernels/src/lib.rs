//! The operations: one folder each, a reference body in plain candle ops and our own CPU body.
