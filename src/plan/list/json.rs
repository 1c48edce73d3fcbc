//! JSON: one object per file, as JSON Lines or in an array. A string stands for an object with that URL.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::checksum::{parse_digest, parse_named_digest};
use super::error::{Problem, bad_value};
use super::record::Record;
use super::reference::resolve;
use super::sink::Sink;
use crate::digest::Algorithm;
use crate::url::WebUrl;

/// A longer object is not one of a list.
const MAX_OBJECT: usize = 1024 * 1024;

/// Parses JSON Lines. An object may take several lines, as `jq` writes them.
#[derive(Debug, Default)]
pub struct JsonLinesParser {
    /// The lines of an object that is not complete, and the number of the first.
    pending: String,
    first: u32,
}

impl JsonLinesParser {
    pub fn push_line(&mut self, line: &str, number: u32, base: Option<&WebUrl>, sink: &mut Sink<'_>) {
        let is_first = self.pending.is_empty();
        if is_first {
            if line.trim().is_empty() {
                return;
            }
            self.first = number;
        }
        self.pending.push_str(line.trim_end_matches(['\n', '\r']));
        // Only a brace can end an object. To parse it again after each of its lines would take quadratic time.
        if !is_first && !line.trim_end().ends_with('}') && self.pending.len() <= MAX_OBJECT {
            return self.pending.push('\n');
        }
        match serde_json::from_str::<Value>(&self.pending) {
            Err(error) if error.is_eof() && self.pending.len() <= MAX_OBJECT => self.pending.push('\n'),
            parsed => {
                self.pending.clear();
                sink.put(
                    self.first,
                    parsed
                        .map_err(|error| syntax_error(&error))
                        .and_then(|value| to_record(value, base))
                        .and_then(Record::into_entry),
                );
            }
        }
    }

    pub fn finish(&mut self, sink: &mut Sink<'_>) {
        if !self.pending.is_empty() {
            self.pending.clear();
            sink.put(self.first, Err(Problem::new("the object has no end")));
        }
    }
}

/// Parses a JSON array of objects.
pub fn parse_array(text: &str, base: Option<&WebUrl>, sink: &mut Sink<'_>) {
    let values: Vec<&RawValue> = match serde_json::from_str(text) {
        Ok(values) => values,
        Err(error) => {
            let line = u32::try_from(error.line()).unwrap_or(u32::MAX);
            return sink.put(line, Err(syntax_error(&error).at_column(error.column())));
        }
    };
    let (mut line, mut counted) = (1, 0);
    for value in values {
        // Where the value is in the text, of which it is a part.
        let start = value.get().as_ptr() as usize - text.as_ptr() as usize;
        line += u32::try_from(text[counted..start].matches('\n').count()).unwrap_or(u32::MAX);
        counted = start;
        let record = serde_json::from_str(value.get()).map_err(|error| syntax_error(&error));
        sink.put(line, record.and_then(|value| to_record(value, base)).and_then(Record::into_entry));
    }
}

/// What one object says. Other fields are passed over.
#[derive(Deserialize)]
struct Object {
    url: Option<String>,
    urls: Option<Vec<String>>,
    out: Option<String>,
    size: Option<Value>,
    md5: Option<String>,
    sha1: Option<String>,
    sha224: Option<String>,
    sha256: Option<String>,
    sha384: Option<String>,
    sha512: Option<String>,
    checksum: Option<String>,
    headers: Option<serde_json::Map<String, Value>>,
}

fn to_record(value: Value, base: Option<&WebUrl>) -> Result<Record, Problem> {
    let object = match value {
        Value::String(url) => return Record::from_url(&url, base),
        value @ Value::Object(_) => Object::deserialize(value).map_err(|error| syntax_error(&error))?,
        _ => return Err(Problem::new("neither an object nor a string")),
    };
    let mut record = Record { out: object.out, ..Record::default() };
    for url in object.url.iter().chain(object.urls.iter().flatten()) {
        let url = resolve(url, base)?;
        if !record.urls.contains(&url) {
            record.urls.push(url);
        }
    }
    if record.urls.is_empty() {
        return Err(Problem::new("the object has no field url or urls"));
    }
    record.size = object.size.as_ref().map(to_size).transpose()?.flatten();
    let fields = [
        (Algorithm::Md5, object.md5),
        (Algorithm::Sha1, object.sha1),
        (Algorithm::Sha224, object.sha224),
        (Algorithm::Sha256, object.sha256),
        (Algorithm::Sha384, object.sha384),
        (Algorithm::Sha512, object.sha512),
    ];
    for (algorithm, hex) in fields {
        if let Some(hex) = hex.filter(|hex| !hex.is_empty()) {
            record.digests.push(parse_digest(algorithm, &hex)?);
        }
    }
    if let Some(checksum) = object.checksum.filter(|checksum| !checksum.is_empty()) {
        let digest = parse_named_digest(&checksum)?;
        if !record.digests.contains(&digest) {
            record.digests.push(digest);
        }
    }
    for (name, value) in object.headers.iter().flatten() {
        match value {
            Value::String(value) => record.add_header(&format!("{name}: {value}"))?,
            Value::Null => {}
            value => record.add_header(&format!("{name}: {value}"))?,
        }
    }
    Ok(record)
}

