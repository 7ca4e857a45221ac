"""Module Debug: for developers of the node; the interface may change."""

from __future__ import annotations

from typing import Annotated

from ckb_node.rpc.errors import Code, RpcError
from ckb_node.rpc.node_results import ExtraLoggerJson, MainLoggerJson
from ckb_node.rpc.params import Codec, Text
from ckb_node.rpc.registry import Methods, Module
from ckb_node.rpc.services import Services
from ckb_node.runtime.log_control import LogControl, LogControlError
from ckb_node.runtime.settings import ConfigError

METHODS = Methods(Module.DEBUG)

MainLoggerParam = Annotated[MainLoggerJson, Codec("MainLoggerConfig", MainLoggerJson, lambda value: value)]
ExtraLoggerParam = Annotated[ExtraLoggerJson, Codec("ExtraLoggerConfig", ExtraLoggerJson, lambda value: value)]


def _logs_of(services: Services) -> LogControl:
    if services.logs is None:
        raise RpcError(Code.InternalError, "the logs of this process are not the node's")
    return services.logs


@METHODS.method
def jemalloc_profiling_dump(services: Services) -> str:
    """Name of a file with a profile of the heap. Error -32603: this program has no jemalloc to make one."""
    raise RpcError(Code.InternalError, "jemalloc profiling dump: unsupported")


@METHODS.method(is_change=True)
async def update_main_logger(services: Services, config: MainLoggerParam) -> None:
    """Change the main log while the node runs: `filter` as in `[logger]`, `to_stdout`, `to_file`, `color`.

    What is null or absent stays. Error -32603 for a bad filter, or a file that cannot be opened.
    """
    try:
        _logs_of(services).update(config.filter, to_stdout=config.to_stdout, to_file=config.to_file, color=config.color)
    except (ConfigError, LogControlError) as error:
        raise RpcError(Code.InternalError, str(error)) from None


@METHODS.method(is_change=True)
async def set_extra_logger(services: Services, name: Text, config_opt: ExtraLoggerParam | None) -> None:
    """Write what a filter lets pass into a log file of its own, `name`.log; null ends that.

    Error -32603 for a bad name or filter, or when there are too many.
    """
    logs = _logs_of(services)
    try:
        if config_opt is None:
            logs.remove_extra(name)
        else:
            logs.set_extra(name, config_opt.filter)
    except (ConfigError, LogControlError) as error:
        raise RpcError(Code.InternalError, str(error)) from None
