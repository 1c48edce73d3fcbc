//! A server on loopback that can be told to be faulty, and that tells what it was asked.
//!
//! Each test makes its own, with a function from a request to a [`Reply`]. It speaks just enough HTTP/1.1, keeps
//! connections, counts, and ends with its value: nothing of it outlives a test.

use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// The longest that a test waits for something that should happen at once.
pub const TIMEOUT: Duration = Duration::from_secs(30);

/// A server, for as long as the value lives.
pub struct Server {
    address: SocketAddr,
    scheme: &'static str,
    shared: Arc<Shared>,
}

/// What a client asked.
#[derive(Debug, Clone)]
pub struct Request {
    /// Path and query, as sent.
    pub target: String,
    pub headers: Vec<(String, String)>,
    /// The number of the request, from 0.
    pub number: usize,
    /// Its number among those on its connection, from 0.
    pub on_connection: usize,
    /// When it came.
    pub at: Instant,
    /// How many were being answered then, with this one.
    pub in_flight: usize,
}

impl Request {
    /// The value of a header, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str())
    }

    /// The places that the `Range` header asks for, of a file that is so long.
    pub fn range(&self, length: usize) -> Option<(usize, usize)> {
        let (first, last) = self.header("range")?.strip_prefix("bytes=")?.split_once('-')?;
        let last = if last.is_empty() { length.saturating_sub(1) } else { last.parse().ok()? };
        Some((first.parse().ok()?, last + 1))
    }
}

/// How to answer; begins as a whole answer and can be made faulty.
#[derive(Debug, Clone)]
pub struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Arc<[u8]>,
    framing: Framing,
    delay: Duration,
    /// Body bytes after which the fault comes.
    fault: Option<(usize, Fault)>,
    /// Sent in place of everything else.
    raw: Option<Vec<u8>>,
    /// The body comes in so many pieces with a pause before each.
    drip: Option<(usize, Duration)>,
    held_until: Option<Arc<Gate>>,
    /// Body bytes after which nothing comes until the gate is open.
    held_after: Option<(usize, Arc<Gate>)>,
    /// Bytes that belong to no response, sent when the first gate is open; then the second is.
    stray: Option<(Vec<u8>, Arc<Gate>, Arc<Gate>)>,
}

#[derive(Debug, Clone, Copy)]
enum Framing {
    Length,
    Chunked,
    Close,
}

#[derive(Debug, Clone, Copy)]
enum Fault {
    Cut,
    Stall,
}

impl Reply {
    pub fn ok(body: impl Into<Vec<u8>>) -> Self {
        Self {
            status: 200,
            headers: Vec::new(),
            body: body.into().into(),
            framing: Framing::Length,
            delay: Duration::ZERO,
            fault: None,
            raw: None,
            drip: None,
            held_until: None,
            held_after: None,
            stray: None,
        }
    }

    /// An error page.
    pub fn status(status: u16) -> Self {
        Self { status, ..Self::ok(format!("<h1>error {status}</h1>")) }
    }

    pub fn redirect(location: impl Into<String>) -> Self {
        Self::status(302).header("Location", location)
    }

    /// A file as a good server gives it: the whole, or the part that is asked for if `If-Range` names its tag.
    pub fn file(request: &Request, body: &[u8], etag: &str) -> Self {
        let reply = match request.range(body.len()) {
            Some((from, _)) if request.header("if-range") == Some(etag) && from >= body.len() => {
                Self::status(416).header("Content-Range", format!("bytes */{}", body.len()))
            }
            Some((from, to)) if request.header("if-range") == Some(etag) => Self::part(body, from, to),
            _ => Self::ok(body),
        };
        reply.header("ETag", etag)
    }

    /// A 206 of the bytes from a place on.
    pub fn rest(body: &[u8], from: usize) -> Self {
        Self::part(body, from, body.len())
    }

    /// A 206 of the bytes from a place up to another.
    pub fn part(body: &[u8], from: usize, to: usize) -> Self {
        let range = format!("bytes {from}-{}/{}", to - 1, body.len());
        Self::partial(&body[from..to]).header("Content-Range", range)
    }

    /// Bytes in place of an answer, and then the end of the connection.
    pub fn raw(bytes: impl Into<Vec<u8>>) -> Self {
        Self { raw: Some(bytes.into()), ..Self::ok("") }
    }

    /// A 206 without a range.
    pub fn partial(body: impl Into<Vec<u8>>) -> Self {
        Self { status: 206, ..Self::ok(body) }
    }

