//! What each tenant does, in which order.
//!
//! By time; at the same time first the ends of machines that were there before, then the creations in the order of the table, then the ends
//! of machines that lived no time at all.

use super::machines::Machine;

/// One thing that a tenant does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// When, in seconds of the trace.
    pub at_s: u64,
    /// What.
    pub act: Act,
    /// With which machine: its place among the tenant's.
    pub machine: usize,
}

/// What is done with a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// It is created.
    Create,
    /// It is deleted.
    Delete,
}

/// A tenant's machines and its steps in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Schedule {
    /// The machines.
    pub machines: Vec<Machine>,
    /// Creations before the stop, and ends until then, that second included.
    pub steps: Vec<Step>,
}

impl Schedule {
    /// The schedules of all tenants until second `stop_s`.
    pub fn of(machines: Vec<Machine>, stop_s: u64, tenants: usize) -> Vec<Self> {
        let mut schedules = vec![Self::default(); tenants];
        for machine in machines.into_iter().filter(|machine| machine.created_s < stop_s) {
            let tenant = machine.tenant;
            schedules[tenant].machines.push(machine);
        }
        for schedule in &mut schedules {
            schedule.arrange(stop_s);
        }
        schedules
    }

    fn arrange(&mut self, stop_s: u64) {
        for (machine, Machine { created_s, ends_s, .. }) in self.machines.iter().enumerate() {
            self.steps.push(Step { at_s: *created_s, act: Act::Create, machine });
            if *ends_s <= stop_s {
                self.steps.push(Step { at_s: *ends_s, act: Act::Delete, machine });
            }
        }
        let machines = &self.machines;
        self.steps.sort_by_key(|step| {
            let machine = &machines[step.machine];
            let rank = match step.act {
                Act::Delete if machine.created_s < step.at_s => 0,
                Act::Create => 1,
                Act::Delete => 2,
            };
            (step.at_s, rank, machine.seq)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(seq: u64, created_s: u64, ends_s: u64) -> Machine {
        Machine { seq, tenant: 0, cell: 0, created_s, ends_s, vcpus: 1, memory_mib: 768 }
    }

    fn order(machines: Vec<Machine>, stop_s: u64) -> Vec<(u64, Act, u64)> {
        let schedule = Schedule::of(machines, stop_s, 1).remove(0);
        schedule.steps.iter().map(|step| (step.at_s, step.act, schedule.machines[step.machine].seq)).collect()
    }

    #[test]
    fn at_the_same_time_what_was_there_ends_first_and_what_lives_no_time_ends_last() {
        use Act::{Create, Delete};
        let machines = vec![machine(1, 300, 600), machine(4, 600, 600), machine(3, 600, 900), machine(2, 600, 600), machine(0, 0, 600)];
        let expected = [
            (0, Create, 0),
            (300, Create, 1),
            (600, Delete, 0),
            (600, Delete, 1),
            (600, Create, 2),
            (600, Create, 3),
            (600, Create, 4),
            (600, Delete, 2),
            (600, Delete, 4),
        ];
        assert_eq!(order(machines, 700), expected);
    }

    #[test]
    fn a_machine_that_ends_at_the_stop_is_deleted_and_one_that_is_created_there_is_not_played() {
        assert_eq!(
            order(vec![machine(0, 0, 600), machine(1, 0, 601), machine(2, 600, 900)], 600),
            [(0, Act::Create, 0), (0, Act::Create, 1), (600, Act::Delete, 0)]
        );
    }

    #[test]
    fn a_machine_is_deleted_only_after_it_was_created() {
        let machines: Vec<Machine> = (0..500).map(|seq| machine(seq, 300 * (seq % 7), 300 * (seq % 7) + 300 * (seq % 5))).collect();
        let schedule = Schedule::of(machines, 1_500, 1).remove(0);
        let mut created = vec![false; schedule.machines.len()];
        for step in &schedule.steps {
            assert_eq!(created[step.machine], step.act == Act::Delete);
            created[step.machine] = true;
        }
    }
}
