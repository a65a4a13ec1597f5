//! What a preset says where the file says nothing.

use super::super::raw_target::RawTarget;
use super::TargetPreset;

/// Fills in what is the habit of the program, and leaves what the file says.
///
/// So far that is how a unit of that name is told; everything else stands in the file.
pub(in super::super) fn fill(preset: TargetPreset, raw: &RawTarget) -> RawTarget {
    let mut filled = raw.clone();
    if filled.files.reload.is_none() {
        let unit = match preset {
            TargetPreset::Apache => "apache2",
            TargetPreset::Redis => "redis-server",
            other => other.word(),
        };
        let words = format!("unit:{unit}.service");
        filled.files.reload = Some(super::super::raw_target::RawWords::One(words));
    }
    filled
}
