//! Compiles the few lines of C through which libjpeg's failures come back.

fn main() {
    let shim = "src/jpeg/libjpeg/shim.c";
    println!("cargo:rerun-if-changed={shim}");
    let headers = std::env::var_os("DEP_JPEG_INCLUDE").expect("mozjpeg-sys says where its headers are");
    cc::Build::new()
        .file(shim)
        .includes(std::env::split_paths(&headers))
        .warnings(false)
        .compile("pillow_exact_jpeg");
}
