//! `--sums`: reads checksum files for the files of other lists.

use std::path::PathBuf;

use anyhow::Context as _;

use super::input::{Errors, cannot_read, open_list};
use super::pieces::read_pieces;
use crate::options::Options;
use crate::plan::Sums;
use crate::plan::list::{Sum, SumsParser};

/// Reads checksum files.
///
/// # Errors
///
/// One error that lists every invalid line; or why a file could not be read or fetched.
pub fn read_sums(paths: &[PathBuf], options: &Options) -> anyhow::Result<Sums> {
    let (mut sums, mut errors) = (Sums::default(), Errors::default());
    for path in paths {
        let (name, file) = open_list(path, options).context("--sums")?;
        let mut parser = SumsParser::new(&name);
        let mut take = |sum: Sum| match sum {
            Ok((target, digest)) => sums.add(&target, digest),
            Err(error) => errors.add(error.to_string()),
        };
        read_pieces(file, |bytes| {
            parser.push(bytes, &mut take);
            true
        })
        .with_context(|| cannot_read(&name))?;
        parser.finish(&mut take);
    }
    errors.refuse()?;
    Ok(sums)
}
