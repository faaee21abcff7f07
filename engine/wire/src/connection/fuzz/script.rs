//! Bytes read as a list of choices, so that any input is a script, and one that is cut short or changed in one place is nearly the
//! same script.
//!
//! Invariant: where the bytes have run out every choice is the first one, so that a script ends.

use crate::frame::WINDOW_MAX;

pub(super) struct Script<'a> {
    rest: &'a [u8],
}

impl<'a> Script<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Script<'a> {
        Script { rest: bytes }
    }

    pub(super) fn is_over(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.rest.split_first() else { return 0 };
        self.rest = rest;
        *first
    }

    /// A number below `bound`, which is at most 256.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        usize::from(self.byte()) % bound
    }

    /// True once in `times`.
    pub(super) fn once_in(&mut self, times: u8) -> bool {
        self.byte() % times == times - 1
    }

    pub(super) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// Up to `max` bytes, as they stand.
    pub(super) fn raw(&mut self, max: usize) -> &'a [u8] {
        let len = self.below(max + 1).min(self.rest.len());
        let (raw, rest) = self.rest.split_at(len);
        self.rest = rest;
        raw
    }

    /// A number as settings, increments and codes have them: mostly one at a border.
    pub(super) fn word(&mut self) -> u32 {
        const BORDERS: [u32; 14] = [
            1,
            0,
            2,
            100,
            4096,
            16_383,
            16_384,
            65_535,
            65_536,
            1 << 20,
            (1 << 24) - 1,
            WINDOW_MAX,
            WINDOW_MAX + 1,
            u32::MAX,
        ];
        match self.below(16) {
            14 => u32::from(self.byte()),
            15 => u32::from_be_bytes([self.byte(), self.byte(), self.byte(), self.byte()]),
            at => BORDERS[at],
        }
    }
}
