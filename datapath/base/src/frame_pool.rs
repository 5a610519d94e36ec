//! [`FramePool`]: who has which of the transmit frames of a port.
//!
//! A frame goes to the device and comes back to its owner, who may send it again; if the owner gave it
//! up meanwhile, it goes back to the pool.
//!
//! ```text
//!  Free -- alloc --> Owned -- lend --> InFlight -- complete --> Owned
//!   ^ ^                | free             | free
//!   | +----------------+                  v
//!   +---------------------- complete -- Leaving
//! ```

/// Where a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameState {
    /// Nobody has it.
    Free,
    /// Whoever allocated it has it.
    Owned,
    /// The device has it, or will when it looks.
    InFlight,
    /// As `InFlight`, and its owner gave it up.
    Leaving,
}

/// The device is said to be done with a frame that it does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotInFlight;

/// See the module page. Frames are named by numbers from 0 on; their bytes are elsewhere.
#[derive(Debug)]
pub struct FramePool {
    states: Box<[FrameState]>,
    /// Last freed on top: its bytes are still in the cache.
    free: Vec<u32>,
}

impl FramePool {
    /// `count` frames, all free; the lowest number is allocated first.
    pub fn new(count: u32) -> Self {
        let free: Vec<u32> = (0..count).rev().collect();
        Self { states: vec![FrameState::Free; free.len()].into(), free }
    }

    /// Takes a frame out of the pool.
    #[inline]
    pub fn alloc(&mut self) -> Option<u32> {
        let index = self.free.pop()?;
        *self.state_mut(index) = FrameState::Owned;
        Some(index)
    }

    /// The owner gives a frame up: into the pool, or, in flight, there once it is completed.
    ///
    /// # Panics
    /// If the frame has no owner (a bug of the caller).
    #[inline]
    pub fn free(&mut self, index: u32) {
        let state = self.state_mut(index);
        match *state {
            FrameState::Owned => {
                *state = FrameState::Free;
                self.free.push(index);
            }
            FrameState::InFlight => *state = FrameState::Leaving,
            FrameState::Free | FrameState::Leaving => {
                unreachable!("transmit frame {index} is freed but it is {state:?}")
            }
        }
    }

    /// The device gets a frame.
    ///
    /// # Panics
    /// As [`Self::expect_owned`].
    #[inline]
    pub fn lend(&mut self, index: u32) {
        self.expect_owned(index);
        *self.state_mut(index) = FrameState::InFlight;
    }

    /// The device is done with a frame.
    ///
    /// # Errors
    /// [`NotInFlight`]: it did not have it, or there is no such frame; nothing changes.
    #[inline]
    pub fn complete(&mut self, index: u32) -> Result<(), NotInFlight> {
        let state = self.states.get_mut(index as usize).ok_or(NotInFlight)?;
        match *state {
            FrameState::InFlight => *state = FrameState::Owned,
            FrameState::Leaving => {
                *state = FrameState::Free;
                self.free.push(index);
            }
            FrameState::Free | FrameState::Owned => return Err(NotInFlight),
        }
        Ok(())
    }

    /// Returns if the frame's owner may touch its bytes.
    ///
    /// # Panics
    /// If the frame has no owner, is in flight, or there is no such frame (a bug of the caller).
    #[inline]
    pub fn expect_owned(&self, index: u32) {
        let state = self.states.get(index as usize);
        assert!(
            state == Some(&FrameState::Owned),
            "transmit frame {index} is used by its owner but it is {state:?}"
        );
    }

    /// Whether the device has the frame; there may be no such frame.
    #[inline]
    pub fn is_in_flight(&self, index: u32) -> bool {
        let state = self.states.get(index as usize);
        matches!(state, Some(FrameState::InFlight | FrameState::Leaving))
    }

    /// Free frames.
    #[inline]
    pub fn available(&self) -> usize {
        self.free.len()
    }

    /// All frames.
    pub fn count(&self) -> usize {
        self.states.len()
    }

    fn state_mut(&mut self, index: u32) -> &mut FrameState {
        self.states.get_mut(index as usize).expect("the frame is one of this pool")
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    fn panics<T>(call: impl FnOnce() -> T) -> bool {
        catch_unwind(AssertUnwindSafe(call)).is_err()
    }

    #[test]
    fn frames_are_given_out_until_there_are_none_and_the_last_freed_first() {
        let mut pool = FramePool::new(3);
        let all: Vec<u32> = std::iter::from_fn(|| pool.alloc()).collect();
        assert_eq!((all, pool.available(), pool.count()), (vec![0, 1, 2], 0, 3));
        pool.free(0);
        pool.free(2);
        assert_eq!((pool.available(), pool.alloc(), pool.alloc()), (2, Some(2), Some(0)));
    }

    #[test]
    fn a_completed_frame_is_its_owners_again() {
        let mut pool = FramePool::new(2);
        let frame = pool.alloc().unwrap();
        for _ in 0..2 {
            pool.lend(frame);
            assert!(pool.is_in_flight(frame));
            assert_eq!(pool.complete(frame), Ok(()));
            assert!(!pool.is_in_flight(frame));
            pool.expect_owned(frame);
        }
        assert_eq!(pool.available(), 1);
    }

    #[test]
    fn a_frame_freed_in_flight_is_free_only_when_it_is_completed() {
        let mut pool = FramePool::new(1);
        let frame = pool.alloc().unwrap();
        pool.lend(frame);
        pool.free(frame);
        assert!(pool.is_in_flight(frame));
        assert_eq!(pool.alloc(), None);
        assert_eq!(pool.complete(frame), Ok(()));
        assert!(!pool.is_in_flight(frame));
        assert_eq!(pool.alloc(), Some(frame));
    }

    #[test]
    fn what_an_owner_may_not_do_panics() {
        let mut pool = FramePool::new(1);
        for index in [0, 1, u32::MAX] {
            assert!(panics(|| pool.free(index)), "not allocated");
            assert!(panics(|| pool.lend(index)), "not allocated");
            assert!(panics(|| pool.expect_owned(index)), "not allocated");
        }
        let frame = pool.alloc().unwrap();
        pool.lend(frame);
        assert!(panics(|| pool.lend(frame)), "lent twice");
        assert!(panics(|| pool.expect_owned(frame)), "in flight");
        pool.free(frame);
        assert!(panics(|| pool.free(frame)), "freed twice");
        assert!(panics(|| pool.lend(frame)), "given up");
    }

    #[test]
    fn a_completion_that_nobody_expects_is_refused_and_changes_nothing() {
        let mut pool = FramePool::new(1);
        for index in [0, 1, u32::MAX] {
            assert_eq!(pool.complete(index), Err(NotInFlight));
            assert!(!pool.is_in_flight(index));
        }
        let frame = pool.alloc().unwrap();
        assert_eq!(pool.complete(frame), Err(NotInFlight));
        pool.expect_owned(frame);
    }
}
