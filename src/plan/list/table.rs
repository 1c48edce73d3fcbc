//! Tables: CSV (RFC 4180) and TSV. A cell may hold several values, separated by `;`, as those of the European
//! Nucleotide Archive do.

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};

use super::checksum::{parse_digest, parse_named_digest};
use super::columns::{Columns, Field, FoundColumn};
use super::error::{Problem, bad_value};
use super::record::Record;
use super::reference::{assume_https, has_scheme, resolve};
use super::sink::Sink;
use crate::url::WebUrl;

/// A longer row is none: a quote is missing.
const MAX_ROW: usize = 1024 * 1024;

/// Parses a table row by row.
pub struct TableParser {
    reader: Option<Box<Reader>>,
    delimiter: Option<u8>,
    columns: Option<Columns>,
    /// The columns that are read, once they are known.
    found: Option<Vec<FoundColumn>>,
    /// The cells of a row that is not complete, one after another, and where each ends.
    text: Vec<u8>,
    text_length: usize,
    ends: Vec<usize>,
    cells: usize,
    /// The line in which that row begins.
    first: u32,
    is_broken: bool,
}

impl TableParser {
    /// Creates a parser. Without a delimiter, a tab in the first line makes it a TSV. Without columns, their names say
    /// what they are.
    pub fn new(delimiter: Option<u8>, columns: Option<Columns>) -> Self {
        let found = columns.as_ref().filter(|columns| !columns.have_names()).and_then(|columns| columns.find(&[]).ok());
        Self {
            reader: None,
            delimiter,
            columns,
            found,
            text: vec![0; 1024],
            text_length: 0,
            ends: vec![0; 64],
            cells: 0,
            first: 0,
            is_broken: false,
        }
    }

    pub fn push_line(&mut self, line: &[u8], number: u32, base: Option<&WebUrl>, sink: &mut Sink<'_>) {
        if self.text_length == 0 && self.cells == 0 {
            self.first = number;
        }
        if !line.is_empty() {
            self.read(line, base, sink);
        }
    }

    pub fn finish(&mut self, base: Option<&WebUrl>, sink: &mut Sink<'_>) {
        // No more input ends the last row.
        self.read(&[], base, sink);
    }

    fn read(&mut self, mut input: &[u8], base: Option<&WebUrl>, sink: &mut Sink<'_>) {
        let is_end = input.is_empty();
        while !self.is_broken {
            let delimiter = self.delimiter.unwrap_or_else(|| guess_delimiter(input));
            let reader = self.reader.get_or_insert_with(|| {
                Box::new(ReaderBuilder::new().delimiter(delimiter).quoting(delimiter != b'\t').build())
            });
            let (result, read, written, ended) =
                reader.read_record(input, &mut self.text[self.text_length..], &mut self.ends[self.cells..]);
            input = &input[read..];
            self.text_length += written;
            self.cells += ended;
            match result {
                ReadRecordResult::InputEmpty | ReadRecordResult::End => return,
                ReadRecordResult::OutputFull if self.text.len() >= MAX_ROW => {
                    self.is_broken = true;
                    sink.put(self.first, Err(Problem::new("the row has no end; is a quote missing?")));
                }
                ReadRecordResult::OutputFull => self.text.resize(self.text.len() * 2, 0),
                ReadRecordResult::OutputEndsFull => self.ends.resize(self.ends.len() * 2, 0),
                ReadRecordResult::Record => {
                    self.take_row(base, sink);
                    (self.text_length, self.cells) = (0, 0);
                    if input.is_empty() && !is_end {
                        return;
                    }
                }
            }
        }
    }

    fn take_row(&mut self, base: Option<&WebUrl>, sink: &mut Sink<'_>) {
        let (text, ends) = (&self.text[..self.text_length], &self.ends[..self.cells]);
        let starts = std::iter::once(0).chain(ends.iter().copied());
        let cells: Result<Vec<&str>, _> =
            starts.zip(ends).map(|(start, end)| std::str::from_utf8(&text[start..*end])).collect();
        let Ok(cells) = cells else {
            return sink.put(self.first, Err(Problem::new("the row is not UTF-8 text")));
        };
        match &self.found {
            Some(found) => put_row(&cells, found, self.first, base, sink),
            None => {
                let found = self
                    .columns
                    .as_ref()
                    .map_or_else(|| Columns::by_their_names(&cells), |columns| columns.find(&cells));
                match found {
                    Ok(found) => self.found = Some(found),
                    Err(missing) => {
                        self.is_broken = true;
                        let names = crate::text::safe(&cells.join(", ")).to_string();
                        let why = format!("is missing; the first line has {names}");
                        sink.put(self.first, Err(bad_value("the column", &missing, &why)));
                    }
                }
            }
        }
    }
}

impl std::fmt::Debug for TableParser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TableParser").field("columns", &self.columns).finish_non_exhaustive()
    }
}

