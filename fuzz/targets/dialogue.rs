//! See the property for what is asserted.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    keyward_fuzz::run(keyward::deploy::probe::properties::DIALOGUE, bytes);
});
