//! A list that grows by whole chunks: nothing beyond the first is ever moved, and emptied chunks are used again.

use super::prefetch::prefetch;

/// Elements in chunks of `2^BITS`.
#[derive(Debug)]
pub(crate) struct Chunks<T, const BITS: u32> {
    chunks: Vec<Vec<T>>,
    length: usize,
}

impl<T, const BITS: u32> Default for Chunks<T, BITS> {
    fn default() -> Self {
        Self { chunks: Vec::new(), length: 0 }
    }
}

impl<T, const BITS: u32> Chunks<T, BITS> {
    /// Elements in a chunk.
    pub(crate) const CHUNK: usize = 1 << BITS;

    /// Chunks of memory, used or not.
    pub(crate) fn chunks(&self) -> usize {
        self.chunks.len()
    }

    /// Adds memory for a chunk: a list with its capacity, empty.
    pub(crate) fn give(&mut self, chunk: Vec<T>) {
        debug_assert!(chunk.is_empty() && chunk.capacity() >= Self::CHUNK, "memory for a chunk");
        self.chunks.push(chunk);
    }

    /// How many elements there are.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.length
    }

    /// Adds an element at the end.
    #[inline]
    pub(crate) fn push(&mut self, value: T) {
        let chunk = self.length >> BITS;
        if chunk == self.chunks.len() {
            // The first grows as it is needed: many a list stays short.
            self.chunks.push(Vec::with_capacity(if chunk == 0 { 0 } else { Self::CHUNK }));
        }
        self.chunks[chunk].push(value);
        self.length += 1;
    }

    /// The element at `index`.
    ///
    /// # Panics
    /// When there is none.
    #[inline]
    pub(crate) fn at(&self, index: usize) -> &T {
        &self.chunks[index >> BITS][index & (Self::CHUNK - 1)]
    }

    /// The element at `index`, to change.
    ///
    /// # Panics
    /// When there is none.
    #[inline]
    pub(crate) fn at_mut(&mut self, index: usize) -> &mut T {
        &mut self.chunks[index >> BITS][index & (Self::CHUNK - 1)]
    }

    /// Starts loading the element at `index`, if there is one.
    #[inline]
    pub(crate) fn prefetch(&self, index: usize) {
        if let Some(chunk) = self.chunks.get(index >> BITS) {
            prefetch(chunk, index & (Self::CHUNK - 1));
        }
    }

    /// The last element.
    #[inline]
    pub(crate) fn last(&self) -> Option<&T> {
        self.length.checked_sub(1).map(|last| self.at(last))
    }

    /// Takes the last element off.
    pub(crate) fn pop(&mut self) -> Option<T> {
        self.length = self.length.checked_sub(1)?;
        self.chunks[self.length >> BITS].pop()
    }

    /// Empties the list; its chunks stay for the next elements.
    pub(crate) fn clear(&mut self) {
        self.chunks.iter_mut().for_each(Vec::clear);
        self.length = 0;
    }

    /// The elements, chunk by chunk.
    pub(crate) fn slices(&self) -> impl Iterator<Item = &[T]> {
        self.chunks.iter().map(Vec::as_slice).filter(|chunk| !chunk.is_empty())
    }

    /// The elements in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.slices().flatten()
    }

    /// The first index whose element is not `before`; all elements that are come first.
    pub(crate) fn partition_point(&self, mut before: impl FnMut(&T) -> bool) -> usize {
        let (mut low, mut high) = (0, self.length);
        while low < high {
            let middle = low.midpoint(high);
            if before(self.at(middle)) { low = middle + 1 } else { high = middle }
        }
        low
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_shrinks_and_is_used_again() {
        let mut list: Chunks<u32, 2> = Chunks::default();
        (0..11).for_each(|i| list.push(i));
        assert_eq!((list.len(), *list.at(7), list.last()), (11, 7, Some(&10)));
        assert_eq!(list.partition_point(|&v| v < 6), 6);
        assert_eq!([list.pop(), list.pop(), list.pop(), list.pop()], [10, 9, 8, 7].map(Some));
        list.push(100);
        assert_eq!(list.iter().copied().collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5, 6, 100]);
        list.clear();
        assert_eq!((list.len(), list.last().copied(), list.pop()), (0, None, None));
        list.push(3);
        assert_eq!(list.slices().collect::<Vec<_>>(), [&[3][..]]);
    }
}
