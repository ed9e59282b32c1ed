//! The client against agents of every kind: written down line by line, the demo agent, and the official library.

#[cfg(test)]
mod demo;
#[cfg(test)]
mod official;
#[cfg(test)]
mod restart;
#[cfg(test)]
mod scripted;
#[cfg(test)]
mod splitter;
#[cfg(test)]
mod support;
#[cfg(test)]
mod tables;
