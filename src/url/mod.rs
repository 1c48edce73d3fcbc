//! URLs that can be requested and shown: absolute, http or https, with a host, and redacted when displayed.

mod check;
mod error;
mod percent;
mod redact;
mod signature;
mod source_id;
mod web_url;

pub use error::UrlError;
pub use percent::{percent_decode, percent_encode_invalid, percent_encode_path};
pub use redact::{redacted, redacted_query};
pub use signature::without_signature;
pub use source_id::SourceId;
pub use web_url::WebUrl;
