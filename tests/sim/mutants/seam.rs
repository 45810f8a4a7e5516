//! The seam between the world and the real engine: events and actions pass here, and a mutation may change them. Nothing
//! inside the engine knows of it.

use scrubd::engine::{Action, Engine, Event, Settings, Startup, Status};
use scrubd::sim::Core;
use scrubd::vocabulary::Now;

/// What came through so far: to be heard by the engine, and to be done by the world.
#[derive(Default)]
pub struct Passed {
    pub heard: Vec<Event>,
    pub done: Vec<Action>,
}

/// What is wrong with a mutant. One that overrides nothing passes everything on.
pub trait Mutation {
    /// What the engine starts from.
    fn start(&mut self, _: &mut Startup, _: &mut Settings) {}
    /// An event comes from the world.
    fn hear(&mut self, event: Event, passed: &mut Passed) {
        passed.heard.push(event);
    }
    /// An action comes from the engine. What is put into `heard` it hears at once, in another step of the same instant.
    fn act(&mut self, action: Action, passed: &mut Passed) {
        passed.done.push(action);
    }
    /// Operations of the mutant's own, numbered behind those of the engine: the first number is told.
    fn spare(&mut self, _first: u32) -> u32 {
        0
    }
    /// When the engine wants to be woken.
    fn wake(&self, at: Option<u64>) -> Option<u64> {
        at
    }
}

/// Steps within one instant at the most: more is a mutation that talks to itself.
const MAX_ROUNDS: u32 = 1000;

/// The real engine behind a mutation.
pub struct Mutant {
    engine: Engine,
    mutation: Box<dyn Mutation>,
    operations: u32,
}

impl Mutant {
    pub fn new(mut startup: Startup, mut settings: Settings, mut mutation: Box<dyn Mutation>) -> Self {
        mutation.start(&mut startup, &mut settings);
        let engine = Engine::new(startup, settings);
        let operations = engine.operations() + mutation.spare(engine.operations());
        Mutant { engine, mutation, operations }
    }
}

impl Core for Mutant {
    fn operations(&self) -> u32 {
        self.operations
    }

    fn spans(&self) -> u32 {
        self.engine.spans()
    }

    fn step(&mut self, now: Now, events: &[Event], actions: &mut Vec<Action>) {
        let mut passed = Passed::default();
        for event in events {
            self.mutation.hear(event.clone(), &mut passed);
        }
        for _ in 0..MAX_ROUNDS {
            let (heard, mut wanted) = (std::mem::take(&mut passed.heard), Vec::new());
            self.engine.step(now, &heard, &mut wanted);
            for action in wanted {
                self.mutation.act(action, &mut passed);
            }
            if passed.heard.is_empty() {
                actions.append(&mut passed.done);
                return;
            }
        }
        panic!("no end of events within one instant");
    }

    fn next_wake(&self) -> Option<u64> {
        self.mutation.wake(self.engine.next_wake())
    }

    fn status(&self) -> Status {
        self.engine.status()
    }
}

/// Passes everything on: what fails with this is the seam.
pub struct Faithful;

impl Mutation for Faithful {}

struct Starting<F>(F);
struct Hearing<F>(F);
struct Acting<F>(F);

impl<F: FnMut(&mut Startup, &mut Settings)> Mutation for Starting<F> {
    fn start(&mut self, startup: &mut Startup, settings: &mut Settings) {
        (self.0)(startup, settings);
    }
}

impl<F: FnMut(Event, &mut Passed)> Mutation for Hearing<F> {
    fn hear(&mut self, event: Event, passed: &mut Passed) {
        (self.0)(event, passed);
    }
}

impl<F: FnMut(Action, &mut Passed)> Mutation for Acting<F> {
    fn act(&mut self, action: Action, passed: &mut Passed) {
        (self.0)(action, passed);
    }
}

/// A mutation of what the engine starts from.
pub fn starting(change: impl FnMut(&mut Startup, &mut Settings) + 'static) -> Box<dyn Mutation> {
    Box::new(Starting(change))
}

/// A mutation of each event, one for one.
pub fn hearing(mut change: impl FnMut(Event) -> Event + 'static) -> Box<dyn Mutation> {
    Box::new(Hearing(move |event, passed: &mut Passed| passed.heard.push(change(event))))
}

/// A mutation of each action, one for one.
pub fn acting(mut change: impl FnMut(Action) -> Action + 'static) -> Box<dyn Mutation> {
    Box::new(Acting(move |action, passed: &mut Passed| passed.done.push(change(action))))
}

/// A mutant that does not hear some events.
pub fn deaf_to(mut what: impl FnMut(&Event) -> bool + 'static) -> Box<dyn Mutation> {
    Box::new(Hearing(move |event, passed: &mut Passed| {
        if !what(&event) {
            passed.heard.push(event);
        }
    }))
}

/// A mutant that leaves some actions undone.
pub fn omits(mut what: impl FnMut(&Action) -> bool + 'static) -> Box<dyn Mutation> {
    Box::new(Acting(move |action, passed: &mut Passed| {
        if !what(&action) {
            passed.done.push(action);
        }
    }))
}
