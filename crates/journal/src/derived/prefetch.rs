//! Asks the processor to bring a cache line near, so that the wait for memory overlaps other work.

/// Bytes of a cache line.
const LINE: usize = 64;

/// Starts loading the lines of `slice[index]`; nothing happens when there is no such element.
#[inline]
#[allow(unsafe_code)]
pub(crate) fn prefetch<T>(slice: &[T], index: usize) {
    #[cfg(target_arch = "x86_64")]
    if let Some(element) = slice.get(index) {
        let element = core::ptr::from_ref(element).cast::<i8>();
        for line in 0..size_of::<T>().div_ceil(LINE) {
            // SAFETY: a prefetch is a hint; it reads nothing, and the address lies within a live element.
            unsafe {
                core::arch::x86_64::_mm_prefetch::<{ core::arch::x86_64::_MM_HINT_T0 }>(element.add(line * LINE));
            }
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (slice, index, LINE);
}
