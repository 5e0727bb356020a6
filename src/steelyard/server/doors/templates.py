"""Which route a request met, as a template: what it is counted by, and what its span is called."""

from collections.abc import Mapping
from functools import cached_property

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from starlette.routing import Mount
from starlette.types import Scope

from steelyard.server.watching.instruments import UNMATCHED


class Templates:
    """The templates of an application's routes, looked at when the first request has been answered."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app

    def of(self, scope: Scope) -> str:
        """The template of the route that answered, or `UNMATCHED`."""
        route, path = scope.get("route"), scope["path"]
        found = self._by_route.get(id(route), ()) if route is not None else ()
        if len(found) == 1:
            return found[0]
        if path in self._fixed:  # a route that stands at two addresses, or one that the framework does not name
            return str(path)
        return self._mounts.get(scope.get("root_path", ""), UNMATCHED)

    @cached_property
    def _by_route(self) -> Mapping[int, tuple[str, ...]]:
        found: dict[int, tuple[str, ...]] = {}
        for context in iter_route_contexts(self._app.routes):
            if context.path_format:
                key = id(context.original_route)
                found[key] = (*found.get(key, ()), context.path_format)
        return found

    @cached_property
    def _fixed(self) -> frozenset[str]:
        templates = (template for found in self._by_route.values() for template in found)
        return frozenset(template for template in templates if "{" not in template)

    @cached_property
    def _mounts(self) -> Mapping[str, str]:
        return {route.path: f"{route.path}/{{path}}" for route in self._app.routes if isinstance(route, Mount)}
