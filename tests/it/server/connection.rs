//! One connection of the server: reads requests and sends replies, just enough HTTP/1.1.

use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::TIMEOUT;
use super::reply::{Fault, Framing, Reply};
use super::request::Request;
use super::shared::{InFlight, Shared};

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

/// Serves a connection until it is closed.
pub fn serve(shared: &Shared, stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let stream: Box<dyn Stream> = match &shared.tls {
        None => Box::new(stream),
        Some(config) => {
            let tls = rustls::ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?;
            Box::new(rustls::StreamOwned::new(tls, stream))
        }
    };
    let mut stream = BufReader::new(stream);
    let mut on_connection = 0;
    while let Some((target, headers)) = read_head(&mut stream)? {
        let arrived =
            |number, in_flight| Request { target, headers, number, on_connection, at: Instant::now(), in_flight };
        let (request, in_flight) = shared.add_request(arrived);
        on_connection += 1;
        let reply = (shared.handler)(&request);
        if !send(shared, stream.get_mut(), &reply, in_flight)? {
            break;
        }
    }
    Ok(())
}

type Headers = Vec<(String, String)>;

/// Reads the target and the headers of the next request; `None` if the client has closed the connection.
fn read_head(stream: &mut BufReader<Box<dyn Stream>>) -> io::Result<Option<(String, Headers)>> {
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
            return Ok(Some((target, headers)));
        };
        headers.push((name.to_lowercase(), value.trim().to_owned()));
    }
}

/// Sends a reply; says whether the connection is kept.
///
/// The request counts as in flight until just before its last byte is sent: a client that has the last byte may send
/// the next request before this thread runs again.
fn send(shared: &Shared, stream: &mut dyn Stream, reply: &Reply, in_flight: InFlight<'_>) -> io::Result<bool> {
    let mut in_flight = Some(in_flight);
    if let Some(gate) = &reply.held_until {
        gate.wait();
    }
    shared.pause(reply.delay);
    if let Some(raw) = &reply.raw {
        drop(in_flight);
        stream.write_all(raw)?;
        stream.flush()?;
        return Ok(false);
    }
    let end = reply.fault.map_or(reply.body.len(), |(bytes, _)| bytes.min(reply.body.len()));
    if end == 0 && !matches!(reply.fault, Some((_, Fault::Stall))) {
        in_flight = None;
    }
    send_head(stream, reply)?;
    let longest = if reply.bucket.is_some() { 8 * 1024 } else { 64 * 1024 };
    let (piece, pause) = reply.drip.unwrap_or((longest, Duration::ZERO));
    let mut holds = reply.held_after.iter().peekable();
    let mut sent = 0;
    for piece in reply.body[..end].chunks(piece) {
        while let Some((_, gate)) = holds.next_if(|(bytes, _)| sent >= *bytes) {
            gate.wait();
        }
        sent += piece.len();
        shared.pause(pause);
        if let Some(bucket) = &reply.bucket {
            shared.pause(bucket.take(piece.len()));
        }
        if sent == end && !matches!(reply.fault, Some((_, Fault::Stall))) {
            in_flight = None;
        }
        send_piece(stream, reply.framing, piece)?;
        shared.state().body_bytes_sent += piece.len();
    }
    match reply.fault {
        Some((_, Fault::Cut)) => return Ok(false),
        Some((_, Fault::Stall)) => {
            shared.pause(TIMEOUT);
            return Ok(false);
        }
        None => {}
    }
    drop(in_flight);
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

fn send_head(stream: &mut dyn Stream, reply: &Reply) -> io::Result<()> {
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
    stream.flush()
}

fn send_piece(stream: &mut dyn Stream, framing: Framing, piece: &[u8]) -> io::Result<()> {
    match framing {
        Framing::Chunked => {
            write!(stream, "{:x}\r\n", piece.len())?;
            stream.write_all(piece)?;
            stream.write_all(b"\r\n")?;
        }
        Framing::Length | Framing::Close => stream.write_all(piece)?,
    }
    stream.flush()
}
