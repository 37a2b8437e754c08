//! The plan of several stores as one.

use crate::Plan;

/// Adds what a plan has beyond another one: a change that two stores need is one step, with the
/// SQL of the first.
pub(super) fn merged(mut plan: Plan, other: Plan) -> Plan {
    for step in other.steps {
        if !plan.steps.iter().any(|known| known.change == step.change) {
            plan.steps.push(step);
        }
    }
    plan
}
