//! The `Content-Disposition` header (RFC 6266): the name that a server suggests for a file.
//!
//! Servers often get this header wrong, and the name is made safe afterwards. So this accepts what has one plausible
//! meaning, such as unquoted spaces or a missing type, and ignores the rest.

/// Returns the file name that a header's value suggests; `None` if it suggests none.
///
/// Only the last component of a path counts, with `/` and `\` as separators. A `filename*` (RFC 8187) is preferred to a
/// `filename`. A parameter that is malformed is ignored, and so is a header that has one twice (RFC 6266, section 4.1).
/// The result may still have characters that are not safe in a file name, but not only dots and spaces.
#[must_use]
pub fn parse_file_name(value: &[u8]) -> Option<String> {
    let (mut plain, mut extended) = (None, None);
    for parameter in parameters(value) {
        let Some(at) = parameter.iter().position(|byte| *byte == b'=') else { continue };
        let (name, value) = (parameter[..at].trim_ascii(), parameter[at + 1..].trim_ascii());
        let seen = if name.eq_ignore_ascii_case(b"filename") {
            &mut plain
        } else if name.eq_ignore_ascii_case(b"filename*") {
            &mut extended
        } else {
            continue;
        };
        if seen.replace(value).is_some() {
            return None;
        }
    }
    let extended = extended.and_then(decode_extended).as_deref().and_then(last_component);
    extended.or_else(|| plain.and_then(decode_plain).as_deref().and_then(last_component))
}

/// Splits a value at its semicolons, except those in a quoted string. The first item is usually the disposition type.
fn parameters(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let (mut is_quoted, mut is_escaped, mut previous) = (false, false, b';');
    value.split(move |byte| {
        let is_separator = *byte == b';' && !is_quoted;
        if is_escaped {
            is_escaped = false;
        } else if is_quoted {
            is_escaped = *byte == b'\\';
            is_quoted = *byte != b'"';
        } else {
            is_quoted = *byte == b'"' && previous == b'=';
        }
        if !byte.is_ascii_whitespace() {
            previous = *byte;
        }
        is_separator
    })
}

/// Decodes the value of `filename`: a quoted string, or text without quotes. Bytes that are not ASCII were never allowed
/// there (RFC 9110, section 5.5); they are taken as UTF-8, or else as ISO-8859-1.
fn decode_plain(value: &[u8]) -> Option<String> {
    let bytes = match value.strip_prefix(b"\"") {
        Some(rest) => unquote(rest)?,
        None if value.contains(&b'"') => return None,
        None => value.to_vec(),
    };
    Some(String::from_utf8(bytes).unwrap_or_else(|error| from_latin1(error.as_bytes())))
}

/// Decodes the rest of a quoted string (RFC 9110, section 5.6.4), which must end with its closing quote.
fn unquote(rest: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(rest.len());
    let mut rest = rest.iter();
    loop {
        match rest.next()? {
            b'"' => return rest.as_slice().is_empty().then_some(bytes),
            b'\\' => bytes.push(*rest.next()?),
            byte => bytes.push(*byte),
        }
    }
}

/// Decodes the value of `filename*`: a charset, a language and a percent-encoded text, separated by apostrophes (RFC
/// 8187, section 3.2).
fn decode_extended(value: &[u8]) -> Option<String> {
    let mut fields = value.splitn(3, |byte| *byte == b'\'');
    let (charset, _language, text) = (fields.next()?, fields.next()?, fields.next()?);
    let bytes = percent_decode(text)?;
    if charset.eq_ignore_ascii_case(b"utf-8") {
        String::from_utf8(bytes).ok()
    } else if charset.eq_ignore_ascii_case(b"iso-8859-1") {
        Some(from_latin1(&bytes))
    } else {
        None
    }
}

/// Decodes percent-encoded bytes; `None` if a `%` is not followed by two hexadecimal digits. Other characters stand for
/// themselves: many servers leave `(`, `)` and `'` as they are.
fn percent_decode(text: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut bytes = Vec::with_capacity(text.len());
    let mut text = text.iter();
    while let Some(byte) = text.next() {
        bytes.push(match byte {
            b'%' => digit(*text.next()?)? * 16 + digit(*text.next()?)?,
            byte => *byte,
        });
    }
    Some(bytes)
}

