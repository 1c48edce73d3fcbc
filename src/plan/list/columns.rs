//! [`Columns`]: which columns of a table say what.

use crate::digest::Algorithm;

/// What a column of a table can say about a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Field {
    Url,
    Out,
    Size,
    Digest(Algorithm),
    /// A digest with the name of its algorithm.
    Checksum,
    /// The header with this name.
    Header(String),
}

/// The columns of a table that are read, by name or by number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Columns(Vec<(Field, Column)>);

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Column {
    Name(String),
    /// From 1, in a table without a line of names.
    Number(usize),
}

/// Why a text does not name columns.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ColumnsError(String);

impl Columns {
    /// Parses texts such as `url=fastq_ftp,md5=fastq_md5` and `out=3,url=1`.
    ///
    /// # Errors
    ///
    /// [`ColumnsError`] if one is not `FIELD=COLUMN`, if a field is unknown or named twice, if no column has the URL, or
    /// if some columns have names and others numbers.
    pub fn parse<'t>(texts: impl IntoIterator<Item = &'t str>) -> Result<Self, ColumnsError> {
        let mut columns: Vec<(Field, Column)> = Vec::new();
        for text in texts.into_iter().flat_map(|text| text.split(',')) {
            let refused = |why: &str| ColumnsError(format!("'{}' {why}", crate::text::safe(text)));
            let Some((field, column)) = text.split_once('=').filter(|(_, column)| !column.trim().is_empty()) else {
                return Err(refused("is not FIELD=COLUMN, such as url=fastq_ftp or url=2"));
            };
            let known = "is not known; a column can be url, out, size, checksum, md5, sha1, sha224, sha256, sha384, sha512 or 'header NAME'";
            let field = Field::parse(field.trim()).ok_or_else(|| refused(known))?;
            if columns.iter().any(|(other, _)| *other == field) {
                return Err(refused("is named twice"));
            }
            let column = column.trim();
            columns.push((
                field,
                match column.parse() {
                    Ok(0) => return Err(refused("has no column 0; they are counted from 1")),
                    Ok(number) => Column::Number(number),
                    Err(_) => Column::Name(column.to_owned()),
                },
            ));
        }
        let numbered = columns.iter().filter(|(_, column)| matches!(column, Column::Number(_))).count();
        if numbered != 0 && numbered != columns.len() {
            return Err(ColumnsError("columns have either names, from the first line, or numbers".to_owned()));
        }
        if !columns.iter().any(|(field, _)| *field == Field::Url) {
            return Err(ColumnsError("no column has the URL; add url=COLUMN".to_owned()));
        }
        Ok(Self(columns))
    }

    /// Whether the first line of the table has the names of its columns.
    pub(super) fn have_names(&self) -> bool {
        self.0.iter().any(|(_, column)| matches!(column, Column::Name(_)))
    }

    /// Finds the columns in the first line of a table. Returns the field, position and name of each, or the name of one
    /// that is missing.
    pub(super) fn find(&self, names: &[&str]) -> Result<Vec<FoundColumn>, String> {
        let find = |(field, column): &(Field, Column)| match column {
            Column::Number(number) => {
                Ok(FoundColumn { field: field.clone(), index: number - 1, name: number.to_string() })
            }
            Column::Name(name) => {
                let index = names.iter().position(|other| other.trim() == name);
                let index = index.or_else(|| names.iter().position(|other| other.trim().eq_ignore_ascii_case(name)));
                let index = index.ok_or_else(|| name.clone())?;
                Ok(FoundColumn { field: field.clone(), index, name: name.clone() })
            }
        };
        self.0.iter().map(find).collect()
    }

    /// The columns of a table whose names say what they are.
    pub(super) fn by_their_names(names: &[&str]) -> Result<Vec<FoundColumn>, String> {
        let field = |name: &str| Field::parse(&name.trim().to_ascii_lowercase());
        let found = names
            .iter()
            .enumerate()
            .filter_map(|(index, name)| Some(FoundColumn { field: field(name)?, index, name: name.trim().to_owned() }));
        let found: Vec<_> = found.collect();
        if found.iter().any(|column| column.field == Field::Url) { Ok(found) } else { Err("url".to_owned()) }
    }
}

/// A column of a table that is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundColumn {
    pub field: Field,
    /// From 0.
    pub index: usize,
    pub name: String,
}

impl Field {
    fn parse(text: &str) -> Option<Self> {
        if let Some(name) = text.strip_prefix("header ") {
            return Some(Self::Header(name.trim().to_owned())).filter(|_| !name.trim().is_empty());
        }
        Some(match text {
            "url" => Self::Url,
            "out" => Self::Out,
            "size" => Self::Size,
            "checksum" => Self::Checksum,
            _ => Self::Digest(Algorithm::from_name(text)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_named_or_numbered() {
        let columns = Columns::parse(["url=a b,md5=m", "header X-Key=k,out=o"]).unwrap();
        assert!(columns.have_names());
        let found = columns.find(&["O", " m ", "k", "a b", "o"]).unwrap();
        let found: Vec<_> = found.into_iter().map(|column| (column.field, column.index)).collect();
        assert_eq!(
            found,
            [
                (Field::Url, 3),
                (Field::Digest(Algorithm::Md5), 1),
                (Field::Header("X-Key".to_owned()), 2),
                (Field::Out, 4)
            ]
        );
        assert_eq!(columns.find(&["m", "k", "o"]), Err("a b".to_owned()));
        let numbered = Columns::parse(["url=2,out=1"]).unwrap();
        assert!(!numbered.have_names());
        assert_eq!(numbered.find(&[]).unwrap()[0].index, 1);
    }

    #[test]
    fn what_names_no_columns_is_refused() {
        for text in
            ["", "url", "url=", "name=x,url=y", "out=x", "url=0", "url=1,out=x", "url=1,url=2", "header =x,url=y"]
        {
            assert!(Columns::parse([text]).is_err(), "{text}");
        }
    }
}
