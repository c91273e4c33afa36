//! The table of machines.

use super::CELLS;
use anyhow::{Context, ensure};
use flate2::read::GzDecoder;
use serde::Deserialize;
use std::{fs::File, io::Read, path::Path};

/// A machine of the trace. Seconds are those of the trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// Its number in the trace.
    pub seq: u64,
    /// Which tenant starts it, from 0.
    pub tenant: usize,
    /// In which of the tenant's cells, from 0.
    pub cell: usize,
    /// When it is created.
    pub created_s: u64,
    /// When it ends: at the upper bound of its lifetime, whether or not anybody saw it end.
    pub ends_s: u64,
    /// Virtual processors.
    pub vcpus: u64,
    /// Memory in MiB.
    pub memory_mib: u64,
}

/// A row as it is written; the columns that are not read here are passed over.
#[derive(Deserialize)]
struct Row<'a> {
    vm_seq: u64,
    created_s: u64,
    batch_id: u64,
    vcpus: u64,
    memory_gb: &'a str,
    lifetime_hi_s: u64,
}

/// The machines created before second `stop_s`, as those of so many tenants, in the order of the table.
///
/// # Errors
/// When the file cannot be read or a row is not one of a machine.
pub fn read(path: &Path, stop_s: u64, tenants: usize) -> anyhow::Result<Vec<Machine>> {
    let file = File::open(path).with_context(|| format!("cannot read the trace {}", path.display()))?;
    parse(GzDecoder::new(file), stop_s, tenants).with_context(|| path.display().to_string())
}

fn parse(table: impl Read, stop_s: u64, tenants: usize) -> anyhow::Result<Vec<Machine>> {
    let mut table = csv::Reader::from_reader(table);
    let columns = table.headers()?.clone();
    let mut record = csv::StringRecord::new();
    let mut machines = Vec::new();
    while table.read_record(&mut record)? {
        let row: Row<'_> = record.deserialize(Some(&columns))?;
        if row.created_s >= stop_s {
            continue;
        }
        let batch = usize::try_from(row.batch_id)?;
        machines.push(Machine {
            seq: row.vm_seq,
            tenant: batch % tenants,
            cell: batch / tenants % CELLS,
            created_s: row.created_s,
            ends_s: row.created_s + row.lifetime_hi_s,
            vcpus: row.vcpus,
            memory_mib: mebibytes(row.memory_gb)?,
        });
    }
    Ok(machines)
}

/// GiB in decimal notation as MiB, without a floating point in between.
fn mebibytes(gib: &str) -> anyhow::Result<u64> {
    let (whole, fraction) = gib.split_once('.').unwrap_or((gib, ""));
    let scale = 10_u64.checked_pow(u32::try_from(fraction.len())?).with_context(|| format!("{gib} GB has too many digits"))?;
    let digits: u64 = format!("{whole}{fraction}").parse().with_context(|| format!("{gib} GB is no size of memory"))?;
    let scaled = digits.checked_mul(1_024).with_context(|| format!("{gib} GB is too much"))?;
    ensure!(scaled % scale == 0, "{gib} GB is no whole number of MiB");
    Ok(scaled / scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_converted_exactly_or_not_at_all() {
        for (gib, mib) in [("0.75", 768), ("1.75", 1_792), ("3.5", 3_584), ("14", 14_336), ("14.0", 14_336), ("0.5", 512)] {
            assert_eq!(mebibytes(gib).unwrap(), mib, "{gib}");
        }
        for bad in ["0.1", "", ".", "-1", "1e3", "99999999999999999999", "0.00000000000000000001"] {
            assert!(mebibytes(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_machine_belongs_to_the_tenant_and_cell_of_its_batch_and_one_created_at_the_end_is_not_played() {
        let table = "vm_seq,created_s,batch_id,flavor_key,vcpus,memory_gb,still_running_at_observed_end,lifetime_lo_s,lifetime_hi_s,observed_end_s\n\
                     7,1800000,1005,a,1,0.75,1,0,300,2100000\n\
                     8,1800300,3,a,1,0.75,0,0,300,2100000\n";
        let machines = parse(table.as_bytes(), 1_800_300, 200).unwrap();
        let expected = Machine { seq: 7, tenant: 5, cell: 1, created_s: 1_800_000, ends_s: 1_800_300, vcpus: 1, memory_mib: 768 };
        assert_eq!(machines, [expected]);
    }
}
