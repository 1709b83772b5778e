"""Generated board trees: what /sys and /proc look like on the boards that the agent knows. Not recorded on hardware."""

from __future__ import annotations

from pathlib import Path


def tree(root: Path, files: dict[str, str]) -> Path:
    """Write `files` below `root` and return it."""
    for name, content in files.items():
        path = root / name
        if not path.parent.is_dir():
            path.parent.mkdir(parents=True)
        path.write_text(content)
    return root


def rapl(root: Path, *, packages: tuple[int, ...] = (1_000_000,), range_uj: int = 262_143_328_850) -> Path:
    """A server with RAPL: package zones with counters in µJ, each with a core and a dram zone below."""
    files = {}
    for index, energy_uj in enumerate(packages):
        zone = f"sys/class/powercap/intel-rapl:{index}"
        for path, name in ((zone, f"package-{index}"), (f"{zone}:0", "core"), (f"{zone}:1", "dram")):
            files |= {
                f"{path}/name": f"{name}\n",
                f"{path}/energy_uj": f"{energy_uj}\n",
                f"{path}/max_energy_range_uj": f"{range_uj}\n",
            }
    return tree(root, files)


def raspberry_pi(root: Path, *, throttled: str = "0") -> Path:
    """A Raspberry Pi 4 with four cores."""
    files = {
        "proc/device-tree/model": "Raspberry Pi 4 Model B Rev 1.4\0",
        "proc/cpuinfo": "processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd08\n",
        "proc/meminfo": "MemTotal: 3885396 kB\nMemAvailable: 3200000 kB\nSwapTotal: 102396 kB\nSwapFree: 102000 kB\n",
        "proc/loadavg": "0.42 0.30 0.20 1/150 1234\n",
        "proc/vmstat": "pgfault 12\noom_kill 3\n",
        "proc/sys/kernel/random/boot_id": "bdb47759-3b87-40e4-a599-d6cfb9944078\n",
        "etc/os-release": 'NAME="Debian"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n',
        "sys/devices/platform/soc/soc:firmware/get_throttled": f"{throttled}\n",
        "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
        "sys/class/thermal/thermal_zone0/temp": "48686\n",
    }
    for core in range(4):
        frequency = f"sys/devices/system/cpu/cpu{core}/cpufreq"
        files |= {
            f"{frequency}/scaling_governor": "ondemand\n",
            f"{frequency}/scaling_cur_freq": "1500000\n",
            f"{frequency}/cpuinfo_max_freq": "1800000\n",
        }
    return tree(root, files)


def jetson(root: Path, *, events: int = 0) -> Path:
    """A Jetson Orin Nano's health files."""
    return tree(
        root,
        {
            "proc/device-tree/model": "NVIDIA Jetson Orin Nano Developer Kit\0",
            "etc/nv_tegra_release": "# R36 (release), REVISION: 3.0\n",
            "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
            "sys/class/thermal/thermal_zone0/temp": "51000\n",
            "sys/class/thermal/thermal_zone1/type": "PMIC-Die\n",
            "sys/class/thermal/thermal_zone1/temp": "100000\n",
            "sys/class/thermal/cooling_device0/type": "pwm-fan\n",
            "sys/class/thermal/cooling_device0/cur_state": "1\n",
            "sys/class/hwmon/hwmon3/name": "soctherm_oc\n",
            "sys/class/hwmon/hwmon3/oc1_event_cnt": f"{events}\n",
        },
    )


RECORDINGS = Path(__file__).parent.parent / "recordings"


def recorded(root: Path, name: str) -> Path:
    """Lay out tests/recordings/NAME.tree below `root` and return it."""
    files = {}
    for line in (RECORDINGS / f"{name}.tree").read_text().splitlines():
        path, is_link, target = line.partition(" -> ")
        if is_link:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).symlink_to(target)
        elif not line.startswith("#"):
            path, _, content = line.partition(" =")
            files[path] = content.strip().replace("\\0", "\0") + "\n"
    return tree(root, files)


def firmware_program(root: Path, answers: dict[str, str], *, name: str = "vcgencmd") -> tuple[str, ...]:
    """Write a program that answers like vcgencmd, each command from a file, and return how to call it."""
    for command, answer in answers.items():
        tree(root, {f"{name}-answers/{command}": answer})
    script = 'f="$0-answers/$*"; [ -f "$f" ] || { echo "error=1 error_msg=\\"Command not registered\\""; exit 255; }\n'
    tree(root, {name: f'{script}cat "$f"\n'})
    return ("/bin/sh", str(root / name))


def pmic_text() -> str:
    """What a Raspberry Pi 5's firmware answers to pmic_read_adc."""
    return (RECORDINGS / "pmic_read_adc.txt").read_text()