/// Tells by the first line of a table what separates its cells. Spreadsheets use `;` where a comma is for decimals.
fn guess_delimiter(line: &[u8]) -> u8 {
    [b'\t', b',', b';'].into_iter().find(|separator| line.contains(separator)).unwrap_or(b',')
}

/// The values of one cell.
struct Values<'c> {
    column: &'c FoundColumn,
    values: Vec<&'c str>,
}

fn put_row(cells: &[&str], columns: &[FoundColumn], line: u32, base: Option<&WebUrl>, sink: &mut Sink<'_>) {
    if let Some(column) = columns.iter().find(|column| column.index >= cells.len()) {
        let problem = Problem::new(format!("the row has too few cells ({})", cells.len()));
        return sink.put(line, Err(in_column(column, problem)));
    }
    let cell = |column: &FoundColumn| cells.get(column.index).copied().unwrap_or_default().trim();
    let Some(url_column) = columns.iter().find(|column| column.field == Field::Url) else { return };
    let size = columns.iter().find(|column| column.field == Field::Size).map(cell);
    if cell(url_column).ends_with('/') && size == Some("0") {
        let message = "rows of directories (an empty file whose URL ends in a slash) are passed over";
        return sink.warn("directories", message);
    }
    let urls = split_urls(cell(url_column), base.is_some());
    if urls.is_empty() {
        let message = format!("rows without a value in column {} are passed over", crate::text::safe(&url_column.name));
        return sink.warn("rows without a URL", &message);
    }
    let others: Vec<Values<'_>> = columns
        .iter()
        .filter(|column| column.field != Field::Url && !cell(column).is_empty())
        .map(|column| split_values(column, cell(column), urls.len()))
        .collect();
    for (index, url) in urls.iter().enumerate() {
        let record = resolve_cell(url, base, sink).map_err(|problem| in_column(url_column, problem));
        let record = record.and_then(|url| {
            let mut record = Record { urls: vec![url], ..Record::default() };
            for other in &others {
                apply(&mut record, other, index, urls.len()).map_err(|problem| in_column(other.column, problem))?;
            }
            record.into_entry()
        });
        let is_bad = record.is_err();
        sink.put(line, record);
        if is_bad {
            return;
        }
    }
}

/// Splits a cell with URLs. A `;` may be a part of a URL: it separates only what looks like one.
fn split_urls(cell: &str, has_base: bool) -> Vec<&str> {
    let parts: Vec<&str> = cell.split(';').map(str::trim).filter(|part| !part.is_empty()).collect();
    let is_url = |part: &&str| has_scheme(part) || assume_https(part).is_some();
    let is_list = has_base && !has_scheme(cell) || parts.iter().all(is_url);
    if is_list || cell.is_empty() { parts } else { vec![cell] }
}

/// Splits a cell into values if there are several URLs. Texts keep a `;` that belongs to the only one.
fn split_values<'c>(column: &'c FoundColumn, cell: &'c str, urls: usize) -> Values<'c> {
    let is_text = matches!(column.field, Field::Out | Field::Header(_));
    let list = if is_text && urls == 1 { cell } else { cell.trim_end_matches(';') };
    let values = if urls > 1 { list.split(';').map(str::trim).collect() } else { vec![list] };
    Values { column, values }
}

fn resolve_cell(text: &str, base: Option<&WebUrl>, sink: &mut Sink<'_>) -> Result<WebUrl, Problem> {
    if !has_scheme(text)
        && base.is_none()
        && let Some(url) = assume_https(text)
    {
        let host = text.split('/').next().unwrap_or_default();
        sink.warn("URLs without a scheme", &format!("URLs without a scheme are taken as https, as in https://{host}"));
        return Ok(url);
    }
    resolve(text, base)
}

/// Applies the value of another column for the URL at `index`.
fn apply(
    record: &mut Record,
    Values { column, values }: &Values<'_>,
    index: usize,
    urls: usize,
) -> Result<(), Problem> {
    let value = match (&column.field, &values[..]) {
        // A header may be the same for all.
        (Field::Header(_), [value]) => value,
        (_, values) if values.len() == urls => values[index],
        (_, values) => {
            let (count, s) = (values.len(), if values.len() == 1 { "" } else { "s" });
            return Err(Problem::new(format!("{count} value{s} for {urls} URLs")));
        }
    };
    if value.is_empty() {
        return Ok(());
    }
    match &column.field {
        Field::Url => {}
        Field::Out => record.out = Some(value.to_owned()),
        Field::Size => {
            record.size = Some(value.parse().map_err(|_| bad_value("the size", value, "is not a number of bytes"))?);
        }
        Field::Digest(algorithm) => record.digests.push(parse_digest(*algorithm, value)?),
        Field::Checksum => record.digests.push(parse_named_digest(value)?),
        Field::Header(name) => record.add_header(&format!("{name}: {value}"))?,
    }
    Ok(())
}

