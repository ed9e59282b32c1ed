//! The demo agent as its clients see it.

#[cfg(test)]
mod language;
#[cfg(test)]
mod program;
#[cfg(test)]
mod sessions;
#[cfg(test)]
mod support;
