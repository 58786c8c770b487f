//! Transactions of the naive store, with the errors that the kernel must give.

use std::collections::HashSet;
use std::rc::Rc;

use cowshed_kernel::error::Kind;
use cowshed_kernel::ids::{BLOCK_SIZE, MAX_DISK_SIZE, VersionId};
use cowshed_kernel::rows::VersionState;
use cowshed_kernel::transaction::Op;

use super::oracle::{Oracle, Version};

impl Oracle {
    /// Apply all or nothing; the kind of error that the kernel must give.
    pub fn transact(&mut self, ops: &[Op]) -> Result<(), Kind> {
        // Zeroing the tail of a disk that is to grow changes no byte that can be read: it may come before, and stay.
        for op in ops {
            if let Op::Resize(id, size) = op
                && let Some(version) = self.versions.get(&id.0)
                && version.state == VersionState::Head
                && *size > version.size
                && version.size % BLOCK_SIZE != 0
            {
                self.change(id.0, Version::zero_tail);
            }
        }
        let mut after = self.clone();
        // Heads whose size was changed within the transaction, so that their tails are not zeroed.
        let mut ragged = HashSet::new();
        ops.iter().try_for_each(|op| after.op(op, &mut ragged))?;
        *self = after;
        Ok(())
    }

    fn find(&self, id: VersionId) -> Result<&Version, Kind> {
        match self.versions.get(&id.0) {
            Some(version) if version.visible() => Ok(version),
            _ => Err(Kind::Missing),
        }
    }

    fn head(&self, id: VersionId) -> Result<&Version, Kind> {
        match self.find(id)? {
            head if head.state == VersionState::Head => Ok(head),
            _ => Err(Kind::ReadOnly),
        }
    }

    fn snapshot(&self, id: VersionId) -> Result<&Version, Kind> {
        match self.find(id)? {
            frozen if frozen.state == VersionState::Frozen => Ok(frozen),
            _ => Err(Kind::Invalid),
        }
    }

    fn op(&mut self, op: &Op, ragged: &mut HashSet<VersionId>) -> Result<(), Kind> {
        match op {
            Op::Create(id, size) => {
                check(*size <= MAX_DISK_SIZE)?;
                ragged.insert(*id);
                self.versions.insert(id.0, Rc::new(Version::new(*size)));
            }
            Op::Freeze(head, id) => {
                let mut frozen = self.head(*head)?.clone();
                frozen.state = VersionState::Frozen;
                self.versions.insert(id.0, Rc::new(frozen));
                self.change(head.0, |head, _| head.parent = Some(id.0));
            }
            Op::Derive(frozen, id) => {
                let mut head = self.snapshot(*frozen)?.clone();
                head.state = VersionState::Head;
                head.parent = Some(frozen.0);
                ragged.insert(*id);
                self.versions.insert(id.0, Rc::new(head));
            }
            Op::Drop(id) => {
                self.find(*id)?;
                self.forget(id.0);
            }
            Op::Rollback(head, frozen) => {
                let old = self.head(*head)?.parent;
                let mut new = self.snapshot(*frozen)?.clone();
                new.state = VersionState::Head;
                new.parent = Some(frozen.0);
                ragged.insert(*head);
                self.versions.insert(head.0, Rc::new(new));
                old.into_iter().for_each(|old| self.unhide(old));
            }
            Op::Resize(id, size) => {
                check(*size <= MAX_DISK_SIZE)?;
                let before = self.head(*id)?.size;
                let grows = *size > before && before % BLOCK_SIZE != 0;
                check(!(grows && ragged.contains(id)))?;
                ragged.insert(*id);
                self.change(id.0, |version, next_token| version.resize(*size, next_token));
            }
            Op::Put(key, value) => {
                check(!key.is_empty() && key.len() <= 4096)?;
                self.keys.insert(key.clone(), value.clone());
            }
            Op::Delete(key) => {
                check(!key.is_empty() && key.len() <= 4096)?;
                self.keys.remove(key);
            }
            Op::Require(key, value) => {
                if self.keys.get(key) != value.as_ref() {
                    return Err(Kind::Conflict);
                }
            }
        }
        Ok(())
    }

    /// Drop a version: it is gone, or hidden while two or more derive from it.
    fn forget(&mut self, id: u64) {
        let children = self.children(id);
        if children.len() >= 2 {
            return self.change(id, |version, _| version.state = VersionState::Hidden);
        }
        let parent = self.versions.remove(&id).expect("the version is there").parent;
        for child in children {
            self.change(child, |version, _| version.parent = parent);
        }
        parent.into_iter().for_each(|parent| self.unhide(parent));
    }

    /// A version lost a child: if it is hidden and has one at most, it goes.
    fn unhide(&mut self, id: u64) {
        if self.versions[&id].state == VersionState::Hidden && self.children(id).len() <= 1 {
            self.forget(id);
        }
    }
}

fn check(possible: bool) -> Result<(), Kind> {
    if possible { Ok(()) } else { Err(Kind::Invalid) }
}
