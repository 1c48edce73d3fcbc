//! Shows tdl at work without a network: `cargo run --release --example demo`.
//!
//! A small server on loopback serves a dozen files, each after a delay, as a distant server would. The real command
//! downloads them with `--compare`: first sequentially, then concurrently.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

/// The delay before each response.
const DELAY: Duration = Duration::from_millis(150);

const FILES: usize = 12;

fn main() -> io::Result<ExitCode> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(|| serve(stream));
        }
    });

    let dir = tempfile::tempdir()?;
    let list = dir.path().join("urls.txt");
    let urls: String = (1..=FILES).map(|number| format!("http://{address}/file-{number:02}.bin\n")).collect();
    std::fs::write(&list, urls)?;

    let out = dir.path().join("files");
    let arguments = ["tdl", "fetch", "-i", &list.to_string_lossy(), "-o", &out.to_string_lossy(), "--compare"]
        .map(ToOwned::to_owned);
    let mut stdout = io::stdout();
    writeln!(
        stdout,
        "{FILES} files of up to 3 MiB, each served after {} ms\n$ {}\n",
        DELAY.as_millis(),
        arguments.join(" ")
    )?;
    Ok(tdl::cli::run_command(arguments))
}

/// Answers the requests of one connection. `/file-07.bin` is 7/4 MiB long.
fn serve(stream: TcpStream) -> io::Result<()> {
    let mut requests = BufReader::new(stream.try_clone()?);
    let mut responses = stream;
    loop {
        let mut first = String::new();
        if requests.read_line(&mut first)? == 0 {
            return Ok(());
        }
        // Skip the headers, up to the empty line.
        while requests.by_ref().lines().next().transpose()?.is_some_and(|line| !line.is_empty()) {}
        let number: usize = first.split(['-', '.']).nth(1).and_then(|digits| digits.parse().ok()).unwrap_or(1);
        thread::sleep(DELAY);
        let body = vec![u8::try_from(number % 256).unwrap_or_default(); number * 256 * 1024];
        write!(responses, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len())?;
        responses.write_all(&body)?;
    }
}
