//! What the threads of this process cost.
#![allow(clippy::expect_used, clippy::panic, reason = "in a test a panic is the report")]

/// CPU time of the thread `name` so far, in microseconds, by the kernel's account.
pub(crate) fn cpu(name: &str) -> f64 {
    for task in std::fs::read_dir("/proc/self/task").expect("this is Linux").flatten() {
        let found = std::fs::read_to_string(task.path().join("comm")).unwrap_or_default();
        if found.trim() == name {
            let line = std::fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
            let nanoseconds = line.split(' ').next().and_then(|n| n.parse::<f64>().ok());
            return nanoseconds.unwrap_or_default() / 1000.0;
        }
    }
    panic!("no thread {name}");
}
