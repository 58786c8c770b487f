//! What block status tells, by context.

use super::exports::{Export, Exports};
use super::proto::{allocation, diff};
use crate::error::{Error, Result};
use crate::ids::VersionId;

/// Extents in one answer at most.
const EXTENTS: usize = 8192;

/// One of the contexts that a client chose; its id is its place among them, from 1 on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Context {
    /// What is allocated.
    Allocation,
    /// What differs from a snapshot.
    Changed(String, VersionId),
}

impl Context {
    /// Its name.
    pub fn name(&self) -> String {
        match self {
            Context::Allocation => allocation::CONTEXT.into(),
            Context::Changed(snapshot, _) => format!("{}{snapshot}", diff::PREFIX),
        }
    }

    /// The state of a range from its start on, as lengths and flags: as much of it as one answer holds, or only the first
    /// piece.
    pub fn status(&self, export: &Export, offset: u64, len: u64, one: bool) -> Result<Vec<(u64, u32)>> {
        let limit = if one { 1 } else { EXTENTS };
        let mut pieces: Vec<(u64, u32)> = Vec::new();
        let mut push = |len: u64, flags: u32| match pieces.last_mut() {
            _ if len == 0 => {}
            Some((n, f)) if *f == flags => *n += len,
            _ => pieces.push((len, flags)),
        };
        match self {
            Context::Allocation => {
                for (_, len, mapped) in export.disk.extents(offset, len, limit)? {
                    push(len, if mapped { 0 } else { allocation::HOLE | allocation::ZERO });
                }
            }
            Context::Changed(_, old) => {
                let disk = &export.disk;
                let (extents, resume) =
                    disk.core.diff(Some(*old), disk.version(), offset, Some(len), limit)?;
                let mut at = offset;
                for (start, len, _) in extents {
                    push(start - at, 0);
                    push(len, diff::CHANGED);
                    at = start + len;
                }
                let end = resume.unwrap_or(offset + len);
                push(end.saturating_sub(at), 0);
            }
        }
        if one {
            pieces.truncate(1);
        }
        if pieces.is_empty() {
            return Err(Error::invalid("the range holds nothing"));
        }
        Ok(pieces)
    }
}

/// The contexts of an export that a client's queries name; with `listing`, queries that end in a colon name all
/// below.
pub fn find(exports: &dyn Exports, export: &Export, queries: &[String], listing: bool) -> Vec<Context> {
    let mut found: Vec<Context> = Vec::new();
    let mut add = |context: Context| {
        if !found.contains(&context) {
            found.push(context);
        }
    };
    let changed = |name: &str| {
        let version = exports.snapshot(export, name)?;
        Some(Context::Changed(name.to_string(), version))
    };
    let everything = [String::from("base:"), String::from(diff::PREFIX)];
    let queries = if listing && queries.is_empty() { &everything } else { queries };
    for query in queries {
        let below = |prefix: &str| listing && prefix.starts_with(query.as_str()) && query.ends_with(':');
        if query == allocation::CONTEXT || below("base:") {
            add(Context::Allocation);
        } else if below(diff::PREFIX) {
            exports.snapshots(export).iter().filter_map(|name| changed(name)).for_each(&mut add);
        } else if let Some(context) = query.strip_prefix(diff::PREFIX).and_then(changed) {
            add(context);
        }
    }
    found
}
