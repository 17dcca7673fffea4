//! How much of a request head is taken before it is refused.

/// Bounds on a request head, and on the trailers of a chunked body. Checked as bytes arrive, so that a refusal does
/// not wait for the end of what is too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadLimits {
    /// Longest request line in bytes, without its CRLF. Past it 414. Default 4094, as gunicorn's.
    pub request_line: usize,
    /// Most field lines. Past it 431. Default 100, as gunicorn's.
    pub fields: usize,
    /// Longest field line in bytes, with its CRLF. Past it 431. Default 8190, as gunicorn's.
    pub field_size: usize,
    /// Longest head in bytes, request line and last CRLF included. Past it 431. Default 65,536.
    pub head_total: usize,
}

impl Default for HeadLimits {
    fn default() -> Self {
        Self { request_line: 4094, fields: 100, field_size: 8190, head_total: 64 << 10 }
    }
}
