//! Configures the HTTP library: timeouts, proxies, TLS, and nothing that it would do on its own initiative.

use std::sync::Arc;
use std::time::Duration;

use reqwest::ClientBuilder;
use reqwest::header::{self, HeaderMap, HeaderValue};

use super::proxy;
use super::resolver::SystemResolver;
use crate::error::Error;
use crate::options::Network;

const USER_AGENT: &str = concat!("tdl/", env!("CARGO_PKG_VERSION"));

/// An idle connection is closed after this long. Otherwise a list over many hosts would keep one open to each.
const IDLE_TIMEOUT: Duration = Duration::from_secs(5);

/// Configures a client for http or https. One for http loads no certificates: they take most of the setup time, and may
/// be missing.
pub fn configure_client(network: &Network, is_https: bool) -> Result<ClientBuilder, Error> {
    // No-op if the application has already installed a provider.
    let _ = rustls::crypto::ring::default_provider().install_default();
    // `read_timeout` covers the wait for headers, and then each read: it is the stall timeout. reqwest's own redirects
    // would forward custom headers to other hosts.
    let builder = reqwest::Client::builder()
        .user_agent(USER_AGENT)
        .default_headers(HeaderMap::from_iter([(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"))]))
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        // Only tdl retries, and it counts its retries.
        .retry(reqwest::retry::never().max_retries_per_request(0))
        .http1_only()
        .read_timeout(network.stall_timeout)
        // Shorter than `read_timeout`, or a connection that is never established would be reported as a stall.
        .connect_timeout(network.connect_timeout.min(network.stall_timeout.mul_f64(0.9)))
        .pool_idle_timeout(IDLE_TIMEOUT)
        .dns_resolver(Arc::new(SystemResolver))
        .tls_danger_accept_invalid_certs(network.insecure);
    let builder = proxy::configure(builder, &network.proxies)
        .map_err(|error| Error::Client { is_temporary: false, cause: error.into() })?;
    Ok(if is_https { builder } else { builder.tls_certs_only([]) })
}
