//! Compiles the C between libjpeg and this crate: where its failures come back, and how it decodes coefficients.

fn main() {
    let directory = "src/jpeg/libjpeg";
    println!("cargo:rerun-if-changed={directory}");
    let headers = std::env::var_os("DEP_JPEG_INCLUDE").expect("mozjpeg-sys says where its headers are");
    cc::Build::new()
        .files(["shim.c", "huffman.c"].map(|file| format!("{directory}/{file}")))
        .includes(std::env::split_paths(&headers))
        .warnings(false)
        .compile("pillow_exact_jpeg");
}
