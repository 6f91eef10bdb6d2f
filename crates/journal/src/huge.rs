//! Large pieces of memory in huge pages.
//!
//! The ledger's tables are larger than what the processor's table of pages covers, and are touched all over: with pages
//! of 4 KiB most accesses wait for a walk through the page tables, and a segment's memory costs a fault for each 15
//! transfers. Systems rarely give huge pages unasked, so this allocator, the program's own, asks: whatever is at least
//! one huge page large is mapped on its own, aligned to huge pages. The rest is the system allocator's business.
#![allow(unsafe_code)] // what an allocator is made of; each block says why it is sound

use core::alloc::{GlobalAlloc, Layout};
use core::ptr::null_mut;
use std::alloc::System;

/// A huge page, on the processors that we know.
const HUGE: usize = 2 << 20;

/// See the module.
struct Huge;

#[global_allocator]
static ALLOCATOR: Huge = Huge;

/// Whether memory of this layout is mapped on its own.
const fn is_huge(layout: &Layout) -> bool {
    layout.size() >= HUGE && layout.align() <= HUGE && layout.size() <= isize::MAX as usize - 2 * HUGE
}

/// Maps zeroed memory, aligned to a huge page; null if there is none.
fn map(size: usize) -> *mut u8 {
    let length = size.next_multiple_of(HUGE);
    // SAFETY: a new anonymous mapping touches no other memory. What is unmapped and advised lies within it: from
    // `start` to `aligned` and from `aligned + length` to `start + length + HUGE`, all at multiples of a page.
    unsafe {
        let start = libc::mmap(
            null_mut(),
            length + HUGE,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        );
        if start == libc::MAP_FAILED {
            return null_mut();
        }
        let start = start.cast::<u8>();
        let before = start.addr().next_multiple_of(HUGE) - start.addr();
        let aligned = start.add(before);
        if before > 0 {
            libc::munmap(start.cast(), before);
        }
        if before < HUGE {
            libc::munmap(aligned.add(length).cast(), HUGE - before);
        }
        // A system without huge pages gives small ones.
        libc::madvise(aligned.cast(), length, libc::MADV_HUGEPAGE);
        aligned
    }
}

// SAFETY: memory comes either from `System`, whose contract is the same, or from `map`, which gives as much as was
// asked for, aligned to more than was asked for; `is_huge` tells the two apart by the layout, which is the same when
// memory is given back.
unsafe impl GlobalAlloc for Huge {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise is handed on.
        if is_huge(&layout) { map(layout.size()) } else { unsafe { System.alloc(layout) } }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above; what is mapped anew is zero.
        if is_huge(&layout) { map(layout.size()) } else { unsafe { System.alloc_zeroed(layout) } }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: `pointer` was given for this layout, so that it is a whole mapping of ours, or the system's.
        unsafe {
            if is_huge(&layout) {
                libc::munmap(pointer.cast(), layout.size().next_multiple_of(HUGE));
            } else {
                System.dealloc(pointer, layout);
            }
        }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller promises that the size, rounded up to the alignment, is no more than `isize::MAX`.
        let new_layout = unsafe { Layout::from_size_align_unchecked(new_size, layout.align()) };
        if !is_huge(&layout) && !is_huge(&new_layout) {
            // SAFETY: both are the system's.
            return unsafe { System.realloc(pointer, layout, new_size) };
        }
        if is_huge(&layout) && is_huge(&new_layout) && new_size <= layout.size().next_multiple_of(HUGE) {
            let (old, new) = (layout.size().next_multiple_of(HUGE), new_size.next_multiple_of(HUGE));
            if new < old {
                // SAFETY: the end of a mapping of ours that is not used any more.
                unsafe { libc::munmap(pointer.add(new).cast(), old - new) };
            }
            return pointer;
        }
        // SAFETY: the new memory does not overlap the old one, which is given back after its bytes are copied.
        unsafe {
            let moved = self.alloc(new_layout);
            if !moved.is_null() {
                moved.copy_from_nonoverlapping(pointer, layout.size().min(new_size));
                self.dealloc(pointer, layout);
            }
            moved
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_memory_is_aligned_zeroed_and_keeps_its_bytes_as_it_grows_and_shrinks() {
        let zeros = vec![0u8; HUGE];
        assert_eq!(zeros.as_ptr().addr() % HUGE, 0);
        assert!(zeros.iter().all(|&byte| byte == 0));
        let mut bytes: Vec<u8> = Vec::new();
        for size in [1_000, HUGE - 1, HUGE, HUGE + 1, 2 * HUGE, 5 * HUGE + 7, 7 * HUGE] {
            bytes.reserve_exact(size - bytes.len());
            while bytes.len() < size {
                bytes.push(u8::try_from(bytes.len() % 251).unwrap_or(0));
            }
        }
        for size in [7 * HUGE, 6 * HUGE + 1, 3 * HUGE, HUGE + 1, HUGE, HUGE - 1, 10] {
            bytes.truncate(size);
            bytes.shrink_to_fit();
            assert!(bytes.iter().enumerate().all(|(index, &byte)| usize::from(byte) == index % 251));
        }
    }
}
