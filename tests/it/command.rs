//! Running the real `tdl`, and what it leaves behind.

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use crate::mode::Mode;
use crate::server::TIMEOUT;

/// The command that is tested.
pub const TDL: &str = env!("CARGO_BIN_EXE_tdl");

/// A `tdl` command line, with an empty directory to run in.
pub struct Tdl {
    command: Command,
    /// The working directory; `out` in it is the output directory.
    pub dir: tempfile::TempDir,
    input: Option<String>,
    stdin: Option<fs::File>,
    has_full_stdout: bool,
}

/// What a finished command left behind: its exit code and both streams.
#[derive(Debug)]
pub struct Output {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// `tdl fetch -o out`, ready for more arguments.
pub fn fetch() -> Tdl {
    Tdl::new(&["fetch", "-o", "out"])
}

/// The same in a given mode.
pub fn fetch_in(mode: Mode) -> Tdl {
    if mode.is_sequential() { fetch().arg("--sequential") } else { fetch() }
}

impl Tdl {
    pub fn new(arguments: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut command = Command::new(TDL);
        for variable in ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
            command.env_remove(variable);
        }
        command.args(arguments).current_dir(dir.path());
        Self { command, dir, input: None, stdin: None, has_full_stdout: false }
    }

    pub fn args<T: AsRef<str>>(mut self, arguments: impl IntoIterator<Item = T>) -> Self {
        self.command.args(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
        self
    }

    pub fn arg(self, argument: impl AsRef<str>) -> Self {
        self.args([argument])
    }

    pub fn envs<const N: usize>(mut self, variables: [(&str, &str); N]) -> Self {
        self.command.envs(variables);
        self
    }

    /// Runs it through another program, such as `strace`.
    #[cfg(unix)]
    pub fn under(mut self, program: &str) -> Self {
        let mut command = Command::new(program);
        command.arg(self.command.get_program()).args(self.command.get_args()).current_dir(self.dir.path());
        self.command = command;
        self
    }

    /// Arguments of the other program, before the command.
    #[cfg(unix)]
    pub fn prefix_args(mut self, arguments: &[&str]) -> Self {
        let mut command = Command::new(self.command.get_program());
        command.args(arguments).args(self.command.get_args()).current_dir(self.dir.path());
        self.command = command;
        self
    }

    /// Connects its standard output to a device that is full.
    #[cfg(target_os = "linux")]
    pub fn into_full_device(mut self) -> Self {
        self.has_full_stdout = true;
        self
    }

    /// Sets what it reads from standard input.
    pub fn input(mut self, text: &str) -> Self {
        self.input = Some(text.to_owned());
        self
    }

    /// Connects its standard input to a file or directory.
    #[cfg(unix)]
    pub fn stdin_from(mut self, path: &str) -> Self {
        self.stdin = Some(fs::File::open(path).unwrap());
        self
    }

    /// Creates a file in the working directory.
    pub fn file(self, name: &str, bytes: impl AsRef<[u8]>) -> Self {
        let path = self.dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
        self
    }

    /// Starts it, for tests that do something while it runs.
    pub fn spawn(&mut self) -> Child {
        self.command.stdin(match self.stdin.take() {
            Some(file) => file.into(),
            None if self.input.is_some() => Stdio::piped(),
            None => Stdio::null(),
        });
        let full = || fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        self.command.stdout(if self.has_full_stdout { full().into() } else { Stdio::piped() });
        let mut child = spawn(self.command.stderr(Stdio::piped()));
        if let Some(text) = &self.input {
            child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        }
        child
    }

    /// Starts it, and returns what its standard input is written to.
    pub fn spawn_with_stdin(&mut self) -> (Child, ChildStdin) {
        self.command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = spawn(self.command.stderr(Stdio::piped()));
        let stdin = child.stdin.take().unwrap();
        (child, stdin)
    }

    /// Runs it and waits for its end.
    pub fn run(&mut self) -> Output {
        self.spawn().into()
    }

    /// Runs `tdl fetch` with other arguments in the same directories and mode.
    pub fn rerun(&self, arguments: &[&str]) -> Output {
        self.respawn(&[], arguments).into()
    }

    /// Starts `tdl fetch` with other arguments in the same directories and mode.
    pub fn respawn(&self, urls: &[String], arguments: &[&str]) -> Child {
        let urls = urls.iter().map(String::as_str);
        self.respawn_under(&[TDL], &urls.chain(arguments.iter().copied()).collect::<Vec<_>>())
    }

    /// The same with a command line to which only `fetch` and the arguments are added: `["strace", "-f", TDL]`.
    pub fn respawn_under(&self, program: &[&str], arguments: &[&str]) -> Child {
        let mut command = Command::new(program[0]);
        command.args(&program[1..]).args(["fetch", "-o", "out"]).args(arguments).current_dir(self.dir.path());
        if self.command.get_args().any(|argument| argument == "--sequential") {
            command.arg("--sequential");
        }
        spawn(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()))
    }

