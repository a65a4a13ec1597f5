//! A machine with a kernel of its own, for what neither a container nor the kernel at hand can show.
//!
//! qemu boots Debian's kernel (`scripts/install-vm`) on an emulated processor, so it needs no
//! rights and no KVM, and takes its time. Its whole disk is made here: a busybox, the programs that
//! scenes use with their libraries, keyward, and the test program itself, which runs the scenes in
//! there and says on the serial console how they went.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Set in there, and nowhere else.
pub(crate) const INSIDE: &str = "VM_INSIDE";

/// What scenes may call besides keyward; those without a package of their own are essential.
const PROGRAMS: [&str; 4] = ["setpriv", "prlimit", "openssl", "curl"];

/// About 100 s on an idle machine.
const LIMIT: Duration = Duration::from_secs(480);

/// Boots the machine, has it run the test `inside` of this very program as an ordinary user, and
/// gives what its console said, and whether it came to a proper end.
pub(crate) fn boot(inside: &str) -> (String, bool) {
    let vm = place();
    let kernel = vm.join("vmlinuz");
    assert!(kernel.exists(), "no kernel at {}: run scripts/install-vm", kernel.display());
    let dir = tempfile::tempdir().unwrap();
    let disk = dir.path().join("disk");
    fs::write(&disk, disk_of(&vm, dir.path(), inside)).unwrap();
    // It stays, for whoever wants to see it.
    let console = Path::new(env!("CARGO_TARGET_TMPDIR")).join("vm-console");
    let child = Command::new("qemu-system-x86_64")
        // One thread for both processors: with two, one of them now and then runs into the breakpoint
        // that the kernel lays for a moment where it changes its own code, and the boot ends there.
        .args(["-accel", "tcg,thread=single", "-cpu", "max", "-smp", "2", "-m", "1536"])
        .args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"])
        .arg("-kernel")
        .arg(&kernel)
        .arg("-initrd")
        .arg(&disk)
        .args(["-append", "console=ttyS0 quiet panic=-1"])
        .arg("-serial")
        .arg(format!("file:{}", console.display()))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("qemu-system-x86_64 is installed by tests/check");
    let mut machine = Machine(child);
    let begin = Instant::now();
    let ended = loop {
        if let Some(status) = machine.0.try_wait().unwrap() {
            break status.success();
        }
        if begin.elapsed() > LIMIT {
            break false;
        }
        std::thread::sleep(Duration::from_millis(200));
    };
    drop(machine.0.kill());
    let mut said = String::from_utf8_lossy(&fs::read(&console).unwrap_or_default()).into_owned();
    machine.0.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    let ended = ended && said.contains("inside ended");
    (said, ended)
}

struct Machine(Child);

impl Drop for Machine {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

fn place() -> PathBuf {
    let named = std::env::var_os("VM_DIR").map(PathBuf::from);
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    named.unwrap_or_else(|| target.join("tools/vm"))
}

fn disk_of(vm: &Path, scratch: &Path, inside: &str) -> Vec<u8> {
    let ourselves = std::env::current_exe().unwrap();
    let mut disk = Disk::default();
    for program in [Path::new(env!("CARGO_BIN_EXE_keyward")), &ourselves] {
        // Where it lies here, so that the kit finds it there; without what only debuggers read.
        let slim = scratch.join("slim");
        let stripped = Command::new("strip").arg("-o").arg(&slim).arg(program).status();
        assert!(stripped.expect("strip is part of binutils").success());
        disk.file(program, 0o755, fs::read(&slim).unwrap());
        disk.libraries(program);
    }
    for program in PROGRAMS {
        let path = std::env::var("PATH").unwrap();
        let mut places = path.split(':').map(|dir| Path::new(dir).join(program));
        let found = places.find(|path| path.is_file());
        let found = found.unwrap_or_else(|| panic!("{program} is installed by tests/check"));
        disk.file(&found, 0o755, fs::read(&found).unwrap());
        disk.libraries(&found);
    }
    disk.file(Path::new("/bin/busybox"), 0o755, fs::read(vm.join("busybox")).unwrap());
    let order = fs::read_to_string(vm.join("modules/order")).unwrap();
    let mut loads = String::new();
    for name in order.lines() {
        let module = format!("/modules/{name}.ko");
        disk.file(Path::new(&module), 0o644, fs::read(vm.join(&module[1..])).unwrap());
        // One that this processor has no use for refuses to be loaded.
        loads.push_str(&format!("insmod {module} 2>/dev/null || echo \"not loaded: {name}\"\n"));
    }
    for dir in ["/proc", "/sys", "/dev", "/tmp", "/root", "/etc"] {
        disk.directory(Path::new(dir));
    }
    let path = std::env::var("PATH").unwrap();
    let init = format!(
        "#!/bin/busybox sh\n\
         /bin/busybox --install -s /bin\n\
         export PATH={path}:/bin HOME=/tmp {INSIDE}=1\n\
         mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev\n\
         chmod 1777 /tmp\n\
         ip link set lo up\n\
         {loads}\
         uname -a\n\
         prlimit --memlock=unlimited:unlimited setpriv --reuid 1000 --regid 1000 --clear-groups \
         '{exe}' --exact {inside} --nocapture --test-threads 1 2>&1\n\
         echo \"inside ended: $?\"\n\
         poweroff -f\n",
        exe = ourselves.display()
    );
    disk.file(Path::new("/init"), 0o755, init.into_bytes());
    disk.archive()
}

/// What the kernel unpacks into memory at its start.
#[derive(Default)]
struct Disk(BTreeMap<PathBuf, (u32, Vec<u8>)>);

impl Disk {
    fn directory(&mut self, path: &Path) {
        for dir in path.ancestors().filter(|dir| dir.parent().is_some()) {
            self.0.entry(dir.to_owned()).or_insert((0o040_755, Vec::new()));
        }
    }

    fn file(&mut self, path: &Path, mode: u32, content: Vec<u8>) {
        self.directory(path.parent().unwrap());
        self.0.insert(path.to_owned(), (0o100_000 | mode, content));
    }

    /// Adds what `program` is linked with.
    fn libraries(&mut self, program: &Path) {
        let said = Command::new("ldd").arg(program).output().unwrap();
        let said = String::from_utf8(said.stdout).unwrap();
        let named = said.split_whitespace().filter(|word| word.starts_with('/'));
        for library in named.map(Path::new) {
            let mode = fs::metadata(library).unwrap().permissions().mode() & 0o777;
            self.file(library, mode, fs::read(library).unwrap());
        }
    }

    /// As an archive of the kind that cpio calls newc (the kernel's own documentation,
    /// "initramfs buffer format").
    fn archive(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut entry = |number: usize, name: &str, mode: u32, content: &[u8]| {
            let (size, named) = (content.len(), name.len() + 1);
            // Links, and nothing of time and devices.
            out.extend(
                format!(
                    "070701{number:08X}{mode:08X}{:08X}{:08X}00000001{:08X}{size:08X}{:032X}\
                     {named:08X}{:08X}",
                    0, 0, 0, 0, 0
                )
                .bytes(),
            );
            out.extend(name.bytes().chain([0]));
            out.resize(out.len().next_multiple_of(4), 0);
            out.extend(content);
            out.resize(out.len().next_multiple_of(4), 0);
        };
        for (number, (path, (mode, content))) in self.0.iter().enumerate() {
            entry(number + 1, path.strip_prefix("/").unwrap().to_str().unwrap(), *mode, content);
        }
        entry(0, "TRAILER!!!", 0, &[]);
        out
    }
}