fn in_column(column: &FoundColumn, problem: Problem) -> Problem {
    problem.prefixed(&format!("column {}: ", crate::text::safe(&column.name)))
}

#[cfg(test)]
mod tests {
    use crate::plan::list::ListSettings;
    use crate::plan::list::columns::Columns;
    use crate::plan::list::detect::Format;
    use crate::plan::list::testing::read;
    use crate::url::WebUrl;

    const MD5: &str = "d41d8cd98f00b204e9800998ecf8427e";

    fn table(columns: &str, base: Option<&str>, text: &str) -> Vec<String> {
        let columns = Some(Columns::parse([columns]).unwrap());
        read(text, ListSettings { columns, base: base.map(|base| WebUrl::parse(base).unwrap()), format: None })
    }

    #[test]
    fn paired_values_of_the_nucleotide_archive() {
        let text = format!(
            "run_accession\tfastq_ftp\tfastq_bytes\tfastq_md5\n\
             R1\tftp.sra.ebi.ac.uk/vol1/R1_1.gz;ftp.sra.ebi.ac.uk/vol1/R1_2.gz\t7;8\t{MD5};{MD5}\nR2\t\t\t\nR3\tftp.sra.ebi.ac.uk/vol1/R3.gz;\t9;\t{MD5};\n"
        );
        assert_eq!(
            table("url=fastq_ftp,md5=fastq_md5,size=fastq_bytes", None, &text),
            [
                "! list: URLs without a scheme are taken as https, as in https://ftp.sra.ebi.ac.uk".to_owned(),
                format!("2 https://ftp.sra.ebi.ac.uk/vol1/R1_1.gz 7 md5={MD5}"),
                format!("2 https://ftp.sra.ebi.ac.uk/vol1/R1_2.gz 8 md5={MD5}"),
                "! list: rows without a value in column fastq_ftp are passed over".to_owned(),
                format!("4 https://ftp.sra.ebi.ac.uk/vol1/R3.gz 9 md5={MD5}"),
            ]
        );
        assert_eq!(
            table("url=u,out=o", None, "u,o\nhttp://h/a;http://h/b,x\nhttp://h/c;v=1,x;y\n"),
            ["? list:2: column o: 1 value for 2 URLs", "3 http://h/c;v=1 -> x;y"]
        );
    }

    #[test]
    fn quoted_cells_may_hold_commas_quotes_and_line_ends() {
        assert_eq!(
            table(
                "url=2,out=1,header X-Key=3",
                None,
                "\"a, \"\"b\"\".csv\",http://h/a?x=1,k\r\n\r\n\"two\nlines\",\"http://h/b\",\nz,http://h/c,"
            ),
            ["1 http://h/a?x=1 -> a, _b_.csv X-Key", "3 http://h/b -> two_lines", "5 http://h/c -> z"]
        );
    }

    #[test]
    fn keys_of_an_inventory_are_below_the_base() {
        assert_eq!(
            table(
                "url=2,size=3",
                Some("https://b.s3.amazonaws.com/"),
                "\"b\",\"data/a%20b.csv\",\"12\"\n\"b\",\"k:1\",\"\"\n\"b\",\"data/\",\"0\"\n"
            ),
            [
                "1 https://b.s3.amazonaws.com/data/a%20b.csv 12",
                "2 https://b.s3.amazonaws.com/k:1",
                "! list: rows of directories (an empty file whose URL ends in a slash) are passed over"
            ]
        );
    }

    #[test]
    fn errors_name_the_column() {
        assert_eq!(
            table("url=u,size=s", None, "u,s\nnot a url,1\nhttp://h/a,big\nftp://h/a,1\nhttp://h/b\nhttp://h/b,\n"),
            [
                "? list:2: column u: 'not a url' is not an absolute URL".to_owned(),
                "? list:3: column s: the size 'big' is not a number of bytes".to_owned(),
                "? list:4: column u: 'ftp://h/a' is not an http or https URL; many FTP servers answer https as well: try https://h/a".to_owned(),
                "? list:5: column s: the row has too few cells (1)".to_owned(),
                "6 http://h/b".to_owned(),
            ]
        );
        assert_eq!(
            table("url=x", None, "u,s\n1,2\n"),
            ["? list:1: the column 'x' is missing; the first line has u, s"]
        );
        let endless = format!("u\n\"{}", "x\n".repeat(1024 * 1024));
        assert_eq!(table("url=u", None, &endless), ["? list:2: the row has no end; is a quote missing?"]);
    }

    #[test]
    fn names_of_columns_may_say_what_they_are() {
        let settings = || ListSettings { format: Some(Format::Csv), ..ListSettings::default() };
        assert_eq!(
            read(&format!("id,URL,sha1,MD5\n1,http://h/a,,{MD5}\n"), settings()),
            [format!("2 http://h/a md5={MD5}")]
        );
        assert_eq!(
            read("id,link\n", settings()),
            ["? list:1: the column 'url' is missing; the first line has id, link"]
        );
    }
}
