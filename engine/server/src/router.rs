//! From the bytes of `:path` to a method: one hash, one probe as a rule, one comparison.
//!
//! Does not: know what a method does, or allocate after it was built. Invariant: the table is at most half full, so that a
//! probe ends; nothing a peer sends can change it.

/// The odd constant of a multiplicative hash: the golden ratio in 64 bits.
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// One cell of the table.
#[derive(Clone, Copy)]
struct Cell {
    hash: u64,
    /// The method's index; [`Router::VACANT`] if the cell is free.
    method: u32,
}

/// The paths of all methods of a worker, and where they lead.
pub(crate) struct Router {
    cells: Box<[Cell]>,
    /// The paths, by method index.
    paths: Vec<&'static str>,
}

impl Router {
    const VACANT: u32 = u32::MAX;

    /// A table of `paths`, no two of which are the same; a method's index is its place in the list.
    pub(crate) fn new(paths: Vec<&'static str>) -> Router {
        let size = (paths.len() * 2).next_power_of_two().max(2);
        let mut cells = vec![Cell { hash: 0, method: Router::VACANT }; size].into_boxed_slice();
        for (index, path) in paths.iter().enumerate() {
            let hash = hash(path.as_bytes());
            let mut at = place(hash, size);
            while cells[at].method != Router::VACANT {
                assert!(paths[cells[at].method as usize] != *path, "{path} twice");
                at = (at + 1) & (size - 1);
            }
            let method = u32::try_from(index).expect("fewer than 2^32 methods");
            cells[at] = Cell { hash, method };
        }
        Router { cells, paths }
    }

    /// The method that `path` names.
    #[inline]
    pub(crate) fn find(&self, path: &[u8]) -> Option<u32> {
        let hash = hash(path);
        let size = self.cells.len();
        let mut at = place(hash, size);
        loop {
            let cell = self.cells[at];
            if cell.method == Router::VACANT {
                return None;
            }
            if cell.hash == hash && self.paths[cell.method as usize].as_bytes() == path {
                return Some(cell.method);
            }
            at = (at + 1) & (size - 1);
        }
    }

    /// Why `path` leads nowhere, in the words of grpc-go, which its users know.
    pub(crate) fn explain(&self, path: &[u8]) -> String {
        let text = String::from_utf8_lossy(path);
        let Some((service, method)) = text.strip_prefix('/').and_then(|path| path.rsplit_once('/')) else {
            return format!("malformed method name: {text:?}");
        };
        let known = self.paths.iter().any(|path| service_of(path) == service);
        if known {
            format!("unknown method {method} for service {service}")
        } else {
            format!("unknown service {service}")
        }
    }
}

/// The service in `/service/method`.
pub(crate) fn service_of(path: &str) -> &str {
    path.strip_prefix('/').and_then(|path| path.rsplit_once('/')).map_or("", |(service, _)| service)
}

/// Eight octets a step. The length is part of it, so that a zero-padded tail is no other path's.
#[inline]
fn hash(bytes: &[u8]) -> u64 {
    let mut sum = bytes.len() as u64;
    let (words, tail) = bytes.as_chunks::<8>();
    for word in words {
        sum = (sum.rotate_left(5) ^ u64::from_le_bytes(*word)).wrapping_mul(GOLDEN);
    }
    let mut last = [0; 8];
    last[..tail.len()].copy_from_slice(tail);
    (sum.rotate_left(5) ^ u64::from_le_bytes(last)).wrapping_mul(GOLDEN)
}

/// The high bits are the mixed ones.
#[inline]
fn place(hash: u64, size: usize) -> usize {
    (hash >> 32) as usize & (size - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_leads_to_its_own_method() {
        let paths: Vec<&'static str> =
            (0..500).map(|n| &*format!("/pkg.v{n}.Service/Method{n}").leak()).collect();
        let router = Router::new(paths.clone());
        for (index, path) in paths.iter().enumerate() {
            assert_eq!(router.find(path.as_bytes()), Some(index as u32), "{path}");
        }
        for unknown in
            ["", "/", "/pkg.v1.Service/Method2", "/pkg.v1.Service/Method1\0", "pkg.v1.Service/Method1"]
        {
            assert_eq!(router.find(unknown.as_bytes()), None, "{unknown:?}");
        }
    }

    #[test]
    fn an_empty_table_finds_nothing() {
        assert_eq!(Router::new(Vec::new()).find(b"/a/b"), None);
    }

    #[test]
    fn a_path_that_leads_nowhere_is_explained() {
        let router = Router::new(vec!["/pkg.Greeter/SayHello"]);
        assert_eq!(router.explain(b"/pkg.Greeter/Wave"), "unknown method Wave for service pkg.Greeter");
        assert_eq!(router.explain(b"/pkg.Other/SayHello"), "unknown service pkg.Other");
        assert_eq!(router.explain(b"/nothing"), "malformed method name: \"/nothing\"");
    }
}
