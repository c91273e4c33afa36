use super::*;
use crate::trace::{
    machines,
    schedule::{Act, Schedule},
};
use flate2::{Compression, write::GzEncoder};
use std::{io::Write, path::PathBuf};

const COLUMNS: &str =
    "vm_seq,created_s,batch_id,flavor_key,vcpus,memory_gb,still_running_at_observed_end,lifetime_lo_s,lifetime_hi_s,observed_end_s";

/// Lives over the stop; ends at it; ends before it; lives no time; is created at it; a second tenant; another cell of the first.
const ROWS: [&str; 8] = [
    "0,1800000,0,m,8,14,0,0,3900,2100000",
    "1,1800000,0,a,1,0.75,1,0,3600,2100000",
    "2,1800300,2,g,2,3.5,0,900,900,2100000",
    "3,1800300,2,g,2,3.5,0,0,0,2100000",
    "4,1803600,2,g,2,3.5,0,900,900,2100000",
    "5,1801200,1,b,1,1.75,1,0,999999,2100000",
    "6,1803300,2,b,1,1.75,0,0,301,2100000",
    "7,1803300,3,o,8,56,0,0,300,2100000",
];

const STOP_S: u64 = 1_803_600;

fn oracle() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../dev/trace-expect")
}

fn table(rows: &[&str]) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let mut packed = GzEncoder::new(&mut file, Compression::fast());
    packed.write_all(format!("{COLUMNS}\n{}\n", rows.join("\n")).as_bytes()).unwrap();
    packed.finish().unwrap();
    file
}

/// What is left of a schedule when it has been played.
fn left(schedule: &Schedule) -> Use {
    let mut alive = vec![Use::default(); schedule.machines.len()];
    for step in &schedule.steps {
        let machine = &schedule.machines[step.machine];
        alive[step.machine] = match step.act {
            Act::Create => Use { machines: 1, vcpus: machine.vcpus, memory_mib: machine.memory_mib },
            Act::Delete => Use::default(),
        };
    }
    alive.into_iter().sum()
}

#[test]
fn the_oracle_counts_who_was_created_before_the_stop_and_ends_after_it() {
    let table = table(&ROWS);
    let (each, all) = expect(&oracle(), table.path(), STOP_S, 2).unwrap();
    let first = Use { machines: 2, vcpus: 9, memory_mib: 14_336 + 1_792 };
    let second = Use { machines: 1, vcpus: 1, memory_mib: 1_792 };
    assert_eq!(each, [first, second]);
    assert_eq!(all, Use { machines: 3, vcpus: 10, memory_mib: 17_920 });
}

#[test]
fn the_schedule_leaves_what_the_oracle_expects_wherever_the_trace_stops() {
    let table = table(&ROWS);
    for stop_s in (1_800_000..1_804_200).step_by(150).chain([1_803_601, 2_591_400]) {
        for tenants in [1, 2, 3, 5] {
            let (each, all) = expect(&oracle(), table.path(), stop_s, tenants).unwrap();
            let schedules = Schedule::of(machines::read(table.path(), stop_s, tenants).unwrap(), stop_s, tenants);
            let left: Vec<Use> = schedules.iter().map(left).collect();
            assert_eq!(left, each, "{tenants} tenants, until {stop_s}");
            assert_eq!(left.into_iter().sum::<Use>(), all);
        }
    }
}

#[test]
fn an_oracle_that_does_not_know_the_columns_ends_the_run() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let mut packed = GzEncoder::new(&mut file, Compression::fast());
    packed.write_all(b"machine,began\n1,2\n").unwrap();
    packed.finish().unwrap();
    let problem = expect(&oracle(), file.path(), STOP_S, 2).unwrap_err().to_string();
    assert!(problem.contains("unknown columns"), "{problem}");
}

#[test]
fn the_first_tenant_that_differs_is_named_with_what_each_read_model_shows() {
    let tenant = |id: &str| Tenant::opened(id);
    let one = Use { machines: 1, vcpus: 2, memory_mib: 3 };
    let equal = Shown { quota: one, list: one };
    let wrong = Shown { quota: one, list: Use::default() };
    let two = [one, one].into_iter().sum();
    let tenants = [tenant("a"), tenant("b")];
    assert_eq!(differences(&[one, one], two, &tenants, &[equal, equal]), Vec::<String>::new());
    assert_eq!(
        differences(&[one, one], two, &tenants, &[equal, wrong]),
        [
            "tenant 1 (b): list shows 0 machines, 0 vCPUs, 0 MiB; the table has 1 machines, 2 vCPUs, 3 MiB",
            "all tenants: list shows 1 machines, 2 vCPUs, 3 MiB; the table has 2 machines, 4 vCPUs, 6 MiB",
        ]
    );
}
