//! Of the scheduler, what decides: not what carries it out.

#[path = "../../src/scheduler/budget.rs"]
pub mod budget;
#[path = "../../src/scheduler/caring.rs"]
pub mod caring;
#[path = "../../src/scheduler/giving_way.rs"]
mod giving_way;
#[path = "../../src/scheduler/plan.rs"]
pub mod plan;
#[path = "../../src/scheduler/standby.rs"]
pub mod standby;
#[path = "../../src/scheduler/take_over.rs"]
pub mod take_over;
#[path = "../../src/scheduler/transition.rs"]
pub mod transition;