    /// Leaves a header out.
    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(given, _)| given != name);
        self
    }

    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// Waits before the first byte of the answer.
    pub fn after(self, delay: Duration) -> Self {
        Self { delay, ..self }
    }

    /// Waits before the first byte of the answer until the gate is open.
    pub fn held_until(self, gate: &Arc<Gate>) -> Self {
        Self { held_until: Some(Arc::clone(gate)), ..self }
    }

    /// Sends nothing more after so many bytes of the body until the gate is open.
    pub fn held_after(self, bytes: usize, gate: &Arc<Gate>) -> Self {
        Self { held_after: Some((bytes, Arc::clone(gate))), ..self }
    }

    /// Sends bytes after the body, once `due` is open, and then opens `sent`.
    pub fn followed_by(self, bytes: &str, due: &Arc<Gate>, sent: &Arc<Gate>) -> Self {
        Self { stray: Some((bytes.into(), Arc::clone(due), Arc::clone(sent))), ..self }
    }

    /// Ends the connection after so many bytes of the body.
    pub fn cut_after(self, bytes: usize) -> Self {
        Self { fault: Some((bytes, Fault::Cut)), ..self }
    }

    /// Sends nothing more after so many bytes of the body, and keeps the connection.
    pub fn stall_after(self, bytes: usize) -> Self {
        Self { fault: Some((bytes, Fault::Stall)), ..self }
    }

    pub fn chunked(self) -> Self {
        Self { framing: Framing::Chunked, ..self }
    }

    /// No length and no chunks: the close of the connection ends the body.
    pub fn until_close(self) -> Self {
        Self { framing: Framing::Close, ..self }
    }

    /// Sends the body in pieces, with a pause before each.
    pub fn drip(self, piece: usize, pause: Duration) -> Self {
        Self { drip: Some((piece, pause)), ..self }
    }
}

/// Something that a test opens when it is ready.
#[derive(Debug, Default)]
pub struct Gate {
    is_open: Mutex<bool>,
    changed: Condvar,
}

impl Gate {
    pub fn open(&self) {
        *self.is_open.lock().unwrap() = true;
        self.changed.notify_all();
    }

    fn wait(&self) {
        let is_open = self.is_open.lock().unwrap();
        let (is_open, _) = self.changed.wait_timeout_while(is_open, TIMEOUT, |is_open| !*is_open).unwrap();
        assert!(*is_open, "nobody opened the gate");
    }
}

type Handler = dyn Fn(&Request) -> Reply + Send + Sync;

struct Shared {
    handler: Box<Handler>,
    state: Mutex<State>,
    changed: Condvar,
    tls: Option<Arc<rustls::ServerConfig>>,
}

#[derive(Default)]
struct State {
    requests: Vec<Request>,
    connections: usize,
    in_flight: usize,
    most_in_flight: usize,
    is_ended: bool,
}

impl Server {
    pub fn start(handler: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        Self::listen(handler, None)
    }

    /// Over TLS, with a certificate for `localhost` and 127.0.0.1 that nobody has signed.
    pub fn start_tls(handler: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        Self::listen(handler, Some(Arc::new(config)))
    }

    /// The same small file for every path, the path being its content.
    pub fn echo() -> Self {
        Self::start(|request| Reply::ok(request.target.clone()))
    }

    fn listen(
        handler: impl Fn(&Request) -> Reply + Send + Sync + 'static,
        tls: Option<Arc<rustls::ServerConfig>>,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let shared =
            Arc::new(Shared { handler: Box::new(handler), state: Mutex::default(), changed: Condvar::new(), tls });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&accepting);
                if shared.state.lock().unwrap().is_ended {
                    break;
                }
                // A client that goes away ends its connection, and nothing else.
                thread::spawn(move || drop(shared.serve(stream)));
            }
        });
        Self { address, scheme, shared }
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme, self.address)
    }

    /// Every request so far, in the order in which they came.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.state.lock().unwrap().requests.clone()
    }

    /// What was asked for, sorted.
    pub fn targets(&self) -> Vec<String> {
        let mut targets: Vec<_> = self.requests().into_iter().map(|request| request.target).collect();
        targets.sort();
        targets
    }

    /// The most requests that were being answered at one moment.
    pub fn most_at_once(&self) -> usize {
        self.shared.state.lock().unwrap().most_in_flight
    }

    pub fn connections(&self) -> usize {
        self.shared.state.lock().unwrap().connections
    }

    /// Waits until so many requests have come.
    pub fn wait_for_requests(&self, count: usize) {
        let state = self.shared.state.lock().unwrap();
        let too_few = |state: &mut State| state.requests.len() < count;
        let (state, _) = self.shared.changed.wait_timeout_while(state, TIMEOUT, too_few).unwrap();
        assert!(state.requests.len() >= count, "only {} of {count} requests came", state.requests.len());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.state.lock().unwrap().is_ended = true;
        self.shared.changed.notify_all();
        let _ = TcpStream::connect(self.address);
    }
}

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

