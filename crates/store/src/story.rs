//! One story that every store must pass, told through the trait alone.
