//! proto
#![forbid(unsafe_code)]