impl Shared {
    fn serve(&self, stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        self.state.lock().unwrap().connections += 1;
        let stream: Box<dyn Stream> = match &self.tls {
            None => Box::new(stream),
            Some(config) => {
                let tls = rustls::ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?;
                Box::new(rustls::StreamOwned::new(tls, stream))
            }
        };
        let mut stream = BufReader::new(stream);
        let mut on_connection = 0;
        while let Some(request) = self.read_request(&mut stream, on_connection)? {
            on_connection += 1;
            let reply = (self.handler)(&request);
            let kept = self.send(stream.get_mut(), &reply);
            self.state.lock().unwrap().in_flight -= 1;
            if !kept? {
                break;
            }
        }
        Ok(())
    }

    fn read_request(
        &self,
        stream: &mut BufReader<Box<dyn Stream>>,
        on_connection: usize,
    ) -> io::Result<Option<Request>> {
        let mut line = String::new();
        if stream.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let target = line.split(' ').nth(1).unwrap_or_default().to_owned();
        let mut headers = Vec::new();
        loop {
            let mut line = String::new();
            stream.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(':') else {
                break;
            };
            headers.push((name.to_lowercase(), value.trim().to_owned()));
        }
        let mut state = self.state.lock().unwrap();
        state.in_flight += 1;
        let (number, in_flight) = (state.requests.len(), state.in_flight);
        let request = Request { target, headers, number, on_connection, at: Instant::now(), in_flight };
        state.requests.push(request.clone());
        state.most_in_flight = state.most_in_flight.max(state.in_flight);
        self.changed.notify_all();
        Ok(Some(request))
    }

    /// Answers; says whether the connection is kept.
    fn send(&self, stream: &mut dyn Stream, reply: &Reply) -> io::Result<bool> {
        if let Some(gate) = &reply.held_until {
            gate.wait();
        }
        self.pause(reply.delay);
        if let Some(raw) = &reply.raw {
            stream.write_all(raw)?;
            stream.flush()?;
            return Ok(false);
        }
        let mut head = format!("HTTP/1.1 {} Status\r\n", reply.status);
        for (name, value) in &reply.headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += &match reply.framing {
            Framing::Length => format!("Content-Length: {}\r\n\r\n", reply.body.len()),
            Framing::Chunked => "Transfer-Encoding: chunked\r\n\r\n".to_owned(),
            Framing::Close => "Connection: close\r\n\r\n".to_owned(),
        };
        stream.write_all(head.as_bytes())?;
        stream.flush()?;
        let end = reply.fault.map_or(reply.body.len(), |(bytes, _)| bytes.min(reply.body.len()));
        let (piece, pause) = reply.drip.unwrap_or((64 * 1024, Duration::ZERO));
        let mut held_after = reply.held_after.as_ref();
        let mut sent = 0;
        for piece in reply.body[..end].chunks(piece) {
            if let Some((_, gate)) = held_after.take_if(|(bytes, _)| sent >= *bytes) {
                gate.wait();
            }
            sent += piece.len();
            self.pause(pause);
            match reply.framing {
                Framing::Chunked => {
                    write!(stream, "{:x}\r\n", piece.len())?;
                    stream.write_all(piece)?;
                    stream.write_all(b"\r\n")?;
                }
                Framing::Length | Framing::Close => stream.write_all(piece)?,
            }
            stream.flush()?;
        }
        match reply.fault {
            Some((_, Fault::Cut)) => return Ok(false),
            Some((_, Fault::Stall)) => {
                self.pause(TIMEOUT);
                return Ok(false);
            }
            None => {}
        }
        if matches!(reply.framing, Framing::Chunked) {
            stream.write_all(b"0\r\n\r\n")?;
            stream.flush()?;
        }
        if let Some((bytes, due, sent)) = &reply.stray {
            due.wait();
            stream.write_all(bytes)?;
            stream.flush()?;
            sent.open();
        }
        Ok(!matches!(reply.framing, Framing::Close))
    }

    /// Waits, but not beyond the server's end.
    fn pause(&self, time: Duration) {
        if time.is_zero() {
            return;
        }
        let until = Instant::now() + time;
        let state = self.state.lock().unwrap();
        let left = until.saturating_duration_since(Instant::now());
        drop(self.changed.wait_timeout_while(state, left, |state| !state.is_ended).unwrap());
    }
}
