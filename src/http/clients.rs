//! The clients of a run, which its threads share: how many runtimes there are, and which thread uses which.

use reqwest::header::HeaderMap;

use super::client::{Client, RuntimeClients};
use super::headers::header_map;
use super::lazy_client::LazyClient;
use super::response_buffer::CancelCheck;
use super::runtime::Runtime;
use crate::error::Error;
use crate::options::Network;

/// More runtimes than this gain nothing (measured).
const MAX_RUNTIMES: usize = 4;

/// The clients of a run, which its threads share.
///
/// The number of runtimes was measured on two cores with sixteen threads, the server on the same cores. For http, a
/// single runtime is 10 to 30 % slower than one per core, and one per thread is no faster. For https, one per core is
/// 10 % slower than a single one and takes 30 % more CPU time: with two, a thread is woken for nearly every TLS record.
#[derive(Debug)]
pub struct Clients {
    network: Network,
    headers: HeaderMap,
    runtimes: Vec<RuntimeClients>,
    /// How many of the runtimes are used for https.
    secure: usize,
}

impl Clients {
    /// Starts as many runtimes as `threads` can use. Call it before starting the threads, which might otherwise take
    /// the last that the system has. All clients together keep no more than about `max_idle` connections open.
    ///
    /// # Errors
    ///
    /// [`Error::Exhausted`] if not even one runtime can be started.
    pub fn new(network: &Network, threads: usize, max_idle: usize) -> Result<Self, Error> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let wanted = cores.min(MAX_RUNTIMES).min(threads).max(1);
        // One for every two cores; see above.
        let secure = (cores / 2).clamp(1, wanted);
        // A client that is replaced more often than its threads need connections would never reuse one.
        let lazy = |count: usize| LazyClient::new((max_idle / wanted / 2).max(threads.div_ceil(count) * 3 / 2));
        let mut runtimes = Vec::with_capacity(wanted);
        for number in 0..wanted {
            match Runtime::start(number) {
                Ok(runtime) => runtimes.push(RuntimeClients { runtime, plain: lazy(wanted), secure: lazy(secure) }),
                Err(source) if number == 0 => return Err(Error::Exhausted { action: "start a thread", source }),
                Err(_) => break,
            }
        }
        let secure = secure.min(runtimes.len());
        Ok(Self { network: network.clone(), headers: header_map(&network.headers), runtimes, secure })
    }

    /// The client of a thread. A thread always uses the same runtimes, and so finds its connections again.
    ///
    /// While the thread waits for a response or its body, `is_cancelled` is called at least every 100 ms; once it
    /// returns true, the wait ends with [`Error::Cancelled`]. It must not block.
    #[must_use]
    pub fn for_thread<'a>(&'a self, thread: usize, is_cancelled: &'a (dyn Fn() -> bool + Sync)) -> Client<'a> {
        Client {
            network: &self.network,
            headers: &self.headers,
            plain: &self.runtimes[thread % self.runtimes.len()],
            secure: &self.runtimes[thread % self.secure],
            cancel: CancelCheck(is_cancelled),
        }
    }

    /// Closes all idle connections.
    pub fn close_idle(&self) {
        for clients in &self.runtimes {
            clients.plain.close_idle();
            clients.secure.close_idle();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, ErrorKind, Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};
    use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
    use std::thread;

    use super::*;
    use crate::http::{Conditions, EntityHeaders, RangeRequest, Reply, Request, Validator};
    use crate::options::{Header, Proxies};
    use crate::url::WebUrl;

    fn network(headers: &[&str]) -> Network {
        let headers = headers.iter().map(|line| Header::parse(line).unwrap()).collect();
        let proxies = Proxies::Given { http: None, https: None, except: Vec::new() };
        Network { headers, proxies, ..Network::default() }
    }

    fn listen() -> (TcpListener, WebUrl) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = WebUrl::parse(&format!("http://{}/file", listener.local_addr().unwrap())).unwrap();
        (listener, url)
    }

    fn request(url: &WebUrl) -> Request<'_> {
        Request { url, headers: &[], effective_url: None, conditions: Conditions::default() }
    }

    /// Accepts a connection, and reads the head of a request.
    fn accept(listener: &TcpListener) -> (TcpStream, Vec<String>) {
        let (stream, _) = listener.accept().unwrap();
        let lines = BufReader::new(stream.try_clone().unwrap()).lines().map(Result::unwrap);
        let head = lines.take_while(|line| !line.is_empty()).collect();
        (stream, head)
    }

    /// Waits for the client to close the connection.
    fn assert_closed(mut stream: &TcpStream) {
        stream.set_read_timeout(Some(Network::default().stall_timeout / 2)).unwrap();
        match stream.read(&mut [0]) {
            Ok(0) => {}
            result => assert_eq!(result.unwrap_err().kind(), ErrorKind::ConnectionReset),
        }
    }

    #[test]
    fn a_request_without_a_response_ends_when_it_is_cancelled() {
        let (listener, url) = listen();
        let validator = EntityHeaders { etag: Some("\"a\"".to_owned()), ..EntityHeaders::default() };
        let validator = Validator::of(validator, None).unwrap();
        let range = RangeRequest { from: 1, to: None, validator: &validator, length: Some(2) };
        let clients = Clients::new(&network(&[]), 1, 1).unwrap();
        for is_range in [false, true] {
            let cancelled = AtomicBool::new(false);
            let is_cancelled = || cancelled.load(SeqCst);
            let client = clients.for_thread(0, &is_cancelled);
            let get = || match is_range {
                true => client.get_range(&url, &[], None, range).map(drop),
                false => client.get(&request(&url), |_| {}).map(drop),
            };
            thread::scope(|scope| {
                let get = scope.spawn(get);
                let (stream, _) = accept(&listener);
                cancelled.store(true, SeqCst);
                let result = get.join().unwrap();
                assert!(matches!(result, Err(Error::Cancelled)), "{result:?}");
                assert_closed(&stream);
            });
        }
        // No request was sent again.
        listener.set_nonblocking(true).unwrap();
        assert!(listener.accept().is_err());
    }

    #[test]
    fn a_body_that_stalls_ends_when_it_is_cancelled() {
        let (listener, url) = listen();
        let cancelled = AtomicBool::new(false);
        let is_cancelled = || cancelled.load(SeqCst);
        let clients = Clients::new(&network(&[]), 1, 1).unwrap();
        let client = clients.for_thread(0, &is_cancelled);
        thread::scope(|scope| {
            let server = scope.spawn(|| {
                let (mut stream, _) = accept(&listener);
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello").unwrap();
                stream
            });
            let Ok(Reply::Response(mut response)) = client.get(&request(&url), |_| {}) else { panic!() };
            let stream = server.join().unwrap();
            let mut buffer = [0; 10];
            while response.position() < 5 {
                response.read(&mut buffer).unwrap();
            }
            let read = scope.spawn(move || response.read(&mut buffer));
            cancelled.store(true, SeqCst);
            let result = read.join().unwrap();
            assert!(matches!(result, Err(Error::Cancelled)), "{result:?}");
            assert_closed(&stream);
        });
    }

    #[test]
    fn a_body_that_has_arrived_is_read_although_it_is_cancelled() {
        let (listener, url) = listen();
        let cancelled = AtomicBool::new(false);
        let is_cancelled = || cancelled.load(SeqCst);
        let clients = Clients::new(&network(&[]), 1, 1).unwrap();
        let client = clients.for_thread(0, &is_cancelled);
        thread::scope(|scope| {
            scope.spawn(|| {
                let (mut stream, _) = accept(&listener);
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello").unwrap();
            });
            let Ok(Reply::Response(mut response)) = client.get(&request(&url), |_| {}) else { panic!() };
            let mut buffer = [0; 1];
            assert_eq!(response.read(&mut buffer).unwrap(), 1);
            cancelled.store(true, SeqCst);
            // One write, one frame: the rest of it is in the buffer.
            for position in 2..=5 {
                assert_eq!(response.read(&mut buffer).unwrap(), 1);
                assert_eq!(response.position(), position);
            }
            assert!(response.is_fully_read());
        });
    }

    #[test]
    fn headers_of_a_source_replace_global_ones_and_stay_at_its_origin() {
        let ((listener, url), (elsewhere, target)) = (listen(), listen());
        let clients = Clients::new(&network(&["Accept: all", "Cookie: a=1"]), 1, 1).unwrap();
        let headers = [Header::parse("Accept: text").unwrap(), Header::parse("X-Token: secret").unwrap()];
        thread::scope(|scope| {
            scope.spawn(|| {
                let client = clients.for_thread(0, &|| false);
                let request = Request { headers: &headers, ..request(&url) };
                client.get(&request, |_| {}).map(drop).unwrap_err();
            });
            let own = ["accept: text", "x-token: secret", "cookie: a=1"];
            let has = |head: &[String], header: &str| head.iter().any(|line| line.eq_ignore_ascii_case(header));
            let (mut stream, head) = accept(&listener);
            assert!(own.iter().all(|header| has(&head, header)) && !has(&head, "accept: all"), "{head:?}");
            let location = target.unredacted();
            write!(stream, "HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n").unwrap();
            let (mut stream, head) = accept(&elsewhere);
            assert!(!own.iter().any(|header| has(&head, header)) && !has(&head, "accept: all"), "{head:?}");
            stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").unwrap();
        });
    }
}
