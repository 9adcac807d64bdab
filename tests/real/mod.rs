//! The tests with real registries and real clients, and what they are made of.

mod fleet;
mod image;
mod programs;
mod wire;

mod catalog;
mod clients;
mod load;
mod outage;
mod uploads;
