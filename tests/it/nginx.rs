//! Downloads from a real nginx on loopback. Ignored by default, as it may be missing: install Debian's `nginx-light`
//! and run `cargo test -- --include-ignored`.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::command::{content, fetch};
use crate::server::TIMEOUT;

/// An nginx that serves a directory until it is dropped.
struct Nginx {
    process: Child,
    port: u16,
    dir: tempfile::TempDir,
}

impl Nginx {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let root = dir.path().display();
        let config = format!(
            "daemon off; master_process off; pid {root}/pid; error_log {root}/error.log;
             events {{ worker_connections 1024; }}
             http {{
               access_log off; sendfile on;
               client_body_temp_path {root}/body; proxy_temp_path {root}/proxy; fastcgi_temp_path {root}/fastcgi;
               uwsgi_temp_path {root}/uwsgi; scgi_temp_path {root}/scgi;
               server {{
                 listen 127.0.0.1:{port}; root {root}/files;
                 location /slow/ {{ alias {root}/files/; limit_rate 2m; }}
               }}
             }}"
        );
        fs::write(dir.path().join("nginx.conf"), config).unwrap();
        fs::create_dir(dir.path().join("files")).unwrap();
        let process = Command::new("nginx")
            .arg("-p")
            .arg(dir.path())
            .arg("-c")
            .arg(dir.path().join("nginx.conf"))
            .stderr(Stdio::null())
            .spawn()
            .expect("nginx is installed (nginx-light)");
        let start = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(start.elapsed() < TIMEOUT, "nginx does not listen");
            std::thread::sleep(Duration::from_millis(10));
        }
        Self { process, port, dir }
    }

    /// Creates files of `content(number, length)` and returns a list of their URLs.
    fn list(&self, count: usize, length: usize) -> String {
        (0..count)
            .map(|number| {
                fs::write(self.dir.path().join(format!("files/{number}.bin")), content(number, length)).unwrap();
                format!("http://127.0.0.1:{}/{number}.bin\n", self.port)
            })
            .collect()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn assert_arrives_whole(count: usize, length: usize) {
    let nginx = Nginx::start();
    let list = nginx.list(count, length);
    for arguments in [&[][..], &["-j", "3"], &["--sequential"]] {
        let mut tdl = fetch().args(["-i", "urls.txt"]).args(arguments).file("urls.txt", &list);
        let output = tdl.run().assert_code(0);
        assert!(
            output.stdout.starts_with(&format!("{count} of {count} files are there: all fetched\n")),
            "{}",
            output.stdout
        );
        assert_eq!(tdl.names().len(), count);
        for number in 0..count {
            assert!(tdl.read(&format!("{number}.bin")) == content(number, length), "{arguments:?}: {number}");
        }
    }
}

#[test]
#[ignore = "needs nginx"]
fn two_thousand_files_of_64_kib_arrive() {
    assert_arrives_whole(2000, 64 * 1024);
}

#[test]
#[ignore = "needs nginx"]
fn slow_files_are_split() {
    const LENGTH: usize = 12 * 1024 * 1024;
    let nginx = Nginx::start();
    let list = nginx.list(2, LENGTH).replace(&format!(":{}/", nginx.port), &format!(":{}/slow/", nginx.port));
    let mut tdl = fetch().args(["-i", "urls.txt", "-v"]).file("urls.txt", &list);
    let output = tdl.run().assert_code(0);
    for number in 0..2 {
        let further = format!("/slow/{number}.bin: opened another connection at byte ");
        assert!(output.stderr.contains(&further), "{}", output.stderr);
        assert!(tdl.read(&format!("{number}.bin")) == content(number, LENGTH));
    }
    assert!(!output.stderr.contains("ended early"), "{}", output.stderr);
}

#[test]
#[ignore = "needs nginx"]
fn forty_eight_files_of_16_mib_arrive() {
    assert_arrives_whole(48, 16 * 1024 * 1024);
}
