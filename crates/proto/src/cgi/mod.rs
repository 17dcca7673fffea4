//! CGI (RFC 3875) as pure code: a request as variables, a script's output as an answer.
//!
//! [`environment`] makes a script's environment out of a request. [`HeadReader`] is fed what a script writes, as it
//! comes, and gives the [`Head`] of its answer; [`BodyReader`] is for what follows.
//!
//! ```
//! use stdserve_proto::cgi::{Form, HeadReader, Redirect};
//!
//! let mut reader = HeadReader::new(Form::Parsed, 1024);
//! assert!(reader.feed(b"Status: 404 Nothing h")?.is_none());
//! let (consumed, head) = reader.feed(b"ere\nContent-Type: text/plain\n\nSorry.")?.unwrap();
//! assert_eq!((head.status(), head.reason()), (404, &b"Nothing here"[..]));
//! assert_eq!(head.fields().next(), Some((&b"Content-Type"[..], &b"text/plain"[..])));
//! assert_eq!(head.redirect(), Redirect::None);
//! assert_eq!(consumed, b"ere\nContent-Type: text/plain\n\n".len());
//! # Ok::<(), stdserve_proto::cgi::BadHead>(())
//! ```

mod body;
mod head;
mod variables;

pub use body::BodyReader;
pub use head::{BadHead, Form, Head, HeadReader, Redirect};
pub use variables::{Environment, Length, Request, environment, is_variable_name};
