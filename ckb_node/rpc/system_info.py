"""What the machine does, for module Terminal, by psutil. Figures "since the last look" are of one `SystemInfo`."""

from __future__ import annotations

from typing import Any, Final

import psutil

from ckb_node.rpc.terminal_results import DiskJson, DiskUsageJson, GlobalJson, NetworkInterfaceJson, SysInfoJson

MAX_LISTED: Final = 64
"""Disks, and interfaces."""


class SystemInfo:
    """Looks at the machine; belongs to one thread at a time."""

    def __init__(self) -> None:
        self._process: Final = psutil.Process()
        self._io = (0, 0)
        self._traffic: dict[str, tuple[int, int]] = {}

    def look(self) -> SysInfoJson:
        """Now. Takes some milliseconds; what the system does not tell is 0."""
        memory, own = psutil.virtual_memory(), self._process.memory_info()
        machine = GlobalJson(
            total_memory=memory.total,
            used_memory=memory.total - memory.available,
            global_cpu_usage=psutil.cpu_percent(),
            disks=_disks(),
            networks=self._networks(),
        )
        return SysInfoJson(machine, self._process.cpu_percent(), self._disk_usage(), own.rss, own.vms)

    def _disk_usage(self) -> DiskUsageJson:
        try:
            counters = self._process.io_counters()
            read, written = counters.read_bytes, counters.write_bytes
        except (psutil.Error, OSError, AttributeError):  # some systems hide it
            read, written = self._io
        before, self._io = self._io, (read, written)
        return DiskUsageJson(written, written - before[1], read, read - before[0])

    def _networks(self) -> list[NetworkInterfaceJson]:
        before, self._traffic = self._traffic, {}
        shown = []
        for name, counters in list(psutil.net_io_counters(pernic=True).items())[:MAX_LISTED]:
            now = counters.bytes_recv, counters.bytes_sent
            received, sent = before.get(name, (0, 0))
            self._traffic[name] = now
            shown.append(NetworkInterfaceJson(name, now[0] - received, now[0], now[1] - sent, now[1]))
        return shown


def _disks() -> list[DiskJson]:
    found = []
    for partition in psutil.disk_partitions()[:MAX_LISTED]:
        try:
            usage: Any = psutil.disk_usage(partition.mountpoint)
        except OSError:  # not for this user, or gone
            continue
        found.append(DiskJson(usage.total, usage.free, is_removable="removable" in partition.opts))
    return found
