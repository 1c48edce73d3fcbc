//! HOW to ask: requests, redirects and what goes wrong with them. The only user of the HTTP library;
//! knows no target path and no progress.

mod client;
mod content_range;
mod exchange;
mod failure;
mod lazy_client;
mod proxy;
mod redirect;
mod request;
mod resolver;
mod response;
mod retry_after;
mod runtime;
mod tunnel;
mod validator;

pub use client::{Client, Clients};
pub use content_range::ContentRange;
pub use proxy::{ProxyError, from_environment as proxies_from_environment};
pub use request::{Conditions, RangeRequest, Reply};
pub use response::{Framing, Response};
pub use retry_after::parse as parse_retry_after;
pub use validator::{EntityHeaders, Validator};