    /// The output directory.
    pub fn out(&self) -> PathBuf {
        self.dir.path().join("out")
    }

    /// The content of a file in the output directory.
    pub fn read(&self, name: &str) -> Vec<u8> {
        let path = self.out().join(name);
        fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// The names in the output directory, sorted.
    pub fn names(&self) -> Vec<String> {
        names(&self.out())
    }

    /// The names in the output directory but for part files and sidecars.
    pub fn final_names(&self) -> Vec<String> {
        self.names().into_iter().filter(|name| !name.contains(".part")).collect()
    }
}

/// Starts a command with the default disposition of each signal that a test may send.
///
/// An ignored signal stays ignored across exec, and a shell starts what it runs in the background with SIGINT ignored,
/// `nohup` with SIGHUP: without this, no signal would end a `tdl` that such a `cargo test` starts.
fn spawn(command: &mut Command) -> Child {
    #[cfg(unix)]
    {
        use std::os::unix::process::CommandExt as _;

        let reset = || {
            for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM] {
                #[expect(unsafe_code, reason = "no safe crate sets a default disposition")]
                // SAFETY: signal(2) is async-signal-safe, and SIG_DFL runs no code of ours.
                unsafe {
                    libc::signal(signal, libc::SIG_DFL);
                }
            }
            Ok(())
        };
        #[expect(unsafe_code, reason = "the disposition is set between fork and exec")]
        // SAFETY: The closure neither allocates nor takes a lock.
        unsafe {
            command.pre_exec(reset);
        }
    }
    command.spawn().unwrap()
}

impl From<Child> for Output {
    fn from(child: Child) -> Self {
        let output = child.wait_with_output().unwrap();
        // Windows writes paths with backslashes, and JSON doubles these.
        let text = |bytes| {
            let text = String::from_utf8(bytes).expect("output is UTF-8");
            text.replace("out\\\\", "out/").replace("out\\", "out/")
        };
        Self { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

impl Output {
    /// Asserts the exit code; if it is another, the panic shows both streams.
    #[track_caller]
    pub fn assert_code(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }
}

/// The names in a directory, sorted; none if it is missing.
pub fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// How many bytes have been written to a part file, which may have its full length from the start.
pub fn bytes_written(part: &Path) -> usize {
    let bytes = fs::read(part).unwrap_or_default();
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}

/// Pseudo-random bytes, other ones for each seed.
pub fn content(seed: usize, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    fastrand::Rng::with_seed(seed as u64).fill(&mut bytes);
    bytes
}

/// Reads standard error until it contains a text, and returns what was read. The rest is left to [`Output`].
#[track_caller]
pub fn wait_for_stderr(child: &mut Child, text: &str) -> String {
    let mut stderr = child.stderr.take().unwrap();
    let (mut shown, mut buffer) = (Vec::new(), [0; 4096]);
    while !String::from_utf8_lossy(&shown).contains(text) {
        let count = stderr.read(&mut buffer).unwrap();
        assert!(count > 0, "{text:?} is not in {}", String::from_utf8_lossy(&shown));
        shown.extend_from_slice(&buffer[..count]);
    }
    child.stderr = Some(stderr);
    String::from_utf8(shown).unwrap()
}

/// The process that `strace` runs and traces, once it is `tdl`.
#[cfg(target_os = "linux")]
pub fn traced_process(strace: &Child) -> Option<rustix::process::Pid> {
    let children = format!("/proc/{0}/task/{0}/children", strace.id());
    let pid = fs::read_to_string(children).ok()?.split_whitespace().next()?.parse().ok()?;
    // Until it execs, it is a second strace.
    let is_tdl = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?.trim() == "tdl";
    is_tdl.then(|| rustix::process::Pid::from_raw(pid)).flatten()
}

/// Waits until a condition holds.
#[track_caller]
pub fn wait_for(mut condition: impl FnMut() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < TIMEOUT, "the condition did not hold within {TIMEOUT:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
