//! What the server sends: a response, with every fault that a test can give it.

use std::sync::Arc;
use std::time::Duration;

use super::bucket::Bucket;
use super::gate::Gate;
use super::request::Request;

/// A response: whole and correct at first, then made faulty.
#[derive(Debug, Clone)]
pub struct Reply {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Arc<[u8]>,
    pub(super) framing: Framing,
    pub(super) delay: Duration,
    /// The fault, and the number of body bytes before it.
    pub(super) fault: Option<(usize, Fault)>,
    /// Sent in place of everything else.
    pub(super) raw: Option<Vec<u8>>,
    /// The size of the pieces that the body is sent in, and the pause before each.
    pub(super) drip: Option<(usize, Duration)>,
    pub(super) bucket: Option<Arc<Bucket>>,
    pub(super) held_until: Option<Arc<Gate>>,
    /// Numbers of body bytes, in ascending order, after each of which nothing is sent until its gate is open.
    pub(super) held_after: Vec<(usize, Arc<Gate>)>,
    /// Bytes that belong to no response, sent once the first gate is open. Then the second is opened.
    pub(super) stray: Option<(Vec<u8>, Arc<Gate>, Arc<Gate>)>,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Framing {
    Length,
    Chunked,
    Close,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Fault {
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
            bucket: None,
            held_until: None,
            held_after: Vec::new(),
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

    /// A file from a correct server: the whole, or the requested range if `If-Range` names its tag.
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

    /// A 206 of the bytes from an offset to the end.
    pub fn rest(body: &[u8], from: usize) -> Self {
        Self::part(body, from, body.len())
    }

    /// A 206 of the bytes from one offset up to another.
    pub fn part(body: &[u8], from: usize, to: usize) -> Self {
        let range = format!("bytes {from}-{}/{}", to - 1, body.len());
        Self::partial(&body[from..to]).header("Content-Range", range)
    }

    /// Bytes in place of a response, and then the end of the connection.
    pub fn raw(bytes: impl Into<Vec<u8>>) -> Self {
        Self { raw: Some(bytes.into()), ..Self::ok("") }
    }

    /// A 206 without a `Content-Range`.
    pub fn partial(body: impl Into<Vec<u8>>) -> Self {
        Self { status: 206, ..Self::ok(body) }
    }

    /// Removes a header.
    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(given, _)| given != name);
        self
    }

    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// Waits before the first byte of the response.
    pub fn after(self, delay: Duration) -> Self {
        Self { delay, ..self }
    }

    /// Waits until the gate is open before the first byte of the response.
    pub fn held_until(self, gate: &Arc<Gate>) -> Self {
        Self { held_until: Some(Arc::clone(gate)), ..self }
    }

    /// Sends this many bytes of the body, then nothing until the gate is open. May be called again for a later offset.
    pub fn held_after(mut self, bytes: usize, gate: &Arc<Gate>) -> Self {
        self.held_after.push((bytes, Arc::clone(gate)));
        self
    }

    /// Sends bytes after the body once `due` is open, and then opens `sent`.
    pub fn followed_by(self, bytes: &str, due: &Arc<Gate>, sent: &Arc<Gate>) -> Self {
        Self { stray: Some((bytes.into(), Arc::clone(due), Arc::clone(sent))), ..self }
    }

    /// Closes the connection after this many bytes of the body.
    pub fn cut_after(self, bytes: usize) -> Self {
        Self { fault: Some((bytes, Fault::Cut)), ..self }
    }

    /// Sends this many bytes of the body, then nothing more, and keeps the connection open.
    pub fn stall_after(self, bytes: usize) -> Self {
        Self { fault: Some((bytes, Fault::Stall)), ..self }
    }

    pub fn chunked(self) -> Self {
        Self { framing: Framing::Chunked, ..self }
    }

    /// Sends neither a length nor chunks: the body ends with the connection.
    pub fn until_close(self) -> Self {
        Self { framing: Framing::Close, ..self }
    }

    /// Sends the body in pieces, with a pause before each.
    pub fn drip(self, piece: usize, pause: Duration) -> Self {
        Self { drip: Some((piece, pause)), ..self }
    }

    /// Sends the body no faster than a limit allows that other responses share.
    pub fn through(self, bucket: &Arc<Bucket>) -> Self {
        Self { bucket: Some(Arc::clone(bucket)), ..self }
    }
}
