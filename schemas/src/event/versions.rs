//! Which events there are, in which versions, since which format each may be written, and how one version is brought to the next.
//!
//! Programs of two releases work side by side while a platform is upgraded, so a program reads more than it writes: everything up to its own
//! [`FORMAT`](domain::platform::FORMAT), while it writes no more than the format that an operator has raised. What belongs to a higher one
//! is written in the older version that everybody reads, as long as nothing is lost by that.

use serde_json::Value;

/// One step of a type's history.
pub(super) struct Upcast {
    /// The type.
    pub name: &'static str,
    /// The version that it takes.
    pub from: u32,
    /// The format with which the next version may be written.
    pub format: u32,
    /// Brings `data` up by one version. What is not of the old shape it leaves as it is: it will not be of the new shape either.
    pub apply: fn(Value) -> Value,
    /// The opposite of `apply`. Its result counts only if `apply` makes the same `data` of it again.
    pub back: fn(Value) -> Value,
}

/// Names and their histories.
pub(super) struct Versions {
    /// Every type.
    pub names: &'static [&'static str],
    /// Types that came later, with the format with which they may be written. All others were there from the beginning.
    pub added: &'static [(&'static str, u32)],
    /// Every step, in order. The present version of a type is one more than the number of its steps.
    pub upcasts: &'static [Upcast],
}

/// What this program reads and writes. Every type is at its first version.
pub(super) const PRESENT: Versions = Versions { names: NAMES, added: &[], upcasts: &[] };

/// The highest version of a type that this program reads; none for a type that it does not know.
pub fn current_version(name: &str) -> Option<u32> {
    PRESENT.current(name)
}

/// Brings `data` of an older version up by one. Data of the present version stays as it is.
pub fn upcast(name: &str, version: u32, data: Value) -> Value {
    PRESENT.step(name, version, data)
}

impl Versions {
    pub(super) fn current(&self, name: &str) -> Option<u32> {
        let steps = self.upcasts.iter().filter(|u| u.name == name).count();
        self.names.contains(&name).then(|| 1 + u32::try_from(steps).expect("the table is a constant of this program"))
    }

    fn step(&self, name: &str, version: u32, data: Value) -> Value {
        match self.upcasts.iter().find(|u| u.name == name && u.from == version) {
            Some(upcast) => (upcast.apply)(data),
            None => data,
        }
    }

    /// `data` of the present version as it may be written in `format`, with its version; otherwise the format that it needs.
    pub(super) fn lower(&self, format: u32, name: &str, version: u32, data: Value) -> Result<(u32, Value), u32> {
        if let Some((_, needed)) = self.added.iter().find(|(added, needed)| *added == name && *needed > format) {
            return Err(*needed);
        }
        let mut too_new = self.upcasts.iter().rev().filter(|step| step.name == name && step.format > format);
        too_new.try_fold((version, data), |(version, data), step| {
            let older = (step.back)(data.clone());
            if (step.apply)(older.clone()) == data { Ok((version - 1, older)) } else { Err(step.format) }
        })
    }

    /// `data` in the present version; none when the type or version is not known.
    pub(super) fn bring_up(&self, name: &str, version: u32, data: Value) -> Option<Value> {
        let current = self.current(name)?;
        (1..=current).contains(&version).then(|| (version..current).fold(data, |data, v| self.step(name, v, data)))
    }
}

/// Every type that this program reads and writes.
pub const NAMES: &[&str] = &[
    "command.expired",
    "command.failed",
    "command.nothing_to_do",
    "command.refused",
    "command.repeated",
    "command.unreadable",
    "platform.default_quota_set",
    "platform.flavor_defined",
    "platform.format_raised",
    "platform.operator_appointed",
    "platform.operator_dismissed",
    "platform.region_declared",
    "platform.service_paused",
    "platform.service_published",
    "platform.service_retired",
    "platform.tenant_reserved",
    "platform.zone_declared",
    "platform.zone_state_set",
    "tenant.cell_default_set",
    "tenant.cell_limits_clamped",
    "tenant.closed",
    "tenant.closing_began",
    "tenant.limits_set",
    "tenant.opened",
    "tenant.renamed",
    "tenant.resumed",
    "tenant.suspended",
    "cell.closed",
    "cell.created",
    "cell.limits_set",
    "cell.renamed",
    "member.role_granted",
    "member.role_revoked",
    "resource.attach_requested",
    "resource.attached",
    "resource.attempt_failed",
    "resource.change_requested",
    "resource.changed",
    "resource.cleaned",
    "resource.delete_requested",
    "resource.deleted",
    "resource.detach_requested",
    "resource.detached",
    "resource.lifecycle_corrected",
    "resource.observed_late",
    "resource.overdue",
    "resource.pending",
    "resource.provisioned",
    "resource.provisioning_abandoned",
    "resource.provisioning_failed",
    "resource.reboot_requested",
    "resource.rebooted",
    "resource.released",
    "resource.remains_found",
    "resource.remains_removed",
    "resource.renamed",
    "resource.reopened",
    "resource.requested",
    "resource.resolved",
    "resource.start_requested",
    "resource.started",
    "resource.step_failed",
    "resource.stop_requested",
    "resource.stopped",
    "resource.vanished",
];