/// Decodes ISO-8859-1, whose bytes are the first 256 characters of Unicode.
fn from_latin1(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

/// Returns the last component of a path, unless nothing is left of it without dots and spaces.
fn last_component(path: &str) -> Option<String> {
    let name = path.rsplit(['/', '\\']).next()?.trim();
    name.contains(|c: char| c != '.' && !c.is_whitespace()).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn assert_names(table: &[(&str, Option<&str>)]) {
        for (value, name) in table {
            assert_eq!(parse_file_name(value.as_bytes()).as_deref(), *name, "{value}");
        }
    }

    #[test]
    fn plain_names() {
        assert_names(&[
            ("attachment", None),
            ("inline", None),
            ("", None),
            ("attachment; filename=data.csv", Some("data.csv")),
            ("attachment; filename=\"data.csv\"", Some("data.csv")),
            ("ATTACHMENT;FILENAME=\"data.csv\"", Some("data.csv")),
            ("inline; filename=\"data.csv\"", Some("data.csv")),
            ("x-unknown; filename=data.csv", Some("data.csv")),
            ("attachment; filename = \"data.csv\" ;", Some("data.csv")),
            ("attachment;\tfilename\t=\tdata.csv", Some("data.csv")),
            ("attachment; size=12; filename=data.csv; creation-date=\"Mon, 3 Feb 2025\"", Some("data.csv")),
            ("attachment; filename=\"my data; part 2.csv\"", Some("my data; part 2.csv")),
            ("attachment; note=\"filename=no.csv; x\"; filename=yes.csv", Some("yes.csv")),
            ("attachment; filename=\"he said \\\"no\\\".txt\"", Some("he said \"no\".txt")),
            ("attachment; filename=\"d\\ata.csv\"", Some("data.csv")),
            ("attachment; filename=\"a=b.txt\"", Some("a=b.txt")),
            ("attachment; filename=a=b.txt", Some("a=b.txt")),
            ("attachment; filename=\" data.csv \"", Some("data.csv")),
            ("attachment; filename='data.csv'", Some("'data.csv'")),
            // Neither form of encoding is defined for this parameter.
            ("attachment; filename=\"100%25.txt\"", Some("100%25.txt")),
            ("attachment; filename=\"=?UTF-8?Q?caf=C3=A9?=\"", Some("=?UTF-8?Q?caf=C3=A9?=")),
        ]);
    }

    #[test]
    fn invalid_headers_with_a_plausible_meaning() {
        assert_names(&[
            ("filename=data.csv", Some("data.csv")),
            ("filename=\"data.csv\"; attachment", Some("data.csv")),
            ("; filename=data.csv", Some("data.csv")),
            ("attachment;; filename=data.csv", Some("data.csv")),
            ("attachment; filename=my data.csv", Some("my data.csv")),
            ("attachment; filename=data(1),[2].csv", Some("data(1),[2].csv")),
            ("attachment; inline; filename=data.csv", Some("data.csv")),
            ("\"attachment\"; filename=data.csv", Some("data.csv")),
        ]);
    }

    #[test]
    fn malformed_names_are_ignored() {
        assert_names(&[
            ("attachment; filename", None),
            ("attachment; filename=", None),
            ("attachment; filename=;", None),
            ("attachment; filename=\"\"", None),
            ("attachment; filename=\"data.csv", None),
            ("attachment; filename=\"data.csv\\\"", None),
            ("attachment; filename=\"", None),
            ("attachment; filename=\"data\".csv", None),
            ("attachment; filename=da\"ta.csv", None),
            ("attachment; filename=\"data.csv; size=3", None),
            ("attachment filename=data.csv", None),
            ("attachment; file name=data.csv", None),
            ("attachment; size=1, filename=data.csv", None),
            ("attachment; xfilename=data.csv", None),
            ("attachment; name=data.csv", None),
            ("attachment; filename*0=\"da\"; filename*1=\"ta.csv\"", None),
            ("attachment; filename=a.csv; filename=b.csv", None),
            ("attachment; filename=a.csv; FileName=\"a.csv\"", None),
            ("attachment; filename*=UTF-8''a; filename*=UTF-8''b; filename=c", None),
        ]);
    }

    #[test]
    fn extended_names() {
        assert_names(&[
            ("attachment; filename*=UTF-8''na%C3%AFve%20plan.txt", Some("naïve plan.txt")),
            ("attachment; filename*=utf-8'en'na%c3%afve.txt", Some("naïve.txt")),
            ("attachment; filename*=ISO-8859-1''na%EFve.txt", Some("naïve.txt")),
            ("attachment; filename*=iso-8859-1'fr'%80.txt", Some("\u{80}.txt")),
            ("attachment; FILENAME*=UTF-8''%E6%96%87.txt", Some("文.txt")),
            ("attachment; filename* = UTF-8''data.csv", Some("data.csv")),
            ("attachment; filename*=UTF-8''it's%20(1).txt", Some("it's (1).txt")),
            ("attachment; filename*=UTF-8''100%2525.txt", Some("100%25.txt")),
            ("attachment; filename*=UTF-8''a%3Bb%22.txt", Some("a;b\".txt")),
            // Not a name of a parameter.
            ("attachment; filename *=UTF-8''data.csv", None),
            // The charset is missing, unknown, or not that of the bytes.
            ("attachment; filename*=''data.csv", None),
            ("attachment; filename*=data.csv", None),
            ("attachment; filename*=UTF-8'data.csv", None),
            ("attachment; filename*=KOI8-R''data.csv", None),
            ("attachment; filename*=UTF-8''na%EFve.txt", None),
            ("attachment; filename*=UTF-8''%C3.txt", None),
            // The value is quoted, or its encoding is broken.
            ("attachment; filename*=\"UTF-8''data.csv\"", None),
            ("attachment; filename*=UTF-8''50%.txt", None),
            ("attachment; filename*=UTF-8''data%2", None),
            ("attachment; filename*=UTF-8''%+1.txt", None),
            ("attachment; filename*=UTF-8''", None),
        ]);
    }

    #[test]
    fn the_extended_name_is_preferred_if_it_is_valid() {
        assert_names(&[
            ("attachment; filename=\"caf_.txt\"; filename*=UTF-8''caf%C3%A9.txt", Some("café.txt")),
            ("attachment; filename*=UTF-8''caf%C3%A9.txt; filename=\"caf_.txt\"", Some("café.txt")),
            ("attachment; filename=cafe.txt; filename*=UTF-8''caf%E9.txt", Some("cafe.txt")),
            ("attachment; filename=cafe.txt; filename*=UTF-16''caf%E9.txt", Some("cafe.txt")),
            ("attachment; filename=cafe.txt; filename*=UTF-8''a%2F..", Some("cafe.txt")),
            ("attachment; filename=\"broken; filename*=UTF-8''cafe.txt", None),
        ]);
    }

    #[test]
    fn only_the_last_component_counts() {
        assert_names(&[
            ("attachment; filename=\"../../etc/passwd\"", Some("passwd")),
            ("attachment; filename=/etc/passwd", Some("passwd")),
            ("attachment; filename=\"..\\\\..\\\\boot.ini\"", Some("boot.ini")),
            ("attachment; filename=C:\\data\\set.csv", Some("set.csv")),
            ("attachment; filename*=UTF-8''..%2F..%5Cset.csv", Some("set.csv")),
            ("attachment; filename=\"set.csv/\"", None),
            ("attachment; filename=\"..\"", None),
            ("attachment; filename=\".\"", None),
            ("attachment; filename=\". . \"", None),
            ("attachment; filename=\"a/..\"", None),
            ("attachment; filename=\".profile\"", Some(".profile")),
        ]);
    }

    #[test]
    fn raw_bytes_are_utf8_or_else_latin1() {
        for (value, name) in [
            (&b"attachment; filename=\"caf\xc3\xa9.txt\""[..], "café.txt"),
            (b"attachment; filename=caf\xc3\xa9.txt", "café.txt"),
            (b"attachment; filename=\"caf\xe9.txt\"", "café.txt"),
            (b"attachment; filename=caf\xe9\xc3\xa9.txt", "café\u{c3}\u{a9}.txt"),
            (b"attachment; filename*=UTF-8''caf\xc3\xa9.txt", "café.txt"),
        ] {
            assert_eq!(parse_file_name(value).as_deref(), Some(name), "{}", value.escape_ascii());
        }
    }

    #[test]
    fn a_long_name_is_kept() {
        let name = format!("{}.txt", "x".repeat(10_000));
        assert_eq!(parse_file_name(format!("attachment; filename={name}").as_bytes()), Some(name));
    }

    proptest! {
        #[test]
        fn no_value_causes_a_panic(
            start in "(attachment|inline|)[; ]{0,2}",
            name in "(filename|FILENAME|filename\\*|x)",
            value in proptest::collection::vec(any::<u8>(), 0..40),
            end in "[\"\\\\;=%' a2/*.-]{0,12}",
        ) {
            for value in [&value[..], end.as_bytes(), &[end.as_bytes(), &value].concat()] {
                let header = [start.as_bytes(), name.as_bytes(), b"=", value, end.as_bytes()].concat();
                if let Some(name) = parse_file_name(&header) {
                    prop_assert!(!name.contains(['/', '\\']) && !name.trim_matches(['.', ' ']).is_empty(), "{name:?}");
                }
            }
        }

        #[test]
        fn a_name_in_quotes_comes_back(name in "[^/\\\\\\pC ][^/\\\\\\pC]{0,20}[^/\\\\\\pC .]") {
            let quoted = name.replace('"', "\\\"");
            prop_assert_eq!(parse_file_name(format!("attachment; filename=\"{quoted}\"").as_bytes()), Some(name.trim().to_owned()));
            let encoded: String = name.bytes().map(|byte| format!("%{byte:02X}")).collect();
            prop_assert_eq!(parse_file_name(format!("attachment; filename*=UTF-8''{encoded}").as_bytes()), Some(name.trim().to_owned()));
        }
    }
}
