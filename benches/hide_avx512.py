"""A copy of this Python environment, and of one of our binaries, that find no AVX-512 and no AMX on this CPU.

    cargo build --release --example tower_server
    python benches/hide_avx512.py DIR target/release/examples/tower_server      # prints how peers.py is run with it

For figures of AVX2 from a machine with more; x86-64 Linux, with a C compiler and binutils. Environment variables hide
instruction sets from PyTorch alone. So in the copy of each library that looks for itself the instruction `cpuid` is one that
traps, and a handler, loaded before all, answers in its place and leaves out what is hidden.
"""

import argparse
import re
import shutil
import subprocess
import sys
from pathlib import Path

# Whatever asks for instruction sets: patterns below site-packages.
LIBRARIES = ["onnxruntime/capi/*.so*", "openvino/libs/lib*openvino*.so*", "openvino/libs/libtbb.so*", "torch/lib/libtorch_cpu.so", "torch/lib/libc10.so"]

HANDLER = r"""
#define _GNU_SOURCE
#include <cpuid.h>
#include <signal.h>
#include <ucontext.h>
#include <unistd.h>

static void answer(int signal, siginfo_t *info, void *context) {
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    const unsigned char *at = (const unsigned char *)registers[REG_RIP];
    if (at[0] != 0x0f || at[1] != 0x0b) _exit(99); /* another trap */
    unsigned leaf = registers[REG_RAX], part = registers[REG_RCX], a, b, c, d;
    __cpuid_count(leaf, part, a, b, c, d);
    if (leaf == 7 && part == 0) { /* AVX512* and AMX-*: Intel's manual, volume 2, CPUID */
        b &= ~(1u << 16 | 1u << 17 | 1u << 21 | 1u << 26 | 1u << 27 | 1u << 28 | 1u << 30 | 1u << 31);
        c &= ~(1u << 1 | 1u << 6 | 1u << 11 | 1u << 12 | 1u << 14);
        d &= ~(1u << 2 | 1u << 3 | 1u << 8 | 1u << 22 | 1u << 23 | 1u << 24 | 1u << 25);
    }
    if (leaf == 7 && part == 1) a &= ~(1u << 5 | 1u << 21); /* AVX512_BF16, AMX-FP16 */
    registers[REG_RAX] = a, registers[REG_RBX] = b, registers[REG_RCX] = c, registers[REG_RDX] = d;
    registers[REG_RIP] += 2;
}

__attribute__((constructor(101))) static void begin(void) {
    struct sigaction action = {.sa_sigaction = answer, .sa_flags = SA_SIGINFO | SA_NODEFER};
    sigaction(SIGILL, &action, 0);
}
"""


def hide(path: Path) -> int:
    """Lets every `cpuid` of a binary trap, in a file of its own; says how many there were."""
    disassembly = subprocess.Popen(["objdump", "-d", "--no-show-raw-insn", path], stdout=subprocess.PIPE, text=True)
    addresses = [int(line.split(":")[0], 16) for line in disassembly.stdout if re.search(r"\tcpuid\b", line)]
    if disassembly.wait() != 0:
        sys.exit(f"{path}: objdump cannot read it")
    headers = subprocess.run(["readelf", "-lW", path], check=True, capture_output=True, text=True).stdout
    segments = [[int(word, 16) for word in found] for found in re.findall(r"LOAD +0x(\w+) 0x(\w+) 0x\w+ 0x(\w+)", headers)]
    data = bytearray(path.read_bytes())
    for address in addresses:
        for offset, start, size in segments:
            if start <= address < start + size:
                at = address - start + offset
                assert data[at : at + 2] == b"\x0f\xa2", f"{path}: no cpuid at {address:#x}"
                data[at : at + 2] = b"\x0f\x0b"  # ud2
    mode = path.stat().st_mode
    path.unlink()  # the original may be the same file under another name
    path.write_bytes(data)
    path.chmod(mode)
    return len(addresses)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path, help="for the copies; must not exist")
    parser.add_argument("server", type=Path, help="our tower_server")
    args = parser.parse_args()
    directory = args.directory.resolve()
    directory.mkdir(parents=True)
    environment = directory / "environment"
    subprocess.run(["cp", "-al", sys.prefix, environment], check=True)  # links where nothing changes
    server = Path(shutil.copy(args.server, directory))
    handler = directory / "hide.so"
    subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-x", "c", "-", "-o", handler], input=HANDLER, text=True, check=True)
    (site,) = environment.glob("lib/python3*/site-packages")
    for path in [server, *(path for pattern in LIBRARIES for path in sorted(site.glob(pattern)) if not path.is_symlink())]:
        print(f"{path.relative_to(directory)}: {hide(path)}")
    print(f"\nLD_PRELOAD={handler} ATEN_CPU_CAPABILITY=avx2 {environment}/bin/python benches/peers.py --ours {server}")


if __name__ == "__main__":
    main()
