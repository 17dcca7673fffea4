//! What a document may cost.

/// Bounds on one document. What exceeds them is refused ([`Problem::Limit`](super::Problem::Limit)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The size of the document in bytes, after it was inflated. Default: 20 MiB, the bound that `xmlrpc.client`
    /// has for compressed bodies.
    pub body: usize,
    /// How deeply arrays and structs may stand in one another. Default: 200.
    pub depth: usize,
    /// How many XML elements the document may have; a member of a struct takes four. Default: 2,000,000, which
    /// 20 MiB of real data do not reach.
    pub elements: usize,
    /// The size of one string, name or base64 text, in bytes of UTF-8. Default: 20 MiB.
    pub string: usize,
    /// How many times its own size a compressed body may grow; bodies that stay below 1 MiB are not judged by it.
    /// Default: 200. (CVE-2013-1753)
    pub ratio: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { body: 20 << 20, depth: 200, elements: 2_000_000, string: 20 << 20, ratio: 200 }
    }
}
