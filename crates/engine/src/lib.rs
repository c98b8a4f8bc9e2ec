//! The delivery engine of Postrider.
