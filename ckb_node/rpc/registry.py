"""The one table of RPC methods: name, module, parameter types, documentation, and the function that answers."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import Enum
from types import NoneType, UnionType
from typing import Any, Final, TypeVar, Union, get_args, get_origin, get_type_hints, overload

import msgspec
from msgspec.structs import astuple

from ckb_node.jsonrpc_types.hex_text import BadTextError
from ckb_node.rpc.errors import (
    BadParameterError,
    RpcError,
    foreign_page,
    method_is_deprecated,
    method_not_found,
    module_is_disabled,
    needs_open_connection,
)
from ckb_node.rpc.param_faults import fault_text
from ckb_node.rpc.params import Codec
from ckb_node.rpc.services import Services
from ckb_node.rpc.subscriptions import SESSION


class Module(Enum):
    """Groups of methods that the configuration switches on."""

    NET = "Net"
    POOL = "Pool"
    MINER = "Miner"
    CHAIN = "Chain"
    STATS = "Stats"
    SUBSCRIPTION = "Subscription"
    EXPERIMENT = "Experiment"
    DEBUG = "Debug"
    INTEGRATION_TEST = "IntegrationTest"
    ALERT = "Alert"
    INDEXER = "Indexer"
    RICH_INDEXER = "RichIndexer"
    TERMINAL = "Terminal"


HIDDEN_WHEN_DISABLED = frozenset({Module.SUBSCRIPTION, Module.INDEXER, Module.RICH_INDEXER})
"""Methods of these modules do not exist while the module is off; all others say how to switch it on."""

OWNERS_MODULES = frozenset(
    {Module.NET, Module.MINER, Module.INTEGRATION_TEST, Module.DEBUG, Module.ALERT, Module.TERMINAL}
)
"""Modules that command the node or show its inside: web pages of other machines do not get them."""

IS_CROSS_ORIGIN: Final[ContextVar[bool]] = ContextVar("is_foreign", default=False)
"""Whether a web page of another machine calls."""

LARGE_BYTES = 64 << 10
"""Parameters from this size on (blocks) are read beside the event loop, which they would hold up."""

Handler = Callable[..., Any]
F = TypeVar("F", bound=Handler)
Price = Callable[..., int]
"""`(services, …) -> bytes`, cheap itself."""
AtOnce = Callable[..., bytes | None]
"""`(services, …) -> JSON`."""


def always_expensive(*_: object) -> int:
    """The price of what is read in many places."""
    return LARGE_BYTES


@dataclass(frozen=True, slots=True)
class Param:
    """One parameter. A missing or null optional parameter takes its default."""

    name: str
    codec: Codec
    is_optional: bool
    default: Any
    decoder: msgspec.json.Decoder[Any] = field(repr=False)

    def read(self, raw: msgspec.Raw) -> Any:
        """The value; -32602 naming the parameter when the JSON is not of its type."""
        try:
            value = self.decoder.decode(raw)
            return self.default if value is None else self.codec.read(value)
        except msgspec.MsgspecError as error:
            fault = fault_text(self.codec.name, self.codec.wire, error)
            raise BadParameterError(f"Invalid parameter for `{self.name}`: {fault}") from None
        except (BadTextError, RecursionError) as error:
            raise BadParameterError(f"Invalid parameter for `{self.name}`: {error}") from None


class QuickParams:
    """Parameters by position that are as they should be, decoded all together."""

    def __init__(self, params: Sequence[Param]) -> None:
        """Behind the last one that has to be there, all may be missing."""
        needed = max((at + 1 for at, param in enumerate(params) if not param.is_optional), default=0)
        kinds = [param.codec.wire | None if param.is_optional else param.codec.wire for param in params]
        fields: list[tuple[str, Any] | tuple[str, Any, Any]] = [
            (param.name, kind) if at < needed else (param.name, kind, None)
            for at, (param, kind) in enumerate(zip(params, kinds, strict=True))
        ]
        self.kind: Final = msgspec.defstruct(
            "Parameters", fields, array_like=True, forbid_unknown_fields=True, gc=False
        )
        self._decode: Final = msgspec.json.Decoder(self.kind).decode
        self._readers: Final = [(param.codec.read, param.default) for param in params]

    def arguments(self, params: msgspec.Raw) -> list[Any] | None:
        """The values; None for others, whose fault is to be told."""
        try:
            return self.values(self._decode(params))
        except (msgspec.MsgspecError, BadTextError, RecursionError):
            return None

    def values(self, given: msgspec.Struct) -> list[Any]:
        """The values of a `kind`. Raises BadTextError."""
        return [
            default if value is None else read(value)
            for value, (read, default) in zip(astuple(given), self._readers, strict=True)
        ]


@dataclass(frozen=True, slots=True)
class Method:
    """A method of the interface."""

    name: str
    module: Module
    handler: Handler = field(repr=False)
    params: tuple[Param, ...]
    doc: str
    is_async: bool
    by_name: msgspec.json.Decoder[Any] = field(repr=False)
    """Parameters by name, each as it came. It stops at the first name that is none of them, however many follow."""
    quick: QuickParams = field(repr=False)
    """Reads parameters that are as they should be."""
    deprecated: str | None = None
    """What to use instead, for a method that only `enable_deprecated_rpc` opens."""
    price: Price | None = None
    """Bytes that a call touches. A dear one is worked out beside the event loop: the handler is no coroutine then."""
    is_change: bool = False
    """It changes something: once begun, it is finished although its caller has left."""
    owner_only: bool = False
    """Web pages of other machines do not get it."""
    is_always_open: bool = False
    """Whether its module is on or not."""
    needs_session: bool = False
    """Only connections that stay have it: TCP and WebSocket."""
    at_once: AtOnce | None = None
    """The result of a call that needs no waiting, None for the others, which `handler` answers. Reads nothing long."""
    is_short: bool = False
    """`handler` itself never waits, and changes nothing that its caller could leave half done."""

    @property
    def may_be_at_once(self) -> bool:
        """Some calls of it, or all, need no waiting."""
        return self.is_short or self.at_once is not None

    def arguments(self, params: msgspec.Raw) -> list[Any]:
        """Values for the handler from the request's `params`: array, object, or nothing."""
        found = self.quick.arguments(params) if memoryview(params).nbytes < LARGE_BYTES else None
        return self._arguments(params) if found is None else found

    def _arguments(self, params: msgspec.Raw) -> list[Any]:
        """One after the other, so that the first that is wrong is told."""
        kind = bytes(memoryview(params)[:1])
        if kind == b"{":
            return self._named(params)
        return self._positional(_ARRAY.decode(params) if kind == b"[" else [])

    def _positional(self, given: list[msgspec.Raw]) -> list[Any]:
        # Clients written against the reference may send more than a method takes when its last ones are optional.
        if len(given) > len(self.params) and not (self.params and self.params[-1].is_optional):
            if not self.params:
                raise BadParameterError("Invalid parameters: No parameters were expected")
            raise BadParameterError(
                f"Invalid params: invalid length {len(given)}, expected {len(self.params)} parameters"
            )
        values = [param.read(raw) for param, raw in zip(self.params, given, strict=False)]
        if len(given) < len(self.params):
            values.extend(_default(param) for param in self.params[len(given) :])
        return values

    def _named(self, params: msgspec.Raw) -> list[Any]:
        try:
            given = self.by_name.decode(params)
        except msgspec.ValidationError as error:
            name = str(error).partition("`")[2].removesuffix("`")
            raise BadParameterError(f"Invalid params: unknown parameter `{name[:80]}`") from None
        raws = [getattr(given, param.name) for param in self.params]
        return [
            _default(param) if raw is msgspec.UNSET else param.read(raw)
            for param, raw in zip(self.params, raws, strict=True)
        ]


