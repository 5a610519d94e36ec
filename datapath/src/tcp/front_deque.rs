//! A double-ended queue whose first element lies in place: one that never holds more than one
//! allocates nothing, and whoever has it in the CPU's cache has its only element too.

use std::collections::VecDeque;

/// See the module page.
#[derive(Debug)]
pub struct FrontDeque<T> {
    /// `None` only if `rest` is empty.
    first: Option<T>,
    rest: VecDeque<T>,
}

impl<T> FrontDeque<T> {
    /// Elements in the queue.
    pub fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.rest.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// The first element.
    pub fn front(&self) -> Option<&T> {
        self.first.as_ref()
    }

    /// The first element.
    pub fn front_mut(&mut self) -> Option<&mut T> {
        self.first.as_mut()
    }

    /// The last element.
    pub fn back_mut(&mut self) -> Option<&mut T> {
        if self.rest.is_empty() { self.first.as_mut() } else { self.rest.back_mut() }
    }

    /// The element at `index`.
    pub fn get(&self, index: usize) -> Option<&T> {
        match index.checked_sub(1) {
            None => self.first.as_ref(),
            Some(index) => self.rest.get(index),
        }
    }

    /// The element at `index`.
    pub fn get_mut(&mut self, index: usize) -> Option<&mut T> {
        match index.checked_sub(1) {
            None => self.first.as_mut(),
            Some(index) => self.rest.get_mut(index),
        }
    }

    /// Adds an element at the end.
    pub fn push_back(&mut self, value: T) {
        if self.first.is_none() {
            self.first = Some(value);
        } else {
            self.rest.push_back(value);
        }
    }

    /// Takes the first element out.
    pub fn pop_front(&mut self) -> Option<T> {
        std::mem::replace(&mut self.first, self.rest.pop_front())
    }

    /// Takes the last element out.
    pub fn pop_back(&mut self) -> Option<T> {
        self.rest.pop_back().or_else(|| self.first.take())
    }

    /// Adds an element behind the one at `index`, which exists.
    pub fn insert_behind(&mut self, index: usize, value: T) {
        self.rest.insert(index, value);
    }

    /// All elements in order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.first.iter().chain(&self.rest)
    }

    /// All elements in order.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.first.iter_mut().chain(&mut self.rest)
    }

    /// The elements from `from` on, `count` of them at most.
    pub fn range_mut(&mut self, from: usize, count: usize) -> impl Iterator<Item = &mut T> {
        let skipped = from.saturating_sub(1).min(self.rest.len());
        let rest = self.rest.range_mut(skipped..);
        self.first.iter_mut().skip(from).chain(rest).take(count)
    }

    /// How many elements at the beginning `is_before` holds for; once it does not, it holds for none
    /// that follow.
    pub fn partition_point(&self, mut is_before: impl FnMut(&T) -> bool) -> usize {
        match &self.first {
            Some(first) if is_before(first) => 1 + self.rest.partition_point(is_before),
            Some(_) | None => 0,
        }
    }

    /// Takes all elements out.
    pub fn drain(&mut self) -> impl Iterator<Item = T> {
        self.first.take().into_iter().chain(self.rest.drain(..))
    }

    /// Gives memory back, but for what `kept` elements need behind the first.
    pub fn shrink_to(&mut self, kept: usize) {
        if self.rest.capacity() > kept {
            self.rest.shrink_to(kept);
        }
    }
}

impl<T> Default for FrontDeque<T> {
    fn default() -> Self {
        Self { first: None, rest: VecDeque::new() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_deque(ops in proptest::collection::vec((0_u8..7, 0_usize..6), 0..60)) {
            let mut deque = FrontDeque::default();
            let mut model = VecDeque::new();
            for (value, (op, at)) in ops.into_iter().enumerate() {
                match op {
                    0 | 1 => {
                        deque.push_back(value);
                        model.push_back(value);
                    }
                    2 => prop_assert_eq!(deque.pop_front(), model.pop_front()),
                    3 if at < model.len() => {
                        deque.insert_behind(at, value);
                        model.insert(at + 1, value);
                    }
                    4 => {
                        let changed: Vec<usize> = deque.range_mut(at, 2).map(|value| *value).collect();
                        prop_assert_eq!(changed, model.iter().copied().skip(at).take(2).collect::<Vec<_>>());
                    }
                    5 => prop_assert_eq!(deque.pop_back(), model.pop_back()),
                    _ if at == 5 => {
                        prop_assert_eq!(deque.drain().collect::<Vec<_>>(), model.drain(..).collect::<Vec<_>>());
                        deque.shrink_to(1);
                    }
                    _ => {}
                }
                prop_assert_eq!(deque.iter().collect::<Vec<_>>(), model.iter().collect::<Vec<_>>());
                prop_assert_eq!((deque.len(), deque.is_empty()), (model.len(), model.is_empty()));
                prop_assert_eq!(deque.front(), model.front());
                prop_assert_eq!(deque.back_mut(), model.back_mut());
                prop_assert_eq!(deque.get(at), model.get(at));
                prop_assert_eq!(deque.get_mut(at), model.get_mut(at));
            }
        }

        #[test]
        fn it_is_parted_like_a_deque(count in 0_usize..6, at in 0_usize..7) {
            let mut deque = FrontDeque::default();
            (0..count).for_each(|value| deque.push_back(value));
            prop_assert_eq!(deque.partition_point(|value| *value < at), at.min(count));
        }
    }
}
