//! CUDA's libraries, loaded where a card is asked for.
//!
//! candle is built to be linked against them, and what is so linked starts on no machine without a driver. So each of their functions
//! that a tower reaches is one of ours here, of the same name, that jumps to where the library's own lies. The linker takes ours before it
//! looks into the libraries, and then has no need of these: LLD drops them, which is Rust's linker for x86-64 Linux, and `.ci/cuda` sees
//! to it.
#![allow(unsafe_code)]

use std::{
    ffi::{CStr, CString, c_void},
    sync::{
        OnceLock,
        atomic::{AtomicPtr, Ordering},
    },
};

use candle_core::cuda_backend::cudarc::driver::sys::CUDA_VERSION;

/// Loads them, once in a process.
///
/// # Errors
/// One is not there, or lacks a function, in words.
pub(super) fn load() -> Result<(), String> {
    static LOADED: OnceLock<Result<(), String>> = OnceLock::new();
    LOADED.get_or_init(|| LIBRARIES.iter().try_for_each(Library::load)).clone()
}

/// A library, in words and by the name of its file, and its functions.
struct Library {
    what: &'static str,
    file: fn(major: u32) -> String,
    functions: &'static [(&'static CStr, &'static AtomicPtr<c_void>)],
}

impl Library {
    fn load(&self) -> Result<(), String> {
        let file = (self.file)(CUDA_VERSION / 1000);
        let name = CString::new(file.as_str()).map_err(|error| error.to_string())?;
        // SAFETY: the name ends in a zero. The library is never closed, so that pointers into it hold.
        let library = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW) };
        if library.is_null() {
            return Err(format!("{} cannot be opened: {}", self.what, last_error().unwrap_or(file)));
        }
        for (function, place) in self.functions {
            // SAFETY: the library is open, and the name ends in a zero.
            let address = unsafe { libc::dlsym(library, function.as_ptr()) };
            if address.is_null() {
                let function = function.to_string_lossy();
                return Err(format!("{} is older than this build: {file} has no {function}", self.what));
            }
            place.store(address, Ordering::Release);
        }
        Ok(())
    }
}

/// What the loader says of its last failure.
fn last_error() -> Option<String> {
    // SAFETY: it is a string of the loader's, or null, and stays until this thread's next call of the loader.
    let error = unsafe { libc::dlerror().cast_const().as_ref() }?;
    // SAFETY: the same; it ends in a zero.
    Some(unsafe { CStr::from_ptr(error) }.to_string_lossy().into_owned())
}

/// What stands for a function until its library is loaded, and is never called: [`super::gpu`] loads first.
extern "C" fn not_loaded() {
    std::process::abort();
}

macro_rules! libraries {
    ($($what:literal, $file:expr => $($function:ident)*;)*) => {
        /// Where the functions lie.
        #[allow(non_upper_case_globals)]
        mod places {
            use super::{AtomicPtr, c_void, not_loaded};
            $($(pub(super) static $function: AtomicPtr<c_void> = AtomicPtr::new(not_loaded as *mut c_void);)*)*
        }

        /// The functions: a jump leaves arguments, stack and result to the one that it leads to, whatever they are.
        #[allow(non_snake_case)]
        mod functions {
            use super::places;
            $($(
                // SAFETY: the name is no other's, as the linker would say.
                #[unsafe(no_mangle)]
                #[unsafe(naked)]
                extern "C" fn $function() {
                    std::arch::naked_asm!("jmp qword ptr [rip + {place}]", place = sym places::$function)
                }
            )*)*
        }

        const LIBRARIES: &[Library] = &[$(Library {
            what: $what,
            file: $file,
            functions: &[$((
                match CStr::from_bytes_with_nul(concat!(stringify!($function), "\0").as_bytes()) {
                    Ok(name) => name,
                    Err(_) => unreachable!(),
                },
                &places::$function,
            )),*],
        }),*];
    };
}

/// Products of experts, which no tower has. candle's own lie in an archive that would be linked in for them, and with it CUDA's runtime.
macro_rules! without {
    ($($function:ident)*) => {$(
        // SAFETY: the name is no other's but the archive's, of which nothing else is taken.
        #[unsafe(no_mangle)]
        extern "C" fn $function() {
            not_loaded();
        }
    )*};
}

without! { moe_gemm_gguf moe_gemm_gguf_prefill moe_gemm_wmma }

libraries! {
    "NVIDIA's driver", |_| "libcuda.so.1".into() =>
        cuCtxDestroy_v2 cuCtxGetCurrent cuCtxSetCurrent
        cuDeviceGet cuDeviceGetAttribute cuDeviceGetCount cuDeviceGetName
        cuDevicePrimaryCtxRelease_v2 cuDevicePrimaryCtxRetain
        cuEventCreate cuEventDestroy_v2 cuEventRecord
        cuGetErrorString cuInit cuLaunchKernel
        cuMemAllocAsync cuMemAlloc_v2 cuMemFreeAsync cuMemFree_v2 cuMemGetInfo_v2
        cuMemcpyDtoDAsync_v2 cuMemcpyDtoHAsync_v2 cuMemcpyHtoDAsync_v2 cuMemcpyPeerAsync cuMemsetD8Async
        cuModuleGetFunction cuModuleLoad cuModuleLoadData cuModuleUnload
        cuStreamDestroy_v2 cuStreamIsCapturing cuStreamSynchronize cuStreamWaitEvent;
    "cuBLAS", |major| format!("libcublas.so.{major}") =>
        cublasCreate_v2 cublasDestroy_v2 cublasDgemmStridedBatched cublasGemmStridedBatchedEx cublasSetStream_v2;
    "cuRAND", |_| "libcurand.so.10".into() =>
        curandCreateGenerator curandDestroyGenerator curandSetPseudoRandomGeneratorSeed curandSetStream;
}
