//! Which content codings a client takes, and which it likes best (RFC 9110 §12.5.3).

/// A content coding that files are kept in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Coding {
    /// `br`, RFC 7932.
    Brotli,
    /// `zstd`, RFC 8878.
    Zstd,
    /// `gzip`, RFC 1952.
    Gzip,
}

impl Coding {
    /// All of them; of two that a client likes as well, the first is better.
    pub const ALL: [Self; 3] = [Self::Brotli, Self::Zstd, Self::Gzip];

    /// Its name in `Content-Encoding`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Brotli => "br",
            Self::Zstd => "zstd",
            Self::Gzip => "gzip",
        }
    }

    /// What is added to the name of a file that is kept in it, dot included.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Brotli => ".br",
            Self::Zstd => ".zst",
            Self::Gzip => ".gz",
        }
    }
}

/// What a client takes: a quality in thousandths for each coding, 0 for those that it does not take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Accepted {
    quality: [u16; 3],
}

impl Accepted {
    /// Reads the value of `Accept-Encoding`. What is not understood in it is left out. Codings that the client likes
    /// less than the plain file (`identity`) are as good as not taken.
    pub fn parse(value: &[u8]) -> Self {
        let mut quality = [None; 3];
        let (mut identity, mut others) = (None, None);
        for element in value.split(|&byte| byte == b',') {
            let mut parts = element.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
            let name = parts.next().unwrap_or_default();
            let weight = match parts.next() {
                None => Some(1000),
                Some([b'q' | b'Q', b'=', digits @ ..]) => qvalue(digits),
                Some(_) => None,
            };
            let (Some(weight), None) = (weight, parts.next()) else { continue };
            let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
            if is("gzip") || is("x-gzip") {
                quality[2] = Some(weight);
            } else if is("br") {
                quality[0] = Some(weight);
            } else if is("zstd") {
                quality[1] = Some(weight);
            } else if is("identity") {
                identity = Some(weight);
            } else if name == b"*" {
                others = Some(weight);
            }
        }
        let floor = identity.unwrap_or(0);
        let settled = quality.map(|quality| quality.or(others).unwrap_or(0));
        Self { quality: settled.map(|quality| if quality >= floor { quality } else { 0 }) }
    }

    /// The codings to try, best first; what is behind them is the plain file.
    pub fn best(self) -> impl Iterator<Item = Coding> {
        let mut order = Coding::ALL.map(|coding| (self.quality[coding as usize], coding));
        // Stable: among equals the order of `ALL` stays.
        order.sort_by_key(|&(quality, _)| std::cmp::Reverse(quality));
        order.into_iter().filter(|&(quality, _)| quality > 0).map(|(_, coding)| coding)
    }

    /// Whether the client takes `coding`.
    pub fn takes(self, coding: Coding) -> bool {
        self.quality[coding as usize] > 0
    }

    /// Whether the client takes no coding at all.
    pub fn is_none(self) -> bool {
        self.quality == [0; 3]
    }
}

/// `0`, `0.123`, `1`, `1.000` in thousandths (RFC 9110 §12.4.2).
fn qvalue(text: &[u8]) -> Option<u16> {
    let (whole, decimals) = match text {
        [whole] | [whole, b'.'] => (whole, &b""[..]),
        [whole, b'.', decimals @ ..] if decimals.len() <= 3 => (whole, decimals),
        _ => return None,
    };
    let mut value = match whole {
        b'0' => 0,
        b'1' => 1,
        _ => return None,
    };
    for at in 0..3 {
        let digit = decimals.get(at).copied().unwrap_or(b'0');
        if !digit.is_ascii_digit() {
            return None;
        }
        value = value * 10 + u16::from(digit - b'0');
    }
    (value <= 1000).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn best(value: &str) -> Vec<&'static str> {
        Accepted::parse(value.as_bytes()).best().map(Coding::name).collect()
    }

    #[test]
    fn what_clients_send() {
        assert_eq!(best("gzip, deflate, br, zstd"), ["br", "zstd", "gzip"]);
        assert_eq!(best("gzip, deflate"), ["gzip"]);
        assert_eq!(best("GZip ; q=0.5, br;q=0.8"), ["br", "gzip"]);
        assert_eq!(best("x-gzip"), ["gzip"]);
        assert_eq!(best("*"), ["br", "zstd", "gzip"]);
        assert_eq!(best("br;q=0, *"), ["zstd", "gzip"]);
        assert_eq!(best("identity, gzip;q=0.5"), Vec::<&str>::new());
        assert_eq!(best("identity;q=0.5, gzip;q=0.5"), ["gzip"]);
        assert_eq!(best("gzip;q=0"), Vec::<&str>::new());
        assert_eq!(best(""), Vec::<&str>::new());
    }

    #[test]
    fn what_is_no_quality_takes_its_coding_with_it() {
        for bad in [
            "gzip;q=2",
            "gzip;q=1.001",
            "gzip;q=0.1234",
            "gzip;q=",
            "gzip;q=-1",
            "gzip;level=9",
            "gzip;q=1;a",
        ] {
            assert_eq!(best(bad), Vec::<&str>::new(), "{bad}");
        }
        assert_eq!(qvalue(b"0.001"), Some(1));
        assert_eq!(qvalue(b"1."), Some(1000));
    }

    proptest! {
        #[test]
        fn any_value_is_read(value in "[a-z;,=q0-9. *]{0,40}") {
            let accepted = Accepted::parse(value.as_bytes());
            prop_assert_eq!(accepted.best().count() == 0, accepted.is_none());
        }
    }
}
