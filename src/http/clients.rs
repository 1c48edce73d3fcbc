//! The clients of a run: how many runtimes and connection pools its threads share, and which thread uses which.

use std::sync::Arc;

use reqwest::header::HeaderMap;

use super::client::{Client, Transport};
use super::connection_pool::ConnectionPool;
use super::exchange::Reader;
use super::headers::header_map;
use super::response_buffer::CancelCheck;
use super::runtime::Runtime;
use crate::error::Error;
use crate::options::Network;

/// More runtimes than this gain nothing (measured).
const MAX_RUNTIMES: usize = 4;

/// What the clients of a run share.
///
/// The number of runtimes was measured on two cores with sixteen threads, the server on the same cores. For http, a
/// single runtime is 10 to 30 % slower than one per core, and one per thread is no faster. For https, one per core is
/// 10 % slower than a single one and takes 30 % more CPU time: with two, a thread is woken for nearly every TLS record.
#[derive(Debug)]
pub struct Clients {
    network: Network,
    headers: HeaderMap,
    runtimes: Vec<RuntimePools>,
    /// How many of the runtimes are used for https.
    https_runtimes: usize,
}

/// A runtime, and the connections whose I/O it does.
#[derive(Debug)]
struct RuntimePools {
    runtime: Runtime,
    http: ConnectionPool,
    https: ConnectionPool,
}

impl Clients {
    /// Starts as many runtimes as `threads` can use. Call it before starting the threads: they might take the last ones
    /// that the system allows. All clients together keep no more than about `max_idle` idle connections open.
    ///
    /// # Errors
    ///
    /// [`Error::Exhausted`] if not even one runtime can be started.
    pub fn new(network: &Network, threads: usize, max_idle: usize) -> Result<Self, Error> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let wanted = cores.min(MAX_RUNTIMES).min(threads).max(1);
        // One for every two cores; see above.
        let https_runtimes = (cores / 2).clamp(1, wanted);
        let pool = |runtimes: usize| {
            // Each runtime has two pools.
            let share = max_idle / wanted / 2;
            // If a client were replaced before each of its threads has a connection, no connection would ever be
            // reused. Half as many again, to have some to spare.
            let needed = threads.div_ceil(runtimes) * 3 / 2;
            ConnectionPool::new(share.max(needed))
        };
        let mut runtimes = Vec::with_capacity(wanted);
        for number in 0..wanted {
            match Runtime::start(number) {
                Ok(runtime) => {
                    runtimes.push(RuntimePools { runtime, http: pool(wanted), https: pool(https_runtimes) });
                }
                Err(source) if number == 0 => return Err(Error::Exhausted { action: "start a thread", source }),
                Err(_) => break,
            }
        }
        let https_runtimes = https_runtimes.min(runtimes.len());
        Ok(Self { network: network.clone(), headers: header_map(&network.headers), runtimes, https_runtimes })
    }

    /// Returns the client of a thread. A thread always uses the same runtimes, so it finds its connections again.
    ///
    /// While the thread waits for a response or its body, `is_cancelled` is called at least every 100 ms; once it
    /// returns true, the wait ends with [`Error::Cancelled`]. It must not block.
    #[must_use]
    pub fn for_thread<'a>(&'a self, thread: usize, is_cancelled: &'a (dyn Fn() -> bool + Sync)) -> Client<'a> {
        let http = &self.runtimes[thread % self.runtimes.len()];
        let https = &self.runtimes[thread % self.https_runtimes];
        Client {
            network: &self.network,
            headers: &self.headers,
            http: Transport { runtime: &http.runtime, pool: &http.http },
            https: Transport { runtime: &https.runtime, pool: &https.https },
            reader: Reader { cancel: CancelCheck(is_cancelled), interrupt: Arc::default(), traffic: None },
        }
    }

    /// Closes all idle connections.
    pub fn close_idle(&self) {
        for RuntimePools { http, https, .. } in &self.runtimes {
            http.close_idle();
            https.close_idle();
        }
    }
}