/// A size is a number, but some services write it as text.
fn to_size(value: &Value) -> Result<Option<u64>, Problem> {
    let size = match value {
        Value::Null => return Ok(None),
        Value::String(text) if text.is_empty() => return Ok(None),
        Value::String(text) => text.parse().ok(),
        value => value.as_u64(),
    };
    size.map(Some).ok_or_else(|| bad_value("the size", &value.to_string(), "is not a number of bytes"))
}

fn syntax_error(error: &serde_json::Error) -> Problem {
    // The text has the place at its end, counted from the start of the object.
    let text = error.to_string();
    let text = text.split(" at line ").next().unwrap_or_default();
    Problem::new(format!("this is not valid JSON: {}", crate::text::safe(text))).at_column(error.column())
}

#[cfg(test)]
mod tests {
    use crate::plan::list::testing::{check, messages};

    const MD5: &str = "d41d8cd98f00b204e9800998ecf8427e";

    #[test]
    fn an_object_says_all_that_an_entry_has() {
        check(
            &format!(
                "{{\"url\":\"http://h/a\",\"urls\":[\"http://h/a\",\"http://m/a\"],\"out\":\"d/x\",\"size\":7,\"md5\":\"{MD5}\",\
                 \"checksum\":\"md5:{MD5}\",\"headers\":{{\"X-Key\":\"1\"}},\"other\":[1]}}\n\n{{\"url\":\"rel\",\"size\":\"8\",\"sha256\":null,\"out\":null}}\n\"http://h/b\"\n"
            ),
            &[&format!("1 http://h/a http://m/a -> d/x 7 md5={MD5} X-Key"), "3 http://base/rel 8", "4 http://h/b"],
        );
    }

    #[test]
    fn objects_may_take_several_lines() {
        check("{\n  \"url\": \"http://h/a\"\n}\n{\n  \"url\": \"http://h/b\"\n}\n", &["1 http://h/a", "4 http://h/b"]);
    }

    #[test]
    fn an_object_of_many_lines_is_not_parsed_after_each() {
        let text = format!("{{\"url\":\"http://h/a\",{}\"size\":7}}\n\"http://h/b\"\n", "\n".repeat(500_000));
        check(&text, &["1 http://h/a 7", "500002 http://h/b"]);
    }

    #[test]
    fn an_array_is_read_whole() {
        check(
            "[\n {\"url\": \"http://h/a\"},\n\n {\"url\": \"http://h/b\",\n  \"size\": 1},\"http://h/c\"]",
            &["2 http://h/a", "4 http://h/b 1", "5 http://h/c"],
        );
        check("[]", &[]);
        assert_eq!(messages("[\n{\"url\": 1 2}]"), ["list:2:11: this is not valid JSON: expected `,` or `}`"]);
    }

    #[test]
    fn each_error_names_its_line() {
        assert_eq!(
            messages(
                "{\"url\":\"http://h/a\"}\n{\"url\":1}\n{\"out\":\"x\"}\n[1]\n{\"url\":\"http://h/a\",\"size\":-1}\n{\"url\":\"http://h/a\",\"sha256\":\"00\"}\n{\"url\":\"http://h/a\",\"out\":\"/x\"}\n{\"url\":\"http://h/a\"} x\n{\"url\":"
            ),
            [
                "list:2: this is not valid JSON: invalid type: integer `1`, expected a string",
                "list:3: the object has no field url or urls",
                "list:4: neither an object nor a string",
                "list:5: the size '-1' is not a number of bytes",
                "list:6: the checksum '00' is not one of sha-256, which has 64 hexadecimal digits",
                "list:7: the path '/x' is an absolute path; paths of a list are below the output directory",
                "list:8:22: this is not valid JSON: trailing characters",
                "list:9: the object has no end",
            ]
        );
    }
}