def _default(param: Param) -> Any:
    if not param.is_optional:
        raise BadParameterError(f"Missing required parameter `{param.name}`")
    return param.default


_ARRAY = msgspec.json.Decoder(list[msgspec.Raw])


class Methods:
    """Methods of one module, collected by decorating their functions."""

    def __init__(self, module: Module) -> None:
        self.module: Final = module
        self._methods: list[Method] = []

    def __iter__(self) -> Iterator[Method]:
        return iter(self._methods)

    @overload
    def method(self, handler: F) -> F: ...
    @overload
    def method(
        self,
        *,
        deprecated: str | None = None,
        price: Price | None = None,
        is_change: bool = False,
        owner_only: bool = False,
        name: str | None = None,
        is_always_open: bool = False,
        needs_session: bool = False,
        at_once: AtOnce | None = None,
    ) -> Callable[[F], F]: ...
    def method(
        self,
        handler: F | None = None,
        *,
        deprecated: str | None = None,
        price: Price | None = None,
        is_change: bool = False,
        owner_only: bool = False,
        name: str | None = None,
        is_always_open: bool = False,
        needs_session: bool = False,
        at_once: AtOnce | None = None,
    ) -> F | Callable[[F], F]:
        """Register a function `(services, …) -> result` under its own name, or `name` where that is no identifier; its
        docstring is the documentation."""

        def register(function: F) -> F:
            params = _params_of(function)
            is_async = inspect.iscoroutinefunction(function)
            self._methods.append(
                Method(
                    name=name or function.__name__,
                    module=self.module,
                    handler=function,
                    params=params,
                    doc=inspect.getdoc(function) or "",
                    is_async=is_async,
                    by_name=_by_name(params),
                    quick=QuickParams(params),
                    deprecated=deprecated,
                    price=price,
                    is_change=is_change,
                    owner_only=owner_only or self.module in OWNERS_MODULES,
                    is_always_open=is_always_open,
                    needs_session=needs_session,
                    at_once=at_once,
                    is_short=not (is_async or is_change or needs_session or price is not None),
                )
            )
            return function

        return register if handler is None else register(handler)


