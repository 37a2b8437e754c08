//! Merges the plans of several stores.

use crate::Plan;

/// Adds the steps of `other` to a plan. A change that both contain stays one step, with the SQL of
/// the first plan.
pub(super) fn merged(mut plan: Plan, other: Plan) -> Plan {
    for step in other.steps {
        if !plan.steps.iter().any(|known| known.change == step.change) {
            plan.steps.push(step);
        }
    }
    plan
}
