#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    clip_features_fuzz::decode::avif(data);
});
