//! What a rehearsal's simulated application does: the written form, and nothing else.

/// How much it publishes to both clusters, and how often it errs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Behaviour {
    /// How many channels it has.
    pub channels: u32,
    /// How many of them are encrypted, the first ones.
    pub encrypted: u32,
    /// Events per second, all channels together.
    pub rate: f64,
    /// Share of the events that it does not publish to new (0 to 1).
    pub skips: f64,
    /// Share of the events that it publishes to old twice (0 to 1).
    pub doubles: f64,
    /// Share of the events that it publishes to new with other content (0 to 1).
    pub alters: f64,
    /// How many of the channels it publishes to old only.
    pub forgets: u32,
    /// How many presence channels it has, each with one user on old, one on new, and one on both.
    pub rooms: u32,
    /// How many cache channels it has that old keeps an event of and new keeps none.
    pub caches: u32,
}
