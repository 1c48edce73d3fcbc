//! A lower bound for any downloader on this machine: `bare_sockets LIST DIRECTORY THREADS` downloads http URLs and checks
//! nothing.
//!
//! Each thread has one connection, takes the next URL, and writes the body to a file as it arrives. `peers.py` compiles
//! this with `rustc -O` and measures it alongside the real tools.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{env, fs, thread};

const BUFFER: usize = 256 * 1024;

fn main() {
    let arguments: Vec<String> = env::args().collect();
    let [_, list, directory, threads] = arguments.as_slice() else { panic!("bare_sockets LIST DIRECTORY THREADS") };
    let list = fs::read_to_string(list).expect("the list");
    let urls: Vec<&str> = list.lines().collect();
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..threads.parse().expect("a number of threads") {
            scope.spawn(|| fetch_from(&urls, &next, Path::new(directory)));
        }
    });
}

/// Fetches URLs of the list until none is left.
fn fetch_from(urls: &[&str], next: &AtomicUsize, directory: &Path) {
    let mut buffer = vec![0; BUFFER];
    let mut idle: Option<TcpStream> = None;
    while let Some(url) = urls.get(next.fetch_add(1, Ordering::Relaxed)) {
        let (host, path) = url.strip_prefix("http://").and_then(|rest| rest.split_once('/')).expect("an http URL");
        let (_, name) = url.rsplit_once('/').expect("a file's name");
        let mut stream = idle.take().unwrap_or_else(|| connect(host));
        stream.write_all(format!("GET /{path} HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes()).expect("a request");

        let mut filled = 0;
        let body = loop {
            filled += read(&mut stream, &mut buffer[filled..]);
            if let Some(end) = buffer[..filled].windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break end + 4;
            }
        };
        let head = str::from_utf8(&buffer[..body]).expect("a head").to_ascii_lowercase();
        assert!(head.starts_with("http/1.1 200 "), "{head}");
        let (_, length) = head.split_once("\r\ncontent-length: ").expect("a length");
        let length: usize = length.lines().next().expect("a length").parse().expect("a length");

        let mut file = File::create(directory.join(name)).expect("a file");
        file.write_all(&buffer[body..filled]).expect("a written body");
        let mut left = length - (filled - body);
        while left > 0 {
            let wanted = left.min(BUFFER);
            let count = read(&mut stream, &mut buffer[..wanted]);
            file.write_all(&buffer[..count]).expect("a written body");
            left -= count;
        }
        if !head.contains("\r\nconnection: close") {
            idle = Some(stream);
        }
    }
}

fn connect(host: &str) -> TcpStream {
    let stream = TcpStream::connect(host).expect("a connection");
    stream.set_nodelay(true).expect("a socket without delay");
    stream
}

fn read(stream: &mut TcpStream, buffer: &mut [u8]) -> usize {
    let count = stream.read(buffer).expect("a response");
    assert!(count > 0, "the connection ended too early");
    count
}
