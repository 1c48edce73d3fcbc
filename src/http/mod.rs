//! Requests a file over HTTP: redirects, validation of responses, and errors. The only user of the HTTP library; knows
//! nothing of targets and progress.

mod client;
mod clients;
mod configure;
mod connection_pool;
mod content_disposition;
mod content_range;
mod exchange;
mod failure;
mod headers;
mod interrupt;
mod proxy;
mod redirect;
mod request;
mod resolver;
mod response;
mod response_buffer;
mod retry_after;
mod runtime;
mod timing;
mod tls;
mod traffic;
mod tunnel;
mod validator;

pub use client::Client;
pub use clients::Clients;
pub use content_disposition::parse_file_name;
pub use content_range::ContentRange;
pub use interrupt::Interrupt;
#[cfg(feature = "cli")]
pub use proxy::proxies_from_environment;
pub use request::{Conditions, RangeRequest, Request};
pub use response::{Framing, Reply, Response};
pub use retry_after::parse_retry_after;
pub use timing::Timing;
pub use traffic::{Traffic, TrafficSnapshot};
#[cfg(test)]
pub use validator::EntityHeaders;
pub use validator::Validator;
