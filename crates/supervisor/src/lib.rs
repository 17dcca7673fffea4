//! supervisor
#![forbid(unsafe_code)]
