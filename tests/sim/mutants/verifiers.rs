//! Verifiers and witnesses that are wrong: what the engine hears of a block is not what was concluded.

use std::collections::BTreeSet;
use std::sync::Arc;

use scrubd::engine::{Event, OpId, SpanId};
use scrubd::tag::{Broken, Claims, Class, Heard, Inspection, Inspections, Verdict};
use scrubd::vocabulary::Seq;

use super::seam::{Mutation, Passed, hearing};

/// Another conclusion from the same block.
pub fn concluding(mut change: impl FnMut(Verdict) -> Verdict + 'static) -> Box<dyn Mutation> {
    hearing(move |event| match event {
        Event::Inspected(op, Inspection { verdict, claims }) => {
            Event::Inspected(op, Inspection { verdict: change(verdict), claims })
        }
        Event::InspectedSpan(span, Inspections { intact, others, heard }) => {
            let changed =
                |(block, Inspection { verdict, claims })| (block, Inspection { verdict: change(verdict), claims });
            let others = others.into_iter().map(changed).collect();
            let mut broken = |broken| match change(Verdict::Broken(broken)) {
                Verdict::Broken(broken) => Some(broken),
                _ => None,
            };
            let changed =
                |(block, heard): (_, Heard)| (block, Heard { broken: heard.broken.and_then(&mut broken), ..heard });
            Event::InspectedSpan(span, Inspections { intact, others, heard: heard.into_iter().map(changed).collect() })
        }
        other => other,
    })
}

/// A verifier to which some faults are intact.
pub fn blind_to(blind: impl Fn(Class) -> bool + 'static) -> Box<dyn Mutation> {
    concluding(move |verdict| match verdict {
        Verdict::Broken(broken) if blind(broken.class) => Verdict::Intact,
        other => other,
    })
}

/// A verifier that calls one fault by the name of another.
pub fn misnames(from: Class, to: Class) -> Box<dyn Mutation> {
    concluding(move |verdict| match verdict {
        Verdict::Broken(broken) if broken.class == from => {
            Verdict::Broken(Arc::new(Broken { class: to, ..Broken::clone(&broken) }))
        }
        other => other,
    })
}

/// A verifier that accuses where nothing is wrong.
pub fn accuses(what: impl Fn(&Verdict) -> bool + 'static, class: Class) -> Box<dyn Mutation> {
    concluding(move |verdict| match what(&verdict) {
        true => Verdict::Broken(Arc::new(Broken {
            class,
            expected: None,
            found: None,
            home: None,
            detail: String::new(),
            contents: 0,
        })),
        false => verdict,
    })
}

/// Witnesses that say something else: what is heard of a block before it is judged.
pub fn witnesses(change: impl Fn(&Claims) -> Claims + 'static) -> Box<dyn Mutation> {
    hearing(move |event| match event {
        Event::Surveyed(op, claims) => Event::Surveyed(op, change(&claims)),
        Event::SurveyedSpan(span, heard) => {
            Event::SurveyedSpan(span, heard.iter().map(|(block, claims)| (*block, change(claims))).collect())
        }
        Event::InspectedSpan(span, Inspections { intact, others, heard }) => {
            let changed = |(block, heard): (_, Heard)| (block, Heard { claims: change(&heard.claims), ..heard });
            let heard = heard.into_iter().map(changed).collect();
            Event::InspectedSpan(span, Inspections { intact, others, heard })
        }
        other => other,
    })
}

/// Every witness claims all that stands below its own write.
pub fn boastful(claims: &Claims) -> Claims {
    let mut boast = Claims::default();
    for (claim, atoms) in claims.iter() {
        let durable = claim.durable.max(Seq(claim.issue.seq.0));
        boast.add(&scrubd::vocabulary::Claim { durable, ..*claim }, *atoms);
    }
    boast
}

/// What of a block of the window can bear witness stands for all of it.
pub fn all_whole() -> Box<dyn Mutation> {
    hearing(|event| match event {
        Event::InspectedSpan(span, Inspections { intact, others, heard }) => {
            let whole = |(block, Heard { claims, .. })| (block, Heard { claims, whole: true, broken: None });
            Event::InspectedSpan(span, Inspections { intact, others, heard: heard.into_iter().map(whole).collect() })
        }
        other => other,
    })
}

/// Nobody listens to what tags say, so nobody sees that the state is stale.
pub fn deaf_to_claims() -> Box<dyn Mutation> {
    hearing(|event| match event {
        Event::Surveyed(op, _) => Event::Surveyed(op, Claims::default()),
        Event::SurveyedSpan(span, heard) => {
            Event::SurveyedSpan(span, heard.into_iter().map(|(block, _)| (block, Claims::default())).collect())
        }
        Event::InspectedSpan(span, Inspections { intact, others, heard }) => {
            let mute = |(block, Inspection { verdict, .. })| (block, Inspection { verdict, claims: Claims::default() });
            let unheard = |(block, _)| (block, Heard { claims: Claims::default(), whole: false, broken: None });
            let others = others.into_iter().map(mute).collect();
            Event::InspectedSpan(span, Inspections { intact, others, heard: heard.into_iter().map(unheard).collect() })
        }
        Event::Inspected(op, Inspection { verdict, .. }) => {
            Event::Inspected(op, Inspection { verdict, claims: Claims::default() })
        }
        other => other,
    })
}

/// A read that failed counts as one that succeeded, and what was never read as intact.
#[derive(Default)]
pub struct CountsTheUnread {
    failed: BTreeSet<OpId>,
    failed_spans: BTreeSet<SpanId>,
}

impl Mutation for CountsTheUnread {
    fn hear(&mut self, event: Event, passed: &mut Passed) {
        passed.heard.push(match event {
            Event::Read(op, Err(_)) => {
                self.failed.insert(op);
                Event::Read(op, Ok(()))
            }
            Event::Read(op, Ok(())) => {
                self.failed.remove(&op);
                Event::Read(op, Ok(()))
            }
            Event::Inspected(op, Inspection { claims, .. }) if self.failed.remove(&op) => {
                Event::Inspected(op, Inspection { verdict: Verdict::Intact, claims })
            }
            Event::ReadSpan(span, Err(_)) => {
                self.failed_spans.insert(span);
                Event::ReadSpan(span, Ok(()))
            }
            Event::InspectedSpan(span, Inspections { intact, others, heard }) if self.failed_spans.remove(&span) => {
                let intact = intact + (others.len() + heard.len()) as u32;
                Event::InspectedSpan(span, Inspections { intact, ..Inspections::default() })
            }
            other => other,
        });
    }
}
