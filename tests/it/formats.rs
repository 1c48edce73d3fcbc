//! Each command of `docs/lists.md` on its example in `examples/lists`, against a server.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use crate::command::{Tdl, fetch};
use crate::server::{Reply, Server};

const DOCUMENT: &str = include_str!("../../docs/lists.md");

/// The hosts of the examples. The files on them have their own paths as content, which is what the digests and sizes of
/// the examples are about, and what [`Server::echo`] sends.
const HOSTS: [&str; 5] = [
    "https://example.org",
    "https://mirror.example.net",
    "https://data.commoncrawl.org",
    "https://example-bucket.s3.amazonaws.com",
    "ftp.sra.ebi.ac.uk",
];

/// Puts the server in the place of every host of the examples.
fn localized(text: &str, server: &Server) -> String {
    HOSTS.iter().fold(text.to_owned(), |text, host| text.replace(host, &server.url("")))
}

fn example(name: &str) -> String {
    fs::read_to_string(format!("{}/examples/lists/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// Runs a command of the document in a directory with its example, and checks that each of `files` has its path as
/// content, and that there are no others.
#[track_caller]
fn assert_fetches(command: &str, name: &str, files: &[(&str, &str)]) -> Server {
    assert!(DOCUMENT.contains(&format!("\n{command}\n")), "docs/lists.md lacks {command}");
    let list = example(name);
    assert!(DOCUMENT.contains(&list), "docs/lists.md does not show {name}");
    let server = Server::echo();
    let mut tdl = ready(command, &server).file(name, localized(&list, &server));
    tdl.run().assert_code(0);
    assert_files(&tdl, files);
    server
}

/// A command of the document, which begins with `tdl` and has no quotes.
fn ready(command: &str, server: &Server) -> Tdl {
    let command = localized(command, server).replace("-o downloads", "-o out");
    Tdl::new(&command.split_whitespace().skip(1).collect::<Vec<_>>())
}

#[track_caller]
fn assert_files(tdl: &Tdl, files: &[(&str, &str)]) {
    for (name, content) in files {
        assert_eq!(String::from_utf8(tdl.read(name)).unwrap(), *content, "{name}");
    }
    assert_eq!(count_files(&tdl.out()), files.len());
}

fn count_files(dir: &Path) -> usize {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| if path.is_dir() { count_files(&path) } else { 1 }).sum()
}

#[test]
fn urls() {
    assert_fetches(
        "tdl fetch -i urls.txt -o downloads",
        "urls.txt",
        &[
            ("2026-01.pdf", "/papers/2026-01.pdf"),
            ("2026-02.pdf", "/papers/2026-02.pdf"),
            ("table@year=2025.csv", "/data/table.csv?year=2025"),
            ("table@year=2026.csv", "/data/table.csv?year=2026"),
        ],
    );
}

#[test]
fn urls_with_names() {
    assert_fetches(
        "tdl fetch -i named.txt -o downloads",
        "named.txt",
        &[
            ("survey/2026.csv", "/download?id=17"),
            ("survey/code book.pdf", "/download?id=18"),
            ("images/disk.iso", "/pub/disk.iso"),
        ],
    );
}

#[test]
fn input_files_of_aria2() {
    let server = assert_fetches(
        "tdl fetch -i aria2.txt -o downloads",
        "aria2.txt",
        &[("models/model-v2.bin", "/pub/model.bin"), ("notes.txt", "/api/notes.txt")],
    );
    let requests = server.requests();
    let notes = requests.iter().find(|request| request.target == "/api/notes.txt").unwrap();
    assert_eq!((notes.header("x-api-key"), notes.header("user-agent")), (Some("1234"), Some("lab/1.0")));
    let model = requests.iter().find(|request| request.target == "/pub/model.bin").unwrap();
    assert_eq!(model.header("x-api-key"), None);
}

#[test]
fn checksum_files() {
    assert_fetches(
        "tdl fetch -i sha256sums.txt --base https://example.org/v1.2/ -o downloads",
        "sha256sums.txt",
        &[
            ("tool-linux.tar.gz", "/v1.2/tool-linux.tar.gz"),
            ("tool-macos.tar.gz", "/v1.2/tool-macos.tar.gz"),
            ("docs/manual.pdf", "/v1.2/docs/manual.pdf"),
            ("extra.bin", "/other/extra.bin"),
        ],
    );
}

#[test]
fn json_lines() {
    let server = assert_fetches(
        "tdl fetch -i files.jsonl -o downloads",
        "files.jsonl",
        &[("raw/plate 1.tif", "/api/files/1"), ("raw/plate 2.tif", "/api/files/2"), ("readme.txt", "/api/readme.txt")],
    );
    let keys = server.requests().into_iter().filter(|request| request.header("x-api-key").is_some());
    assert_eq!(keys.map(|request| request.target).collect::<Vec<_>>(), ["/api/files/2"]);
}

#[test]
fn json_arrays() {
    assert_fetches(
        "tdl fetch -i zenodo.json -o downloads",
        "zenodo.json",
        &[
            ("samples.csv", "/api/records/1234567/files/samples.csv/content"),
            ("images.zip", "/api/records/1234567/files/images.zip/content"),
        ],
    );
}

#[test]
fn run_tables_of_the_nucleotide_archive() {
    assert_fetches(
        "tdl fetch -i ena.tsv --column url=fastq_ftp,md5=fastq_md5,size=fastq_bytes -o downloads",
        "ena.tsv",
        &[
            ("ERR000589_1.fastq.gz", "/vol1/fastq/ERR000/ERR000589/ERR000589_1.fastq.gz"),
            ("ERR000589_2.fastq.gz", "/vol1/fastq/ERR000/ERR000589/ERR000589_2.fastq.gz"),
            ("ERR000590.fastq.gz", "/vol1/fastq/ERR000/ERR000590/ERR000590.fastq.gz"),
        ],
    );
}

#[test]
fn inventories_of_s3() {
    assert_fetches(
        "tdl fetch -i inventory.csv --column url=2,size=3 --base https://example-bucket.s3.amazonaws.com/ --layout path -o downloads",
        "inventory.csv",
        &[
            ("data/2026/part-0000.csv.gz", "/data/2026/part-0000.csv.gz"),
            ("data/2026/part 0001.csv.gz", "/data/2026/part%200001.csv.gz"),
            ("index.json", "/index.json"),
        ],
    );
}

#[test]
fn metalinks() {
    assert_fetches(
        "tdl fetch -i release.meta4 -o downloads",
        "release.meta4",
        &[("images/disk.iso", "/pub/disk.iso"), ("images/disk.txt", "/pub/disk.txt")],
    );
}

const WET: [(&str, &str); 2] = [
    (
        "CC-MAIN-20260112000000-20260112030000-00000.warc.wet.gz",
        "/crawl-data/CC-MAIN-2026-04/segments/1768220000000.0/wet/CC-MAIN-20260112000000-20260112030000-00000.warc.wet.gz",
    ),
    (
        "CC-MAIN-20260112000000-20260112030000-00001.warc.wet.gz",
        "/crawl-data/CC-MAIN-2026-04/segments/1768220000000.1/wet/CC-MAIN-20260112000000-20260112030000-00001.warc.wet.gz",
    ),
];

#[test]
fn relative_paths() {
    assert_fetches("tdl fetch -i wet.paths --base https://data.commoncrawl.org/ -o downloads", "wet.paths", &WET);
}

#[test]
fn a_compressed_list_on_a_server() {
    let command = "tdl fetch -i https://data.commoncrawl.org/crawl-data/CC-MAIN-2026-04/wet.paths.gz --base https://data.commoncrawl.org/ -o downloads";
    assert!(DOCUMENT.contains(&format!("\n{command}\n")));
    let list = gzip(&example("wet.paths"));
    let server = Server::start(move |request| match request.target.as_str() {
        "/crawl-data/CC-MAIN-2026-04/wet.paths.gz" => Reply::ok(list.clone()),
        target => Reply::ok(target),
    });
    let mut tdl = ready(command, &server);
    tdl.run().assert_code(0);
    assert_files(&tdl, &WET);
}

#[test]
fn a_compressed_list_in_a_file() {
    let server = Server::echo();
    let list = gzip(&localized(&example("urls.txt"), &server));
    let mut tdl = fetch().args(["-i", "urls.txt.gz"]).file("urls.txt.gz", list);
    tdl.run().assert_code(0);
    assert_eq!(tdl.names().len(), 4);
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}