def _params_of(handler: Handler) -> tuple[Param, ...]:
    hints = get_type_hints(handler, include_extras=True)
    declared = list(inspect.signature(handler).parameters.values())[1:]
    return tuple(_param(parameter, hints[parameter.name]) for parameter in declared)


def _by_name(params: tuple[Param, ...]) -> msgspec.json.Decoder[Any]:
    fields = [(param.name, msgspec.Raw | msgspec.UnsetType, msgspec.UNSET) for param in params]
    return msgspec.json.Decoder(msgspec.defstruct("Params", fields, forbid_unknown_fields=True))


def _param(parameter: inspect.Parameter, hint: Any) -> Param:
    is_optional = get_origin(hint) in (Union, UnionType)
    plain = next(item for item in get_args(hint) if item is not NoneType) if is_optional else hint
    codec = next(extra for extra in plain.__metadata__ if isinstance(extra, Codec))
    default = None if parameter.default is inspect.Parameter.empty else parameter.default
    return Param(parameter.name, codec, is_optional, default, codec.decoder(optional=is_optional))


class Registry:
    """What a node answers: its methods by name, each open or refused as the configuration says."""

    def __init__(self, services: Services, enabled: Iterable[Module], *, with_deprecated: bool = False) -> None:
        self.services: Final = services
        self._enabled = frozenset(enabled)
        self._with_deprecated = with_deprecated
        self._methods: dict[str, Method] = {}
        self._unheard: dict[str, Module] = {}
        self._on: set[str] = set()
        """Methods whose module is on."""
        self._free: set[str] = set()
        """Methods that all may call, by any transport."""

    def add(self, methods: Iterable[Method]) -> None:
        """Take a module's methods. ValueError on a name that is taken."""
        for method in methods:
            if method.name in self._methods:
                raise ValueError(f"RPC method {method.name} is there already")
            if method.module in HIDDEN_WHEN_DISABLED - self._enabled:
                self._unheard[method.name] = method.module
                continue
            self._methods[method.name] = method
            if method.module in self._enabled and (
                method.module is not Module.MINER or self.services.miner is not None
            ):
                self._on.add(method.name)
            if self.closed(method) is None and not (method.needs_session or method.owner_only):
                self._free.add(method.name)

    def __iter__(self) -> Iterator[Method]:
        return iter(self._methods.values())

    def get(self, name: str) -> Method | None:
        """The method, open or not."""
        return self._methods.get(name)

    def not_found(self, name: str) -> RpcError:
        """What to answer to the name of no method."""
        closed = self._unheard.get(name)
        return method_not_found(name, closed=closed and closed.value)

    def closed(self, method: Method) -> RpcError | None:
        """Why the configuration closes a method."""
        if method.name not in self._on and not method.is_always_open:
            return module_is_disabled(method.module.value)
        if method.deprecated is not None and not self._with_deprecated:
            return method_is_deprecated(method.deprecated)
        return None

    def refusal(self, method: Method) -> RpcError | None:
        """Why a method is closed, by the configuration or to this caller."""
        if method.name in self._free:
            return None
        if (closed := self.closed(method)) is not None:
            return closed
        if method.needs_session and SESSION.get() is None:
            return needs_open_connection(method.name)
        return foreign_page(method.name) if method.owner_only and IS_CROSS_ORIGIN.get() else None
