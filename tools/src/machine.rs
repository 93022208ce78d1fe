//! Resource usage of processes, from `/proc`.

use std::fs;

/// The resident memory of a process in KiB, or 0 if the process has ended.
#[must_use]
pub fn memory_kib(process: u32) -> u64 {
    status_kib(process, "VmRSS:")
}

/// The resident memory of a process in MiB, or 0 if the process has ended.
#[must_use]
pub fn memory(process: u32) -> u64 {
    memory_kib(process) / 1_024
}

/// The most resident memory that a process ever had, in MiB, or 0 if the process has ended.
#[must_use]
pub fn peak_memory(process: u32) -> u64 {
    status_kib(process, "VmHWM:") / 1_024
}

/// A number of KiB in `/proc/PID/status`.
fn status_kib(process: u32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.trim().split(' ').next()?.parse().ok()).unwrap_or(0)
}

/// The processor time of a process in seconds.
#[must_use]
pub fn cpu_seconds(process: u32) -> f64 {
    processor_time(process, 11)
}

/// The processor time in seconds of all children for which a process has waited.
fn cpu_seconds_of_ended_children(process: u32) -> f64 {
    processor_time(process, 13)
}

/// The processor time of a process and its children in seconds, including ended children.
#[must_use]
pub fn cpu_seconds_with_children(process: u32) -> f64 {
    let children = fs::read_to_string(format!("/proc/{process}/task/{process}/children"));
    let children = children.unwrap_or_default();
    let children = children.split_whitespace().filter_map(|child| child.parse().ok());
    cpu_seconds(process) + cpu_seconds_of_ended_children(process) + children.map(cpu_seconds).sum::<f64>()
}

/// The sum of two neighbouring fields of `/proc/PID/stat`, counted after the command's name.
fn processor_time(process: u32, first_field: usize) -> f64 {
    /// The kernel's clock ticks in a second.
    const TICKS: f64 = 100.0;
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(first_field).take(2);
    fields.filter_map(|field| field.parse::<f64>().ok()).sum::<f64>() / TICKS
}

/// The median. Panics if there are no values.
#[must_use]
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
