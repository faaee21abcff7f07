//! Slabs, buffer pools, the timer wheel, and the mailboxes that two cores may touch.
